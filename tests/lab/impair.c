// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * impair: forwards Ethernet frames between two interfaces and makes the link
 * between them worse in a reproducible way: delay, rate, loss, duplication,
 * reordering. For kernels without sch_netem, and for seeded experiments with it.
 *
 * Frames come and go through AF_PACKET with PACKET_VNET_HDR, so GSO packets and
 * partial checksums pass as they are. Loss, duplication and reordering are
 * about packets on a wire: a GSO frame ends the program when one of them is on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH		64
#define SEND_BATCH	32	/* per FLUSH_GAP: 320,000 frames a second */
#define FRAME_MAX	(sizeof(struct virtio_net_hdr) + ETH_HLEN + 4 + 65535)
#define SOCKET_BUFFER	(64 << 20)
#define NSEC		1000000000ULL
/*
 * A lone frame leaves on time; after a flush the next one waits this long, so that a
 * dense stream costs one wake-up for several frames (24 us apart at 500 Mbit/s).
 */
#define FLUSH_GAP	(100 * 1000ULL)

/* One frame with its virtio_net_hdr in front, on its way out at `due`. */
struct frame {
	struct frame *next;
	uint64_t due;		/* CLOCK_MONOTONIC, nanoseconds */
	uint32_t len;
	uint32_t overtake;	/* reordering: frames that still pass it by */
	uint8_t data[];
};

struct queue {
	struct frame *head, **tail;
};

struct counters {
	uint64_t rx_packets, rx_bytes, rx_gso, rx_overrun;
	uint64_t lost, duplicated, reordered, queue_dropped;
	uint64_t tx_packets, tx_bytes, tx_errors;
	uint64_t queue_max_bytes, late_max_us;
};

/* One direction of the link: what to do, and its state. */
struct direction {
	uint64_t delay_ns;
	uint64_t loss, dup, reorder;	/* thresholds in 2^-53 */
	uint32_t reorder_by;
	uint64_t reorder_for_ns;
	uint64_t rate;			/* bits per second, 0: unlimited */
	uint64_t burst, queue;		/* bytes */
	uint64_t prng;
	uint64_t link_free;		/* when the rate limiter is through */
	struct queue out, displaced;
	int rx, tx;
	struct counters n;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* splitmix64, top 53 bits: uniform in [0, 2^53). */
static uint64_t draw(struct direction *d)
{
	uint64_t z = d->prng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) >> 11;
}

