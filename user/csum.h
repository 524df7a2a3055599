/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Internet checksum (RFC 1071). */
#ifndef SEAM_CSUM_H
#define SEAM_CSUM_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>

/* Adds `len` bytes to a sum, at most 128 KiB in all; only the last piece may have an odd length. */
static inline uint32_t csum_add(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += p[i] << 8 | p[i + 1];
	return i < len ? sum + (p[i] << 8) : sum;
}

/* The sum as a header carries it. Over data that contains its checksum: 0, if that is right. */
static inline uint16_t csum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum & 0xffff);
}

#endif
