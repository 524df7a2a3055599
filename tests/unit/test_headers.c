// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The headers inspector: what comes out for what comes in, written out by hand,
 * however the input is cut.
 */
#include "edited.h"
#include "header_edits.h"
#include "http_head.h"
#include "tap.h"

/* What the inspector may keep on the box: a name, its colon, the last line's CR. */
#define HELD_MAX HEADER_NAME_MAX

static struct header_edits request = {
	.remove = (char *[]){ "Cookie", "X-Forwarded-For" },
	.n_remove = 2,
	.add = (struct header_field[]){ { "X-Forwarded-For", "$client" }, { "X-Seam", "1" } },
	.n_add = 2,
};
static struct header_edits response = {
	.remove = (char *[]){ "server" },
	.n_remove = 1,
	.add = (struct header_field[]){ { "Via", "seam $server:$server_port" } },
	.n_add = 1,
};

#define UP_ADD "X-Forwarded-For: 192.0.2.1\r\nX-Seam: 1\r\n"
#define DOWN_ADD "Via: seam 198.51.100.7:80\r\n"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define EMPTY "Content-Length: 0\r\n"
#define UPGRADE "Connection: Upgrade\r\nUpgrade: websocket\r\n"

#define U SEAM_UP
#define D SEAM_DOWN

/* One direction's bytes, and what they become. */
struct part {
	enum seam_dir dir;
	const char *in, *out;
};

struct conversation {
	const char *name;
	struct part parts[8];
	enum inspect_answer answer;
	uint32_t requests, responses;
	bool malformed;
};

#define SAME(dir, text) { dir, text, text }
#define CHUNKED_POST { U, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", \
			  "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" UP_ADD "\r\n" }

