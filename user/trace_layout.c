// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "trace_diagram.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

/* With fewer packets than this, a column is as narrow as the drawing's precision. */
#define FINE_PACKETS 3000
#define COARSE 5
/* No window is larger (RFC 7323 2.3); what is further off does not belong to the flow. */
#define FAR (1LL << 30)

/* ---- sequence numbers ---- */

/* Of one packet. */
struct place {
	int64_t seq, ack, edge;
	bool has_seq, has_ack, again;
};

void walk_begin(struct walk *w, const struct trace *t)
{
	*w = (struct walk){ .t = t };
	for (int d = 0; d < 2; d++)
		w->reached[d] = (uint32_t)(t->nxt[d] - t->isn[d]);
}

bool walk_unwrap(const struct walk *w, int dir, uint32_t seq, int64_t *at)
{
	uint32_t rel = seq - w->t->isn[dir];

	*at = w->reached[dir] + (int32_t)(rel - (uint32_t)w->reached[dir]);
	return *at - w->reached[dir] < FAR && w->reached[dir] - *at < FAR;
}

static struct place walk_on(struct walk *w, const struct trace_packet *p)
{
	int d = p->dir, s = p->side;
	struct place at = {};

	at.has_seq = walk_unwrap(w, d, p->seq, &at.seq);
	at.has_ack = p->flags & TH_ACK && walk_unwrap(w, !d, p->ack, &at.ack);
	at.edge = at.ack + p->wnd;
	if (at.has_ack && at.ack > w->reached[!d])
		w->reached[!d] = at.ack;
	if (!at.has_seq || !p->len)
		return at;
	at.again = w->any[s][d] && at.seq < w->top[s][d];
	if (!w->any[s][d] || at.seq + p->len > w->top[s][d])
		w->top[s][d] = at.seq + p->len;
	w->any[s][d] = true;
	if (at.seq + p->len > w->reached[d])
		w->reached[d] = at.seq + p->len;
	return at;
}

void walk_packet(struct walk *w, const struct trace_packet *p)
{
	walk_on(w, p);
}

static void widen(struct panel *p, int64_t low, int64_t high)
{
	if (!p->seen || low < p->low)
		p->low = low;
	if (!p->seen || high > p->high)
		p->high = high;
	p->seen = true;
}

/* State of the flow at a time, by the transitions. */
static int state_at(const struct trace *t, uint64_t ns, size_t *next)
{
	while (*next < t->n_transitions && t->transitions[*next].time_ns <= ns)
		++*next;
	if (*next)
		return t->transitions[*next - 1].to;
	return t->n_transitions ? t->transitions[0].from : t->state;
}

bool diagram_custody(int state)
{
	return state >= FLOW_SPLITTING && state <= FLOW_MERGING;
}

/* Measures the most that the box has acknowledged to the sender and the receiver has not. */
static void measure_custody(const struct diagram *d, struct panel *p, int64_t told, int64_t real,
			    int state)
{
	/* For an edited flow one would have to know what was changed, and where. */
	if (!d->t->edited && diagram_custody(state) && told - real > p->custody)
		p->custody = told - real;
}

static void measure(struct diagram *d)
{
	const struct trace *t = d->t;
	int64_t acked[2][2] = {}; /* by direction of the data, and side */
	bool known[2][2] = {};
	struct walk w;
	size_t i, next = 0;

	walk_begin(&w, t);
	for (i = 0; i < t->n_packets; i++) {
		const struct trace_packet *p = &t->packets[i];
		struct place at = walk_on(&w, p);
		int up = p->dir, down = !up; /* its data, and the data that it acknowledges */
		struct panel *acks = &d->panel[down];

		d->strays += !at.has_seq;
		if (at.has_seq && p->len)
			widen(&d->panel[up], at.seq, at.seq + p->len);
		if (!at.has_ack)
			continue;
		widen(acks, at.ack, at.ack);
		if (at.edge > acks->edge)
			acks->edge = at.edge;
		acked[down][p->side] = at.ack;
		known[down][p->side] = true;
		/* The sender in direction d is end d. */
		if (known[down][up] && known[down][down])
			measure_custody(d, acks, acked[down][down], acked[down][up],
					state_at(t, p->ns, &next));
	}
}

