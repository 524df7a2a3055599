// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "cmd.h"
#include "policy_value.h"
#include "show.h"

#define BATCH 512
#define ANSWER_SECONDS 5
#define ANSWER_MAX (4 << 20)

bool client_is_instance(const char *verb, const char *name)
{
	if (value_is_name(name, POLICY_NAME_MAX, false))
		return true;
	fprintf(stderr, "seam %s: \"%s\" cannot be an instance; expected letters, digits, '-' and '_'\n",
		verb, name);
	return false;
}

bool client_number(const char *s, unsigned long long min, unsigned long long max,
		   unsigned long long *n)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*n = strtoull(s, &end, 10);
	return !errno && !*end && *n >= min && *n <= max;
}

void client_path(const char *instance, const char *suffix, char *path, size_t len)
{
	snprintf(path, len, "%s/%s.%s", KERN_RUN_DIR, instance, suffix);
}

int client_no_instance(const char *verb, const char *instance)
{
	DIR *dir = opendir(KERN_BPFFS "/seam");
	struct dirent *de;
	int n = 0;

	fprintf(stderr, "seam %s: there is no instance `%s`", verb, instance);
	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		fprintf(stderr, "%s `%s`", n++ ? "," : "; -i may name", de->d_name);
	}
	if (dir)
		closedir(dir);
	fputs(n ? "\n" : ", nor any other; `seam run` starts one\n", stderr);
	return EXIT_NOT_RUNNING;
}

