// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The service manager's side of the daemon: sd_notify(3) and its watchdog, as datagrams to
 * $NOTIFY_SOCKET. libsystemd would be a library more on a box that may not have systemd.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kern.h"
#include "log.h"
#include "notify.h"

static int fd = -1;
static uint64_t every_ns, due_ns;

/* How often the manager wants to hear of this process, or 0: sd_watchdog_enabled(3). */
static uint64_t watchdog_ns(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && atol(pid) != getpid()))
		return 0;
	return strtoull(usec, NULL, 10) * 1000 / 2;
}

void notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;

	if (!len)
		return;
	if ((*path != '/' && *path != '@') || len >= sizeof(sun.sun_path)) {
		log_warn("NOTIFY_SOCKET=%s is no address of a service manager", path);
		return;
	}
	memcpy(sun.sun_path, path, len);
	if (*path == '@')
		*sun.sun_path = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, offsetof(struct sockaddr_un, sun_path) + len)) {
		log_warn("telling the service manager at %s: %s", path, strerror(errno));
		notify_close();
		return;
	}
	every_ns = watchdog_ns();
}

void notify_close(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
}

void notify(const char *state)
{
	if (fd >= 0 && send(fd, state, strlen(state), MSG_NOSIGNAL) < 0)
		log_debug("telling the service manager \"%s\": %s", state, strerror(errno));
}

void notify_alive(uint64_t now)
{
	if (!every_ns || now < due_ns)
		return;
	due_ns = now + every_ns;
	notify("WATCHDOG=1");
}
