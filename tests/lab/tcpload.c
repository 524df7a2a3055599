// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tcpload: TCP connections of every kind, as client or server, many at a time,
 * with what each of them saw as one line of JSON: bytes, SHA-256 of both
 * directions, largest gap between reads, retransmissions, how it ended.
 *
 * The bytes sent are a function of seed and offset, so the other end can say at
 * which offset a stream went wrong (--expect).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
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
#include <time.h>
#include <unistd.h>

#include "sha256.h"
#include "tcpload_options.h"

#define TURN	BUFFER		/* bytes one connection may move before the next one's turn */

struct conn {
	struct conn *next, **prev;
	int fd;
	uint32_t events;		/* asked of epoll */
	bool connected, rx_eof, tx_ended;
	uint64_t start, established, first_rx, last_rx, gap, gap_at;
	uint64_t rx, tx, bad;		/* bad: first offset not as expected */
	uint64_t tx_at, rx_at;		/* not before; 0: at once */
	uint64_t asked, rtt_max, rtt_sum, rtt_n;	/* pingpong */
	struct sha256 rx_sha, tx_sha;
	char local[64], peer[64];
	uint8_t *echo;
	uint32_t echo_len, echo_off;
};

static struct conn *conns;
static int epoll_fd;
static uint32_t open_conns, failed;
static FILE *arrivals;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* Bytes [off, off + len) of the stream `seed`: splitmix64 of the offset, little endian. */
static void fill(uint8_t *buf, uint32_t len, uint64_t seed, uint64_t off)
{
	uint32_t done = 0;

	while (done < len) {
		uint64_t z = seed * 0xd1342543de82ef95ULL + ((off + done) / 8 + 1) * 0x9e3779b97f4a7c15ULL;
		uint32_t skip = (off + done) % 8, n = 8 - skip;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		z ^= z >> 31;
		if (n > len - done)
			n = len - done;
		memcpy(buf + done, (uint8_t *)&z + skip, n);
		done += n;
	}
}

static void address(char out[64], const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *v6 = (const void *)ss;
	const struct sockaddr_in *v4 = (const void *)ss;
	char a[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], a, sizeof(a));
	else if (ss->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, a, sizeof(a));
	else if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, a, sizeof(a));
	snprintf(out, 64, strchr(a, ':') ? "[%s]:%u" : "%s:%u", a, ntohs(v4->sin_port));
}

static void finish(struct conn *c, const char *how, bool good)
{
	struct tcp_info ti = {};
	socklen_t len = sizeof(ti);
	char rx[65] = "", tx[65] = "";
	uint64_t now = now_ns();

	getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &ti, &len);
	if (!opt.no_hash) {
		sha256_hex(&c->rx_sha, rx);
		sha256_hex(&c->tx_sha, tx);
	}
	printf("{\"local\": \"%s\", \"peer\": \"%s\", \"end\": \"%s\", \"rx_bytes\": %" PRIu64
	       ", \"rx_sha256\": \"%s\", \"tx_bytes\": %" PRIu64 ", \"tx_sha256\": \"%s\", ",
	       c->local, c->peer, how, c->rx, rx, c->tx, tx);
	printf("\"connect_us\": %" PRIu64 ", \"first_rx_us\": %" PRIu64 ", \"duration_us\": %" PRIu64
	       ", \"max_gap_us\": %" PRIu64 ", \"max_gap_at\": %" PRIu64 ", ",
	       c->connected ? (c->established - c->start) / 1000 : 0,
	       c->first_rx ? (c->first_rx - c->start) / 1000 : 0, (now - c->start) / 1000,
	       c->gap / 1000, c->gap_at);
	printf("\"pingpongs\": %" PRIu64 ", \"pingpong_avg_us\": %" PRIu64 ", \"pingpong_max_us\": %" PRIu64
	       ", \"mismatch_at\": %" PRId64 ", ",
	       c->rtt_n, c->rtt_n ? c->rtt_sum / c->rtt_n / 1000 : 0, c->rtt_max / 1000, (int64_t)c->bad);
	printf("\"retransmits\": %u, \"bytes_retrans\": %llu, \"reord_seen\": %u, \"dsack_dups\": %u, "
	       "\"rtt_us\": %u, \"min_rtt_us\": %u, \"snd_mss\": %u, \"rcv_mss\": %u, \"options\": %u, "
	       "\"snd_wscale\": %u, \"rcv_wscale\": %u}\n",
	       ti.tcpi_total_retrans, ti.tcpi_bytes_retrans, ti.tcpi_reord_seen, ti.tcpi_dsack_dups,
	       ti.tcpi_rtt, ti.tcpi_min_rtt, ti.tcpi_snd_mss, ti.tcpi_rcv_mss, ti.tcpi_options,
	       ti.tcpi_snd_wscale, ti.tcpi_rcv_wscale);
	fflush(stdout);
	failed += !good || c->bad != NEVER;
	close(c->fd);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c->echo);
	free(c);
	open_conns--;
}

