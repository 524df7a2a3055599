// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon.h"
#include "leg.h"
#include "pace.h"

#define STEP_NS 4000000ULL
#define RTO_MIN_US 200000
/* Nearer than that no timer of the other end's fires early. */
#define FAR_US 150000
/* A sender that sends nothing has nothing to learn from, and not for ever has one that does. */
#define PATIENCE_IDLE_NS 2000000000ULL
#define PATIENCE_NS 5000000000ULL
/* With so many steps ahead they may be small ones. */
#define STEPS_MANY 40

void pace_measured(struct pace_rtt *r, uint32_t rtt)
{
	int32_t err = (int32_t)(rtt - r->srtt), delta = (err < 0 ? -err : err) - (int32_t)(r->var / 4);

	r->srtt += err / 8;
	/* As Linux does: a round trip that shrinks is no reason for impatience. */
	if (err < 0 && delta > 0)
		delta /= 8;
	r->var += delta;
}

uint32_t pace_rto(const struct pace_rtt *r)
{
	return r->srtt + (r->var > RTO_MIN_US ? r->var : RTO_MIN_US);
}

bool pace_enough(const struct pace_rtt *r, uint32_t far)
{
	/* A tail loss probe waits for two round trips (RFC 8985 7.2). */
	return pace_rto(r) > far + far / 4 && 2 * r->srtt > far + far / 8;
}

static uint32_t leg_rtt(const struct conn *c, const struct flow *f, int end)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(c->leg[end].watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) || !info.tcpi_rtt)
		return f->end[end].rtt_us;
	return info.tcpi_rtt;
}

uint64_t pace_wanted(struct daemon *d, struct conn *c)
{
	struct pace *p = &c->pace;
	uint32_t rtt[2];
	struct flow f;
	int end;

	if (d->pacer.fd < 0 || d->stopping || kern_flow(&d->kern, &c->key, &f) || f.id != c->id)
		return 0;
	for (end = 0; end < 2; end++)
		rtt[end] = leg_rtt(c, &f, end);
	end = rtt[SEAM_CLIENT] < rtt[SEAM_SERVER] ? SEAM_CLIENT : SEAM_SERVER;
	if (rtt[!end] < FAR_US || rtt[!end] < 2 * rtt[end] ||
	    (f.end[end].flags & (END_F_DATA | END_F_FIN)) != END_F_DATA ||
	    (f.end[!end].flags & END_F_FIN)) /* its leg has sent that FIN, and probes no more */
		return 0;
	/* Not where it is in the list, which is another lock's. */
	p->conn = c;
	p->end = end;
	p->far = rtt[0] + rtt[1];
	p->rtt = (struct pace_rtt){ rtt[end], 2 * rtt[end] };
	p->since_ns = p->due_ns = 0;
	p->upto = 0;
	return 1 << end;
}

void pace_start(struct daemon *d, struct conn *c)
{
	static const struct itimerspec every = { { 0, STEP_NS }, { 0, STEP_NS } };
	struct pace *p = &c->pace;

	p->began_ns = kern_now();
	if (p->on)
		return;
	pthread_mutex_lock(&d->lists);
	if (!d->paced)
		timerfd_settime(d->pacer.fd, 0, &every, NULL);
	p->on = true;
	p->next = d->paced;
	d->paced = p;
	pthread_mutex_unlock(&d->lists);
}

void pace_stop(struct daemon *d, struct conn *c)
{
	static const struct itimerspec never = {};
	struct pace **at;

	if (!c->pace.on)
		return;
	pthread_mutex_lock(&d->lists);
	for (at = &d->paced; *at != &c->pace; at = &(*at)->next)
		;
	*at = c->pace.next;
	c->pace.on = false;
	if (!d->paced)
		timerfd_settime(d->pacer.fd, 0, &never, NULL);
	pthread_mutex_unlock(&d->lists);
}

static void pace_tell(struct daemon *d, struct pace *p, uint32_t bytes)
{
	if (!conn_ctl(d, p->conn, CTL_PACE, SEAM_R_FAR, CTL_PACED(p->end, bytes), NULL))
		leg_announce(p->conn->leg[p->end].watch.fd);
}

/* How long the next step may take: short of the sender's timers. */
static uint64_t pace_next(const struct pace *p, uint64_t now, uint32_t left, uint32_t seg)
{
	uint32_t wait = pace_rto(&p->rtt) / 8 * 7;

	/* A single segment: only its own acknowledgement is there to be held back. */
	if (left <= seg)
		return p->since_ns + 1000ULL * (wait < p->far + p->far / 4 ? wait : p->far + p->far / 4);
	return now + 1000ULL * (left / (2 * seg) > STEPS_MANY ? p->rtt.srtt / 8 : p->rtt.srtt + p->rtt.srtt / 4);
}

/* One turn of one flow; false if it is paced no longer. */
static bool pace_turn(struct daemon *d, struct pace *p, uint64_t now)
{
	const struct flow_end *e;
	uint32_t left, seg;
	struct flow f;

	if (conn_ctl(d, p->conn, CTL_SNAPSHOT, SEAM_R_NONE, 0, &f) || !(f.flags & FLOW_F_WAITS))
		return false;
	e = &f.end[p->end];
	if (e->flags & END_F_FIN)
		return false;
	left = e->leg_ack - e->pace;
	seg = e->seg_max > 536 ? e->seg_max : 536;
	if (pace_enough(&p->rtt, p->far) || now - p->began_ns > PATIENCE_NS ||
	    (!left && now - p->began_ns > PATIENCE_IDLE_NS)) {
		pace_tell(d, p, 0);
		return false;
	}
	if (!left) {
		p->since_ns = 0;
		return true;
	}
	if (!p->since_ns) {
		p->since_ns = now;
		p->upto = e->leg_ack;
		p->due_ns = pace_next(p, now, left, seg);
	}
	if (now < p->due_ns)
		return true;
	pace_measured(&p->rtt, (now - p->since_ns) / 1000);
	pace_tell(d, p, 2 * seg);
	left = left > 2 * seg ? left - 2 * seg : 0;
	/* What comes next was sent later: when, is known to the last turn. */
	if ((__s32)(e->pace + 2 * seg - p->upto) >= 0) {
		p->since_ns = left ? now : 0;
		p->upto = e->leg_ack;
	}
	p->due_ns = pace_next(p, now, left, seg);
	return true;
}

static void pacer_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	uint64_t n, now = kern_now();
	struct pace *p, *next;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0)
		return;
	for (p = d->paced; p; p = next) {
		next = p->next;
		if (!pace_turn(d, p, now))
			pace_stop(d, p->conn);
	}
}

int pace_open(struct daemon *d)
{
	d->pacer.ready = pacer_ready;
	d->pacer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return d->pacer.fd < 0 ? -errno : watch_begin(d->epoll, &d->pacer, EPOLLIN);
}
