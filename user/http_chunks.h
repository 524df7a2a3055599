/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finds the end of a chunked body (RFC 9112 7.1), to the letter: libhttp_parser in its lenient
 * mode does not check the bytes where lines and chunks end, and whoever disagrees about them
 * takes a body for the next request.
 */
#ifndef SEAM_HTTP_CHUNKS_H
#define SEAM_HTTP_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_chunks {
	uint8_t state;
	uint8_t digits;		/* of the size so far */
	uint64_t left;		/* bytes left of the chunk */
};

/* Begins with { 0 }. *used bytes belong to the body; `end`: it is complete. False: malformed. */
bool http_chunks_feed(struct http_chunks *c, const uint8_t *data, size_t len, size_t *used,
		      bool *end);

#endif
