/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The verbs of the command line. */
#ifndef SEAM_CMD_H
#define SEAM_CMD_H

struct policy;

/* Exit codes, the same for every verb; documented in seam(8). */
#define EXIT_OK 0
#define EXIT_FAILED 1	/* it was tried and failed; stderr says why */
#define EXIT_USAGE 2	/* the command line makes no sense */
#define EXIT_NOT_RUNNING 3 /* there is no such instance, or flow */

/* Each gets "seam VERB" as argv[0], and its own options and operands; returns the exit code. */
int cmd_check(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_features(int argc, char **argv);
int cmd_flow(int argc, char **argv);
int cmd_flows(int argc, char **argv);
int cmd_monitor(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_split(int argc, char **argv); /* also merge and relay */
int cmd_stats(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_trace(int argc, char **argv);

/*
 * Runs until a signal ends it. Takes over the reference to `policy`; `config`
 * is the file to read again on SIGHUP, NULL if there is none. 0 or a negative
 * errno, with a message logged.
 */
int daemon_run(struct policy *policy, const char *config);

#endif
