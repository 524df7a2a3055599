// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Records a flow by packet sockets on the ports. They see an incoming packet before the TC
 * program does, and an outgoing one after it; they do not see what XDP forwards. The
 * transitions come from the `history` map, which has their times to the nanosecond, whether a
 * daemon runs or not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "address.h"
#include "trace.h"

#define MSEC 1000000ULL
#define TURN_MS 10
#define BLOCK (1U << 18)
#define RINGS_BYTES (64U << 20) /* of all ports together */
#define RING_BLOCKS_MAX 64
/* By then, whoever writes a transition has certainly finished. */
#define SETTLED (2 * MSEC)
/* After the end: blocks that are not full are handed over when TURN_MS have passed. */
#define LINGER (5 * TURN_MS * MSEC)
#define FOREVER (1ULL << 62)
/* After a flow has closed: for its last acknowledgements. */
#define CLOSING (500 * MSEC)

struct ring {
	int fd;
	uint8_t *blocks;
	unsigned int n_blocks, next;
};

struct capture {
	struct trace *t;
	const struct kern *k;
	struct ring rings[KERN_PORTS_MAX];
	int n;
	int64_t real_offset; /* CLOCK_REALTIME, which stamps packets, less CLOCK_MONOTONIC */
	uint64_t changed_ns; /* of the flow, when last looked at */
	uint8_t state;
};

/* ---- the filter ---- */

struct program {
	struct sock_filter insns[128];
	unsigned short n;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	p->insns[p->n++] = (struct sock_filter){ code, jt, jf, k };
}

/* Continues if what was loaded is `value`; patch() fills in the jump for anything else. */
static void expect(struct program *p, uint32_t value)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0xff);
}

/* From `from` on, makes what is not as expected continue here. */
static void patch(struct program *p, unsigned short from)
{
	for (; from < p->n; from++)
		if (p->insns[from].jf == 0xff)
			p->insns[from].jf = p->n - from - 1;
}

static void expect_addr(struct program *p, const uint32_t addr[4], bool v4, uint32_t at)
{
	for (int i = v4 ? 3 : 0; i < 4; i++, at += 4) {
		emit(p, BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
		expect(p, ntohl(addr[i]));
	}
}

/* Filters one direction; lets TCP behind extension headers through for trace_read() to judge. */
static void direction(struct program *p, const uint32_t src[4], const uint32_t dst[4],
		      uint16_t sport, uint16_t dport, bool v4)
{
	unsigned short from = p->n;

	emit(p, BPF_LD | BPF_H | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL, 0, 0);
	expect(p, v4 ? ETH_P_IP : ETH_P_IPV6);
	expect_addr(p, src, v4, v4 ? 12 : 8);
	expect_addr(p, dst, v4, v4 ? 16 : 24);
	emit(p, BPF_LD | BPF_B | BPF_ABS, v4 ? 9 : 6, 0, 0);
	if (v4) {
		expect(p, IPPROTO_TCP);
		emit(p, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0);
	} else {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 5);
		emit(p, BPF_LDX | BPF_W | BPF_IMM, 40, 0, 0);
	}
	emit(p, BPF_LD | BPF_H | BPF_IND, 0, 0, 0);
	expect(p, ntohs(sport));
	emit(p, BPF_LD | BPF_H | BPF_IND, 2, 0, 0);
	expect(p, ntohs(dport));
	emit(p, BPF_RET | BPF_K, TRACE_SNAP, 0, 0);
	patch(p, from);
}

