// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "seam/flow.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "run", cmd_run, "attach to interfaces and run in the foreground" },
	{ "check", cmd_check, "test a policy file, or explain a decision" },
	{ "reload", cmd_reload, "make the running instance read its policy again" },
	{ "status", cmd_status, "what is attached, and how" },
	{ "flows", cmd_flows, "list flows" },
	{ "flow", cmd_flow, "everything about one flow" },
	{ "split", cmd_split, "take over a flow by hand" },
	{ "merge", cmd_split, "let a split flow go by hand" },
	{ "relay", cmd_split, "who moves the bytes of a split flow" },
	{ "stats", cmd_stats, "counters by state, rule and reason" },
	{ "monitor", cmd_monitor, "print events as they happen" },
	{ "trace", cmd_trace, "record a flow on both sides of the box, and draw it" },
	{ "features", cmd_features, "what this kernel offers, and what Seam makes of it" },
	{ "detach", cmd_detach, "remove every trace of an instance" },
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *out)
{
	size_t i;

	fputs("usage: seam VERB [OPTIONS]\n\n", out);
	for (i = 0; i < N_VERBS; i++)
		fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`seam VERB --help` tells more; so do seam(8) and seam.conf(5). "
	      "`seam -V` is the version.\n", out);
}

/* The exit status of a verb, provided all its output could be written. */
static int written(int rc)
{
	if (!fflush(stdout) && !ferror(stdout))
		return rc;
	fputs("seam: what it had to say could not be written to its standard output\n", stderr);
	return rc ? rc : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static char name[32] = "seam ";
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("seam %s, layout %u\n", SEAM_VERSION, SEAM_ABI);
		return EXIT_OK;
	}
	for (i = 0; i < N_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name))
			continue;
		argv[1] = strcat(name, verbs[i].name); /* getopt() puts it before its messages */
		return written(verbs[i].run(argc - 1, argv + 1));
	}
	fprintf(stderr, "seam: there is no verb `%s`; `seam --help` lists them\n", argv[1]);
	return EXIT_USAGE;
}
