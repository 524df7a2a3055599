// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon.h"
#include "leg.h"
#include "pace.h"

#define STEP_US 2000
#define RTO_MIN_US 200000
/*
 * A tail loss probe waits for two round trips and some milliseconds (RFC 8985 7.2; Linux: two
 * ticks of up to 4). If the other end is farther from the box than the sender by less, none is sent.
 */
#define PROBE_SLACK_US 8000
/* A sender that sends nothing has nothing to learn from, and not for ever has one that does. */
#define PATIENCE_IDLE_US 2000000
#define PATIENCE_US 10000000

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
	return pace_rto(r) > far + far / 4 && 2 * r->srtt > far + far / 8;
}

/* What the leg knows of its round trip: as it is now, and the shortest that it has seen. */
static uint32_t leg_rtt(const struct conn *c, const struct flow *f, int end, uint32_t *min)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(c->leg[end].watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) || !info.tcpi_rtt)
		return *min = f->end[end].rtt_us;
	*min = info.tcpi_min_rtt < info.tcpi_rtt ? info.tcpi_min_rtt : info.tcpi_rtt;
	return info.tcpi_rtt;
}

/* Whether an end so far away is silent for longer than the timers of one so near are set to. */
static bool far_from(uint32_t far, uint32_t near)
{
	return far > near + near / 4 + PROBE_SLACK_US;
}

uint64_t pace_wanted(struct daemon *d, struct conn *c)
{
	struct pace *p = &c->pace;
	uint32_t rtt[2], min[2];
	struct flow f;
	int end;

	if (d->pacer.fd < 0 || d->stopping || kern_flow(&d->kern, &c->key, &f) || f.id != c->id)
		return 0;
	for (end = 0; end < 2; end++)
		rtt[end] = leg_rtt(c, &f, end, &min[end]);
	end = min[SEAM_CLIENT] < min[SEAM_SERVER] ? SEAM_CLIENT : SEAM_SERVER;
	/* What the sender itself makes of its own is not known: no less than the shortest. */
	if (!far_from(rtt[!end], min[end]) ||
	    (f.end[end].flags & (END_F_DATA | END_F_FIN)) != END_F_DATA ||
	    (f.end[!end].flags & END_F_FIN)) /* its leg has sent that FIN, and probes no more */
		return 0;
	if (!p->line && !(p->line = calloc(PACE_LINE, sizeof(*p->line))))
		return 0;
	/* Not where it is in the list, which is another lock's. */
	p->conn = c;
	p->end = end;
	p->near = min[end];
	p->far = rtt[!end];
	p->rtt = (struct pace_rtt){ min[end], 2 * min[end] };
	p->hold = p->first = p->n = 0;
	p->learnt = false;
	return 1 << end;
}

void pace_start(struct daemon *d, struct conn *c)
{
	static const struct itimerspec every = { { 0, STEP_US * 1000 }, { 0, STEP_US * 1000 } };
	struct pace *p = &c->pace;

	p->began_us = p->told_us = kern_now() / 1000;
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

	if (c->pace.on) {
		pthread_mutex_lock(&d->lists);
		for (at = &d->paced; *at != &c->pace; at = &(*at)->next)
			;
		*at = c->pace.next;
		c->pace.on = false;
		if (!d->paced)
			timerfd_settime(d->pacer.fd, 0, &never, NULL);
		pthread_mutex_unlock(&d->lists);
	}
	free(c->pace.line);
	c->pace.line = NULL;
}

/* Tells it of `bytes` more; `how`: CTL_PACE_*. */
static void pace_tell(struct daemon *d, struct pace *p, uint32_t bytes, uint64_t how)
{
	struct flow f;

	if (!conn_ctl(d, p->conn, CTL_PACE, SEAM_R_FAR, CTL_PACED(p->end, bytes) | how, &f))
		split_nudge(p->conn, &f);
}

/* Notes what its leg has acknowledged by now; no more often than the line has room for. */
static void line_in(struct pace *p, uint32_t ack, uint64_t now)
{
	struct pace_ack *last = &p->line[(p->first + p->n + PACE_LINE - 1) % PACE_LINE];

	if (p->n && last->ack == ack)
		return;
	if (p->n && (now - last->at_us < p->far / (PACE_LINE / 2) || p->n == PACE_LINE)) {
		/* A little early, rather than late. */
		last->ack = ack;
		return;
	}
	p->line[(p->first + p->n++) % PACE_LINE] = (struct pace_ack){ now, ack };
}

/* Takes out what has been held back for long enough; how long that was, 0: there is nothing. */
static uint32_t line_out(struct pace *p, uint64_t now, uint32_t *ack)
{
	uint32_t held = 0;

	while (p->n && now - p->line[p->first].at_us >= p->hold) {
		*ack = p->line[p->first].ack;
		held = now - p->line[p->first].at_us + 1;
		p->first = (p->first + 1) % PACE_LINE;
		p->n--;
	}
	return held;
}

/* How long the next ones are held back: for half of the time that has passed longer, and short of the sender's timers. */
static uint32_t longer(const struct pace *p, uint64_t passed, bool single)
{
	/* Of a single segment the probe waits for a delayed acknowledgement, longer than any RTO_MIN_US. */
	uint32_t most = single ? pace_rto(&p->rtt) / 8 * 7 : p->rtt.srtt + p->rtt.srtt / 2 + PROBE_SLACK_US / 4;
	uint32_t hold = single ? most : p->hold + passed / 2;

	most = most > p->near ? most - p->near : 0;
	if (most > p->far)
		most = p->far;
	return hold < most ? hold : most > p->hold ? most : p->hold;
}

/* One turn of one flow; false if it is paced no longer. */
static bool pace_turn(struct daemon *d, struct pace *p, uint64_t now)
{
	uint32_t ack, held, left;
	const struct flow_end *e;
	struct flow f;

	if (conn_ctl(d, p->conn, CTL_SNAPSHOT, SEAM_R_NONE, 0, &f))
		return false;
	e = &f.end[p->end];
	if (!(e->flags & END_F_PACED) || (e->flags & END_F_FIN))
		return false;
	left = e->leg_ack - e->pace;
	if (!p->learnt && (now - p->began_us > PATIENCE_US || (!left && now - p->told_us > PATIENCE_IDLE_US))) {
		pace_tell(d, p, 0, CTL_PACE_END);
		return false;
	}
	if (left)
		line_in(p, e->leg_ack, now);
	held = line_out(p, now, &ack);
	if (!held)
		return true;
	pace_measured(&p->rtt, p->near + held);
	if (!p->learnt) {
		p->hold = longer(p, now - p->told_us, e->nxt - e->pace <= e->seg_max);
		p->learnt = p->hold >= p->far / 16 * 15 && pace_enough(&p->rtt, p->near + p->far);
		pace_tell(d, p, ack - e->pace, p->learnt ? CTL_PACE_LEARNT : 0);
	} else {
		pace_tell(d, p, ack - e->pace, 0);
	}
	p->told_us = now;
	return true;
}

static void pacer_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	uint64_t n, now = kern_now() / 1000;
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
