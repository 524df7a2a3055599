// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "editor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void editor_init(struct editor *e)
{
	*e = (struct editor){ .hold = UINT64_MAX };
}

void editor_free(struct editor *e)
{
	while (e->edits)
		editor_made(e);
}

uint64_t edit_pos(const struct editor *e)
{
	return e->pos;
}

/*
 * The last edit at or before `at`, after which a new one there belongs; NULL: the new one is
 * first.
 */
static struct edit *before(const struct editor *e, uint64_t at)
{
	struct edit *edit = e->edits;

	if (e->last && e->last->at <= at)
		return e->last;
	if (!edit || edit->at > at)
		return NULL;
	while (edit->next && edit->next->at <= at)
		edit = edit->next;
	return edit;
}

static int replace(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len,
		   bool copy)
{
	struct edit *prev = before(e, at), *next = prev ? prev->next : e->edits, *edit;

	if (at < e->next || at > e->shown || remove > e->shown - at)
		return -EINVAL;
	if (prev && prev->remove && (prev->at < at ? prev->at + prev->remove > at : remove))
		return -EINVAL;
	if (next && at + remove > next->at)
		return -EINVAL;
	if (!remove && !len)
		return 0;
	edit = malloc(sizeof(*edit) + (copy ? len : 0));
	if (!edit)
		return -ENOMEM;
	*edit = (struct edit){ .next = next, .at = at, .remove = remove, .len = len, .with = with };
	if (copy && len)
		edit->with = memcpy(edit->copy, with, len);
	if (prev)
		prev->next = edit;
	else
		e->edits = edit;
	if (!next)
		e->last = edit;
	e->shift += (int64_t)len - (int64_t)remove;
	e->changed = true;
	return 0;
}

int edit_replace(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len)
{
	return replace(e, at, remove, with, len, true);
}

int edit_replace_by_rule(struct editor *e, uint64_t at, size_t remove, const void *with, size_t len)
{
	return replace(e, at, remove, with, len, false);
}

void edit_hold(struct editor *e, uint64_t at)
{
	if (at < e->hold)
		e->hold = at;
}

void editor_show(struct editor *e, size_t len)
{
	e->pos = e->shown;
	e->shown += len;
	e->hold = UINT64_MAX;
}

size_t editor_untouched(const struct editor *e, size_t n)
{
	uint64_t upto = e->next + n;

	if (e->edits && e->edits->at < upto)
		upto = e->edits->at;
	/* What nobody has been shown is not held either. */
	if (e->hold < upto && e->shown - e->hold <= EDIT_HOLD_MAX)
		upto = e->hold;
	return upto > e->next ? upto - e->next : 0;
}

bool editor_goes_on(const struct editor *e, uint64_t at, const struct edit *next)
{
	for (; next && next->at <= at; next = next->next) {
		if (next->len)
			return true;
		at = next->at + next->remove;
	}
	return at < e->shown && (at < e->hold || e->shown - e->hold > EDIT_HOLD_MAX);
}

struct edit *editor_due(const struct editor *e)
{
	return e->edits && e->edits->at <= e->next ? e->edits : NULL;
}

void editor_advance(struct editor *e, size_t n)
{
	e->next += n;
	if (e->shown < e->next)
		e->shown = e->next;
}

void editor_made(struct editor *e)
{
	struct edit *edit = e->edits;

	e->edits = edit->next;
	if (!e->edits)
		e->last = NULL;
	free(edit);
}
