/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the verbs that look at an instance share: its pins, its control socket, its flows.
 * Messages go to stderr and begin with "seam VERB: ".
 */
#ifndef SEAM_CLIENT_H
#define SEAM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "kern.h"
#include "seam/flow.h"

#define CLIENT_INSTANCE "default"

struct client_options {
	const char *instance;
	bool json;
};

/*
 * Parses the command line of a verb that takes -i, -j and -h, and `operands` more from optind
 * on. Returns -1, or the verb's exit code after writing its help or a usage error.
 */
int client_options(int argc, char **argv, const char *help, int operands,
		   struct client_options *o);

/*
 * Opens the maps of an instance. Returns EXIT_OK, or the exit code of the verb with a message
 * that says what to do.
 */
int client_open(const char *verb, const char *instance, struct kern *k);

/* Whether a process holds this instance's lock: where nobody answers, that process is starting. */
bool client_starting(const char *instance);

/*
 * "seam VERB: no daemon runs for instance `X`; ...", or that it is starting; returns the exit
 * status.
 */
int client_no_daemon(const char *verb, const char *instance);

/* "seam VERB: there is no instance `X`; ..."; returns EXIT_NOT_RUNNING. */
int client_no_instance(const char *verb, const char *instance);

/* False, with a message, if `name` cannot be the name of an instance. */
bool client_is_instance(const char *verb, const char *name);

/* A whole number in [min, max]; false if `s` is anything else. */
bool client_number(const char *s, unsigned long long min, unsigned long long max,
		   unsigned long long *n);

/* "KERN_RUN_DIR/INSTANCE.SUFFIX" */
void client_path(const char *instance, const char *suffix, char *path, size_t len);

/* Connects to the control socket; a descriptor, or -ECONNREFUSED etc. */
int client_connect(const char *instance);

/*
 * Sends one request and reads its answer; NULL and errno if the daemon gives none within some
 * seconds. Takes over the reference to `request`. Anything the daemon sends after the answer is lost, so events
 * need a stream of their own.
 */
json_t *client_ask(int fd, json_t *request);

/* One request over a connection of its own; NULL if there is no daemon. */
json_t *client_request(const char *instance, json_t *request);
/* The same, for an answer that may take so many seconds. */
json_t *client_request_within(const char *instance, json_t *request, unsigned int seconds);

/* The daemon's status; NULL and errno if there is none. */
json_t *client_status(const char *instance);

/*
 * The name of rule `number` under policy generation `policy`, from the daemon's status; NULL if
 * it is not known.
 */
const char *client_rule_name(const json_t *status, unsigned int number, unsigned int policy);

/*
 * Calls `each` for every entry of a hash map, read in batches; stops when it
 * returns true. 0 or a negative errno.
 */
int client_each(int map, size_t key_size, size_t value_size,
		bool (*each)(const void *key, const void *value, void *arg), void *arg);

/* The flow with this id, as it is now. 0, -ENOENT, or why it could not be looked for. */
int client_find_flow(const struct kern *k, __u64 id, struct flow_key *key, struct flow *f);
/* The same for a connection in its handshake. */
int client_find_embryo(const struct kern *k, __u64 id, struct flow_key *key, struct embryo *e);

/* Counts a map's entries, walking its keys only. */
size_t client_count(int map, size_t key_size);

/* Size of a map, and the bytes it occupies; false if that is not known. */
bool client_map_size(int map, __u32 *max_entries, unsigned long long *bytes);

/* A member of the daemon's answer; 0 or "" if there is none of that kind. */
long long client_integer(const json_t *at, const char *key);
const char *client_text(const json_t *at, const char *key);

#endif
