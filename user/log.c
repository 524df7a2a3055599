// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "log.h"

static int level = LOG_INFO;
static bool fixed;

void log_level(int priority)
{
	if (!fixed)
		level = priority;
}

void log_level_fixed(int priority)
{
	level = priority;
	fixed = true;
}

/* Whether stderr is the journal's stream, which it says in $JOURNAL_STREAM as DEVICE:INODE. */
static bool to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

static void write_line(int priority, const char *fmt, va_list args)
{
	static const char *const names[] = {
		[LOG_ERR] = "error: ", [LOG_WARNING] = "warning: ",
		[LOG_INFO] = "",
		[LOG_DEBUG] = "debug: ", [LOG_DEBUG + 1] = "trace: ",
	};
	static int journal = -1; /* not looked yet; stderr stays what it is */
	char line[1024];
	size_t n;

	/* If nobody reads it, or the terminal is stopped, the daemon must not stop. */
	if (priority > level || !poll(&(struct pollfd){ .fd = STDERR_FILENO, .events = POLLOUT }, 1, 0))
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	n = strlen(line);
	while (n && line[n - 1] == '\n')
		line[--n] = '\0';
	if (journal < 0)
		journal = to_journal();
	if (journal)
		fprintf(stderr, "<%d>", priority > LOG_DEBUG ? LOG_DEBUG : priority);
	fprintf(stderr, "seam: %s%s\n", names[priority], line);
}

void log_write(int priority, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_line(priority, fmt, args);
	va_end(args);
}

static int from_libbpf(enum libbpf_print_level from, const char *fmt, va_list args)
{
	/* libbpf also warns about attempts that Seam expects to fail. */
	if (from == LIBBPF_DEBUG)
		write_line(LOG_DEBUG + 1, fmt, args);
	else
		write_line(LOG_DEBUG, fmt, args);
	return 0;
}

static int from_libxdp(enum libxdp_print_level from, const char *fmt, va_list args)
{
	return from_libbpf(from == LIBXDP_DEBUG ? LIBBPF_DEBUG : LIBBPF_WARN, fmt, args);
}

void log_libraries(void)
{
	libxdp_set_print(from_libxdp);
	libbpf_set_print(from_libbpf);
}
