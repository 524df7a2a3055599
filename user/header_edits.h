/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the `headers` inspector changes in the message heads of one direction: read from the
 * policy once, turned into text for each flow.
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

/* `set` in the policy is both: removes the name and adds the field. */
struct header_edits {
	char **remove;		/* names */
	size_t n_remove;
	struct header_field *add;
	size_t n_add;
};

/*
 * Whether the first `n` characters are of the same field name to CGI and its likes, for which
 * X_Client is X-Client (RFC 3875 4.1.18), and for some of which X.Client is as well.
 */
bool header_same_name(const char *a, const char *b, size_t n);

/*
 * NULL, or the rest of a message that begins with the value: what is wrong and what was
 * expected.
 */
const char *header_name_check(const char *name);
const char *header_value_check(const char *value);

/* The most bytes that the added fields can take, for any flow; `e` may be NULL. */
size_t header_text_max(const struct header_edits *e);

/* Writes the added fields' lines for this flow, not terminated. Returns their length. */
size_t header_text(const struct header_edits *e, const struct flow_key *key, char *out);

/* NULL is allowed. */
void header_edits_free(struct header_edits *e);

#endif
