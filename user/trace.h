/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `seam trace` records of one flow: its packets as they pass the ports, on
 * both sides of the box, and its transitions.
 */
#ifndef SEAM_TRACE_H
#define SEAM_TRACE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kern.h"
#include "seam/event.h"

#define TRACE_PACKETS_MAX 10000000
#define TRACE_TRANSITIONS_MAX 65536
#define TRACE_SACK_MAX 4
/* Longest headers that are read: IPv6 with extension headers, and TCP with all options. */
#define TRACE_SNAP 320

/*
 * A packet, on one side. Where it was seen says which side: what the client sent is on the
 * client's side when it comes in, and on the server's when it goes out. Each side has its own
 * sequence numbers, if they differ.
 */
struct trace_packet {
	uint64_t ns;	   /* CLOCK_MONOTONIC */
	uint32_t seq, ack;
	uint32_t len;	   /* payload; that of a GSO packet may be 64 KiB and more */
	uint32_t wnd;	   /* bytes */
	uint32_t sack[TRACE_SACK_MAX][2];
	uint8_t n_sack;
	uint8_t flags;	   /* TCP flags */
	uint8_t dir;	   /* enum seam_dir */
	uint8_t side;	   /* enum seam_end */
};

/* Why a trace ended. */
enum trace_end {
	TRACE_TIME,	   /* the time asked for has passed */
	TRACE_SIGNAL,
	TRACE_FLOW_OVER,
	TRACE_FULL,	   /* as many packets as asked for */
	TRACE_FAILED,
};

struct trace {
	uint64_t id;
	struct flow_key key;
	uint64_t start_ns, stop_ns; /* CLOCK_MONOTONIC */
	uint8_t state;		    /* enum flow_state at its start */
	uint8_t wscale[2];	    /* by the end that announced it */
	uint32_t isn[2];	    /* by the end that sent it */
	uint32_t nxt[2];	    /* how far each end had sent at its start */
	enum trace_end end;

	struct trace_packet *packets;
	size_t n_packets, max_packets;
	size_t room;
	uint64_t lost;		    /* packets that the kernel had no room for */

	struct transition *transitions;
	size_t n_transitions;
	uint32_t history;	    /* transitions of the flow looked at so far */
	uint64_t missed;	    /* transitions overwritten before that */
	bool xdp;		    /* a port has XDP, whose packets are not seen */
	bool edited;		    /* the sides number the same bytes differently */
};

/* Notes where a flow stands. */
void trace_from_flow(struct trace *t, const struct flow *f);
/* The same for one whose handshake is not complete. */
void trace_from_embryo(struct trace *t, const struct embryo *e);

/*
 * Reads the headers of a packet that is `len` bytes long from its IP header on, of which the
 * first `have` are there. False if it is not the flow's. `out`: it leaves the box.
 */
bool trace_read(const struct trace *t, const uint8_t *ip, size_t have, size_t len, uint16_t proto,
		bool out, struct trace_packet *p);

/* 0, -ENOSPC (as many as asked for) or -ENOMEM. */
int trace_add(struct trace *t, const struct trace_packet *p);
int trace_add_transition(struct trace *t, const struct transition *transition);

/*
 * Adds what is new in the flow's history and older than `before`: the writer counts an entry
 * before writing it.
 */
int trace_history(struct trace *t, const struct history *h, uint64_t before);

/*
 * Sorts the packets by time, and drops those before the start and after the end: they are not
 * from all ports.
 */
void trace_sort(struct trace *t);
void trace_free(struct trace *t);

/*
 * Records from the ports of an instance until `for_ns` have passed, `stop` is set, the flow has
 * ended or there are enough packets. Calls `ready` once it has begun. 0 or a negative errno,
 * with a message written to stderr.
 */
int trace_capture(struct trace *t, const struct kern *k, uint64_t for_ns,
		  const volatile sig_atomic_t *stop, void (*ready)(const struct trace *t));

/* Counts of packets, by side and direction. */
struct trace_count {
	size_t segments[2][2];	    /* with payload, [enum seam_end][enum seam_dir] */
	size_t again[2][2];	    /* that begin below what was seen before */
	uint64_t bytes[2][2];
	size_t packets[2];
};

void trace_count(const struct trace *t, struct trace_count *c);

/* One JSON object per line: the flow, then packets and transitions in their order. */
void trace_json(const struct trace *t, FILE *to);

/* The time-sequence diagram. 0 or -ENOMEM. */
int trace_svg(const struct trace *t, FILE *to);

#endif
