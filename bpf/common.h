/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every BPF file includes: kernel types, helpers, shared types. */
#ifndef SEAM_BPF_COMMON_H
#define SEAM_BPF_COMMON_H

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vmlinux.h has the bit fields of little-endian machines; see docs/architecture.md"
#endif

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "seam/ctl.h"
#include "seam/event.h"
#include "seam/flow.h"
#include "seam/name.h"
#include "seam/record.h"
#include "seam/rule.h"

#define true 1
#define false 0
#define NULL ((void *)0)

#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_F_NO_PREALLOC (1U << 0)
#define BPF_F_MMAPABLE (1U << 10)
#define CLOCK_MONOTONIC 1

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

#define BPF_F_CURRENT_NETNS (-1)
#define TCP_LISTEN 10
#define PACKET_HOST 0

#define AF_INET 2
#define AF_INET6 10

#define NSEC_PER_SEC 1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL

/* Sequence numbers and timestamps, modulo 2^32 (RFC 9293 3.4, RFC 7323 5.2). */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool seq_after(__u32 a, __u32 b)
{
	return (__s32)(b - a) < 0;
}

static __always_inline __u32 seq_max(__u32 a, __u32 b)
{
	return seq_after(b, a) ? b : a;
}

static __always_inline __u32 seq_min(__u32 a, __u32 b)
{
	return seq_after(a, b) ? b : a;
}

/*
 * Reads `len` bytes of a packet, at most `max`. A `len` of 0 is an error, too: before 6.8 the
 * verifier does not conclude from a comparison with 0 that there is a byte.
 */
static __always_inline long load_bytes(struct __sk_buff *ctx, __u32 off, void *to, __u32 len,
				       __u32 max)
{
	__u32 last = len - 1;

	asm volatile("" : "+r"(last)); /* keep the check on the value that the call gets */
	return last < max ? bpf_skb_load_bytes(ctx, off, to, last + 1) : -1;
}

#endif
