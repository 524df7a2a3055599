// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* TLS classification and inspector; see tests/fixtures/tls/README. */
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "tap.h"
#include "tls_hello.h"

#define INPUT_MAX (1 << 20)

/* An input being built, and what a fixture must yield. */
static uint8_t input[INPUT_MAX], other[INPUT_MAX];

struct expected {
	char file[64];
	unsigned int version, ech;
	char sni[256], alpn[64], ja4[40];
};

static bool text_is(const char *found, const char *expected)
{
	if (!strcmp(expected, "-"))
		expected = "";
	if (!strcmp(found, expected))
		return true;
	diag("expected \"%s\", found \"%s\"", expected, found);
	return false;
}

static bool record_is(const struct flow_record *rec, const struct expected *e)
{
	return rec->tls.seen && rec->tls.version == e->version && rec->tls.ech == e->ech &&
	       text_is(rec->tls.sni, e->sni) && text_is(rec->tls.alpn, e->alpn) &&
	       text_is(rec->tls.ja4, e->ja4);
}

static const struct inspect_setup no_setup;

/* Feeds [from, to) to the inspector in pieces of `step` bytes. */
static enum inspect_answer feed(void *state, const uint8_t *data, size_t from, size_t to,
				size_t step)
{
	enum inspect_answer answer = INSPECT_MORE;

	for (size_t i = from; i < to && answer == INSPECT_MORE; i += step)
		answer = inspector_tls.data(state, SEAM_UP, data + i, to - i < step ? to - i : step,
					    false, NULL);
	return answer;
}

/* Runs the inspector over the input cut at `cut` and then in steps. */
static bool inspected(const uint8_t *data, size_t len, size_t cut, size_t step,
		      const struct expected *e)
{
	static uint8_t zero;
	size_t size = inspector_tls.size(&no_setup);
	void *state = calloc(1, size);
	struct flow_record rec = { 0 };
	bool pass = state && !inspector_tls.open(state, &rec, &no_setup, NULL) &&
		    inspector_tls.data(state, SEAM_DOWN, &zero, 1, false, NULL) == INSPECT_MORE;

	if (pass && cut)
		pass = feed(state, data, 0, cut, cut) == INSPECT_MORE;
	pass = pass && feed(state, data, cut, len, step) == INSPECT_LET_GO && record_is(&rec, e);
	if (state)
		inspector_tls.close(state);
	free(state);
	return pass;
}

/* The same handshake bytes in records of at most `size` bytes. */
static size_t rerecord(const uint8_t *data, size_t len, size_t size, uint8_t *out)
{
	size_t n = 0, record = 0;

	for (size_t i = 0; i + 5 <= len;) {
		size_t end = i + 5 + (size_t)(data[i + 3] << 8 | data[i + 4]);

		for (i += 5; i < end; i++, record++) {
			size_t left = end - i < size ? end - i : size;

			if (record % size == 0 || record == 0) {
				memcpy(out + n, "\x16\x03\x01", 3);
				out[n + 3] = (uint8_t)(left >> 8);
				out[n + 4] = (uint8_t)left;
				n += 5;
			}
			out[n++] = data[i];
		}
		record = 0;
	}
	return n;
}

static void test_fixture(const struct expected *e, const uint8_t *data, size_t len)
{
	static const size_t sizes[] = { 1, 3, 4, 5, 100, 1300, 16384 };
	struct flow_record rec = { 0 }, clean = { 0 };
	bool pass = true;

	ok(tls_classify(data, len, &rec) == CLASSIFY_YES && record_is(&rec, e), "%s: whole",
	   e->file);
	for (size_t n = 0; n < len && pass; n++) {
		memset(&rec, 0, sizeof(rec));
		pass = tls_classify(data, n, &rec) == CLASSIFY_MORE &&
		       !memcmp(&rec, &clean, sizeof(rec));
	}
	ok(pass, "%s: no shorter prefix decides or leaves a trace", e->file);
	ok(inspected(data, len, 0, 1, e), "%s: inspected byte by byte", e->file);
	pass = true;
	for (size_t cut = 0; cut < len && pass; cut++)
		pass = inspected(data, len, cut, len, e);
	ok(pass, "%s: inspected, cut in two anywhere", e->file);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = rerecord(data, len, sizes[i], other);

		memset(&rec, 0, sizeof(rec));
		pass = tls_classify(other, n, &rec) == CLASSIFY_YES && record_is(&rec, e) &&
		       tls_classify(other, n - 1, &rec) == CLASSIFY_MORE &&
		       inspected(other, n, 0, 1, e) && inspected(other, n, n / 2, n, e);
		ok(pass, "%s: in records of %zu bytes", e->file, sizes[i]);
	}
	memcpy(other, data, len);
	memset(other + len, 0xff, 100);
	ok(tls_classify(other, len + 100, &rec) == CLASSIFY_YES, "%s: what follows is ignored",
	   e->file);
}