int client_options(int argc, char **argv, const char *help, int operands,
		   struct client_options *o)
{
	static const struct option options[] = {
		{ "instance", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int opt;

	*o = (struct client_options){ .instance = CLIENT_INSTANCE };
	while ((opt = getopt_long(argc, argv, "i:jh", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			o->instance = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != operands) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/*
 * The process that holds the lock of this instance; 0: none, -1: one that has not said who it
 * is.
 */
static int locked_by(const char *instance)
{
	char path[128], text[16] = "";
	bool locked;
	int fd, pid;

	client_path(instance, "lock", path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	locked = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	pid = read(fd, text, sizeof(text) - 1) > 0 ? atoi(text) : 0;
	close(fd);
	return !locked ? 0 : pid > 0 ? pid : -1;
}

/* Whether a process is in another mount namespace than this one. */
static bool mounts_elsewhere(int pid)
{
	struct stat here, there;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	return !stat("/proc/self/ns/mnt", &here) && !stat(path, &there) && here.st_ino != there.st_ino;
}

bool client_starting(const char *instance)
{
	int pid = locked_by(instance);

	return pid && !mounts_elsewhere(pid);
}

static int say_starting(const char *verb, const char *instance)
{
	fprintf(stderr, "seam %s: instance `%s` is starting; try again in a moment\n", verb, instance);
	return EXIT_FAILED;
}

int client_no_daemon(const char *verb, const char *instance)
{
	if (client_starting(instance))
		return say_starting(verb, instance);
	fprintf(stderr, "seam %s: no daemon runs for instance `%s`; `seam run` starts one\n", verb, instance);
	return EXIT_NOT_RUNNING;
}

int client_open(const char *verb, const char *instance, struct kern *k)
{
	int err, pid;

	if (!client_is_instance(verb, instance))
		return EXIT_USAGE;
	err = kern_open(k, instance);
	if ((err ? err != -EPERM && err != -EACCES : !k->control->abi) && (pid = locked_by(instance))) {
		if (!err)
			kern_close(k);
		if (!mounts_elsewhere(pid))
			return say_starting(verb, instance);
		fprintf(stderr, "seam %s: instance `%s` is process %d, whose pins are not to be seen here, "
				"in another mount namespace: nsenter -t %d -m seam %s ...\n",
			verb, instance, pid, pid, verb);
		return EXIT_FAILED;
	}
	if (!err && k->control->abi != SEAM_ABI) {
		fprintf(stderr, "seam %s: instance `%s` was made by another version of seam (layout "
				"%u, this is %u); use that one, or `seam detach -i %s`\n",
			verb, instance, k->control->abi, SEAM_ABI, instance);
		kern_close(k);
		return EXIT_FAILED;
	}
	if (!err) {
		if (!kern_is_here(k->control))
			fprintf(stderr, "seam %s: instance `%s` is in another network namespace: the names of "
					"interfaces are not those below; enter it by nsenter --net=...\n",
				verb, instance);
		return EXIT_OK;
	}
	if (err == -EPERM || err == -EACCES) {
		fprintf(stderr, "seam %s: not permitted to open %s; run it as root: sudo seam %s ...\n",
			verb, k->dir, verb);
		return EXIT_FAILED;
	}
	if (err != -ENOENT || !access(k->dir, F_OK)) {
		fprintf(stderr, "seam %s: %s is incomplete (%s), or made by another version of seam; "
				"`seam detach -i %s` removes it\n",
			verb, k->dir, strerror(-err), instance);
		return EXIT_FAILED;
	}
	return client_no_instance(verb, instance);
}

static void patience(int fd, unsigned int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

int client_connect(const char *instance)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, err;

	client_path(instance, "sock", sun.sun_path, sizeof(sun.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	patience(fd, ANSWER_SECONDS);
	if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* Reads up to the end of a line; the caller frees it. */
static char *read_line(int fd, size_t *len)
{
	size_t room = 65536;
	char *buf = malloc(room), *more;
	ssize_t n;

	for (*len = 0; buf; *len += n) {
		if (*len && buf[*len - 1] == '\n')
			return buf;
		if (*len == room) {
			more = room < ANSWER_MAX ? realloc(buf, room * 2) : NULL;
			if (!more) {
				errno = EMSGSIZE;
				break;
			}
			buf = more;
			room *= 2;
		}
		n = recv(fd, buf + *len, room - *len, 0);
		if (n < 0 && errno == EINTR) {
			n = 0;
			continue;
		}
		if (n <= 0) {
			errno = !n ? ECONNRESET : errno == EAGAIN ? ETIMEDOUT : errno;
			break;
		}
	}
	free(buf);
	return NULL;
}

json_t *client_ask(int fd, json_t *request)
{
	char *line = json_dumps(request, JSON_COMPACT), *answer = NULL;
	json_t *reply = NULL;
	size_t len;

	json_decref(request);
	if (!line)
		return NULL;
	len = strlen(line);
	line[len++] = '\n'; /* in place of its NUL */
	/* An unwanted client is told so without asking. */
	if (send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len || errno == EPIPE)
		answer = read_line(fd, &len);
	if (answer) {
		reply = json_loadb(answer, len, JSON_DISABLE_EOF_CHECK, NULL);
		if (!reply)
			errno = EPROTO;
	}
	free(line);
	free(answer);
	return reply;
}

json_t *client_request_within(const char *instance, json_t *request, unsigned int seconds)
{
	int fd = client_connect(instance), err;
	json_t *reply;

	if (fd < 0) {
		json_decref(request);
		errno = -fd;
		return NULL;
	}
	patience(fd, seconds);
	reply = client_ask(fd, request);
	err = errno;
	close(fd);
	errno = err;
	return reply;
}

json_t *client_request(const char *instance, json_t *request)
{
	return client_request_within(instance, request, ANSWER_SECONDS);
}

json_t *client_status(const char *instance)
{
	json_t *status = client_request(instance, json_pack("{s:s}", "cmd", "status"));

	if (json_is_true(json_object_get(status, "ok")))
		return status;
	if (status) {
		fprintf(stderr, "seam: the daemon answers: %s\n", client_text(status, "error"));
		json_decref(status);
		errno = EPROTO;
	}
	return NULL;
}

const char *client_rule_name(const json_t *status, unsigned int number, unsigned int policy)
{
	json_t *rules = json_object_get(status, "rules");

	if (!number)
		return "default";
	if (!status || (__u16)json_integer_value(json_object_get(status, "generation")) != policy)
		return NULL;
	return json_string_value(json_object_get(json_array_get(rules, number - 1), "name"));
}

int client_each(int map, size_t key_size, size_t value_size,
		bool (*each)(const void *key, const void *value, void *arg), void *arg)
{
	char *keys = NULL, *values = NULL;
	__u32 in = 0, out = 0, n, i, batch = BATCH;
	bool first = true, stop = false;
	int err = 0;

	while (!err && !stop) {
		if (!keys) {
			keys = malloc(batch * key_size);
			values = malloc(batch * value_size);
			if (!keys || !values) {
				err = -ENOMEM;
				break;
			}
		}
		n = batch;
		err = bpf_map_lookup_batch(map, first ? NULL : &in, &out, keys, values, &n, NULL);
		if (err == -ENOSPC && batch < BATCH << 10) {
			/* A bucket has more entries than that. */
			batch *= 2;
			free(keys);
			free(values);
			keys = values = NULL;
			err = 0;
			continue;
		}
		if (err && err != -ENOENT)
			break;
		for (i = 0; i < n && !stop; i++)
			stop = each(keys + i * key_size, values + i * value_size, arg);
		in = out;
		first = false;
	}
	free(keys);
	free(values);
	return err == -ENOENT ? 0 : err;
}

struct search {
	__u64 id;
	struct flow_key key;
	struct embryo embryo;
	bool found;
};

static bool is_flow(const void *key, const void *value, void *arg)
{
	const struct flow *f = value;
	struct search *s = arg;

	if (f->id != s->id)
		return false;
	memcpy(&s->key, key, sizeof(s->key));
	return s->found = true;
}

static bool is_embryo(const void *key, const void *value, void *arg)
{
	const struct embryo *e = value;
	struct search *s = arg;

	if (e->id != s->id)
		return false;
	memcpy(&s->key, key, sizeof(s->key));
	s->embryo = *e;
	return s->found = true;
}

int client_find_flow(const struct kern *k, __u64 id, struct flow_key *key, struct flow *f)
{
	struct search s = { .id = id };
	int err = client_each(k->maps.flows, sizeof(*key), sizeof(*f), is_flow, &s);

	if (err)
		return err;
	/* The batch may have caught a half-made update: read the entry again, under its lock. */
	if (!s.found || kern_flow(k, &s.key, f) || f->id != id)
		return -ENOENT;
	*key = s.key;
	return 0;
}

int client_find_embryo(const struct kern *k, __u64 id, struct flow_key *key, struct embryo *e)
{
	struct search s = { .id = id };
	int err = client_each(k->maps.embryos, sizeof(*key), sizeof(*e), is_embryo, &s);

	if (err)
		return err;
	if (!s.found)
		return -ENOENT;
	*key = s.key;
	*e = s.embryo;
	return 0;
}

size_t client_count(int map, size_t key_size)
{
	unsigned char a[64], b[64];
	bool first = true;
	__u32 max = 0;
	size_t n = 0;

	if (key_size > sizeof(a) || !client_map_size(map, &max, NULL))
		return 0;
	/* The walk starts again if a key has vanished: count no more than there can be. */
	while (n < max && !bpf_map_get_next_key(map, first ? NULL : a, b)) {
		memcpy(a, b, key_size);
		first = false;
		n++;
	}
	return n;
}

bool client_map_size(int map, __u32 *max_entries, unsigned long long *bytes)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char path[64], line[128];
	bool found = false;
	FILE *f;

	if (bpf_obj_get_info_by_fd(map, &info, &len))
		return false;
	*max_entries = info.max_entries;
	if (!bytes)
		return true;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "memlock: %llu", bytes) == 1;
	if (f)
		fclose(f);
	return found;
}

long long client_integer(const json_t *at, const char *key)
{
	return json_integer_value(json_object_get(at, key));
}

const char *client_text(const json_t *at, const char *key)
{
	return json_string_value(json_object_get(at, key)) ?: "";
}
