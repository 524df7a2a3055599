/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the host of an HTTP/1 request head (RFC 9112) that is whole, of a usual method, with a
 * path as its target and one Host. Refuses all that user/http_head.c refuses, and more.
 */
#ifndef SEAM_BPF_REQUEST_H
#define SEAM_BPF_REQUEST_H

#include "first.h"

/* Up to eight bytes of text as a number. */
#define TEXT3(a, b, c) ((__u64)(a) << 16 | (b) << 8 | (c))
#define TEXT4(a, b, c, d) (TEXT3(a, b, c) << 8 | (d))
#define TEXT8(a, b, c, d, e, f, g, h) (TEXT4(a, b, c, d) << 32 | TEXT4(e, f, g, h))

enum request_state {
	REQUEST_METHOD,
	REQUEST_TARGET,
	REQUEST_NAME,	   /* of a field */
	REQUEST_VALUE,
	REQUEST_HOST,
	REQUEST_PORT,
	REQUEST_LENGTH,	   /* of the body: digits */
	REQUEST_LF,
	REQUEST_END_LF,
	REQUEST_DONE,
	REQUEST_ODD,
};

static __always_inline bool is_digit(__u32 c)
{
	return c - '0' < 10;
}

static __always_inline __u32 to_lower(__u32 c)
{
	return c - 'A' < 26 ? c | 0x20 : c;
}

/* A character of a host name as people look them up; in lower case. */
static __always_inline bool is_label(__u32 c)
{
	return is_digit(c) || c - 'a' < 26 || c == '-' || c == '_';
}

static __always_inline bool is_method(__u64 text, __u32 n)
{
	switch (n) {
	case 3:
		return text == TEXT3('g', 'e', 't') || text == TEXT3('p', 'u', 't');
	case 4:
		return text == TEXT4('h', 'e', 'a', 'd') || text == TEXT4('p', 'o', 's', 't');
	case 5:
		return text == TEXT8(0, 0, 0, 'p', 'a', 't', 'c', 'h');
	case 6:
		return text == TEXT8(0, 0, 'd', 'e', 'l', 'e', 't', 'e');
	case 7:
		return text == TEXT8(0, 'o', 'p', 't', 'i', 'o', 'n', 's');
	}
	return false;
}

/* "HTTP/1.0" or "HTTP/1.1", and the end of the line. */
static __always_inline bool is_version(const struct first_room *room, __u32 at)
{
	return first8(room, at) == 'H' && first8(room, at + 1) == 'T' &&
	       first8(room, at + 2) == 'T' && first8(room, at + 3) == 'P' &&
	       first8(room, at + 4) == '/' && first8(room, at + 5) == '1' &&
	       first8(room, at + 6) == '.' && (first8(room, at + 7) & ~1U) == '0' &&
	       first8(room, at + 8) == '\r' && first8(room, at + 9) == '\n';
}

/* A field's name is complete: the state for its value. */
static __always_inline __u32 request_field(struct request_walk *w)
{
	switch (w->n) {
	case 0:
		return REQUEST_ODD;
	case 4:
		if (w->last != TEXT4('h', 'o', 's', 't'))
			return REQUEST_VALUE;
		return w->host_at ? REQUEST_ODD : REQUEST_HOST;
	case 14: /* content-length */
		if (w->last != TEXT8('t', '-', 'l', 'e', 'n', 'g', 't', 'h'))
			return REQUEST_VALUE;
		return w->has_length ? REQUEST_ODD : REQUEST_LENGTH;
	case 17: /* transfer-encoding */
		return w->last == TEXT8('e', 'n', 'c', 'o', 'd', 'i', 'n', 'g') ? REQUEST_ODD :
										 REQUEST_VALUE;
	}
	return REQUEST_VALUE;
}

static __always_inline __u32 request_byte(const struct first_room *room, struct request_walk *w,
					  __u32 c)
{
	switch (w->state) {
	case REQUEST_METHOD:
		if (c == ' ' && is_method(w->last, w->n)) {
			w->target_at = w->at + 1;
			return REQUEST_TARGET;
		}
		/* capitals only: the case matters */
		return c - 'A' < 26 && w->n < 8 ? REQUEST_METHOD : REQUEST_ODD;
	case REQUEST_TARGET:
		if (c == ' ' && w->n && w->at + 11 <= w->len && is_version(room, w->at + 1)) {
			w->target_len = w->n;
			w->at += 10;
			return REQUEST_NAME;
		}
		/* origin-form: nothing else in it states a host, or what may be taken for one */
		return c <= ' ' || c >= 0x7f || c == '#' || (!w->n && c != '/') ? REQUEST_ODD :
										   REQUEST_TARGET;
	case REQUEST_NAME:
		if (c == ':')
			return request_field(w);
		if (c == '\r' && !w->n)
			return REQUEST_END_LF;
		return is_label(to_lower(c)) ? REQUEST_NAME : REQUEST_ODD;
	case REQUEST_VALUE:
		if (c == '\r')
			return REQUEST_LF;
		return (c < ' ' && c != '\t') || c >= 0x7f ? REQUEST_ODD : REQUEST_VALUE;
	case REQUEST_HOST:
		if (c == ' ' && !w->host_at)
			return REQUEST_HOST;
		if ((c == '\r' || c == ':') && w->host_at) {
			w->host_len = w->at - w->host_at;
			w->port = 0;
			return c == ':' ? REQUEST_PORT : REQUEST_LF;
		}
		if (!is_label(to_lower(c)) && c != '.')
			return REQUEST_ODD;
		if (!w->host_at)
			w->host_at = w->at;
		return REQUEST_HOST;
	case REQUEST_PORT:
		if (c == '\r' && w->n)
			return REQUEST_LF;
		w->port = w->port * 10 + c - '0';
		return is_digit(c) && w->n < 5 && w->port < 65536 ? REQUEST_PORT : REQUEST_ODD;
	case REQUEST_LENGTH:
		if (c == ' ' && !w->has_length)
			return REQUEST_LENGTH;
		if (c == '\r' && w->has_length)
			return REQUEST_LF;
		w->has_length = true;
		return is_digit(c) && w->n < 10 ? REQUEST_LENGTH : REQUEST_ODD;
	case REQUEST_LF:
		return c == '\n' ? REQUEST_NAME : REQUEST_ODD;
	case REQUEST_END_LF:
		return c == '\n' ? REQUEST_DONE : REQUEST_ODD;
	}
	return REQUEST_ODD;
}

static long request_step(__u32 i, struct first_step *s)
{
	struct request_walk *w = &s->room->request;
	__u32 next, c;

	if (w->at >= w->len)
		return 1;
	c = first8(s->room, w->at);
	next = request_byte(s->room, w, c);
	w->at++;
	if (next == w->state) {
		w->n++;
		w->last = w->last << 8 | to_lower(c);
		return 0;
	}
	w->state = next;
	w->n = 0;
	w->last = 0;
	return next >= REQUEST_DONE;
}

/* False: not settled; it may still be a request. */
static __noinline bool request_read(struct first *f)
{
	struct first_step step = { f->room };
	struct request_walk *w;

	if (!f->room)
		return false;
	w = &f->room->request;
	__builtin_memset(w, 0, sizeof(*w));
	w->len = f->len;
	bpf_loop(FIRST_MAX, request_step, &step, 0);
	if (w->state != REQUEST_DONE || !w->host_len)
		return false;
	f->name_at = w->host_at;
	f->name_len = w->host_len;
	f->target_at = w->target_at;
	f->target_len = w->target_len;
	f->proto = PROTO_HTTP;
	return true;
}

#endif
