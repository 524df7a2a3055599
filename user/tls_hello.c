// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tls_hello.h"

#include <string.h>

#include "inspect_text.h"

#define RECORD_HANDSHAKE 22
#define RECORD_MAX 16384
#define CLIENT_HELLO 1
#define NAME_HOST 0
#define SESSION_ID_MAX 32
#define RANDOM_LEN 32

/*
 * Extensions that change what is reported: a second one is an attempt to be understood one way
 * here and another way at the server.
 */
#define SEEN_SNI (1U << 0)
#define SEEN_ALPN (1U << 1)
#define SEEN_VERSIONS (1U << 2)
#define SEEN_SIGALGS (1U << 3)
#define SEEN_ECH (1U << 4)

/* What the next bytes of the message are. From ST_SNI_LIST on they are inside
 * an extension. */
enum {
	ST_TYPE,
	ST_LENGTH,
	ST_VERSION,
	ST_RANDOM,
	ST_SESSION_LEN,
	ST_SESSION,
	ST_CIPHERS_LEN,
	ST_CIPHER,
	ST_COMPRESSION_LEN,
	ST_COMPRESSION,
	ST_EXTENSIONS_LEN,
	ST_EXT_TYPE,
	ST_EXT_LEN,
	ST_SNI_LIST,
	ST_SNI_TYPE,
	ST_SNI_LEN,
	ST_SNI_NAME,
	ST_ALPN_LIST,
	ST_ALPN_LEN,
	ST_ALPN_NAME,
	ST_VERSIONS_LIST,
	ST_VERSIONS_ITEM,
	ST_SIGALGS_LIST,
	ST_SIGALG,
	ST_EXT_OTHER,
};

/* Size of the integer read in a state; 0: an opaque of run_left bytes. */
static const uint8_t width[] = {
	[ST_TYPE] = 1,		[ST_LENGTH] = 3,	  [ST_VERSION] = 2,
	[ST_RANDOM] = 0,	[ST_SESSION_LEN] = 1,	  [ST_SESSION] = 0,
	[ST_CIPHERS_LEN] = 2,	[ST_CIPHER] = 2,	  [ST_COMPRESSION_LEN] = 1,
	[ST_COMPRESSION] = 0,	[ST_EXTENSIONS_LEN] = 2,  [ST_EXT_TYPE] = 2,
	[ST_EXT_LEN] = 2,	[ST_SNI_LIST] = 2,	  [ST_SNI_TYPE] = 1,
	[ST_SNI_LEN] = 2,	[ST_SNI_NAME] = 0,	  [ST_ALPN_LIST] = 2,
	[ST_ALPN_LEN] = 1,	[ST_ALPN_NAME] = 0,	  [ST_VERSIONS_LIST] = 1,
	[ST_VERSIONS_ITEM] = 2, [ST_SIGALGS_LIST] = 2,	  [ST_SIGALG] = 2,
	[ST_EXT_OTHER] = 0,
};

/* RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa */
static bool is_grease(uint32_t v)
{
	return (v & 0x0f0f) == 0x0a0a && (v >> 8) == (v & 0xff);
}

static bool in_extension(const struct tls_hello *h)
{
	return h->state >= ST_SNI_LIST;
}

static void bad(struct tls_hello *h)
{
	h->status = TLS_HELLO_BAD;
}

/* The next thing is an integer; it must fit into what is left around it. */
static void expect(struct tls_hello *h, uint8_t state)
{
	h->state = state;
	h->value = 0;
	h->got = 0;
	if (width[state] > (in_extension(h) ? h->ext_left : h->msg_left))
		bad(h);
}

static void run_end(struct tls_hello *h);

/* The next thing is an opaque of n bytes. */
static void expect_run(struct tls_hello *h, uint8_t state, uint32_t n)
{
	h->state = state;
	h->run_left = n;
	if (n > (in_extension(h) ? h->ext_left : h->msg_left))
		bad(h);
	else if (!n)
		run_end(h);
}

static void keep(struct tls_hello *h, uint16_t *list, uint32_t max, uint32_t *n, uint32_t v)
{
	if (is_grease(v))
		return;
	if (*n < max)
		list[*n] = (uint16_t)v;
	else
		h->overflow = true;
	(*n)++;
}

static void message_end(struct tls_hello *h)
{
	if (!h->version)
		h->version = h->legacy_version;
	h->has_sni = h->seen & SEEN_SNI;
	h->ech = h->seen & SEEN_ECH;
	h->status = TLS_HELLO_DONE;
}

/*
 * The name as servers take it, whether it is a host's or not: nginx looks up whatever is there,
 * without a port. False: no text, or two names (RFC 6066 3), where servers differ in which one
 * counts.
 */
static bool sni_end(struct tls_hello *h)
{
	const char *port = memchr(h->sni, ':', h->sni_len);
	size_t i;

	if (port)
		h->sni_len = port - h->sni;
	if (h->sni_len && h->sni[h->sni_len - 1] == '.')
		h->sni_len--;
	h->sni[h->sni_len] = '\0';
	for (i = 0; i < h->sni_len; i++)
		if (h->sni[i] <= ' ' || h->sni[i] > '~')
			return false;
	return !h->n_names || (!h->sni_bad && h->n_names == 1 && h->sni_len);
}