/* ---- from the trace to the drawing ---- */

int diagram_x(const struct diagram *d, uint64_t ns)
{
	if (ns <= d->from)
		return 0;
	if (ns >= d->to)
		return SPAN;
	return (double)(ns - d->from) * SPAN / (double)(d->to - d->from);
}

int diagram_y(const struct panel *p, int64_t at)
{
	double y = p->height - (double)(at - p->low) * p->height / (double)(p->high - p->low);

	/* Beyond the panel it is cut off. */
	return y < -p->height ? -p->height : y > 2 * p->height ? 2 * p->height : (int)(y + .5);
}

static void add_mark(struct panel *p, int x, int64_t at, uint8_t flags)
{
	char letter = flags & TH_RST ? 'R' : flags & TH_FIN ? 'F' : flags & TH_SYN ? 'S' : 0;

	if (letter && p->n_marks < MARKS_MAX)
		p->marks[p->n_marks++] = (struct mark){ x, diagram_y(p, at), letter };
}

static void fill(struct diagram *d)
{
	const struct trace *t = d->t;
	struct walk w;
	size_t i;

	walk_begin(&w, t);
	for (i = 0; i < t->n_packets; i++) {
		const struct trace_packet *p = &t->packets[i];
		struct place at = walk_on(&w, p);
		struct panel *sends = &d->panel[p->dir], *acks = &d->panel[!p->dir];
		struct layer *l = &sends->side[p->side], *m = &acks->side[p->side];
		int x = diagram_x(d, p->ns);

		if (at.has_seq && sends->shown) {
			if (p->len)
				bars_add(at.again ? &l->again : &l->data, x,
					 diagram_y(sends, at.seq + p->len), diagram_y(sends, at.seq));
			add_mark(sends, x, at.seq + p->len, p->flags);
		}
		if (!at.has_ack || !acks->shown)
			continue;
		stairs_add(&m->ack, x, diagram_y(acks, at.ack));
		stairs_add(&m->edge, x, diagram_y(acks, at.edge));
		for (int k = 0; k < p->n_sack; k++) {
			int64_t a, b;

			if (walk_unwrap(&w, !p->dir, p->sack[k][0], &a) &&
			    walk_unwrap(&w, !p->dir, p->sack[k][1], &b) && a < b)
				bars_add(&m->sack, x, diagram_y(acks, b), diagram_y(acks, a));
		}
	}
}

/* Whether more bars were wanted than a drawing should have; they are then made coarser. */
static bool too_many(struct diagram *d, int gap)
{
	bool full = false;

	for (int i = 0; i < 4; i++) {
		struct layer *l = &d->panel[i / 2].side[i % 2];

		full |= l->data.full || l->again.full || l->sack.full;
	}
	for (int i = 0; full && i < 4; i++) {
		struct panel *p = &d->panel[i / 2];
		struct layer *l = &p->side[i % 2];

		p->n_marks = 0;
		bars_again(&l->data, gap);
		bars_again(&l->again, gap);
		bars_again(&l->sack, gap);
	}
	return full;
}

void diagram_free(struct diagram *d)
{
	for (int i = 0; i < 4; i++) {
		struct layer *l = &d->panel[i / 2].side[i % 2];

		bars_free(&l->data);
		bars_free(&l->again);
		bars_free(&l->sack);
		stairs_free(&l->ack);
		stairs_free(&l->edge);
	}
	free(d->split);
}

static int make_layers(struct diagram *d)
{
	int err = 0;

	d->split = calloc(SPAN / d->column + 1, sizeof(*d->split));
	if (!d->split)
		return -ENOMEM;
	for (int i = 0; i < 4; i++) {
		struct layer *l = &d->panel[i / 2].side[i % 2];

		err |= bars_init(&l->data, d->column) | bars_init(&l->again, d->column) |
		       bars_init(&l->sack, d->column) | stairs_init(&l->ack, SPAN, d->column) |
		       stairs_init(&l->edge, SPAN, d->column);
	}
	return err ? -ENOMEM : 0;
}

