// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One end of a connection: a TCP that does what the standards allow, within its plan. It keeps
 * no data: what it sends is known beforehand, and the oracle has compared what it gets before
 * that comes here.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define LOWER(a, b) ((a) < (b) ? (a) : (b))
#define HIGHER(a, b) ((a) > (b) ? (a) : (b))
#define BACKOFF_MAX (4500 * MS)
#define STOPS_MAX 8
#define READS_MAX 200

static struct end *other(const struct end *e)
{
	return &e->c->end[!e->side];
}

/* Positions of what it sends, and of what it receives. */
static int64_t sent_pos(const struct end *e, uint32_t seq)
{
	return (int32_t)(seq - e->p->isn);
}

static int64_t got_pos(const struct end *e, uint32_t seq)
{
	return (int32_t)(seq - other(e)->p->isn);
}

static int64_t fin_pos(const struct end *e)
{
	return 1 + (int64_t)e->p->total;
}

static uint32_t tsval(const struct end *e, int64_t now)
{
	return e->p->ts0 + (now - e->c->began) / e->p->ts_tick;
}

void end_init(struct end *e, struct conn *c, enum side side)
{
	uint32_t i;

	memset(e, 0, sizeof(*e));
	e->c = c;
	e->side = side;
	e->p = &c->plan.end[side];
	e->stream = malloc(e->p->total + 8);
	for (i = 0; i < e->p->total; i += 8) {
		uint64_t word = draw(c->plan.seed, DRAW_STREAM + side, i);

		memcpy(e->stream + i, &word, 8);
	}
	edit_plant(c->plan.policy, side, e->stream);
	e->sacked = calloc(1, e->p->total + 3);
	e->una = e->nxt = e->max = 0;
	oracle_init(e);
}

/*
 * Once both plans and streams are known: what the two will agree on, and what this end must
 * receive.
 */
static void expect(struct end *e)
{
	struct end *o = other(e);
	bool scaled = e->p->wscale >= 0 && o->p->wscale >= 0;

	e->my_wscale = scaled ? e->p->wscale : 0;
	e->peer_wscale = scaled ? o->p->wscale : 0;
	e->sack = e->p->sack && o->p->sack;
	e->ts = e->p->ts && o->p->ts;
	e->expect_total = e->c->edit[o->side].got_total;
	e->expect = edit_apply(&e->c->edit[o->side], o->stream, o->p->total);
	e->got = calloc(1, e->expect_total + 3);
}

void end_free(struct end *e)
{
	free(e->stream);
	free(e->expect);
	free(e->sacked);
	free(e->got);
	oracle_free(e);
}

/* The field for the window. Moves the right edge, but never to the left. */
static uint16_t window(struct end *e)
{
	int64_t edge = e->read_to + e->p->rcvbuf, unit = 1LL << e->my_wscale, field;

	/* No silly windows (RFC 9293 3.8.6.2.2). */
	if (edge - e->rcv_edge < LOWER((int64_t)e->p->rcvbuf / 2, (int64_t)e->p->mss))
		edge = e->rcv_edge;
	if (edge <= e->rcv_nxt)
		return 0;
	field = (edge - e->rcv_nxt + (e->p->wnd_up ? unit - 1 : 0)) / unit;
	field = LOWER(field, 65535);
	e->rcv_edge = HIGHER(e->rcv_edge, e->rcv_nxt + field * unit);
	return field;
}

static void add_sack(struct end *e, struct frame *f)
{
	uint32_t isn = other(e)->p->isn;
	int i, k, most = e->ts ? 3 : 4;

	if (e->dsack[1]) {
		f->sack[0][0] = isn + e->dsack[0];
		f->sack[0][1] = isn + e->dsack[1];
		f->n_sack = 1;
		e->dsack[1] = 0;
	}
	for (i = 0; i < 3 && f->n_sack < most; i++) {
		uint8_t *at = e->got + e->recent[i], *begin, *end;

		if (e->recent[i] <= e->rcv_nxt || !*at)
			continue;
		begin = (uint8_t *)memrchr(e->got, 0, e->recent[i]) + 1;
		end = memchr(at, 0, e->got + e->expect_total + 3 - at);
		for (k = 0; k < f->n_sack; k++)
			if (f->sack[k][0] == isn + (uint32_t)(begin - e->got))
				break;
		if (k < f->n_sack)
			continue;
		f->sack[f->n_sack][0] = isn + (begin - e->got);
		f->sack[f->n_sack][1] = isn + (end - e->got);
		f->n_sack++;
	}
}