static const struct conversation conversations[] = {
	{ "a request and its response",
	  { { U, GET "\r\n", GET UP_ADD "\r\n" },
	    { D, OK "Content-Length: 2\r\n\r\nok", OK "Content-Length: 2\r\n" DOWN_ADD "\r\nok" } },
	  INSPECT_MORE, 1, 1, false },
	{ "removed in any case, first, amid and last",
	  { { U, "GET / HTTP/1.1\r\ncookie: a\r\nHost: a\r\nCOOKIE:b\r\nA: b\r\nx-forwarded-for:\r\n\r\n",
	      GET "A: b\r\n" UP_ADD "\r\n" },
	    { D, OK "Server: x\r\n" EMPTY "\r\n", OK EMPTY DOWN_ADD "\r\n" } },
	  INSPECT_MORE, 1, 1, false },
	{ "names that begin like it, or end so",
	  { { U, GET "Cookie2: a\r\nCook: b\r\nC: c\r\nX-Cookie: d\r\nCookies: e\r\nX-Forwarded: f\r\n\r\n",
	      GET "Cookie2: a\r\nCook: b\r\nC: c\r\nX-Cookie: d\r\nCookies: e\r\nX-Forwarded: f\r\n"
	      UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "values with names in them",
	  { { U, GET "A: Cookie: b\r\nB: :\r\n\r\n", GET "A: Cookie: b\r\nB: :\r\n" UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "a removed field folded goes with its folds",
	  { { U, "GET / HTTP/1.1\r\nCookie: a\r\n b\r\n\tCookie: c\r\nA: b\r\n Cookie: d\r\n\r\n",
	      "GET / HTTP/1.1\r\nA: b\r\n Cookie: d\r\n" UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "another field's folds stay",
	  { { U, GET "A: b\r\n Cookie: d\r\nCookie: e\r\n f\r\n \r\n\r\n",
	      GET "A: b\r\n Cookie: d\r\n" UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "bare LF",
	  { { U, "GET / HTTP/1.1\nHost: a\nCookie: b\n c\nD: e\n\n",
	      "GET / HTTP/1.1\nHost: a\nD: e\n" UP_ADD "\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "no fields at all",
	  { { U, "\r\n\nGET / HTTP/1.1\r\n\r\n", "\r\n\nGET / HTTP/1.1\r\n" UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "a body that looks like a head",
	  { { U, "POST / HTTP/1.1\r\nContent-Length: 37\r\n\r\nGET / HTTP/1.1\r\nCookie: a\r\nB: cde\r\n\r\n",
	      "POST / HTTP/1.1\r\nContent-Length: 37\r\n" UP_ADD
	      "\r\nGET / HTTP/1.1\r\nCookie: a\r\nB: cde\r\n\r\n" },
	    { U, GET "Cookie: a\r\n\r\n", GET UP_ADD "\r\n" } },
	  INSPECT_MORE, 2, 0, false },
	{ "chunks, with a trailer",
	  { { U, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCookie: a\r\n\r\n"
	      "b;x=y\r\nCookie: a\r\n\r\n0\r\nCookie: b\r\n\r\n",
	      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" UP_ADD
	      "\r\nb;x=y\r\nCookie: a\r\n\r\n0\r\nCookie: b\r\n\r\n" },
	    { U, GET "Cookie: a\r\n\r\n", GET UP_ADD "\r\n" } },
	  INSPECT_MORE, 2, 0, false },
	{ "kept alive",
	  { { U, GET "\r\n", GET UP_ADD "\r\n" },
	    { D, OK EMPTY "\r\n", OK EMPTY DOWN_ADD "\r\n" },
	    { U, "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
	      "PUT / HTTP/1.1\r\nContent-Length: 3\r\n" UP_ADD "\r\nabc" },
	    { D, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n" DOWN_ADD "\r\n" } },
	  INSPECT_MORE, 2, 2, false },
	{ "pipelined, a HEAD among them",
	  { { U, GET "\r\nHEAD / HTTP/1.1\r\nCookie: a\r\n\r\n" GET "\r\n",
	      GET UP_ADD "\r\nHEAD / HTTP/1.1\r\n" UP_ADD "\r\n" GET UP_ADD "\r\n" },
	    { D, OK "Content-Length: 1\r\n\r\nx" OK "Content-Length: 9\r\n\r\n" OK EMPTY "\r\n",
	      OK "Content-Length: 1\r\n" DOWN_ADD "\r\nx" OK "Content-Length: 9\r\n" DOWN_ADD "\r\n"
	      OK EMPTY DOWN_ADD "\r\n" } },
	  INSPECT_MORE, 3, 3, false },
	{ "interim responses are left alone",
	  { { U, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
	      "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" UP_ADD "\r\n" },
	    SAME(D, "HTTP/1.1 100 Continue\r\n\r\n"),
	    SAME(D, "HTTP/1.1 103 Early Hints\r\nServer: x\r\nLink: y\r\n\r\n"),
	    SAME(U, "ok"),
	    { D, OK EMPTY "Server: x\r\n\r\n", OK EMPTY DOWN_ADD "\r\n" } },
	  INSPECT_MORE, 1, 1, false },
	{ "CONNECT, accepted",
	  { { U, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nCookie: x\r\n\r\n",
	      "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" UP_ADD "\r\n" },
	    SAME(U, GET "Cookie: a\r\n\r\n"),
	    { D, OK "Server: x\r\n\r\n", OK DOWN_ADD "\r\n" },
	    SAME(D, OK "Server: x\r\n\r\n"), SAME(U, GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 1, 1, false },
	{ "CONNECT, declined",
	  { { U, "CONNECT a:1 HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n" UP_ADD "\r\n" },
	    { D, "HTTP/1.1 407 No\r\n" EMPTY "\r\n", "HTTP/1.1 407 No\r\n" EMPTY DOWN_ADD "\r\n" },
	    { U, GET "Cookie: a\r\n\r\n", GET UP_ADD "\r\n" } },
	  INSPECT_MORE, 2, 1, false },
	{ "CONNECT, declined when something had come behind it",
	  { { U, "CONNECT a:1 HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n" UP_ADD "\r\n" },
	    SAME(U, GET "Cookie: a\r\n\r\n"),
	    { D, "HTTP/1.1 407 No\r\n" EMPTY "\r\n", "HTTP/1.1 407 No\r\n" EMPTY DOWN_ADD "\r\n" },
	    SAME(U, GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 1, 1, true },
	{ "Upgrade, accepted",
	  { { U, GET UPGRADE "\r\n", GET UPGRADE UP_ADD "\r\n" },
	    SAME(D, "HTTP/1.1 101 Switching\r\n" UPGRADE "Server: x\r\n\r\n"),
	    SAME(D, "\x81\x02hi"), SAME(U, GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 1, 1, false },
	{ "Upgrade, declined",
	  { { U, GET UPGRADE "\r\n", GET UPGRADE UP_ADD "\r\n" },
	    { D, OK "Content-Length: 1\r\n\r\n", OK "Content-Length: 1\r\n" DOWN_ADD "\r\n" },
	    { U, GET "Cookie: a\r\n\r\n", GET UP_ADD "\r\n" },
	    { D, "x" OK EMPTY "\r\n", "x" OK EMPTY DOWN_ADD "\r\n" } },
	  INSPECT_MORE, 2, 2, false },
	{ "Upgrade, and a request right behind it",
	  { { U, GET UPGRADE "\r\n" GET "Cookie: a\r\n\r\n",
	      GET UPGRADE UP_ADD "\r\n" GET "Cookie: a\r\n\r\n" } },
	  INSPECT_LET_GO, 1, 0, true },
	{ "Upgrade behind another request",
	  { { U, GET "\r\n" GET UPGRADE "\r\n", GET UP_ADD "\r\n" GET UPGRADE UP_ADD "\r\n" },
	    { D, OK EMPTY "\r\n", OK EMPTY DOWN_ADD "\r\n" },
	    SAME(D, "HTTP/1.1 101 Switching\r\n" UPGRADE "Server: x\r\n\r\n\x81\x02hi") },
	  INSPECT_LET_GO, 2, 2, false },
	{ "101 to who did not ask",
	  { { U, GET "\r\n", GET UP_ADD "\r\n" },
	    SAME(D, "HTTP/1.1 101 Switching\r\nServer: x\r\n\r\n") },
	  INSPECT_LET_GO, 1, 1, true },
	{ "a server that closes after its response",
	  { { U, GET "\r\n", GET UP_ADD "\r\n" },
	    { D, OK "Connection: close\r\nServer: x\r\n\r\nServer: x\r\n",
	      OK "Connection: close\r\n" DOWN_ADD "\r\nServer: x\r\n" } },
	  INSPECT_LET_GO, 1, 0, false },
	{ "... amid a head of the client's, which is finished first",
	  { { U, GET "\r\nGET / HTTP/1.1\r\nHost: b\r\nCookie: a",
	      GET UP_ADD "\r\nGET / HTTP/1.1\r\nHost: b\r\n" },
	    { D, "HTTP/1.0 200 OK\r\n" EMPTY "\r\n", "HTTP/1.0 200 OK\r\n" EMPTY DOWN_ADD "\r\n" },
	    { U, "bc\r\n d\r\n\r\n", UP_ADD "\r\n" },
	    SAME(U, GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 2, 1, false },
	{ "a server that speaks unasked",
	  { { D, "HTTP/1.1 408 Timeout\r\nServer: x\r\n" EMPTY "\r\n",
	      "HTTP/1.1 408 Timeout\r\n" EMPTY DOWN_ADD "\r\n" },
	    SAME(U, GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 0, 1, false },
	{ "not HTTP", { SAME(U, "SSH-2.0-x\r\nCookie: a\r\n\r\n") }, INSPECT_LET_GO, 0, 0, true },
	{ "an answer that is not HTTP",
	  { { U, GET "\r\n", GET UP_ADD "\r\n" }, SAME(D, "HTTX/1.1 200 OK\r\nServer: x\r\n\r\n") },
	  INSPECT_LET_GO, 1, 0, true },
	{ "malformed behind a removed field",
	  { { U, GET "Cookie: a\r\nB : c\r\nCookie: d\r\n\r\n", GET "B : c\r\nCookie: d\r\n\r\n" } },
	  INSPECT_LET_GO, 0, 0, true },
	{ "malformed within a removed field: what is left keeps its name",
	  { { U, GET "Cookie: a\rContent-Length: 5\r\n\r\n", GET "Cookie:Content-Length: 5\r\n\r\n" } },
	  INSPECT_LET_GO, 0, 0, true },
	{ "malformed within a fold of a removed field",
	  { { U, GET "Cookie: a\r\n b\x01: c\r\n\r\n", GET "Cookie:\x01: c\r\n\r\n" } },
	  INSPECT_LET_GO, 0, 0, true },
	{ "Connection names an added field: edited nevertheless, and what comes after it",
	  { { U, GET "Connection: x,\r\n x_SEAM\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n" GET "X-Forwarded-For: 6.6.6.6\r\n\r\n",
	      GET "Connection: x,\r\n x_SEAM\r\n" UP_ADD "\r\n" GET UP_ADD "\r\n" } },
	  INSPECT_MORE, 2, 0, false },
	{ "Connection names one that is removed, and what begins like one that is added",
	  { { U, GET "Connection: Cookie, X-Seam2, X-Sea\r\nConnection2: X-Seam\r\nConn: X-Seam\r\nCookie: a\r\n\r\n",
	      GET "Connection: Cookie, X-Seam2, X-Sea\r\nConnection2: X-Seam\r\nConn: X-Seam\r\n" UP_ADD "\r\n" } },
	  INSPECT_MORE, 1, 0, false },
	{ "malformed at the end: nothing is added",
	  { SAME(U, "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc") },
	  INSPECT_LET_GO, 0, 0, true },
	{ "chunks in HTTP/1.0",
	  { SAME(U, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") },
	  INSPECT_LET_GO, 0, 0, true },
	{ "a chunk's size that ends in CR alone",
	  { CHUNKED_POST,
	    SAME(U, "1\rXa\r\n0\r\n\r\n" GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 0, 0, true },
	{ "an extension of a chunk that ends in LF alone",
	  { CHUNKED_POST,
	    SAME(U, "1;x\na\r\n0\r\n\r\n" GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 0, 0, true },
	{ "a trailer that looks like framing, and ends in LF alone",
	  { CHUNKED_POST,
	    SAME(U, "0\r\nTransfer-Encoding: x\n\r\n" GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 0, 0, true },
	{ "chunk data longer than its size",
	  { CHUNKED_POST,
	    SAME(U, "1\r\nabc0\r\n\r\n" GET "Cookie: a\r\n\r\n") },
	  INSPECT_LET_GO, 0, 0, true },
};

static struct flow_key test_key(void)
{
	return edited_key("192.0.2.1", 40000, "198.51.100.7", 80);
}

static bool is(const struct stream *s, const char *expected, size_t len, const char *which)
{
	if (s->len == len && (!len || !memcmp(s->data, expected, len)))
		return true;
	diag("%s: expected %zu bytes, found %zu:", which, len, s->len);
	diag("%.*s", (int)s->len, (const char *)s->data);
	return false;
}

/* All parts in order; part `which` has a cut at `at`, all of them are in pieces of `step`. */
static bool spoken(const struct conversation *c, size_t which, size_t at, size_t step)
{
	struct inspect_setup setup = { .request = &request, .response = &response };
	struct flow_key key = test_key();
	struct stream expected[2] = { 0 };
	struct edited x;
	bool pass;

	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, NULL, 0, false);
	for (size_t i = 0; i < 8 && c->parts[i].in; i++) {
		const struct part *p = &c->parts[i];
		size_t len = strlen(p->in);

		for (size_t j = 0, n; j < len; j += n) {
			n = i == which && j < at ? at - j : step;
			if (n > len - j)
				n = len - j;
			edited_feed(&x, p->dir, p->in + j, n, false);
		}
		stream_put(&expected[p->dir], p->out, strlen(p->out));
	}
	pass = x.answer == c->answer && x.rec.http.requests == c->requests &&
	       x.rec.http.responses == c->responses && x.rec.http.malformed == c->malformed &&
	       x.held <= HELD_MAX;
	if (!pass)
		diag("part %zu cut at %zu, step %zu: answer %d, messages %u/%u, malformed %d, held %zu",
		     which, at, step, x.answer, x.rec.http.requests, x.rec.http.responses,
		     x.rec.http.malformed, x.held);
	pass = is(&x.dir[SEAM_UP].out, (char *)expected[SEAM_UP].data, expected[SEAM_UP].len, "up") &&
	       is(&x.dir[SEAM_DOWN].out, (char *)expected[SEAM_DOWN].data, expected[SEAM_DOWN].len,
		  "down") && pass;
	edited_close(&x);
	free(expected[0].data);
	free(expected[1].data);
	return pass;
}

static void test_conversations(void)
{
	for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++) {
		const struct conversation *c = &conversations[i];
		bool pass = true;

		ok(spoken(c, 0, 0, SIZE_MAX), "%s: whole", c->name);
		for (size_t step = 1; step < 8 && pass; step++)
			pass = spoken(c, 0, 0, step);
		ok(pass, "%s: in pieces of 1 to 7 bytes", c->name);
		for (size_t p = 0; p < 8 && c->parts[p].in && pass; p++) {
			for (size_t at = 1; at < strlen(c->parts[p].in) && pass; at++)
				pass = spoken(c, p, at, SIZE_MAX);
		}
		ok(pass, "%s: cut in two anywhere", c->name);
	}
}

static void test_ends(void)
{
	struct inspect_setup setup = { .request = &request, .response = &response };
	struct flow_key key = test_key();
	struct edited x;

	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, GET "Cook", strlen(GET "Cook"), false);
	/* Let go here, a field that comes after would not be removed, nor the new one added. */
	ok(x.answer == INSPECT_MIDST && x.dir[SEAM_UP].queue.len == 4, "the begin of a name is held");
	edited_feed(&x, SEAM_UP, NULL, 0, true);
	ok(x.answer == INSPECT_MORE && is(&x.dir[SEAM_UP].out, GET "Cook", strlen(GET "Cook"), "up"),
	   "the client's end lets it go");
	edited_feed(&x, SEAM_DOWN, NULL, 0, true);
	ok(x.answer == INSPECT_LET_GO && !x.rec.http.malformed, "the server's end is the end");
	edited_close(&x);

	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, GET "Cookie: a", strlen(GET "Cookie: a"), false);
	ok(x.answer == INSPECT_MIDST, "not to be let go amid a field that is being removed");
	edited_feed(&x, SEAM_DOWN, OK, strlen(OK), false);
	ok(x.answer == INSPECT_MIDST, "... whatever comes the other way");
	edited_feed(&x, SEAM_UP, "\r\n", 2, false);
	ok(x.answer == INSPECT_MIDST, "... nor before what is added instead");
	edited_feed(&x, SEAM_UP, "\r\n", 2, false);
	edited_feed(&x, SEAM_DOWN, EMPTY "\r\n", strlen(EMPTY "\r\n"), false);
	ok(x.answer == INSPECT_MORE, "... but then");
	edited_close(&x);

	setup.fail_block = true;
	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, GET "\r\nGET / HTTP/2.0", strlen(GET "\r\nGET / HTTP/2.0"), false);
	ok(x.answer == INSPECT_BLOCK && x.rec.http.malformed, "fail = block blocks what is malformed");
	edited_close(&x);

	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, GET "Connection: close,\r\n x_SEAM\r\n", strlen(GET "Connection: close,\r\n x_SEAM\r\n"), false);
	ok(x.answer == INSPECT_BLOCK, "... and what names an added field in Connection, for the next proxy to remove");
	edited_close(&x);
}

/* A head that becomes too long with the first byte of a fold. */
static void test_long(void)
{
	static const char start[] = GET "Cookie: ";
	struct inspect_setup setup = { .request = &request };
	struct flow_key key = test_key();
	char *head = malloc(HTTP_HEAD_MAX);
	struct edited x;

	memset(head, 'x', HTTP_HEAD_MAX);
	memcpy(head, start, sizeof(start) - 1);
	memcpy(head + HTTP_HEAD_MAX - 2, "\r\n", 2);
	edited_open(&x, &inspector_headers, &setup, &key);
	edited_feed(&x, SEAM_UP, head, HTTP_HEAD_MAX, false);
	ok(x.answer == INSPECT_MIDST && is(&x.dir[SEAM_UP].out, GET, strlen(GET), "up"),
	   "a field of nearly 64 KiB is removed while it comes");
	edited_feed(&x, SEAM_UP, " d\r\n\r\n", 6, false);
	ok(x.answer == INSPECT_LET_GO && is(&x.dir[SEAM_UP].out, GET "Cookie: d\r\n\r\n",
					    strlen(GET "Cookie: d\r\n\r\n"), "up"),
	   "a fold of it that is too much keeps its name");
	edited_close(&x);
	free(head);
}

/* More requests ahead of their responses than can be told apart. */
static void test_deep(void)
{
	struct inspect_setup setup = { .request = &request };
	struct flow_key key = test_key();
	unsigned int n = 0, answers = 0;
	struct edited x;

	edited_open(&x, &inspector_headers, &setup, &key);
	for (; n < 1024 && x.answer == INSPECT_MORE; n++)
		edited_feed(&x, SEAM_UP, "HEAD / HTTP/1.1\r\n\r\n", 19, false);
	ok(x.answer == INSPECT_MORE && n == 1024, "1024 requests without a response");
	for (; answers < 1000 && x.answer == INSPECT_MORE; answers++)
		edited_feed(&x, SEAM_DOWN, OK "Content-Length: 9\r\n\r\n", 38, false);
	ok(x.answer == INSPECT_MORE && x.rec.http.responses == 1000, "... which then come");
	for (; n < 2024 && x.answer == INSPECT_MORE; n++)
		edited_feed(&x, SEAM_UP, GET "\r\n", strlen(GET "\r\n"), false);
	ok(x.answer == INSPECT_MORE && n == 2024 && !x.rec.http.malformed, "... and as many again");
	edited_feed(&x, SEAM_UP, GET "\r\n" GET "\r\n", 2 * strlen(GET "\r\n"), false);
	ok(x.answer == INSPECT_LET_GO && x.rec.http.malformed, "one more cannot be followed");
	edited_close(&x);
}

static void test_counts(void)
{
	struct inspect_setup setup = { .request = &request };
	struct flow_key key = test_key();
	struct edited x;

	edited_open(&x, &inspector_headers, &setup, &key);
	x.rec.http.requests = 2; /* by inspector http, which has seen the same piece */
	edited_feed(&x, SEAM_UP, GET "\r\n", strlen(GET "\r\n"), false);
	ok(x.rec.http.requests == 2, "no message is counted twice");
	edited_feed(&x, SEAM_UP, GET "\r\n" GET "\r\n", 2 * strlen(GET "\r\n"), false);
	ok(x.rec.http.requests == 3, "... and none is left out");
	edited_close(&x);
}

static void test_text(void)
{
	static const struct {
		const char *value, *text;
	} values[] = {
		{ "", "A: \r\n" },
		{ "$$5", "A: $5\r\n" },
		{ "for=\"[$client]:$client_port\"", "A: for=\"[2001:db8::1]:65535\"\r\n" },
		{ "$client $server$server_port", "A: 2001:db8::1 2001:db8:2::2443\r\n" },
	};
	struct flow_key key = edited_key("2001:db8::1", 65535, "2001:db8:2::2", 443);

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct header_field field = { "A", (char *)values[i].value };
		struct header_edits e = { .add = &field, .n_add = 1 };
		char text[256];
		size_t n = header_text(&e, &key, text);

		if (!ok(!header_value_check(field.value) && n == strlen(values[i].text) &&
				!memcmp(text, values[i].text, n) && n <= header_text_max(&e),
			"value \"%s\"", values[i].value))
			diag("%.*s", (int)n, text);
	}
	ok(header_value_check("$clients") && header_value_check("$") && header_value_check("$ client") &&
		   header_value_check(" a") && header_value_check("a\t") && header_value_check("a\nb") &&
		   header_value_check("a\r") && header_value_check("\x7f"),
	   "values that are none");
	ok(header_name_check("") && header_name_check("A b") && header_name_check("A:") &&
		   header_name_check("content-LENGTH") && header_name_check("TE") &&
		   header_name_check("X\xc3") && !header_name_check("X-A_b.c~"),
	   "names that are none, and that frame");
}

/* One that went on where the other ended was compared with what lies behind it. */
static void test_same_name(void)
{
	ok(header_same_name("X-Seam", "x.sEAM", 6) && header_same_name("X_Seam", "X-Seam", 6), "names that are one to CGI");
	ok(!header_same_name("Cookie", "Cookie!", 7) && !header_same_name("Cookie", "Cookies", 7) &&
		   !header_same_name("X-A", "XaA", 3), "names that are not");
}

int main(void)
{
	test_same_name();
	test_conversations();
	test_ends();
	test_long();
	test_deep();
	test_counts();
	test_text();
	return tap_end();
}
