// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* HTTP classification and inspector. */
#include <stdlib.h>
#include <string.h>

#include "http_head.h"
#include "inspect.h"
#include "tap.h"

static const struct inspect_setup no_setup;
static char big[2 * HTTP_HEAD_MAX];

static bool text_is(const char *found, const char *expected)
{
	if (!strcmp(found, expected))
		return true;
	diag("expected \"%s\", found \"%s\"", expected, found);
	return false;
}

/* Byte by byte it took a pass over all of it for each; whole or so, the answer is the same. */
static enum classify classify(const void *data, size_t len, struct flow_record *rec)
{
	enum classify whole, next = CLASSIFY_MORE;
	struct flow_record other = { 0 };
	struct http_head h;

	memset(rec, 0, sizeof(*rec));
	whole = http_classify(data, len, rec);
	http_head_init(&h, HTTP_REQUEST);
	for (size_t n = 0; n < len && next == CLASSIFY_MORE; n++)
		next = http_classify_next(&h, (const uint8_t *)data + n, 1, &other);
	if (next != whole || memcmp(rec, &other, sizeof(other)))
		diag("byte by byte: %d, whole: %d", next, whole);
	return next == whole && !memcmp(rec, &other, sizeof(other)) ? whole : (enum classify)-1;
}

/* A request that is one; no shorter prefix says so. */
static void yes(const char *name, const char *head, const char *method, const char *target,
		const char *host)
{
	size_t len = strlen(head);
	struct flow_record rec;
	bool pass = true;

	for (size_t n = 0; n < len && pass; n++)
		pass = classify(head, n, &rec) == CLASSIFY_MORE && !rec.http.seen;
	ok(pass && classify(head, len, &rec) == CLASSIFY_YES && rec.http.seen &&
		   text_is(rec.http.method, method) && text_is(rec.http.target, target) &&
		   text_is(rec.http.host, host),
	   "%s", name);
}

/* Input that is none, known with its byte `at` (from 1) and not before. */
static void no_len(const char *name, const char *data, size_t len, size_t at)
{
	struct flow_record rec;
	size_t n = 0;

	while (n <= len && classify(data, n, &rec) == CLASSIFY_MORE)
		n++;
	if (!ok(n == at && classify(data, n, &rec) == CLASSIFY_NO &&
			classify(data, len, &rec) == CLASSIFY_NO && !rec.http.seen,
		"%s", name))
		diag("expected at %zu, found at %zu of %zu", at, n, len);
}

#define NO(name, data, at) no_len(name, data, sizeof(data) - 1, at)
/* ... known with the last byte */
#define NO_LAST(name, data) no_len(name, data, sizeof(data) - 1, sizeof(data) - 1)

