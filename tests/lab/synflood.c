// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * SYNs of ever other ports, as fast as they go:
 *
 *	synflood INTERFACE MAC SOURCE DESTINATION PORT SECONDS
 *
 * Prints how many were sent.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../../user/csum.h"

struct syn {
	struct ether_header eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	struct syn p = {};
	struct ether_addr *mac;
	unsigned long sent = 0;
	time_t end;
	int fd;

	if (argc != 7 || !(mac = ether_aton(argv[2])) || !(to.sll_ifindex = if_nametoindex(argv[1]))) {
		fputs("usage: synflood INTERFACE MAC SOURCE DESTINATION PORT SECONDS\n", stderr);
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) {
		perror("socket");
		return 1;
	}
	memcpy(p.eth.ether_dhost, mac, 6);
	p.eth.ether_type = htons(ETHERTYPE_IP);
	p.ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(40),
		.saddr = inet_addr(argv[3]), .daddr = inet_addr(argv[4]) };
	p.ip.check = csum_fold(csum_add(&p.ip, sizeof(p.ip), 0));
	p.tcp = (struct tcphdr){ .dest = htons(atoi(argv[5])), .doff = 5, .syn = 1, .window = htons(65535) };
	for (end = time(NULL) + atoi(argv[6]); time(NULL) < end; sent++) {
		p.tcp.source = htons(1024 + sent % 60000);
		p.tcp.seq = htonl(sent * 7919);
		p.tcp.check = 0;
		p.tcp.check = csum_fold(csum_add(&p.tcp, sizeof(p.tcp), csum_add(&p.ip.saddr, 8, IPPROTO_TCP + sizeof(p.tcp))));
		if (sendto(fd, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			continue;
	}
	printf("%lu\n", sent);
	return 0;
}