static void extension_end(struct tls_hello *h)
{
	if (h->ext_type == TLS_EXT_SERVER_NAME && !sni_end(h))
		return bad(h);
	if (h->msg_left)
		expect(h, ST_EXT_TYPE);
	else
		message_end(h);
}

/* The body of an extension begins; ext_left is its length. */
static void extension_begin(struct tls_hello *h)
{
	static const struct {
		uint16_t type;
		uint8_t seen, state;
	} known[] = {
		{ TLS_EXT_SERVER_NAME, SEEN_SNI, ST_SNI_LIST },
		{ TLS_EXT_ALPN, SEEN_ALPN, ST_ALPN_LIST },
		{ TLS_EXT_SUPPORTED_VERSIONS, SEEN_VERSIONS, ST_VERSIONS_LIST },
		{ TLS_EXT_SIGNATURE_ALGORITHMS, SEEN_SIGALGS, ST_SIGALGS_LIST },
		{ TLS_EXT_ECH, SEEN_ECH, ST_EXT_OTHER },
	};

	keep(h, h->extensions, TLS_EXTENSIONS_MAX, &h->n_extensions, h->ext_type);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].type != h->ext_type)
			continue;
		if (h->seen & known[i].seen & ~SEEN_ECH) {
			bad(h);
			return;
		}
		h->seen |= known[i].seen;
		/* with nothing in it, it says nothing */
		if (known[i].state == ST_EXT_OTHER || !h->ext_left)
			break;
		expect(h, known[i].state);
		return;
	}
	expect_run(h, ST_EXT_OTHER, h->ext_left);
}

static void alpn_append(struct tls_hello *h, char c)
{
	if (h->alpn_len + 1U < sizeof(h->alpn))
		h->alpn[h->alpn_len++] = c;
}

static void alpn_begin(struct tls_hello *h, uint32_t len)
{
	h->alpn_start = h->alpn_len;
	h->proto_len = 0;
	if (h->alpn_len)
		alpn_append(h, ',');
	expect_run(h, ST_ALPN_NAME, len);
}

static void alpn_byte(struct tls_hello *h, uint8_t c)
{
	if (h->proto_len < 2)
		h->proto[h->proto_len] = c;
	h->proto[2] = c;
	h->proto_len++;
	alpn_append(h, c == ',' ? '.' : text_printable(c));
}

static void alpn_end(struct tls_hello *h)
{
	if (h->proto_len == 2 && is_grease((uint32_t)h->proto[0] << 8 | h->proto[1])) {
		h->alpn_len = h->alpn_start;
	} else if (!h->alpn_first_done) {
		h->alpn_first_done = true;
		h->has_alpn = h->proto_len > 0;
		h->alpn_first = h->proto[0];
		h->alpn_last = h->proto[2];
	}
	h->alpn[h->alpn_len] = '\0';
	if (h->ext_left)
		expect(h, ST_ALPN_LEN);
	else
		extension_end(h);
}

static void sni_byte(struct tls_hello *h, uint8_t c)
{
	if (h->name_type != NAME_HOST || h->n_names != 1)
		return;
	if (h->sni_len + 1U < sizeof(h->sni))
		h->sni[h->sni_len++] = text_lower(c);
	else
		h->sni_bad = true;
}

/* A list of integers ends with what is around it, or continues. */
static void next_item(struct tls_hello *h)
{
	if (h->ext_left)
		expect(h, h->state);
	else
		extension_end(h);
}

