// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tries the kernel relay on loopback: a source that has been read in part, a slow sink, so that
 * buffers go out in pieces and have to wait, and the return to userspace before the end.
 * Kernels before the one that carries "bpf, sockmap: fix duplicated data transmission" send the
 * beginning of such a buffer again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "sockmap_try.h"

#define TOTAL (2U << 20)
#define READ_BEFORE 3001	/* odd, and less than a buffer */
#define PATIENCE_NS 5000000000ULL

/* source - in, out - sink: in and out are as the two legs of a flow. */
struct trial {
	int source, in, out, sink;
	uint32_t sent, got;	/* bytes */
	uint64_t deadline_ns;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint8_t pattern(uint32_t at)
{
	return at ^ at >> 7 ^ at >> 15;
}

/* A connection on loopback, with small buffers where bytes should pile up. */
static int connected(int *a, int *b, bool small)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int size = 8192, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;
	socklen_t len = sizeof(sin);

	*a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (small) {
		setsockopt(*a, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	if (listener < 0 || *a < 0 || bind(listener, (void *)&sin, sizeof(sin)) ||
	    getsockname(listener, (void *)&sin, &len) || listen(listener, 1) ||
	    connect(*a, (void *)&sin, sizeof(sin)) ||
	    (*b = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		err = -errno;
	if (listener >= 0)
		close(listener);
	return err;
}

static void send_some(struct trial *t, uint32_t upto)
{
	uint8_t buf[32768];
	uint32_t n = upto - t->sent, i;
	ssize_t w;

	if (n > sizeof(buf))
		n = sizeof(buf);
	for (i = 0; i < n; i++)
		buf[i] = pattern(t->sent + i);
	w = n ? send(t->source, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	t->sent += w > 0 ? w : 0;
}

/* 0: nothing there; -EIO: not what it should be. */
static int read_some(struct trial *t, int fd, uint32_t most)
{
	uint8_t buf[16384];
	ssize_t n = recv(fd, buf, most < sizeof(buf) ? most : sizeof(buf), MSG_DONTWAIT), i;

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (i = 0; i < n; i++)
		if (buf[i] != pattern(t->got + i))
			return -EIO;
	t->got += n;
	return n;
}

static int wait_for(int fd, const struct trial *t)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (now_ns() > t->deadline_ns)
		return -ETIMEDOUT;
	poll(&p, 1, 1);
	return 0;
}

static int relayed(struct sockmap *s, struct trial *t, const struct flow_key *peer)
{
	struct sockmap_leg leg = {};
	struct relay r;
	int err, n;

	/* In its queue, and partly read, when the kernel takes over. */
	send_some(t, 20000);
	while (t->got < READ_BEFORE) {
		n = read_some(t, t->in, READ_BEFORE - t->got);
		err = n < 0 ? n : n ? 0 : wait_for(t->in, t);
		if (err)
			return err;
	}
	err = sockmap_begin(s, &leg, t->in, t->out, peer);
	if (err)
		return err;
	/* Until half of it: what is then left in the queue is userspace's again. */
	while (!err && t->got < TOTAL / 2) {
		send_some(t, TOTAL);
		n = read_some(t, t->sink, 16384);
		err = n < 0 ? n : n ? 0 : wait_for(t->sink, t);
	}
	n = sockmap_end(s, &leg, t->in, &r);
	err = err ? err : n;
	while (!err && t->got < READ_BEFORE + r.bytes) {
		n = read_some(t, t->sink, 16384);
		err = n < 0 ? n : n ? 0 : wait_for(t->sink, t);
	}
	if (!err && !sockmap_arrived(&leg, t->out, r.bytes))
		err = -EIO;
	while (!err && t->got < TOTAL) {
		send_some(t, TOTAL);
		n = read_some(t, t->in, 16384);
		err = n < 0 ? n : n ? 0 : wait_for(t->in, t);
	}
	sockmap_forget(s, &leg);
	return err;
}

int sockmap_try(struct sockmap *s, char *why, size_t len)
{
	struct trial t = { .source = -1, .in = -1, .out = -1, .sink = -1,
			   .deadline_ns = now_ns() + PATIENCE_NS };
	/* No flow has this key: its addresses are nobody's. */
	struct flow_key keys[2] = { { .client_port = 1 }, { .client_port = 2 } };
	__u64 fd;
	int err, i, all[4];

	err = connected(&t.source, &t.in, false);
	if (!err)
		err = connected(&t.out, &t.sink, true);
	for (i = 0; !err && i < 2; i++) {
		fd = i ? t.out : t.in;
		err = bpf_map_update_elem(s->legs, &keys[i], &fd, BPF_ANY) ? -errno : 0;
	}
	if (err) {
		snprintf(why, len, "trying it: %s", strerror(-err));
	} else {
		err = relayed(s, &t, &keys[1]);
		if (err)
			snprintf(why, len, "trying it: %s",
				 err == -EIO ? "this kernel's sockmap loses or repeats bytes" : strerror(-err));
	}
	for (i = 0; i < 2; i++)
		bpf_map_delete_elem(s->legs, &keys[i]);
	memcpy(all, (int[]){ t.source, t.in, t.out, t.sink }, sizeof(all));
	for (i = 0; i < 4; i++)
		if (all[i] >= 0)
			close(all[i]);
	return err;
}
