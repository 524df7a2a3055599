// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The proxy inspector: its headers byte for byte, and that they come first. */
#include "edited.h"
#include "tap.h"

/* By hand, after HAProxy's proxy-protocol.txt, 2.1 and 2.2. */
static const char v2_v4[] = "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
			    "\x21\x11\x00\x0c"
			    "\xc0\x00\x02\x01" "\xc6\x33\x64\x07" "\x9c\x40" "\x00\x50";
static const char v2_v6[] = "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
			    "\x21\x21\x00\x24"
			    "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
			    "\x20\x01\x0d\xb8\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
			    "\xff\xff" "\x01\xbb";

static const struct {
	const char *name;
	enum proxy_version version;
	const char *client;
	uint16_t client_port;
	const char *server;
	uint16_t server_port;
	const char *header;
	size_t len;
} cases[] = {
	{ "v1, IPv4", PROXY_V1, "192.0.2.1", 40000, "198.51.100.7", 80,
	  "PROXY TCP4 192.0.2.1 198.51.100.7 40000 80\r\n", 44 },
	{ "v1, the longest IPv4", PROXY_V1, "255.255.255.255", 65535, "255.255.255.254", 65535,
	  "PROXY TCP4 255.255.255.255 255.255.255.254 65535 65535\r\n", 56 },
	{ "v1, IPv6", PROXY_V1, "2001:db8::1", 65535, "2001:db8:2::2", 443,
	  "PROXY TCP6 2001:db8::1 2001:db8:2::2 65535 443\r\n", 48 },
	{ "v1, the longest IPv6", PROXY_V1, "2001:db8:1111:2222:3333:4444:5555:6666", 65535,
	  "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 65535,
	  "PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 "
	  "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff 65535 65535\r\n", 102 },
	{ "v2, IPv4", PROXY_V2, "192.0.2.1", 40000, "198.51.100.7", 80, v2_v4, sizeof(v2_v4) - 1 },
	{ "v2, IPv6", PROXY_V2, "2001:db8::1", 65535, "2001:db8:2::2", 443, v2_v6,
	  sizeof(v2_v6) - 1 },
};

int main(void)
{
	static const char sent[] = "GET / HTTP/1.0\r\n\r\n";

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct inspect_setup setup = { .proxy = cases[i].version };
		struct flow_key key = edited_key(cases[i].client, cases[i].client_port,
						 cases[i].server, cases[i].server_port);
		struct edited x;
		struct stream *up = &x.dir[SEAM_UP].out;

		edited_open(&x, &inspector_proxy, &setup, &key);
		edited_feed(&x, SEAM_UP, NULL, 0, false);
		ok(x.answer == INSPECT_LET_GO && up->len == cases[i].len &&
			   !memcmp(up->data, cases[i].header, cases[i].len),
		   "%s: header before any byte came, then let go", cases[i].name);
		edited_feed(&x, SEAM_UP, sent, strlen(sent), false);
		edited_feed(&x, SEAM_DOWN, sent, strlen(sent), false);
		ok(up->len == cases[i].len + strlen(sent) &&
			   !memcmp(up->data + cases[i].len, sent, strlen(sent)) &&
			   x.dir[SEAM_DOWN].out.len == strlen(sent),
		   "%s: nothing else is changed", cases[i].name);
		edited_close(&x);
	}
	return tap_end();
}
