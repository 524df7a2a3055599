/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SEAM_SOCKMAP_TRY_H
#define SEAM_SOCKMAP_TRY_H

#include "sockmap.h"

/*
 * Whether the running kernel's relay does what it should: relays two megabytes between
 * connections of its own. 0, or a negative errno and `why`.
 */
int sockmap_try(struct sockmap *s, char *why, size_t len);

#endif
