// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `pattern` inspector: regular expressions over each direction's byte stream, by vectorscan
 * in streaming mode, so that matches across segments count.
 *
 * The first match decides. vectorscan promises no order of matches, so a segment is scanned to
 * its end and the match that ends first is taken; if several end at the same byte, one that
 * blocks. A pattern that looks at the byte after its end (\b, $) is known one byte later than
 * others.
 */
#include <errno.h>
#include <hs.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "inspect_text.h"

#define STREAM_ALIGN 64
#define SCAN_MAX (1U << 30) /* vectorscan takes lengths of 32 bits */
/*
 * vectorscan before 5.4.13 overlooks matches on CPUs with AVX-512: the last,
 * incomplete vector of a longer scan is masked at the wrong end (its pull
 * request 378). Scans of at most one vector never get there.
 */
#define SCAN_MAX_AVX512 64

struct pattern_db {
	hs_database_t *hs;
	size_t stream_size;	/* rounded up to STREAM_ALIGN */
	unsigned int scan_max;	/* bytes given to vectorscan at once */
	uint64_t serial;	/* never used twice, unlike the address */
	bool blocks;		/* has a pattern that blocks */
	size_t n;
	struct {
		char *name;
		bool block;
	} at[];
};

/* The streams follow, each at a multiple of STREAM_ALIGN. */
struct pattern_state {
	const struct pattern_db *db;
	struct flow_record *rec;
	hs_stream_t *stream[2];
};

/* The match that decides among those of one scan. */
struct best_match {
	const struct pattern_db *db;
	bool found;
	unsigned int id;
	uint64_t end;
};

/* Where hs_open_stream() of this thread should put the stream. */
static __thread void *stream_memory;
static __thread size_t stream_room;

static __thread hs_scratch_t *scratch;
static __thread uint64_t scratch_serial;

static void *stream_alloc(size_t size)
{
	void *p = size <= stream_room ? stream_memory : NULL;

	stream_memory = NULL;
	stream_room = 0;
	return p;
}

/* A stream's memory goes with the flow's state. */
static void stream_free(void *p)
{
	(void)p;
}

/* This thread's scratch, large enough for the db; NULL: no memory. Grows only
 * with the first flow of a thread under a policy. */
static hs_scratch_t *scratch_for(const struct pattern_db *db)
{
	if (scratch_serial == db->serial)
		return scratch;
	scratch_serial = 0;
	if (hs_alloc_scratch(db->hs, &scratch) != HS_SUCCESS)
		return NULL;
	scratch_serial = db->serial;
	return scratch;
}

void inspect_thread_end(void)
{
	hs_free_scratch(scratch);
	scratch = NULL;
	scratch_serial = 0;
}

static void __attribute__((format(printf, 3, 4)))
message(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
}

static bool compile(struct pattern_db *db, const struct pattern *patterns, char *err,
		    size_t errlen)
{
	const char **regex = calloc(db->n, sizeof(*regex));
	unsigned int *ids = calloc(db->n, sizeof(*ids));
	hs_compile_error_t *error = NULL;
	bool ok = false;

	if (!regex || !ids) {
		message(err, errlen, "out of memory");
		goto out;
	}
	for (unsigned int i = 0; i < db->n; i++) {
		regex[i] = patterns[i].regex;
		ids[i] = i;
	}
	if (hs_compile_multi(regex, NULL, ids, (unsigned int)db->n, HS_MODE_STREAM, NULL, &db->hs,
			     &error) == HS_SUCCESS) {
		ok = true;
		goto out;
	}
	if (error && error->expression >= 0 && (size_t)error->expression < db->n)
		message(err, errlen, "pattern \"%s\" (%s): %s", patterns[error->expression].name,
			patterns[error->expression].regex, error->message);
	else
		message(err, errlen, "patterns: %s", error ? error->message : "not compiled");
	hs_free_compile_error(error);
out:
	free(regex);
	free(ids);
	return ok;
}

struct pattern_db *pattern_db_new(const struct pattern *patterns, size_t n, char *err,
				  size_t errlen)
{
	static uint64_t serial;
	hs_platform_info_t platform = { 0 };
	struct pattern_db *db;

	if (!n || n > INT_MAX) {
		message(err, errlen, n ? "too many patterns" : "no pattern");
		return NULL;
	}
	db = calloc(1, sizeof(*db) + n * sizeof(db->at[0]));
	if (!db) {
		message(err, errlen, "out of memory");
		return NULL;
	}
	db->n = n;
	db->serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < n; i++) {
		db->at[i].name = strdup(patterns[i].name);
		db->at[i].block = patterns[i].block;
		db->blocks |= patterns[i].block;
		if (!db->at[i].name) {
			message(err, errlen, "out of memory");
			goto fail;
		}
	}
	if (!compile(db, patterns, err, errlen))
		goto fail;
	if (hs_stream_size(db->hs, &db->stream_size) != HS_SUCCESS ||
	    hs_populate_platform(&platform) != HS_SUCCESS ||
	    hs_set_stream_allocator(stream_alloc, stream_free) != HS_SUCCESS) {
		message(err, errlen, "vectorscan does not take its own database");
		goto fail;
	}
	db->stream_size = (db->stream_size + STREAM_ALIGN - 1) & ~(size_t)(STREAM_ALIGN - 1);
	db->scan_max = platform.cpu_features & HS_CPU_FEATURES_AVX512 ? SCAN_MAX_AVX512 : SCAN_MAX;
	return db;
