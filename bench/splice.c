// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The least that a relay in userspace can do: `splice PORT` accepts what TPROXY brings there,
 * connects as the client to where the client wanted, and moves bytes by splice(2) through a
 * pipe per direction, edge-triggered, in two processes. It looks at nothing. IPv4.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE (256 << 10)
#define TURN 64 /* splices before others get their turn */

/* One direction of a connection. */
struct way {
	int from, to, pipe[2];
	size_t waiting; /* bytes in the pipe */
	bool eof, over;
};

struct pair {
	struct way way[2];
	int fd[2]; /* client, server */
	struct pair *next; /* closed pairs, freed after the round of events */
	bool closed;
};

static int epoll;
static struct pair *dead;

static __attribute__((noreturn)) void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void end(struct pair *p)
{
	int i;

	if (p->closed)
		return;
	p->closed = true;
	p->next = dead;
	dead = p;
	for (i = 0; i < 2; i++) {
		close(p->fd[i]);
		close(p->way[i].pipe[0]);
		close(p->way[i].pipe[1]);
	}
}

static int watch(struct pair *p, int i, int op)
{
	struct epoll_event ev = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .ptr = p } };

	return epoll_ctl(epoll, op, p->fd[i], &ev);
}

/* 1 if it stopped before it had to, 0 if it must wait, -1 on an error. */
static int move(struct way *w)
{
	const int how = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
	ssize_t in, out;
	int i;

	for (i = 0; i < TURN && !w->over; i++) {
		in = out = -1;
		if (!w->eof && w->waiting < PIPE) {
			in = splice(w->from, NULL, w->pipe[1], NULL, PIPE - w->waiting, how);
			if (in < 0 && errno != EAGAIN)
				return -1;
			w->eof = !in;
			w->waiting += in > 0 ? in : 0;
		}
		if (w->waiting) {
			out = splice(w->pipe[0], NULL, w->to, NULL, w->waiting, how);
			if (out < 0 && errno != EAGAIN)
				return -1;
			w->waiting -= out > 0 ? out : 0;
		}
		if (w->eof && !w->waiting) {
			w->over = true;
			shutdown(w->to, SHUT_WR);
		} else if (in < 0 && out < 0) {
			return 0;
		}
	}
	return !w->over;
}

static void serve(struct pair *p)
{
	int i, more[2];

	for (i = 0; i < 2; i++) {
		more[i] = move(&p->way[i]);
		if (more[i] < 0)
			return end(p);
	}
	if (p->way[0].over && p->way[1].over)
		return end(p);
	for (i = 0; i < 2; i++) /* an edge of its own making */
		if (more[i] && watch(p, i, EPOLL_CTL_MOD))
			fail("epoll_ctl");
}

static int dial(int client)
{
	struct sockaddr_in from, to;
	socklen_t len = sizeof(from);
	int fd, one = 1;

	if (getpeername(client, (void *)&from, &len) || getsockname(client, (void *)&to, &len))
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (void *)&from, sizeof(from)) ||
	    (connect(fd, (void *)&to, sizeof(to)) && errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void begin(int listener)
{
	int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), i;
	struct pair *p;

	if (client < 0)
		return; /* the other process has it */
	p = calloc(1, sizeof(*p));
	if (!p)
		fail("memory");
	p->fd[0] = client;
	p->fd[1] = dial(client);
	if (p->fd[1] < 0)
		fail("connecting as the client");
	for (i = 0; i < 2; i++) {
		p->way[i].from = p->fd[i];
		p->way[i].to = p->fd[!i];
		if (pipe2(p->way[i].pipe, O_NONBLOCK | O_CLOEXEC))
			fail("pipe");
		fcntl(p->way[i].pipe[0], F_SETPIPE_SZ, PIPE);
	}
	for (i = 0; i < 2; i++)
		if (watch(p, i, EPOLL_CTL_ADD))
			fail("epoll_ctl");
}

int main(int argc, char **argv)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0) };
	struct epoll_event ev = { EPOLLIN | EPOLLEXCLUSIVE, {} }, seen[64];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, n, i;
	struct pair *p;

	signal(SIGPIPE, SIG_IGN);
	if (argc != 2) {
		fprintf(stderr, "usage: splice PORT\n");
		return 2;
	}
	if (setsockopt(listener, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) ||
	    bind(listener, (void *)&any, sizeof(any)) || listen(listener, 4096))
		fail("listening");
	if (!fork())
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev))
		fail("epoll");
	for (;;) {
		n = epoll_wait(epoll, seen, 64, -1);
		for (i = 0; i < n; i++) {
			p = seen[i].data.ptr;
			if (!p)
				begin(listener);
			else if (seen[i].events & EPOLLERR)
				end(p);
			else if (!p->closed)
				serve(p);
		}
		while ((p = dead)) {
			dead = p->next;
			free(p);
		}
	}
}
