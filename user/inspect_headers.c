// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `headers` inspector: adds, sets and removes fields of HTTP/1 message heads while they
 * pass. It holds nothing but the beginning of a line whose name may be one to remove, and the
 * line that ends a head until the head is known to be right.
 *
 * Only what the strict parser has accepted is edited. Editing ends where the parser does not
 * accept something, or where this file's own reading of lines and chunks differs: the bytes
 * from there on leave as they came.
 */
#include <string.h>
#include <strings.h>

#include "edit.h"
#include "header_edits.h"
#include "http_chunks.h"
#include "http_head.h"
#include "inspect.h"
#include "inspect_text.h"

/* Requests that may wait for their responses; more than any client is known to send. */
#define PIPELINE_MAX 1024

enum phase {
	PHASE_HEAD = 0,
	PHASE_BODY,
	PHASE_ASKED,	/* up: CONNECT or Upgrade; the response says what follows */
	PHASE_REST,	/* nothing more is edited */
};

enum line {
	LINE_EMPTY = 0,	/* before the start line */
	LINE_START,
	LINE_BEGIN,
	LINE_NAME,	/* may be one to remove */
	LINE_KEEP,
	LINE_CUT,
	LINE_HOPS,	/* in the value of the request's Connection field */
	LINE_LAST_LF,	/* after the CR of the empty line that ends the head */
	LINE_END,
	LINE_WRONG,
};

struct side {
	const struct header_edits *edits;	/* or NULL */
	const char *add;			/* the text of its fields */
	size_t add_len;
	uint32_t messages;			/* complete */
	uint8_t phase;
	uint8_t line;
	uint8_t name_len;
	bool strict;				/* treats what would undo an earlier edit as
						 * malformed, since that is blocked */
	bool sets_host;				/* overridden by a host in the request's target */
	bool edit;				/* this head is to be edited */
	bool touched;				/* ... and has begun, apart from empty lines:
						 * letting go waits for its end */
	bool chunked;				/* its body; the parser forgets it with some
						 * trailers */
	bool hops;				/* this line, or the last, is Connection's */
	char name[HEADER_NAME_MAX];		/* so far: of the line, or a name in Connection */
	const char *cut;			/* the removed field of this line, or the last */
	uint64_t line_at;			/* where the line begins */
	uint64_t cut_from;			/* from here it is not replaced yet */
	struct http_head head;
	struct http_chunks chunks;
};

struct headers_state {
	struct flow_record *rec;
	bool block_malformed;
	bool over;		/* let go once no head is half edited */
	bool stray;		/* bytes after a CONNECT not answered yet */
	uint16_t first, waiting; /* requests without a response, in `is_head` */
	uint8_t is_head[PIPELINE_MAX / 8];
	struct side side[2];
	char text[];
};

static size_t headers_size(const struct inspect_setup *setup)
{
	return sizeof(struct headers_state) + header_text_max(setup->request) +
	       header_text_max(setup->response);
}

static void side_next(struct headers_state *s, enum seam_dir dir)
{
	struct side *side = &s->side[dir];

	http_head_init(&side->head, dir == SEAM_UP ? HTTP_REQUEST : HTTP_RESPONSE);
	side->chunks = (struct http_chunks){ 0 };
	side->phase = PHASE_HEAD;
	side->line = LINE_EMPTY;
	side->edit = side->touched = false;
	side->cut = NULL;
}

static int headers_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
			const struct flow_key *key)
{
	const struct header_edits *edits[2] = { setup->request, setup->response };
	struct headers_state *s = state;
	char *text = s->text;

	s->rec = rec;
	s->block_malformed = setup->fail_block;
	for (int dir = 0; dir < 2; dir++) {
		struct side *side = &s->side[dir];

		side->edits = edits[dir];
		side->strict = setup->fail_block;
		side->add = text;
		side->add_len = header_text(edits[dir], key, text);
		text += header_text_max(edits[dir]);
		for (size_t i = 0; dir == SEAM_UP && edits[dir] && i < edits[dir]->n_remove; i++)
			side->sets_host |= !strcasecmp(edits[dir]->remove[i], "Host");
		side_next(s, dir);
	}
	return 0;
}

/* ---- lines of a head ---- */

/* The field to remove whose name is this, or begins with it. */
static const char *to_remove(const struct side *side, bool whole)
{
	const struct header_edits *e = side->edits;

	for (size_t i = 0; e && i < e->n_remove; i++) {
		if (header_same_name(e->remove[i], side->name, side->name_len) &&
		    (!whole || !e->remove[i][side->name_len]))
			return e->remove[i];
	}
	return NULL;
}

