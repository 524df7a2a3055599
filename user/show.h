/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How flows are shown to people and to programs: names, addresses, durations and times, the
 * same in every verb and on the control socket. JSON field names are those of Suricata's EVE
 * where it has one.
 */
#ifndef SEAM_SHOW_H
#define SEAM_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "seam/event.h"
#include "seam/flow.h"

#define SHOW_ENDPOINT_LEN 56	/* "[address]:port" */
#define SHOW_SHORT_LEN 24	/* a duration or a number of bytes */
#define SHOW_TIME_LEN 40	/* a time */
#define SHOW_FLAGS_LEN 320	/* all flags at once */
/*
 * For JSON that is shown: prints a time in seconds to the microsecond, not to the noise of a
 * double.
 */
#define SHOW_JSON JSON_REAL_PRECISION(12)

/* "monitored"; "none" where there is no flow; "?" for an unknown number. */
const char *show_state(unsigned int state);
/* The state of that name, or -1. */
int show_state_find(const char *name);
/* The names of all states of a flow, separated by spaces. */
const char *show_states(void);

const char *show_reason(unsigned int reason);
const char *show_reason_text(unsigned int reason);
const char *show_xdp(unsigned int mode);

/* Each returns `buf`, which must have the room named above. */
/* "10.1.2.3:80", "[2001:db8::1]:80"; the port in network order. */
const char *show_endpoint(const __u32 addr[4], __u16 port, char buf[SHOW_ENDPOINT_LEN]);
/* Two units at most: "870us", "12.3s", "4m05s", "2h10m", "3d04h". */
const char *show_duration(uint64_t ns, char buf[SHOW_SHORT_LEN]);
/* "999", "1.5k", "20M": powers of 1024. */
const char *show_bytes(uint64_t n, char buf[SHOW_SHORT_LEN]);
/* A CLOCK_MONOTONIC time as ISO 8601 local time with microseconds and offset. */
const char *show_time(uint64_t ns, char buf[SHOW_TIME_LEN]);

/* Names of the set bits of flow.flags and flow_end.flags, separated by spaces. */
const char *show_flow_flags(__u32 flags, char buf[SHOW_FLAGS_LEN]);
const char *show_end_flags(__u16 flags, char buf[SHOW_FLAGS_LEN]);
/* An array of the words of such a text. */
json_t *show_words_json(const char *words);

/* Adds flow_id (if not 0), src_ip, src_port, dest_ip, dest_port, proto and ip_v. */
void show_tuple_json(json_t *to, uint64_t id, const struct flow_key *key);
/* One transition, for the history of a flow. */
json_t *show_transition_json(const struct transition *t);

/* A string for JSON, which is UTF-8: if `text` is not, '?' replaces whatever is not ASCII. */
json_t *show_text(const char *text);
/* Writes indented JSON to stdout and drops it. */
void show_print(json_t *json);

#endif