static void find_split(struct diagram *d)
{
	size_t next = 0;

	for (int i = 0; i <= SPAN / d->column; i++) {
		double at = (double)(d->to - d->from) * i * d->column / SPAN;

		d->split[i] = !d->t->edited && diagram_custody(state_at(d->t, d->from + (uint64_t)at, &next));
	}
}

/* ---- layout ---- */

/* From the first packet or transition to the last. */
static void find_times(struct diagram *d)
{
	const struct trace *t = d->t;

	d->from = t->start_ns;
	d->to = t->stop_ns;
	if (t->n_packets) {
		d->from = t->packets[0].ns;
		d->to = t->packets[t->n_packets - 1].ns;
	}
	if (t->n_transitions && t->transitions[0].time_ns < d->from)
		d->from = t->transitions[0].time_ns;
	if (t->n_transitions && t->transitions[t->n_transitions - 1].time_ns > d->to)
		d->to = t->transitions[t->n_transitions - 1].time_ns;
	if (d->to < d->from + 1000)
		d->to = d->from + 1000;
}

/* Panels for what carries data; for both directions if none does. */
static void find_panels(struct diagram *d)
{
	const struct trace_count *c = &d->count;
	uint64_t bytes[2];
	bool any;

	for (int i = 0; i < 2; i++)
		bytes[i] = c->bytes[0][i] > c->bytes[1][i] ? c->bytes[0][i] : c->bytes[1][i];
	any = bytes[0] || bytes[1];
	for (int i = 0; i < 2; i++) {
		struct panel *p = &d->panel[i];
		int64_t span = p->high - p->low;

		p->shown = bytes[i] || !any;
		p->height = bytes[i] < bytes[!i] / 64 ? PANEL_SMALL :
			    bytes[!i] && bytes[!i] >= bytes[i] / 64 ? PANEL_BOTH : PANEL_ALONE;
		/* A window far beyond the data would leave no room for the data. */
		p->high += p->edge > p->high + span ? span / 8 : p->edge > p->high ? p->edge - p->high : 0;
		p->high += (p->high - p->low) / 50;
		p->low -= (p->high - p->low) / 50;
		if (p->high < p->low + 16)
			p->high = p->low + 16;
	}
}

int diagram_label(const struct transition *t, char *buf, size_t len)
{
	return snprintf(buf, len, "%s (%s)", show_state(t->to), show_reason(t->reason));
}

int diagram_label_row(const struct diagram *d, const struct transition *t, int ends[LABEL_ROWS])
{
	int x = diagram_x(d, t->time_ns), row = 0;
	char text[96];

	for (int r = 0; r < LABEL_ROWS; r++)
		if (ends[r] > x)
			row = r + 1;
	if (row == LABEL_ROWS)
		return -1;
	ends[row] = x + (diagram_label(t, text, sizeof(text)) + 2) * LABEL_CHAR;
	return row;
}

static void lay_out(struct diagram *d)
{
	int ends[LABEL_ROWS] = {}, y;

	for (size_t i = 0; i < d->t->n_transitions; i++) {
		int row = diagram_label_row(d, &d->t->transitions[i], ends);

		if (row >= d->rows)
			d->rows = row + 1;
	}
	d->ribbon_y = HEAD + d->rows * LABEL_ROW;
	y = d->ribbon_y + RIBBON;
	for (int i = 1; i >= 0; i--) {
		if (!d->panel[i].shown)
			continue;
		d->panel[i].y = y + PANEL_GAP;
		y = d->panel[i].y + d->panel[i].height;
	}
	d->axis_y = y;
	d->notes = d->t->xdp + d->t->edited + (d->t->lost || d->t->missed || d->strays) + !d->t->n_packets;
	d->height = y + AXIS + d->notes * NOTE;
}

int diagram_make(struct diagram *d, const struct trace *t)
{
	int err;

	d->t = t;
	d->column = t->n_packets < FINE_PACKETS ? 1 : COARSE;
	trace_count(t, &d->count);
	find_times(d);
	measure(d);
	find_panels(d);
	lay_out(d);
	err = make_layers(d);
	if (err)
		return err;
	find_split(d);
	fill(d);
	for (int gap = 10; too_many(d, gap); gap *= 2)
		fill(d);
	return 0;
}