/* Whether the name so far is, or begins, that of the Connection field, which is looked into. */
static bool is_hops(const struct side *side, bool whole)
{
	static const char name[] = "Connection";

	return side->add_len && side->head.parser.type == HTTP_REQUEST &&
	       (whole ? side->name_len == sizeof(name) - 1 : side->name_len < sizeof(name)) &&
	       header_same_name(name, side->name, side->name_len);
}

static uint8_t name_next(struct side *side, uint8_t c)
{
	if (c == ':') {
		side->cut = to_remove(side, true);
		side->cut_from = side->line_at;
		side->hops = is_hops(side, true);
		side->name_len = 0;
		return side->cut ? LINE_CUT : side->hops ? LINE_HOPS : LINE_KEEP;
	}
	if (c == '\r' || c == '\n')
		return LINE_WRONG;
	side->name[side->name_len++] = (char)c;
	return to_remove(side, false) || is_hops(side, false) ? LINE_NAME : LINE_KEEP;
}

/*
 * Whether Connection names a field that is added: every further proxy would remove it (RFC 9110
 * 7.6.1).
 */
static bool names_added(const struct side *side)
{
	const struct header_edits *e = side->edits;

	for (size_t i = 0; i < e->n_add; i++)
		if (strlen(e->add[i].name) == side->name_len && header_same_name(e->add[i].name, side->name, side->name_len))
			return true;
	return false;
}

static uint8_t hops_next(struct side *side, uint8_t c)
{
	if (c != ',' && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
		if (side->name_len < sizeof(side->name)) /* no field's name is as long as that */
			side->name[side->name_len++] = (char)c;
		return LINE_HOPS;
	}
	if (side->strict && names_added(side))
		return LINE_WRONG;
	side->name_len = 0;
	return c == '\n' ? LINE_BEGIN : LINE_HOPS;
}

static uint8_t begin_next(struct side *side, uint8_t c, uint64_t at)
{
	if (c == ' ' || c == '\t') { /* a fold goes with its field (RFC 9112 5.2) */
		side->cut_from = at;
		return side->cut ? LINE_CUT : side->hops ? LINE_HOPS : LINE_KEEP;
	}
	side->cut = NULL;
	side->hops = false;
	side->line_at = at;
	side->name_len = 0;
	if (c == '\r')
		return LINE_LAST_LF;
	if (c == '\n')
		return LINE_END;
	return side->edit ? name_next(side, c) : LINE_KEEP;
}

static uint8_t line_next(struct side *side, uint8_t c, uint64_t at)
{
	switch (side->line) {
	case LINE_EMPTY:
		return c == '\r' || c == '\n' ? LINE_EMPTY : LINE_START;
	case LINE_START:
		if (c != '\n')
			return LINE_START;
		/* an interim response (RFC 9110 15.2) is not what was asked for */
		side->edit = side->head.parser.type == HTTP_REQUEST ||
			     side->head.parser.status_code / 100 != 1;
		side->touched = side->edit && side->edits;
		/* A host in the target counts, not the field (RFC 9112 3.2.2). */
		if (side->strict && side->sets_host && *side->head.target != '/' && *side->head.target != '*')
			return LINE_WRONG;
		return LINE_BEGIN;
	case LINE_BEGIN:
		return begin_next(side, c, at);
	case LINE_NAME:
		return name_next(side, c);
	case LINE_HOPS:
		return hops_next(side, c);
	case LINE_KEEP:
	case LINE_CUT:
		return c == '\n' ? LINE_BEGIN : side->line;
	case LINE_LAST_LF:
		return c == '\n' ? LINE_END : LINE_WRONG;
	}
	return LINE_WRONG;
}

/* Scans the `len` bytes at position `at`, all of one head, for lines. 0 or negative errno. */
static int scan(struct side *side, const uint8_t *data, size_t len, uint64_t at, struct editor *e)
{
	int err = 0;

	side->cut_from = at;
	for (size_t i = 0; i < len && !err; i++) {
		bool cut = side->line == LINE_CUT;

		side->line = line_next(side, data[i], at + i);
		if (cut && side->line != LINE_CUT)
			err = edit_replace(e, side->cut_from, at + i + 1 - side->cut_from, NULL, 0);
	}
	if (!err && side->line == LINE_CUT && side->cut_from < at + len)
		err = edit_replace(e, side->cut_from, at + len - side->cut_from, NULL, 0);
	return err;
}