/*
 * Sends `len` bytes from a position on, or none, with what there is to say of the other
 * direction.
 */
static void emit(struct end *e, int64_t pos, uint32_t len, uint8_t flags, int64_t now)
{
	struct frame f = { .v6 = e->c->plan.v6, .wscale = -1, .flags = flags | ACK, .len = len };

	f.seq = e->p->isn + pos;
	f.ack = other(e)->p->isn + e->rcv_nxt;
	f.wnd = window(e);
	f.ts = e->ts;
	f.tsval = tsval(e, now);
	f.tsecr = e->ts_recent;
	f.payload = len ? e->stream + pos - 1 : NULL;
	f.gso = e->smss;
	if (len)
		f.flags |= PSH;
	if (e->sack && !len)
		add_sack(e, &f);
	e->last_ack = e->rcv_nxt;
	e->unacked = 0;
	e->delack_at = 0;
	if ((len || (flags & FIN)) && pos < e->max)
		e->retransmits++;
	e->max = HIGHER(e->max, pos + len + !!(flags & FIN));
	e->frames_sent++;
	conn_send(e, &f, now);
}

static void send_ack(struct end *e, int64_t now)
{
	emit(e, e->max, 0, 0, now);
}

static void send_syn(struct end *e, int64_t now)
{
	struct frame f = { .v6 = e->c->plan.v6, .seq = e->p->isn, .flags = SYN };
	const struct end_plan *peer = other(e)->p;
	bool answer = e->side == SERVER;

	f.wnd = LOWER(e->p->rcvbuf, 65535);
	e->rcv_edge = HIGHER(e->rcv_edge, 1 + f.wnd);
	f.mss = e->p->mss;
	f.wscale = answer && peer->wscale < 0 ? -1 : e->p->wscale;
	f.sack_ok = e->p->sack && (!answer || peer->sack);
	f.ts = e->p->ts && (!answer || peer->ts);
	f.tsval = tsval(e, now);
	if (answer) {
		f.flags |= ACK;
		f.ack = peer->isn + 1;
		f.tsecr = e->ts_recent;
	}
	e->max = HIGHER(e->max, 1);
	e->nxt = 1;
	e->rto_at = now + LOWER(e->p->rto << e->backoff, BACKOFF_MAX);
	e->frames_sent++;
	conn_send(e, &f, now);
}

static void send_rst(struct end *e, uint32_t seq, int64_t now)
{
	struct frame f = { .v6 = e->c->plan.v6, .wscale = -1, .seq = seq, .flags = RST };

	if (e->state != END_RESET) {
		f.flags |= ACK;
		f.ack = other(e)->p->isn + e->rcv_nxt;
		e->c->moved = now;
	}
	e->state = END_RESET;
	e->frames_sent++;
	conn_send(e, &f, now);
}

void end_open(struct end *e, int64_t now)
{
	expect(e);
	if (e->side == CLIENT) {
		e->state = END_SYN_SENT;
		send_syn(e, now);
	}
}

/* What its application has written by now. */
static void talk(struct end *e, int64_t now)
{
	const struct plan *plan = &e->c->plan;
	uint64_t total = e->p->total, heard = edit_back(&e->c->edit[!e->side], e->rcv_nxt) - 1, round;

	if (e->written == total || now < e->app_at)
		return;
	switch (plan->talk) {
	case TALK_FREE:
		e->written = total;
		break;
	case TALK_PAUSES:
		e->written += total / 8 + 1 + draw(plan->seed, DRAW_CHUNK + e->side, e->chunks) % (total / 4 + 1);
		e->written = LOWER(e->written, total);
		e->app_at = now + draw(plan->seed, DRAW_CHUNK + 2 + e->side, e->chunks++) % plan->pause;
		break;
	case TALK_TURNS:
		/* The client begins each round, the server answers. */
		for (round = 0; round < plan->rounds; round++)
			if (heard < other(e)->p->total * (round + (e->side == SERVER)) / plan->rounds)
				break;
		e->written = HIGHER(e->written, total * round / plan->rounds);
		break;
	}
}

static uint32_t segment(struct end *e)
{
	uint64_t r = draw(e->c->plan.seed, DRAW_SEGMENT + e->side, e->segment_no++);
	uint32_t most = e->p->gso ? e->smss * (1 + r % 7) : e->smss;

	r >>= 8;
	switch (e->p->segments) {
	case SEG_MIXED:
		return r & 1 ? most : 1 + (r >> 1) % most;
	case SEG_SMALL:
		return 1 + r % LOWER(most, 300);
	case SEG_TINY:
		return 1 + r % 8;
	default:
		return most;
	}
}

