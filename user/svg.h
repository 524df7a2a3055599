/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an SVG drawing needs of XML, and paths in as few bytes as possible. Coordinates are
 * integers, tenths of a pixel.
 */
#ifndef SEAM_SVG_H
#define SEAM_SVG_H

#include <stdio.h>

/* Writes text as XML; what XML cannot contain, and what is not ASCII, becomes "?". */
void svg_escape(FILE *f, const char *text);

/* <text class="CLASS" x="" y="">, formatted; `class` may list several, and anchor it. */
void svg_text(FILE *f, int x, int y, const char *class, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* <title>: what a reader is told about the element it stands in. */
void svg_title(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void svg_line(FILE *f, const char *class, int x1, int y1, int x2, int y2);
void svg_rect(FILE *f, const char *class, int x, int y, int width, int height);

/* A path: moves and lines from the current point, between svg_path() and svg_path_end(). */
struct svg_path {
	FILE *f;
	int x, y;
	char last;
};

void svg_path(struct svg_path *p, FILE *f, const char *class);
void svg_move(struct svg_path *p, int x, int y);
void svg_across(struct svg_path *p, int x);
void svg_up(struct svg_path *p, int y);
void svg_close(struct svg_path *p);
void svg_path_end(struct svg_path *p);

#endif
