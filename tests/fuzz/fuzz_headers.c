// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Any two streams through the headers inspector. 0xff in the input changes the
 * direction, beginning with the client's. However the input is cut, the same
 * comes out; and of requests what an editor of whole heads makes of them.
 */
#include "edited.h"
#include "fuzz.h"
#include "header_edits.h"
#include "http_head.h"

#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct header_edits edits = {
	.remove = (char *[]){ "Cookie", "Co", "X-Seam" },
	.n_remove = 3,
	.add = (struct header_field[]){ { "X-Seam", "$client:$client_port" }, { "A", "" } },
	.n_add = 2,
};
static const char added[] = "X-Seam: 192.0.2.1:40000\r\nA: \r\n";

static const struct inspect_setup setup = { .request = &edits, .response = &edits };

static void feed(struct edited *x, enum seam_dir dir, const uint8_t *data, size_t len,
		 uint64_t *seed)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = seed ? fuzz_piece(seed, len - i) : len;
		edited_feed(x, dir, data + i, n, false);
	}
}

/* Names that are one to CGI: whatever is not a letter or digit is like a hyphen there. */
static bool same(uint8_t a, uint8_t b)
{
	if (isalnum(a) || isalnum(b))
		return tolower(a) == tolower(b);
	return b == '-' && a > ' ' && a < 127 && a != ':';
}

static bool removed(const uint8_t *line, size_t len)
{
	for (size_t i = 0; i < edits.n_remove; i++) {
		size_t n = strlen(edits.remove[i]);

		size_t k = 0;

		while (k < n && k < len && same(line[k], edits.remove[i][k]))
			k++;
		if (k == n && len > n && line[n] == ':')
			return true;
	}
	return false;
}

/* A whole and right head, edited. */
static void edit_head(struct stream *out, const uint8_t *head, size_t len)
{
	bool start = true, gone = false;

	for (size_t n; len; head += n, len -= n) {
		n = (const uint8_t *)memchr(head, '\n', len) - head + 1;
		if (!start && len == n)
			stream_put(out, added, sizeof(added) - 1);
		if (start || (*head != ' ' && *head != '\t'))
			gone = !start && removed(head, n);
		if (!gone)
			stream_put(out, head, n);
		/* empty lines may come before the first one */
		if (*head != '\r' && *head != '\n')
			start = false;
	}
}

/* What the complete requests at the begin of `in` become; false if there is a CONNECT. */
static bool edit_requests(const struct stream *in, struct stream *out)
{
	const uint8_t *data = in->data;
	size_t len = in->len, used, body;
	struct http_head head;

	while (len) {
		http_head_init(&head, HTTP_REQUEST);
		if (http_head_feed(&head, data, len, &used) != HTTP_HEAD_DONE)
			return true;
		if (head.parser.method == HTTP_CONNECT)
			return false;
		edit_head(out, data, used);
		data += used;
		len -= used;
		if (head.messages)
			continue;
		http_head_body(&head, data, len, &body);
		stream_put(out, data, body);
		data += body;
		len -= body;
	}
	return true;
}

static void run(struct edited *x, const uint8_t *data, size_t size, uint64_t *seed)
{
	struct flow_key key = edited_key("192.0.2.1", 40000, "198.51.100.7", 80);
	struct stream up = { 0 }, expected = { 0 };
	enum seam_dir dir = SEAM_UP;
	bool followed;

	edited_open(x, &inspector_headers, &setup, &key);
	edited_feed(x, SEAM_UP, NULL, 0, false);
	for (size_t n; size; data += n, size -= n, dir = !dir) {
		const uint8_t *mark = memchr(data, 0xff, size);

		n = mark ? (size_t)(mark - data) : size;
		feed(x, dir, data, n, seed);
		if (dir == SEAM_UP)
			stream_put(&up, data, n);
		n += !!mark;
	}
	CHECK(x->held <= HEADER_NAME_MAX);
	followed = x->answer == INSPECT_MORE;
	edited_feed(x, SEAM_UP, NULL, 0, true);
	edited_feed(x, SEAM_DOWN, NULL, 0, true);
	CHECK(!x->state && !x->dir[SEAM_UP].queue.len && !x->dir[SEAM_DOWN].queue.len);
	if (followed && edit_requests(&up, &expected) && expected.len)
		CHECK(x->dir[SEAM_UP].out.len >= expected.len &&
		      !memcmp(x->dir[SEAM_UP].out.data, expected.data, expected.len));
	free(up.data);
	free(expected.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed = fuzz_seed(data, size);
	struct edited whole, pieces;

	run(&whole, data, size, NULL);
	run(&pieces, data, size, &seed);
	for (int dir = 0; dir < 2; dir++) {
		const struct stream *a = &whole.dir[dir].out, *b = &pieces.dir[dir].out;

		CHECK(a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len)));
	}
	CHECK(whole.answer == pieces.answer && !memcmp(&whole.rec, &pieces.rec, sizeof(whole.rec)));
	edited_close(&pieces);
	edited_close(&whole);
	return 0;
}