static bool tx_goal(const struct conn *c)
{
	switch (opt.role) {
	case ECHO: return c->rx_eof && !c->echo_len;
	case SINK: return c->rx_eof;
	default: return c->tx >= opt.send;
	}
}

static bool want_tx(const struct conn *c)
{
	if (!c->connected)
		return true;
	if (c->tx_ended || opt.role == SINK)
		return false;
	if (opt.role == ECHO)
		return c->echo_len;
	if (c->tx >= opt.send || c->rx < opt.after_rx)
		return false;
	return !opt.pingpong || c->rx >= c->tx || (c->tx % opt.chunk);
}

static bool want_rx(const struct conn *c)
{
	return c->connected && !c->rx_eof && !(opt.role == ECHO && c->echo_len);
}

/* Tell epoll what is wanted now; a connection that pauses wants nothing. */
static void watch(struct conn *c, uint64_t now)
{
	uint32_t events = 0;

	if (want_rx(c) && c->rx_at <= now)
		events |= EPOLLIN;
	if (want_tx(c) && c->tx_at <= now)
		events |= EPOLLOUT;
	if (events != c->events) {
		struct epoll_event ev = { .events = events, .data.ptr = c };

		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
		c->events = events;
	}
}

/* Received bytes: counters, hash, expectation. */
static void account_rx(struct conn *c, const uint8_t *buf, uint32_t n, uint64_t now)
{
	uint8_t want[BUFFER];

	if (!c->first_rx)
		c->first_rx = now;
	else if (now - c->last_rx > c->gap) {
		c->gap = now - c->last_rx;
		c->gap_at = c->rx;
	}
	c->last_rx = now;
	if (arrivals)
		fwrite((const uint64_t[]){ now, n }, sizeof(uint64_t), 2, arrivals);
	if (!opt.no_hash)
		sha256_update(&c->rx_sha, buf, n);
	if (opt.has_expect && c->bad == NEVER) {
		uint32_t i = 0;

		fill(want, n, opt.expect, c->rx);
		if (memcmp(want, buf, n)) {
			while (want[i] == buf[i])
				i++;
			c->bad = c->rx + i;
		}
	}
	c->rx += n;
	if (opt.pingpong && c->asked && c->rx >= c->tx) {
		uint64_t rtt = now - c->asked;

		c->rtt_sum += rtt;
		c->rtt_n++;
		if (rtt > c->rtt_max)
			c->rtt_max = rtt;
		c->asked = 0;
	}
}

