// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What has to hold of every frame that the box sends to an end. The oracle knows what both ends
 * have really sent, and so what the box can know and have.
 */
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define TSECR_EARLY 500

int64_t disorder;

static char why[256];

#define WRONG(...) (snprintf(why, sizeof(why), __VA_ARGS__), why)

void oracle_init(struct end *e)
{
	e->o.wired = calloc(1, e->p->total + 3);
	e->o.seen = calloc(SEEN_SLOTS, sizeof(*e->o.seen));
}

void oracle_free(struct end *e)
{
	free(e->o.wired);
	free(e->o.seen);
}

/* What stays the same in a frame that is only forwarded, in its sender's own numbers. */
static uint64_t digest(const struct frame *f, uint32_t seq, uint32_t ack)
{
	uint64_t x = draw((uint64_t)seq << 32 | ack, f->wnd, (uint64_t)f->len << 8 | f->flags);

	return x ? x : 1;
}

/* The same for a flow that is edited, where the ack may be raised and the payload cut off. */
static uint64_t loose_digest(const struct frame *f, uint32_t seq)
{
	return draw(seq, f->wnd, 1) | 1;
}

/* And where its window may be another, too: the edge does not go back to where it was before an edit. */
static uint64_t time_digest(const struct frame *f, uint32_t seq)
{
	return draw(seq, f->tsval, 2) | 1;
}

static bool was_seen(const struct oracle_end *o, uint64_t d)
{
	uint32_t i;

	for (i = d % SEEN_SLOTS; o->seen[i]; i = (i + 1) % SEEN_SLOTS)
		if (o->seen[i] == d)
			return true;
	return false;
}

static void see(struct oracle_end *o, uint64_t d)
{
	uint32_t i;

	if (o->n_seen == SEEN_SLOTS / 2)
		return;
	for (i = d % SEEN_SLOTS; o->seen[i]; i = (i + 1) % SEEN_SLOTS)
		if (o->seen[i] == d)
			return;
	o->seen[i] = d;
	o->n_seen++;
}

void oracle_sent(struct end *e, const struct frame *f)
{
	const struct end *peer = &e->c->end[!e->side];
	struct oracle_end *o = &e->o;
	int64_t pos = (int32_t)(f->seq - e->p->isn), ack = (int32_t)(f->ack - peer->p->isn), n;

	if (e->c->plan.policy < POLICY_PROXY) {
		see(o, digest(f, f->seq, f->ack));
	} else {
		see(o, loose_digest(f, f->seq));
		if (f->ts)
			see(o, time_digest(f, f->seq));
	}
	if (f->flags & RST) {
		o->rst = true;
		return;
	}
	o->syn |= f->flags & SYN;
	o->fin |= f->flags & FIN;
	n = f->len + !!(f->flags & (SYN | FIN));
	memset(o->wired + pos, 1, n);
	o->wired_max = o->wired_max > pos + n ? o->wired_max : pos + n;
	while (o->wired[o->wired_to])
		o->wired_to++;
	if (f->flags & ACK) {
		int64_t edge = ack + ((int64_t)f->wnd << (f->flags & SYN ? 0 : e->my_wscale));

		o->max_ack = o->max_ack > ack ? o->max_ack : ack;
		o->max_edge = o->max_edge > edge ? o->max_edge : edge;
	} else if (o->max_edge < 1 + f->wnd) {
		o->max_edge = 1 + f->wnd;
	}
	if (f->ts) {
		if (!o->any_tsval)
			o->first_tsval = o->max_tsval = f->tsval;
		else if ((int32_t)(f->tsval - o->max_tsval) > 0)
			o->max_tsval = f->tsval;
		o->any_tsval = true;
	}
}

/* Settles what was told long enough ago. */
static void settle(struct oracle_end *o, int64_t stamp)
{
	int i, n = 0;

	while (n < o->n_told && (o->told[n].stamp < stamp - disorder || o->n_told - n == TOLD_MAX)) {
		if (o->told[n].ack > o->told_ack)
			o->told_ack = o->told[n].ack;
		if (o->told[n].edge > o->told_edge)
			o->told_edge = o->told[n].edge;
		if (o->told[n].ts && (!o->told_any_tsval || (int32_t)(o->told[n].tsval - o->told_tsval) > 0)) {
			o->told_tsval = o->told[n].tsval;
			o->told_any_tsval = true;
		}
		n++;
	}
	for (i = n; n && i < o->n_told; i++)
		o->told[i - n] = o->told[i];
	o->n_told -= n;
}

