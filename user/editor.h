/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the relay knows of one direction of a split flow: how far it has come, what
 * inspectors have been shown, and what they want changed. The inspectors' side of it
 * is edit.h.
 */
#ifndef SEAM_EDITOR_H
#define SEAM_EDITOR_H

#include "edit.h"

/* A hold of more than this does not count: the sender may have no window left to end it. */
#define EDIT_HOLD_MAX 16384

struct edit {
	struct edit *next;
	uint64_t at;		/* position of the first byte that is still to be removed */
	size_t remove;		/* bytes still to be removed */
	size_t len, sent;	/* bytes to insert, and handed on already */
	const uint8_t *with;	/* `copy`, or whoever asked for it keeps them */
	uint8_t copy[];
};

struct editor {
	uint64_t next;		/* position of the first byte that is still in the leg's queue */
	uint64_t shown;		/* ... that no inspector has been shown */
	uint64_t pos;		/* ... of what is being shown */
	uint64_t hold;		/* ... that has to stay, UINT64_MAX: none */
	struct edit *edits, *last; /* by position */
	int64_t shift;		/* bytes that were inserted, less those removed */
	bool changed;		/* there were edits since this was last false */
};

void editor_init(struct editor *e);
void editor_free(struct editor *e);

/* Inspectors are about to be shown `len` bytes more. */
void editor_show(struct editor *e, size_t len);

/*
 * Of `n` bytes in the leg's queue, how many may be handed on as they are before there
 * is an edit to make, or a byte that has to stay.
 */
size_t editor_untouched(const struct editor *e, size_t n);

/* Whether more is handed on after what ends at `at`, `next` being the edit after that or NULL: it need not be sent yet. */
bool editor_goes_on(const struct editor *e, uint64_t at, const struct edit *next);

/* The edit to make before any other byte is handed on, or NULL. */
struct edit *editor_due(const struct editor *e);

/* `n` bytes have left the queue, handed on or removed. */
void editor_advance(struct editor *e, size_t n);

/* The edit that was due has been made. */
void editor_made(struct editor *e);

#endif
