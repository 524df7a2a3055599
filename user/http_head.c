// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "http_head.h"

#include <string.h>

#include "inspect_text.h"

static const char version[] = "HTTP/1.";

/*
 * The grammar of lines, checked beside the parser: version, where lines end,
 * how long the head is. Bare LF ends a line (RFC 9112 2.2), bare CR is refused.
 */
enum line_state {
	LINE_BEGIN,	/* empty lines before the start line */
	LINE_BEGIN_LF,
	LINE_METHOD,
	LINE_TARGET,
	LINE_VERSION,
	LINE_MINOR,
	LINE_AFTER,	/* one byte after the version */
	LINE_START_LF,
	LINE_STATUS,	/* the rest of a status line */
	LINE_FIELD_BEGIN,
	LINE_FIELD,
	LINE_FIELD_LF,
	LINE_END_LF,
	LINE_END,
	LINE_BAD,
};

static uint8_t line_begin(struct http_head *h, uint8_t c)
{
	if (c == '\r')
		return LINE_BEGIN_LF;
	if (c == '\n')
		return LINE_BEGIN;
	h->matched = 1;
	if (h->parser.type == HTTP_RESPONSE)
		return c == 'H' ? LINE_VERSION : LINE_BAD;
	return LINE_METHOD;
}

static uint8_t line_next(struct http_head *h, uint8_t c)
{
	switch (h->line_state) {
	case LINE_BEGIN:
		return line_begin(h, c);
	case LINE_BEGIN_LF:
		return c == '\n' ? LINE_BEGIN : LINE_BAD;
	case LINE_METHOD:
		return c == ' ' ? LINE_TARGET : LINE_METHOD;
	case LINE_TARGET:
		if (c == ' ') {
			h->matched = 0;
			return LINE_VERSION;
		}
		return c < 0x20 || c == 0x7f ? LINE_BAD : LINE_TARGET;
	case LINE_VERSION:
		if (c != (uint8_t)version[h->matched])
			return LINE_BAD;
		return version[++h->matched] ? LINE_VERSION : LINE_MINOR;
	case LINE_MINOR:
		return text_digit(c) ? LINE_AFTER : LINE_BAD;
	case LINE_AFTER:
		if (h->parser.type == HTTP_RESPONSE)
			return c == ' ' ? LINE_STATUS : LINE_BAD;
		if (c == '\r')
			return LINE_START_LF;
		return c == '\n' ? LINE_FIELD_BEGIN : LINE_BAD;
	case LINE_STATUS:
		if (c == '\r')
			return LINE_START_LF;
		return c == '\n' ? LINE_FIELD_BEGIN : LINE_STATUS;
	case LINE_START_LF:
	case LINE_FIELD_LF:
		return c == '\n' ? LINE_FIELD_BEGIN : LINE_BAD;
	case LINE_FIELD_BEGIN:
		if (c == '\r')
			return LINE_END_LF;
		return c == '\n' ? LINE_END : LINE_FIELD;
	case LINE_FIELD:
		if (c == '\r')
			return LINE_FIELD_LF;
		return c == '\n' ? LINE_FIELD_BEGIN : LINE_FIELD;
	case LINE_END_LF:
		return c == '\n' ? LINE_END : LINE_BAD;
	}
	return LINE_BAD;
}

static int refuse(struct http_head *h)
{
	h->refused = true;
	return 1;
}

static bool host_equal(const struct http_host *a, const struct http_host *b)
{
	return a->len == b->len && !memcmp(a->text, b->text, a->len);
}

/* The field before this one is complete. Differing Host fields are refused:
 * which of them counts is up to the server (RFC 9112 3.2, 11.2). */
static int field_end(struct http_head *h)
{
	struct http_host *host = &h->current;

	h->in_value = false;
	h->name_len = 0;
	if (!host->seen)
		return 0;
	while (host->len && (host->text[host->len - 1] == ' ' || host->text[host->len - 1] == '\t'))
		host->len--;
	if (!h->first.seen)
		h->first = *host;
	else if (!host_equal(&h->first, host))
		return refuse(h);
	memset(host, 0, sizeof(*host));
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct http_head *h = parser->data;

	if (h->headers_complete)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (h->target_len + 1 < sizeof(h->target))
			h->target[h->target_len++] = at[i];
		else
			h->target_cut = true;
	}
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
	struct http_head *h = parser->data;

	if (h->headers_complete)
		return 0;
	if (h->in_value && field_end(h))
		return 1;
	for (size_t i = 0; i < len; i++) {
		/* the lenient parser also takes spaces in names */
		if (!text_token((uint8_t)at[i]))
			return refuse(h);
		if (h->name_len < sizeof(h->name))
			h->name[h->name_len++] = text_lower((uint8_t)at[i]);
	}
	return 0;
}

/* A fold (RFC 9112 5.2) comes as white space, which no host name has inside. */
static int host_piece(struct http_head *h, const char *at, size_t len)
{
	struct http_host *host = &h->current;

	host->seen = true;
	if (len > sizeof(host->text) - host->len)
		return refuse(h);
	for (size_t i = 0; i < len; i++)
		host->text[host->len++] = text_lower((uint8_t)at[i]);
	return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct http_head *h = parser->data;

	if (h->headers_complete)
		return 0;
	h->in_value = true;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)at[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return refuse(h);
	}
	if (h->name_len == 4 && !memcmp(h->name, "host", 4))
		return host_piece(h, at, len);
	return 0;
}

