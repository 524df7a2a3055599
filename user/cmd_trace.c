// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam trace: records a flow on both sides of the box, and draws it. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "policy_value.h"
#include "show.h"
#include "trace.h"

#define DEFAULT_NS (5 * 1000000000ULL)
#define DEFAULT_PACKETS 1000000

static const char help[] =
	"usage: seam trace [-i NAME] [-t DURATION] [-n MAX] [--svg FILE] [--json FILE] ID\n"
	"\n"
	"Records a flow's packets as they pass the interfaces, on the client's side of the box\n"
	"and on the server's, and its transitions. --svg draws them: sequence numbers over the\n"
	"time, what is sent, acknowledged and promised on either side, and what the box has\n"
	"acknowledged and still has to deliver. `seam flows` lists the IDs. Ends early with the\n"
	"flow, and on ^C.\n"
	"\n"
	"What XDP forwards (merged and passed flows, on interfaces where `seam status` shows\n"
	"it) nobody can record; `xdp = \"off\"` in the policy, or --xdp off, leaves all to TC.\n"
	"\n"
	"      --svg FILE       the time-sequence diagram; - is stdout\n"
	"      --json FILE      one JSON object per line: the flow, packets, transitions\n"
	"  -t, --time DURATION  how long: 500ms, 5s (the default), 1m, ...\n"
	"  -n, --number MAX     at most so many packets, counted on both sides (default: 1000000)\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 written, 1 not permitted or broken, 2 wrong usage, 3 no such instance or\n"
	"flow.\n";

struct options {
	const char *instance, *svg, *json;
	__u64 for_ns;
	unsigned long long packets;
};

static volatile sig_atomic_t stop;

static void on_signal(int signum)
{
	(void)signum;
	stop = 1;
}

static int find(const char *instance, const struct kern *k, struct trace *t)
{
	struct embryo e;
	struct flow f;
	int err;

	err = client_find_flow(k, t->id, &t->key, &f);
	if (!err) {
		trace_from_flow(t, &f);
		return EXIT_OK;
	}
	if (err == -ENOENT)
		err = client_find_embryo(k, t->id, &t->key, &e);
	if (!err) {
		trace_from_embryo(t, &e);
		return EXIT_OK;
	}
	if (err != -ENOENT) {
		fprintf(stderr, "seam trace: reading the flows: %s\n", strerror(-err));
		return EXIT_FAILED;
	}
	fprintf(stderr, "seam trace: instance `%s` has no flow %llu (any more); `seam flows` lists them\n",
		instance, (unsigned long long)t->id);
	return EXIT_NOT_RUNNING;
}

static void ready(const struct trace *t)
{
	fprintf(stderr, "seam trace: recording flow %llu; ^C ends it\n", (unsigned long long)t->id);
	if (t->xdp)
		fputs("seam trace: an interface has XDP; what it forwards is not recorded\n", stderr);
}

/* False, with a message; true and NULL if nothing is to be written. */
static bool open_output(const char *path, FILE **f)
{
	*f = !path ? NULL : strcmp(path, "-") ? fopen(path, "we") : stdout;
	if (!path || *f)
		return true;
	fprintf(stderr, "seam trace: %s: %s\n", path, strerror(errno));
	return false;
}

static int close_output(const char *path, FILE *f, int err)
{
	if (!f)
		return EXIT_OK;
	errno = 0;
	if (ferror(f) | (f == stdout ? fflush(f) : fclose(f)))
		err = errno ? -errno : -EIO;
	if (!err)
		return EXIT_OK;
	fprintf(stderr, "seam trace: writing %s: %s\n", path, strerror(-err));
	return EXIT_FAILED;
}

static void summary(const struct trace *t)
{
	char span[SHOW_SHORT_LEN];
	struct trace_count c;

	trace_count(t, &c);
	fprintf(stderr, "seam trace: %zu packets on the client's side, %zu on the server's, %zu transitions, in %s%s\n",
		c.packets[SEAM_CLIENT], c.packets[SEAM_SERVER], t->n_transitions,
		show_duration(t->stop_ns - t->start_ns, span),
		t->end == TRACE_FLOW_OVER ? "; the flow is over" :
		t->end == TRACE_FULL ? "; ended by --number" : "");
	if (t->lost || t->missed)
		fprintf(stderr, "seam trace: lost: %llu packets, %llu transitions\n",
			(unsigned long long)t->lost, (unsigned long long)t->missed);
}

/* The outputs are opened before recording: better to fail then. */
static int record(const struct options *o, const struct kern *k, struct trace *t)
{
	struct sigaction end = { .sa_handler = on_signal };
	FILE *svg = NULL, *json = NULL;
	int rc = EXIT_FAILED, err = 0;

	if (open_output(o->svg, &svg) && open_output(o->json, &json)) {
		sigaction(SIGINT, &end, NULL);
		sigaction(SIGTERM, &end, NULL);
		if (!trace_capture(t, k, o->for_ns, &stop, ready)) {
			rc = EXIT_OK;
			if (svg)
				err = trace_svg(t, svg);
			if (json)
				trace_json(t, json);
			summary(t);
		}
	}
	rc = close_output(o->svg, svg, err) ?: rc;
	return close_output(o->json, json, 0) ?: rc;
}

static int trace(const struct options *o, struct trace *t)
{
	struct kern k;
	int rc;

	rc = client_open("trace", o->instance, &k);
	if (rc)
		return rc;
	rc = find(o->instance, &k, t);
	/* Elsewhere the ports' numbers mean other interfaces; client_open() has said so. */
	if (!rc)
		rc = kern_is_here(k.control) ? record(o, &k, t) : EXIT_FAILED;
	kern_close(&k);
	trace_free(t);
	return rc;
}

static int bad(const char *option, const char *value, const char *why)
{
	fprintf(stderr, "seam trace: %s \"%s\" %s\n", option, value, why);
	return EXIT_USAGE;
}

int cmd_trace(int argc, char **argv)
{
	enum { OPT_SVG = 256, OPT_JSON };
	static const struct option options[] = {
		{ "svg", required_argument, NULL, OPT_SVG },
		{ "json", required_argument, NULL, OPT_JSON },
		{ "time", required_argument, NULL, 't' },
		{ "number", required_argument, NULL, 'n' },
		{ "instance", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct options o = { CLIENT_INSTANCE, NULL, NULL, DEFAULT_NS, DEFAULT_PACKETS };
	struct trace t = {};
	unsigned long long id;
	const char *why;
	int opt;

	while ((opt = getopt_long(argc, argv, "t:n:i:h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_SVG:
			o.svg = optarg;
			break;
		case OPT_JSON:
			o.json = optarg;
			break;
		case 't':
			why = value_duration(optarg, &o.for_ns);
			if (why)
				return bad("--time", optarg, why);
			break;
		case 'n':
			if (!client_number(optarg, 1, TRACE_PACKETS_MAX, &o.packets))
				return bad("--number", optarg, "is not a number from 1 to 10000000");
			break;
		case 'i':
			o.instance = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	if (!client_number(argv[optind], 1, ~0ULL, &id))
		return bad("ID", argv[optind], "is not a flow's; `seam flows` lists them");
	if (!o.svg && !o.json) {
		fputs("seam trace: nothing to write; --svg FILE draws, --json FILE is for programs\n", stderr);
		return EXIT_USAGE;
	}
	t.id = id;
	t.max_packets = o.packets;
	return trace(&o, &t);
}
