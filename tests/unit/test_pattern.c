// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The pattern inspector: decisions, segment boundaries, where its memory is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "tap.h"

#define GUARD 64

static const struct pattern patterns[] = {
	{ "secret", "secret[0-9]{2}", true },
	{ "done", "(?i)done", false },
	{ "start", "^HELO", false },
	{ "tail", "goodbye\\z", true },
	{ "tie-pass", "abcxyz", false },
	{ "tie-block", "xyz", true },
};

#define N (sizeof(patterns) / sizeof(patterns[0]))

/* A flow's state between guards, which no one may touch. */
struct test_flow {
	uint8_t *memory;
	size_t size;
	struct flow_record rec;
};

static bool flow_open(struct test_flow *f, struct pattern_db *db)
{
	const struct inspect_setup setup = { .patterns = db };

	memset(f, 0, sizeof(*f));
	f->size = inspector_pattern.size(&setup);
	f->memory = malloc(f->size + 2 * GUARD);
	if (!f->memory)
		return false;
	memset(f->memory, 0xa5, f->size + 2 * GUARD);
	memset(f->memory + GUARD, 0, f->size);
	return !inspector_pattern.open(f->memory + GUARD, &f->rec, &setup, NULL);
}

static bool flow_close(struct test_flow *f)
{
	bool whole = true;

	inspector_pattern.close(f->memory + GUARD);
	for (size_t i = 0; i < GUARD; i++)
		whole = whole && f->memory[i] == 0xa5 && f->memory[GUARD + f->size + i] == 0xa5;
	free(f->memory);
	return whole;
}

static enum inspect_answer flow_data(struct test_flow *f, enum seam_dir dir, const char *data,
				     size_t len, bool end)
{
	return inspector_pattern.data(f->memory + GUARD, dir, (const uint8_t *)data, len, end,
				      NULL);
}

struct expected {
	const char *name, *data, *match;
	enum inspect_answer answer;
	uint64_t offset;
	bool end;
};

static const struct expected cases[] = {
	{ "no match", "nothing here", "", INSPECT_MORE, 0, false },
	{ "one that blocks", "xx secret42 xx", "secret", INSPECT_BLOCK, 11, false },
	{ "one that lets go", "xx DONE xx", "done", INSPECT_LET_GO, 7, false },
	{ "anchored, at the begin", "HELO there", "start", INSPECT_LET_GO, 4, false },
	{ "anchored, elsewhere", "a HELO there", "", INSPECT_MORE, 0, false },
	{ "the first of two decides", "done secret42", "done", INSPECT_LET_GO, 4, false },
	{ "the first of two decides, the other way", "secret42 done", "secret", INSPECT_BLOCK, 8,
	  false },
	{ "of two that end together, the one that blocks", "..abcxyz", "tie-block", INSPECT_BLOCK,
	  8, false },
	{ "at the end of the stream", "goodbye", "tail", INSPECT_BLOCK, 7, true },
	{ "not before the end", "goodbye", "", INSPECT_MORE, 0, false },
	{ "not at the end", "goodbye!", "", INSPECT_MORE, 0, true },
};

static bool scanned(struct pattern_db *db, const struct expected *e, enum seam_dir dir,
		    size_t cut, size_t step, bool end_apart)
{
	enum inspect_answer answer = INSPECT_MORE;
	size_t len = strlen(e->data);
	struct test_flow f;
	bool pass;

	if (!flow_open(&f, db))
		return false;
	for (size_t i = 0, n; i < len && answer == INSPECT_MORE; i += n) {
		n = i < cut ? cut - i : step;
		if (n > len - i)
			n = len - i;
		answer = flow_data(&f, dir, e->data + i, n, e->end && !end_apart && i + n == len);
	}
	if (answer == INSPECT_MORE && e->end && end_apart)
		answer = flow_data(&f, dir, NULL, 0, true);
	pass = answer == e->answer && !strcmp(f.rec.pattern.name, e->match) &&
	       f.rec.pattern.offset == e->offset &&
	       f.rec.pattern.matches == (answer != INSPECT_MORE) &&
	       (answer == INSPECT_MORE || f.rec.pattern.dir == dir);
	if (!pass)
		diag("cut %zu step %zu: answer %d, \"%s\" at %llu", cut, step, answer,
		     f.rec.pattern.name, (unsigned long long)f.rec.pattern.offset);
	return flow_close(&f) && pass;
}

static void test_cases(struct pattern_db *db)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct expected *e = &cases[i];
		size_t len = strlen(e->data);
		bool pass = true;

		ok(scanned(db, e, SEAM_UP, len, 1, false) && scanned(db, e, SEAM_DOWN, len, 1, true),
		   "%s: whole", e->name);
		ok(scanned(db, e, SEAM_UP, 0, 1, false) && scanned(db, e, SEAM_DOWN, 0, 1, true),
		   "%s: byte by byte", e->name);
		for (size_t cut = 1; cut < len && pass; cut++)
			pass = scanned(db, e, SEAM_UP, cut, len, false) &&
			       scanned(db, e, SEAM_DOWN, cut, len, true);
		ok(pass, "%s: cut in two anywhere", e->name);
	}
}

