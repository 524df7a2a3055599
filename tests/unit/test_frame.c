// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Frames from the hold device, also such as no kernel would deliver. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "tap.h"

#define HEAD (10 + 14)

/* virtio-net header, Ethernet, IP, TCP with 12 bytes of options, "payload". */
static size_t frame4(uint8_t *b)
{
	static const uint8_t ip[] = {
		0x45, 0, 0, 20 + 32 + 7, 0, 0, 0x40, 0, 64, 6, 0x26, 0xbb, 10, 0, 0, 1, 10, 0, 0, 2,
	};
	static const uint8_t tcp[] = {
		0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0x18, 1, 0, 0, 0, 0, 0,
		1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 'p', 'a', 'y', 'l', 'o', 'a', 'd',
	};

	memset(b, 0, HEAD);
	b[HEAD - 2] = 8;
	memcpy(b + HEAD, ip, sizeof(ip));
	memcpy(b + HEAD + 20, tcp, sizeof(tcp));
	return HEAD + 20 + sizeof(tcp);
}

static size_t frame6(uint8_t *b, int headers)
{
	uint8_t four[256];
	size_t tcp = frame4(four) - HEAD - 20;
	int i;

	memset(b, 0, HEAD + 40 + 8 * headers);
	b[HEAD - 2] = 0x86;
	b[HEAD - 1] = 0xdd;
	b[HEAD] = 0x60;
	b[HEAD + 5] = tcp + 8 * headers;
	b[HEAD + 6] = headers ? 60 : 6;
	b[HEAD + 8] = b[HEAD + 24] = 0xfd;
	b[HEAD + 23] = 1;
	b[HEAD + 39] = 2;
	for (i = 0; i < headers; i++)
		b[HEAD + 40 + 8 * i] = i + 1 < headers ? 60 : 6;
	memcpy(b + HEAD + 40 + 8 * headers, four + HEAD + 20, tcp);
	return HEAD + 40 + 8 * headers + tcp;
}

/* On a copy that ends where the frame does, so that the sanitizer sees a read beyond. */
static int parse(const uint8_t *b, size_t len, struct frame *f)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	memset(f, 0, sizeof(*f));
	memcpy(copy, b, len);
	err = frame_parse(copy, len, f);
	if (!err && (f->payload < copy || f->payload + f->len > copy + len))
		err = 1;
	free(copy);
	return err;
}

static void whole(const char *what, const uint8_t *b, size_t len)
{
	struct frame f;
	int err = parse(b, len, &f);

	ok(!err && f.seq == 0x01020304 && f.ack == 0x05060708 && f.len == 7 && f.flags == 0x18 &&
	   f.key.client_port == htons(40000) && f.key.server_port == htons(80), "%s", what);
}

static void bad(const char *what, uint8_t *b, size_t len, size_t at, uint8_t value)
{
	uint8_t before = b[at];
	struct frame f;

	b[at] = value;
	ok(parse(b, len, &f) < 0, "%s", what);
	b[at] = before;
}

static void cut(const char *what, const uint8_t *b, size_t len)
{
	struct frame f;
	bool good = true;
	size_t n;

	for (n = 0; n < len; n++)
		good &= parse(b, n, &f) < 0;
	ok(good, "%s, truncated at every length", what);
}

/* A request with a wrong checksum was what the verdict was made of. */
static void checksums(const char *family, const uint8_t *frame, size_t len, uint8_t high, uint8_t low)
{
	uint8_t b[256];
	struct frame f;
	size_t at;

	memcpy(b, frame, len);
	ok(!frame_parse(b, len, &f) && !frame_checksum_ok(b, &f), "%s: no checksum", family);
	b[0] = 1;
	ok(!frame_checksum_ok(b, &f), "%s: another one is still to be filled in", family);
	b[6] = f.tcp - b - 10;
	b[8] = 16;
	ok(frame_checksum_ok(b, &f), "%s: still to be filled in", family);
	b[0] = 2;
	ok(frame_checksum_ok(b, &f), "%s: checked by the kernel", family);
	b[0] = 0;
	at = f.tcp - b + 16;
	b[at] = high;
	b[at + 1] = low;
	ok(frame_checksum_ok(b, &f), "%s: right, over an odd number of bytes", family);
	b[len - 1] ^= 1;
	ok(!frame_checksum_ok(b, &f), "%s: the last byte changed", family);
	b[len - 1] ^= 1;
	if (f.ip4) {
		b[HEAD + 8]--;
		ok(!frame_checksum_ok(b, &f), "%s: in its IP header", family);
	}
}