/* Read what there is; returns 0 or the errno the connection died of. */
static int do_rx(struct conn *c)
{
	static uint8_t buf[BUFFER];
	uint32_t turn = 0;

	while (want_rx(c) && turn < TURN) {
		ssize_t n = recv(c->fd, buf, opt.read_chunk, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN ? 0 : errno;
		if (n == 0) {
			c->rx_eof = true;
			return 0;
		}
		account_rx(c, buf, n, now_ns());
		if (opt.role == ECHO) {
			if (!c->echo && !(c->echo = malloc(BUFFER)))
				return ENOMEM;
			memcpy(c->echo, buf, n);
			c->echo_len = n;
			c->echo_off = 0;
		}
		turn += n;
		if (opt.read_pause) {
			c->rx_at = now_ns() + opt.read_pause;
			return 0;
		}
	}
	return 0;
}

static int do_tx(struct conn *c)
{
	static uint8_t buf[BUFFER];
	uint32_t turn = 0;

	while (want_tx(c) && turn < TURN) {
		uint64_t left = opt.send - c->tx;
		const uint8_t *p = buf;
		uint32_t len;
		ssize_t n;

		if (opt.role == ECHO) {
			p = c->echo + c->echo_off;
			len = c->echo_len;
		} else {
			len = opt.chunk - c->tx % opt.chunk;
			if (len > left)
				len = left;
			if (len > BUFFER)
				len = BUFFER;
			fill(buf, len, opt.seed, c->tx);
		}
		n = send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : errno;
		if (!opt.no_hash)
			sha256_update(&c->tx_sha, p, n);
		c->tx += n;
		turn += n;
		if (opt.role == ECHO) {
			c->echo_off += n;
			c->echo_len -= n;
			continue;
		}
		if (opt.pingpong && !c->asked)
			c->asked = now_ns();
		if (opt.rate)
			c->tx_at = c->established + c->tx * NSEC / opt.rate;
		if (opt.pause && c->tx % opt.chunk == 0)
			c->tx_at = now_ns() + opt.pause;
		if (c->tx_at > now_ns())
			return 0;
	}
	return 0;
}

/* Everything is sent: end our side as told. */
static void end_tx(struct conn *c, uint64_t now)
{
	if (c->tx_at > now || c->rx < opt.after_rx)
		return;
	if (opt.end == END_FIN)
		shutdown(c->fd, SHUT_WR);
	c->tx_ended = true;
}

static void advance(struct conn *c, uint32_t events)
{
	int err = 0;
	socklen_t len = sizeof(err);
	uint64_t now;

	if (!c->connected) {
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (!err) {
			struct sockaddr_storage ss;

			len = sizeof(ss);
			getsockname(c->fd, (struct sockaddr *)&ss, &len);
			address(c->local, &ss);
			c->connected = true;
			c->established = now_ns();
		}
	} else {
		if (want_rx(c) && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
			err = do_rx(c);
		else if (events & EPOLLERR)
			getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	}
	if (!err && c->connected && c->tx_at <= now_ns())
		err = do_tx(c);
	if (err) {
		finish(c, strerrorname_np(err), false);
		return;
	}
	now = now_ns();
	if (c->connected && !c->tx_ended && tx_goal(c))
		end_tx(c, now);
	if (c->tx_ended && c->rx_eof)
		finish(c, c->rx < opt.recv ? "short" : "eof", c->rx >= opt.recv);
	else
		watch(c, now);
}

static void tune(int fd)
{
	const struct { int level, name, value; } ints[] = {
		{ SOL_SOCKET, SO_RCVBUFFORCE, opt.rcvbuf }, { IPPROTO_TCP, TCP_MAXSEG, opt.mss },
		{ IPPROTO_TCP, TCP_NODELAY, opt.nodelay },
	};
	size_t i;

	for (i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
		if (ints[i].value && setsockopt(fd, ints[i].level, ints[i].name, &ints[i].value, sizeof(int)))
			perror("tcpload: setsockopt");
}

static struct conn *conn_new(int fd, const struct sockaddr_storage *peer)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct epoll_event ev = { .data.ptr = c };

	if (!c || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		perror("tcpload: new connection");
		exit(1);
	}
	c->fd = fd;
	c->start = c->established = now_ns();
	c->bad = NEVER;
	sha256_init(&c->rx_sha);
	sha256_init(&c->tx_sha);
	address(c->peer, peer);
	c->next = conns;
	c->prev = &conns;
	if (conns)
		conns->prev = &c->next;
	conns = c;
	open_conns++;
	return c;
}

static void accept_all(int listener)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	while ((fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = conn_new(fd, &ss);

		tune(fd);
		c->connected = true;
		len = sizeof(ss);
		getsockname(fd, (struct sockaddr *)&ss, &len);
		address(c->local, &ss);
		advance(c, 0);
		len = sizeof(ss);
	}
}

static int open_listener(const struct addrinfo *ai)
{
	int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	tune(fd);
	if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 4096)) {
		perror("tcpload: listen");
		exit(1);
	}
	return fd;
}