static void test_directions(struct pattern_db *db)
{
	struct test_flow f, g;

	if (!ok(flow_open(&f, db) && flow_open(&g, db), "two flows"))
		return;
	ok(flow_data(&f, SEAM_UP, "secr", 4, false) == INSPECT_MORE &&
		   flow_data(&f, SEAM_DOWN, "et42", 4, false) == INSPECT_MORE &&
		   flow_data(&g, SEAM_UP, "et42", 4, false) == INSPECT_MORE,
	   "a match does not reach across directions or flows");
	ok(flow_data(&f, SEAM_DOWN, NULL, 0, true) == INSPECT_MORE &&
		   flow_data(&f, SEAM_UP, "et42", 4, false) == INSPECT_BLOCK &&
		   f.rec.pattern.dir == SEAM_UP && f.rec.pattern.offset == 8,
	   "it does reach across other flows' segments and the other direction's end");
	ok(flow_close(&f), "nothing written outside the first flow's state");
	ok(flow_close(&g), "nothing written outside the second flow's state");
}

/* Flows of an old policy go on while new ones come with a new policy. */
static void test_two_dbs(struct pattern_db *db)
{
	static const struct pattern other[] = { { "other", "a.{1,200}b[^x]{3,90}c", false } };
	char err[200] = "";
	struct pattern_db *db2 = pattern_db_new(other, 1, err, sizeof(err));
	struct test_flow f, g;

	if (!ok(db2 != NULL, "a second database"))
		return;
	ok(flow_open(&f, db) && flow_open(&g, db2), "a flow of each");
	ok(flow_data(&f, SEAM_UP, "don", 3, false) == INSPECT_MORE &&
		   flow_data(&g, SEAM_UP, "a-b---", 6, false) == INSPECT_MORE &&
		   flow_data(&f, SEAM_UP, "e", 1, false) == INSPECT_LET_GO &&
		   flow_data(&g, SEAM_UP, "c", 1, false) == INSPECT_LET_GO &&
		   !strcmp(g.rec.pattern.name, "other"),
	   "both match, turn by turn");
	ok(flow_close(&f) && flow_close(&g), "both stay inside their states");
	pattern_db_free(db2);
}

/* Matches anywhere in a segment of any length: vectorscan's vector code has
 * overlooked some at the end (see SCAN_MAX_AVX512). */
static void test_long_segments(void)
{
	static const struct pattern repeat[] = { { "repeat", "q[^q]{5,20}p", true } };
	static const char tail[] = "q-aaabcZxstop";
	char err[200] = "", data[512];
	struct pattern_db *db = pattern_db_new(repeat, 1, err, sizeof(err));
	size_t len = sizeof(tail) - 1, missed = 0;
	struct test_flow f;

	memset(data, 'p', sizeof(data));
	for (size_t n = 0; db && n + len <= sizeof(data); n++) {
		memcpy(data + n, tail, len);
		if (!flow_open(&f, db))
			break;
		missed += flow_data(&f, SEAM_UP, data, n + len, false) != INSPECT_BLOCK ||
			  f.rec.pattern.offset != n + len;
		missed += !flow_close(&f);
		memset(data + n, 'p', len);
	}
	ok(db && !missed, "a match at the end of segments of every length");
	pattern_db_free(db);
}

static void test_errors(void)
{
	static const struct pattern wrong[] = { { "fine", "a+b", false },
						{ "broken", "a(b", true } };
	static const struct pattern empty[] = { { "nothing", "a*", true } };
	static const struct inspect_setup none;
	char err[300] = "", state[256] = { 0 };
	struct flow_record rec = { 0 };

	ok(!pattern_db_new(wrong, 2, err, sizeof(err)) && strstr(err, "broken") &&
		   strstr(err, "a(b"),
	   "a pattern that does not compile is named");
	diag("%s", err);
	ok(!pattern_db_new(empty, 1, err, sizeof(err)) && strstr(err, "nothing"),
	   "a pattern that matches nothing at all is refused");
	diag("%s", err);
	ok(!pattern_db_new(empty, 0, err, sizeof(err)) && err[0], "no pattern is refused");
	ok(inspector_pattern.size(&none) <= sizeof(state) &&
		   inspector_pattern.open(state, &rec, &none, NULL) == -EINVAL,
	   "not without patterns");
	pattern_db_free(NULL);
}

int main(void)
{
	char err[300] = "";
	struct pattern_db *db = pattern_db_new(patterns, N, err, sizeof(err));

	if (ok(db != NULL, "patterns compile")) {
		diag("%zu bytes a flow",
		     inspector_pattern.size(&(struct inspect_setup){ .patterns = db }));
		test_cases(db);
		test_directions(db);
		test_two_dbs(db);
	} else {
		diag("%s", err);
	}
	pattern_db_free(db);
	test_long_segments();
	test_errors();
	return tap_end();
}
