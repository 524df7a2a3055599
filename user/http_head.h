/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One HTTP/1 message head (RFC 9112), fed in pieces of any size. libhttp_parser does the
 * parsing. Debian builds it in its lenient mode, so what that mode accepts and a server may
 * read differently is checked here. No allocation.
 */
#ifndef SEAM_HTTP_HEAD_H
#define SEAM_HTTP_HEAD_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX 65536	/* bytes, start line to empty line */
#define HTTP_TARGET_MAX 512	/* bytes kept; an authority must fit, a path is cut */
#define HTTP_HOST_MAX 272	/* longest Host value: name, port and some space */

enum http_head_status {
	HTTP_HEAD_MORE = 0,
	HTTP_HEAD_DONE,
	HTTP_HEAD_BAD,
};

/* A Host value or the authority of a target, as it came, in lower case. */
struct http_host {
	bool seen;
	uint16_t len;
	char text[HTTP_HOST_MAX];
};

struct http_head {
	http_parser parser;	/* continues with the body after the head */
	enum http_head_status status;
	uint32_t messages;	/* complete */
	int16_t answers;	/* responses: the enum http_method answered, or -1 */
	char host[256];		/* requests, done: lower case, no port, no brackets */
	char target[HTTP_TARGET_MAX];
	uint32_t target_len;	/* kept */
	bool target_cut;

	/* internal */
	uint8_t line_state;
	uint8_t matched;	/* bytes of "HTTP/1." seen */
	uint32_t size;		/* bytes of the head so far */
	bool headers_complete;
	bool refused;		/* a callback found something not allowed */
	bool one_message;	/* stop at its end */
	bool in_value;
	uint8_t name_len;
	char name[5];		/* of the current field, enough to tell "host" */
	struct http_host first, current;
};

/* Prepares for a request or a response head. */
void http_head_init(struct http_head *h, enum http_parser_type type);

/*
 * The next bytes of the head. *used is how many belong to it; with
 * HTTP_HEAD_DONE the body, if any, begins after them.
 */
enum http_head_status http_head_feed(struct http_head *h, const uint8_t *data, size_t len,
				     size_t *used);

/*
 * Bytes after the first head: its body and the messages that follow. Counts
 * messages; false if it is not HTTP/1. Stops at a change of protocol (CONNECT,
 * Upgrade), after which `parser.upgrade` is set and nothing may be fed.
 */
bool http_head_rest(struct http_head *h, const uint8_t *data, size_t len);

/*
 * Bytes after the head, of this message only: *used of them are its body, and `messages` is 1
 * once it is complete. False if they are malformed. The next message needs another
 * http_head_init().
 */
bool http_head_body(struct http_head *h, const uint8_t *data, size_t len, size_t *used);

#endif