static int set_filter(int fd, const struct flow_key *key)
{
	bool v4 = address_is_v4(key->client);
	struct program p = {};
	struct sock_fprog prog;

	direction(&p, key->client, key->server, key->client_port, key->server_port, v4);
	direction(&p, key->server, key->client, key->server_port, key->client_port, v4);
	emit(&p, BPF_RET | BPF_K, 0, 0, 0);
	prog = (struct sock_fprog){ .len = p.n, .filter = p.insns };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

/* ---- rings ---- */

/* Without a protocol it gets nothing yet: not until the filter and every other ring are there. */
static int ring_open(struct ring *r, const struct trace *t, unsigned int n_blocks)
{
	struct tpacket_req3 req = {
		.tp_block_size = BLOCK, .tp_block_nr = n_blocks, .tp_frame_size = 2048,
		.tp_frame_nr = n_blocks * (BLOCK / 2048), .tp_retire_blk_tov = TURN_MS,
	};
	int version = TPACKET_V3, err;

	r->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0)
		return -errno;
	err = set_filter(r->fd, &t->key);
	if (err)
		return err;
	if (setsockopt(r->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(r->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	r->blocks = mmap(NULL, (size_t)BLOCK * n_blocks, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->blocks == MAP_FAILED) {
		r->blocks = NULL;
		return -errno;
	}
	r->n_blocks = n_blocks;
	return 0;
}

static int ring_start(const struct ring *r, int ifindex)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex,
	};

	return bind(r->fd, (struct sockaddr *)&sll, sizeof(sll)) ? -errno : 0;
}

static void rings_close(struct capture *c)
{
	for (int i = 0; i < c->n; i++) {
		struct ring *r = &c->rings[i];
		struct tpacket_stats_v3 stats;
		socklen_t len = sizeof(stats);

		if (!getsockopt(r->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
			c->t->lost += stats.tp_drops;
		if (r->blocks)
			munmap(r->blocks, (size_t)BLOCK * r->n_blocks);
		close(r->fd);
	}
}

static int rings_open(struct capture *c)
{
	__u32 ports[KERN_PORTS_MAX], *prev = NULL;
	unsigned int blocks;
	char name[IF_NAMESIZE];
	struct port port;
	int i, n = 0, err;

	while (n < KERN_PORTS_MAX && !bpf_map_get_next_key(c->k->maps.ports, prev, &ports[n])) {
		prev = &ports[n++];
		if (!bpf_map_lookup_elem(c->k->maps.ports, prev, &port) && port.xdp != PORT_XDP_OFF)
			c->t->xdp = true;
	}
	blocks = n ? RINGS_BYTES / BLOCK / n : 0;
	if (blocks > RING_BLOCKS_MAX)
		blocks = RING_BLOCKS_MAX;
	for (i = 0; i < n; i++) {
		err = ring_open(&c->rings[i], c->t, blocks);
		c->n += c->rings[i].fd >= 0;
		if (err) {
			fprintf(stderr, "seam trace: making a packet socket: %s%s\n", strerror(-err),
				err == -EPERM ? "; run it as root" : "");
			return err;
		}
	}
	for (i = 0; i < n; i++) {
		err = ring_start(&c->rings[i], ports[i]);
		if (err) {
			fprintf(stderr, "seam trace: recording on %s: %s\n",
				if_indextoname(ports[i], name) ? name : "an interface that is gone",
				strerror(-err));
			return err;
		}
	}
	c->t->start_ns = kern_now();
	return 0;
}

static int read_packet(struct capture *c, const struct tpacket3_hdr *h)
{
	const struct sockaddr_ll *sll = (const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
	struct trace_packet p;

	/*
	 * On a router such a packet is of another interface; on a wire a flow has its tag
	 * throughout.
	 */
	if ((h->tp_status & TP_STATUS_VLAN_VALID && c->k->control->mode != MODE_WIRE) ||
	    sll->sll_pkttype == PACKET_LOOPBACK)
		return 0;
	if (!trace_read(c->t, (const uint8_t *)h + h->tp_net, h->tp_snaplen, h->tp_len,
			sll->sll_protocol, sll->sll_pkttype == PACKET_OUTGOING, &p))
		return 0;
	p.ns = h->tp_sec * 1000000000ULL + h->tp_nsec - c->real_offset;
	return trace_add(c->t, &p);
}

static int read_block(struct capture *c, struct tpacket_block_desc *block)
{
	const struct tpacket3_hdr *h = (const void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
	int err = 0;

	for (__u32 i = 0; i < block->hdr.bh1.num_pkts && !err; i++) {
		err = read_packet(c, h);
		h = (const void *)((const uint8_t *)h + h->tp_next_offset);
	}
	return err;
}

static int rings_read(struct capture *c)
{
	int err = 0;

	for (int i = 0; i < c->n; i++) {
		struct ring *r = &c->rings[i];

		/* No more blocks than there are: a fast sender would keep it here for ever. */
		for (unsigned int n = 0; n < r->n_blocks && !err; n++) {
			struct tpacket_block_desc *block = (void *)(r->blocks + (size_t)r->next * BLOCK);
			__u32 *status = &block->hdr.bh1.block_status;

			if (!(__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
				break;
			err = read_block(c, block);
			__atomic_store_n(status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
			r->next = (r->next + 1) % r->n_blocks;
		}
	}
	return err;
}

/* ---- the flow ---- */

/* A flow that was never held, split or blocked has no history except its present state. */
static int plain_transition(struct capture *c, const struct flow *f)
{
	struct transition t = {
		.time_ns = f->changed_ns, .data_ns = f->data_ns, .from = c->state, .to = f->state,
		.reason = f->reason,
		.nxt = { f->end[SEAM_CLIENT].nxt, f->end[SEAM_SERVER].nxt },
		.ack = { f->end[SEAM_CLIENT].ack, f->end[SEAM_SERVER].ack },
	};

	return trace_add_transition(c->t, &t);
}

/* Looks where the flow is; *over: it has ended. */
static int look(struct capture *c, bool *over)
{
	uint64_t now = kern_now();
	struct history h;
	struct embryo e;
	struct flow f;
	int err = 0;

	if (!bpf_map_lookup_elem(c->k->maps.history, &c->t->id, &h))
		err = trace_history(c->t, &h, now - SETTLED);
	if (kern_flow(c->k, &c->t->key, &f) || f.id != c->t->id) {
		*over = bpf_map_lookup_elem(c->k->maps.embryos, &c->t->key, &e) || e.id != c->t->id;
		return err;
	}
	if (c->state == FLOW_HANDSHAKE)
		trace_from_flow(c->t, &f);
	if (!err && f.changed_ns != c->changed_ns && !(f.flags & FLOW_F_HISTORY))
		err = plain_transition(c, &f);
	c->changed_ns = f.changed_ns;
	c->state = f.state;
	c->t->edited |= !!(f.flags & FLOW_F_EDITED);
	*over = f.state == FLOW_CLOSING && now - f.changed_ns > CLOSING;
	return err;
}

/* Takes what has happened before the first packet that can be seen. */
static void look_first(struct capture *c)
{
	struct history h;
	struct flow f;

	if (!bpf_map_lookup_elem(c->k->maps.history, &c->t->id, &h))
		c->t->history = h.count;
	if (!kern_flow(c->k, &c->t->key, &f) && f.id == c->t->id) {
		trace_from_flow(c->t, &f);
		c->changed_ns = f.changed_ns;
	}
	c->state = c->t->state;
}

static uint64_t realtime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* An interface that goes down is an error, reported at once and for ever until it is asked for. */
static void errors_take(const struct pollfd *fds, int n)
{
	int err;

	for (int i = 0; i < n; i++)
		if (fds[i].revents & POLLERR)
			getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &err, &(socklen_t){ sizeof(err) });
}

static int record(struct capture *c, uint64_t for_ns, const volatile sig_atomic_t *stop)
{
	struct pollfd fds[KERN_PORTS_MAX];
	bool over = false, ending = false;
	struct trace *t = c->t;
	uint64_t now, until = t->start_ns + (for_ns < FOREVER ? for_ns : FOREVER);
	int i, err = 0;

	for (i = 0; i < c->n; i++)
		fds[i] = (struct pollfd){ .fd = c->rings[i].fd, .events = POLLIN };
	for (;;) {
		if (poll(fds, c->n, TURN_MS) < 0 && errno != EINTR)
			return -errno;
		errors_take(fds, c->n);
		err = rings_read(c);
		if (!err)
			err = look(c, &over);
		now = kern_now();
		if (err == -ENOSPC)
			t->end = TRACE_FULL;
		if (err || (ending && now >= until))
			break;
		if (ending || (!*stop && !over && now < until))
			continue;
		t->end = *stop ? TRACE_SIGNAL : over ? TRACE_FLOW_OVER : TRACE_TIME;
		t->stop_ns = now;
		ending = true;
		until = now + LINGER;
	}
	if (!ending)
		t->stop_ns = now;
	return err == -ENOSPC ? 0 : err;
}

int trace_capture(struct trace *t, const struct kern *k, uint64_t for_ns,
		  const volatile sig_atomic_t *stop, void (*ready)(const struct trace *t))
{
	struct capture c = { .t = t, .k = k };
	int err;

	t->end = TRACE_FAILED;
	t->start_ns = t->stop_ns = kern_now();
	c.real_offset = realtime() - t->start_ns;
	err = rings_open(&c);
	if (!err) {
		look_first(&c);
		ready(t);
		err = record(&c, for_ns, stop);
		if (err)
			fprintf(stderr, "seam trace: recording: %s\n", strerror(-err));
	}
	rings_close(&c);
	trace_sort(t);
	return err;
}
