// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "trace_plot.h"

#include <errno.h>
#include <stdlib.h>

int stairs_init(struct stairs *s, int span, int width)
{
	s->width = width;
	s->columns = span / width + 1;
	s->at = calloc(s->columns, sizeof(*s->at));
	return s->at ? 0 : -ENOMEM;
}

void stairs_free(struct stairs *s)
{
	free(s->at);
}

void stairs_add(struct stairs *s, int x, int y)
{
	int i = x / s->width;

	if (i < 0 || i >= s->columns)
		return;
	if (!s->at[i].used) {
		s->at[i].used = true;
		s->at[i].x = x;
		s->at[i].top = s->at[i].bottom = y;
	}
	if (y < s->at[i].top)
		s->at[i].top = y;
	if (y > s->at[i].bottom)
		s->at[i].bottom = y;
	s->at[i].last = y;
}

void stairs_draw(const struct stairs *s, struct svg_path *p, int end)
{
	bool begun = false;

	for (int i = 0; i < s->columns; i++) {
		if (!s->at[i].used ||
		    (begun && s->at[i].top == p->y && s->at[i].bottom == p->y))
			continue;
		if (begun)
			svg_across(p, s->at[i].x);
		else
			svg_move(p, s->at[i].x, s->at[i].bottom);
		begun = true;
		/* Whatever was reached in this column, then where it came to rest. */
		if (s->at[i].bottom > p->y)
			svg_up(p, s->at[i].bottom);
		if (s->at[i].top < p->y)
			svg_up(p, s->at[i].top);
		svg_up(p, s->at[i].last);
	}
	if (begun)
		svg_across(p, end);
}

int bars_init(struct bars *b, int width)
{
	b->width = width;
	b->at = malloc(PLOT_BARS_MAX * sizeof(*b->at));
	return b->at ? 0 : -ENOMEM;
}

void bars_free(struct bars *b)
{
	free(b->at);
}

void bars_again(struct bars *b, int gap)
{
	b->n = 0;
	b->gap = gap;
	b->full = false;
}

void bars_add(struct bars *b, int x, int top, int bottom)
{
	struct bar *at;
	int i;

	for (i = b->n - 1; i >= 0 && b->at[i].x / b->width == x / b->width; i--) {
		at = &b->at[i];
		if (top > at->bottom + b->gap || bottom < at->top - b->gap)
			continue;
		if (top < at->top)
			at->top = top;
		if (bottom > at->bottom)
			at->bottom = bottom;
		return;
	}
	if (b->n == PLOT_BARS_MAX) {
		b->full = true;
		return;
	}
	b->at[b->n++] = (struct bar){ x, top, bottom };
}

void bars_draw(const struct bars *b, struct svg_path *p, int least)
{
	for (int i = 0; i < b->n; i++) {
		int height = b->at[i].bottom - b->at[i].top;
		int more = height < least ? least - height : 0;

		svg_move(p, b->at[i].x, b->at[i].bottom + more / 2);
		svg_up(p, b->at[i].top - (more - more / 2));
	}
}

/* The value that holds in a column. */
static int held(const struct stairs *s, int column, int before)
{
	return s->at[column].used ? s->at[column].last : before;
}

/* Down to the lower side, and along it back to where the area began. */
static void back(const struct stairs *lower, const int *at, int from, int to, struct svg_path *p)
{
	svg_across(p, to * lower->width);
	for (int i = to - 1; i >= from; i--) {
		svg_up(p, at[i]);
		if (i == from || at[i - 1] != at[i])
			svg_across(p, i * lower->width);
	}
	svg_close(p);
}

void stairs_between(const struct stairs *upper, const struct stairs *lower, const bool *in,
		    struct svg_path *p)
{
	int *at = malloc(lower->columns * sizeof(*at));
	int i, from = -1, u = 0, l = 0, y0 = 0;
	bool has_u = false, has_l = false, open;

	for (i = 0; at && i < lower->columns; i++) {
		u = held(upper, i, u);
		l = held(lower, i, l);
		has_u |= upper->at[i].used;
		has_l |= lower->at[i].used;
		at[i] = l;
		open = in[i] && has_u && has_l && u < l;
		if (open && from < 0) {
			from = i;
			y0 = l;
			svg_move(p, i * lower->width, l);
		}
		if (open && u != p->y) {
			svg_across(p, i * lower->width);
			svg_up(p, u);
		}
		if (from >= 0 && (!open || i + 1 == lower->columns)) {
			back(lower, at, from, open ? i + 1 : i, p);
			/* Closing the path has led back there. */
			p->x = from * lower->width;
			p->y = y0;
			from = -1;
		}
	}
	free(at);
}
