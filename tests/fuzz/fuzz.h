/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the fuzzers share. */
#ifndef SEAM_FUZZ_H
#define SEAM_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);               \
			abort();                                                                 \
		}                                                                                \
	} while (0)

/* Pseudo-random piece lengths that depend on the input only (xorshift). */
static inline uint64_t fuzz_seed(const uint8_t *data, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * 0x100000001b3ULL;
	return h | 1;
}

static inline size_t fuzz_piece(uint64_t *seed, size_t left)
{
	size_t n;

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	n = 1 + (*seed >> 8) % (*seed & 1 ? 4 : 97);
	return n < left ? n : left;
}

/*
 * A copy whose end is the allocation's, as a segment's would be, so that the
 * sanitizer sees a read beyond it.
 */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/*
 * Classification as the bytes grow: once YES or NO it stays, the record is
 * untouched until YES and the same ever after; the last answer is the whole's.
 */
static inline void fuzz_prefixes(enum classify (*classify)(const uint8_t *, size_t,
							    struct flow_record *),
				 const uint8_t *data, size_t size)
{
	struct flow_record whole = { 0 }, rec;
	enum classify all = classify(data, size, &whole), last = CLASSIFY_MORE;
	uint64_t seed = fuzz_seed(data, size);

	for (size_t n = 0; n <= size; n += n < 64 || n == size ? 1 : fuzz_piece(&seed, size - n)) {
		uint8_t *copy = fuzz_copy(data, n);
		enum classify now;

		memset(&rec, 0, sizeof(rec));
		now = classify(copy, n, &rec);
		free(copy);
		CHECK(last == CLASSIFY_MORE || now == last);
		if (now == CLASSIFY_YES)
			CHECK(!memcmp(&rec, &whole, sizeof(rec)));
		else
			CHECK(!memcmp(&rec, &(struct flow_record){ 0 }, sizeof(rec)));
		last = now;
	}
	CHECK(last == all);
}

/* Feeds a direction, in pieces or whole, up to an answer. */
static inline enum inspect_answer fuzz_feed(const struct inspector *inspector, void *state,
					    enum seam_dir dir, const uint8_t *data, size_t size,
					    uint64_t *seed)
{
	enum inspect_answer answer = INSPECT_MORE;

	for (size_t i = 0, n; i < size && answer == INSPECT_MORE; i += n) {
		uint8_t *copy;

		n = seed ? fuzz_piece(seed, size - i) : size;
		copy = fuzz_copy(data + i, n);
		answer = inspector->data(state, dir, copy, n, false, NULL);
		free(copy);
	}
	return answer;
}

/*
 * All of up, then all of down, whole or in pieces; then both ends. What the
 * inspector finds does not depend on where the segments were.
 */
static inline enum inspect_answer fuzz_inspect(const struct inspector *inspector,
					       const struct inspect_setup *setup, const uint8_t *up,
					       size_t up_size, const uint8_t *down,
					       size_t down_size, uint64_t *seed,
					       struct flow_record *rec)
{
	void *state = calloc(1, inspector->size(setup));
	enum inspect_answer answer;

	memset(rec, 0, sizeof(*rec));
	CHECK(state && !inspector->open(state, rec, setup, NULL));
	answer = fuzz_feed(inspector, state, SEAM_UP, up, up_size, seed);
	if (answer == INSPECT_MORE)
		answer = fuzz_feed(inspector, state, SEAM_DOWN, down, down_size, seed);
	if (answer == INSPECT_MORE)
		answer = inspector->data(state, SEAM_UP, NULL, 0, true, NULL);
	if (answer == INSPECT_MORE)
		answer = inspector->data(state, SEAM_DOWN, NULL, 0, true, NULL);
	inspector->close(state);
	free(state);
	return answer;
}

static inline enum inspect_answer fuzz_pieces(const struct inspector *inspector,
					      const struct inspect_setup *setup, const uint8_t *up,
					      size_t up_size, const uint8_t *down,
					      size_t down_size, struct flow_record *whole)
{
	uint64_t seed = fuzz_seed(up, up_size) ^ fuzz_seed(down, down_size) << 1;
	struct flow_record pieces;
	enum inspect_answer answer = fuzz_inspect(inspector, setup, up, up_size, down, down_size, NULL,
						  whole);

	CHECK(fuzz_inspect(inspector, setup, up, up_size, down, down_size, &seed, &pieces) == answer);
	CHECK(!memcmp(whole, &pieces, sizeof(pieces)));
	return answer;
}

#endif