static void test_fixtures(const char *folder)
{
	struct expected e;
	char path[512];
	FILE *list, *f;
	int n = 0;

	snprintf(path, sizeof(path), "%s/expected.txt", folder);
	list = fopen(path, "r");
	while (list && fscanf(list, "%63s %x %u %255s %63s %39s", e.file, &e.version, &e.ech, e.sni,
			      e.alpn, e.ja4) == 6) {
		snprintf(path, sizeof(path), "%s/%s", folder, e.file);
		f = fopen(path, "rb");
		if (!ok(f != NULL, "%s can be read", path))
			continue;
		test_fixture(&e, input, fread(input, 1, INPUT_MAX / 16, f));
		fclose(f);
		n++;
	}
	if (list)
		fclose(list);
	ok(n > 0, "fixtures in %s", folder);
}

/* A ClientHello with one cipher suite and these extensions, in one record. */
static size_t make_hello(const void *extensions, size_t len)
{
	static const uint8_t fixed[] = { 0, 0, 2, 0x13, 0x01, 1, 0 };
	size_t n = 5 + 4, body = 2 + 32 + sizeof(fixed) + 2 + len;

	memset(input, 0, n + body);
	memcpy(input, "\x16\x03\x01", 3);
	input[3] = (uint8_t)((body + 4) >> 8);
	input[4] = (uint8_t)(body + 4);
	input[5] = 1;
	input[7] = (uint8_t)(body >> 8);
	input[8] = (uint8_t)body;
	input[n] = input[n + 1] = 3;
	n += 34;
	memcpy(input + n, fixed, sizeof(fixed));
	n += sizeof(fixed);
	input[n++] = (uint8_t)(len >> 8);
	input[n++] = (uint8_t)len;
	if (len)
		memcpy(input + n, extensions, len);
	return n + len;
}

#define HELLO(bytes) make_hello(bytes, sizeof(bytes) - 1)
#define HOST(len1, len2, len3, name) "\0\0\0" len1 "\0" len2 "\0\0" len3 name

static void classified(const char *name, size_t len, enum classify expected)
{
	struct flow_record rec = { 0 };
	enum classify found = tls_classify(input, len, &rec);

	if (!ok(found == expected, "%s", name))
		diag("expected %d, found %d", expected, found);
}

static void sni_is(const char *name, size_t len, const char *expected)
{
	struct flow_record rec = { 0 };

	ok(tls_classify(input, len, &rec) == CLASSIFY_YES && rec.tls.seen &&
		   text_is(rec.tls.sni, expected),
	   "%s", name);
}

static void ja4_a_is(const char *name, size_t len, const char *expected, const char *alpn)
{
	struct flow_record rec = { 0 };

	ok(tls_classify(input, len, &rec) == CLASSIFY_YES && text_is(rec.tls.alpn, alpn) &&
		   strlen(rec.tls.ja4) == 36 && !strncmp(rec.tls.ja4, expected, strlen(expected)),
	   "%s", name);
}

