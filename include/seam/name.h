/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names that rules list, as the kernel looks them up: key and value of the maps
 * in `names`. The daemon fills one for each generation of the policy.
 */
#ifndef SEAM_NAME_H
#define SEAM_NAME_H

#include "rule.h"

/* Longer names are the daemon's business. */
#define SEAM_NAME_MAX 127

/*
 * A name, or an ending: what follows the star of "*.example.com". Lower case, without
 * the root's dot, last byte first, so that the endings of a name are what its key begins
 * with; padded with zeros.
 */
struct seam_name {
	__u8 proto;	  /* enum rule_proto */
	char text[SEAM_NAME_MAX];
};

/*
 * The rules, by number, that list the name, or an ending of it; or, of an ending, those
 * that list it or an ending of its own. So the longest that is found says all.
 */
struct seam_name_rules {
	__u64 bits[SEAM_POLICY_RULES_MAX / 64];
};

#endif
