// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cmd.h"
#include "client.h"
#include "daemon.h"
#include "leg.h"
#include "log.h"
#include "net.h"
#include "notify.h"

#define HEARTBEAT_MS 50
#define PATIENCE_MS 1000
#define HOLD_QUEUE 16384
#define HOLD_BYTES (256 * 1024)
/* Events read before other work gets its turn. */
#define EVENT_BATCH 256

static int epoll_set(int epoll, int op, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(epoll, op, w->fd, &ev) ? -errno : 0;
}

int watch_begin(int epoll, struct watch *w, uint32_t events)
{
	return epoll_set(epoll, EPOLL_CTL_ADD, w, events);
}

int watch_again(int epoll, struct watch *w, uint32_t events)
{
	return epoll_set(epoll, EPOLL_CTL_MOD, w, events);
}

void watch_end(int epoll, struct watch *w)
{
	epoll_set(epoll, EPOLL_CTL_DEL, w, 0);
}

/* Opens the lock file and locks it. Negative errno; -EBUSY: a daemon has it. */
static int lock_open(const char *path)
{
	struct stat st;
	int fd, tries;

	for (tries = 0; tries < 10; tries++) {
		if (mkdir(KERN_RUN_DIR, 0755) && errno != EEXIST)
			return -errno;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno != ENOENT)
			return -errno;
		if (fd < 0)
			continue;
		/*
		 * Whoever asks who holds it has it for a moment, and a daemon that ends removes
		 * it.
		 */
		if (flock(fd, LOCK_EX | LOCK_NB))
			usleep(10000);
		else if (!fstat(fd, &st) && st.st_nlink)
			return fd;
		close(fd);
	}
	return -EBUSY;
}

static int take_lock(struct daemon *d, const char *instance)
{
	char path[128];

	client_path(instance, "lock", path, sizeof(path));
	d->lock = lock_open(path);
	if (d->lock == -EBUSY)
		log_err("instance `%s` is running already (%s is locked); `seam status -i %s` shows it, "
			"another `instance` name starts a second one", instance, path, instance);
	else if (d->lock < 0)
		log_err("opening %s: %s", path, strerror(-d->lock));
	/* For those who ask who holds it. */
	else if (ftruncate(d->lock, 0) || dprintf(d->lock, "%d\n", getpid()) < 0)
		log_warn("writing %s: %s", path, strerror(errno));
	return d->lock < 0 ? d->lock : 0;
}

/* The lock file stays as long as anything is pinned: `seam detach` looks for it. */
static void drop_lock(struct daemon *d)
{
	const char *instance = d->started->instance;
	char path[256];

	if (d->lock < 0)
		return;
	kern_dir(instance, path, sizeof(path));
	if (access(path, F_OK)) {
		client_path(instance, "lock", path, sizeof(path));
		unlink(path);
		rmdir(KERN_RUN_DIR); /* if this was the last instance */
	}
	close(d->lock);
}

/* Whether rule numbers mean the same in both. */
static bool same_rules(const struct policy *a, const struct policy *b)
{
	size_t i;

	for (i = 0; i < a->n_rules && i < b->n_rules; i++)
		if (strcmp(a->rules[i].name, b->rules[i].name))
			return false;
	return a->n_rules == b->n_rules;
}

int daemon_policy(struct daemon *d, struct policy *p)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	int n = policy_compile(p, lines, SEAM_RULES_MAX, d->generation + 1), n_names, err;
	struct policy_name *names;

	if (n < 0)
		return n;
	n_names = policy_names(p, &names);
	if (n_names < 0)
		return n_names;
	err = kern_policy(&d->kern, lines, n, names, n_names, d->generation + 1);
	if (!err) {
		/*
		 * A rule does not show another's counts. Of a previous run only the numbers are
		 * known.
		 */
		if (p == d->policy || !same_rules(d->policy, p))
			kern_counters_clear(d->kern.maps.rule_hits, SEAM_POLICY_RULES_MAX + 1);
		d->generation++;
		d->kern.control->fail_block = policy_fails_closed(p);
		d->kern.control->block_untracked = p->block_untracked;
	}
	free(names);
	return err;
}

