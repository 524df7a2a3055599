/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names that rules list, as the kernel looks them up: key and value of the maps in `names`. The
 * daemon fills one map for each generation of the policy.
 */
#ifndef SEAM_NAME_H
#define SEAM_NAME_H

#include "rule.h"

/* Longer names are left to the daemon. */
#define SEAM_NAME_MAX 127

/*
 * A name, or an ending: what follows the star of "*.example.com". Lower case, without the root's
 * dot, padded with zeros. The last byte comes first, so that a name's endings are prefixes of its
 * key.
 */
struct seam_name {
	__u8 proto;	  /* enum rule_proto */
	char text[SEAM_NAME_MAX];
};

/*
 * The rules, by number, that list this name or ending, or an ending of it. So the longest match
 * found has them all.
 */
struct seam_name_rules {
	__u64 bits[SEAM_POLICY_RULES_MAX / 64];
};

#endif
