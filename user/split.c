// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "daemon.h"
#include "frame.h"
#include "leg.h"
#include "log.h"

/* Descriptors that no leg gets, so that `seam status` is still answered when they run out. */
#define SPARE_FILES 16

static int port_mtu(struct daemon *d, int ifindex)
{
	const struct kern_port *port = kern_port(&d->kern, ifindex);

	return port ? port->mtu : 0;
}

/* Whether a leg has taken one of the last descriptors, which are reserved for other things. */
static bool is_last(int fd)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_NOFILE, &limit) && (rlim_t)fd + SPARE_FILES >= limit.rlim_cur;
}

/* Makes the leg known to steering. Its key is that of the packets sent to it. */
static int leg_insert(struct daemon *d, struct conn *c, enum seam_end end)
{
	struct flow_key key = c->key;
	__u64 fd = c->leg[end].watch.fd;

	if (end == SEAM_SERVER)
		frame_reverse(&c->key, &key);
	return bpf_map_update_elem(d->kern.maps.legs, &key, &fd, BPF_ANY) ? -errno : 0;
}

/* The split has failed: gives the rule's fail answer. */
static void split_failed(struct daemon *d, struct conn *c, const struct flow *f, int err)
{
	const struct policy_rule *rule = c->rule ? c->rule : &c->policy->default_rule;
	/* Undecided, or split by hand while a rule still waits for it: that rule's answer. */
	bool waits = !c->rule || c->awaited;
	bool block = waits ? f->flags & FLOW_F_FAIL_BLOCK : rule->fail_block;
	__u8 reason = err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS ?
			      SEAM_R_NO_MEMORY : SEAM_R_LEG_FAILED;
	static uint64_t next_ns;
	uint64_t now = kern_now();

	/* Out of descriptors, every connection gets here: warn once a second. */
	log_write(now < next_ns ? LOG_DEBUG : LOG_WARNING, "flow %llu: building its legs: %s",
		  (unsigned long long)c->id, strerror(-err));
	if (now >= next_ns)
		next_ns = now + 1000000000ULL;
	split_vanish(c);
	if (block) {
		conn_block(d, c, rule, reason);
		return;
	}
	conn_ctl(d, c, CTL_UNSPLIT, reason, 0, NULL);
	hold_release(d, c);
	conn_free(d, c);
}

/* Whether its FIN is before the boundary: it, or the other end's ack of it, goes straight. */
static bool ended_before(const struct flow_end *e)
{
	return (e->flags & END_F_FIN) && (__s32)(e->fin - e->bound) < 0;
}

void split_build(struct daemon *d, struct conn *c, const struct flow *f)
{
	struct leg_options opt = { .congestion = c->policy->congestion, .lowat = SPLIT_LOWAT };
	int err, end, fd;
	struct flow now;

	for (end = 0; end < 2; end++) {
		opt.mtu = port_mtu(d, f->end[end].ifindex);
		fd = leg_build(&c->key, f, end, &opt);
		if (fd < 0) {
			split_failed(d, c, f, fd);
			return;
		}
		c->leg[end].watch.fd = fd;
		err = is_last(fd) ? -EMFILE : leg_insert(d, c, end);
		if (!err)
			err = watch_begin(c->worker->epoll, &c->leg[end].watch, LEG_EVENTS);
		c->watched |= !err;
		if (err) {
			split_failed(d, c, f, err);
			return;
		}
	}
	for (end = 0; end < 2; end++) {
		err = prime_possible(f, end) ?
			prime_leg(&d->primer, c->leg[end].watch.fd, &c->key, f, end) : 0;
		if (err) {
			split_failed(d, c, f, err);
			return;
		}
	}
	err = conn_ctl(d, c, CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, &now);
	if (err) {
		/* Ended meanwhile: there is nobody to speak to. */
		log_debug("flow %llu: split: %s", (unsigned long long)c->id, strerror(-err));
		conn_free(d, c);
		return;
	}
	for (end = 0; end < 2; end++)
		leg_speak(c->leg[end].watch.fd);
	c->phase = CONN_SPLIT;
	c->crossed = now.state != FLOW_SPLITTING;
	for (end = 0; end < 2; end++)
		c->leg[end].over = c->leg[end].shut = ended_before(&f->end[end]);
	c->delta[SEAM_CLIENT] = now.end[SEAM_CLIENT].seq_delta;
	c->delta[SEAM_SERVER] = now.end[SEAM_SERVER].seq_delta;
	d->stats.splits++;
	hold_release(d, c);
	if (!c->rule)
		head_read_anew(c);
	else if (c->let_go)
		split_try_merge(d, c, SEAM_R_LET_GO);
}

void split_nudge(struct conn *c, const struct flow *f)
{
	int end;

	for (end = 0; end < 2; end++)
		if (f->end[end].flags & END_F_ANNOUNCE)
			leg_speak(c->leg[end].watch.fd);
}

void split_try_merge(struct daemon *d, struct conn *c, __u8 reason)
{
	int end, one = 1, err;
	uint64_t paced;
	struct flow f;

	if ((c->leg[0].eof && c->leg[1].eof) || c->phase == CONN_ABORTING)
		return; /* it ends split: the legs close with their ends */
	if (c->leg[0].edit.changed || c->leg[1].edit.changed)
		return; /* a merge fixes how far the streams are apart */
	/* Acknowledgements that a leg merely delays would keep the flow from coming to rest. */
	for (end = 0; end < 2; end++)
		setsockopt(c->leg[end].watch.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	if (c->phase == CONN_MERGING)
		return;
	paced = pace_wanted(d, c);
	err = conn_ctl(d, c, CTL_MERGE, reason, paced, &f);
	if (!err || err == -EINPROGRESS) {
		c->phase = CONN_MERGING;
		if (paced)
			pace_start(d, c);
		split_nudge(c, &f);
	} else if (err != -EBUSY)
		log_debug("flow %llu: merge: %s", (unsigned long long)c->id, strerror(-err));
}

void split_merge_on(struct daemon *d, struct conn *c)
{
	struct flow f;

	if (conn_ctl(d, c, CTL_MERGE, SEAM_R_LET_GO, 0, &f) == -EINPROGRESS)
		split_nudge(c, &f);
}

static void close_legs(struct conn *c, void (*close_leg)(int fd))
{
	int end;

	for (end = 0; end < 2; end++) {
		if (c->leg[end].watch.fd < 0)
			continue;
		watch_end(c->worker->epoll, &c->leg[end].watch);
		close_leg(c->leg[end].watch.fd);
		c->leg[end].watch.fd = -1;
	}
}

void split_vanish(struct conn *c)
{
	close_legs(c, leg_vanish);
}

void split_reset(struct conn *c)
{
	close_legs(c, leg_reset);
}
