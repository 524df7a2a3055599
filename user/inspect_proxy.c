// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The `proxy` inspector: tells the server who its client is, by a header of the
 * PROXY protocol, version 1 or 2, in front of the client's first byte. Our own,
 * since it is two formats of a few fields each: HAProxy's proxy-protocol.txt, 2.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "edit.h"
#include "inspect.h"

/* 2.2: signature, version and command, family and protocol, length of what follows. */
static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
#define V2_PROXY 0x21	/* version 2, command PROXY */
#define V2_TCP4 0x11
#define V2_TCP6 0x21

#define V1_MAX 108	/* 2.1: the longest line, with its NUL */
#define V2_MAX (sizeof(signature) + 4 + 36)

struct proxy_state {
	size_t len;
	uint8_t header[V1_MAX > V2_MAX ? V1_MAX : V2_MAX];
};

static uint8_t *put(uint8_t *out, const void *from, size_t n)
{
	memcpy(out, from, n);
	return out + n;
}

static size_t header_v1(uint8_t *out, const struct flow_key *key)
{
	char client[ADDRESS_LEN], server[ADDRESS_LEN];

	return snprintf((char *)out, V1_MAX, "PROXY %s %s %s %u %u\r\n",
			address_is_v4(key->client) ? "TCP4" : "TCP6", address_text(key->client, client),
			address_text(key->server, server), ntohs(key->client_port), ntohs(key->server_port));
}

static size_t header_v2(uint8_t *out, const struct flow_key *key)
{
	bool v4 = address_is_v4(key->client);
	size_t width = v4 ? 4 : 16, skip = v4 ? 3 : 0;
	uint16_t rest = htons(2 * width + 4);
	uint8_t *p = out;

	p = put(p, signature, sizeof(signature));
	*p++ = V2_PROXY;
	*p++ = v4 ? V2_TCP4 : V2_TCP6;
	p = put(p, &rest, 2);
	p = put(p, key->client + skip, width);
	p = put(p, key->server + skip, width);
	p = put(p, &key->client_port, 2);
	p = put(p, &key->server_port, 2);
	return p - out;
}

static size_t proxy_size(const struct inspect_setup *setup)
{
	(void)setup;
	return sizeof(struct proxy_state);
}

static int proxy_open(void *state, struct flow_record *rec, const struct inspect_setup *setup,
		      const struct flow_key *key)
{
	struct proxy_state *s = state;

	(void)rec;
	s->len = setup->proxy == PROXY_V1 ? header_v1(s->header, key) : header_v2(s->header, key);
	return 0;
}

static enum inspect_answer proxy_data(void *state, enum seam_dir dir, const uint8_t *data,
				      size_t len, bool end, struct editor *e)
{
	const struct proxy_state *s = state;

	(void)data;
	(void)len;
	(void)end;
	if (dir != SEAM_UP)
		return INSPECT_MORE;
	/* A server that waits for the header would take whatever comes instead for one. */
	return edit_replace(e, edit_pos(e), 0, s->header, s->len) ? INSPECT_BLOCK : INSPECT_LET_GO;
}

static void proxy_close(void *state)
{
	(void)state;
}

const struct inspector inspector_proxy = {
	.name = "proxy",
	.help = "puts a PROXY protocol header in front of what the client sends",
	.edits = true,
	.size = proxy_size,
	.open = proxy_open,
	.data = proxy_data,
	.close = proxy_close,
};
