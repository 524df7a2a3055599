// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "log.h"
#include "policy.h"

static const char help[] =
	"usage: seam run -c FILE [OPTIONS]\n"
	"       seam run --client IF --server IF [OPTIONS]\n"
	"\n"
	"Attaches to the interfaces and runs in the foreground until SIGINT or SIGTERM.\n"
	"\n"
	"  -c, --config FILE    policy file, see seam.conf(5)\n"
	"      --client IF      interface towards clients (may be repeated)\n"
	"      --server IF      interface towards servers (may be repeated)\n"
	"      --mode MODE      route, or wire: the first --client and the first --server are\n"
	"                       the ports of a wire, the second ones, and so on; no addresses\n"
	"      --mirror-link    wire: take a port down while its partner has no link\n"
	"      --inspect        split every flow's first exchange and look for TLS and\n"
	"                       HTTP; without, all are passed, listed and counted\n"
	"      --xdp MODE       auto, native, generic or off\n"
	"  -i, --instance NAME  name of this instance (default: default)\n"
	"  -v, --verbose        say more; twice: the libraries' messages too\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 ended by a signal, 1 could not start, 2 wrong usage.\n";

#define NAMES_MAX 32

struct names {
	const char *v[NAMES_MAX];
	int n;
};

static void put_list(FILE *f, const char *key, const struct names *names)
{
	int i;

	if (!names->n)
		return;
	fprintf(f, "%s = (", key);
	for (i = 0; i < names->n; i++)
		fprintf(f, "%s\"%s\"", i ? ", " : "", names->v[i]);
	fputs(");\n", f);
}

/* What can be set without a file. */
struct settings {
	struct names client, server;
	const char *mode, *xdp, *instance;
	bool mirror_link, inspect;
};

/* Makes a policy for a first try from the command line alone. */
static int from_options(const struct settings *s, struct policy **out)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int err;

	if (!f)
		return -ENOMEM;
	put_list(f, "client", &s->client);
	put_list(f, "server", &s->server);
	if (s->mode)
		fprintf(f, "mode = \"%s\";\n", s->mode);
	if (s->mirror_link)
		fputs("mirror_link = true;\n", f);
	if (s->xdp)
		fprintf(f, "xdp = \"%s\";\n", s->xdp);
	if (s->instance)
		fprintf(f, "instance = \"%s\";\n", s->instance);
	fprintf(f, "default = \"%s\";\n", s->inspect ? "inspect" : "pass");
	fclose(f);
	err = policy_load_text("(command line)", text, len, out, stderr);
	free(text);
	return err;
}

int cmd_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "client", required_argument, NULL, 'C' },
		{ "server", required_argument, NULL, 'S' },
		{ "mode", required_argument, NULL, 'm' },
		{ "mirror-link", no_argument, NULL, 'M' },
		{ "inspect", no_argument, NULL, 'I' },
		{ "xdp", required_argument, NULL, 'x' },
		{ "instance", required_argument, NULL, 'i' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *config = NULL;
	struct settings s = {};
	struct names *names;
	int opt, err, verbose = 0;
	struct policy *p;

	while ((opt = getopt_long(argc, argv, "c:i:vh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			config = optarg;
			break;
		case 'C':
		case 'S':
			names = opt == 'C' ? &s.client : &s.server;
			if (names->n == NAMES_MAX) {
				fprintf(stderr, "seam run: more than %d interfaces on a side\n",
					NAMES_MAX);
				return EXIT_USAGE;
			}
			names->v[names->n++] = optarg;
			break;
		case 'I':
			s.inspect = true;
			break;
		case 'm':
			s.mode = optarg;
			break;
		case 'M':
			s.mirror_link = true;
			break;
		case 'x':
			s.xdp = optarg;
			break;
		case 'i':
			s.instance = optarg;
			break;
		case 'v':
			verbose++;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "seam run: what is `%s`? It takes options alone; see --help\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (config ? s.client.n || s.server.n : !s.client.n || !s.server.n) {
		fputs("seam run: needs -c FILE, or else --client IF and --server IF, and not both; see --help\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (config && (s.instance || s.xdp || s.inspect || s.mode || s.mirror_link)) {
		fputs("seam run: with -c, `instance`, `mode`, `mirror_link`, `xdp` and the rules are set "
		      "in the file\n",
		      stderr);
		return EXIT_USAGE;
	}
	log_libraries();
	if (geteuid()) {
		log_err("not root; attaching BPF programs, TCP_REPAIR and network namespaces need it: sudo seam run ...");
		return EXIT_FAILED;
	}
	err = config ? policy_load(config, &p, stderr) :
		       from_options(&s, &p);
	if (err) {
		if (err != -EINVAL)
			log_err("%s: %s", config ? config : "command line", strerror(-err));
		return config || err != -EINVAL ? EXIT_FAILED : EXIT_USAGE;
	}
	if (verbose)
		log_level_fixed(verbose > 1 ? LOG_DEBUG + 1 : LOG_DEBUG);
	else
		log_level(p->log);
	return daemon_run(p, config) ? EXIT_FAILED : EXIT_OK;
}
