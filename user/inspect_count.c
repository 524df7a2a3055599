// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Never decides: the rule's `until` lets the flow go. The counting itself is done
 * for every inspected flow, in its record.
 */
#include "inspect.h"

static size_t count_size(const struct inspect_setup *setup)
{
	(void)setup;
	return 0;
}

static int count_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
		      const struct flow_key *key)
{
	(void)state;
	(void)rec;
	(void)setup;
	(void)key;
	return 0;
}

static enum inspect_answer count_data(void *state, enum seam_dir dir, const uint8_t *data,
				      size_t len, bool end, struct editor *edit)
{
	(void)edit;
	(void)state;
	(void)dir;
	(void)data;
	(void)len;
	(void)end;
	return INSPECT_MORE;
}

static void count_close(void *state)
{
	(void)state;
}

const struct inspector inspector_count = {
	.name = "count",
	.help = "counts bytes; released only by the rule's until",
	.size = count_size,
	.open = count_open,
	.data = count_data,
	.close = count_close,
};
