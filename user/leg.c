// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The order of the steps is CRIU's, with two additions for what a repaired socket gets wrong by
 * itself: its MSS stays at the default until something makes it look again, and its clock must
 * continue where the end's own was.
 */
#include <errno.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kern.h"
#include "leg.h"
#include "net.h"
#include "prime.h"
#include "seam/tsval.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#define TCPOPT_MSS 2
#define TCPOPT_WSCALE 3
#define TCPOPT_SACK_PERM 4
#define TCPOPT_TIMESTAMP 8
#define TSTAMP_LEN 12	/* with two NOPs before it */
#define MIN_SND_MSS 48	/* what a kernel puts into a segment at least, options included */
/* Linux's default between probes, in seconds. */
#define KEEPALIVE_INTERVAL 75

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static socklen_t address(struct sockaddr_storage *ss, const __u32 addr[4], __u16 port, int v4)
{
	struct sockaddr_in *sin = (void *)ss;
	struct sockaddr_in6 *sin6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (v4) {
		sin->sin_family = AF_INET;
		sin->sin_port = port;
		sin->sin_addr.s_addr = addr[3];
		return sizeof(*sin);
	}
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = port;
	memcpy(&sin6->sin6_addr, addr, 16);
	return sizeof(*sin6);
}

static int queue_seq(int fd, int queue, __u32 seq)
{
	int err = set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);

	return err ? err : set_int(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq);
}

/* What the leg may send in one segment: as announced, as seen, and as the port takes it. */
static __u16 leg_mss(const struct flow *f, const struct flow_end *to, int mtu)
{
	int v4 = f->flags & FLOW_F_IPV4, mss = to->mss ? to->mss : v4 ? 536 : 1220;
	int room = mtu - 20 - (v4 ? 20 : 40);

	return mtu && room < mss ? room : mss;
}

static int set_options(int fd, const struct flow *f, const struct flow_end *to,
		       const struct flow_end *as, int mtu)
{
	struct tcp_repair_opt opts[4];
	int n = 0;

	opts[n++] = (struct tcp_repair_opt){ TCPOPT_MSS, leg_mss(f, to, mtu) };
	if (f->flags & FLOW_F_WSCALE)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_WSCALE,
						     to->wscale | (__u32)as->wscale << 16 };
	if (f->flags & FLOW_F_SACK)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_SACK_PERM, 0 };
	if (f->flags & FLOW_F_TSTAMP)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_TIMESTAMP, 0 };
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, opts, n * sizeof(opts[0])) ? -errno : 0;
}

/*
 * Sets the windows promised to the leg and to its end. To an end whose window is never larger
 * than a few segments a kernel sends smaller ones (tcp_bound_to_half_wnd()): of the largest
 * window that `to` had, what was in flight there is known.
 */
static int set_window(int fd, const struct flow_end *to, const struct flow_end *as, __u32 room,
		      __u32 primed)
{
	struct tcp_repair_window win = {
		.snd_wl1 = to->nxt,
		.snd_wnd = leg_room(to->edge, to->told_nxt) + primed,
		.rcv_wnd = room,
		.rcv_wup = to->nxt,
	};

	win.max_window = win.snd_wnd > as->flight ? win.snd_wnd : as->flight;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &win, sizeof(win)))
		return -errno;
	/* connect() computed mss_cache before there was an MSS, or a window. */
	return setsockopt(fd, IPPROTO_IP, 4 /* IP_OPTIONS */, "", 0) ? -errno : 0;
}

/*
 * The clock continues where the end's own would be now, at its rate. Since Linux 6.7 the lowest
 * bit switches to microseconds; before, it is a bit like the others. Rounded down: seam_leg_out
 * makes sure that what was told before does not step back, and a clock ahead of the end's own
 * costs a delta later.
 */
static int set_clock(int fd, const struct flow *f, const struct flow_end *as)
{
	__u32 ts = tsval_now(as, kern_now()) & ~1U;

	if (!(f->flags & FLOW_F_TSTAMP))
		return 0;
	if (tsval_tick_is_1us(as))
		ts |= 1;
	return set_int(fd, IPPROTO_TCP, TCP_TIMESTAMP, ts);
}

/*
 * The window promised to its end must fit into its queue, or the kernel would take the promise
 * back. A queue that large is not tuned any further: it covers what the real receiver told, and
 * no more is ever told than that.
 */
static int cover_window(int fd, __u32 window)
{
	int now;
	socklen_t len = sizeof(now);

	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &now, &len))
		return -errno;
	/* Half of it counts as window (tcp_adv_win_scale); the kernel doubles what it is told. */
	if (window <= (__u32)now / 2)
		return 0;
	return set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, window > INT_MAX / 4 ? INT_MAX / 4 : window);
}

/*
 * The path to its end is known to carry what the other end had in flight there: a leg that
 * started with the ten segments of a new connection would stall. The route that the mark
 * selects tells the kernel, rounded up. A leg gets bytes no faster than the other end sends
 * them, so this makes no burst.
 */
