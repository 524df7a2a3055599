/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lines and bars of a diagram, made as few as possible without a visible change: whatever
 * falls into one column of the drawing becomes one. Coordinates are tenths of a pixel; y grows
 * downwards.
 */
#ifndef SEAM_TRACE_PLOT_H
#define SEAM_TRACE_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "svg.h"

#define PLOT_BARS_MAX 3000

/* A value that holds until the next one: an acknowledgement, a window's edge. */
struct stairs {
	struct {
		int x, top, bottom, last;
		bool used;
	} *at;
	int columns, width; /* how many, and how many tenths wide */
};

/* From one y to another at one moment: a segment, a SACK block. */
struct bars {
	struct bar {
		int x, top, bottom;
	} *at;
	int n, gap, width;
	bool full;
};

/* 0 or -ENOMEM; `span` tenths, in columns of `width`. */
int stairs_init(struct stairs *s, int span, int width);
void stairs_add(struct stairs *s, int x, int y);
/* Up to `end`, until which the last value holds. */
void stairs_draw(const struct stairs *s, struct svg_path *p, int end);
void stairs_free(struct stairs *s);

int bars_init(struct bars *b, int width);
/* Bars of one column that are no further apart than b->gap become one. */
void bars_add(struct bars *b, int x, int top, int bottom);
/* Removes all and sets a larger gap, for another try once it was full. */
void bars_again(struct bars *b, int gap);
void bars_draw(const struct bars *b, struct svg_path *p, int least);
void bars_free(struct bars *b);

/* The area where `upper` is above `lower`, in the columns for which `in` is true. */
void stairs_between(const struct stairs *upper, const struct stairs *lower, const bool *in,
		    struct svg_path *p);

#endif