/* Responses that have no body, whatever their head says (RFC 9112 6.3). */
static bool no_body(const struct http_head *h)
{
	unsigned int status = h->parser.status_code;

	if (h->parser.type != HTTP_RESPONSE)
		return false;
	return status / 100 == 1 || status == 204 || status == 304 || h->answers == HTTP_HEAD ||
	       (h->answers == HTTP_CONNECT && status / 100 == 2);
}

static int on_headers_complete(http_parser *parser)
{
	struct http_head *h = parser->data;

	if (!h->headers_complete && field_end(h))
		return -1;
	h->headers_complete = true;
	return no_body(h) ? 1 : 0;
}

static int on_message_complete(http_parser *parser)
{
	struct http_head *h = parser->data;

	h->messages++;
	if (h->one_message)
		http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_message_complete = on_message_complete,
};

static bool execute(struct http_head *h, const uint8_t *data, size_t len)
{
	size_t n;

	n = http_parser_execute(&h->parser, &settings, (const char *)data, len);
	if (HTTP_PARSER_ERRNO(&h->parser) != HPE_OK || h->refused)
		return false;
	return n == len || h->parser.upgrade;
}

/* Up to five digits, at most 65535; RFC 3986 3.2.3 allows none. */
static bool port_valid(const char *p, size_t len)
{
	uint32_t port = 0;

	if (len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!text_digit((uint8_t)p[i]))
			return false;
		port = port * 10 + (uint32_t)(p[i] - '0');
	}
	return port <= 65535;
}

static bool host_char(uint8_t c, bool literal)
{
	if (literal)
		return text_alnum(c) || c == ':' || c == '.';
	/* unreserved, sub-delims and percent-encoding of RFC 3986 3.2.2 */
	return text_alnum(c) || (c && strchr("-._~%!$&'()*+,;=", c));
}

/* Takes the name alone out of host[:port]. */
static bool host_name(const char *p, size_t len, char *out, size_t size)
{
	bool literal = len && p[0] == '[';
	const char *end = memchr(p, literal ? ']' : ':', len);
	size_t n = end ? (size_t)(end - p) : len;
	size_t rest = len - n;

	if (literal) {
		if (!end || n < 3)
			return false;
		p++, n--;
		end++, rest--;
	}
	if (rest && (*end != ':' || !port_valid(end + 1, rest - 1)))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!host_char((uint8_t)p[i], literal))
			return false;
	}
	/* the root's dot does not make it another host, but would slip past a rule */
	if (!literal && n && p[n - 1] == '.')
		n--;
	if (n >= size)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

/*
 * Writes the authority of an absolute-form or authority-form target (RFC 9112 3.2.2, 3.2.3) to
 * `host`; false if it cannot be told.
 */
static bool target_host(struct http_head *h, struct http_host *host)
{
	const char *p = h->target, *end = p + h->target_len, *stop, *at;

	if (h->parser.method != HTTP_CONNECT) {
		const char *slashes = strstr(p, "://");

		if (*p == '/' || *p == '*' || !slashes)
			return true;
		p = slashes + 3;
	}
	stop = p + strcspn(p, "/?#");
	if (stop == end && h->target_cut)
		return false;
	for (at = p; at < stop; at++) {
		if (*at == '@')
			p = at + 1;
	}
	if (p == stop || (size_t)(stop - p) > sizeof(host->text))
		return false;
	host->seen = true;
	for (; p < stop; p++)
		host->text[host->len++] = text_lower((uint8_t)*p);
	return true;
}

/* Which host a request is for. A request that names two is refused. */
static bool request_host(struct http_head *h)
{
	struct http_host target = { 0 };
	char name[sizeof(h->host)];

	h->target[h->target_len] = '\0';
	if (strlen(h->target) != h->target_len || !target_host(h, &target))
		return false;
	if (h->first.seen && !host_name(h->first.text, h->first.len, h->host, sizeof(h->host)))
		return false;
	if (!target.seen)
		return true;
	if (!host_name(target.text, target.len, name, sizeof(name)))
		return false;
	if (h->first.seen && strcmp(h->host, name))
		return false;
	strcpy(h->host, name);
	return true;
}

void http_head_init(struct http_head *h, enum http_parser_type type)
{
	memset(h, 0, sizeof(*h));
	http_parser_init(&h->parser, type);
	h->answers = -1;
	h->parser.data = h;
}

enum http_head_status http_head_feed(struct http_head *h, const uint8_t *data, size_t len,
				     size_t *used)
{
	size_t n = 0;

	*used = 0;
	if (h->status != HTTP_HEAD_MORE || !len)
		return h->status;
	h->status = HTTP_HEAD_BAD;
	while (n < len && h->line_state < LINE_END) {
		h->line_state = line_next(h, data[n++]);
		if (++h->size > HTTP_HEAD_MAX)
			return h->status;
	}
	if (h->line_state == LINE_BAD || !execute(h, data, n))
		return h->status;
	/* the parser and the line grammar must agree where the head ends */
	if (h->headers_complete != (h->line_state == LINE_END))
		return h->status;
	*used = n;
	if (!h->headers_complete)
		h->status = HTTP_HEAD_MORE;
	else if (h->parser.type == HTTP_RESPONSE ? h->parser.status_code >= 100 : request_host(h))
		h->status = HTTP_HEAD_DONE;
	return h->status;
}

bool http_head_rest(struct http_head *h, const uint8_t *data, size_t len)
{
	return !len || execute(h, data, len);
}

bool http_head_body(struct http_head *h, const uint8_t *data, size_t len, size_t *used)
{
	*used = 0;
	if (!len)
		return true; /* the parser would take it for the end */
	h->one_message = true;
	*used = http_parser_execute(&h->parser, &settings, (const char *)data, len);
	return h->messages || (HTTP_PARSER_ERRNO(&h->parser) == HPE_OK && *used == len);
}
