// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam monitor: prints events as they happen. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client.h"
#include "cmd.h"
#include "show.h"

static const char help[] =
	"usage: seam monitor [-j] [-n MAX] [-i NAME]\n"
	"\n"
	"Prints every change of state of every flow as it happens, until interrupted.\n"
	"While somebody monitors, the kernel side reports flows it decides alone, too.\n"
	"\n"
	"  -n, --number MAX     end after so many events\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           one JSON object per line, with the field names of Suricata's EVE\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 that many events, 1 the daemon ended or does not answer, 2 wrong usage,\n"
	"3 no such daemon.\n";

static void print_end(const json_t *ev, const char *ip, const char *port)
{
	const char *addr = client_text(ev, ip);

	printf(strchr(addr, ':') ? "[%s]:%lld" : "%s:%lld", addr, client_integer(ev, port));
}

static void print_event(const json_t *ev)
{
	const json_t *flow = json_object_get(ev, "flow"), *seam = json_object_get(ev, "seam");
	const json_t *more;

	printf("%.26s ", client_text(ev, "timestamp"));
	if (json_object_get(ev, "lost")) {
		printf("%lld events lost: this monitor did not read fast enough\n",
		       client_integer(ev, "lost"));
		return;
	}
	printf("%lld ", client_integer(ev, "flow_id"));
	print_end(ev, "src_ip", "src_port");
	fputs(" > ", stdout);
	print_end(ev, "dest_ip", "dest_port");
	printf(" %s -> %s (%s) rule %lld%s%s, up %lld/%lld, down %lld/%lld", client_text(seam, "from"),
	       client_text(seam, "to"), client_text(seam, "reason"), client_integer(seam, "rule"),
	       *client_text(seam, "rule_name") ? " " : "", client_text(seam, "rule_name"),
	       client_integer(flow, "pkts_toserver"), client_integer(flow, "bytes_toserver"),
	       client_integer(flow, "pkts_toclient"), client_integer(flow, "bytes_toclient"));
	more = json_object_get(ev, "tls");
	if (more) {
		/* Of what the kernel decided there is only the name. */
		printf(", %s sni %s", *client_text(more, "version") ? client_text(more, "version") : "TLS",
		       *client_text(more, "sni") ? client_text(more, "sni") : "-");
		if (*client_text(more, "ja4"))
			printf(" ja4 %s", client_text(more, "ja4"));
	}
	more = json_object_get(ev, "http");
	if (more && *client_text(more, "http_method"))
		printf(", http %s %s%s", client_text(more, "http_method"), client_text(more, "hostname"),
		       client_text(more, "url"));
	if (json_object_get(more, "status"))
		printf(" %lld", client_integer(more, "status"));
	if (json_object_get(more, "malformed"))
		fputs(", http malformed", stdout);
	more = json_object_get(ev, "alert");
	if (more)
		printf(", pattern %s %s at %lld %s", client_text(more, "signature"), client_text(more, "action"),
		       client_integer(more, "offset"), client_text(more, "direction"));
	putchar('\n');
}

static int follow(FILE *f, bool json, unsigned long long max)
{
	struct timeval forever = {};
	unsigned long long seen = 0;
	bool first = true, silent;
	char *line = NULL;
	size_t room = 0;
	json_t *ev;
	ssize_t n = 0;

	while (!max || seen < max) {
		n = getline(&line, &room, f);
		if (n < 0 && ferror(f) && errno == EINTR) { /* stopped and continued: signal(7) */
			clearerr(f);
			continue;
		}
		if (n <= 0)
			break;
		/* The first line is the answer to the request. */
		ev = json && !first ? NULL : json_loadb(line, n, 0, NULL);
		if (first) {
			if (!json_is_true(json_object_get(ev, "ok"))) {
				fprintf(stderr, "seam monitor: the daemon answers: %s\n", client_text(ev, "error"));
				json_decref(ev);
				free(line);
				return EXIT_FAILED;
			}
			first = false;
			setsockopt(fileno(f), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
		} else {
			if (json)
				fwrite(line, n, 1, stdout);
			else if (ev)
				print_event(ev);
			fflush(stdout);
			seen++;
		}
		json_decref(ev);
		if (ferror(stdout))
			break;
	}
	silent = n < 0 && ferror(f) && errno == EAGAIN;
	free(line);
	if ((max && seen >= max) || ferror(stdout))
		return EXIT_OK;
	fprintf(stderr, "seam monitor: the daemon %s\n",
		!first ? "has ended" :
		silent ? "does not answer" :
			 "does not take monitors (another version?)");
	return EXIT_FAILED;
}

static int monitor(const char *instance, bool json, unsigned long long max)
{
	static const char request[] = "{\"cmd\":\"monitor\"}\n";
	int fd, rc;
	FILE *f;

	if (!client_is_instance("monitor", instance))
		return EXIT_USAGE;
	fd = client_connect(instance);
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return client_no_daemon("monitor", instance);
	if (fd < 0) {
		fprintf(stderr, "seam monitor: %s%s\n",
			fd == -EAGAIN ? "the daemon does not answer" : strerror(-fd),
			fd == -EACCES ? "; run it as root" : "");
		return EXIT_FAILED;
	}
	f = fdopen(fd, "r");
	/* An unwanted client is told so without asking. */
	if (!f || (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0 && errno != EPIPE)) {
		fprintf(stderr, "seam monitor: %s\n", strerror(errno));
		if (f)
			fclose(f);
		else
			close(fd);
		return EXIT_FAILED;
	}
	rc = follow(f, json, max);
	fclose(f);
	return rc;
}

int cmd_monitor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "number", required_argument, NULL, 'n' },
		{ "instance", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *instance = CLIENT_INSTANCE;
	unsigned long long max = 0;
	bool json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "n:i:jh", options, NULL)) != -1) {
		switch (opt) {
		case 'n':
			if (client_number(optarg, 1, ~0ULL, &max))
				break;
			fprintf(stderr, "seam monitor: -n \"%s\": expected a number from 1\n", optarg);
			return EXIT_USAGE;
		case 'i':
			instance = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	return monitor(instance, json, max);
}
