// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Seam from outside: its pinned map of flows, and its control socket. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "random.h"

#define FLOWS "/sys/fs/bpf/seam/default/flows"
#define SOCKET "/run/seam/default.sock"
#define ASKED_MAX 4096

static int flows = -1, sock = -1;
static char in[65536];
static size_t in_len;
static struct conn *asked[ASKED_MAX];
static unsigned int first, last;

int box_open(void)
{
	union bpf_attr attr = { .pathname = (uintptr_t)FLOWS };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	attr.file_flags = BPF_F_RDONLY;
	flows = syscall(__NR_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (flows < 0)
		return -errno;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(addr.sun_path, SOCKET);
	return sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
}

int box_fd(void)
{
	return sock;
}

bool box_flow(const struct flow_key *key, struct flow *f)
{
	union bpf_attr attr = { .map_fd = flows };

	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)f;
	return !syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
}

void box_ask(struct conn *c, bool split, uint64_t id)
{
	char line[256], hex[2 * sizeof(c->key) + 1];
	size_t i;
	int n;

	for (i = 0; i < sizeof(c->key); i++)
		sprintf(hex + 2 * i, "%02x", ((const uint8_t *)&c->key)[i]);
	n = snprintf(line, sizeof(line), "{\"cmd\":\"%s\",\"id\":%llu,\"key\":\"%s\"}\n",
		     split ? "split" : "merge", (unsigned long long)id, hex);
	if (send(sock, line, n, MSG_NOSIGNAL) != n)
		conn_fail(c, "the daemon's control socket: %s", strerror(errno));
	asked[last++ % ASKED_MAX] = c;
}

void box_read(void)
{
	ssize_t n = recv(sock, in + in_len, sizeof(in) - 1 - in_len, MSG_DONTWAIT);
	char *line = in, *end, *why;

	if (n <= 0)
		return;
	in_len += n;
	in[in_len] = 0;
	for (; (end = memchr(line, '\n', in + in_len - line)); line = end + 1) {
		*end = 0;
		why = strstr(line, "\"error\"");
		if (first != last)
			conn_answered(asked[first++ % ASKED_MAX], !why, why ? why + 9 : "");
	}
	in_len -= line - in;
	memmove(in, line, in_len);
}

const char *box_state(uint8_t state)
{
	static const char *const names[FLOW_STATE_MAX] = {
		"none", "handshake", "monitored", "held", "splitting", "split", "relayed", "merging",
		"merged", "passed", "blocked", "closing",
	};

	return state < FLOW_STATE_MAX ? names[state] : "?";
}
