/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the daemon tells the service manager that started it; nothing, if none did. */
#ifndef SEAM_NOTIFY_H
#define SEAM_NOTIFY_H

#include <stdint.h>

/*
 * Connects to $NOTIFY_SOCKET, if there is one; a failure is logged. Before the thread leaves
 * its network namespace, which an abstract address belongs to.
 */
void notify_open(void);
void notify_close(void);

/* Sends "READY=1" or the like, as sd_notify(3). */
void notify(const char *state);

/* Tells that the loop still turns, as often as $WATCHDOG_USEC asks for; `now` is kern_now(). */
void notify_alive(uint64_t now);

#endif
