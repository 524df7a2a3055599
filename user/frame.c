// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>

#include "csum.h"
#include "frame.h"

#define VNET_HDR sizeof(struct virtio_net_hdr)
#define VLAN_HLEN 4

static void map4(__u32 addr[4], uint32_t v4)
{
	addr[0] = addr[1] = 0;
	addr[2] = htonl(0xffff);
	addr[3] = v4;
}

static int parse_tcp(const uint8_t *p, size_t have, size_t len, struct frame *out)
{
	struct tcphdr th;
	size_t doff;

	if (have < sizeof(th))
		return -EINVAL;
	memcpy(&th, p, sizeof(th));
	doff = th.doff * 4;
	if (doff < sizeof(th) || doff > have)
		return -EINVAL;
	out->key.client_port = th.source;
	out->key.server_port = th.dest;
	out->seq = ntohl(th.seq);
	out->ack = ntohl(th.ack_seq);
	out->flags = p[13];
	out->tcp = p;
	out->payload = p + doff;
	out->len = len - doff;
	return 0;
}

int frame_parse_ip(const uint8_t *p, size_t have, size_t len, uint16_t proto, struct frame *out)
{
	struct ip6_hdr i6;
	struct iphdr i4;
	size_t n, total, hops;
	uint8_t next;

	if (proto == htons(ETHERTYPE_IP)) {
		if (have < sizeof(i4))
			return -EINVAL;
		memcpy(&i4, p, sizeof(i4));
		n = i4.ihl * 4;
		total = ntohs(i4.tot_len) ? ntohs(i4.tot_len) : len;
		have = have < total ? have : total;
		if (i4.version != 4 || n < sizeof(i4) || have < n || total > len ||
		    i4.protocol != IPPROTO_TCP || (i4.frag_off & htons(0x3fff)))
			return -EINVAL;
		map4(out->key.client, i4.saddr);
		map4(out->key.server, i4.daddr);
		out->ip4 = p;
		return parse_tcp(p + n, have - n, total - n, out);
	}
	if (proto != htons(ETHERTYPE_IPV6) || have < sizeof(i6))
		return -EINVAL;
	memcpy(&i6, p, sizeof(i6));
	n = sizeof(i6);
	total = ntohs(i6.ip6_plen) ? ntohs(i6.ip6_plen) + n : len;
	have = have < total ? have : total;
	if ((i6.ip6_vfc >> 4) != 6 || total > len)
		return -EINVAL;
	memcpy(out->key.client, &i6.ip6_src, 16);
	memcpy(out->key.server, &i6.ip6_dst, 16);
	out->ip4 = NULL;
	next = i6.ip6_nxt;
	for (hops = 0; next != IPPROTO_TCP; hops++) {
		if (hops == 4 || n + 8 > have ||
		    (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_ROUTING))
			return -EINVAL;
		next = p[n];
		n += 8 + p[n + 1] * 8;
	}
	if (n > have)
		return -EINVAL;
	return parse_tcp(p + n, have - n, total - n, out);
}

int frame_parse(const uint8_t *buf, size_t len, struct frame *out)
{
	const uint8_t *p = buf + VNET_HDR + ETHER_HDR_LEN;
	uint16_t proto;

	if (len < VNET_HDR + ETHER_HDR_LEN)
		return -EINVAL;
	len -= VNET_HDR + ETHER_HDR_LEN;
	memcpy(&proto, p - 2, 2);
	/*
	 * On a wire there may be a VLAN tag; if there are two, the kernel side keeps the outer
	 * one.
	 */
	if (proto == htons(ETHERTYPE_VLAN) || proto == htons(ETH_P_8021AD)) {
		if (len < VLAN_HLEN)
			return -EINVAL;
		p += VLAN_HLEN;
		len -= VLAN_HLEN;
		memcpy(&proto, p - 2, 2);
	}
	return frame_parse_ip(p, len, len, proto, out);
}

bool frame_checksum_ok(const uint8_t *buf, const struct frame *f)
{
	uint32_t len = f->payload + f->len - f->tcp, sum;
	struct virtio_net_hdr vh;

	memcpy(&vh, buf, sizeof(vh));
	/* Without a length it is one of the kernel's own (BIG TCP). */
	if (f->ip4 && (f->ip4[2] | f->ip4[3]) && csum_fold(csum_add(f->ip4, (f->ip4[0] & 15) * 4, 0)))
		return false;
	if (vh.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		return true;
	/* A guest may ask for a checksum elsewhere and leave the one that counts as it is. */
	if (vh.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return vh.csum_offset == offsetof(struct tcphdr, check) &&
		       buf + sizeof(vh) + vh.csum_start == f->tcp;
	/* The ffff:: of a mapped IPv4 address adds nothing to a sum of one's complement. */
	sum = csum_add(f->key.client, sizeof(f->key.client), IPPROTO_TCP);
	sum = csum_add(f->key.server, sizeof(f->key.server), sum);
	sum += (len >> 16) + (len & 0xffff);
	return !csum_fold(csum_add(f->tcp, len, sum));
}

void frame_reverse(const struct flow_key *key, struct flow_key *out)
{
	memcpy(out->client, key->server, sizeof(out->client));
	memcpy(out->server, key->client, sizeof(out->server));
	out->client_port = key->server_port;
	out->server_port = key->client_port;
}
