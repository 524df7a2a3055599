/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs an inspector over the two directions of a flow. Its edits are made as the relay makes
 * them, with the real editor, to an end that takes whatever it is given.
 */
#ifndef SEAM_EDITED_H
#define SEAM_EDITED_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "editor.h"
#include "inspect.h"

struct stream {
	uint8_t *data;
	size_t len, size;
};

struct edited {
	const struct inspector *inspector;
	void *state;			/* NULL: let go, or blocked */
	struct flow_record rec;
	enum inspect_answer answer;	/* the last */
	struct {
		struct editor editor;
		struct stream queue;	/* came in, and still there */
		struct stream out;	/* handed on */
	} dir[2];
	size_t held;			/* the most that was ever held */
};

static inline void stream_put(struct stream *s, const void *data, size_t len)
{
	if (s->len + len > s->size) {
		s->size = 2 * (s->len + len);
		s->data = realloc(s->data, s->size);
		if (!s->data)
			abort();
	}
	if (len)
		memcpy(s->data + s->len, data, len);
	s->len += len;
}

static inline void stream_drop(struct stream *s, size_t n)
{
	if (n > s->len)
		abort();
	s->len -= n;
	if (s->len)
		memmove(s->data, s->data + n, s->len);
}

static inline void edited_open(struct edited *x, const struct inspector *inspector,
			       const struct inspect_setup *setup, const struct flow_key *key)
{
	memset(x, 0, sizeof(*x));
	x->inspector = inspector;
	x->state = calloc(1, inspector->size(setup));
	if (!x->state || inspector->open(x->state, &x->rec, setup, key))
		abort();
	editor_init(&x->dir[0].editor);
	editor_init(&x->dir[1].editor);
}

static inline void edited_gone(struct edited *x)
{
	x->inspector->close(x->state);
	free(x->state);
	x->state = NULL;
	x->dir[0].editor.hold = x->dir[1].editor.hold = UINT64_MAX;
}

static inline void edited_flush(struct edited *x, enum seam_dir dir)
{
	struct editor *e = &x->dir[dir].editor;
	struct stream *queue = &x->dir[dir].queue, *out = &x->dir[dir].out;
	struct edit *edit;
	size_t n;

	do {
		while ((edit = editor_due(e))) {
			stream_put(out, edit->with, edit->len);
			stream_drop(queue, edit->remove);
			editor_advance(e, edit->remove);
			editor_made(e);
		}
		n = editor_untouched(e, queue->len);
		stream_put(out, queue->data, n);
		stream_drop(queue, n);
		editor_advance(e, n);
	} while (n);
	if (queue->len > x->held)
		x->held = queue->len;
}

/* The next bytes of a direction, or its end; after a block nothing passes any more. */
static inline void edited_feed(struct edited *x, enum seam_dir dir, const void *data, size_t len,
			       bool end)
{
	/* allocated to its exact end, so that a sanitizer sees a read beyond it */
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	if (x->answer != INSPECT_BLOCK)
		stream_put(&x->dir[dir].queue, data, len);
	if (x->state) {
		editor_show(&x->dir[dir].editor, len);
		x->answer = x->inspector->data(x->state, dir, copy, len, end, &x->dir[dir].editor);
		if (x->answer == INSPECT_LET_GO || x->answer == INSPECT_BLOCK)
			edited_gone(x);
	}
	if (x->answer != INSPECT_BLOCK)
		edited_flush(x, dir);
	free(copy);
}

static inline void edited_close(struct edited *x)
{
	if (x->state)
		edited_gone(x);
	for (int dir = 0; dir < 2; dir++) {
		editor_free(&x->dir[dir].editor);
		free(x->dir[dir].queue.data);
		free(x->dir[dir].out.data);
	}
}

static inline void edited_address(__u32 addr[4], const char *text)
{
	addr[0] = addr[1] = 0;
	addr[2] = htonl(0xffff);
	if (inet_pton(AF_INET, text, &addr[3]) != 1 && inet_pton(AF_INET6, text, addr) != 1)
		abort();
}

/* A flow's key in the order of the client's packets. */
static inline struct flow_key edited_key(const char *client, uint16_t client_port,
					 const char *server, uint16_t server_port)
{
	struct flow_key key = { .client_port = htons(client_port), .server_port = htons(server_port) };

	edited_address(key.client, client);
	edited_address(key.server, server);
	return key;
}

#endif