static void queue_init(struct queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void queue_put(struct queue *q, struct frame *f)
{
	f->next = NULL;
	*q->tail = f;
	q->tail = &f->next;
}

static struct frame *queue_get(struct queue *q)
{
	struct frame *f = q->head;

	q->head = f->next;
	if (!q->head)
		q->tail = &q->head;
	return f;
}

static struct frame *frame_new(const uint8_t *data, uint32_t len)
{
	struct frame *f = malloc(sizeof(*f) + len);

	if (!f) {
		perror("impair: malloc");
		exit(1);
	}
	f->len = len;
	memcpy(f->data, data, len);
	return f;
}

/*
 * ARP and IPv6 neighbour discovery are delayed like the rest but never lost: a
 * lost solicitation is a second's silence that no experiment asks for.
 */
static bool is_neighbour_discovery(const uint8_t *eth, uint32_t len)
{
	uint16_t proto = len >= ETH_HLEN ? eth[12] << 8 | eth[13] : 0;

	if (proto == ETH_P_ARP)
		return true;
	return proto == ETH_P_IPV6 && len > ETH_HLEN + 40 && eth[ETH_HLEN + 6] == IPPROTO_ICMPV6 &&
	       eth[ETH_HLEN + 40] >= ND_ROUTER_SOLICIT && eth[ETH_HLEN + 40] <= ND_REDIRECT;
}

/* Rate limit, queue limit and delay; takes the frame over. */
static void transmit_at(struct direction *d, struct frame *f, uint64_t now)
{
	uint64_t depart = now;

	if (d->rate) {
		uint64_t bits = 8 * (uint64_t)(f->len - sizeof(struct virtio_net_hdr));
		uint64_t credit = 8 * d->burst * NSEC / d->rate;
		uint64_t backlog;

		if (d->link_free + credit < now)
			d->link_free = now - credit;
		backlog = d->link_free > now ? (d->link_free - now) * (d->rate / 1000) / 8000000 : 0;
		if (backlog + bits / 8 > d->queue) {
			d->n.queue_dropped++;
			free(f);
			return;
		}
		if (backlog + bits / 8 > d->n.queue_max_bytes)
			d->n.queue_max_bytes = backlog + bits / 8;
		d->link_free += bits * NSEC / d->rate;
		if (d->link_free > now)
			depart = d->link_free;
	}
	f->due = depart + d->delay_ns;
	queue_put(&d->out, f);
}

/* Release displaced frames that have been overtaken, or have waited too long. */
static void release_displaced(struct direction *d, uint64_t now, bool passed)
{
	struct frame **link = &d->displaced.head;

	while (*link) {
		struct frame *f = *link;

		if (passed && f->overtake)
			f->overtake--;
		if (f->overtake && f->due > now) {
			link = &f->next;
			continue;
		}
		*link = f->next;
		if (!f->next)
			d->displaced.tail = link;
		transmit_at(d, f, now);
	}
}

/* What happens to one received frame (virtio_net_hdr in front). */
static void admit(struct direction *d, const uint8_t *data, uint32_t len, uint64_t now)
{
	const struct virtio_net_hdr *vh = (const void *)data;
	bool impairs = d->loss || d->dup || d->reorder;
	bool lose = false, dup = false, displace = false;

	d->n.rx_packets++;
	d->n.rx_bytes += len - sizeof(*vh);
	if (vh->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		d->n.rx_gso++;
		if (impairs) {
			fprintf(stderr, "impair: a GSO frame of %u bytes came in, and per-packet "
				"impairment is on: turn tso and gso off at its sender\n", len);
			exit(3);
		}
	}
	if (impairs && !is_neighbour_discovery(data + sizeof(*vh), len - sizeof(*vh))) {
		/* Always three draws: one percentage leaves the others' choices alone. */
		lose = draw(d) < d->loss;
		dup = draw(d) < d->dup;
		displace = draw(d) < d->reorder;
	}
	if (lose) {
		d->n.lost++;
		return;
	}
	if (displace) {
		struct frame *f = frame_new(data, len);

		d->n.reordered++;
		f->overtake = d->reorder_by;
		f->due = now + d->reorder_for_ns;
		queue_put(&d->displaced, f);
	} else {
		transmit_at(d, frame_new(data, len), now);
		release_displaced(d, now, true);
	}
	if (dup) {
		d->n.duplicated++;
		transmit_at(d, frame_new(data, len), now);
	}
}

/* One batch in; what is left makes the socket readable again, after the other one's turn. */
static void receive(struct direction *d)
{
	static uint8_t buf[BATCH][FRAME_MAX];
	struct mmsghdr msgs[BATCH] = {};
	struct iovec iov[BATCH];
	uint64_t now;
	int n, i;

	for (i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buf[i], FRAME_MAX };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(d->rx, msgs, BATCH, MSG_DONTWAIT, NULL);
	now = now_ns();
	for (i = 0; i < n; i++)
		if (msgs[i].msg_len > sizeof(struct virtio_net_hdr))
			admit(d, buf[i], msgs[i].msg_len, now);
}

/*
 * Send what is due, one batch at most: after a time without a CPU the backlog goes out
 * at a pace the next hop's queue can take, not at once.
 */
static void flush(struct direction *d, uint64_t now)
{
	struct frame *batch[SEND_BATCH];
	struct mmsghdr msgs[SEND_BATCH] = {};
	struct iovec iov[SEND_BATCH];
	int n = 0, sent = 0, i;

	release_displaced(d, now, false);
	while (n < SEND_BATCH && d->out.head && d->out.head->due <= now) {
		struct frame *f = batch[n] = queue_get(&d->out);

		if ((now - f->due) / 1000 > d->n.late_max_us)
			d->n.late_max_us = (now - f->due) / 1000;
		iov[n] = (struct iovec){ f->data, f->len };
		msgs[n].msg_hdr.msg_iov = &iov[n];
		msgs[n].msg_hdr.msg_iovlen = 1;
		n++;
	}
	while (sent < n) {
		int r = sendmmsg(d->tx, msgs + sent, n - sent, 0);

		if (r <= 0) {
			d->n.tx_errors++;
			r = 1;
		} else {
			d->n.tx_packets += r;
			for (i = sent; i < sent + r; i++)
				d->n.tx_bytes += iov[i].iov_len - sizeof(struct virtio_net_hdr);
		}
		sent += r;
	}
	for (i = 0; i < n; i++)
		free(batch[i]);
}

static void arm(int timer, const struct direction *dirs, uint64_t not_before)
{
	struct itimerspec its = {};
	uint64_t due = UINT64_MAX;
	int i;

	for (i = 0; i < 2; i++) {
		if (dirs[i].out.head && dirs[i].out.head->due < due)
			due = dirs[i].out.head->due;
		if (dirs[i].displaced.head && dirs[i].displaced.head->due < due)
			due = dirs[i].displaced.head->due;
	}
	if (due < not_before)
		due = not_before;
	if (due != UINT64_MAX) {
		its.it_value.tv_sec = due / NSEC;
		its.it_value.tv_nsec = due % NSEC;
	}
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &its, NULL);
}

