// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Threads that move the bytes of split flows, each those of its own conns, and do what follows
 * from these bytes. That is nearly all the work there is. Held packets, the kernel's events and
 * whatever else concerns more than one flow stay with the loop, and the workers stand still
 * during its turns. Without threads there is one worker, whose legs are in the loop's own
 * epoll.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon.h"
#include "inspect.h"

#define EVENTS 64
/* A split flow freed by the loop while its worker is idle takes memory for no longer than this. */
#define BURY_MS 1000

struct worker *workers_next(struct daemon *d)
{
	struct worker *least = d->workers;
	unsigned int i;

	for (i = 1; i < d->n_workers; i++)
		if (d->workers[i].conns < least->conns)
			least = &d->workers[i];
	return least;
}

void workers_halt(struct daemon *d)
{
	if (d->threads)
		pthread_rwlock_wrlock(&d->turn);
}

void workers_resume(struct daemon *d)
{
	if (d->threads)
		pthread_rwlock_unlock(&d->turn);
}

/*
 * Handles one event. Its leg may have been closed since, by the loop in its turn or by an
 * earlier event.
 */
static void handle(struct worker *k, const struct epoll_event *ev)
{
	struct daemon *d = k->daemon;
	struct watch *w = ev->data.ptr;

	pthread_rwlock_rdlock(&d->turn);
	if (w->fd >= 0)
		w->ready(d, w, ev->events);
	pthread_rwlock_unlock(&d->turn);
}

static void *work(void *arg)
{
	struct epoll_event ev[EVENTS];
	struct worker *k = arg;
	bool halted = false;
	int n, i;

	while (!halted) {
		n = epoll_wait(k->epoll, ev, EVENTS, BURY_MS);
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr)
				handle(k, &ev[i]);
			else
				halted = true;
		}
		pthread_rwlock_rdlock(&k->daemon->turn);
		conn_bury(&k->dead);
		pthread_rwlock_unlock(&k->daemon->turn);
	}
	inspect_thread_end();
	return NULL;
}

static int locks_open(struct daemon *d)
{
	pthread_rwlockattr_t attr;
	int err;

	/* The loop has little to do, but nobody else does it. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	err = -pthread_rwlock_init(&d->turn, &attr);
	pthread_rwlockattr_destroy(&attr);
	return err ? err : -pthread_mutex_init(&d->lists, NULL);
}

int workers_open(struct daemon *d, unsigned int n)
{
	unsigned int i;
	int err;

	d->workers = calloc(n ? n : 1, sizeof(*d->workers));
	if (!d->workers)
		return -ENOMEM;
	d->n_workers = n ? n : 1;
	for (i = 0; i < d->n_workers; i++)
		d->workers[i] = (struct worker){ .daemon = d, .epoll = -1 };
	err = locks_open(d);
	if (err)
		return err;
	for (i = 0; i < d->n_workers; i++) {
		d->workers[i].buf = malloc(FRAME_MAX);
		d->workers[i].epoll = n ? epoll_create1(EPOLL_CLOEXEC) : d->epoll;
		if (!d->workers[i].buf)
			return -ENOMEM;
		if (d->workers[i].epoll < 0)
			return -errno;
	}
	if (n)
		d->halt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return n && d->halt < 0 ? -errno : 0;
}

int workers_start(struct daemon *d)
{
	struct epoll_event halt = { .events = EPOLLIN };
	struct worker *k;
	char name[16];
	int err;

	for (k = d->workers; d->halt >= 0 && d->threads < d->n_workers; k++) {
		err = epoll_ctl(k->epoll, EPOLL_CTL_ADD, d->halt, &halt) ? -errno :
		      -pthread_create(&k->thread, NULL, work, k);
		if (err)
			return err;
		snprintf(name, sizeof(name), "seam-worker-%u", d->threads++ % 100);
		pthread_setname_np(k->thread, name);
	}
	return 0;
}

void workers_stop(struct daemon *d)
{
	if (d->threads)
		eventfd_write(d->halt, 1);
	while (d->threads)
		pthread_join(d->workers[--d->threads].thread, NULL);
}

void workers_close(struct daemon *d)
{
	unsigned int i;

	if (!d->workers)
		return;
	conn_bury(&d->dead);
	for (i = 0; i < d->n_workers; i++) {
		conn_bury(&d->workers[i].dead);
		if (d->workers[i].epoll >= 0 && d->workers[i].epoll != d->epoll)
			close(d->workers[i].epoll);
		free(d->workers[i].buf);
	}
	if (d->halt >= 0)
		close(d->halt);
	pthread_rwlock_destroy(&d->turn);
	pthread_mutex_destroy(&d->lists);
	free(d->workers);
	d->workers = NULL;
}
