/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Random numbers that a seed gives again. */
#ifndef SEAM_FUZZ_RANDOM_H
#define SEAM_FUZZ_RANDOM_H

#include <linux/types.h>

static __u64 state;

static inline void rnd_seed(__u64 seed)
{
	state = seed * 0x9e3779b97f4a7c15ULL | 1;
}

/* 0 to n - 1 (xorshift). */
static inline __u32 rnd(__u32 n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 16) % n;
}

#endif
