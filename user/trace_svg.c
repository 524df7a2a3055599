// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The time-sequence diagram: over time, for each direction that carries data, what was sent,
 * acknowledged and promised, on the client's side and on the server's; and the transitions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"
#include "svg.h"
#include "trace_diagram.h"
#include "trace_style.h"

static double ms(const struct diagram *d, uint64_t ns)
{
	return (double)(int64_t)(ns - d->from) / 1e6;
}

static const char *dir_name(int dir)
{
	return dir == SEAM_UP ? "up" : "down";
}

static const char *side_name(int end)
{
	return end == SEAM_CLIENT ? "client" : "server";
}

static void draw_description(const struct diagram *d)
{
	const struct trace *t = d->t;
	char a[SHOW_ENDPOINT_LEN], b[SHOW_ENDPOINT_LEN];
	size_t i;

	fprintf(d->f, "<desc id=\"d\">Flow %llu, %s (client) to %s (server), for %.1f ms: ",
		(unsigned long long)t->id,
		show_endpoint(t->key.client, t->key.client_port, a),
		show_endpoint(t->key.server, t->key.server_port, b), ms(d, d->to));
	fprintf(d->f, "%zu packets on the client's side of the box and %zu on the server's.",
		d->count.packets[SEAM_CLIENT], d->count.packets[SEAM_SERVER]);
	for (i = 0; i < t->n_transitions && i < 64; i++)
		fprintf(d->f, " At %.3f ms: %s to %s, %s.", ms(d, t->transitions[i].time_ns),
			show_state(t->transitions[i].from), show_state(t->transitions[i].to),
			show_reason(t->transitions[i].reason));
	fputs("</desc>\n", d->f);
}

static void draw_head(const struct diagram *d)
{
	const struct trace *t = d->t;
	char a[SHOW_ENDPOINT_LEN], b[SHOW_ENDPOINT_LEN], when[SHOW_TIME_LEN];

	fprintf(d->f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"t d\" "
		"width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
		"<!-- SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause -->\n",
		WIDTH / 10, d->height / 10, WIDTH / 10, d->height / 10);
	show_endpoint(t->key.client, t->key.client_port, a);
	show_endpoint(t->key.server, t->key.server_port, b);
	fprintf(d->f, "<title id=\"t\">Time-sequence diagram of a TCP connection on both sides of "
		      "Seam</title>\n");
	draw_description(d);
	fputs(trace_style, d->f);
	svg_rect(d->f, "paper", 0, 0, WIDTH, d->height);
	svg_text(d->f, LEFT, 330, "title", "client %s  to  server %s", a, b);
	svg_text(d->f, LEFT, 530, "dim", "flow %llu from %s, for %.1f ms; packets: %zu on the "
		 "client's side of the box, %zu on the server's", (unsigned long long)t->id,
		 show_time(d->from, when), ms(d, d->to), d->count.packets[SEAM_CLIENT],
		 d->count.packets[SEAM_SERVER]);
}

enum swatch { SWATCH_BAR, SWATCH_LINE, SWATCH_AREA, SWATCH_DIAMOND };

static void diamond(FILE *f, const char *class, int x, int y)
{
	struct svg_path p;

	svg_path(&p, f, class);
	svg_move(&p, x, y - 55);
	fputs("l5.5 5.5-5.5 5.5-5.5-5.5z", f);
	svg_path_end(&p);
}

static int legend(const struct diagram *d, int x, int y, enum swatch what, const char *class,
		  const char *text)
{
	if (what == SWATCH_BAR)
		svg_line(d->f, class, x + 90, y - 110, x + 90, y + 20);
	else if (what == SWATCH_LINE)
		svg_line(d->f, class, x, y - 45, x + 220, y - 45);
	else if (what == SWATCH_AREA)
		svg_rect(d->f, class, x, y - 110, 220, 130);
	else
		diamond(d->f, class, x + 110, y - 45);
	x += what == SWATCH_BAR ? 180 : 290;
	svg_text(d->f, x, y, "key", "%s", text);
	return x + (int)strlen(text) * LABEL_CHAR + 180;
}

