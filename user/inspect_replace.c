// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `replace` inspector: replaces given bytes by others, wherever the segments end (Knuth,
 * Morris, Pratt). It asks to hold the bytes at the end of what it has been shown that may begin
 * such bytes, until it sees more.
 */
#include <stdlib.h>
#include <string.h>

#include "inspect.h"

struct replacements *replacements_new(size_t n)
{
	struct replacements *all = calloc(1, sizeof(*all) + n * sizeof(all->at[0]));

	if (all)
		all->n = n;
	return all;
}

void replacements_free(struct replacements *all)
{
	for (size_t i = 0; all && i < all->n; i++) {
		free(all->at[i].find);
		free(all->at[i].with);
	}
	free(all);
}

void replacement_prepare(struct replacement *r)
{
	size_t k = 0;

	r->find_len = strlen(r->find);
	r->with_len = strlen(r->with);
	r->border[0] = 0;
	for (size_t i = 1; i < r->find_len; i++) {
		while (k && r->find[k] != r->find[i])
			k = r->border[k - 1];
		k += r->find[k] == r->find[i];
		r->border[i] = (uint16_t)k;
	}
}

struct replace_state {
	const struct replacements *all;
	uint16_t found[2][REPLACEMENTS_MAX];	/* bytes matched of each, by direction */
};

static size_t replace_size(const struct inspect_setup *setup)
{
	(void)setup;
	return sizeof(struct replace_state);
}

static int replace_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
			const struct flow_key *key)
{
	struct replace_state *s = state;

	(void)rec;
	(void)key;
	s->all = setup->replacements;
	return 0;
}

/* Takes one more byte; returns whether it completes the bytes that are looked for. */
static bool step(const struct replacement *r, uint16_t *found, uint8_t byte)
{
	while (*found && (uint8_t)r->find[*found] != byte)
		*found = r->border[*found - 1];
	*found += (uint8_t)r->find[*found] == byte;
	return *found == r->find_len;
}

/* Where the longest possible beginning of one starts, counted back from the end. */
static size_t open_end(const struct replace_state *s, enum seam_dir dir)
{
	size_t longest = 0;

	for (size_t r = 0; r < s->all->n; r++) {
		if (s->found[dir][r] > longest)
			longest = s->found[dir][r];
	}
	return longest;
}

static enum inspect_answer replace_data(void *state, enum seam_dir dir, const uint8_t *data,
					size_t len, bool end, struct editor *edit)
{
	struct replace_state *s = state;
	uint64_t pos = edit_pos(edit);
	size_t keep;

	for (size_t i = 0; i < len; i++) {
		for (size_t n = 0; n < s->all->n; n++) {
			const struct replacement *r = &s->all->at[n];

			if (!(r->dirs & 1U << dir) || !step(r, &s->found[dir][n], data[i]))
				continue;
			if (edit_replace_by_rule(edit, pos + i + 1 - r->find_len, r->find_len,
						 r->with, r->with_len))
				return INSPECT_BLOCK; /* no memory: what must not pass does not */
			memset(s->found[dir], 0, sizeof(s->found[dir]));
			break;
		}
	}
	keep = end ? 0 : open_end(s, dir);
	if (keep)
		edit_hold(edit, pos + len - keep);
	return INSPECT_MORE;
}

static void replace_close(void *state)
{
	(void)state;
}

const struct inspector inspector_replace = {
	.name = "replace",
	.help = "writes other bytes in the place of some",
	.edits = true,
	.size = replace_size,
	.open = replace_open,
	.data = replace_data,
	.close = replace_close,
};
