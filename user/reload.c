// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reloads the policy. Its patterns may take seconds to compile, and the loop must not stand
 * still for so long: a separate thread reads the policy, and the loop puts it in force.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon.h"
#include "leg.h"
#include "log.h"

/* One reading of the policy's file. */
struct reload {
	struct watch watch;	/* the thread has filled in the rest */
	pthread_t thread;
	const char *config;
	struct policy *policy;
	int result;
	char *err;		/* what is wrong with it, in lines; NULL: nothing */
	size_t err_len;
};

static int begin(struct daemon *d);

static void *read_policy(void *arg)
{
	struct reload *r = arg;
	FILE *f = open_memstream(&r->err, &r->err_len);

	r->result = f ? policy_load(r->config, &r->policy, f) : -errno;
	if (f)
		fclose(f);
	eventfd_write(r->watch.fd, 1);
	return NULL;
}

/* Takes over what the thread has read. */
static int take_over(struct daemon *d, struct reload *r)
{
	const char *fixed[POLICY_FIXED_MAX];
	uint16_t generation = d->generation;
	int err = r->result;
	char why[256] = "";
	size_t i, n;

	if (err)
		return err;
	err = leg_congestion(r->policy->congestion, why, sizeof(why));
	if (!err) {
		err = daemon_policy(d, r->policy);
		if (err)
			snprintf(why, sizeof(why), "putting the policy in force: %s", strerror(-err));
	}
	if (err) {
		free(r->err);
		r->err = strdup(why);
		policy_put(r->policy);
		return err;
	}
	later_retire(d, d->policy, generation);
	policy_put(d->policy);
	d->policy = r->policy;
	log_level(d->policy->log);
	log_info("policy %s reloaded: %zu rules", d->config, d->policy->n_rules);
	n = policy_fixed(d->policy, d->started, fixed);
	for (i = 0; i < n; i++)
		log_warn("%s: a new `%s` takes effect when the daemon is started again", d->config,
			 fixed[i]);
	return 0;
}

/*
 * Logs why it was refused, answers whoever waits for it, and reads again
 * if someone has asked meanwhile.
 */
static void ended(struct daemon *d, uint32_t number, const char *why)
{
	int err = d->reload || d->reload_wanted == d->reloads ? 0 : begin(d), len;
	const char *line = why && !d->stopping ? why : "";

	if (*line)
		log_err("policy not reloaded, the old one stays in force:");
	for (; *line; line += len + !!line[len]) {
		len = strcspn(line, "\n");
		log_err("%.*s", len, line);
	}
	control_reloaded(d, number, why);
	if (err)
		ended(d, number + 1, strerror(-err));
}

static void done(struct daemon *d, struct watch *w, uint32_t events)
{
	struct reload *r = d->reload;
	int err;

	(void)w;
	(void)events;
	pthread_join(r->thread, NULL);
	err = take_over(d, r);
	watch_end(d->epoll, &r->watch);
	close(r->watch.fd);
	d->reload = NULL;
	ended(d, d->reloads, !err ? NULL : r->err && *r->err ? r->err : strerror(-err));
	free(r->err);
	free(r);
}

static int begin(struct daemon *d)
{
	struct reload *r;
	int err;

	d->reloads++;
	if (d->stopping)
		return -ECANCELED;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->config = d->config;
	r->watch.ready = done;
	r->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = r->watch.fd < 0 ? -errno : watch_begin(d->epoll, &r->watch, EPOLLIN);
	if (!err)
		err = -pthread_create(&r->thread, NULL, read_policy, r);
	if (err) {
		if (r->watch.fd >= 0)
			close(r->watch.fd);
		free(r);
		return err;
	}
	d->reload = r;
	return 0;
}

int reload_ask(struct daemon *d, uint32_t *number)
{
	int err;

	/* A reload under way may have read the file already. */
	*number = d->reload_wanted = d->reloads + 1;
	err = d->reload ? 0 : begin(d);
	if (err)
		log_err("policy not reloaded: %s", strerror(-err));
	return err;
}

void reload_signalled(struct daemon *d)
{
	uint32_t number;

	if (d->config)
		reload_ask(d, &number);
	else
		log_err("policy not reloaded: " RELOAD_NO_CONFIG);
}

void reload_close(struct daemon *d)
{
	struct reload *r = d->reload;

	if (!r)
		return;
	pthread_join(r->thread, NULL);
	if (!r->result)
		policy_put(r->policy);
	close(r->watch.fd);
	free(r->err);
	free(r);
	d->reload = NULL;
}
