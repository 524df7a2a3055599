// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `http` inspector and classification, for HTTP/1. Lets go with the head of the first
 * response that is not interim (RFC 9110 15.2).
 */
#include <string.h>

#include "http_head.h"
#include "inspect.h"
#include "inspect_text.h"

static void record(const struct http_head *h, struct flow_record *rec)
{
	const char *method = http_method_str((enum http_method)h->parser.method);

	rec->http.seen = true;
	text_copy(rec->http.method, sizeof(rec->http.method), method, strlen(method));
	text_copy(rec->http.target, sizeof(rec->http.target), h->target, h->target_len);
	text_copy(rec->http.host, sizeof(rec->http.host), h->host, strlen(h->host));
}

enum classify http_classify_next(struct http_head *h, const uint8_t *data, size_t len,
				 struct flow_record *rec)
{
	size_t used;

	switch (http_head_feed(h, data, len, &used)) {
	case HTTP_HEAD_MORE:
		return CLASSIFY_MORE;
	case HTTP_HEAD_DONE:
		record(h, rec);
		return CLASSIFY_YES;
	case HTTP_HEAD_BAD:
		break;
	}
	return CLASSIFY_NO;
}

enum classify http_classify(const uint8_t *data, size_t len, struct flow_record *rec)
{
	struct http_head h;

	http_head_init(&h, HTTP_REQUEST);
	return http_classify_next(&h, data, len, rec);
}

struct http_state {
	struct flow_record *rec;
	int16_t method;		/* enum http_method of the first request, or -1 */
	struct http_head up;
	struct http_head down;
};

static size_t http_size(const struct inspect_setup *setup)
{
	(void)setup;
	return sizeof(struct http_state);
}

static int http_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
		     const struct flow_key *key)
{
	struct http_state *s = state;

	(void)setup;
	(void)key;
	s->rec = rec;
	s->method = -1;
	http_head_init(&s->up, HTTP_REQUEST);
	http_head_init(&s->down, HTTP_RESPONSE);
	return 0;
}

static enum inspect_answer malformed(struct http_state *s)
{
	s->rec->http.malformed = true;
	return INSPECT_LET_GO;
}

static enum inspect_answer data_up(struct http_state *s, const uint8_t *data, size_t len)
{
	struct http_head *up = &s->up;
	bool ok = true;
	size_t used;

	if (up->status == HTTP_HEAD_MORE) {
		http_head_feed(up, data, len, &used);
		if (up->status == HTTP_HEAD_DONE) {
			s->method = (int16_t)up->parser.method;
			record(up, s->rec);
		}
		data += used;
		len -= used;
	}
	if (up->status == HTTP_HEAD_DONE && !up->parser.upgrade)
		ok = http_head_rest(up, data, len);
	s->rec->http.requests = up->messages;
	/* after CONNECT or Upgrade it may be anything: only the answer counts */
	return ok && up->status != HTTP_HEAD_BAD ? INSPECT_MORE : malformed(s);
}

static enum inspect_answer data_down(struct http_state *s, const uint8_t *data, size_t len)
{
	struct http_head *down = &s->down;
	size_t used;

	while (len) {
		down->answers = s->method;
		switch (http_head_feed(down, data, len, &used)) {
		case HTTP_HEAD_MORE:
			return INSPECT_MORE;
		case HTTP_HEAD_BAD:
			return malformed(s);
		case HTTP_HEAD_DONE:
			break;
		}
		if (down->parser.status_code / 100 != 1 || down->parser.status_code == 101) {
			s->rec->http.status = (uint16_t)down->parser.status_code;
			s->rec->http.responses = down->messages;
			return INSPECT_LET_GO;
		}
		/* an interim response is a head and nothing else */
		http_head_init(down, HTTP_RESPONSE);
		data += used;
		len -= used;
	}
	return INSPECT_MORE;
}

static enum inspect_answer http_data(void *state, enum seam_dir dir, const uint8_t *data,
				     size_t len, bool end, struct editor *edit)
{
	struct http_state *s = state;
	enum inspect_answer answer = INSPECT_MORE;

	(void)edit;
	if (len)
		answer = dir == SEAM_UP ? data_up(s, data, len) : data_down(s, data, len);
	/* without a server there is no response to wait for */
	if (end && dir == SEAM_DOWN)
		answer = INSPECT_LET_GO;
	return answer;
}

static void http_close(void *state)
{
	(void)state;
}

const struct inspector inspector_http = {
	.name = "http",
	.help = "reads HTTP/1: method, target, host, status of the first response",
	.size = http_size,
	.open = http_open,
	.data = http_data,
	.close = http_close,
};