static void draw_legend(const struct diagram *d)
{
	static const char *const names[] = { "client's side:", "server's side:" };
	int x = LEFT, y = 740, i;
	bool sack = false;

	fputs("<g id=\"legend\">\n", d->f);
	for (i = 0; i < 2; i++) {
		char data[32], ack[32], edge[32];

		snprintf(data, sizeof(data), "data %s", side_name(i));
		snprintf(ack, sizeof(ack), "ack %s", side_name(i));
		snprintf(edge, sizeof(edge), "edge %s", side_name(i));
		svg_text(d->f, x, y, "key strong", "%s", names[i]);
		x = legend(d, x + 1000, y, SWATCH_BAR, data, "data");
		x = legend(d, x, y, SWATCH_LINE, ack, "acknowledged up to");
		x = legend(d, x, y, SWATCH_LINE, edge, "window up to") + 300;
	}
	for (i = 0; i < 4; i++)
		sack |= d->panel[i / 2].shown && d->panel[i / 2].side[i % 2].sack.n;
	x = legend(d, LEFT, y + 200, SWATCH_AREA, "custody",
		   "in custody: Seam has acknowledged it, the receiver not yet");
	x = legend(d, x, y + 200, SWATCH_DIAMOND, "boundary", "boundary of a transition");
	x = legend(d, x, y + 200, SWATCH_BAR, "again", "sent again, or late");
	if (sack)
		legend(d, x, y + 200, SWATCH_BAR, "sack", "SACKed");
	fputs("</g>\n", d->f);
}

/* Draws a state's time: in the ribbon, and behind the panels. */
static void draw_state(const struct diagram *d, int state, int x, int end)
{
	const char *name = show_state(state);
	char class[48];

	if (end <= x)
		return;
	snprintf(class, sizeof(class), "state %s", name);
	svg_rect(d->f, class, LEFT + x, d->ribbon_y, end - x, RIBBON);
	if (end - x > (int)(strlen(name) + 2) * LABEL_CHAR)
		svg_text(d->f, LEFT + (x + end) / 2, d->ribbon_y + 140, "ribbon", "%s", name);
	snprintf(class, sizeof(class), "tint %s", name);
	for (int i = 0; i < 2; i++)
		if (d->panel[i].shown && diagram_custody(state))
			svg_rect(d->f, class, LEFT + x, d->panel[i].y, end - x, d->panel[i].height);
}

static void draw_states(const struct diagram *d)
{
	const struct trace *t = d->t;
	int x = 0, next, state = t->n_transitions ? t->transitions[0].from : t->state;

	fputs("<g id=\"states\">\n", d->f);
	for (size_t i = 0; i < t->n_transitions; i++) {
		next = diagram_x(d, t->transitions[i].time_ns);
		/* A state that is over in half a pixel would not be seen. */
		if (next >= x + 5) {
			draw_state(d, state, x, next);
			x = next;
		}
		state = t->transitions[i].to;
	}
	draw_state(d, state, x, SPAN);
	fputs("</g>\n", d->f);
}

static void draw_transition(const struct diagram *d, const struct transition *t, int row)
{
	int x = diagram_x(d, t->time_ns), top = row < 0 ? d->ribbon_y : HEAD + row * LABEL_ROW - 20;
	char text[96];
	int width = diagram_label(t, text, sizeof(text)) * LABEL_CHAR;

	fputs("<g class=\"transition\">\n", d->f);
	svg_title(d->f, "at %.3f ms: %s to %s: %s (%s)", ms(d, t->time_ns), show_state(t->from),
		  show_state(t->to), show_reason_text(t->reason), show_reason(t->reason));
	svg_line(d->f, "move", LEFT + x, top, LEFT + x, d->axis_y);
	if (row >= 0)
		svg_text(d->f, LEFT + x + (x + width > SPAN ? -40 : 40), top + 90,
			 x + width > SPAN ? "label end" : "label", "%s", text);
	fputs("</g>\n", d->f);
}

/* Leaves out those too close to tell apart, but not the first and last in a place. */
static void draw_transitions(const struct diagram *d)
{
	int ends[LABEL_ROWS] = {}, last = -1;
	const struct trace *t = d->t;

	fputs("<g id=\"transitions\">\n", d->f);
	for (size_t i = 0; i < t->n_transitions; i++) {
		int row = diagram_label_row(d, &t->transitions[i], ends);
		int x = diagram_x(d, t->transitions[i].time_ns);

		if (row >= 0 || x >= last + 20 || i + 1 == t->n_transitions) {
			draw_transition(d, &t->transitions[i], row);
			last = x;
		}
	}
	fputs("</g>\n", d->f);
}

