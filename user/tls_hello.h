/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parser of a TLS ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) in the TLS record layer.
 * Streaming: bytes are fed in order in pieces of any size, and kept only as far as the fields
 * below hold them. No allocation; no input makes it take more than this structure or more than
 * one pass.
 */
#ifndef SEAM_TLS_HELLO_H
#define SEAM_TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_HELLO_MAX 131396	/* longest possible ClientHello, without its header */
#define TLS_CIPHERS_MAX 1024	/* of each list; more are counted, not kept */
#define TLS_EXTENSIONS_MAX 256
#define TLS_SIGALGS_MAX 256

#define TLS_EXT_SERVER_NAME 0x0000
#define TLS_EXT_SIGNATURE_ALGORITHMS 0x000d
#define TLS_EXT_ALPN 0x0010
#define TLS_EXT_SUPPORTED_VERSIONS 0x002b
#define TLS_EXT_ECH 0xfe0d /* RFC 9849 */

enum tls_hello_status {
	TLS_HELLO_MORE = 0,
	TLS_HELLO_DONE,
	TLS_HELLO_BAD, /* not TLS, or a ClientHello no server would accept */
};

struct tls_hello {
	/* results, valid once the status is TLS_HELLO_DONE; GREASE is left out */
	bool ech;
	bool has_sni;		/* the extension is there, whatever it says */
	bool overflow;		/* a list below was longer than its array */
	uint16_t version;	/* highest offered */
	char sni[256];		/* lower case, without a port or a final dot, or "" */
	char alpn[64];		/* comma-separated, cut to fit */
	uint8_t alpn_first;	/* first and last byte of the first protocol */
	uint8_t alpn_last;
	bool has_alpn;		/* there is a first protocol, not empty */
	uint32_t n_ciphers, n_extensions, n_sigalgs; /* as offered */
	uint16_t ciphers[TLS_CIPHERS_MAX];
	uint16_t extensions[TLS_EXTENSIONS_MAX];
	uint16_t sigalgs[TLS_SIGALGS_MAX];

	/* internal */
	enum tls_hello_status status;
	uint8_t state;
	uint8_t got;		/* bytes read of `value` */
	uint8_t record_got;	/* bytes read of the record header */
	uint16_t record_left;
	uint32_t value;
	uint32_t msg_left;	/* bytes to the end of the message */
	uint32_t ext_left;	/* bytes to the end of the extension */
	uint32_t run_left;	/* bytes to the end of an opaque or a list */
	uint16_t ext_type;
	uint16_t legacy_version;
	uint32_t seen;		/* SEEN_*: extensions that may come once */
	uint8_t name_type;
	uint8_t n_names;
	bool sni_bad;
	uint16_t sni_len;
	uint8_t alpn_len;
	uint8_t alpn_start;	/* where in alpn the current protocol begins */
	uint8_t proto_len;
	uint8_t proto[3];	/* its first, second and last byte */
	bool alpn_first_done;
};

/* Prepares for the first byte of a connection. */
void tls_hello_init(struct tls_hello *h);

/*
 * The next bytes the client sent. Once the answer is not TLS_HELLO_MORE it stays; bytes after
 * the ClientHello are ignored.
 */
enum tls_hello_status tls_hello_feed(struct tls_hello *h, const uint8_t *data, size_t len);

#endif
