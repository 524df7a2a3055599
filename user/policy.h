/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy: settings and rules of one configuration file (seam.conf(5)). It is read as a
 * whole, never changed afterwards and reference-counted, so that flows decided by an old policy
 * outlive a reload.
 */
#ifndef SEAM_POLICY_H
#define SEAM_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "inspect.h"
#include "seam/event.h"
#include "seam/flow.h"
#include "seam/name.h"
#include "seam/rule.h"

#define POLICY_INSPECTORS_MAX 8
#define POLICY_NAME_MAX 64	/* of a rule, pattern or instance, with its NUL */

/* Addresses in network order, IPv4 as ::ffff:0:0/96. */
struct policy_prefix {
	__u32 addr[4];
	__u32 mask[4];
};

/* Host order, inclusive. */
struct policy_ports {
	__u16 lo, hi;
};

/* The values of one condition; n = 0: the rule has no such condition. */
struct policy_prefixes {
	struct policy_prefix *v;
	size_t n;
};

struct policy_port_ranges {
	struct policy_ports *v;
	size_t n;
};

struct policy_strings {
	char **v;
	size_t n;
};

enum policy_want {
	WANT_ANY = 0,
	WANT_TRUE,
	WANT_FALSE,
};

/* When an inspected flow is let go; a limit of 0 is no limit. */
struct policy_until {
	__u64 bytes;	  /* payload, both directions together */
	__u64 time_ns;	  /* since the split */
	__u32 messages;	  /* HTTP/1 messages complete, both directions together */
	bool verdict;	  /* as soon as every inspector has let go */
};

#define AFTER_NEVER (~0ULL)

/* When an inspected flow is split, if not at its first payload; whichever comes first. */
struct policy_after {
	__u64 bytes;	  /* payload, both directions together; 0: at once; AFTER_NEVER */
	__u64 time_ns;	  /* since it began; 0: never */
	__u32 request;	  /* number of the client's turn; 0: never */
	bool again;	  /* again after each merge */
};

/* Who moves the bytes of a split flow that nobody reads. */
enum policy_relay {
	POLICY_RELAY_AUTO = 0,
	POLICY_RELAY_USERSPACE,
	POLICY_RELAY_KERNEL,
};

/* Looks up `name`, into `relay`; false: there is no such relay. */
bool policy_relay_named(const char *name, enum policy_relay *relay);

/* Who decides where the first payload counts, and by what. */
enum policy_decide {
	DECIDE_KERNEL = 0, /* the kernel by the first packet; where it cannot, the daemon */
	DECIDE_DAEMON,	   /* the daemon by the packets that are held */
	DECIDE_SPLIT,	   /* the daemon by what the client's leg has received */
};

/* What becomes of a flow for which no rule was found within the limits of `hold`. */
enum policy_hold {
	HOLD_FAIL = 0,	   /* the fail answer of the rule it waits for */
	HOLD_PASS,
	HOLD_BLOCK,
};

struct policy_rule {
	char *name;
	unsigned int line;		 /* in the policy's file; 0: not written there */
	__u16 number;			 /* from 1; 0: the default */
	enum rule_action action;	 /* never RULE_ASK */
	bool block_rst;			 /* block answers with RST, else silence */
	bool fail_block;		 /* the fail answer is block, else pass */

	struct policy_prefixes client, server;
	struct policy_port_ranges client_port, server_port;
	enum policy_want server_first, unrecognised;
	struct policy_strings sni, alpn, host; /* sni, host: lower case, may be "*.suffix" */

	const struct inspector *inspectors[POLICY_INSPECTORS_MAX + 1]; /* NULL-ended */
	struct inspect_setup setup;
	struct policy_until until;
	struct policy_after after;
	enum policy_relay relay;
};

enum policy_xdp {
	POLICY_XDP_AUTO = 0,
	POLICY_XDP_NATIVE,
	POLICY_XDP_GENERIC,
	POLICY_XDP_OFF,
};

struct policy {
	unsigned int refs;
	char *path;
	struct policy_strings client, server; /* interface names; on wires in pairs */
	enum seam_mode mode;
	bool mirror_link;		 /* wires: a port whose partner has no link is down */
	bool bypass;			 /* passed flows bypass the host's stack like merged ones */
	char instance[POLICY_NAME_MAX];
	char congestion[16];		 /* TCP_CONGESTION of legs; "": system default */
	enum policy_xdp xdp;
	enum policy_relay relay;	 /* of rules that name none, and of flows split by hand */
	enum policy_decide decide;
	int log;			 /* highest priority number logged, syslog(3) */
	bool fail_block;
	bool block_untracked;		 /* packets of connections that are not tracked */
	struct {
		__u64 time_ns;
		__u64 bytes;
		enum policy_hold answer;
	} hold;				 /* limits of an undecided flow, then the answer */
	__u64 backlog;			 /* bytes of one direction that legs take charge of */
	__u32 workers;			 /* threads moving split flows' bytes; 0: the loop does */
	__u32 max_flows;
	__u32 max_embryos;
	__u64 timeout_ns[FLOW_STATE_MAX]; /* idle, by enum flow_state */
	__u64 grace_ns;			 /* shutdown waits this long for merges */
	struct policy_rule default_rule; /* number 0, no conditions */
	struct policy_rule *rules;
	size_t n_rules;
};

