// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam reload: makes the running daemon read its policy again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "show.h"

static const char help[] =
	"usage: seam reload [-j] [-i NAME]\n"
	"\n"
	"Makes the daemon read its policy file again. A file with any error changes nothing.\n"
	"Flows that exist keep the policy they were decided by. client, server, mode, mirror_link,\n"
	"instance, xdp, bypass, backlog, workers, max_flows and max_embryos take effect at a start\n"
	"only; those that differ in the file are listed.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 reloaded, 1 the old policy stays in force, 2 wrong usage,\n"
	"3 no such daemon.\n";

/* A policy with many patterns takes long to compile. */
#define PATIENCE_SECONDS 300

static int reload(const char *instance, bool json)
{
	json_t *reply, *name;
	size_t i;
	bool ok;

	if (!client_is_instance("reload", instance))
		return EXIT_USAGE;
	reply = client_request_within(instance, json_pack("{s:s}", "cmd", "reload"), PATIENCE_SECONDS);
	if (!reply) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return client_no_daemon("reload", instance);
		fprintf(stderr, "seam reload: the daemon of instance `%s` does not answer: %s%s\n",
			instance, strerror(errno),
			errno == EACCES	   ? "; run it as root" :
			errno == ETIMEDOUT ? "; it may still reload later, `seam status` tells" :
					     "");
		return EXIT_FAILED;
	}
	ok = json_is_true(json_object_get(reply, "ok"));
	if (!ok)
		fprintf(stderr, "seam reload: not reloaded, the old policy stays in force:\n%s\n",
			json_string_value(json_object_get(reply, "error")));
	if (json) {
		show_print(reply);
		return ok ? EXIT_OK : EXIT_FAILED;
	}
	if (ok)
		printf("%s: reloaded, %lld rules, generation %lld\n",
		       json_string_value(json_object_get(reply, "file")),
		       (long long)json_integer_value(json_object_get(reply, "rules")),
		       (long long)json_integer_value(json_object_get(reply, "generation")));
	json_array_foreach(json_object_get(reply, "restart"), i, name)
		fprintf(stderr, "seam reload: a new `%s` takes effect when the daemon is started "
				"again\n", json_string_value(name));
	json_decref(reply);
	return ok ? EXIT_OK : EXIT_FAILED;
}

int cmd_reload(int argc, char **argv)
{
	struct client_options o;
	int rc = client_options(argc, argv, help, 0, &o);

	if (rc >= 0)
		return rc;
	return reload(o.instance, o.json);
}
