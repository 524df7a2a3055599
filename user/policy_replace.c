// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads what the `replace` inspector of a rule is to replace. */
#include "policy_read.h"

#include <string.h>

enum { REPLACE_UP = 1 << SEAM_UP, REPLACE_DOWN = 1 << SEAM_DOWN };

static const struct choice directions[] = {
	{ "up", REPLACE_UP }, { "down", REPLACE_DOWN }, { "both", REPLACE_UP | REPLACE_DOWN }, { NULL, 0 }
};

/* Bytes as a string, from k->min to k->max of them. */
static void read_bytes(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	const char *v = get_string(l, s, k, "a string");

	if (!v)
		return;
	if (strlen(v) < k->min || strlen(v) > k->max)
		bad(l, s, "%s: %zu bytes; expected %llu to %llu", k->name, strlen(v),
		    (unsigned long long)k->min, (unsigned long long)k->max);
	else
		*(char **)field = duplicate(l, v);
}

static const struct key replacement_keys[] = {
	{ "find", read_bytes, offsetof(struct replacement, find), 1, REPLACE_FIND_MAX, NULL },
	{ "with", read_bytes, offsetof(struct replacement, with), 0, REPLACE_WITH_MAX, NULL },
	{ "direction", read_choice, offsetof(struct replacement, dirs), 0, 0, directions },
	{ NULL, NULL, 0, 0, 0, NULL },
};

void read_replacements(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	struct replacements *all;
	size_t n;

	if (!is_list(l, s, k->name))
		return;
	n = count(l, s, k);
	if (n > REPLACEMENTS_MAX) {
		bad(l, s, "%s: %zu are too many; expected at most %d", k->name, n, REPLACEMENTS_MAX);
		return;
	}
	all = replacements_new(n);
	if (!all) {
		l->no_memory = true;
		return;
	}
	*(struct replacements **)field = all;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, i);
		struct replacement *r = &all->at[i];

		r->dirs = REPLACE_UP | REPLACE_DOWN;
		if (!is_group_in(l, e, k->name))
			continue;
		read_keys(l, e, r, replacement_keys);
		require(l, e, "find", "replacement", "the bytes to look for");
		require(l, e, "with", "replacement", "what is to be in their place, \"\" for nothing");
		if (!r->find || !r->with)
			continue;
		replacement_prepare(r);
		if (r->with_len > r->find_len * REPLACE_GROWTH_MAX)
			bad(l, e, "with: %zu bytes in the place of %zu; expected at most %d times as many",
			    r->with_len, r->find_len, REPLACE_GROWTH_MAX);
	}
}