static int set_flight(int fd, const struct flow *f, const struct flow_end *to,
		      const struct flow_end *as, int mtu)
{
	unsigned int mss = leg_mss(f, to, mtu), segments, n = 0;

	if (mss < MIN_SND_MSS)
		mss = MIN_SND_MSS;
	if (f->flags & FLOW_F_TSTAMP)
		mss -= TSTAMP_LEN;
	segments = (as->flight + mss - 1) / mss;
	if (segments <= 10)
		return 0;
	while (n < NET_CWND_MARKS - 1 && segments > 16U << n)
		n++;
	return set_int(fd, SOL_SOCKET, SO_MARK, NET_CWND_MARK + n);
}

int leg_build(const struct flow_key *key, const struct flow *f, enum seam_end end,
	      const struct leg_options *opt)
{
	const struct flow_end *to = &f->end[end], *as = &f->end[!end];
	int v4 = !!(f->flags & FLOW_F_IPV4), fd, err;
	__u32 room = leg_room(to->told_edge, to->nxt);
	struct sockaddr_storage local, remote;
	socklen_t llen, rlen;
	bool primed;

	if (end == SEAM_CLIENT) {
		llen = address(&local, key->server, key->server_port, v4);
		rlen = address(&remote, key->client, key->client_port, v4);
	} else {
		llen = address(&local, key->client, key->client_port, v4);
		rlen = address(&remote, key->server, key->server_port, v4);
	}
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if ((err = v4 ? set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1) :
			set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)) ||
	    (err = set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON)) ||
	    (err = set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1)) ||
	    (err = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1)) ||
	    (err = set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, opt->lowat)) ||
	    (err = set_flight(fd, f, to, as, opt->mtu)))
		goto fail;
	if (opt->congestion[0] &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, opt->congestion, strlen(opt->congestion))) {
		err = -errno;
		goto fail;
	}
	/* Packets leave as the end's own would, one hop further on. */
	if (as->ttl &&
	    (err = v4 ? set_int(fd, IPPROTO_IP, IP_TTL, as->ttl) :
			set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, as->ttl)))
		goto fail;
	if (as->tos &&
	    (err = v4 ? set_int(fd, IPPROTO_IP, IP_TOS, as->tos) :
			set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, as->tos)))
		goto fail;
	if (bind(fd, (void *)&local, llen)) {
		err = -errno;
		goto fail;
	}
	primed = prime_possible(f, end);
	if ((err = queue_seq(fd, TCP_SEND_QUEUE, to->told_nxt - primed)) ||
	    (err = queue_seq(fd, TCP_RECV_QUEUE, to->nxt)))
		goto fail;
	if (connect(fd, (void *)&remote, rlen)) {
		err = -errno;
		goto fail;
	}
	if ((err = set_options(fd, f, to, as, opt->mtu)) || (err = set_clock(fd, f, as)) ||
	    (err = cover_window(fd, room)) || (err = set_window(fd, to, as, room, primed)))
		goto fail;
	/* The byte that prime_leg() acknowledges; its end has it, whatever it was. */
	if (primed && ((err = set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)) ||
		       (err = send(fd, "", 1, MSG_DONTWAIT) < 0 ? -errno : 0)))
		goto fail;
	err = set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
	if (!err)
		return fd;
fail:
	leg_vanish(fd);
	return err;
}

int leg_congestion(const char *name, char *why, size_t len)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0 || (*name && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name))))
		err = -errno;
	if (err == -ENOENT)
		snprintf(why, len, "congestion: this kernel does not have \"%s\", nor can it load it; it has what "
			 "sysctl net.ipv4.tcp_available_congestion_control shows", name);
	else if (err)
		snprintf(why, len, "congestion \"%s\": %s", name, strerror(-err));
	if (fd >= 0)
		close(fd);
	return err;
}

int leg_keepalive(int fd, unsigned int idle_s)
{
	int idle = idle_s < 1 ? 1 : idle_s > 32767 ? 32767 : idle_s, err;

	/*
	 * How soon the end would repeat an unanswered probe is unknown, as all are answered: an
	 * end that asks often wants to know soon.
	 */
	if ((err = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle)) ||
	    (err = idle < KEEPALIVE_INTERVAL ? set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle) : 0))
		return err;
	return set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

unsigned int leg_memory(int fd)
{
	__u32 info[SK_MEMINFO_VARS] = {};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len))
		return 0;
	return info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED] +
	       info[SK_MEMINFO_FWD_ALLOC] + info[SK_MEMINFO_OPTMEM] + info[SK_MEMINFO_BACKLOG];
}

void leg_speak(int fd)
{
	/*
	 * tcp_send_window_probe() exists for a window that opened while nobody was there to say
	 * so. A leg that already speaks is not put into repair for it: the kernel relay could
	 * not send just then.
	 */
	set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
}

void leg_vanish(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	close(fd);
}

void leg_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}
