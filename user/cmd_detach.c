// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * seam detach: removes every trace of an instance at once. It first asks a running daemon to
 * stop, and also removes what that leaves for flows that need it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "client.h"
#include "cmd.h"
#include "log.h"
#include "net.h"

static const char help[] =
	"usage: seam detach [-f] [-i NAME]\n"
	"\n"
	"Stops the daemon if it runs, takes the programs off all interfaces and removes the\n"
	"pinned maps and files. Flows go on through the host as if Seam had never been there;\n"
	"those that need something of it (a delta of time or sequence, or to bypass the host's\n"
	"connection tracking) are cut loose, and may break. In mode \"wire\" the wires are cut:\n"
	"no frame passes until they are bridged, or Seam runs again. Call it in the network\n"
	"namespace of the daemon.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -f, --force          also if it is in another network namespace, which is gone\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 nothing is left, 1 it could not be removed, 2 wrong usage, 3 no such\n"
	"instance.\n";

/* The daemon's grace time if it does not say, and how much longer it may take. */
#define GRACE_MS 10000
#define SLACK_MS 3000

struct tally {
	unsigned long long all, deltas, bypass, split;
};

static bool tally_flow(const void *key, const void *value, void *arg)
{
	const struct flow *f = value;
	struct tally *t = arg;

	(void)key;
	if (f->state == FLOW_CLOSING || f->state == FLOW_BLOCKED)
		return false;
	t->all++;
	if (f->state >= FLOW_HELD && f->state <= FLOW_MERGING)
		t->split++;
	else if (f->flags & (FLOW_F_TSDELTA | FLOW_F_EDITED))
		t->deltas++;
	else if (f->flags & FLOW_F_BYPASS)
		t->bypass++;
	return false;
}

/* Waits for a process to end; false if it does not. */
static bool ended(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static int ask_to_stop(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) && errno != ESRCH ? -errno : 0;
}

