/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text from the wire, made fit for a flow_record. ASCII only, no locale. */
#ifndef SEAM_INSPECT_TEXT_H
#define SEAM_INSPECT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline char text_printable(uint8_t c)
{
	return c > 0x20 && c < 0x7f ? (char)c : '.';
}

static inline char text_lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static inline bool text_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool text_alnum(uint8_t c)
{
	uint8_t lower = c | 0x20;

	return text_digit(c) || (lower >= 'a' && lower <= 'z');
}

/* Characters of HTTP field names (RFC 9110 5.6.2). */
static inline bool text_token(uint8_t c)
{
	return text_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Copies n bytes into dst of `size` bytes: printable, cut to fit, terminated. */
static inline void text_copy(char *dst, size_t size, const void *src, size_t n)
{
	const uint8_t *p = src;
	size_t i;

	for (i = 0; i < n && i + 1 < size; i++)
		dst[i] = text_printable(p[i]);
	dst[i] = '\0';
}

#endif