static void test_requests(void)
{
	yes("GET", "GET /a?b=c HTTP/1.1\r\nHost: Example.com\r\n\r\n", "GET", "/a?b=c",
	    "example.com");
	yes("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET", "/", "");
	yes("empty lines before", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", "a");
	yes("bare LF", "POST /x HTTP/1.1\nHost: a\nContent-Length: 5\n\n", "POST", "/x", "a");
	yes("an empty field before Host", "GET / HTTP/1.1\r\nA:\r\nHost: a\r\n\r\n", "GET", "/",
	    "a");
	yes("other names with host in them",
	    "GET / HTTP/1.1\r\nHosts: b\r\nX-Host: c\r\nHost: a\r\nHos: d\r\n\r\n", "GET", "/",
	    "a");
	yes("Host with port", "GET / HTTP/1.1\r\nHost: a.b:8080\r\n\r\n", "GET", "/", "a.b");
	yes("Host with an empty port", "GET / HTTP/1.1\r\nHost: a.b:\r\n\r\n", "GET", "/", "a.b");
	yes("Host with the root's dot", "GET / HTTP/1.1\r\nHost: a.b.:80\r\n\r\n", "GET", "/",
	    "a.b");
	yes("Host in brackets", "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "GET", "/",
	    "2001:db8::1");
	yes("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", "");
	yes("white space around Host", "GET / HTTP/1.1\r\nhOST:\t  a \t\r\n\r\n", "GET", "/", "a");
	yes("Host twice, the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: A\r\n\r\n", "GET", "/",
	    "a");
	yes("Host on a folded line", "GET / HTTP/1.1\r\nHost:\r\n a.b\r\nX: y\r\n\r\n", "GET", "/",
	    "a.b");
	yes("another field folded", "GET / HTTP/1.1\r\nX: y\r\n\tHost: b\r\nHost: a\r\n\r\n", "GET",
	    "/", "a");
	yes("Host before an empty fold", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", "GET", "/", "a");
	yes("absolute form", "GET http://u:p@Example.org:81/x HTTP/1.1\r\n\r\n", "GET",
	    "http://u:p@Example.org:81/x", "example.org");
	yes("absolute form, IPv6", "GET http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET",
	    "http://[::1]/", "::1");
	yes("absolute form, nothing after the authority", "GET http://a?b HTTP/1.1\r\n\r\n", "GET",
	    "http://a?b", "a");
	yes("a URL in the query is no authority",
	    "GET /?u=http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/?u=http://b/", "a");
	yes("CONNECT", "CONNECT a.b:443 HTTP/1.1\r\n\r\n", "CONNECT", "a.b:443", "a.b");
	yes("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*", "a");
	yes("8-bit target", "GET /\xfc HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/.", "a");
}

static void test_not(void)
{
	NO("TLS", "\x16\x03\x01", 1);
	NO("SSH", "SSH-2.0-OpenSSH\r\n", 2);
	NO("SMTP", "HELO a\r\n", 3);
	NO("lower case method", "get / HTTP/1.1\r\n", 1);
	NO("unknown method", "GEX / HTTP/1.1\r\n", 3);
	NO("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3);
	NO("HTTP/2", "GET / HTTP/2.0\r\n\r\n", 12);
	NO("HTTP/0.9", "GET /\r\n", 6);
	NO("another protocol", "GET / HTTQ/1.1\r\n\r\n", 10);
	NO("two spaces before the version", "GET /  HTTP/1.1\r\n\r\n", 7);
	NO("version 1.x", "GET / HTTP/1.x\r\n", 14);
	NO("version 1.10", "GET / HTTP/1.10\r\n", 15);
	NO("NUL in the target", "GET /\0 HTTP/1.1\r\n\r\n", 6);
	NO("bare CR in a field", "GET / HTTP/1.1\r\nA: b\rHost: x\r\n\r\n", 22);
	NO("bare CR at the end", "GET / HTTP/1.1\r\nA: b\r\n\rX", 24);
	NO("bare CR before", "\rGET / HTTP/1.1\r\n", 2);
	NO("control in a value", "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", 21);
	NO("NUL in Host", "GET / HTTP/1.1\r\nHost: a\0.b\r\n\r\n", 24);
	NO("space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 21);
	NO("space in a name", "GET / HTTP/1.1\r\nA b: a\r\n\r\n", 18);
	NO("fold before the first field", "GET / HTTP/1.1\r\n A: b\r\n\r\n", 17);
	NO("no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", 21);
	NO("Host twice, differing", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 36);
	NO_LAST("Host twice, one empty", "GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n");
	NO_LAST("Host folded in its middle", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n");
	NO_LAST("two hosts in one", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
	NO_LAST("path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
	NO_LAST("user in Host", "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n");
	NO_LAST("port over 65535", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n");
	NO_LAST("port of letters", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n");
	NO_LAST("bracket left open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n");
	NO_LAST("something after the bracket", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n");
	NO_LAST("Host is not the target's", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n");
	NO_LAST("length and chunks",
		"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
	NO_LAST("chunked is not the last coding",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n");
}

static void test_limits(void)
{
	static const char start[] = "GET / HTTP/1.1\r\nX: ", long_uri[] = "GET http://u";
	struct flow_record rec;
	size_t n = sizeof(start) - 1;

	memcpy(big, start, n);
	memset(big + n, 'x', sizeof(big) - n);
	memcpy(big + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	ok(classify(big, HTTP_HEAD_MAX, &rec) == CLASSIFY_YES, "a head of 64 KiB");
	memset(big + HTTP_HEAD_MAX - 4, 'x', 4);
	ok(classify(big, HTTP_HEAD_MAX, &rec) == CLASSIFY_MORE &&
		   classify(big, HTTP_HEAD_MAX + 1, &rec) == CLASSIFY_NO,
	   "a longer one is refused at once");
	memset(big, '\n', sizeof(big));
	ok(classify(big, sizeof(big), &rec) == CLASSIFY_NO, "empty lines without end");
	memcpy(big, "GET /", 5);
	memset(big + 5, 'x', 1000);
	memcpy(big + 1005, " HTTP/1.1\r\nHost: a\r\n\r\n", 22);
	ok(classify(big, 1005 + 22, &rec) == CLASSIFY_YES && strlen(rec.http.target) == 255,
	   "a long target is cut");
	n = sizeof(long_uri) - 1;
	memcpy(big, long_uri, n);
	memset(big + n, 'u', 600);
	memcpy(big + n + 600, "@a/ HTTP/1.1\r\n\r\n", 16);
	ok(classify(big, n + 616, &rec) == CLASSIFY_NO,
	   "an authority too long to be read is refused");
	memcpy(big, "GET / HTTP/1.1\r\nHost: ", 22);
	memset(big + 22, 'h', 300);
	memcpy(big + 322, "\r\n\r\n", 4);
	ok(classify(big, 326, &rec) == CLASSIFY_NO, "a Host too long to be one is refused");
}

/* What the inspector must have found after all of up and then all of down. */
struct exchange {
	const char *name, *up, *down;
	enum inspect_answer answer;
	uint16_t status;
	uint32_t requests, responses;
	bool malformed;
};

static enum inspect_answer feed(void *state, enum seam_dir dir, const char *data, size_t cut,
				size_t step)
{
	enum inspect_answer answer = INSPECT_MORE;
	size_t len = strlen(data);

	for (size_t i = 0, n; i < len && answer == INSPECT_MORE; i += n) {
		n = i < cut ? cut - i : step;
		if (n > len - i)
			n = len - i;
		answer = inspector_http.data(state, dir, (const uint8_t *)data + i, n, false, NULL);
	}
	return answer;
}

static bool exchanged(const struct exchange *x, size_t cut_up, size_t cut_down, size_t step)
{
	void *state = calloc(1, inspector_http.size(&no_setup));
	struct flow_record rec = { 0 };
	enum inspect_answer answer;

	if (!state || inspector_http.open(state, &rec, &no_setup, NULL))
		return false;
	answer = feed(state, SEAM_UP, x->up, cut_up, step);
	if (answer == INSPECT_MORE)
		answer = feed(state, SEAM_DOWN, x->down, cut_down, step);
	inspector_http.close(state);
	free(state);
	if (answer == x->answer && rec.http.status == x->status &&
	    rec.http.requests == x->requests && rec.http.responses == x->responses &&
	    rec.http.malformed == x->malformed)
		return true;
	diag("cut %zu/%zu step %zu: answer %d status %u messages %u/%u malformed %d", cut_up,
	     cut_down, step, answer, rec.http.status, rec.http.requests, rec.http.responses,
	     rec.http.malformed);
	return false;
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct exchange exchanges[] = {
	{ "request alone", GET, "", INSPECT_MORE, 0, 1, 0, false },
	{ "response head", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", INSPECT_LET_GO,
	  200, 1, 0, false },
	{ "response head, bare LF", GET, "HTTP/1.0 404 Not Found\nContent-Length: 0\n\n",
	  INSPECT_LET_GO, 404, 1, 1, false },
	{ "response head to the end of the connection", GET, "HTTP/1.0 200 OK\r\n\r\nabc",
	  INSPECT_LET_GO, 200, 1, 0, false },
	{ "half a response head", GET, "HTTP/1.1 200 OK\r\nX: y\r\n\r", INSPECT_MORE, 0, 1, 0,
	  false },
	{ "204", GET, "HTTP/1.1 204 No Content\r\n\r\n", INSPECT_LET_GO, 204, 1, 1, false },
	{ "304 with a length", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	  INSPECT_LET_GO, 304, 1, 1, false },
	{ "HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", INSPECT_LET_GO, 200, 1, 1, false },
	{ "HEAD, and a GET behind it", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET,
	  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", INSPECT_LET_GO, 200, 2, 1, false },
	{ "keep-alive, pipelined", GET GET GET, "", INSPECT_MORE, 0, 3, 0, false },
	{ "body with a length", "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\n" GET GET, "",
	  INSPECT_MORE, 0, 2, 0, false },
	{ "body in chunks",
	  "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1B\r\n" GET
	  "\r\n0\r\nHost: t\r\n\r\n" GET,
	  "", INSPECT_MORE, 0, 2, 0, false },
	{ "chunks not complete",
	  "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "", INSPECT_MORE, 0,
	  0, 0, false },
	{ "100-continue", "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
	  "HTTP/1.1 100 Continue\r\n\r\n", INSPECT_MORE, 0, 0, 0, false },
	{ "interim responses, then the final one", GET,
	  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	  "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
	  INSPECT_LET_GO, 201, 1, 1, false },
	{ "CONNECT, then anything", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01",
	  "", INSPECT_MORE, 0, 1, 0, false },
	{ "CONNECT answered", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01",
	  "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", INSPECT_LET_GO, 200, 1, 1, false },
	{ "Upgrade answered",
	  "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05",
	  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81",
	  INSPECT_LET_GO, 101, 1, 1, false },
	{ "Upgrade declined",
	  "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", INSPECT_LET_GO, 200, 1, 0, false },
	{ "the server speaks first", "", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
	  INSPECT_LET_GO, 408, 0, 1, false },
	{ "not HTTP", "SSH-2.0-x\r\n", "", INSPECT_LET_GO, 0, 0, 0, true },
	{ "an answer that is not HTTP", GET, "220 hello\r\n", INSPECT_LET_GO, 0, 1, 0, true },
	{ "an answer nearly HTTP", GET, "HTTX/1.1 200 OK\r\n\r\n", INSPECT_LET_GO, 0, 1, 0, true },
	{ "status of two digits", GET, "HTTP/1.1 20 OK\r\n\r\n", INSPECT_LET_GO, 0, 1, 0, true },
	{ "second request malformed", GET "\x01\x02", "", INSPECT_LET_GO, 0, 1, 0, true },
	{ "two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "", INSPECT_LET_GO, 0, 0, 0,
	  true },
};

static void test_inspector(void)
{
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		const struct exchange *x = &exchanges[i];
		size_t up = strlen(x->up), down = strlen(x->down);
		bool pass = true;

		ok(exchanged(x, up, down, 1), "%s: whole", x->name);
		ok(exchanged(x, 0, 0, 1), "%s: byte by byte", x->name);
		for (size_t cut = 1; cut < up && pass; cut++)
			pass = exchanged(x, cut, down, up);
		for (size_t cut = 1; cut < down && pass; cut++)
			pass = exchanged(x, up, cut, down);
		ok(pass, "%s: cut in two anywhere", x->name);
	}
}

static void test_bomb(void)
{
	void *state = calloc(1, inspector_http.size(&no_setup));
	struct flow_record rec = { 0 };
	enum inspect_answer answer = INSPECT_MORE;
	size_t n = 0;

	inspector_http.open(state, &rec, &no_setup, NULL);
	feed(state, SEAM_UP, GET, 0, 100);
	feed(state, SEAM_DOWN, "HTTP/1.1 200 OK\r\n", 0, 100);
	while (answer == INSPECT_MORE && n < 100000) {
		answer = inspector_http.data(state, SEAM_DOWN, (const uint8_t *)"A: b\r\n", 6, false, NULL);
		n += 6;
	}
	ok(answer == INSPECT_LET_GO && rec.http.malformed && n <= HTTP_HEAD_MAX,
	   "a response head without end: let go");
	inspector_http.close(state);
	memset(state, 0, inspector_http.size(&no_setup));
	memset(&rec, 0, sizeof(rec));
	inspector_http.open(state, &rec, &no_setup, NULL);
	feed(state, SEAM_UP, GET, 0, 100);
	ok(inspector_http.data(state, SEAM_UP, NULL, 0, true, NULL) == INSPECT_MORE &&
		   inspector_http.data(state, SEAM_DOWN, NULL, 0, true, NULL) == INSPECT_LET_GO &&
		   !rec.http.malformed,
	   "the client's end waits for the response, the server's lets go");
	inspector_http.close(state);
	free(state);
}

static void test_tables(void)
{
	ok(inspector_find("http") == &inspector_http && inspector_find("tls") == &inspector_tls &&
		   inspector_find("pattern") == &inspector_pattern &&
		   inspector_find("count") == &inspector_count && !inspector_find("htt"),
	   "inspectors by name");
}

static void test_count(void)
{
	uint64_t state[8] = { 0 };
	struct flow_record rec = { 0 };

	ok(inspector_count.size(&no_setup) <= sizeof(state) &&
		   !inspector_count.open(state, &rec, &no_setup, NULL) &&
		   inspector_count.data(state, SEAM_UP, (const uint8_t *)"abc", 3, false, NULL) ==
			   INSPECT_MORE &&
		   inspector_count.data(state, SEAM_DOWN, (const uint8_t *)"de", 2, true, NULL) ==
			   INSPECT_MORE &&
		   inspector_count.data(state, SEAM_UP, NULL, 0, true, NULL) == INSPECT_MORE,
	   "count never decides");
	inspector_count.close(state);
}

int main(void)
{
	test_requests();
	test_not();
	test_limits();
	test_inspector();
	test_bomb();
	test_tables();
	test_count();
	return tap_end();
}