/* Stops the daemon behind the control socket. EXIT_OK once it is gone. */
static int stop_daemon(const char *instance)
{
	int fd = client_connect(instance), pidfd, err, grace = GRACE_MS, rc = EXIT_FAILED;
	struct ucred peer = {};
	socklen_t len = sizeof(peer);
	json_t *status, *n;

	if (fd < 0) {
		fprintf(stderr, "seam detach: a daemon holds %s/%s.lock, but its control socket "
				"does not answer (%s); find it with `fuser %s/%s.lock`, end it, and try "
				"again\n",
			KERN_RUN_DIR, instance, strerror(-fd), KERN_RUN_DIR, instance);
		return EXIT_FAILED;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	pidfd = peer.pid > 0 ? (int)syscall(SYS_pidfd_open, peer.pid, 0) : -1;
	/* It still answers, so the number has not passed to another process. */
	status = client_ask(fd, json_pack("{s:s}", "cmd", "status"));
	close(fd);
	n = json_object_get(status, "grace");
	if (n)
		grace = json_number_value(n) * 1000;
	if (pidfd < 0 || !status) {
		fprintf(stderr, "seam detach: the daemon (pid %d) does not answer; end it with `kill "
				"-KILL %d`, and try again\n",
			peer.pid, peer.pid);
		goto out;
	}
	err = ask_to_stop(pidfd);
	if (err) {
		fprintf(stderr, "seam detach: stopping the daemon (pid %d): %s\n", peer.pid,
			strerror(-err));
		goto out;
	}
	/* If asked twice, it no longer waits for flows. */
	if (ended(pidfd, grace + SLACK_MS) || (!ask_to_stop(pidfd) && ended(pidfd, SLACK_MS))) {
		printf("stopped the daemon, pid %d\n", peer.pid);
		rc = EXIT_OK;
	} else {
		fprintf(stderr, "seam detach: the daemon (pid %d) does not stop; end it with `kill "
				"-KILL %d`, and try again\n",
			peer.pid, peer.pid);
	}
out:
	json_decref(status);
	if (pidfd >= 0)
		close(pidfd);
	return rc;
}

/* Takes the instance's lock, once no daemon holds it; -1 if there is none. An exit code. */
static int take_lock(const char *instance, int *lock)
{
	const struct timespec wait = { .tv_nsec = 100000000 };
	char path[128];
	int tries, rc;

	client_path(instance, "lock", path, sizeof(path));
	*lock = open(path, O_RDWR | O_CLOEXEC);
	if (*lock < 0)
		return EXIT_OK;
	if (!flock(*lock, LOCK_EX | LOCK_NB))
		return EXIT_OK;
	rc = stop_daemon(instance);
	/* The last descriptor may be closed a moment after the process has gone. */
	for (tries = 0; !rc && tries < 20; tries++) {
		if (!flock(*lock, LOCK_EX | LOCK_NB))
			return EXIT_OK;
		nanosleep(&wait, NULL);
	}
	if (!rc)
		fprintf(stderr, "seam detach: another daemon has taken over `%s`; try again\n",
			instance);
	return EXIT_FAILED;
}

/* Opens a map if it is there: another version may not have all. */
static int open_pin(const char *instance, const char *name)
{
	char dir[256], path[320];

	kern_dir(instance, dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return bpf_obj_get(path);
}

/* The names of the interfaces it is attached to, if they are here. */
static void list_ports(const char *instance, char *buf, size_t len)
{
	__u32 key, *prev = NULL;
	char name[IF_NAMESIZE];
	int map = open_pin(instance, "ports");
	size_t n = 0;

	*buf = '\0';
	while (map >= 0 && n < len && !bpf_map_get_next_key(map, prev, &key)) {
		prev = &key;
		if (if_indextoname(key, name))
			n += snprintf(buf + n, len - n, "%s%s", n ? ", " : "", name);
	}
	if (map >= 0)
		close(map);
}

static void tally_flows(const char *instance, struct tally *t)
{
	int map = open_pin(instance, "flows");

	if (map < 0)
		return;
	/* We cannot read the layout of another version. */
	if (kern_value_size(map) == sizeof(struct flow))
		client_each(map, sizeof(struct flow_key), sizeof(struct flow), tally_flow, t);
	close(map);
}

/* Which wires will be cut, and what joins them again: text to be printed once they are. Free it. */
static char *list_wires(const char *instance)
{
	char client[IF_NAMESIZE], server[IF_NAMESIZE], *text = NULL;
	int map = open_pin(instance, "ports");
	__u32 key, *prev = NULL;
	union kern_value value = {};
	const struct port *port = &value.port;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	while (f && map >= 0 && !bpf_map_get_next_key(map, prev, &key)) {
		prev = &key;
		if (kern_read(map, &key, &value, sizeof(value)) || !port->partner ||
		    port->end != SEAM_CLIENT || !if_indextoname(key, client) ||
		    !if_indextoname(port->partner, server))
			continue;
		fprintf(f, "the wire from %s to %s is cut: no frame passes any more; to join them without "
			   "Seam: ip link add NAME up type bridge, ip link set %s up master NAME, ip link set "
			   "%s up master NAME\n", client, server, client, server);
	}
	if (f)
		fclose(f);
	if (map >= 0)
		close(map);
	return text;
}

static bool remove_file(const char *instance, const char *suffix)
{
	char path[128];

	client_path(instance, suffix, path, sizeof(path));
	return !unlink(path);
}

static void tell_flows(const struct tally *t)
{
	/* What bypassed the host continues through it, unless the host tracks connections. */
	unsigned long long unknown = net_host_is_stateful() ? t->bypass : 0;
	unsigned long long loose = t->deltas + unknown + t->split;

	printf("flows that were forwarded: %llu, cut loose: %llu", t->all, loose);
	if (loose)
		printf(" (%llu held or split, %llu with a delta, %llu that the host's "
		       "connection tracking does not know)",
		       t->split, t->deltas, unknown);
	putchar('\n');
}

/* Removes what is pinned and attached, and says what it was. */
static int remove_pins(const char *instance)
{
	struct tally tally = {};
	char dir[256], ports[1024], *wires;

	kern_dir(instance, dir, sizeof(dir));
	tally_flows(instance, &tally);
	list_ports(instance, ports, sizeof(ports));
	wires = list_wires(instance);
	kern_detach(instance);
	if (!access(dir, F_OK)) {
		free(wires);
		fprintf(stderr, "seam detach: %s could not be removed; look what else is in there\n",
			dir);
		return EXIT_FAILED;
	}
	if (*ports)
		printf("took the programs off %s\n", ports);
	printf("removed %s\n", dir);
	if (wires && *wires)
		printf("%sflows that crossed: %llu\n", wires, tally.all);
	else
		tell_flows(&tally);
	free(wires);
	return EXIT_OK;
}

static bool is_here(const char *instance)
{
	int map = open_pin(instance, "control");
	struct control c;
	__u32 zero = 0;
	bool here = true;

	/* We cannot read the layout of another version. */
	if (map >= 0 && kern_value_size(map) == sizeof(c) && !bpf_map_lookup_elem(map, &zero, &c))
		here = kern_is_here(&c);
	if (map >= 0)
		close(map);
	return here;
}

static bool exists(const char *instance)
{
	char path[256];

	kern_dir(instance, path, sizeof(path));
	if (!access(path, F_OK))
		return true;
	client_path(instance, "sock", path, sizeof(path));
	if (!access(path, F_OK))
		return true;
	client_path(instance, "lock", path, sizeof(path));
	return !access(path, F_OK);
}

/* Whether an instance visible here has noted that it is attached to the interface. */
static bool noted(__u32 ifindex)
{
	struct dirent *e;
	struct port port;
	bool found = false;
	char dir[256];
	DIR *all;
	int map;

	kern_dir("", dir, sizeof(dir));
	all = opendir(dir);
	while (all && !found && (e = readdir(all))) {
		map = *e->d_name == '.' ? -1 : open_pin(e->d_name, "ports");
		/* Of another version one can only tell whether it is there. */
		found = map >= 0 && (kern_value_size(map) != sizeof(port) ||
				     !bpf_map_lookup_elem(map, &ifindex, &port));
		if (map >= 0)
			close(map);
	}
	if (all)
		closedir(all);
	return found;
}

/*
 * Names the interfaces that have programs whose pins are not visible: `ip netns exec` has its
 * own /sys/fs/bpf, and takes it away at its end. False: there are none.
 */
static bool tell_strangers(void)
{
	struct if_nameindex *all = if_nameindex(), *i;
	bool any = false;

	for (i = all; i && i->if_index; i++) {
		if (!kern_attached(i->if_index) || noted(i->if_index))
			continue;
		fprintf(stderr, "seam detach: %s has programs of an instance whose pins are not to be seen here; "
				"if its daemon is gone: tc filter del dev %s ingress pref %d; ip link set dev %s xdp off\n",
			i->if_name, i->if_name, KERN_TC_PRIORITY, i->if_name);
		any = true;
	}
	if (all)
		if_freenameindex(all);
	return any;
}

static int detach(const char *instance, bool force)
{
	char dir[256], ports[1024];
	bool pinned;
	int lock, rc;

	if (!client_is_instance("detach", instance))
		return EXIT_USAGE;
	if (geteuid()) {
		fputs("seam detach: needs root: sudo seam detach ...\n", stderr);
		return EXIT_FAILED;
	}
	if (!exists(instance)) {
		tell_strangers();
		return client_no_instance("detach", instance);
	}
	if (!force && !is_here(instance)) {
		fprintf(stderr, "seam detach: instance `%s` is in another network namespace, and its "
				"programs on the interfaces there: call it there (nsenter --net=...); or with "
				"--force, if that namespace is gone\n", instance);
		return EXIT_FAILED;
	}
	kern_dir(instance, dir, sizeof(dir));
	pinned = !access(dir, F_OK);
	list_ports(instance, ports, sizeof(ports));
	rc = take_lock(instance, &lock);
	if (!rc && !access(dir, F_OK))
		rc = remove_pins(instance);
	else if (!rc && pinned)
		printf("it took its programs off %s and removed %s: no flow needed them any more\n",
		       *ports ? ports : "the interfaces", dir);
	if (!rc && remove_file(instance, "sock"))
		printf("removed %s/%s.sock\n", KERN_RUN_DIR, instance);
	if (!rc && remove_file(instance, "lock"))
		printf("removed %s/%s.lock\n", KERN_RUN_DIR, instance);
	if (!rc)
		rmdir(KERN_RUN_DIR); /* if this was the last instance */
	if (!rc && !pinned && tell_strangers())
		rc = EXIT_FAILED;
	if (lock >= 0)
		close(lock);
	return rc;
}

int cmd_detach(int argc, char **argv)
{
	static const struct option options[] = {
		{ "instance", required_argument, NULL, 'i' },
		{ "force", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *instance = CLIENT_INSTANCE;
	bool force = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "i:fh", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			instance = optarg;
			break;
		case 'f':
			force = true;
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
	log_libraries();
	return detach(instance, force);
}
