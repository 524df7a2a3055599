/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The clock behind an end's timestamps, for BPF and userspace. */
#ifndef SEAM_TSVAL_H
#define SEAM_TSVAL_H

#include "flow.h"

/* BPF runs these under a flow's lock, where kernels before 6.7 allow no function calls. */
#define TSVAL_INLINE static inline __attribute__((always_inline))

/* The tick cannot be measured if the first and last TSval are closer together than this. */
#define TSVAL_MEASURE_US 50000

/* Whether it counts microseconds, as Linux can since 6.7. Soon told: the ticks are many. */
TSVAL_INLINE int tsval_tick_is_1us(const struct flow_end *e)
{
	__u64 span = (e->tsval_ns - e->tsval0_ns) / 1000;
	__u32 ticks = e->tsval - e->tsval0;

	return span >= 200 && ticks >= span - span / 8 && ticks <= span + span / 8;
}

/* Whether it counts milliseconds, as far as is known. */
TSVAL_INLINE int tsval_tick_is_1ms(const struct flow_end *e)
{
	__u64 span = (e->tsval_ns - e->tsval0_ns) / 1000, ms = span / 1000;
	__u32 ticks = e->tsval - e->tsval0;

	return span < TSVAL_MEASURE_US ||
	       (ticks + 2 >= ms - ms / 50 && ticks <= ms + ms / 50 + 2);
}

/*
 * The TSval the end would send at `now` (CLOCK_MONOTONIC, ns), in its own clock: extrapolated from
 * the first and the last one seen. While those are too close together to measure, the tick is
 * taken as 1 ms (RFC 7323 5.4 allows 1 ms to 1 s; Linux may use 1 us). Rounding never puts the
 * result ahead of the end's clock.
 */
TSVAL_INLINE __u32 tsval_now(const struct flow_end *e, __u64 now)
{
	__u64 since = (now - e->tsval_ns) / 1000;
	__u64 span = (e->tsval_ns - e->tsval0_ns) / 1000;
	__u32 ticks = e->tsval - e->tsval0;

	if ((__s64)(now - e->tsval_ns) < 0)
		return e->tsval;
	if (tsval_tick_is_1us(e))
		return e->tsval + since;
	if (tsval_tick_is_1ms(e) || !span)
		return e->tsval + since / 1000;
	return e->tsval + ticks * since / span;
}

#endif
