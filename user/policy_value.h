/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parsers for the values of policy settings. Each returns NULL, or the rest of a message that
 * begins with the value in quotes: what is wrong and what was expected. They have no state and
 * allocate nothing.
 */
#ifndef SEAM_POLICY_VALUE_H
#define SEAM_POLICY_VALUE_H

#include "policy.h"

/* "200ms", "5s", "1m", "2h", "5d" to nanoseconds. */
const char *value_duration(const char *s, __u64 *ns);

/* "4096", "64k", "1M", "1G", "1T" (powers of 1024) to bytes. */
const char *value_size(const char *s, __u64 *bytes);

/* An IPv4 or IPv6 address, or a prefix "ADDRESS/LENGTH". */
const char *value_prefix(const char *s, struct policy_prefix *prefix);

/* "443" or "8000-8099". */
const char *value_ports(const char *s, struct policy_ports *ports);

/* A host name or "*.suffix", written to `out` in lower case without trailing dot. */
const char *value_host(const char *s, char out[256]);

/*
 * The same, or an IPv6 address in brackets as in an HTTP Host header, which is written to `out`
 * without them.
 */
const char *value_http_host(const char *s, char out[256]);

/* Letters, digits, '-', '_', and '.' if `dots`; less than `size` bytes. */
bool value_is_name(const char *s, size_t size, bool dots);

/*
 * The entry of `names` (ended by NULL) that `s` is most likely a misspelling
 * of, or NULL if none is close.
 */
const char *value_closest(const char *s, const char *const *names);

#endif