/* 1, 2 or 5 times a power of ten. */
static double step_of(double span, int at_most)
{
	double step = 1e-6;

	for (int i = 0; span / step > at_most; i++)
		step *= i % 3 == 1 ? 2.5 : 2;
	return step;
}

static void draw_time_axis(const struct diagram *d)
{
	double span = ms(d, d->to), step = step_of(span, 12);
	bool seconds = span >= 10000;

	fputs("<g id=\"time\">\n", d->f);
	for (int i = 0; i * step <= span; i++) {
		int x = LEFT + (int)(i * step / span * SPAN);

		for (int k = 0; k < 2; k++)
			if (d->panel[k].shown)
				svg_line(d->f, "grid", x, d->panel[k].y, x,
					 d->panel[k].y + d->panel[k].height);
		svg_text(d->f, x, d->axis_y + 180, "tick middle", "%.6g%s",
			 i * step / (seconds ? 1000 : 1), i ? "" : seconds ? " s" : " ms");
	}
	fputs("</g>\n", d->f);
}

static void draw_sequence_axis(const struct diagram *d, const struct panel *p)
{
	static const char units[] = " kMGTPE";
	int64_t step = 1, unit = 1, at;
	int u = 0;

	while ((p->high - p->low) / step > p->height / 600 + 1)
		step *= 2;
	while (unit * 1024 <= step) {
		unit *= 1024;
		u++;
	}
	for (at = p->low > 0 ? (p->low + step - 1) / step * step : 0; at <= p->high; at += step) {
		int y = p->y + diagram_y(p, at);

		svg_line(d->f, "grid", LEFT, y, LEFT + SPAN, y);
		svg_text(d->f, LEFT - 70, y + 40, "tick end", "%lld%.1s", (long long)(at / unit),
			 at && u ? &units[u] : "");
	}
}

static void draw_stairs(const struct diagram *d, const struct stairs *s, const char *class)
{
	struct svg_path p;

	svg_path(&p, d->f, class);
	stairs_draw(s, &p, SPAN);
	svg_path_end(&p);
}

static void draw_bars(const struct diagram *d, const struct bars *b, int least, const char *class)
{
	struct svg_path p;

	if (!b->n)
		return;
	svg_path(&p, d->f, class);
	bars_draw(b, &p, least);
	svg_path_end(&p);
}

static void draw_side(const struct diagram *d, int dir, int end)
{
	const struct layer *l = &d->panel[dir].side[end];
	const char *side = side_name(end);
	char class[32];

	/* Where both sides are the same, the sender's shows behind the receiver's. */
	fprintf(d->f, "<g class=\"side %s%s\" data-segments=\"%zu\" data-again=\"%zu\">\n", side,
		end == dir ? " wide" : "", d->count.segments[end][dir], d->count.again[end][dir]);
	svg_title(d->f, "%s's side: %zu segments, %zu of them sent again or late", side,
		  d->count.segments[end][dir], d->count.again[end][dir]);
	snprintf(class, sizeof(class), "edge %s", side);
	draw_stairs(d, &l->edge, class);
	snprintf(class, sizeof(class), "ack %s", side);
	draw_stairs(d, &l->ack, class);
	snprintf(class, sizeof(class), "data %s", side);
	draw_bars(d, &l->data, 10, class);
	draw_bars(d, &l->sack, 20, "sack");
	draw_bars(d, &l->again, 40, "again");
	fputs("</g>\n", d->f);
}

static void draw_custody(const struct diagram *d, int dir)
{
	const struct panel *p = &d->panel[dir];
	/* The sender in direction d is end d, and its side is where the box acknowledges. */
	const struct stairs *told = &p->side[dir].ack, *real = &p->side[!dir].ack;
	struct svg_path path;

	svg_path(&path, d->f, "custody");
	stairs_between(told, real, d->split, &path);
	svg_path_end(&path);
}

