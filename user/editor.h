/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the relay knows of one direction of a split flow: how far it has come, what inspectors
 * have been shown, and what they want changed. The inspectors' side is edit.h.
 */
#ifndef SEAM_EDITOR_H
#define SEAM_EDITOR_H

#include "edit.h"

/* A longer hold does not count: the sender may have no window left to end it. */
#define EDIT_HOLD_MAX 16384

struct edit {
	struct edit *next;
	uint64_t at;		/* position of the first byte still to be removed */
	size_t remove;		/* bytes still to be removed */
	size_t len, sent;	/* bytes to insert, and how many were handed on already */
	const uint8_t *with;	/* `copy`, or kept by whoever asked for the edit */
	uint8_t copy[];
};

struct editor {
	uint64_t next;		/* position of the first byte still in the leg's queue */
	uint64_t shown;		/* ... of the first byte that no inspector has been shown */
	uint64_t pos;		/* ... of what is being shown */
	uint64_t hold;		/* ... of the first byte that has to stay, UINT64_MAX: none */
	struct edit *edits, *last; /* by position */
	int64_t shift;		/* bytes inserted, less bytes removed */
	bool changed;		/* edits were added since this was last false */
};

void editor_init(struct editor *e);
void editor_free(struct editor *e);

/* Inspectors are about to be shown `len` more bytes. */
void editor_show(struct editor *e, size_t len);

/*
 * How many of `n` bytes in the leg's queue may be handed on unchanged, before an edit or a byte
 * that has to stay.
 */
size_t editor_untouched(const struct editor *e, size_t n);

/*
 * Whether more is handed on after the data that ends at `at`, so that this need not be sent
 * yet. `next`: the edit after that, or NULL.
 */
bool editor_goes_on(const struct editor *e, uint64_t at, const struct edit *next);

/* The edit to make before any further byte is handed on, or NULL. */
struct edit *editor_due(const struct editor *e);

/* `n` bytes have left the queue, handed on or removed. */
void editor_advance(struct editor *e, size_t n);

/* The edit that was due has been made. */
void editor_made(struct editor *e);

#endif
