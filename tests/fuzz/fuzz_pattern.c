// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The input is what the client sends, 0xff, and what the server sends. The
 * patterns use vectorscan's different engines: literals, classes, bounded and
 * unbounded repeats, anchors.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pattern patterns[] = {
	{ "literal", "abcabd", false },
	{ "case", "(?i)xyz+y", true },
	{ "class", "k[0-9a-f]{3}k", true },
	{ "repeat", "q[^q]{5,20}p", false },
	{ "gap", "begin.*over", true },
	{ "anchor", "^GET [a-z/]+!", false },
	{ "end", "stop\\z", true },
	{ "same", "bcabd", true },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct inspect_setup setup;
	const uint8_t *mark = size ? memchr(data, 0xff, size) : NULL;
	size_t up = mark ? (size_t)(mark - data) : size;
	enum inspect_answer answer;
	struct flow_record rec;
	char err[200];

	if (!setup.patterns)
		setup.patterns = pattern_db_new(patterns, sizeof(patterns) / sizeof(patterns[0]), err,
				    sizeof(err));
	CHECK(setup.patterns);
	answer = fuzz_pieces(&inspector_pattern, &setup, data, up, mark ? mark + 1 : data,
			     mark ? size - up - 1 : 0, &rec);
	CHECK(rec.pattern.matches == (answer != INSPECT_MORE));
	CHECK(rec.pattern.offset <= size);
	CHECK((answer == INSPECT_MORE) == !rec.pattern.name[0]);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		if (!strcmp(rec.pattern.name, patterns[i].name))
			CHECK(answer == (patterns[i].block ? INSPECT_BLOCK : INSPECT_LET_GO));
	}
	return 0;
}