fail:
	pattern_db_free(db);
	return NULL;
}

void pattern_db_free(struct pattern_db *db)
{
	if (!db)
		return;
	hs_free_database(db->hs);
	for (size_t i = 0; i < db->n; i++)
		free(db->at[i].name);
	free(db);
}

static size_t pattern_size(const struct inspect_setup *setup)
{
	const struct pattern_db *db = setup->patterns;

	return sizeof(struct pattern_state) + (db ? STREAM_ALIGN + 2 * db->stream_size : 0);
}

static int pattern_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
			const struct flow_key *key)
{
	const struct pattern_db *db = setup->patterns;
	struct pattern_state *s = state;
	uintptr_t p = (uintptr_t)(s + 1);

	(void)key;
	if (!db)
		return -EINVAL;
	if (!scratch_for(db))
		return -ENOMEM;
	s->db = db;
	s->rec = rec;
	p = (p + STREAM_ALIGN - 1) & ~(uintptr_t)(STREAM_ALIGN - 1);
	for (int d = 0; d < 2; d++, p += db->stream_size) {
		stream_memory = (void *)p;
		stream_room = db->stream_size;
		if (hs_open_stream(db->hs, 0, &s->stream[d]) != HS_SUCCESS)
			return -ENOMEM;
	}
	return 0;
}

static int on_match(unsigned int id, unsigned long long from, unsigned long long to,
		    unsigned int flags, void *context)
{
	struct best_match *m = context;

	(void)from;
	(void)flags;
	if (m->found && to > m->end)
		return 0;
	if (m->found && to == m->end) {
		bool block = m->db->at[id].block, was = m->db->at[m->id].block;

		if (was != block ? was : id > m->id)
			return 0;
	}
	m->found = true;
	m->id = id;
	m->end = to;
	return 0;
}

static enum inspect_answer decide(struct pattern_state *s, enum seam_dir dir,
				  const struct best_match *m)
{
	const char *name = s->db->at[m->id].name;

	s->rec->pattern.matches++;
	s->rec->pattern.offset = m->end;
	s->rec->pattern.dir = (uint8_t)dir;
	text_copy(s->rec->pattern.name, sizeof(s->rec->pattern.name), name, strlen(name));
	return s->db->at[m->id].block ? INSPECT_BLOCK : INSPECT_LET_GO;
}

/* Unscanned bytes must not pass if a pattern would block them. */
static enum inspect_answer cannot_scan(const struct pattern_state *s)
{
	return s->db->blocks ? INSPECT_BLOCK : INSPECT_LET_GO;
}

static enum inspect_answer pattern_data(void *state, enum seam_dir dir, const uint8_t *data,
					size_t len, bool end, struct editor *edit)
{
	struct pattern_state *s = state;
	struct best_match m = { .db = s->db };
	hs_scratch_t *mine = scratch_for(s->db);

	(void)edit;
	if (!mine)
		return cannot_scan(s);
	while (len && s->stream[dir] && !m.found) {
		unsigned int n = len < s->db->scan_max ? (unsigned int)len : s->db->scan_max;

		if (hs_scan_stream(s->stream[dir], (const char *)data, n, 0, mine, on_match, &m) !=
		    HS_SUCCESS)
			return cannot_scan(s);
		data += n;
		len -= n;
	}
	if (end && s->stream[dir] && !m.found) {
		hs_error_t e = hs_close_stream(s->stream[dir], mine, on_match, &m);

		s->stream[dir] = NULL;
		if (e != HS_SUCCESS)
			return cannot_scan(s);
	}
	return m.found ? decide(s, dir, &m) : INSPECT_MORE;
}

static void pattern_close(void *state)
{
	struct pattern_state *s = state;

	for (int d = 0; d < 2; d++) {
		if (s->stream[d])
			hs_close_stream(s->stream[d], NULL, NULL, NULL);
		s->stream[d] = NULL;
	}
}

const struct inspector inspector_pattern = {
	.name = "pattern",
	.help = "looks for regular expressions in both directions",
	.size = pattern_size,
	.open = pattern_open,
	.data = pattern_data,
	.close = pattern_close,
};