static int on_event(void *ctx, void *data, size_t len)
{
	struct daemon *d = ctx;

	if (len < sizeof(struct seam_event))
		return 0;
	conn_event(d, data);
	control_event(d, data);
	/* The rest is not lost: the descriptor stays readable. */
	return ++d->events_read % EVENT_BATCH ? 0 : -EAGAIN;
}

static void events_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	ring_buffer__consume(d->ring);
}

static void stop(struct daemon *d)
{
	struct conn *c, *next;

	if (d->stopping) {
		d->stop_now = true;
		return;
	}
	d->stopping = true;
	notify("STOPPING=1");
	d->stop_ns = kern_now() + d->policy->grace_ns;
	d->kern.control->draining = 1;
	HASH_ITER(hh, d->conns, c, next) {
		daemon_beat(d);
		if (c->phase == CONN_HELD) {
			hold_let_out(d, c, SEAM_R_SHUTDOWN);
		} else if (c->phase == CONN_SPLIT) {
			if (!c->rule)
				conn_decided(d, c, &c->policy->default_rule);
			conn_end_due(d, c, SEAM_R_SHUTDOWN);
		}
	}
}

static void signals_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGHUP)
			reload_signalled(d);
		else
			stop(d);
	}
}

static void timer_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0)
		return;
	notify_alive(kern_now());
	conn_tick(d, kern_now());
	mirror_tick(d, kern_now());
	neigh_tick(d, kern_now());
	sweep_run(d);
}

/* The signals read from d->signals. */
static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL);
}

static int watches_open(struct daemon *d)
{
	struct itimerspec every = {
		.it_interval.tv_nsec = HEARTBEAT_MS * 1000000L,
		.it_value.tv_nsec = HEARTBEAT_MS * 1000000L,
	};
	sigset_t set;
	int err;

	block_signals(&set);
	signal(SIGPIPE, SIG_IGN);
	d->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	d->signals.ready = signals_ready;
	d->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	d->timer.ready = timer_ready;
	if (d->signals.fd < 0 || d->timer.fd < 0 || timerfd_settime(d->timer.fd, 0, &every, NULL))
		return -errno;
	d->look.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	d->look.ready = relay_kernel_look;
	if (d->look.fd < 0)
		return -errno;
	d->ring = ring_buffer__new(d->kern.maps.events, on_event, d, NULL);
	if (!d->ring)
		return -errno;
	d->events.fd = ring_buffer__epoll_fd(d->ring);
	d->events.ready = events_ready;
	d->hold.ready = hold_ready;
	if ((err = watch_begin(d->epoll, &d->signals, EPOLLIN)) ||
	    (err = watch_begin(d->epoll, &d->timer, EPOLLIN)) ||
	    (err = watch_begin(d->epoll, &d->look, EPOLLIN)) ||
	    (err = watch_begin(d->epoll, &d->events, EPOLLIN)) ||
	    (err = pace_open(d)) ||
	    (err = watch_begin(d->epoll, &d->hold, EPOLLIN)))
		return err;
	return control_open(d);
}

/* Deletes links left behind by a daemon that was killed. */
static void links_clean(struct daemon *d)
{
	struct control *c = d->kern.control;

	if (c->veth_ifindex)
		net_link_delete(c->veth_ifindex, "seam");
	if (c->tap_ifindex)
		net_link_delete(c->tap_ifindex, "seam");
	c->veth_ifindex = c->tap_ifindex = 0;
}

