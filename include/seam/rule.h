/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's part of the policy: what of each rule can be decided at the SYN. The daemon writes
 * the whole table. A flow's SYN walks it once; the first match wins.
 */
#ifndef SEAM_RULE_H
#define SEAM_RULE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum rule_action {
	RULE_PASS = 0,
	RULE_INSPECT = 1, /* split at the first payload */
	RULE_BLOCK = 2,
	RULE_ASK = 3,	  /* the first payload decides: hold it and ask the daemon */
};

#define RULE_F_LAST	  (1U << 0) /* the end of the table: matches everything */
#define RULE_F_BLOCK_RST  (1U << 1) /* block answers with RST, else silence */
#define RULE_F_FAIL_BLOCK (1U << 2) /* fail answer is block, else pass */
#define RULE_F_AFTER	  (1U << 3) /* inspect: not at the first payload, but as `after` says */
#define RULE_F_AT_ONCE	  (1U << 4) /* as soon as the handshake is complete */
#define RULE_F_AGAIN	  (1U << 5) /* and again after the merge */
#define RULE_F_PASSES	  (1U << 6) /* RULE_ASK: the kernel may pass what matches, ... */
#define RULE_F_BLOCKS	  (1U << 7) /* ... or block it; if neither, the daemon is asked */

/* Kinds of first payload by which the kernel can judge a rule. */
enum rule_proto {
	PROTO_TLS = 0,	  /* a ClientHello, with the SNI as name, or none */
	PROTO_HTTP = 1,	  /* an HTTP/1 request head, with its host */
};

/* RULE_ASK: whether the rule matches such a flow, once addresses and ports match. */
enum rule_by {
	BY_DAEMON = 0,	  /* the daemon decides */
	BY_NONE,	  /* never */
	BY_NAME,	  /* if it lists the name */
	BY_ALL,		  /* always */
};

/* When to split a flow not split at its first payload: whichever comes first; 0: unused. */
struct seam_after {
	__u64 bytes;	  /* payload that has passed, both directions together */
	__u32 ms;	  /* since it began, or was merged */
	__u16 request;	  /* turns of the client still to come, including the one that splits */
	__u16 reserved;
};

/*
 * One line of the kernel's table. A rule with several prefixes or port ranges
 * becomes several lines with the same number. Prefixes are in network order,
 * IPv4 as ::ffff:0:0/96; ports in host order, inclusive.
 */
struct seam_rule {
	__u32 client[4];
	__u32 client_mask[4];
	__u32 server[4];
	__u32 server_mask[4];
	__u16 client_port_lo, client_port_hi;
	__u16 server_port_lo, server_port_hi;
	__u16 rule;	  /* its number in the policy, from 1; 0: default */
	__u16 policy;	  /* generation */
	__u8 action;	  /* enum rule_action */
	__u8 flags;	  /* RULE_F_* */
	__u8 by[2];	  /* enum rule_by, by enum rule_proto */
	struct seam_after after; /* RULE_F_AFTER */
};

/* Lines in the kernel's table, the default included. */
#define SEAM_RULES_MAX 1024
/* Rules in a policy; also the size of the `rule_hits` map. */
#define SEAM_POLICY_RULES_MAX 1024

#endif
