// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 *	fill NUMBER	puts so many merged flows into the table of the running instance `default`
 *
 * As if that many connections had been inspected and let go just now; there are no ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/types.h>
#include <bpf/bpf.h>

#include "seam/flow.h"

#define BATCH 4096
#define PORTS 60000

static struct flow_key keys[BATCH];
static struct flow flows[BATCH];

static struct flow_key nth_key(__u32 n)
{
	struct flow_key k = {};
	__u8 *client = (__u8 *)k.client, *server = (__u8 *)k.server;

	memset(client + 10, 0xff, 2);
	memset(server + 10, 0xff, 2);
	memcpy(client + 12, (__u8[]){ 10, 64, n / PORTS >> 8, n / PORTS }, 4);
	memcpy(server + 12, (__u8[]){ 10, 128, 0, 1 }, 4);
	k.client_port = __builtin_bswap16(1024 + n % PORTS);
	k.server_port = __builtin_bswap16(80);
	return k;
}

int main(int argc, char **argv)
{
	__u32 n = argc == 2 ? strtoul(argv[1], NULL, 0) : 0, done, some, i;
	int fd = bpf_obj_get("/sys/fs/bpf/seam/default/flows");
	struct timespec ts;
	__u64 now;

	if (!n || fd < 0) {
		fprintf(stderr, "fill NUMBER; and an instance has to run\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	for (done = 0; done < n; done += some) {
		some = n - done < BATCH ? n - done : BATCH;
		for (i = 0; i < some; i++) {
			keys[i] = nth_key(done + i);
			flows[i] = (struct flow){
				.state = FLOW_MERGED, .flags = FLOW_F_BYPASS | FLOW_F_IPV4 | FLOW_F_TSTAMP,
				.id = (1000000ULL + done + i) << 6, /* as id_next() gives them out */
				.created_ns = now, .changed_ns = now, .seen_ns = now,
			};
		}
		if (bpf_map_update_batch(fd, keys, flows, &some, NULL)) {
			perror("the map `flows`");
			return 1;
		}
	}
	return 0;
}
