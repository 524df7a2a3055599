/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame from the hold device: a virtio-net header, then Ethernet. */
#ifndef SEAM_FRAME_H
#define SEAM_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "seam/flow.h"

/* Largest frame: 64 KiB of GSO payload with all its headers, and some room. */
#define FRAME_MAX (65536 + 512)

struct frame {
	struct flow_key key;	/* as in the packet: its sender is the client */
	uint32_t seq, ack;
	uint32_t len;		/* payload */
	uint8_t flags;		/* TCP flags */
	const uint8_t *ip4;	/* the IPv4 header, in the buffer; NULL: IPv6 */
	const uint8_t *tcp;	/* the TCP header and ... */
	const uint8_t *payload;	/* ... its payload, in the buffer */
};

/*
 * Parses `len` bytes as read from the hold device. 0, or -EINVAL for anything
 * but a whole TCP segment.
 */
int frame_parse(const uint8_t *buf, size_t len, struct frame *out);

/*
 * The same for a packet that is `len` bytes long from its IP header on. Only the first `have`
 * of them are there, with all its headers; the payload may lie beyond. `proto`: its Ethernet
 * type, in network order.
 */
int frame_parse_ip(const uint8_t *p, size_t have, size_t len, uint16_t proto, struct frame *out);

/*
 * Whether the checksums of a parsed frame are right. For TCP's it is enough that the kernel
 * vouches for it: a segment made on this host has none yet.
 */
bool frame_checksum_ok(const uint8_t *buf, const struct frame *f);

/* The key of the other direction. */
void frame_reverse(const struct flow_key *key, struct flow_key *out);

#endif