static bool may_fin(const struct end *e)
{
	return e->written == e->p->total && (!e->p->fin_waits || e->got_fin) &&
	       !(e->p->reset_at && e->p->reset_at <= e->p->total);
}

/* Sends from nxt on what may be sent, including what was sent before, except what was sacked. */
static bool output_one(struct end *e, int64_t now)
{
	int64_t limit = LOWER(e->edge, e->una + (int64_t)e->p->cwnd * e->smss), n, room, want;
	uint8_t flags = 0, *sacked;

	while (e->nxt < e->max && e->sacked[e->nxt])
		e->nxt++;
	room = limit - e->nxt;
	if (e->nxt == fin_pos(e)) {
		if (!may_fin(e) || room < 1)
			return false;
		emit(e, e->nxt, 0, FIN, now);
		e->nxt++;
		return true;
	}
	if (e->nxt > fin_pos(e))
		return false;
	want = segment(e);
	want = LOWER(want, 1 + (int64_t)e->written - e->nxt);
	sacked = e->nxt < e->max ? memchr(e->sacked + e->nxt, 1, e->max - e->nxt) : NULL;
	if (sacked)
		want = LOWER(want, sacked - e->sacked - e->nxt);
	n = LOWER(want, room);
	if (n <= 0)
		return false;
	/* No silly segments while something is under way. */
	if (n < want && e->una < e->max && e->nxt >= e->max)
		return false;
	if (e->nxt + n == fin_pos(e) && may_fin(e) && room > n && (e->segment_no & 1))
		flags = FIN;
	emit(e, e->nxt, n, flags, now);
	e->nxt += n + !!flags;
	return true;
}

static void output(struct end *e, int64_t now)
{
	bool pending;

	if (e->state != END_OPEN)
		return;
	talk(e, now);
	while (output_one(e, now))
		;
	if (e->p->reset_at && e->max > e->p->reset_at) {
		conn_note(e->c, e->side, "gives up");
		send_rst(e, e->p->isn + e->max, now);
		return;
	}
	if (e->una < e->max && !e->rto_at)
		e->rto_at = now + LOWER(e->p->rto << e->backoff, BACKOFF_MAX);
	pending = e->nxt < 1 + (int64_t)e->written || (e->nxt == fin_pos(e) && may_fin(e));
	if (e->una == e->max && pending && !e->persist_at)
		e->persist_at = now + LOWER(e->p->rto << e->backoff, BACKOFF_MAX);
}

static void probe(struct end *e, int64_t now)
{
	e->backoff = LOWER(e->backoff + 1, 7);
	e->persist_at = 0;
	if (e->p->probe_byte && e->nxt < fin_pos(e))
		emit(e, e->nxt, 1, 0, now);
	else
		emit(e, e->una - 1, 0, 0, now);
	output(e, now);
}

/* Resends the first bytes that are missing from a position on; returns where they end. */
static int64_t repair(struct end *e, int64_t from, int64_t now)
{
	uint8_t *sacked;
	int64_t n;

	while (from < e->max && e->sacked[from])
		from++;
	if (from >= e->max)
		return e->max;
	n = segment(e);
	n = LOWER(n, LOWER(e->max, fin_pos(e)) - from);
	sacked = memchr(e->sacked + from, 1, e->max - from);
	if (sacked)
		n = LOWER(n, sacked - e->sacked - from);
	if (from == fin_pos(e)) {
		emit(e, from, 0, FIN, now);
		return e->max;
	}
	emit(e, from, n, 0, now);
	return from + n;
}

static void timeout(struct end *e, int64_t now)
{
	e->backoff = LOWER(e->backoff + 1, 7);
	e->rto_at = 0;
	if (e->state == END_SYN_SENT || e->state == END_SYN_RCVD) {
		send_syn(e, now);
		return;
	}
	if (e->state != END_OPEN || e->una >= e->max)
		return;
	memset(e->sacked, 0, e->p->total + 3);
	e->dupacks = 0;
	e->recover = e->max;
	e->nxt = HIGHER(repair(e, e->una, now), e->una);
	output(e, now);
}