/*
 * Malformed from position `at` on, where byte `c` is. The rest of a field that was partly
 * removed would be a line of its own: it gets its name back.
 */
static int restore(struct side *side, uint8_t c, uint64_t at, struct editor *e)
{
	bool fold = side->line == LINE_BEGIN && side->cut && (c == ' ' || c == '\t');
	int err;

	if (side->line != LINE_CUT && !fold)
		return 0;
	err = edit_replace(e, at, 0, side->cut, strlen(side->cut));
	return err ? err : edit_replace(e, at, 0, ":", 1);
}

/* ---- messages ---- */

static void push_request(struct headers_state *s, bool is_head)
{
	unsigned int i = (s->first + s->waiting++) % PIPELINE_MAX;

	s->is_head[i / 8] &= ~(1U << i % 8);
	s->is_head[i / 8] |= (unsigned int)is_head << i % 8;
}

static bool next_is_head(const struct headers_state *s)
{
	return s->is_head[s->first / 8] >> s->first % 8 & 1;
}

static void pop_request(struct headers_state *s)
{
	s->first = (s->first + 1) % PIPELINE_MAX;
	s->waiting--;
}

/* Whether the next response is to the CONNECT or Upgrade that the client waits for. */
static bool answers_asked(const struct headers_state *s)
{
	return s->side[SEAM_UP].phase == PHASE_ASKED && s->waiting == 1;
}

static bool asked_connect(const struct headers_state *s)
{
	return answers_asked(s) && s->side[SEAM_UP].head.parser.method == HTTP_CONNECT;
}

static void message_done(struct headers_state *s, enum seam_dir dir)
{
	struct side *side = &s->side[dir];
	uint32_t *count = dir == SEAM_UP ? &s->rec->http.requests : &s->rec->http.responses;

	side->messages++;
	/* inspector `http` may count the same ones */
	if (*count < side->messages)
		*count = side->messages;
	if (dir == SEAM_UP && side->head.parser.upgrade)
		side->phase = PHASE_ASKED;
	else
		side_next(s, dir);
}

/* A request head is complete; false if what follows it cannot be told. */
static bool request_done(struct headers_state *s)
{
	if (s->waiting == PIPELINE_MAX)
		return false;
	push_request(s, s->side[SEAM_UP].head.parser.method == HTTP_HEAD);
	return true;
}

/* The same for a response that is not interim. */
static bool response_done(struct headers_state *s)
{
	const http_parser *parser = &s->side[SEAM_DOWN].head.parser;
	bool asked = answers_asked(s), connect = asked_connect(s);

	if (parser->status_code == 101) {
		s->over = true;
		return asked && !connect;
	}
	if (!s->waiting) { /* a server says why it closes, and nothing comes after that */
		s->over = true;
		return true;
	}
	pop_request(s);
	if ((connect && parser->status_code / 100 == 2) || !http_should_keep_alive(parser))
		s->over = true;
	else if (asked && s->stray)
		return false;
	else if (asked)
		side_next(s, SEAM_UP);
	return true;
}

/* A head is complete and right. 1 if it is not to be followed, or negative errno. */
static int head_done(struct headers_state *s, enum seam_dir dir, struct editor *e)
{
	struct side *side = &s->side[dir];
	const http_parser *parser = &side->head.parser;
	bool interim = dir == SEAM_DOWN && parser->status_code / 100 == 1 &&
		       parser->status_code != 101;
	bool followed;
	int err;

	side->chunked = parser->flags & F_CHUNKED;
	/* chunks in HTTP/1.0 are faulty, whatever was meant (RFC 9112 6.1) */
	if (side->line != LINE_END || (side->chunked && !parser->http_minor))
		return 1;
	if (side->edit && side->add_len) {
		err = edit_replace(e, side->line_at, 0, side->add, side->add_len);
		if (err)
			return err;
	}
	side->touched = false;
	if (interim) {
		side_next(s, dir);
		return 0;
	}
	followed = dir == SEAM_UP ? request_done(s) : response_done(s);
	side->phase = PHASE_BODY;
	if (side->head.messages)
		message_done(s, dir);
	if (s->over)
		side->phase = PHASE_REST;
	return !followed;
}