/* Marks what each end had sent when custody changed hands. */
static void draw_boundaries(const struct diagram *d, int dir)
{
	const struct panel *p = &d->panel[dir];
	const struct trace *t = d->t;
	struct walk w;
	int64_t at;
	int last = -1;

	walk_begin(&w, t);
	for (size_t i = 0, n = 0; i < t->n_transitions; i++) {
		const struct transition *move = &t->transitions[i];
		int x = diagram_x(d, move->time_ns);

		for (; n < t->n_packets && t->packets[n].ns <= move->time_ns; n++)
			walk_packet(&w, &t->packets[n]);
		if ((move->to != FLOW_SPLITTING && move->to != FLOW_MERGING) || x < last + 30 ||
		    !walk_unwrap(&w, dir, move->nxt[dir], &at))
			continue;
		diamond(d->f, "boundary", x, diagram_y(p, at));
		last = x;
	}
}

static void draw_panel(const struct diagram *d, int dir)
{
	const struct panel *p = &d->panel[dir];
	const struct trace_count *c = &d->count;
	char bytes[SHOW_SHORT_LEN], custody[SHOW_SHORT_LEN];

	fprintf(d->f, "<g class=\"panel %s\">\n", dir_name(dir));
	svg_rect(d->f, "frame", LEFT, p->y, SPAN, p->height);
	draw_sequence_axis(d, p);
	fprintf(d->f, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">\n", LEFT / 10, p->y / 10,
		SPAN / 10, p->height / 10);
	draw_custody(d, dir);
	draw_side(d, dir, dir);
	draw_side(d, dir, !dir);
	draw_boundaries(d, dir);
	for (int i = 0; i < p->n_marks; i++)
		svg_text(d->f, p->marks[i].x, p->marks[i].y - 30, "mark middle", "%c",
			 p->marks[i].letter);
	fputs("</svg>\n", d->f);
	svg_text(d->f, LEFT, p->y - 90, "strong halo", "%s: %s to %s", dir_name(dir), side_name(dir),
		 side_name(!dir));
	svg_text(d->f, LEFT + 1800, p->y - 90, "dim halo", "%s bytes in %zu segments, of which %zu "
		 "were sent again, or late; in custody at most %s",
		 show_bytes(c->bytes[dir][dir], bytes), c->segments[dir][dir], c->again[dir][dir],
		 d->t->edited ? "(not known)" : show_bytes(p->custody, custody));
	if (p->edge > p->high)
		svg_text(d->f, LEFT + SPAN - 120, p->y + 220, "dim end halo", "window up to %s further",
			 show_bytes(p->edge - p->high, bytes));
	fputs("</g>\n", d->f);
}

/* The legend of the axes, and what the reader has to know to trust the drawing. */
static void draw_notes(const struct diagram *d)
{
	const struct trace *t = d->t;
	int y = d->axis_y + 360;

	svg_text(d->f, LEFT + SPAN, y, "dim end", "sequence number, from the sender's initial one on, "
		 "over time; wide: the sender's side, narrow: the receiver's");
	if (t->xdp)
		svg_text(d->f, LEFT, y += NOTE, "warn", "An interface has XDP: merged and passed packets "
			 "that it forwarded are not shown.");
	if (t->edited)
		svg_text(d->f, LEFT, y += NOTE, "warn", "Edited: each side has numbers of its own for the "
			 "same bytes, and custody is not shown.");
	if (t->lost || t->missed || d->strays)
		svg_text(d->f, LEFT, y += NOTE, "warn", "Not shown: %llu packets and %llu transitions that "
			 "were lost, %zu packets with sequence numbers far outside.",
			 (unsigned long long)t->lost, (unsigned long long)t->missed, d->strays);
	if (!t->n_packets)
		svg_text(d->f, LEFT, y += NOTE, "warn", "No packet was seen.");
}

static void draw(const struct diagram *d)
{
	draw_head(d);
	draw_legend(d);
	draw_states(d);
	draw_transitions(d);
	draw_time_axis(d);
	for (int i = 1; i >= 0; i--)
		if (d->panel[i].shown)
			draw_panel(d, i);
	draw_notes(d);
	fputs("</svg>\n", d->f);
}

int trace_svg(const struct trace *t, FILE *to)
{
	struct diagram *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->f = to;
	err = diagram_make(d, t);
	if (!err)
		draw(d);
	diagram_free(d);
	free(d);
	return err;
}
