// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "relay.skel.h"
#include "sockmap.h"
#include "sockmap_try.h"

/* How often the reading of two counters that belong together is tried. */
#define READINGS 1000

static bool read_info(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len);
}

/*
 * Bytes taken out of a leg's receive queue, from wherever the kernel counts. Nobody else takes
 * any. A FIN counts as a byte that never leaves it.
 */
static int read_consumed(int fd, uint64_t *consumed)
{
	struct tcp_info before, after;
	ssize_t queued;
	int i;

	for (i = 0; i < READINGS; i++) {
		if (!read_info(fd, &before))
			return -errno;
		queued = recv(fd, NULL, INT_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
		if (queued < 0 && errno != EAGAIN)
			return -errno;
		if (!read_info(fd, &after))
			return -errno;
		if (before.tcpi_bytes_received != after.tcpi_bytes_received)
			continue;
		*consumed = after.tcpi_bytes_received - (queued > 0 ? queued : 0);
		return 0;
	}
	return -EAGAIN;
}

/* Bytes put into a leg's send queue, from wherever the kernel counts. */
static bool read_written(int fd, uint64_t *written)
{
	struct tcp_info before, after;
	int i, queued;

	for (i = 0; i < READINGS; i++) {
		if (!read_info(fd, &before) || ioctl(fd, SIOCOUTQ, &queued) || !read_info(fd, &after))
			return false;
		*written = after.tcpi_bytes_acked + queued;
		if (before.tcpi_bytes_acked == after.tcpi_bytes_acked)
			return true;
	}
	return false;
}

static int set_lowat(int fd, int value)
{
	return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value)) ? -errno : 0;
}

int sockmap_open(struct sockmap *s, const char *pins, int legs, char *why, size_t len)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = pins);
	int err;

	*s = (struct sockmap){ .legs = legs };
	s->obj = relay_bpf__open_opts(&opts);
	if (!s->obj) {
		err = -errno;
		snprintf(why, len, "opening its program: %s", strerror(-err));
		return err;
	}
	err = relay_bpf__load(s->obj);
	if (!err)
		err = bpf_prog_attach(bpf_program__fd(s->obj->progs.seam_relay),
				      bpf_map__fd(s->obj->maps.relay_socks),
				      BPF_SK_SKB_STREAM_VERDICT, 0);
	if (err)
		snprintf(why, len, "loading its program: %s", strerror(-err));
	else
		err = sockmap_try(s, why, len);
	if (err)
		sockmap_close(s);
	return err;
}

void sockmap_close(struct sockmap *s)
{
	relay_bpf__destroy(s->obj);
	s->obj = NULL;
}

/* Whether a FIN may have come, even if all is over by now. */
static bool has_ended(int fd)
{
	struct tcp_info info;

	return read_info(fd, &info) && info.tcpi_state != BPF_TCP_ESTABLISHED &&
	       info.tcpi_state != BPF_TCP_FIN_WAIT1 && info.tcpi_state != BPF_TCP_FIN_WAIT2;
}

int sockmap_begin(struct sockmap *s, struct sockmap_leg *leg, int from, int to,
		  const struct flow_key *peer)
{
	struct relay r = { .peer = *peer };
	socklen_t len = sizeof(leg->cookie);
	__u64 fd = from;
	int err;

	err = read_consumed(from, &leg->consumed);
	if (err)
		return err;
	if (!read_written(to, &leg->written))
		return -EAGAIN;
	if (getsockopt(from, SOL_SOCKET, SO_COOKIE, &leg->cookie, &len))
		return -errno;
	err = bpf_map_update_elem(bpf_map__fd(s->obj->maps.relays), &leg->cookie, &r, BPF_ANY);
	if (!err)
		err = bpf_map_update_elem(bpf_map__fd(s->obj->maps.relay_socks), &leg->cookie, &fd,
					  BPF_ANY);
	if (err) {
		err = -errno;
		sockmap_forget(s, leg);
		return err;
	}
	/* What is in its queue is looked at on the next wake-up, which this is. */
	return set_lowat(from, 1);
}

/*
 * The kernel drops what comes while a socket loses its verdict program, and has acknowledged it
 * by then (sk_psock_stop_verdict() does not take the socket's lock). So nothing may wake the
 * socket meanwhile: its low-water mark is raised to what its window will hardly let in. The
 * sums show whether that worked; if not, the connection is at an end.
 */
int sockmap_end(struct sockmap *s, struct sockmap_leg *leg, int from, struct relay *out)
{
	int err = 0, room = 0, map = bpf_map__fd(s->obj->maps.relay_socks);
	socklen_t len = sizeof(room);
	uint64_t consumed;

	getsockopt(from, SOL_SOCKET, SO_RCVBUF, &room, &len);
	set_lowat(from, room / 2);
	bpf_map_delete_elem(map, &leg->cookie);
	set_lowat(from, 1);
	if (sockmap_read(s, leg, out) || out->lost)
		return -EIO;
	err = read_consumed(from, &consumed);
	if (err)
		return err == -EAGAIN ? 0 : err;
	consumed -= leg->consumed + out->bytes;
	return consumed > has_ended(from) ? -EIO : 0;
}

int sockmap_read(const struct sockmap *s, const struct sockmap_leg *leg, struct relay *out)
{
	return bpf_map_lookup_elem(bpf_map__fd(s->obj->maps.relays), &leg->cookie, out) ? -errno : 0;
}

bool sockmap_arrived(const struct sockmap_leg *leg, int to, uint64_t taken)
{
	uint64_t written;

	return read_written(to, &written) && written - leg->written >= taken;
}

bool sockmap_any_lost(struct sockmap *s)
{
	uint64_t lost = s->obj ? __atomic_load_n(&s->obj->bss->relays_lost, __ATOMIC_RELAXED) : 0;
	bool more = lost != s->lost;

	s->lost = lost;
	return more;
}

void sockmap_forget(struct sockmap *s, struct sockmap_leg *leg)
{
	if (!leg->cookie)
		return;
	bpf_map_delete_elem(bpf_map__fd(s->obj->maps.relay_socks), &leg->cookie);
	bpf_map_delete_elem(bpf_map__fd(s->obj->maps.relays), &leg->cookie);
	leg->cookie = 0;
}