static int start(struct daemon *d)
{
	struct control *c;
	unsigned int n;
	int err;

	err = kern_load(&d->kern, d->policy, d->started->instance);
	if (err)
		return err;
	c = d->kern.control;
	if (d->kern.recovered && !kern_is_here(c)) {
		log_err("instance `%s` is in another network namespace; start it there, or give this one "
			"another `instance` name. If that namespace is gone: seam detach --force -i %s",
			d->started->instance, d->started->instance);
		kern_close(&d->kern); /* not ours to undo */
		return -EXDEV;
	}
	if (d->kern.recovered && c->mode != d->policy->mode) {
		log_err("instance `%s` was left in mode \"%s\", and what it let go is still forwarded so; "
			"`seam detach -i %s` removes that, and then it can start in mode \"%s\"",
			d->started->instance, policy_mode_name(c->mode), d->started->instance,
			policy_mode_name(d->policy->mode));
		kern_close(&d->kern);
		return -EEXIST;
	}
	c->mode = d->policy->mode;
	c->netns = net_cookie();
	links_clean(d);
	c->verbose = 0;
	c->heartbeat_ns = 0;
	c->patience_ms = PATIENCE_MS;
	c->hold_bytes = HOLD_BYTES;
	c->hold_max_us = HOLD_MAX_US;
	d->generation = c->policy;
	if (d->kern.recovered) {
		n = sweep_recover(d);
		log_info("took over %u flows of the run before", n);
	}
	d->hold.fd = net_hold_open(HOLD_QUEUE, &d->hold_ifindex);
	if (d->hold.fd < 0) {
		log_err("opening the hold device (a TAP): %s%s", strerror(-d->hold.fd),
			d->hold.fd == -ENOENT ? "; the kernel needs CONFIG_TUN, or: modprobe tun" : "");
		return d->hold.fd;
	}
	err = kern_attach_hold(&d->kern, d->hold_ifindex);
	if (err) {
		log_err("attaching to the hold device: %s", strerror(-err));
		return err;
	}
	err = net_inner_open(&d->host_ns, &d->inner_ns, &d->veth_ifindex, &d->inner_ifindex);
	if (err) {
		log_err("making the inner namespace: %s", strerror(-err));
		return err;
	}
	err = kern_attach_veth(&d->kern, d->veth_ifindex);
	if (!err) {
		if (setns(d->inner_ns, CLONE_NEWNET))
			return -errno;
		err = kern_attach_inner(&d->kern, d->inner_ifindex);
		if (!err)
			err = primer_open(&d->primer);
		if (!err)
			relay_kernel_open(d);
		if (setns(d->host_ns, CLONE_NEWNET))
			return -errno;
	}
	if (err) {
		log_err("attaching to the veth pair, and opening raw sockets behind it: %s",
			strerror(-err));
		return err;
	}
	c->tap_ifindex = d->hold_ifindex;
	c->veth_ifindex = d->veth_ifindex;
	return 0;
}

/* Whether a port has an IPv6 address that is valid beyond its own link. */
static bool has_ipv6(const struct daemon *d)
{
	FILE *f = fopen("/proc/net/if_inet6", "re");
	unsigned int ifindex, scope;
	bool has = false;
	int i;

	while (f && !has && fscanf(f, "%*32s %x %*x %x %*x %*s", &ifindex, &scope) == 2)
		for (i = 0; i < d->kern.n_ports; i++)
			has |= !scope && (int)ifindex == d->kern.ports[i].ifindex;
	if (f)
		fclose(f);
	return has;
}

/* Whether a port has an IPv4 address. */
static bool has_ipv4(const struct daemon *d)
{
	struct ifreq ifr = {};
	bool has = false;
	int i;

	for (i = 0; i < d->kern.n_ports && !has; i++) {
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", d->kern.ports[i].name);
		has = !net_ifreq(SIOCGIFADDR, &ifr);
	}
	return has;
}

static void warn_unless_router(const struct daemon *d)
{
	if (has_ipv4(d) && !net_sysctl_read("net/ipv4/ip_forward", 1))
		log_warn("this box does not forward IPv4, and its ports have addresses for it: "
			 "sysctl -w net.ipv4.ip_forward=1");
	if (has_ipv6(d) && !net_sysctl_read("net/ipv6/conf/all/forwarding", 1))
		log_warn("this box does not forward IPv6, and its ports have addresses for it: "
			 "sysctl -w net.ipv6.conf.all.forwarding=1");
}