/*
 * What is not known of a flow: parts of policy_facts.key, or what a TLS client offers. 0 for a
 * real flow.
 */
#define FACT_NO_CLIENT	    (1U << 0)
#define FACT_NO_SERVER	    (1U << 1)
#define FACT_NO_CLIENT_PORT (1U << 2)
#define FACT_NO_SERVER_PORT (1U << 3)
#define FACT_NO_ALPN	    (1U << 4)

/*
 * What is known of a flow. A classification of CLASSIFY_MORE counts as not
 * known. `rec` is read only where tls or http is CLASSIFY_YES; NULL there
 * means no names.
 */
struct policy_facts {
	struct flow_key key;
	unsigned int missing;		 /* FACT_NO_* */
	bool tls_known, http_known, server_first_known, server_first;
	enum classify tls, http;
	const struct flow_record *rec;
};

enum policy_match {
	MATCH_NO = 0,
	MATCH_YES,
	MATCH_UNKNOWN,
};

enum policy_condition {
	COND_NONE = 0,
	COND_CLIENT,
	COND_SERVER,
	COND_CLIENT_PORT,
	COND_SERVER_PORT,
	COND_SERVER_FIRST,		 /* from here on: not decided by the SYN */
	COND_UNRECOGNISED,
	COND_SNI,
	COND_ALPN,
	COND_HOST,
};

/*
 * Reads a policy, all of it or nothing. `path` may be "-" for standard input.
 * Returns 0 and a policy with one reference, -EINVAL if the file has errors,
 * or why it could not be read. Every error of the file is written to `err`
 * (which may be NULL) as "FILE:LINE: what is wrong; expected what".
 */
int policy_load(const char *path, struct policy **out, FILE *err);

/* The same from memory: `text` need not end in NUL, `name` stands for the file. */
int policy_load_text(const char *name, const char *text, size_t len, struct policy **out,
		     FILE *err);

struct policy *policy_get(struct policy *p);
/* Drops a reference; the last one frees. NULL is allowed. */
void policy_put(struct policy *p);

#define POLICY_FIXED_MAX 11
/*
 * The settings that differ between two policies and that a daemon takes from the one it starts
 * with. Fills in up to POLICY_FIXED_MAX static names and returns how many.
 */
size_t policy_fixed(const struct policy *a, const struct policy *b,
		    const char *names[static POLICY_FIXED_MAX]);

/*
 * The rule that decides: the first that matches, else the default. If that depends on something
 * not known yet, returns NULL and sets `need_more`.
 */
const struct policy_rule *policy_decide(const struct policy *p, const struct policy_facts *facts,
					bool *need_more);

/*
 * Whether one rule matches. `why` (may be NULL) becomes the condition that
 * decided: the first that is false, else the first that is not known.
 */
enum policy_match policy_rule_match(const struct policy_rule *rule,
				    const struct policy_facts *facts, enum policy_condition *why);

/* The same for the conditions on addresses and ports only, which the SYN decides. */
enum policy_match policy_rule_match_syn(const struct policy_rule *rule,
					const struct policy_facts *facts,
					enum policy_condition *why);

/* Whether the rule has a condition that the SYN does not decide. */
bool policy_rule_asks(const struct policy_rule *rule);

/* Whether its flows are split at another moment than their first payload. */
bool policy_rule_later(const struct policy_rule *rule);

/* That moment, in the form the kernel counts to it. */
struct seam_after policy_rule_after(const struct policy_rule *rule);

/* The condition's setting, as in seam.conf(5). */
const char *policy_condition_name(enum policy_condition cond);

/* "route" or "wire". */
const char *policy_mode_name(enum seam_mode mode);

/* "pass", "inspect", "block" or "ask". */
const char *policy_action_name(enum rule_action action);

/*
 * Whether the kernel decides such a flow by itself, provided its first payload is plain and
 * comes in one packet. False if something the kernel has to know is missing.
 */
bool policy_kernel_decides(const struct policy *p, const struct policy_facts *facts);

/* Whether any rule that flows may wait for has the fail answer block. */
bool policy_fails_closed(const struct policy *p);

/* Lines that a rule needs in the kernel's table, capped far above any limit. */
size_t policy_rule_lines(const struct policy_rule *rule);

/*
 * Writes the kernel's table: in order, each rule's prefixes times its ports,
 * then one line RULE_F_LAST. A rule with a condition that the SYN does not
 * decide becomes RULE_ASK. Returns the lines written, or -E2BIG if they are
 * more than `max` (a loaded policy never needs more than SEAM_RULES_MAX).
 */
int policy_compile(const struct policy *p, struct seam_rule *lines, size_t max,
		   __u16 generation);

/* A name, and which rules list it. */
struct policy_name {
	struct seam_name name;
	struct seam_name_rules rules;
};

/*
 * The names of a policy as the kernel looks them up, each once. Leaves out those that it does
 * not look up: too long, or addresses. Returns how many are in *out, which is malloc'ed, or
 * -ENOMEM. None if the policy does not have the kernel decide.
 */
int policy_names(const struct policy *p, struct policy_name **out);

#endif
