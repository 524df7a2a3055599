// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The input is what the client sends, 0xff, and what the server sends. */
#include "fuzz.h"

static const struct inspect_setup no_setup;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct inspect_setup no_setup;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *mark = size ? memchr(data, 0xff, size) : NULL;
	size_t up = mark ? (size_t)(mark - data) : size;
	struct flow_record rec, classified = { 0 };
	enum classify c = http_classify(data, up, &classified);

	fuzz_prefixes(http_classify, data, up);
	CHECK(fuzz_pieces(&inspector_http, &no_setup, data, up, mark ? mark + 1 : data,
			  mark ? size - up - 1 : 0, &rec) == INSPECT_LET_GO);
	CHECK(rec.http.seen == (c == CLASSIFY_YES));
	CHECK(!rec.http.seen || (!strcmp(rec.http.host, classified.http.host) &&
				 !strcmp(rec.http.method, classified.http.method) &&
				 !strcmp(rec.http.target, classified.http.target)));
	CHECK(!strpbrk(rec.http.host, " @/?#[]\\\"<>"));
	if (c == CLASSIFY_NO)
		CHECK(rec.http.malformed);
	return 0;
}