static int attach_all(struct daemon *d)
{
	const struct policy *p = d->policy;
	bool wire = p->mode == MODE_WIRE;
	size_t i;
	int err;

	for (i = 0; i < p->client.n; i++) {
		err = kern_attach(&d->kern, p->client.v[i], wire ? p->server.v[i] : NULL,
				  SEAM_CLIENT, p->xdp);
		if (err)
			return err;
	}
	for (i = 0; i < p->server.n; i++) {
		err = kern_attach(&d->kern, p->server.v[i], wire ? p->client.v[i] : NULL,
				  SEAM_SERVER, p->xdp);
		if (err)
			return err;
	}
	kern_detach_dropped(&d->kern);
	if ((err = neigh_open(d)) || (err = conntrack_open(d))) {
		log_err("opening a netlink socket: %s", strerror(-err));
		return err;
	}
	if (!wire)
		warn_unless_router(d);
	err = mirror_open(d);
	if (err)
		log_err("asking for the links of the ports: %s", strerror(-err));
	return err;
}

static void loop(struct daemon *d)
{
	struct epoll_event ev[64];
	bool done = false;
	struct watch *w;
	int n, i;

	while (!done && !d->stop_now) {
		daemon_beat(d);
		n = epoll_wait(d->epoll, ev, 64, -1);
		workers_halt(d);
		for (i = 0; i < n; i++) {
			w = ev[i].data.ptr;
			/* Each may take long, and split flows live no longer than the heartbeat. */
			daemon_beat(d);
			if (w->fd >= 0)
				w->ready(d, w, ev[i].events);
		}
		conn_bury(&d->dead);
		if (!d->threads)
			conn_bury(&d->workers->dead);
		done = d->stopping && (!HASH_COUNT(d->conns) || kern_now() >= d->stop_ns);
		workers_resume(d);
	}
	workers_stop(d);
}

/* Ends what cannot be merged, and removes what nobody needs. */
static void finish(struct daemon *d)
{
	bool failed = d->failed && !d->stopping;
	struct sweep_census census;
	struct conn *c, *next;
	unsigned int lost = 0;

	HASH_ITER(hh, d->conns, c, next) {
		/* The kernel side gives it its rule's fail answer, as after a daemon was killed. */
		if (c->phase == CONN_HELD && failed) {
			conn_free(d, c);
			continue;
		}
		if (c->phase == CONN_HELD) {
			hold_let_out(d, c, SEAM_R_SHUTDOWN);
			continue;
		}
		lost++;
		if (!failed)
			log_warn("flow %llu: not merged within the grace time; it is reset", (unsigned long long)c->id);
		conn_ctl(d, c, CTL_RECOVER, SEAM_R_SHUTDOWN, 0, NULL);
		split_reset(c);
		conn_free(d, c);
	}
	if (lost)
		log_warn("split flows that were reset: %u%s", lost,
			 failed ? "" : "; a longer `grace` in the policy waits longer for an end that does not read");
	/* Packets just released may still be on their way through the device. */
	if (!failed)
		hold_ready(d, &d->hold, EPOLLIN);
	setns(d->host_ns, CLONE_NEWNET);
	mirror_close(d);
	d->stateful = net_host_is_stateful();
	sweep_census(d, &census);
	d->kern.control->heartbeat_ns = 0;
	d->kern.control->tap_ifindex = 0;
	d->kern.control->veth_ifindex = 0;
	net_link_delete(d->veth_ifindex, "seam");
	if (failed) {
		log_info("left in place as by a daemon that was killed: new flows get the fail answers of their "
			 "rules until `seam run` takes over, or `seam detach -i %s` removes it",
			 d->started->instance);
		return;
	}
	if (d->started->mode == MODE_WIRE) {
		log_info("the wires are left in place, and every frame crosses them; `seam detach -i %s` "
			 "cuts them, `seam run` takes them over", d->started->instance);
		return;
	}
	if (census.all) {
		log_info("left in place to forward %u flows: %u need a delta, %u are unknown to the "
			 "connection tracking of this host, %u are to be inspected later, %u would be "
			 "dropped as untracked; `seam detach -i %s` removes it, `seam run` takes it over",
			 census.all, census.deltas, census.bypass, census.armed, census.untracked,
			 d->started->instance);
		return;
	}
	kern_detach(d->started->instance);
	log_info("detached; nothing is left");
}

static struct daemon *daemon_new(struct policy *policy, const char *config)
{
	struct daemon *d = calloc(1, sizeof(*d));
	struct stat st;