/* Takes as much of a head as is right; a bad status is about the byte after that. */
static enum http_head_status feed_head(struct headers_state *s, enum seam_dir dir,
				       const uint8_t *data, size_t len, size_t *used)
{
	struct http_head *head = &s->side[dir].head, before;
	size_t one;

	if (dir == SEAM_DOWN && s->waiting)
		head->answers = asked_connect(s) ? HTTP_CONNECT : next_is_head(s) ? HTTP_HEAD : -1;
	before = *head;
	if (http_head_feed(head, data, len, used) != HTTP_HEAD_BAD)
		return head->status;
	*head = before;
	for (*used = 0; *used < len; ++*used) {
		if (http_head_feed(head, data + *used, 1, &one) != HTTP_HEAD_MORE)
			break;
	}
	return HTTP_HEAD_BAD;
}

/* The next bytes of a body; 1 if malformed. */
static int follow_body(struct headers_state *s, enum seam_dir dir, const uint8_t *data, size_t len,
		       size_t *used)
{
	struct side *side = &s->side[dir];
	size_t chunks;
	bool end;

	if (!http_head_body(&side->head, data, len, used))
		return 1;
	if (side->chunked && (!http_chunks_feed(&side->chunks, data, len, &chunks, &end) ||
			chunks != *used || end != !!side->head.messages))
		return 1;
	if (side->head.messages)
		message_done(s, dir);
	return 0;
}

/* The next bytes of a head; 1 if malformed. */
static int follow_head(struct headers_state *s, enum seam_dir dir, const uint8_t *data, size_t len,
		       uint64_t at, struct editor *e, size_t *used)
{
	struct side *side = &s->side[dir];
	enum http_head_status status = feed_head(s, dir, data, len, used);
	int err = scan(side, data, *used, at, e);

	if (err)
		return err;
	if (status == HTTP_HEAD_DONE)
		return head_done(s, dir, e);
	if (status == HTTP_HEAD_MORE)
		return side->line >= LINE_END;
	err = *used < len ? restore(side, data[*used], at + *used, e) : 0;
	return err ? err : 1;
}

/* 1 if what comes cannot be followed, or negative errno. */
static int follow(struct headers_state *s, enum seam_dir dir, const uint8_t *data, size_t len,
		  struct editor *e)
{
	struct side *side = &s->side[dir];
	uint64_t at = edit_pos(e);
	size_t used;
	int err = 0;

	for (; len && !err; data += used, len -= used, at += used) {
		used = len;
		switch (side->phase) {
		case PHASE_HEAD:
			err = follow_head(s, dir, data, len, at, e, &used);
			break;
		case PHASE_BODY:
			err = follow_body(s, dir, data, len, &used);
			break;
		case PHASE_ASKED:
			/* A client that upgrades waits; none may slip requests through here. */
			s->stray = true;
			err = side->head.parser.method != HTTP_CONNECT;
			break;
		}
	}
	return err;
}

static enum inspect_answer headers_data(void *state, enum seam_dir dir, const uint8_t *data,
					size_t len, bool end, struct editor *e)
{
	struct headers_state *s = state;
	struct side *side = &s->side[dir];
	int err = follow(s, dir, data, len, e);

	if (err < 0) /* half an edit is none */
		return INSPECT_BLOCK;
	/* Some servers take that for the end of the head, which then lacks what is added to it. */
	if (end && dir == SEAM_UP && side->phase == PHASE_HEAD && side->line != LINE_EMPTY && s->block_malformed)
		return INSPECT_BLOCK;
	if (err) {
		s->rec->http.malformed = true;
		if (s->block_malformed)
			return INSPECT_BLOCK;
	}
	if (err || end) {
		side->phase = PHASE_REST;
		side->line = LINE_EMPTY;
		side->touched = false;
	}
	/* without a server there is no request to edit */
	if (err || (end && dir == SEAM_DOWN))
		s->over = true;
	if (side->line == LINE_NAME || (side->line == LINE_LAST_LF && side->edit && side->add_len))
		edit_hold(e, side->line_at);
	if (s->side[SEAM_UP].touched || s->side[SEAM_DOWN].touched)
		return INSPECT_MIDST;
	return s->over ? INSPECT_LET_GO : INSPECT_MORE;
}

static void headers_close(void *state)
{
	(void)state;
}

const struct inspector inspector_headers = {
	.name = "headers",
	.help = "adds, sets and removes fields of HTTP/1 requests and responses",
	.edits = true,
	.size = headers_size,
	.open = headers_open,
	.data = headers_data,
	.close = headers_close,
};