/* Notes the blocks; returns whether they say anything new. */
static bool note_sack(struct end *e, const struct frame *f)
{
	bool more = false;
	int64_t pos, end;
	int i;

	for (i = 0; i < f->n_sack; i++) {
		end = LOWER(sent_pos(e, f->sack[i][1]), e->max);
		for (pos = HIGHER(sent_pos(e, f->sack[i][0]), e->una); pos < end; pos++) {
			more |= !e->sacked[pos];
			e->sacked[pos] = 1;
		}
	}
	return more;
}

static void ack_in(struct end *e, const struct frame *f, bool payload, int64_t now)
{
	int64_t ack = sent_pos(e, f->ack), edge = ack + ((int64_t)f->wnd << e->peer_wscale);
	bool more = e->sack && note_sack(e, f), wider = edge > e->edge;

	if (ack > e->max || ack < e->una)
		return;
	e->edge = HIGHER(e->edge, edge);
	if (wider && e->una == e->max)
		e->persist_at = e->backoff = 0;
	if (ack > e->una) {
		e->una = ack;
		e->nxt = HIGHER(e->nxt, ack);
		e->backoff = e->dupacks = 0;
		e->persist_at = 0;
		e->rto_at = e->una < e->max ? now + e->p->rto : 0;
		e->c->moved = now;
		if (e->una < e->recover && e->repaired < e->recover)
			e->repaired = repair(e, HIGHER(e->una, e->repaired), now);
		return;
	}
	if (e->una == e->max || payload || (wider && !more))
		return;
	e->dupacks++;
	if (e->dupacks == 3 && e->una >= e->recover) {
		e->recover = e->max;
		e->repaired = repair(e, e->una, now);
	} else if (e->dupacks > 3 && more) {
		e->repaired = HIGHER(e->repaired, e->una);
		if (e->repaired < e->recover && memchr(e->sacked + e->repaired, 1, e->recover - e->repaired))
			e->repaired = repair(e, e->repaired, now);
	}
}

static void read_some(struct end *e, int64_t now)
{
	int64_t have = LOWER(e->rcv_nxt, 1 + (int64_t)e->expect_total);
	int64_t unread = have - e->read_to;

	if (!unread || now < e->read_at)
		return;
	switch (e->p->reader) {
	case READ_SLOW:
		if (e->reads < READS_MAX) {
			unread = LOWER(unread, e->p->read_chunk);
			e->read_at = now + e->p->read_pause;
			e->reads++;
		}
		break;
	case READ_STOPS:
		if (e->reads < STOPS_MAX && have / e->p->read_chunk != e->read_to / e->p->read_chunk) {
			e->read_at = now + e->p->read_pause;
			e->reads++;
		}
		break;
	default:
		break;
	}
	e->read_to += unread;
}

/* The reader has made room: tells the other end, if it is worth it. */
static void reading(struct end *e, int64_t now)
{
	int64_t worth = LOWER((int64_t)e->p->rcvbuf / 2, (int64_t)e->p->mss);

	read_some(e, now);
	if (e->state == END_OPEN && e->read_to + e->p->rcvbuf - e->rcv_edge >= worth &&
	    e->rcv_edge - e->rcv_nxt < 2 * worth && e->rcv_nxt <= (int64_t)e->expect_total)
		send_ack(e, now);
}

static void data_in(struct end *e, int64_t pos, const struct frame *f, int64_t now)
{
	int64_t end = pos + f->len + !!(f->flags & FIN), before = e->rcv_nxt, from, to;
	bool at_once = false;

	from = HIGHER(pos, e->rcv_nxt);
	to = LOWER(end, e->rcv_edge + 1); /* a FIN takes no room */
	if (to > e->rcv_edge && !(f->flags & FIN))
		to = e->rcv_edge;
	if (from >= to || e->got[from]) {
		at_once = true;
		if (e->p->dsack && e->sack && end <= e->rcv_edge) {
			e->dsack[0] = pos;
			e->dsack[1] = from >= to ? end : to;
		}
	}
	if (from < to) {
		memset(e->got + from, 1, to - from);
		if (from > e->rcv_nxt) {
			e->recent[2] = e->recent[1];
			e->recent[1] = e->recent[0];
			e->recent[0] = from;
			at_once = true;
		}
	}
	while (e->got[e->rcv_nxt])
		e->rcv_nxt++;
	if (e->rcv_nxt > before) {
		e->c->moved = now;
		e->unacked += 1 + (e->rcv_nxt - before) / (e->p->mss + 1);
		if (e->rcv_nxt > from + (to - from)) /* filled a gap */
			at_once = true;
	}
	if (e->rcv_nxt == 2 + (int64_t)e->expect_total && !e->got_fin) {
		e->got_fin = true;
		at_once = true;
	}
	read_some(e, now);
	if (at_once || e->unacked >= e->p->ack_every)
		send_ack(e, now);
	else if (!e->delack_at)
		e->delack_at = now + e->p->delack;
}