static void test_sni(void)
{
	char label[80];

	sni_is("name in lower case, without its last dot",
	       HELLO(HOST("\x09", "\x07", "\x04", "A.b.")), "a.b");
	sni_is("underscore", HELLO(HOST("\x08", "\x06", "\x03", "_ab")), "_ab");
	classified("NUL in the name: not recognised", HELLO(HOST("\x08", "\x06", "\x03", "a\0b")), CLASSIFY_NO);
	classified("space in the name", HELLO(HOST("\x08", "\x06", "\x03", "a b")), CLASSIFY_NO);
	classified("8-bit name", HELLO(HOST("\x08", "\x06", "\x03", "a\xfc" "b")), CLASSIFY_NO);
	/* With "no name" for these a server found a name that no rule had been asked about. */
	sni_is("no host's name", HELLO(HOST("\x09", "\x07", "\x04", "a..b")), "a..b");
	sni_is("nor this", HELLO(HOST("\x08", "\x06", "\x03", "!.B")), "!.b");
	sni_is("with a port", HELLO(HOST("\x0b", "\x09", "\x06", "a.b:44")), "a.b");
	sni_is("with a dot and a port", HELLO(HOST("\x0c", "\x0a", "\x07", "a.b.:44")), "a.b");
	classified("only a port", HELLO(HOST("\x08", "\x06", "\x03", ":44")), CLASSIFY_NO);
	classified("only a dot", HELLO(HOST("\x06", "\x04", "\x01", ".")), CLASSIFY_NO);
	classified("empty name", HELLO(HOST("\x05", "\x03", "\x00", "")), CLASSIFY_NO);
	sni_is("empty extension: no name", HELLO("\0\0\0\0"), "-");
	classified("two names", HELLO("\0\0\0\x0a\0\x08\0\0\x01" "a\0\0\x01" "b"), CLASSIFY_NO);
	sni_is("a name of another type is not the host's",
	       HELLO("\0\0\0\x0a\0\x08\x01\0\x01" "a\0\0\x01" "b"), "b");
	memcpy(label, "\0\0\0\x45\0\x43\0\0\x40", 9);
	memset(label + 9, 'a', 64);
	sni_is("label of 64", make_hello(label, 9 + 64),
	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	memcpy(label, "\0\0\0\x44\0\x42\0\0\x3f", 9);
	sni_is("label of 63", make_hello(label, 9 + 63),
	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void test_ja4(void)
{
	ja4_a_is("no extensions at all", HELLO(""), "t12i010000_", "-");
	ja4_a_is("ALPN of one byte", HELLO("\0\x10\0\x04\0\x02\x01x"), "t12i0101xx_", "x");
	ja4_a_is("ALPN not alphanumeric: hexadecimal",
		 HELLO("\0\x10\0\x05\0\x03\x02\xab\xcd"), "t12i0101ad_", "..");
	ja4_a_is("ALPN alphanumeric only at its begin",
		 HELLO("\0\x10\0\x05\0\x03\x02\x30\xab"), "t12i01013b_", "0.");
	ja4_a_is("ALPN alphanumeric only at its end",
		 HELLO("\0\x10\0\x05\0\x03\x02\x20\x61"), "t12i010121_", ".a");
	ja4_a_is("ALPN with GREASE first",
		 HELLO("\0\x10\0\x08\0\x06\x02\x1a\x1a\x02h2"), "t12i0101h2_", "h2");
	ja4_a_is("ALPN with an empty name first",
		 HELLO("\0\x10\0\x06\0\x04\0\x02h2"), "t12i010100_", "h2");
	ja4_a_is("comma in a name is no separator",
		 HELLO("\0\x10\0\x06\0\x04\x03" "a,b"), "t12i0101ab_", "a.b");
	ja4_a_is("versions: highest, not first",
		 HELLO("\0\x2b\0\x07\x06\x03\x02\x03\x04\x03\x03"), "t13i010100_", "-");
	ja4_a_is("versions: only GREASE",
		 HELLO("\0\x2b\0\x03\x02\x1a\x1a"), "t12i010100_", "-");
	ja4_a_is("versions: unknown",
		 HELLO("\0\x2b\0\x03\x02\x7f\x1c"), "t00i010100_", "-");
	ja4_a_is("empty server_name counts as one", HELLO("\0\0\0\0"), "t12d010100_", "-");
}

static void test_hostile(void)
{
	static uint8_t many[60000];
	struct flow_record rec = { 0 };
	int wrong = 0;
	size_t n;

	ok(tls_classify(input, 0, &rec) == CLASSIFY_MORE, "nothing yet: more");
	for (int c = 0; c < 256; c++) {
		input[0] = (uint8_t)c;
		if (tls_classify(input, 1, &rec) != (c == 22 ? CLASSIFY_MORE : CLASSIFY_NO))
			wrong++;
	}
	ok(!wrong, "only 22 can be the first byte");
	memcpy(input, "\x16\x02", 2);
	classified("record of another major version", 2, CLASSIFY_NO);
	memcpy(input, "\x16\x03\x01\x00\x00", 5);
	classified("empty record, as OpenSSL takes it", 5, CLASSIFY_MORE);
	memcpy(input, "\x16\x03\x01\x40\x01", 5);
	classified("record over 2^14", 5, CLASSIFY_NO);
	memcpy(input, "\x16\x03\x01\x40\x00", 5);
	classified("record of 2^14", 5, CLASSIFY_MORE);
	memcpy(input, "\x16\x03\x01\x00\x04\x02", 6);
	classified("not a ClientHello", 6, CLASSIFY_NO);
	memcpy(input, "\x16\x03\x01\x00\x04\x01\x02\x01\x45", 9);
	classified("message longer than a ClientHello can be", 9, CLASSIFY_NO);
	memcpy(input, "\x16\x03\x01\x00\x04\x01\x02\x01\x44\x15", 10);
	classified("another record type in the message", 10, CLASSIFY_NO);
	classified("message as long as a ClientHello can be", 9, CLASSIFY_MORE);
	memcpy(input, "\x16\x03\x01\x00\x04\x01\x00\x00\x01", 9);
	classified("message of one byte", 9, CLASSIFY_NO);

	n = HELLO("");
	input[43] = 33;
	classified("session id of 33", n, CLASSIFY_NO);
	n = HELLO("");
	input[45] = 3;
	classified("odd length of cipher suites", n, CLASSIFY_NO);
	n = HELLO("");
	input[45] = 0;
	classified("no cipher suites", n, CLASSIFY_NO);
	n = HELLO("");
	input[44] = 0xff;
	classified("cipher suites beyond the message", n, CLASSIFY_NO);
	n = HELLO("");
	input[48] = 0;
	classified("no compression methods", n, CLASSIFY_NO);
	n = HELLO("\0\x17\0\0");
	input[n - 5]++;
	classified("extensions beyond the message", n, CLASSIFY_NO);
	n = HELLO("\0\x17\0\0");
	input[n - 5]--;
	classified("message beyond the extensions", n, CLASSIFY_NO);
	classified("extension beyond the extensions", HELLO("\0\x17\0\x01"), CLASSIFY_NO);
	classified("half an extension", HELLO("\0\x17\0"), CLASSIFY_NO);
	classified("server_name: list longer", HELLO(HOST("\x06", "\x05", "\x01", "a")), CLASSIFY_NO);
	classified("server_name: list shorter", HELLO(HOST("\x06", "\x03", "\x01", "a")),
		   CLASSIFY_NO);
	classified("server_name: name longer", HELLO(HOST("\x06", "\x04", "\x02", "a")),
		   CLASSIFY_NO);
	classified("server_name twice",
		   HELLO(HOST("\x06", "\x04", "\x01", "a") HOST("\x06", "\x04", "\x01", "b")),
		   CLASSIFY_NO);
	classified("ALPN: name longer", HELLO("\0\x10\0\x04\0\x02\x02x"), CLASSIFY_NO);
	classified("versions: odd", HELLO("\0\x2b\0\x04\x03\x03\x04\x03"), CLASSIFY_NO);
	classified("versions: longer", HELLO("\0\x2b\0\x03\x04\x03\x04"), CLASSIFY_NO);
	classified("signature algorithms: odd", HELLO("\0\x0d\0\x03\0\x01\x04"), CLASSIFY_NO);

	for (size_t i = 0; i < sizeof(many) / 4; i++)
		memcpy(many + 4 * i, (uint8_t[]){ 0x40, (uint8_t)i, 0, 0 }, 4);
	n = make_hello(many, 4000);
	ok(tls_classify(input, n, &rec) == CLASSIFY_YES && !rec.tls.ja4[0],
	   "more extensions than are kept: seen, no fingerprint");
	n = make_hello(many, 4 * TLS_EXTENSIONS_MAX);
	ok(tls_classify(input, n, &rec) == CLASSIFY_YES && !strncmp(rec.tls.ja4, "t12i0199", 8),
	   "as many extensions as are kept: the count stops at 99");
}

static void test_end(void)
{
	struct flow_record rec = { 0 };
	void *state = calloc(1, inspector_tls.size(&no_setup));

	inspector_tls.open(state, &rec, &no_setup, NULL);
	ok(inspector_tls.data(state, SEAM_UP, (const uint8_t *)"\x16\x03", 2, true, NULL) ==
			   INSPECT_LET_GO && !rec.tls.seen,
	   "the client's end within the hello: let go");
	inspector_tls.close(state);
	memset(state, 0, inspector_tls.size(&no_setup));
	inspector_tls.open(state, &rec, &no_setup, NULL);
	ok(inspector_tls.data(state, SEAM_UP, (const uint8_t *)"SSH-", 4, false, NULL) ==
			   INSPECT_LET_GO && !rec.tls.seen,
	   "not TLS: let go");
	inspector_tls.close(state);
	free(state);
}

int main(int argc, char **argv)
{
	test_fixtures(argc > 1 ? argv[1] : "tests/fixtures/tls");
	test_sni();
	test_ja4();
	test_hostile();
	test_end();
	return tap_end();
}