static const char *check_sack(const struct end *e, const struct frame *f, int64_t ack)
{
	const struct oracle_end *o = &e->o;
	int64_t l = 0, r = 0, first[2];
	int i;

	for (i = 0; i < f->n_sack; i++) {
		first[0] = l;
		first[1] = r;
		l = (int32_t)(f->sack[i][0] - e->p->isn);
		r = (int32_t)(f->sack[i][1] - e->p->isn);
		if (l >= r || l < 1 || r > o->wired_max || memchr(o->wired + l, 0, r - l))
			return WRONG("SACK %lld-%lld, of which not all was sent", (long long)l, (long long)r);
		/*
		 * The first block may say what came twice, the second what that was part of
		 * (RFC 2883). When a FIN has arrived, Linux acknowledges before it forgets its
		 * blocks.
		 */
		if (l < ack && (i > 1 || (i && (l > first[0] || r < first[1]))) && ack < 2 + (int64_t)e->p->total)
			return WRONG("SACK %lld-%lld, acknowledged is %lld", (long long)l, (long long)r, (long long)ack);
	}
	return NULL;
}

/* What the frame says about the direction that `e` sends in. */
static const char *check_ack(struct end *e, const struct end *peer, const struct frame *f, bool late)
{
	const struct edit *edit = &e->c->edit[e->side];
	const struct oracle_end *o = &e->o;
	int scale = f->flags & SYN ? 0 : peer->my_wscale;
	int64_t unit = 1LL << scale, ack = (int32_t)(f->ack - e->p->isn), edge = ack + f->wnd * unit;
	int64_t limit = edit_back(edit, peer->o.max_edge);

	/* What was told before the edit stays told. */
	if (limit < peer->o.max_edge)
		limit = peer->o.max_edge;
	if (ack > o->wired_to)
		return WRONG("acknowledges %lld, of what was sent the box can have %lld", (long long)ack, (long long)o->wired_to);
	if (ack < o->told_ack && !late)
		return WRONG("ack back from %lld to %lld", (long long)o->told_ack, (long long)ack);
	if (edge + unit - 1 < o->told_edge && !late)
		return WRONG("window edge back from %lld to %lld", (long long)o->told_edge, (long long)edge);
	/* A zero window promises nothing, wherever a FIN has brought the ack. */
	if (edge > limit + unit - 1 && f->wnd)
		return WRONG("window edge %lld, the receiver's is %lld", (long long)edge, (long long)limit);
	return check_sack(e, f, ack);
}

static const char *check_time(const struct end *e, const struct frame *f, bool late)
{
	const struct oracle_end *o = &e->o;

	if (o->told_any_tsval && (int32_t)(f->tsval - o->told_tsval) < 0 && !late)
		return WRONG("TSval back from %u to %u", o->told_tsval, f->tsval);
	/* Linux and the BSDs take 0 for none, though a clock may be there: it stays as it is. */
	if (!(f->flags & ACK) || !f->tsecr)
		return NULL;
	if ((int32_t)(f->tsecr - o->max_tsval) > 0)
		return WRONG("TSecr %u, it has sent %u", f->tsecr, o->max_tsval);
	/* After a merge that set a delta, an echo from before it comes out earlier by that much. */
	if ((int32_t)(f->tsecr - o->first_tsval) < -TSECR_EARLY)
		return WRONG("TSecr %u, it began with %u", f->tsecr, o->first_tsval);
	return NULL;
}