static void opened(struct end *e, const struct frame *f, int64_t now)
{
	int tail = e->ts ? 12 : 0;

	e->state = END_OPEN;
	e->una = e->nxt = 1;
	e->rcv_nxt = HIGHER(e->rcv_nxt, 1);
	e->last_ack = e->rcv_nxt;
	e->read_to = 1;
	e->smss = LOWER(e->p->mss, other(e)->p->mss) - tail;
	e->edge = 1 + (f->flags & SYN ? f->wnd : (int64_t)f->wnd << e->peer_wscale);
	e->rto_at = e->backoff = 0;
	e->c->moved = now;
	e->got[0] = 1;
}

static bool shaking(struct end *e, const struct frame *f, int64_t now)
{
	if (f->flags & RST) {
		e->state = END_GOT_RST;
		return true;
	}
	if (e->side == SERVER) {
		if ((f->flags & (SYN | ACK)) == SYN) {
			e->state = END_SYN_RCVD;
			e->rcv_nxt = 1;
			e->ts_recent = f->tsval;
			send_syn(e, now);
			return true;
		}
		if (e->state != END_SYN_RCVD || sent_pos(e, f->ack) < 1)
			return true;
		opened(e, f, now);
		return false;
	}
	if ((f->flags & (SYN | ACK)) == (SYN | ACK)) {
		e->ts_recent = f->tsval;
		opened(e, f, now);
		send_ack(e, now);
		output(e, now);
	}
	return true;
}

void end_input(struct end *e, const struct frame *f, int64_t now)
{
	int64_t pos = got_pos(e, f->seq), end = pos + f->len + !!(f->flags & FIN);

	if (e->state == END_RESET) {
		if (!(f->flags & RST))
			send_rst(e, f->ack, now);
		return;
	}
	if (e->state == END_GOT_RST)
		return;
	if (e->state != END_OPEN && shaking(e, f, now))
		return;
	if (f->flags & RST) {
		if (pos == e->rcv_nxt) {
			e->state = END_GOT_RST;
			e->c->moved = now;
		} else if (pos > e->rcv_nxt && pos < e->rcv_edge) {
			send_ack(e, now);
		}
		return;
	}
	if ((f->flags & SYN) || (e->ts && (int32_t)(f->tsval - e->ts_recent) < 0) || end < e->last_ack ||
	    pos > e->rcv_edge) {
		/* Not acceptable: nothing in it counts (RFC 9293 3.10.7.4, RFC 7323 5.3). */
		if (end > pos || (f->flags & SYN) || pos != e->rcv_nxt)
			send_ack(e, now);
		return;
	}
	if (e->ts && pos <= e->last_ack)
		e->ts_recent = f->tsval;
	ack_in(e, f, end > pos, now);
	if (end > pos)
		data_in(e, pos, f, now);
	else if (pos == e->rcv_nxt - 1 && e->state == END_OPEN)
		send_ack(e, now); /* a probe */
	output(e, now);
}

void end_run(struct end *e, int64_t now)
{
	if (e->rto_at && now >= e->rto_at)
		timeout(e, now);
	if (e->state != END_OPEN)
		return;
	if (e->persist_at && now >= e->persist_at)
		probe(e, now);
	if (e->delack_at && now >= e->delack_at)
		send_ack(e, now);
	if (e->read_at && now >= e->read_at) {
		e->read_at = 0;
		reading(e, now);
	}
	if (e->app_at && now >= e->app_at) {
		e->app_at = 0;
		output(e, now);
	}
}

int64_t end_next(const struct end *e)
{
	int64_t at[] = { e->rto_at, e->persist_at, e->delack_at, e->read_at, e->app_at }, next = 0;
	size_t i;

	if (e->state == END_RESET || e->state == END_GOT_RST)
		return 0;
	for (i = 0; i < sizeof(at) / sizeof(*at); i++)
		if (at[i] && (!next || at[i] < next))
			next = at[i];
	return next;
}

bool end_fin_acked(const struct end *e)
{
	return e->una == fin_pos(e) + 1;
}

bool end_done(const struct end *e)
{
	return e->state == END_GOT_RST || e->state == END_RESET ||
	       (e->state == END_OPEN && end_fin_acked(e) && e->got_fin);
}
