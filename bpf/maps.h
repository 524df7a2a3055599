/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps that every object has; those of only some objects are declared in fast.h, first.h,
 * names.h, port.bpf.c, xdp.bpf.c and relay.bpf.c. The first object loaded creates the pinned ones,
 * and the others share them. The loader changes sizes given here where they depend on the
 * configuration.
 */
#ifndef SEAM_BPF_MAPS_H
#define SEAM_BPF_MAPS_H

#include "parse.h"
#include "verdict.h"

/* Established flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} flows SEC(".maps");

/* Connections whose handshake is not complete: a flood evicts only its like. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct embryo);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} embryos SEC(".maps");

/* Last transitions of flows that were held, split or blocked, by flow id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct history);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} history SEC(".maps");

/* On wires: the link headers of a flow's ends, by flow id. As many as there may be flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u64);
	__type(value, struct seam_links);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} links SEC(".maps");

/* What inspectors found out, by flow id; outlives the flow. Read by people only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct seam_record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} records SEC(".maps");

/* Timers of held flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct hold);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} holds SEC(".maps");

/* Legs, keyed like the packets for them. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} legs SEC(".maps");

/* The ports Seam is attached to, by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct port);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ports SEC(".maps");

/* The kernel's lines of a policy; lines of all zeros match nothing. */
struct rules {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEAM_RULES_MAX);
	__type(key, __u32);
	__type(value, struct seam_rule);
} rules SEC(".maps");

/* The policy in force: one slot, replaced as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct rules);
} policy SEC(".maps") = {
	.values = { &rules },
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} control SEC(".maps");

/* Counters: packets and transitions by reason, flows by rule and by state. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEAM_R_MAX);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEAM_POLICY_RULES_MAX + 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} rule_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOW_STATE_MAX);
	__type(key, __u32);
	__type(value, __s64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} states SEC(".maps");

/* Last flow id assigned. One counter for all CPUs: people type ids, and only a SYN takes one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ids SEC(".maps");

#define EVENTS_BYTES (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

/* An empty history to start from; it does not fit on the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct history);
} history_new SEC(".maps");

/*
 * Scratch space for what does not fit on the stack, used by one program at a time per CPU. Not
 * pinned, so that each object has its own: packets must not share that of seam_ctl, which a
 * softirq may interrupt, because test runs left softirqs on before Linux 6.11.
 */
struct room {
	struct pkt pkt, quoted;
	struct verdict verdict;
	struct out out;
	struct too_big too_big;
	struct told was;
	bool told;		 /* the packet in hand says otherwise by now, and was like that */
	bool answered;		 /* ... but the host will only answer it, with an ICMP error that quotes it */
	struct options options;
	struct seam_event event;
	struct embryo embryo;
	struct seam_after after; /* of the rule that the SYN came to */
	struct seam_link link;	 /* on a wire: of the packet in hand, or of what it becomes */
	__u32 partner;		 /* on a wire: port it leaves by, if not from the hold queue */
	struct seam_links links; /* on a wire: of a new flow */
	__u64 flow[(sizeof(struct flow) + 7) / 8]; /* no lock is allowed in here */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} rooms SEC(".maps");

static __always_inline struct room *room_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rooms, &zero);
}

static __always_inline void count(enum seam_reason reason)
{
	__u32 key = reason;
	__u64 *n = bpf_map_lookup_elem(&reasons, &key);

	if (n)
		(*n)++;
}

/* Counts a flow decided by this rule. */
static __always_inline void count_rule(__u16 rule)
{
	__u32 key = rule;
	__u64 *n = bpf_map_lookup_elem(&rule_hits, &key);

	if (n)
		(*n)++;
}

static __always_inline struct control *control_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

/*
 * Whether somebody monitors, and the ring buffer has room that the daemon's own events do not
 * need.
 */
static __always_inline bool monitored(const struct control *ctl)
{
	return ctl && ctl->verbose && bpf_ringbuf_query(&events, 0 /* BPF_RB_AVAIL_DATA */) < EVENTS_BYTES / 2;
}

#endif
