// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam split, seam merge, seam relay: transitions by hand. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "policy.h"
#include "show.h"

static const char help[] =
	"usage: seam split [-j] [-i NAME] ID\n"
	"       seam merge [-j] [-i NAME] ID\n"
	"       seam relay [-j] [-i NAME] ID auto|kernel|userspace\n"
	"\n"
	"`split` takes over a flow that is monitored, passed or merged, whatever is on its way\n"
	"in it, and keeps it split until `merge`. `merge` lets a split flow go, whoever split it; its\n"
	"inspectors see no more of it. `seam flows` lists the IDs, `seam flow ID` shows what\n"
	"came of it. A merge that still waits for something shows what, and `split` gives it up.\n"
	"`relay` says who moves the bytes of a split flow that nobody reads.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 begun, 1 refused, 2 wrong usage, 3 no such instance, daemon or flow.\n";

static int ask(const char *verb, const char *how, const char *instance, unsigned long long id,
	       const struct flow_key *of, bool json)
{
	char key[2 * sizeof(*of) + 1];
	const char *why;
	json_t *reply;
	size_t i;
	bool ok;

	for (i = 0; i < sizeof(*of); i++)
		snprintf(key + 2 * i, 3, "%02x", ((const unsigned char *)of)[i]);
	reply = client_request(instance, json_pack("{s:s, s:I, s:s, s:s*}", "cmd", verb, "id",
						   (json_int_t)id, "key", key, "how", how));
	if (!reply) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return client_no_daemon(verb, instance);
		fprintf(stderr, "seam %s: the daemon of instance `%s` does not answer: %s\n", verb,
			instance, strerror(errno));
		return EXIT_FAILED;
	}
	ok = json_is_true(json_object_get(reply, "ok"));
	if (!ok)
		fprintf(stderr, "seam %s: flow %llu: %s\n", verb, id,
			json_string_value(json_object_get(reply, "error")));
	if (json) {
		show_print(reply);
		return ok ? EXIT_OK : EXIT_FAILED;
	}
	if (ok) {
		why = json_string_value(json_object_get(reply, "reason_text"));
		printf("flow %llu: %s%s%s\n", id, json_string_value(json_object_get(reply, "state")),
		       why ? ": " : "", why ? why : "");
	}
	json_decref(reply);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int transition(const char *verb, const char *how, const char *instance, const char *text,
		      bool json)
{
	unsigned long long id;
	struct flow_key key;
	struct kern k;
	struct flow f;
	int rc;

	if (!client_number(text, 1, ~0ULL >> 1, &id)) {
		fprintf(stderr, "seam %s: `%s` is no flow's ID; `seam flows` lists them\n", verb, text);
		return EXIT_USAGE;
	}
	rc = client_open(verb, instance, &k);
	if (rc)
		return rc;
	rc = client_find_flow(&k, id, &key, &f);
	kern_close(&k);
	if (rc == -ENOENT) {
		fprintf(stderr, "seam %s: there is no flow %llu; `seam flows` lists them\n", verb, id);
		return EXIT_NOT_RUNNING;
	}
	if (rc) {
		fprintf(stderr, "seam %s: reading the flows: %s\n", verb, strerror(-rc));
		return EXIT_FAILED;
	}
	return ask(verb, how, instance, id, &key, json);
}

int cmd_split(int argc, char **argv)
{
	struct client_options o;
	const char *verb = argv[0] + strlen("seam ");
	bool relay = !strcmp(verb, "relay");
	int rc = client_options(argc, argv, help, 1 + relay, &o);
	enum policy_relay named;
	const char *how;

	if (rc >= 0)
		return rc;
	if (!client_is_instance(verb, o.instance))
		return EXIT_USAGE;
	how = relay ? argv[optind + 1] : NULL;
	if (how && !policy_relay_named(how, &named)) {
		fprintf(stderr, "seam relay: `%s` relays nothing; expected auto, kernel or userspace\n", how);
		return EXIT_USAGE;
	}
	return transition(verb, how, o.instance, argv[optind], o.json);
}
