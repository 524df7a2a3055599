/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses of a struct flow_key, in network order, IPv4 as ::ffff:0:0/96. */
#ifndef SEAM_ADDRESS_H
#define SEAM_ADDRESS_H

#include <arpa/inet.h>
#include <stdbool.h>

#include "seam/flow.h"

#define ADDRESS_LEN 48	/* an address as text, with its NUL */

static inline bool address_is_v4(const __u32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == htonl(0xffff);
}

/* Returns buf. */
static inline const char *address_text(const __u32 addr[4], char buf[ADDRESS_LEN])
{
	bool v4 = address_is_v4(addr);

	return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &addr[3] : addr, buf, ADDRESS_LEN);
}

#endif
