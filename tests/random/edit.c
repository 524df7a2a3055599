// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The oracle of edits: what becomes of a stream in which some bytes are replaced. */
#include <stdlib.h>
#include <string.h>

#include "random.h"

static const char *const tokens[2] = { "{{token of up}}", "{{token of down}}" };
/* As in the policy. */
static const char *const instead[2] = { "<>", "<what stands in the place of the one of down>" };

void edit_plant(int policy, enum side side, uint8_t *stream)
{
	if (policy == POLICY_REPLACE)
		memcpy(stream, tokens[side], strlen(tokens[side]));
}

void edit_plan(struct edit *e, int policy, enum side side, bool v6, uint16_t port, uint32_t total)
{
	memset(e, 0, sizeof(*e));
	e->at = 1;
	if (policy == POLICY_PROXY && side == CLIENT) {
		snprintf(e->bytes, sizeof(e->bytes), v6 ? "PROXY TCP6 fd99:1::77 fd99:2::77 %u %u\r\n" :
			 "PROXY TCP4 10.99.1.77 10.99.2.77 %u %u\r\n", port, POLICY_PORT + policy);
	} else if (policy == POLICY_REPLACE) {
		e->remove = strlen(tokens[side]);
		strcpy(e->bytes, instead[side]);
	}
	e->insert = strlen(e->bytes);
	e->got_total = total - e->remove + e->insert;
}

int64_t edit_forth(const struct edit *e, int64_t pos)
{
	if (pos < e->at)
		return pos;
	return (pos < (int64_t)e->at + e->remove ? e->at : pos - e->remove) + e->insert;
}

int64_t edit_back(const struct edit *e, int64_t pos)
{
	if (pos <= e->at)
		return pos;
	return (pos < (int64_t)e->at + e->insert ? e->at : pos - e->insert) + e->remove;
}

uint8_t *edit_apply(const struct edit *e, const uint8_t *sent, uint32_t total)
{
	uint32_t before = e->at - 1, after = before + e->remove;
	uint8_t *out = malloc(e->got_total + 1);

	memcpy(out, sent, before);
	memcpy(out + before, e->bytes, e->insert);
	memcpy(out + before + e->insert, sent + after, total - after);
	return out;
}
