// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The acknowledgement goes through the inner namespace's loopback device, as a raw packet with
 * a mark that makes every address local. tcp_ack_update_rtt() takes the round trip from its
 * TSecr, and only from there: a byte put into the queue by repair counts as retransmitted (RFC
 * 7323 4, Karn's algorithm).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "csum.h"
#include "leg.h"
#include "net.h"
#include "prime.h"
#include "seam/tsval.h"

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif
#define OPTIONS_LEN 12	/* NOP NOP TIMESTAMP */

struct segment {
	struct tcphdr th;
	uint8_t options[OPTIONS_LEN];
};

static int raw_open(int family, int level, int option)
{
	unsigned int mark = NET_LOCAL_MARK;
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW), on = 1, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ||
	    setsockopt(fd, level, option, &on, sizeof(on))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int primer_open(struct primer *p)
{
	p->fd4 = raw_open(AF_INET, IPPROTO_IP, IP_HDRINCL);
	p->fd6 = raw_open(AF_INET6, IPPROTO_IPV6, IPV6_HDRINCL);
	/* A kernel without IPv6 has no IPv6 flows either. */
	return p->fd4 < 0 ? p->fd4 : p->fd6 < 0 && p->fd6 != -EAFNOSUPPORT ? p->fd6 : 0;
}

void primer_close(struct primer *p)
{
	if (p->fd4 >= 0)
		close(p->fd4);
	if (p->fd6 >= 0)
		close(p->fd6);
	p->fd4 = p->fd6 = -1;
}

bool prime_possible(const struct flow *f, enum seam_end end)
{
	return (f->flags & FLOW_F_TSTAMP) && f->end[end].rtt_us;
}

static void put32(uint8_t *to, __u32 value)
{
	value = htonl(value);
	memcpy(to, &value, sizeof(value));
}

/* The bare ack that the end would have sent for the last byte before the boundary. */
static void segment_fill(struct segment *s, const struct flow_key *key, const struct flow *f,
			 enum seam_end end, __u32 tsecr)
{
	const struct flow_end *from = &f->end[end];
	__u32 wnd = leg_room(from->edge, from->told_nxt) >> from->wscale;

	memset(s, 0, sizeof(*s));
	s->th.source = end == SEAM_CLIENT ? key->client_port : key->server_port;
	s->th.dest = end == SEAM_CLIENT ? key->server_port : key->client_port;
	s->th.seq = htonl(from->nxt);
	s->th.ack_seq = htonl(from->told_nxt);
	s->th.doff = sizeof(*s) / 4;
	s->th.ack = 1;
	s->th.window = htons(wnd > 0xffff ? 0xffff : wnd);
	memcpy(s->options, "\1\1\10\12", 4);
	/* Not that of a held packet: the leg would refuse those before it (RFC 7323 5.3). */
	put32(s->options + 4, from->free_tsval);
	put32(s->options + 8, tsecr);
}

static int send4(const struct primer *p, const __u32 src[4], const __u32 dst[4], struct segment *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = dst[3] };
	struct {
		struct iphdr ih;
		struct segment s;
	} packet = {
		.ih = { .version = 4, .ihl = 5, .ttl = 1, .protocol = IPPROTO_TCP,
			.tot_len = htons(sizeof(packet)), .saddr = src[3], .daddr = dst[3] },
	};
	uint32_t sum = csum_add(&packet.ih.saddr, 8, IPPROTO_TCP + sizeof(*s));

	s->th.check = csum_fold(csum_add(s, sizeof(*s), sum));
	packet.s = *s;
	return sendto(p->fd4, &packet, sizeof(packet), 0, (void *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int send6(const struct primer *p, const __u32 src[4], const __u32 dst[4], struct segment *s)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
	struct {
		struct ip6_hdr ih;
		struct segment s;
	} packet = {
		.ih = { .ip6_flow = htonl(6U << 28), .ip6_plen = htons(sizeof(*s)),
			.ip6_nxt = IPPROTO_TCP, .ip6_hlim = 1 },
	};
	uint32_t sum;

	memcpy(&packet.ih.ip6_src, src, 16);
	memcpy(&packet.ih.ip6_dst, dst, 16);
	memcpy(&to.sin6_addr, dst, 16);
	sum = csum_add(&packet.ih.ip6_src, 32, IPPROTO_TCP + sizeof(*s));
	s->th.check = csum_fold(csum_add(s, sizeof(*s), sum));
	packet.s = *s;
	return sendto(p->fd6, &packet, sizeof(packet), 0, (void *)&to, sizeof(to)) < 0 ? -errno : 0;
}

int prime_leg(const struct primer *p, int fd, const struct flow_key *key, const struct flow *f,
	      enum seam_end end)
{
	const __u32 *src = end == SEAM_CLIENT ? key->client : key->server;
	const __u32 *dst = end == SEAM_CLIENT ? key->server : key->client;
	__u32 clock, rtt = f->end[end].rtt_us;
	socklen_t len = sizeof(clock);
	struct segment s;

	/* The leg's own clock, in its own ticks. */
	if (getsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &clock, &len))
		return -errno;
	if (!tsval_tick_is_1us(&f->end[!end]))
		rtt /= 1000;
	/* 0 would mean that there is none. */
	segment_fill(&s, key, f, end, clock - rtt ? clock - rtt : 1);
	return f->flags & FLOW_F_IPV4 ? send4(p, src, dst, &s) : send6(p, src, dst, &s);
}
