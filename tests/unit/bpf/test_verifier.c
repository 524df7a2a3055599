// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What each program costs the verifier, against the bounds of verified.txt.
 *
 *	test_verifier [--record]	print lines for verified.txt instead
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "harness.h"

#define BOUNDS "tests/unit/bpf/verified.txt"

static const char *const names[N_PROGS] = {
	[CLIENT] = "seam_client", [SERVER] = "seam_server", [HOLD] = "seam_hold",
	[LEG_OUT] = "seam_leg_out", [LEG_IN] = "seam_leg_in",
	[XDP_CLIENT] = "seam_xdp_client", [XDP_SERVER] = "seam_xdp_server",
};

static unsigned int bound_of(const char *name)
{
	char line[256], word[64];
	unsigned int bound = 0, n;
	FILE *f = fopen(BOUNDS, "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %u", word, &n) == 2 && !strcmp(word, name))
			bound = n;
	if (f)
		fclose(f);
	return bound;
}

static void measure(const char *prog, int fd, bool wire, bool record)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	unsigned int bound;
	char name[32];

	snprintf(name, sizeof(name), "%s%s", prog, wire ? "/wire" : "");
	bound = bound_of(name);

	if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
		check(false, "%s: %s", name, strerror(errno));
		return;
	}
	if (record) {
		printf("%s %u\n", name, (info.verified_insns * 3 / 2 + 999) / 1000 * 1000);
		return;
	}
	note("%-19s %8u verified, bound %8u; %6u bytes translated, %6u jited", name,
	     info.verified_insns, bound, info.xlated_prog_len, info.jited_prog_len);
	check(info.verified_insns <= bound, "%s verifies within its bound", name);
}

int main(int argc, char **argv)
{
	bool record = argc > 1 && !strcmp(argv[1], "--record");
	int i;

	harness_start("verifier");
	for (i = 0; i < N_PROGS; i++)
		measure(names[i], prog_fd(i), false, record);
	measure("seam_ctl", ctl_fd(), false, record);
	measure("seam_names", names_fd(), false, record);
	/* What else is loaded is the same on a wire. */
	harness_load(&(struct sizes){ .wire = true });
	for (i = 0; i < N_PROGS; i++)
		if (i != LEG_IN)
			measure(names[i], prog_fd(i), true, record);
	return record ? 0 : harness_end();
}
