/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What inspectors found out about a flow: kept in a map, and shown as JSON. */
#ifndef SEAM_USER_RECORD_H
#define SEAM_USER_RECORD_H

#include <jansson.h>

#include "inspect.h"
#include "seam/record.h"

/* The compact form; longer strings are cut. */
void record_from(const struct flow_record *from, struct seam_record *to);

/*
 * Adds the objects "tls", "http" and "alert" (a pattern matched) to `to`, each if it has
 * something to say. `blocked`: what became of the flow.
 */
void record_json(const struct seam_record *rec, bool blocked, json_t *to);

/* "TLS 1.3" and the like; a version without a name in hexadecimal. */
const char *record_tls_version(__u16 version, char *buf, size_t len);

#endif
