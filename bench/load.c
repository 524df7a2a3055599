// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Clients that cost as little as possible, so that the box is what is measured. IPv4.
 *
 *	load send ADDRESS PORT BYTES STREAMS
 *		Sends BYTES over STREAMS connections at once to a sink; prints the seconds from
 *		the first SYN to the last FIN of the server.
 *	load ask ADDRESS PORT SIZE COUNT
 *		Requests of SIZE bytes on one connection to a server that echoes. After some to
 *		warm up it says "ready" on stderr and waits for a line. Then it makes COUNT
 *		requests and prints how many there were per second, and the median, the 99th and
 *		99.9th percentile and the maximum of their times in microseconds.
 *	load hello ADDRESS PORT NAME SECONDS
 *		Connections that send a ClientHello with that name and no cipher that a server
 *		knows, so that it answers with an alert: all of TLS that a verdict by name needs,
 *		and none of its arithmetic. 32 at a time; prints how many were answered, how many
 *		were not, and the seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 1000
#define CHUNK (128 << 10)
#define STREAMS_MAX 64
#define HELLOS 32

static __attribute__((noreturn)) void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int dial(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd < 0)
		fail(address);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (void *)&to, sizeof(to)))
		fail("connect");
	return fd;
}

/* The streams take turns wherever there is room; each ends when the server has read all of it. */
static int do_send(char **argv, uint64_t bytes, uint64_t streams)
{
	static struct pollfd fds[STREAMS_MAX];
	static uint64_t left[STREAMS_MAX];
	static char buf[CHUNK];
	uint64_t began = now(), open = streams, i;
	ssize_t n;

	if (streams > STREAMS_MAX) {
		errno = E2BIG;
		fail("streams");
	}
	for (i = 0; i < streams; i++) {
		fds[i] = (struct pollfd){ dial(argv[0], argv[1]), POLLOUT, 0 };
		left[i] = bytes / streams;
	}
	while (open) {
		if (poll(fds, streams, -1) < 0)
			fail("poll");
		for (i = 0; i < streams; i++) {
			if (!fds[i].revents)
				continue;
			if (!left[i]) {
				if (read(fds[i].fd, buf, sizeof(buf)))
					fail("the server's end");
				close(fds[i].fd);
				fds[i].fd = -1;
				open--;
				continue;
			}
			n = send(fds[i].fd, buf, left[i] < CHUNK ? left[i] : CHUNK, MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				fail("send");
			left[i] -= n > 0 ? n : 0;
			if (!left[i]) {
				shutdown(fds[i].fd, SHUT_WR);
				fds[i].events = POLLIN;
			}
		}
	}
	printf("%.6f\n", (now() - began) / 1e9);
	return 0;
}

static void exchange(int fd, char *buf, size_t size)
{
	ssize_t n;
	size_t left;

	if (write(fd, buf, size) != (ssize_t)size)
		fail("write");
	for (left = size; left; left -= n) {
		n = read(fd, buf, left);
		if (n <= 0)
			fail("read");
	}
}

static int order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int do_ask(char **argv, uint64_t size, uint64_t count)
{
	uint64_t *took = calloc(count, sizeof(*took)), began, whole, i;
	char *buf = calloc(1, size), line[16];
	int fd = dial(argv[0], argv[1]);

	if (!buf || !took)
		fail("memory");
	for (i = 0; i < WARM_UP; i++)
		exchange(fd, buf, size);
	fputs("ready\n", stderr);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	whole = now();
	for (i = 0; i < count; i++) {
		began = now();
		exchange(fd, buf, size);
		took[i] = now() - began;
	}
	whole = now() - whole;
	qsort(took, count, sizeof(*took), order);
	printf("%.1f\t%.2f\t%.2f\t%.2f\t%.2f\n", count * 1e9 / whole, took[count / 2] / 1e3,
	       took[count * 99 / 100] / 1e3, took[count * 999 / 1000] / 1e3, took[count - 1] / 1e3);
	return 0;
}

/* A TLS record (RFC 8446 4.1.2, RFC 6066 3); the lengths are filled in once all of it is there. */
static size_t hello(const char *name, uint8_t *at)
{
	static const uint8_t head[] = { 22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3 };
	static const uint8_t rest[] = { 0, 0, 2, 0, 255, 1, 0 }; /* no session, no real cipher */
	size_t len = strlen(name), n = sizeof(head);
	const uint16_t sizes[] = { len + 9, 0, len + 5, len + 3 };
	size_t i;

	memcpy(at, head, n);
	memset(at + n, 7, 32);
	n += 32;
	memcpy(at + n, rest, sizeof(rest));
	n += sizeof(rest);
	for (i = 0; i < 4; i++) {
		at[n++] = sizes[i] >> 8;
		at[n++] = sizes[i];
	}
	at[n++] = 0;
	at[n++] = len >> 8;
	at[n++] = len;
	memcpy(at + n, name, len);
	n += len;
	at[3] = (n - 5) >> 8;
	at[4] = n - 5;
	at[7] = (n - 9) >> 8;
	at[8] = n - 9;
	return n;
}

static int do_hello(char **argv, const char *name, uint64_t seconds)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
	uint64_t answered = 0, failed = 0, began = now(), end = began + seconds * 1000000000ULL;
	struct pollfd fds[HELLOS];
	bool heard[HELLOS];
	uint8_t buf[1024], out[512];
	size_t len, i;
	ssize_t n;

	if (inet_pton(AF_INET, argv[0], &to.sin_addr) != 1 || strlen(name) > 250)
		fail(argv[0]);
	len = hello(name, out);
	for (i = 0; i < HELLOS; i++)
		fds[i].fd = -1;
	while (now() < end) {
		for (i = 0; i < HELLOS; i++) {
			if (fds[i].fd >= 0)
				continue;
			fds[i] = (struct pollfd){ socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), POLLOUT, 0 };
			heard[i] = false;
			if (fds[i].fd < 0 || (connect(fds[i].fd, (void *)&to, sizeof(to)) && errno != EINPROGRESS))
				fail("connect");
		}
		if (poll(fds, HELLOS, 100) < 0)
			fail("poll");
		for (i = 0; i < HELLOS; i++) {
			if (!fds[i].revents)
				continue;
			n = fds[i].events == POLLOUT ? send(fds[i].fd, out, len, MSG_NOSIGNAL) :
						       recv(fds[i].fd, buf, sizeof(buf), 0);
			if (n > 0) {
				heard[i] = fds[i].events == POLLIN;
				fds[i].events = POLLIN;
				continue;
			}
			answered += heard[i];
			failed += !heard[i];
			close(fds[i].fd);
			fds[i].fd = -1;
		}
	}
	printf("%llu\t%llu\t%.6f\n", (unsigned long long)answered, (unsigned long long)failed,
	       (now() - began) / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t a = argc == 6 ? strtoull(argv[4], NULL, 10) : 0;
	uint64_t b = argc == 6 ? strtoull(argv[5], NULL, 10) : 0;

	if (a && b && !strcmp(argv[1], "send"))
		return do_send(argv + 2, a, b);
	if (a && b && !strcmp(argv[1], "ask"))
		return do_ask(argv + 2, a, b);
	if (b && !strcmp(argv[1], "hello"))
		return do_hello(argv + 2, argv[4], b);
	fputs("usage: load send ADDRESS PORT BYTES STREAMS\n"
	      "       load ask ADDRESS PORT SIZE COUNT\n"
	      "       load hello ADDRESS PORT NAME SECONDS\n", stderr);
	return 2;
}
