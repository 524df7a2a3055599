// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Warns in the log of limits that are being hit: `seam stats` counts them, but nobody looks there in time. */
#include "daemon.h"
#include "log.h"
#include "show.h"

/* How often the same warning is given at most. */
#define EVERY_NS (60 * 1000000000ULL)

static struct {
	enum seam_reason reason;
	const char *means;
	int64_t told;		/* of its count, how much has been warned of */
	uint64_t next_ns;
} limits[] = {
	{ SEAM_R_TABLE_FULL, "connections begin that are not tracked; raise `max_flows`, or shorten `timeouts`", 0, 0 },
	{ SEAM_R_HOLD_LOST, "their senders have to send them again", 0, 0 },
	{ SEAM_R_EVENT_LOST, "the daemon learns of transitions late; it has too little CPU time", 0, 0 },
	{ SEAM_R_NO_MEMORY, "flows get the fail answer of their rule", 0, 0 },
};

#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

void limits_open(struct daemon *d)
{
	for (size_t i = 0; i < N_LIMITS; i++)
		limits[i].told = kern_counter(d->kern.maps.reasons, limits[i].reason);
}

void limits_tick(struct daemon *d, uint64_t now)
{
	int64_t more;

	for (size_t i = 0; i < N_LIMITS; i++) {
		if (now < limits[i].next_ns)
			continue;
		more = kern_counter(d->kern.maps.reasons, limits[i].reason) - limits[i].told;
		if (more <= 0)
			continue;
		log_warn("%s, %lld times: %s", show_reason_text(limits[i].reason), (long long)more, limits[i].means);
		limits[i].told += more;
		limits[i].next_ns = now + EVERY_NS;
	}
}