static int open_interface(const char *name)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(name),
	};
	struct packet_mreq mreq = { .mr_ifindex = ll.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int one = 1, size = SOCKET_BUFFER;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || !ll.sll_ifindex ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		fprintf(stderr, "impair: cannot open interface %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return fd;
}

static void print_counters(const char *name, struct direction *d, const char *end)
{
	struct tpacket_stats st = {};
	socklen_t len = sizeof(st);
	const struct counters *n = &d->n;

	getsockopt(d->rx, SOL_PACKET, PACKET_STATISTICS, &st, &len);
	printf("\"%s\": {\"rx_packets\": %" PRIu64 ", \"rx_bytes\": %" PRIu64 ", \"rx_gso\": %" PRIu64
	       ", \"rx_overrun\": %u, \"lost\": %" PRIu64 ", \"duplicated\": %" PRIu64
	       ", \"reordered\": %" PRIu64 ", \"queue_dropped\": %" PRIu64 ", \"tx_packets\": %" PRIu64
	       ", \"tx_bytes\": %" PRIu64 ", \"tx_errors\": %" PRIu64 ", \"queue_max_bytes\": %" PRIu64
	       ", \"late_max_us\": %" PRIu64 "}%s",
	       name, n->rx_packets, n->rx_bytes, n->rx_gso, st.tp_drops, n->lost, n->duplicated,
	       n->reordered, n->queue_dropped, n->tx_packets, n->tx_bytes, n->tx_errors,
	       n->queue_max_bytes, n->late_max_us, end);
}

static void usage(FILE *out)
{
	fputs("usage: impair [options] IF_A IF_B\n"
	      "Forward frames between IF_A and IF_B until SIGTERM or SIGINT; then print counters\n"
	      "as JSON, \"ab\" for frames from IF_A to IF_B, \"ba\" for the others.\n"
	      "\n"
	      "  --ab, --ba, --both   options after this are for that direction (default: both)\n"
	      "  --delay MS           constant delay, milliseconds\n"
	      "  --rate MBIT          link rate, Mbit/s, by a token bucket\n"
	      "  --burst BYTES        depth of the bucket (default 0: a plain serial link)\n"
	      "  --queue BYTES        bytes that may wait for the link (default 1000000)\n"
	      "  --loss PCT           per-packet loss, percent\n"
	      "  --dup PCT            per-packet duplication, percent\n"
	      "  --reorder PCT        packets that are displaced, percent\n"
	      "  --reorder-by N       how many later packets overtake them (default 3)\n"
	      "  --reorder-for MS     how long at most they wait for those (default 10)\n"
	      "  --seed N             seed of the generator (default 1)\n"
	      "  --help\n"
	      "\n"
	      "The n-th packet of a direction meets the same fate for the same seed. ARP and IPv6\n"
	      "neighbour discovery are only delayed. With loss, duplication or reordering a GSO\n"
	      "frame is an error (exit status 3): turn tso and gso off at the senders.\n", out);
}

static double number(const char *name, const char *arg, double max)
{
	char *end;
	double v = strtod(arg, &end);

	if (*end || end == arg || !(v >= 0 && v <= max)) {
		fprintf(stderr, "impair: --%s %s: not a number between 0 and %g\n", name, arg, max);
		exit(2);
	}
	return v;
}

static void parse(int argc, char **argv, struct direction *dirs)
{
	enum { AB = 256, BA, BOTH, DELAY, RATE, BURST, QUEUE, LOSS, DUP, REORDER, BY, FOR, SEED, HELP };
	static const struct option longopts[] = {
		{ "ab", 0, NULL, AB }, { "ba", 0, NULL, BA }, { "both", 0, NULL, BOTH },
		{ "delay", 1, NULL, DELAY }, { "rate", 1, NULL, RATE },
		{ "burst", 1, NULL, BURST }, { "queue", 1, NULL, QUEUE },
		{ "loss", 1, NULL, LOSS }, { "dup", 1, NULL, DUP },
		{ "reorder", 1, NULL, REORDER }, { "reorder-by", 1, NULL, BY },
		{ "reorder-for", 1, NULL, FOR },
		{ "seed", 1, NULL, SEED }, { "help", 0, NULL, HELP }, {},
	};
	const double one_percent = (double)(1ULL << 53) / 100;
	int opt, idx = 0, from = 0, to = 1, i;
	uint64_t seed = 1;

	while ((opt = getopt_long(argc, argv, "+h", longopts, &idx)) != -1) {
		const char *name = longopts[idx].name;

		if (opt == AB || opt == BA || opt == BOTH) {
			from = opt == BA;
			to = opt != AB;
		} else if (opt == SEED) {
			seed = number(name, optarg, 1ULL << 53);
		} else if (opt == HELP || opt == 'h') {
			usage(stdout);
			exit(0);
		} else if (opt == '?') {
			usage(stderr);
			exit(2);
		}
		for (i = from; i <= to; i++) {
			struct direction *d = &dirs[i];

			switch (opt) {
			case DELAY: d->delay_ns = number(name, optarg, 60000) * 1e6; break;
			case RATE: d->rate = number(name, optarg, 1e5) * 1e6; break;
			case BURST: d->burst = number(name, optarg, 1 << 26); break;
			case QUEUE: d->queue = number(name, optarg, 1 << 30); break;
			case LOSS: d->loss = number(name, optarg, 100) * one_percent; break;
			case DUP: d->dup = number(name, optarg, 100) * one_percent; break;
			case REORDER: d->reorder = number(name, optarg, 100) * one_percent; break;
			case BY: d->reorder_by = number(name, optarg, 1000); break;
			case FOR: d->reorder_for_ns = number(name, optarg, 60000) * 1e6; break;
			}
		}
	}
	if (argc - optind != 2) {
		usage(stderr);
		exit(2);
	}
	dirs[0].prng = seed;
	dirs[1].prng = ~seed;
}

int main(int argc, char **argv)
{
	struct direction dirs[2] = {
		{ .queue = 1000000, .reorder_by = 3, .reorder_for_ns = 10000000 },
		{ .queue = 1000000, .reorder_by = 3, .reorder_for_ns = 10000000 },
	};
	struct epoll_event ev[4];
	int fds[4], ep, i, n;
	uint64_t now, next_flush = 0;
	bool stop = false;
	sigset_t set;

	parse(argc, argv, dirs);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	dirs[0].rx = dirs[1].tx = fds[0] = open_interface(argv[optind]);
	dirs[1].rx = dirs[0].tx = fds[1] = open_interface(argv[optind + 1]);
	fds[2] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	fds[3] = signalfd(-1, &set, SFD_CLOEXEC);
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < 4; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };

		if (fds[i] < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e)) {
			perror("impair: epoll");
			return 1;
		}
	}
	for (i = 0; i < 2; i++) {
		queue_init(&dirs[i].out);
		queue_init(&dirs[i].displaced);
	}
	/* A link does not wait for a CPU; without the permission it is only less exact. */
	setpriority(PRIO_PROCESS, 0, -20);
	fprintf(stderr, "impair: ready\n");
	while (!stop) {
		n = epoll_wait(ep, ev, 4, -1);
		for (i = 0; i < n; i++) {
			uint64_t expirations;

			if (ev[i].data.u32 < 2) {
				receive(&dirs[ev[i].data.u32]);
			} else if (ev[i].data.u32 == 2) {
				if (read(fds[2], &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
					stop = true;
			} else {
				stop = true;
			}
		}
		now = now_ns();
		if (now < next_flush) {
			arm(fds[2], dirs, next_flush);
			continue;
		}
		flush(&dirs[0], now);
		flush(&dirs[1], now);
		next_flush = now + FLUSH_GAP;
		arm(fds[2], dirs, next_flush);
	}
	printf("{");
	print_counters("ab", &dirs[0], ", ");
	print_counters("ba", &dirs[1], "}\n");
	return 0;
}
