// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `tls` inspector and classification: what the ClientHello says, and the
 * client's JA4 fingerprint (FoxIO, TLS over TCP).
 *
 * SHA-256 is done with the context on the stack: the EVP interface allocates
 * for each digest, and inspectors must not.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include <openssl/sha.h>

#include <stdio.h>
#include <string.h>

#include "inspect.h"
#include "inspect_text.h"
#include "tls_hello.h"

#define JA4_HASH 12 /* hex digits kept of each hash */

/* Shell sort: no allocation, and a hostile order costs little more. */
static void sort_u16(uint16_t *v, size_t n)
{
	static const uint16_t gaps[] = { 701, 301, 132, 57, 23, 10, 4, 1 };

	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		size_t gap = gaps[g];

		for (size_t i = gap; i < n; i++) {
			uint16_t x = v[i];
			size_t j = i;

			for (; j >= gap && v[j - gap] > x; j -= gap)
				v[j] = v[j - gap];
			v[j] = x;
		}
	}
}

/* snprintf() for each number would be a good part of a verdict's cost. */
static void put_hex(char *to, uint32_t value, size_t digits)
{
	for (; digits; value >>= 4)
		to[--digits] = "0123456789abcdef"[value & 15];
}

static void hash_list(SHA256_CTX *ctx, const uint16_t *v, size_t n)
{
	char item[] = ",0000";

	for (size_t i = 0; i < n; i++) {
		put_hex(item + 1, v[i], 4);
		SHA256_Update(ctx, item + !i, sizeof(item) - 1 - !i);
	}
}

static void hash_end(SHA256_CTX *ctx, char out[JA4_HASH + 1])
{
	uint8_t md[SHA256_DIGEST_LENGTH];

	SHA256_Final(md, ctx);
	for (size_t i = 0; i < JA4_HASH / 2; i++)
		put_hex(out + 2 * i, md[i], 2);
	out[JA4_HASH] = 0;
}

/* JA4_b: the cipher suites, sorted. */
static void ja4_ciphers(struct tls_hello *h, char out[JA4_HASH + 1])
{
	SHA256_CTX ctx;

	memset(out, '0', JA4_HASH);
	out[JA4_HASH] = '\0';
	if (!h->n_ciphers)
		return;
	sort_u16(h->ciphers, h->n_ciphers);
	SHA256_Init(&ctx);
	hash_list(&ctx, h->ciphers, h->n_ciphers);
	hash_end(&ctx, out);
}

/* JA4_c: the extensions, sorted, without server_name and ALPN, and the
 * signature algorithms as they come. */
static void ja4_extensions(struct tls_hello *h, char out[JA4_HASH + 1])
{
	SHA256_CTX ctx;
	size_t n = 0;

	memset(out, '0', JA4_HASH);
	out[JA4_HASH] = '\0';
	for (uint32_t i = 0; i < h->n_extensions; i++) {
		if (h->extensions[i] != TLS_EXT_SERVER_NAME && h->extensions[i] != TLS_EXT_ALPN)
			h->extensions[n++] = h->extensions[i];
	}
	if (!n)
		return;
	sort_u16(h->extensions, n);
	SHA256_Init(&ctx);
	hash_list(&ctx, h->extensions, n);
	if (h->n_sigalgs) {
		SHA256_Update(&ctx, "_", 1);
		hash_list(&ctx, h->sigalgs, h->n_sigalgs);
	}
	hash_end(&ctx, out);
}

static const char *ja4_version(uint16_t version)
{
	switch (version) {
	case 0x0304:
		return "13";
	case 0x0303:
		return "12";
	case 0x0302:
		return "11";
	case 0x0301:
		return "10";
	case 0x0300:
		return "s3";
	case 0x0002:
		return "s2";
	case 0xfeff:
		return "d1";
	case 0xfefd:
		return "d2";
	case 0xfefc:
		return "d3";
	}
	return "00";
}

/* The fingerprint of a complete ClientHello, whose lists it sorts. */
static void ja4(struct tls_hello *h, char *out, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	char ciphers[JA4_HASH + 1], extensions[JA4_HASH + 1];
	char first = '0', last = '0';
	uint32_t n_extensions = h->n_extensions;

	out[0] = '\0';
	if (h->overflow)
		return;
	if (h->has_alpn) {
		first = (char)h->alpn_first;
		last = (char)h->alpn_last;
		if (!text_alnum(h->alpn_first) || !text_alnum(h->alpn_last)) {
			first = hex[h->alpn_first >> 4];
			last = hex[h->alpn_last & 0xf];
		}
	}
	ja4_ciphers(h, ciphers);
	ja4_extensions(h, extensions);
	snprintf(out, size, "t%s%c%02u%02u%c%c_%s_%s", ja4_version(h->version),
		 h->has_sni ? 'd' : 'i', h->n_ciphers > 99 ? 99 : h->n_ciphers,
		 n_extensions > 99 ? 99 : n_extensions, first, last, ciphers, extensions);
}

static void record(struct tls_hello *h, struct flow_record *rec)
{
	rec->tls.seen = true;
	rec->tls.ech = h->ech;
	rec->tls.version = h->version;
	memcpy(rec->tls.sni, h->sni, sizeof(rec->tls.sni));
	memcpy(rec->tls.alpn, h->alpn, sizeof(rec->tls.alpn));
	ja4(h, rec->tls.ja4, sizeof(rec->tls.ja4));
}

enum classify tls_classify_next(struct tls_hello *h, const uint8_t *data, size_t len,
				struct flow_record *rec)
{
	switch (tls_hello_feed(h, data, len)) {
	case TLS_HELLO_MORE:
		return CLASSIFY_MORE;
	case TLS_HELLO_DONE:
		record(h, rec);
		return CLASSIFY_YES;
	case TLS_HELLO_BAD:
		break;
	}
	return CLASSIFY_NO;
}

enum classify tls_classify(const uint8_t *data, size_t len, struct flow_record *rec)
{
	struct tls_hello h;

	tls_hello_init(&h);
	return tls_classify_next(&h, data, len, rec);
}

struct tls_state {
	struct flow_record *rec;
	struct tls_hello hello;
};

static size_t tls_size(const struct inspect_setup *setup)
{
	(void)setup;
	return sizeof(struct tls_state);
}

static int tls_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
		    const struct flow_key *key)
{
	struct tls_state *s = state;

	(void)setup;
	(void)key;
	s->rec = rec;
	tls_hello_init(&s->hello);
	return 0;
}

static enum inspect_answer tls_data(void *state, enum seam_dir dir, const uint8_t *data,
				    size_t len, bool end, struct editor *edit)
{
	struct tls_state *s = state;

	(void)edit;
	/* a server that speaks first says nothing about what the client will */
	if (dir != SEAM_UP)
		return INSPECT_MORE;
	switch (tls_hello_feed(&s->hello, data, len)) {
	case TLS_HELLO_MORE:
		return end ? INSPECT_LET_GO : INSPECT_MORE;
	case TLS_HELLO_DONE:
		record(&s->hello, s->rec);
		break;
	case TLS_HELLO_BAD:
		break;
	}
	return INSPECT_LET_GO;
}

static void tls_close(void *state)
{
	(void)state;
}

const struct inspector inspector_tls = {
	.name = "tls",
	.help = "reads the TLS ClientHello: SNI, ALPN, version, ECH, JA4",
	.size = tls_size,
	.open = tls_open,
	.data = tls_data,
	.close = tls_close,
};
