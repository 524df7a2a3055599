/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A client's first payload, and how much of it the kernel understands: a part of what
 * user/tls_hello.c and user/http_head.c read, with the same meaning. Whatever is not plainly in
 * that part is left to them.
 */
#ifndef SEAM_BPF_FIRST_H
#define SEAM_BPF_FIRST_H

#include "maps.h"

/* How much of it is looked at. A power of two. */
#define FIRST_MAX 4096

/* A ClientHello's extensions, and the protocols of its ALPN. */
struct hello_walk {
	__u32 at, end;
	__u32 seen;	  /* extensions seen that may come only once */
	__u32 name_at, name_len;
	__u32 alpn_at, alpn_end;
	bool odd;
};

/* A request head. */
struct request_walk {
	__u32 at, len;
	__u32 state;	  /* enum request_state */
	__u32 n;	  /* bytes of the current thing so far */
	__u64 last;	  /* the last eight of them, in lower case */
	__u32 port;
	__u32 target_at, target_len, host_at, host_len;
	bool has_length;
};

/* A name, read from its end. */
struct name_walk {
	__u32 at, left;	  /* what has not been read yet */
	__u32 n;	  /* bytes of the key written */
	__u32 label;	  /* bytes of the current label */
	__u32 labels;
	__u32 slot;	  /* of `names` */
	bool odd;
};

/* What bpf_loop() passes to each step. */
struct first_step {
	struct first_room *room;
};

/*
 * The buffer it is read into, for one packet at a time per CPU. The walks are in here, too: on the
 * stack, the verifier would follow every value through each of their steps.
 */
struct first_room {
	__u8 bytes[FIRST_MAX + 8];
	__u8 tcp[60];
	struct seam_name name;
	char text[SEAM_NAME_MAX + 1]; /* the name, forwards */
	struct seam_name_rules rules; /* that list the name, or an ending of it */
	struct seam_record record;
	struct hello_walk hello;
	struct request_walk request;
	struct name_walk walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct first_room);
} first_rooms SEC(".maps");

/* What was read. Positions are in first_room.bytes. */
struct first {
	struct first_room *room;
	__u32 len;
	__u32 name_at, name_len; /* as it was sent, 0: none */
	__u32 target_at, target_len; /* HTTP/1 */
	__u8 proto;	  /* enum rule_proto */
};

/* The caller compares `at` with the length; the mask is for the verifier. */
static __always_inline __u32 first8(const struct first_room *room, __u32 at)
{
	at &= FIRST_MAX - 1;
	asm volatile("" : "+r"(at));
	return room->bytes[at];
}

static __always_inline __u32 first16(const struct first_room *room, __u32 at)
{
	return first8(room, at) << 8 | first8(room, at + 1);
}

#endif
