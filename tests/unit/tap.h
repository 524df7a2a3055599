/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Test Anything Protocol, as little of it as the unit tests need. */
#ifndef SEAM_TAP_H
#define SEAM_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failed;

/* One test point; the name is printf-like. Returns `pass`. */
static inline bool __attribute__((format(printf, 2, 3))) ok(bool pass, const char *name, ...)
{
	va_list ap;

	printf("%s %d - ", pass ? "ok" : "not ok", ++tap_count);
	va_start(ap, name);
	vprintf(name, ap);
	va_end(ap);
	putchar('\n');
	tap_failed += !pass;
	return pass;
}

/* A line of explanation, for the test point before it. */
static inline void __attribute__((format(printf, 1, 2))) diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* The plan, at the end; what main() returns. */
static inline int tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed || !tap_count;
}

#endif