static void dial(const struct addrinfo *ai)
{
	int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct addrinfo hint = { .ai_family = ai->ai_family, .ai_flags = AI_NUMERICHOST }, *src;
	struct sockaddr_storage ss = {};
	struct conn *c;

	if (fd < 0) {
		perror("tcpload: socket");
		exit(1);
	}
	tune(fd);
	if (opt.bind) {
		char *host = strdup(opt.bind), *port = host ? strchr(host, '@') : NULL;

		/* ADDRESS or ADDRESS@PORT */
		if (port)
			*port++ = 0;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (getaddrinfo(host, port, &hint, &src) || bind(fd, src->ai_addr, src->ai_addrlen)) {
			perror("tcpload: bind");
			exit(1);
		}
		freeaddrinfo(src);
		free(host);
	}
	memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
	c = conn_new(fd, &ss);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS)
		finish(c, strerrorname_np(errno), false);
	else
		watch(c, now_ns());
}

/* Wake connections whose pause is over; returns milliseconds to the next one, or -1. */
static int run_timers(void)
{
	uint64_t now = now_ns(), next = NEVER;
	struct conn *c, *following;

	for (c = conns; c; c = following) {
		following = c->next;
		if (c->tx_at && c->tx_at <= now) {
			c->tx_at = 0;
			advance(c, 0);
			continue;
		}
		if (c->rx_at && c->rx_at <= now) {
			c->rx_at = 0;
			watch(c, now);
		}
	}
	for (c = conns; c; c = c->next) {
		if (c->tx_at && c->tx_at < next)
			next = c->tx_at;
		if (c->rx_at && c->rx_at < next)
			next = c->rx_at;
	}
	now = now_ns();
	return next == NEVER ? -1 : next <= now ? 0 : (int)((next - now + MSEC - 1) / MSEC);
}

int main(int argc, char **argv)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM }, *ai;
	struct rlimit rl;
	uint64_t deadline, next_dial = 0;
	uint32_t dialled = 0;
	int listener = -1, sigfd, err;
	static int listener_tag, signal_tag;
	sigset_t set;

	parse(argc, argv);
	if (opt.arrivals && !(arrivals = fopen(opt.arrivals, "w"))) {
		perror(opt.arrivals);
		return 1;
	}
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	hint.ai_flags = AI_NUMERICHOST | (opt.listen ? AI_PASSIVE : 0);
	err = getaddrinfo(argv[optind + 1], argv[optind + 2], &hint, &ai);
	if (err) {
		fprintf(stderr, "tcpload: %s: %s\n", argv[optind + 1], gai_strerror(err));
		return 1;
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sigfd,
		  &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &signal_tag });
	if (opt.listen) {
		listener = open_listener(ai);
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener,
			  &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &listener_tag });
		fprintf(stderr, "tcpload: ready\n");
	}
	deadline = opt.timeout ? now_ns() + opt.timeout : NEVER;
	while (opt.listen || open_conns || dialled < opt.count) {
		struct epoll_event ev[64];
		uint64_t now;
		int wait = run_timers(), n, i;

		while (!opt.listen && dialled < opt.count && now_ns() >= next_dial) {
			dial(ai);
			dialled++;
			next_dial = opt.every ? now_ns() + opt.every : 0;
		}
		now = now_ns();
		if (now >= deadline) {
			while (conns)
				finish(conns, "timeout", false);
			return 1;
		}
		if (!opt.listen && !open_conns && dialled == opt.count)
			break;	/* the last one ended by a timer: no event would come */
		if (!opt.listen && dialled < opt.count && (wait < 0 || wait > 1))
			wait = 1;
		if (deadline != NEVER && (wait < 0 || (deadline - now) / MSEC < (uint64_t)wait))
			wait = (deadline - now) / MSEC + 1;
		n = epoll_wait(epoll_fd, ev, 64, wait);
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == &listener_tag) {
				accept_all(listener);
			} else if (ev[i].data.ptr == &signal_tag) {
				struct signalfd_siginfo si;

				if (read(sigfd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1) {
					opt.send = 0;
					continue;
				}
				while (conns)
					finish(conns, "killed", opt.listen);
				return failed != 0;
			} else {
				advance(ev[i].data.ptr, ev[i].events);
			}
		}
	}
	return failed != 0;
}
