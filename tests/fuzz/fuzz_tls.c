// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The input is what the client sends. */
#include "fuzz.h"

static const struct inspect_setup no_setup;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct inspect_setup no_setup;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_record rec, classified = { 0 };
	enum classify c = tls_classify(data, size, &classified);

	fuzz_prefixes(tls_classify, data, size);
	CHECK(fuzz_pieces(&inspector_tls, &no_setup, data, size, NULL, 0, &rec) == INSPECT_LET_GO);
	CHECK(rec.tls.seen == (c == CLASSIFY_YES));
	CHECK(!memcmp(&rec, &classified, sizeof(rec)));
	CHECK(strlen(rec.tls.sni) <= 253 && !strpbrk(rec.tls.sni, " ,/:"));
	CHECK(!rec.tls.ja4[0] || strlen(rec.tls.ja4) == 36);
	return 0;
}
