// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The input is what a client writes to the control socket, in pieces as they may
 * come. Each line of it gets one answer, a JSON object with "ok"; a client that
 * asked for events gets those between them; a line too long ends the connection.
 */
#include "../../user/control.c"

#include <sys/ioctl.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policy[] = "client = \"c\"; server = \"s\";"
			     "rules = ({ name = \"one\"; sni = \"*.example\"; action = \"block\"; });";

static void start(struct daemon *d)
{
	static struct control control;

	d->kern.control = &control;
	memset(&d->kern.maps, 0xff, sizeof(d->kern.maps));
	d->host_ns = d->kern.ctl_fd = -1;
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	CHECK(d->epoll >= 0);
	CHECK(!policy_load_text("fuzz", policy, sizeof(policy) - 1, &d->policy, stderr));
	d->started = policy_get(d->policy);
}

static struct client *client_new(struct daemon *d, int fd)
{
	struct client *cl = calloc(1, sizeof(*cl));

	CHECK(cl);
	cl->watch.fd = fd;
	cl->watch.ready = client_ready;
	CHECK(!watch_begin(d->epoll, &cl->watch, EPOLLIN));
	cl->next = d->clients;
	d->clients = cl;
	return cl;
}

/* Reads what was answered: whole lines, each an object. Returns how many are no events. */
static size_t answers(int fd)
{
	static char buf[256 << 10];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	char *line = buf, *end;
	size_t found = 0;

	if (n <= 0)
		return 0;
	CHECK(n < (ssize_t)sizeof(buf) && buf[n - 1] == '\n');
	for (; line < buf + n; line = end + 1) {
		json_t *json;

		end = memchr(line, '\n', buf + n - line);
		json = json_loadb(line, end - line, 0, NULL);
		CHECK(json_is_object(json));
		CHECK(!json_object_get(json, "event_type") == json_is_boolean(json_object_get(json, "ok")));
		found += !json_object_get(json, "event_type");
		json_decref(json);
	}
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct daemon d;
	struct seam_event ev = { .type = EVENT_STATE, .id = 7, .to = FLOW_HELD, .rule = 1 };
	size_t asked = 0, answered = 0, line = 0, n;
	uint64_t seed = fuzz_seed(data, size);
	bool too_long = false;
	struct client *cl;
	int fd[2], left;

	if (!d.policy)
		start(&d);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	cl = client_new(&d, fd[0]);
	for (size_t i = 0; i < size && d.clients; i += n) {
		n = fuzz_piece(&seed, size - i);
		CHECK(send(fd[1], data + i, n, MSG_NOSIGNAL) == (ssize_t)n);
		for (size_t at = i; at < i + n && !too_long; at++) {
			if (data[at] != '\n') {
				too_long = ++line == REQUEST_MAX;
				continue;
			}
			asked += line > 0;
			line = 0;
		}
		do {
			client_ready(&d, &cl->watch, EPOLLIN);
		} while (d.clients && !ioctl(fd[0], FIONREAD, &left) && left);
		if (d.clients)
			control_event(&d, &ev);
		answered += answers(fd[1]);
	}
	CHECK(answered == asked);
	CHECK(!d.clients == too_long);
	if (d.clients) {
		shutdown(fd[1], SHUT_WR);
		client_ready(&d, &cl->watch, EPOLLIN | EPOLLHUP);
		CHECK(!d.clients);
	}
	close(fd[1]);
	return 0;
}