	if (!d)
		return NULL;
	d->policy = policy;
	d->started = policy_get(policy);
	/* Only a regular file can be read again; a pipe would block for ever. */
	d->config = config && !stat(config, &st) && S_ISREG(st.st_mode) ? strdup(config) : NULL;
	d->lock = d->host_ns = d->inner_ns = d->hold.fd = d->listener.fd = d->pacer.fd = d->halt = -1;
	d->primer.fd4 = d->primer.fd6 = -1;
	d->buf = malloc(FRAME_MAX);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	return d;
}

static void daemon_free(struct daemon *d)
{
	workers_close(d);
	primer_close(&d->primer);
	if (d->hold.fd >= 0)
		close(d->hold.fd);
	if (d->inner_ns >= 0)
		close(d->inner_ns);
	if (d->host_ns >= 0)
		close(d->host_ns);
	if (d->epoll >= 0)
		close(d->epoll);
	drop_lock(d);
	later_close(d);
	policy_put(d->policy);
	policy_put(d->started);
	free(d->config);
	free(d->buf);
	free(d);
}

/*
 * What the daemon needs before it touches anything: memory, workers, and that it is the only
 * one.
 */
static int prepare(struct daemon *d)
{
	struct rlimit files;
	char why[256];
	int err;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	err = leg_congestion(d->policy->congestion, why, sizeof(why));
	if (err) {
		log_err("%s", why);
		return err;
	}
	err = conn_seed();
	if (err) {
		log_err("asking for random numbers: %s", strerror(-err));
		return err;
	}
	err = d->buf && d->epoll >= 0 ? workers_open(d, d->policy->workers) : -ENOMEM;
	if (err) {
		log_err("preparing %u workers: %s", d->policy->workers, strerror(-err));
		return err;
	}
	return take_lock(d, d->policy->instance);
}

/* Brings everything into place and attaches the ports. After a failure, call take_down(). */
static int bring_up(struct daemon *d)
{
	int err = start(d);

	if (err)
		return err;
	err = daemon_policy(d, d->policy);
	if (err) {
		log_err("putting the policy in force: %s", strerror(-err));
		return err;
	}
	err = watches_open(d);
	if (err) {
		log_err("setting up: %s", strerror(-err));
		return err;
	}
	daemon_beat(d);
	err = attach_all(d);
	if (err)
		return err;
	/* The legs are made in the thread's namespace. */
	if (setns(d->inner_ns, CLONE_NEWNET)) {
		err = -errno;
		log_err("entering the inner namespace: %s", strerror(-err));
		return err;
	}
	err = workers_start(d);
	if (err) {
		log_err("starting %u workers: %s", d->n_workers, strerror(-err));
		return err;
	}
	/* Not earlier: an instance that was stopped stays so if this fails. */
	d->kern.control->draining = 0;
	limits_open(d);
	notify("READY=1");
	log_info("ready: %zu client and %zu server interfaces, %zu rules, instance %s",
		 d->policy->client.n, d->policy->server.n, d->policy->n_rules,
		 d->started->instance);
	return 0;
}

/* Leaves nothing half made; another daemon's state stays as it was. */
static void take_down(struct daemon *d)
{
	workers_stop(d);
	if (d->host_ns >= 0)
		setns(d->host_ns, CLONE_NEWNET);
	if (d->kern.control) {
		links_clean(d);
		if (!d->kern.recovered)
			kern_detach(d->started->instance);
	}
}

int daemon_run(struct policy *policy, const char *config)
{
	struct daemon *d = daemon_new(policy, config);
	sigset_t signals;
	int err;

	if (!d)
		return -ENOMEM;
	/* Signals end it while it starts, too, as they do later. */
	block_signals(&signals);
	notify_open();
	err = prepare(d);
	if (err) {
		notify_close();
		daemon_free(d);
		return err;
	}
	err = bring_up(d);
	if (err) {
		take_down(d);
	} else {
		loop(d);
		finish(d);
		err = d->failed;
	}
	mirror_close(d);
	neigh_close(d);
	conntrack_close(d);
	reload_close(d);
	control_close(d);
	ring_buffer__free(d->ring);
	sockmap_close(&d->sockmap);
	kern_close(&d->kern);
	notify_close();
	daemon_free(d);
	return err;
}
