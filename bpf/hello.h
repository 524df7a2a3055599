/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the server name of a TLS ClientHello (RFC 8446 4.1.2) that is whole, in one record.
 * Refuses all that user/tls_hello.c refuses, and more.
 */
#ifndef SEAM_BPF_HELLO_H
#define SEAM_BPF_HELLO_H

#include "first.h"

#define HELLO_EXTENSIONS_MAX 64
#define HELLO_PROTOCOLS_MAX 32

#define EXT_SERVER_NAME 0x0000
#define EXT_SIGNATURE_ALGORITHMS 0x000d
#define EXT_ALPN 0x0010
#define EXT_SUPPORTED_VERSIONS 0x002b
#define EXT_ECH 0xfe0d

static __always_inline bool hello_known(struct first_room *room, __u32 type, __u32 at, __u32 len)
{
	struct hello_walk *w = &room->hello;
	__u32 bit;

	switch (type) {
	case EXT_SERVER_NAME:
		/* One entry, a host name (RFC 6066 3). */
		bit = 1;
		if (len < 6 || first16(room, at) != len - 2 || first8(room, at + 2) ||
		    first16(room, at + 3) != len - 5)
			return false;
		w->name_at = at + 5;
		w->name_len = len - 5;
		break;
	case EXT_SIGNATURE_ALGORITHMS:
		bit = 2;
		if (len && (len < 2 || len % 2 || first16(room, at) != len - 2))
			return false;
		break;
	case EXT_ALPN:
		bit = 4;
		if (!len)
			break;
		if (len < 2 || first16(room, at) != len - 2)
			return false;
		w->alpn_at = at + 2;
		w->alpn_end = at + len;
		break;
	case EXT_SUPPORTED_VERSIONS:
		bit = 8;
		if (len && (len < 3 || !(len % 2) || first8(room, at) != len - 1))
			return false;
		break;
	case EXT_ECH:
		bit = 16;
		break;
	default:
		return true;
	}
	if (w->seen & bit)
		return false;
	w->seen |= bit;
	return true;
}

static long hello_extension(__u32 i, struct first_step *s)
{
	struct hello_walk *w = &s->room->hello;
	__u32 at = w->at, left = w->end - at, len;

	if (!left)
		return 1;
	if (left < 4)
		goto odd;
	len = first16(s->room, at + 2);
	if (len > left - 4 || !hello_known(s->room, first16(s->room, at), at + 4, len))
		goto odd;
	w->at = at + 4 + len;
	return 0;
odd:
	w->odd = true;
	return 1;
}

static long hello_protocol(__u32 i, struct first_step *s)
{
	struct hello_walk *w = &s->room->hello;
	__u32 left = w->alpn_end - w->alpn_at, len;

	if (!left)
		return 1;
	len = first8(s->room, w->alpn_at);
	if (len > left - 1) {
		w->odd = true;
		return 1;
	}
	w->alpn_at += 1 + len;
	return 0;
}

/* False: not settled; it may still be a ClientHello. */
static __noinline bool hello_read(struct first *f)
{
	struct first_step step = { f->room };
	struct first_room *room = f->room;
	__u32 at, end, record, n;
	struct hello_walk *w;

	if (!room || f->len < 9)
		return false;
	w = &room->hello;
	__builtin_memset(w, 0, sizeof(*w));
	record = first16(room, 3);
	if (first8(room, 0) != 22 || first8(room, 1) != 3 || record > f->len - 5)
		return false;
	/* client_hello and nothing else in the record; its length is fixed up to the session ID. */
	if (record < 4 + 35 || first16(room, 5) != 0x0100 || first16(room, 7) != record - 4 ||
	    first8(room, 9) != 3)
		return false;
	end = 5 + record;
	n = first8(room, 43);
	at = 44 + n;
	if (n > 32 || at + 2 > end)
		return false;
	n = first16(room, at); /* cipher suites */
	at += 2;
	if (n < 2 || n % 2 || n > end - at)
		return false;
	at += n;
	if (at == end)
		return false;
	n = first8(room, at); /* compression methods */
	at++;
	if (!n || n > end - at)
		return false;
	at += n;
	if (at != end) {
		if (end - at < 2 || first16(room, at) != end - at - 2)
			return false;
		w->at = at + 2;
		w->end = end;
		bpf_loop(HELLO_EXTENSIONS_MAX + 1, hello_extension, &step, 0);
		if (w->odd || w->at != w->end)
			return false;
		bpf_loop(HELLO_PROTOCOLS_MAX + 1, hello_protocol, &step, 0);
		if (w->odd || w->alpn_at != w->alpn_end)
			return false;
	}
	f->name_at = w->name_at;
	f->name_len = w->name_len;
	f->proto = PROTO_TLS;
	return true;
}

#endif
