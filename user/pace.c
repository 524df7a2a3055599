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
 * ticks of up to 4). None is sent if the other end is farther from the box than the sender by
 * less than that.
 */
#define PROBE_SLACK_US 8000
/* A sender that sends nothing learns nothing; one that sends is not waited for indefinitely. */
#define PATIENCE_IDLE_US 1000000
#define PATIENCE_US 5000000
/* The most acknowledgements told in one turn: each is a measurement to the sender. */
#define PARTS 4
/* Flows paced at once, each looked at 500 times a second; others merge as they are. */
#define PACED_MOST 128

void pace_measured(struct pace_rtt *r, uint32_t rtt)
{
	int32_t err = (int32_t)(rtt - r->srtt), delta = (err < 0 ? -err : err) - (int32_t)(r->var / 4);

	r->srtt += err / 8;
	/* As Linux does: a shrinking round trip is no reason for impatience. */
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

/* The leg's round trip as it is now, and the shortest that it has seen. */
static uint32_t leg_rtt(const struct conn *c, const struct flow *f, int end, uint32_t *min)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(c->leg[end].watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) || !info.tcpi_rtt)
		return *min = f->end[end].rtt_us;
	*min = info.tcpi_min_rtt < info.tcpi_rtt ? info.tcpi_min_rtt : info.tcpi_rtt;
	return info.tcpi_rtt;
}

static bool room_for(struct daemon *d)
{
	bool room;

	pthread_mutex_lock(&d->lists);
	room = d->n_paced < PACED_MOST;
	pthread_mutex_unlock(&d->lists);
	return room;
}

/* Whether an end as far away as `far` is silent for longer than timers set for `near` wait. */
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
	/* By the shortest: what a busy machine adds is not distance. */
	if (!far_from(min[!end], min[end]) ||
	    (f.end[end].flags & (END_F_DATA | END_F_FIN)) != END_F_DATA ||
	    (f.end[!end].flags & END_F_FIN)) /* its leg has sent that FIN, and probes no more */
		return 0;
	if (!p->on && !room_for(d))
		return 0;
	if (!p->line && !(p->line = calloc(PACE_LINE, sizeof(*p->line))))
		return 0;
	/* Leaves its place in the list alone, which another lock guards. */
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
	d->n_paced++;
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
		d->n_paced--;
		if (!d->paced)
			timerfd_settime(d->pacer.fd, 0, &never, NULL);
		pthread_mutex_unlock(&d->lists);
	}
	free(c->pace.line);
	c->pace.line = NULL;
}

/* Tells the end of `bytes` more; `how`: CTL_PACE_*. Negative errno. */
static int pace_tell(struct daemon *d, struct pace *p, uint32_t bytes, uint64_t how)
{
	struct flow f;
	int err = conn_ctl(d, p->conn, CTL_PACE, SEAM_R_FAR, CTL_PACED(p->end, bytes) | how, &f);

	if (!err)
		split_nudge(p->conn, &f);
	return err;
}

/* Whether nothing is left to pace; else it may work the next time. */
static bool over(int err)
{
	return err == -ENOENT || err == -EINVAL;
}

/* Notes what the leg has acknowledged by now, no more often than the line has room for. */
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

/* Takes out what has been held back for `hold`. Returns how long that was; 0: nothing was. */
static uint32_t line_out(struct pace *p, uint64_t now, uint32_t hold, uint32_t *ack)
{
	uint32_t held = 0;

	while (p->n && now - p->line[p->first].at_us >= hold) {
		*ack = p->line[p->first].ack;
		held = now - p->line[p->first].at_us + 1;
		p->first = (p->first + 1) % PACE_LINE;
		p->n--;
	}
	return held;
}

/*
 * The longest that an acknowledgement may be held back, short of the sender's timers for what
 * it has under way.
 */
static uint32_t hold_most(const struct pace *p, bool single)
{
	/*
	 * For a single segment the probe waits for a delayed acknowledgement, longer than any
	 * RTO_MIN_US.
	 */
	uint32_t most = single ? pace_rto(&p->rtt) / 8 * 7 : p->rtt.srtt + p->rtt.srtt / 2 + PROBE_SLACK_US / 4;

	most = most > p->near ? most - p->near : 0;
	return most < p->far ? most : p->far;
}

/* One turn of one flow; false if it is no longer paced. */
static bool pace_turn(struct daemon *d, struct pace *p, uint64_t now)
{
	uint32_t ack, held, left, most, bytes, n;
	const struct flow_end *e;
	bool single, enough;
	struct flow f;
	int err;

	err = conn_ctl(d, p->conn, CTL_SNAPSHOT, SEAM_R_NONE, 0, &f);
	if (err)
		return !over(err);
	e = &f.end[p->end];
	if (!(e->flags & END_F_PACED) || (e->flags & END_F_FIN))
		return false;
	left = e->leg_ack - e->pace;
	/* After the other end's FIN its leg probes no more: nothing would be told in time. */
	if (!p->learnt && (d->stopping || (f.end[!p->end].flags & END_F_FIN) || now - p->began_us > PATIENCE_US ||
			   (!left && now - p->told_us > PATIENCE_IDLE_US)))
		return !over(pace_tell(d, p, 0, CTL_PACE_END));
	if (left)
		line_in(p, e->leg_ack, now);
	single = e->nxt - e->pace <= e->seg_max;
	most = hold_most(p, single);
	held = line_out(p, now, p->learnt || p->hold < most ? p->hold : most, &ack);
	if (!held)
		return true;
	bytes = ack - e->pace;
	for (n = PARTS; !p->learnt && n > 1; n--) {
		if (bytes / n < 2 * e->seg_max)
			continue;
		err = pace_tell(d, p, bytes / n, 0);
		if (err)
			return !over(err);
		pace_measured(&p->rtt, p->near + held);
		bytes -= bytes / n;
	}
	pace_measured(&p->rtt, p->near + held);
	enough = p->learnt;
	if (!p->learnt) {
		/* Longer than the last, by half of the time that has passed. */
		p->hold = single ? most : p->hold + (now - p->told_us) / 2;
		most = hold_most(p, single);
		if (p->hold > most)
			p->hold = most;
		enough = p->hold >= p->far / 16 * 15 && pace_enough(&p->rtt, p->near + p->far);
	}
	p->told_us = now;
	err = pace_tell(d, p, bytes, enough && !p->learnt ? CTL_PACE_LEARNT : 0);
	if (!err)
		p->learnt = enough;
	return !over(err);
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
