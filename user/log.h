/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages on stderr, by syslog(3) priority; with the priority in front (sd-daemon(3)) if that is the journal. */
#ifndef SEAM_LOG_H
#define SEAM_LOG_H

#include <stdarg.h>
#include <syslog.h>

/* Highest priority number that is shown; LOG_INFO until it is set. */
void log_level(int priority);
/* The same, from the command line: log_level() changes nothing any more. */
void log_level_fixed(int priority);

void log_write(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_write(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Sends libbpf's and libxdp's messages here, one level down: noise is for -vv. */
void log_libraries(void);

#endif
