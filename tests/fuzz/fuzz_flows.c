// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The input is what is given to `seam flows --addr`: it is refused, or a flow of
 * just that address and port is listed, and one of another port is not.
 */
#include "../../user/cmd_flows.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *arg = malloc(size + 1);
	struct query q = { 0 };
	struct list l = { .q = &q, .rule = NO_RULE };
	struct row r = { .state = FLOW_MONITORED };

	CHECK(arg);
	if (size)
		memcpy(arg, data, size);
	arg[size] = '\0';
	if (parse_addr(arg, &q)) {
		for (int i = 0; i < 4; i++)
			CHECK(!(q.addr.addr[i] & ~q.addr.mask[i]));
		memcpy(r.key.client, q.addr.addr, sizeof(r.key.client));
		r.key.client_port = htons(q.addr_port ? q.addr_port : 7);
		/* The other end in no prefix that has this one: its first bit differs. */
		memcpy(r.key.server, q.addr.addr, sizeof(r.key.server));
		for (int i = 0; i < 4; i++)
			r.key.server[i] ^= q.addr.mask[i];
		CHECK(wanted(&l, &r));
		if (q.addr_port) {
			r.key.client_port ^= htons(1);
			CHECK(!wanted(&l, &r));
		}
	}
	free(arg);
	return 0;
}
