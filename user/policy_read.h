/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Shared by the files that read the policy from libconfig's tree. Tables say which settings
 * there are, what they may contain and where they go. Readers report errors and go on, so that
 * one run shows all of them.
 */
#ifndef SEAM_POLICY_READ_H
#define SEAM_POLICY_READ_H

#include <libconfig.h>
#include <stdbool.h>
#include <stdio.h>

#include "policy.h"

#define SECOND 1000000000ULL
#define DAY (86400 * SECOND)

struct load {
	struct policy *p;
	FILE *err;		/* or NULL */
	unsigned int errors;
	bool no_memory;
	const config_setting_t *rules;
};

struct choice {
	const char *name;
	int value;
};

/* A setting: its name, its reader, where the value goes and its limits. */
struct key {
	const char *name;
	void (*read)(struct load *l, const config_setting_t *s, void *field, const struct key *k);
	size_t offset;
	__u64 min, max;
	const void *arg;	/* choices, or the keys of a group */
};

extern const struct choice policy_answers[]; /* "pass", "block" into bool */
extern const struct choice policy_actions[]; /* into enum rule_action */
extern const struct choice policy_proxy_versions[]; /* into enum proxy_version */
extern const struct choice policy_relays[]; /* into enum policy_relay */

/* Report one error, at a line of the file (0: the whole file) or at a setting. */
__attribute__((format(printf, 3, 4)))
void report(struct load *l, unsigned int line, const char *fmt, ...);
__attribute__((format(printf, 3, 4)))
void bad(struct load *l, const config_setting_t *s, const char *fmt, ...);

/* calloc() that remembers when there was no memory. */
void *allocate(struct load *l, size_t n, size_t size);
char *duplicate(struct load *l, const char *s);

/* The string in `s`, or NULL after an error. */
const char *get_string(struct load *l, const config_setting_t *s, const struct key *k,
		       const char *expected);

/* How many values a setting has: one, or several in [ ] or ( ); 0 after an error. */
size_t count(struct load *l, const config_setting_t *s, const struct key *k);
const config_setting_t *element(const config_setting_t *s, size_t i);

/*
 * For settings that are a list of groups: whether `s` is a list, whether `s` in list `name` is
 * a group.
 */
bool is_list(struct load *l, const config_setting_t *s, const char *name);
bool is_group_in(struct load *l, const config_setting_t *s, const char *name);

/* Reports an error if the group has no setting of that name. */
void require(struct load *l, const config_setting_t *group, const char *name, const char *what,
	     const char *expected);

/* Reads every setting of a group, by its table; offsets count from `base`. */
void read_keys(struct load *l, const config_setting_t *group, void *base,
	       const struct key *keys);

/* Readers, by type of the field; `min`, `max` and `arg` as the comment says. */
typedef void key_reader(struct load *l, const config_setting_t *s, void *field,
			const struct key *k);
key_reader read_group;	    /* keys in arg, offsets from the field */
key_reader read_choice;	    /* int or enum, choices in arg */
key_reader read_either;	    /* bool, choices in arg */
key_reader read_bool;	    /* bool */
key_reader read_want;	    /* enum policy_want */
key_reader read_number;	    /* __u32 from min to max */
key_reader read_duration;   /* __u64 nanoseconds from min to max */
key_reader read_size;	    /* __u64 bytes from min to max */
key_reader read_name;	    /* char[max] */
key_reader read_congestion; /* char[max], may be empty */
key_reader read_interfaces; /* struct policy_strings, as the next three */
key_reader read_hosts;
key_reader read_http_hosts;
key_reader read_alpn;
key_reader read_prefixes;   /* struct policy_prefixes */
key_reader read_ports;	    /* struct policy_port_ranges */
key_reader read_replacements; /* struct replacements * */
key_reader read_header_edits; /* struct header_edits *, allocated */

bool rule_uses(const struct policy_rule *rule, const struct inspector *inspector);

/* Checks what must be true of an inspect rule's edits. */
void check_edits(struct load *l, const config_setting_t *s, const struct policy_rule *rule);

/* Reads the rules in l->rules, once everything else has been read. */
void read_rules(struct load *l);

#endif