static const char *check_data(struct end *e, const struct end *peer, const struct frame *f)
{
	const struct edit *edit = &e->c->edit[peer->side];
	int64_t pos = (int32_t)(f->seq - peer->p->isn), end = pos + f->len;
	uint32_t i, most = e->p->mss - f->optlen;

	if ((f->gso ? f->gso : f->len) > most)
		return WRONG("%u bytes, its MSS leaves %u", f->gso ? f->gso : f->len, most);
	if (pos < 1 || end > edit_forth(edit, peer->o.wired_max))
		return WRONG("data %lld-%lld, the other end has sent to %lld", (long long)pos, (long long)end,
			     (long long)edit_forth(edit, peer->o.wired_max));
	if (end > 1 + (int64_t)e->expect_total)
		return WRONG("data to %lld, the stream has %u", (long long)end, e->expect_total);
	if (memcmp(f->payload, e->expect + pos - 1, f->len)) {
		for (i = 0; f->payload[i] == e->expect[pos - 1 + i]; i++)
			;
		return WRONG("byte %lld is %02x, it should be %02x", (long long)(pos + i), f->payload[i],
			     e->expect[pos - 1 + i]);
	}
	return NULL;
}

static const char *check_flags(const struct end *e, const struct end *peer, const struct frame *f)
{
	int64_t end = (int32_t)(f->seq - peer->p->isn) + f->len;

	if ((f->flags & SYN) && (!peer->o.syn || (f->seq != peer->p->isn && e->state != END_OPEN)))
		return WRONG("SYN that the other end did not send");
	/* To one that has sent a RST itself it is nothing new: late copies of its data may be answered so. */
	if ((f->flags & RST) && !peer->o.rst && !e->o.rst)
		return WRONG("RST that the other end did not send");
	if ((f->flags & FIN) && (!peer->o.fin || end != 1 + (int64_t)e->expect_total))
		return WRONG("FIN that the other end did not send");
	return NULL;
}

const char *oracle_got(struct end *e, const struct frame *f)
{
	struct end *peer = &e->c->end[!e->side];
	struct oracle_end *o = &e->o;
	int64_t pos = (int32_t)(f->seq - peer->p->isn), ack = (int32_t)(f->ack - e->p->isn);
	uint32_t seq_was = peer->p->isn + edit_back(&e->c->edit[peer->side], pos);
	bool acks = (f->flags & (ACK | RST)) == ACK, edited = e->c->plan.policy >= POLICY_PROXY, late, tells;
	const char *wrong;

	o->frames++;
	if (!f->csum_ok)
		return WRONG("wrong checksum");
	wrong = check_flags(e, peer, f);
	if (wrong || (f->flags & RST))
		return wrong;
	/* What its sender sent late, or was delayed on the way, comes late. */
	if (!edited)
		late = was_seen(&peer->o, digest(f, f->seq, f->ack));
	else /* or it is a bare one from before the edit */
		late = was_seen(&peer->o, loose_digest(f, seq_was)) ||
		       (!f->len && pos < e->rcv_nxt && e->c->plan.dup + e->c->plan.reorder > 0);
	settle(o, f->stamp);
	if ((f->flags & SYN) && e->state == END_OPEN)
		return NULL; /* a late copy: all of it is disregarded */
	if (f->ts != (f->flags & SYN ? f->ts : e->ts))
		return WRONG("timestamps were %sagreed on", e->ts ? "" : "not ");
	if (f->n_sack && !e->sack)
		return WRONG("SACK was not agreed on");
	wrong = f->len ? check_data(e, peer, f) : NULL;
	if (!wrong && acks)
		wrong = check_ack(e, peer, f, late);
	if (!wrong && f->ts && e->state != END_RESET)
		wrong = check_time(e, f, late || (edited && was_seen(&peer->o, time_digest(f, seq_was))));
	if (o->n_told == TOLD_MAX)
		settle(o, f->stamp);
	/*
	 * A segment that ends before what was acknowledged is not looked at any further (RFC 9293
	 * 3.10.7.4; tcp_sequence()).
	 */
	tells = acks && (!f->len || pos + (int64_t)f->len >= e->last_ack);
	o->told[o->n_told].stamp = f->stamp;
	o->told[o->n_told].ack = tells ? ack : 0;
	o->told[o->n_told].edge = tells ? ack + ((int64_t)f->wnd << (f->flags & SYN ? 0 : peer->my_wscale)) : 0;
	o->told[o->n_told].ts = f->ts;
	o->told[o->n_told].tsval = f->tsval;
	o->n_told++;
	return wrong;
}
