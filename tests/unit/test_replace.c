// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The editor, and the `replace` inspector on top of it, against a search of the whole stream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "editor.h"
#include "inspect.h"
#include "tap.h"

#define STREAM_MAX 4096
#define OUT_MAX (16 * STREAM_MAX)

struct stream {
	size_t len;
	uint8_t data[OUT_MAX];
};

static uint32_t seed;

static size_t below(size_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static void put(struct stream *s, const void *data, size_t len)
{
	memcpy(s->data + s->len, data, len);
	s->len += len;
}

/* What the relay does with an editor, the other leg taking a few bytes at a time. */
static void drain(struct editor *e, const uint8_t *in, size_t arrived, struct stream *out)
{
	struct edit *edit;
	size_t n;

	for (;;) {
		while ((edit = editor_due(e))) {
			while (edit->sent < edit->len) {
				n = 1 + below(edit->len - edit->sent);
				put(out, edit->with + edit->sent, n);
				edit->sent += n;
			}
			if (edit->remove)
				editor_advance(e, edit->remove);
			editor_made(e);
		}
		n = editor_untouched(e, arrived - e->next);
		if (!n)
			return;
		n = 1 + below(n);
		put(out, in + e->next, n);
		editor_advance(e, n);
	}
}

/* The same by looking at the whole: of what is looked for, the first to end. */
static void expect(const struct replacements *all, enum seam_dir dir, const uint8_t *in,
		   size_t len, struct stream *out)
{
	size_t from = 0;

	for (size_t end = 1; end <= len; end++) {
		for (size_t i = 0; i < all->n; i++) {
			const struct replacement *r = &all->at[i];

			if (!(r->dirs & 1U << dir) || end - from < r->find_len ||
			    memcmp(in + end - r->find_len, r->find, r->find_len))
				continue;
			put(out, in + from, end - r->find_len - from);
			put(out, r->with, r->with_len);
			from = end;
			break;
		}
	}
	put(out, in + from, len - from);
}

static bool replaced(struct inspect_setup *setup, enum seam_dir dir, const uint8_t *in, size_t len)
{
	static struct stream out, expected;
	void *state = calloc(1, inspector_replace.size(setup));
	struct flow_record rec = { 0 };
	struct editor e;
	size_t shown = 0, n;
	bool pass;

	out.len = expected.len = 0;
	editor_init(&e);
	inspector_replace.open(state, &rec, setup, NULL);
	while (shown < len) {
		n = 1 + below(len - shown < 40 ? len - shown : 40);
		editor_show(&e, n);
		inspector_replace.data(state, dir, in + shown, n, false, &e);
		shown += n;
		drain(&e, in, shown, &out);
	}
	editor_show(&e, 0);
	inspector_replace.data(state, dir, NULL, 0, true, &e);
	drain(&e, in, shown, &out);
	expect(setup->replacements, dir, in, len, &expected);
	pass = out.len == expected.len && !memcmp(out.data, expected.data, out.len) &&
	       e.next == len && e.shift == (int64_t)out.len - (int64_t)len;
	if (!pass)
		diag("%zu bytes became %zu, expected %zu; shift %lld", len, out.len, expected.len,
		     (long long)e.shift);
	inspector_replace.close(state);
	editor_free(&e);
	free(state);
	return pass;
}

static struct replacements *make(const char *const (*pairs)[2], size_t n, unsigned int dirs)
{
	struct replacements *all = replacements_new(n);

	for (size_t i = 0; i < n; i++) {
		all->at[i].find = strdup(pairs[i][0]);
		all->at[i].with = strdup(pairs[i][1]);
		all->at[i].dirs = dirs;
		replacement_prepare(&all->at[i]);
	}
	return all;
}

static void test_random(void)
{
	static const char *const pairs[][2] = {
		{ "aab", "X" }, { "abab", "" }, { "ba", "longer than it was" }, { "cc", "cc" }
	};
	struct inspect_setup setup = { .replacements = make(pairs, 4, 3) };
	uint8_t in[STREAM_MAX];
	bool pass = true;

	for (seed = 1; pass && seed < 3000000000U; seed += 1000003) {
		size_t len = 1 + below(seed % 7 ? 60 : STREAM_MAX);

		for (size_t i = 0; i < len; i++)
			in[i] = "aabbc"[below(5)];
		pass = replaced(&setup, SEAM_UP, in, len);
	}
	ok(pass, "3000 streams in pieces, as when they are looked at whole");
	replacements_free(setup.replacements);
}

static void test_direction(void)
{
	static const char *const pairs[][2] = { { "secret", "******" } };
	struct inspect_setup setup = { .replacements = make(pairs, 1, 1 << SEAM_DOWN) };
	static const char text[] = "a secret is a secret";

	ok(replaced(&setup, SEAM_UP, (const uint8_t *)text, sizeof(text) - 1), "not up");
	ok(replaced(&setup, SEAM_DOWN, (const uint8_t *)text, sizeof(text) - 1), "but down");
	replacements_free(setup.replacements);
}

static void test_editor(void)
{
	static struct stream out;
	struct editor e;

	editor_init(&e);
	ok(edit_pos(&e) == 0 && edit_replace(&e, 0, 0, "head ", 5) == 0, "inserts before any byte");
	drain(&e, NULL, 0, &out);
	ok(out.len == 5 && !memcmp(out.data, "head ", 5) && e.shift == 5, "and hands it on at once");

	editor_show(&e, 10);
	ok(edit_replace(&e, 4, 7, "", 0) == -EINVAL, "removes nothing that was not shown");
	ok(!edit_replace(&e, 4, 2, "XY", 2) && edit_replace(&e, 5, 1, "z", 1) == -EINVAL &&
		   edit_replace(&e, 3, 2, "", 0) == -EINVAL && edit_replace(&e, 4, 1, "", 0) == -EINVAL,
	   "edits do not overlap");
	ok(!edit_replace(&e, 2, 0, "2", 1) && !edit_replace(&e, 2, 0, "3", 1) &&
		   !edit_replace(&e, 6, 0, "6", 1) && !edit_replace(&e, 10, 0, "!", 1),
	   "in any order, several at one position");
	edit_hold(&e, 8);
	out.len = 0;
	drain(&e, (const uint8_t *)"0123456789", 10, &out);
	ok(out.len == 11 && !memcmp(out.data, "012323XY667", 11), "up to what is held");
	ok(edit_replace(&e, 7, 0, "late", 4) == -EINVAL, "what was handed on is not edited");
	editor_show(&e, 0);
	drain(&e, (const uint8_t *)"0123456789", 10, &out);
	ok(out.len == 14 && !memcmp(out.data + 11, "89!", 3), "the rest, once it is not held any more");

	editor_show(&e, EDIT_HOLD_MAX + 1);
	edit_hold(&e, 10);
	ok(editor_untouched(&e, 5) == 5, "a hold of too much does not count");
	ok(!edit_replace(&e, 12, 1, "abc", 3), "an edit that is never made");
	editor_free(&e);
}

int main(void)
{
	test_editor();
	test_random();
	test_direction();
	return tap_end();
}