/* A complete integer. */
static void have_value(struct tls_hello *h, uint32_t v)
{
	switch (h->state) {
	case ST_TYPE:
		if (v != CLIENT_HELLO)
			return bad(h);
		h->msg_left = 3;
		return expect(h, ST_LENGTH);
	case ST_LENGTH:
		if (v > TLS_HELLO_MAX)
			return bad(h);
		h->msg_left = v;
		return expect(h, ST_VERSION);
	case ST_VERSION:
		/* RFC 8446 4.1.2: with supported_versions a server need not look at it */
		h->legacy_version = (uint16_t)v;
		return expect_run(h, ST_RANDOM, RANDOM_LEN);
	case ST_SESSION_LEN:
		if (v > SESSION_ID_MAX)
			return bad(h);
		return expect_run(h, ST_SESSION, v);
	case ST_CIPHERS_LEN:
		if (v < 2 || v % 2 || v > h->msg_left)
			return bad(h);
		h->run_left = v;
		return expect(h, ST_CIPHER);
	case ST_CIPHER:
		keep(h, h->ciphers, TLS_CIPHERS_MAX, &h->n_ciphers, v);
		h->run_left -= 2;
		return expect(h, h->run_left ? ST_CIPHER : ST_COMPRESSION_LEN);
	case ST_COMPRESSION_LEN:
		if (!v)
			return bad(h);
		return expect_run(h, ST_COMPRESSION, v);
	case ST_EXTENSIONS_LEN:
		if (v != h->msg_left)
			return bad(h);
		return v ? expect(h, ST_EXT_TYPE) : message_end(h);
	case ST_EXT_TYPE:
		h->ext_type = (uint16_t)v;
		return expect(h, ST_EXT_LEN);
	case ST_EXT_LEN:
		if (v > h->msg_left)
			return bad(h);
		h->ext_left = v;
		return extension_begin(h);
	case ST_SNI_LIST:
		if (v != h->ext_left)
			return bad(h);
		return v ? expect(h, ST_SNI_TYPE) : extension_end(h);
	case ST_SNI_TYPE:
		h->name_type = (uint8_t)v;
		if (v == NAME_HOST && h->n_names < 2)
			h->n_names++;
		return expect(h, ST_SNI_LEN);
	case ST_SNI_LEN:
		return expect_run(h, ST_SNI_NAME, v);
	case ST_ALPN_LIST:
		if (v != h->ext_left)
			return bad(h);
		return v ? expect(h, ST_ALPN_LEN) : extension_end(h);
	case ST_ALPN_LEN:
		return v > h->ext_left ? bad(h) : alpn_begin(h, v);
	case ST_VERSIONS_LIST:
		if (v != h->ext_left || v < 2 || v % 2)
			return bad(h);
		return expect(h, ST_VERSIONS_ITEM);
	case ST_VERSIONS_ITEM:
		if (!is_grease(v) && v > h->version)
			h->version = (uint16_t)v;
		return next_item(h);
	case ST_SIGALGS_LIST:
		if (v != h->ext_left || v % 2)
			return bad(h);
		return v ? expect(h, ST_SIGALG) : extension_end(h);
	case ST_SIGALG:
		keep(h, h->sigalgs, TLS_SIGALGS_MAX, &h->n_sigalgs, v);
		return next_item(h);
	}
}

/* A complete opaque. */
static void run_end(struct tls_hello *h)
{
	switch (h->state) {
	case ST_RANDOM:
		return expect(h, ST_SESSION_LEN);
	case ST_SESSION:
		return expect(h, ST_CIPHERS_LEN);
	case ST_COMPRESSION:
		/* RFC 5246 7.4.1.2: a hello may end here */
		return h->msg_left ? expect(h, ST_EXTENSIONS_LEN) : message_end(h);
	case ST_SNI_NAME:
		return h->ext_left ? expect(h, ST_SNI_TYPE) : extension_end(h);
	case ST_ALPN_NAME:
		return alpn_end(h);
	default:
		return extension_end(h);
	}
}

/* Takes n bytes of the current thing off everything around it. */
static void consume(struct tls_hello *h, uint32_t n)
{
	if (h->state > ST_TYPE)
		h->msg_left -= n;
	if (in_extension(h))
		h->ext_left -= n;
}

/* Bytes of the handshake layer. */
static void feed_message(struct tls_hello *h, const uint8_t *p, size_t len)
{
	while (len && h->status == TLS_HELLO_MORE) {
		uint32_t n = 1;

		if (width[h->state]) {
			h->value = h->value << 8 | *p;
			consume(h, 1);
			if (++h->got == width[h->state])
				have_value(h, h->value);
		} else {
			n = len < h->run_left ? (uint32_t)len : h->run_left;
			for (uint32_t i = 0; i < n && h->state == ST_SNI_NAME; i++)
				sni_byte(h, p[i]);
			for (uint32_t i = 0; i < n && h->state == ST_ALPN_NAME; i++)
				alpn_byte(h, p[i]);
			consume(h, n);
			h->run_left -= n;
			if (!h->run_left)
				run_end(h);
		}
		p += n;
		len -= n;
	}
}

/* A byte of a record header. Wrong ones are refused as soon as they come. */
static void record_byte(struct tls_hello *h, uint8_t c)
{
	switch (h->record_got++) {
	case 0:
		if (c != RECORD_HANDSHAKE)
			bad(h);
		break;
	case 1:
		/* RFC 8446 5.1: the version must be ignored, but it is 3.x */
		if (c != 3)
			bad(h);
		break;
	case 2:
		break;
	case 3:
		h->record_left = (uint16_t)(c << 8);
		if (h->record_left > RECORD_MAX)
			bad(h);
		break;
	case 4:
		h->record_left |= c;
		/* An empty fragment is no fragment (RFC 8446 5.1); OpenSSL takes it for one */
		if (h->record_left > RECORD_MAX)
			bad(h);
		h->record_got = 0;
		break;
	}
}

void tls_hello_init(struct tls_hello *h)
{
	memset(h, 0, sizeof(*h));
}

enum tls_hello_status tls_hello_feed(struct tls_hello *h, const uint8_t *data, size_t len)
{
	while (len && h->status == TLS_HELLO_MORE) {
		size_t n = 1;

		if (h->record_got || !h->record_left) {
			record_byte(h, *data);
		} else {
			n = len < h->record_left ? len : h->record_left;
			feed_message(h, data, n);
			h->record_left -= (uint16_t)n;
		}
		data += n;
		len -= n;
	}
	return h->status;
}