/* Of a packet of `n` bytes only the first are there: enough if the headers are. */
static void headers(const char *family, uint8_t *b, size_t n, uint16_t proto)
{
	size_t ip = n - HEAD, i;
	struct frame f;
	bool good = true;

	for (i = 0; i <= ip; i++) {
		uint8_t *copy = malloc(i ? i : 1);

		memcpy(copy, b + HEAD, i);
		good &= frame_parse_ip(copy, i, ip, htons(proto), &f) == 0 ? i >= ip - 7 && f.len == 7 :
									    i < ip - 7;
		free(copy);
	}
	ok(good, "%s: headers alone are enough, and less is not", family);
}

/* With a VLAN tag of this type behind the MAC addresses. */
static size_t tagged(uint8_t *b, size_t n, uint8_t high, uint8_t low)
{
	memmove(b + HEAD + 2, b + HEAD - 2, n - HEAD + 2);
	b[HEAD - 2] = high;
	b[HEAD - 1] = low;
	b[HEAD] = 0x60;
	b[HEAD + 1] = 5;
	return n + 4;
}

int main(void)
{
	uint8_t b[512];
	struct flow_key rev, back;
	struct frame f;
	size_t n = frame4(b);

	whole("IPv4", b, n);
	parse(b, n, &f);
	frame_reverse(&f.key, &rev);
	frame_reverse(&rev, &back);
	ok(!memcmp(&f.key, &back, sizeof(back)) && rev.client_port == htons(80) &&
	   rev.client[3] == f.key.server[3], "reversed");
	cut("IPv4", b, n);
	checksums("IPv4", b, n, 0xf7, 0xd4);
	headers("IPv4", b, n, 0x0800);
	memset(b + n, 0, 6);
	whole("padding is no payload", b, n + 6);
	b[HEAD + 2] = b[HEAD + 3] = 0;
	whole("total length 0: to the end (BIG TCP)", b, n);
	n = frame4(b);
	bad("version 6 in IPv4", b, n, HEAD, 0x65);
	bad("IHL 4", b, n, HEAD, 0x44);
	bad("IHL beyond the packet", b, n, HEAD, 0x4f);
	bad("total length below the header", b, n, HEAD + 3, 19);
	bad("total length beyond the frame", b, n, HEAD + 2, 1);
	bad("more fragments", b, n, HEAD + 6, 0x20);
	bad("fragment offset", b, n, HEAD + 7, 1);
	bad("UDP", b, n, HEAD + 9, 17);
	bad("data offset 4", b, n, HEAD + 20 + 12, 0x40);
	bad("data offset beyond the packet", b, n, HEAD + 20 + 12, 0xf0);
	bad("ARP", b, n, HEAD - 1, 6);

	n = frame6(b, 0);
	whole("IPv6", b, n);
	cut("IPv6", b, n);
	checksums("IPv6", b, n, 0x11, 0xd3);
	headers("IPv6", b, n, 0x86dd);
	bad("version 4 in IPv6", b, n, HEAD, 0x45);
	bad("payload length beyond the frame", b, n, HEAD + 4, 1);
	bad("no next header", b, n, HEAD + 6, 59);
	bad("a fragment", b, n, HEAD + 6, 44);
	n = frame6(b, 3);
	whole("extension headers", b, n);
	headers("extension headers", b, n, 0x86dd);
	cut("extension headers", b, n);
	bad("an extension header beyond the packet", b, n, HEAD + 41, 255);
	n = frame6(b, 4);
	whole("four of them", b, n);
	n = frame6(b, 5);
	ok(parse(b, n, &f) < 0, "five of them");

	n = tagged(b, frame4(b), 0x81, 0);
	whole("a VLAN tag", b, n);
	cut("a VLAN tag", b, n);
	n = tagged(b, frame6(b, 1), 0x88, 0xa8);
	whole("one of 802.1ad", b, n);
	cut("one of 802.1ad", b, n);
	n = tagged(b, tagged(b, frame4(b), 0x81, 0), 0x88, 0xa8);
	ok(parse(b, n, &f) < 0, "two tags never get there");
	return tap_end();
}
