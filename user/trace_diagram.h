/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A time-sequence diagram, laid out: what is where, before it is drawn. For trace_layout.c and
 * trace_svg.c only.
 */
#ifndef SEAM_TRACE_DIAGRAM_H
#define SEAM_TRACE_DIAGRAM_H

#include "trace.h"
#include "trace_plot.h"

/* Tenths of a pixel, like everything below. */
#define WIDTH 12000
#define LEFT 640
#define RIGHT 200
#define SPAN (WIDTH - LEFT - RIGHT)
#define HEAD 1060 /* title, legend */
#define LABEL_ROW 160
#define LABEL_ROWS 6
#define LABEL_CHAR 66 /* width of a character, the average and some more */
#define RIBBON 200
#define PANEL_GAP 320
#define PANEL_ALONE 4800
#define PANEL_BOTH 3400
#define PANEL_SMALL 1200
#define AXIS 420
#define NOTE 170
#define MARKS_MAX 32

struct layer {
	struct bars data, again, sack;
	struct stairs ack, edge;
};

struct mark {
	int x, y;
	char letter;
};

/* One direction. */
struct panel {
	int y, height;
	bool shown, seen;
	int64_t low, high;	/* data and acknowledgements, from the sender's ISN */
	int64_t edge;		/* the furthest window */
	int64_t custody;	/* most that the box has acknowledged and the receiver has not */
	struct layer side[2];	/* enum seam_end */
	struct mark marks[MARKS_MAX];
	int n_marks;
};

struct diagram {
	const struct trace *t;
	FILE *f;		/* where it is drawn to */
	uint64_t from, to;	/* ns */
	int column;		/* width of a column */
	int ribbon_y, axis_y, height;
	int rows;		/* of labels */
	struct panel panel[2];	/* enum seam_dir */
	struct trace_count count;
	size_t strays;		/* packets far outside */
	int notes;		/* lines of notes */
	bool *split;		/* by column: the box may have custody */
};

/*
 * Where the packets of a trace are in the two streams: sequence numbers counted from the ISNs,
 * beyond 2^32 as well.
 */
struct walk {
	const struct trace *t;
	int64_t reached[2], top[2][2];
	bool any[2][2];
};

void walk_begin(struct walk *w, const struct trace *t);
/* Unwraps a sequence number of direction `dir`; false if it cannot be of the flow. */
bool walk_unwrap(const struct walk *w, int dir, uint32_t seq, int64_t *at);
void walk_packet(struct walk *w, const struct trace_packet *p);

int diagram_x(const struct diagram *d, uint64_t ns);
int diagram_y(const struct panel *p, int64_t at);
/* Whether the box may have custody of bytes in that state. */
bool diagram_custody(int state);

/* Writes the label of a transition; returns its length. */
int diagram_label(const struct transition *t, char *buf, size_t len);
/*
 * The row for a transition's label, so that it covers no other and its line down to the ribbon
 * crosses none; -1 if there is none. `ends`: where each row is free again, 0 before the first.
 */
int diagram_label_row(const struct diagram *d, const struct transition *t, int ends[LABEL_ROWS]);

/* 0 or -ENOMEM; call diagram_free() in either case. */
int diagram_make(struct diagram *d, const struct trace *t);
void diagram_free(struct diagram *d);

#endif
