/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel relay as the daemon sees it: a verdict program sends what one leg receives on by
 * the other leg. Bytes on their way wait, unseen and unaccounted, in a queue of the kernel's
 * before that leg.
 */
#ifndef SEAM_SOCKMAP_H
#define SEAM_SOCKMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/relay.h"

struct sockmap {
	struct relay_bpf *obj;	/* NULL: there is no kernel relay */
	int legs;		/* the map that holds the other legs */
	uint64_t lost;		/* legs that lost bytes, as far as was seen */
};

/* One leg as the source of a kernel relay. */
struct sockmap_leg {
	uint64_t cookie;	/* 0: it is not one */
	uint64_t consumed;	/* bytes taken out of its queue before */
	uint64_t written;	/* bytes put into the other leg before */
};

/*
 * Loads the program and tries it on connections of its own, in the thread's network namespace:
 * not every kernel relays every byte exactly once. `pins`: where the maps are pinned; `legs`:
 * the map of legs. Negative errno, and `why` there is no kernel relay, in words.
 */
int sockmap_open(struct sockmap *s, const char *pins, int legs, char *why, size_t len);
void sockmap_close(struct sockmap *s);

/*
 * From here on the kernel sends what `from` receives on by `to`, beginning with what is in its
 * queue. `peer`: the key of `to` in the map of legs. Nobody else reads or writes there any
 * more.
 */
int sockmap_begin(struct sockmap *s, struct sockmap_leg *leg, int from, int to,
		  const struct flow_key *peer);

/*
 * The kernel takes nothing more out of the queue of `from`; what it took may still be on its
 * way. `out`: what it took. -EIO: not all of it went on; other errors are the socket's.
 */
int sockmap_end(struct sockmap *s, struct sockmap_leg *leg, int from, struct relay *out);

/* What the kernel has taken so far. */
int sockmap_read(const struct sockmap *s, const struct sockmap_leg *leg, struct relay *out);

/* Whether everything taken has reached the other leg's TCP. */
bool sockmap_arrived(const struct sockmap_leg *leg, int to, uint64_t taken);

/* Whether a leg has lost bytes since the last call. */
bool sockmap_any_lost(struct sockmap *s);

/* The leg is gone, or soon will be. */
void sockmap_forget(struct sockmap *s, struct sockmap_leg *leg);

#endif
