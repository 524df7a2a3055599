/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the `headers` inspector changes in the message heads of one direction:
 * read from the policy once, made into text for each flow.
 */
#ifndef SEAM_HEADER_EDITS_H
#define SEAM_HEADER_EDITS_H

#include <stdbool.h>
#include <stddef.h>

#include "seam/flow.h"

#define HEADER_NAME_MAX 64	/* of a configured field's name, with its NUL */
#define HEADER_TEXT_MAX 32768	/* bytes added to one head */

struct header_field {
	char *name;
	char *value;		/* may have variables in it */
};

/* `set` of the policy is both: its name is removed, its field added. */
struct header_edits {
	char **remove;		/* names */
	size_t n_remove;
	struct header_field *add;
	size_t n_add;
};

/*
 * Whether the first `n` characters are those of the same field name, as CGI and its likes
 * have it, for whom X_Client is X-Client (RFC 3875 4.1.18).
 */
bool header_same_name(const char *a, const char *b, size_t n);

/* NULL, or the rest of a message that begins with the value: what is wrong, what was expected. */
const char *header_name_check(const char *name);
const char *header_value_check(const char *value);

/* The most bytes that the added fields can be, for whatever flow; `e` may be NULL. */
size_t header_text_max(const struct header_edits *e);

/* Writes the lines of the added fields for this flow; not terminated. Returns their length. */
size_t header_text(const struct header_edits *e, const struct flow_key *key, char *out);

/* NULL is allowed. */
void header_edits_free(struct header_edits *e);

#endif
