// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "http_chunks.h"

#include "inspect_text.h"

enum chunk_state {
	CHUNK_SIZE = 0,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER,		/* at the start of a line */
	CHUNK_TRAILER_LINE,
	CHUNK_TRAILER_LF,
	CHUNK_LAST_LF,
	CHUNK_END,
	CHUNK_BAD,
};

static int hex(uint8_t c)
{
	if (text_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_control(uint8_t c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

static uint8_t size_next(struct http_chunks *c, uint8_t byte)
{
	int digit = hex(byte);

	if (digit >= 0) {
		c->left = c->left << 4 | digit;
		return ++c->digits > 15 ? CHUNK_BAD : CHUNK_SIZE;
	}
	if (!c->digits)
		return CHUNK_BAD;
	if (byte == '\r')
		return CHUNK_SIZE_LF;
	return byte == ';' || byte == ' ' || byte == '\t' ? CHUNK_EXTENSION : CHUNK_BAD;
}

static uint8_t chunk_next(struct http_chunks *c, uint8_t byte)
{
	switch (c->state) {
	case CHUNK_SIZE:
		return size_next(c, byte);
	case CHUNK_EXTENSION:
		if (byte == '\r')
			return CHUNK_SIZE_LF;
		return is_control(byte) ? CHUNK_BAD : CHUNK_EXTENSION;
	case CHUNK_SIZE_LF:
		if (byte != '\n')
			return CHUNK_BAD;
		c->digits = 0;
		return c->left ? CHUNK_DATA : CHUNK_TRAILER;
	case CHUNK_DATA_CR:
		return byte == '\r' ? CHUNK_DATA_LF : CHUNK_BAD;
	case CHUNK_DATA_LF:
		return byte == '\n' ? CHUNK_SIZE : CHUNK_BAD;
	case CHUNK_TRAILER:
		if (byte == '\r')
			return CHUNK_LAST_LF;
		return is_control(byte) ? CHUNK_BAD : CHUNK_TRAILER_LINE;
	case CHUNK_TRAILER_LINE:
		if (byte == '\r')
			return CHUNK_TRAILER_LF;
		return is_control(byte) ? CHUNK_BAD : CHUNK_TRAILER_LINE;
	case CHUNK_TRAILER_LF:
		return byte == '\n' ? CHUNK_TRAILER : CHUNK_BAD;
	case CHUNK_LAST_LF:
		return byte == '\n' ? CHUNK_END : CHUNK_BAD;
	}
	return CHUNK_BAD;
}

bool http_chunks_feed(struct http_chunks *c, const uint8_t *data, size_t len, size_t *used,
		      bool *end)
{
	size_t n = 0, step;

	while (n < len && c->state < CHUNK_END) {
		if (c->state == CHUNK_DATA) {
			step = c->left < len - n ? c->left : len - n;
			c->left -= step;
			n += step;
			if (!c->left)
				c->state = CHUNK_DATA_CR;
		} else {
			c->state = chunk_next(c, data[n++]);
		}
	}
	*used = n;
	*end = c->state == CHUNK_END;
	return c->state != CHUNK_BAD;
}
