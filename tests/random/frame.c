// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Frames, from and to bytes, and the link they use. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "random.h"

#define VNET sizeof(struct virtio_net_hdr)
#define ETH (VNET + 14)

/*
 * Addresses that no kernel has, so that none answers for them: 10.99.1.77 and fd99:1::77 are
 * the client's.
 */
static void address(uint8_t *to, bool v6, enum side side)
{
	static const uint8_t v4[2][4] = { { 10, 99, 1, 77 }, { 10, 99, 2, 77 } };

	if (!v6) {
		memcpy(to, v4[side], 4);
		return;
	}
	memset(to, 0, 16);
	to[0] = 0xfd;
	to[1] = 0x99;
	to[3] = side + 1;
	to[15] = 0x77;
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint64_t sum(const uint8_t *p, size_t n)
{
	uint64_t s = 0;
	size_t i;

	for (i = 0; i + 1 < n; i += 2)
		s += get16(p + i);
	return n & 1 ? s + (p[n - 1] << 8) : s;
}

static uint16_t fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Of the pseudo-header; `ip` begins with the IP header. */
static uint64_t pseudo(const uint8_t *ip, bool v6, size_t tcp_len)
{
	return (v6 ? sum(ip + 8, 32) : sum(ip + 12, 8)) + IPPROTO_TCP + (tcp_len >> 16) + (tcp_len & 0xffff);
}

static int read_mac(const char *name, int fd, uint8_t *mac)
{
	struct ifreq ifr = {};

	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -errno;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	return 0;
}

int wire_open(struct wire *w, enum side side, const char *netns, const char *box_mac)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1, size = 64 << 20, ns, err;
	unsigned int m[6];

	w->side = side;
	if (sscanf(box_mac, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6)
		return -EINVAL;
	for (err = 0; err < 6; err++)
		w->box_mac[err] = m[err];
	ns = open(netns, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET))
		return -errno;
	close(ns);
	/* Without a protocol it hears nothing until it is bound. */
	w->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (w->fd < 0)
		return -errno;
	err = read_mac("eth0", w->fd, w->mac);
	if (err)
		return err;
	addr.sll_ifindex = if_nametoindex("eth0");
	if (setsockopt(w->fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(w->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(w->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(w->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) ||
	    bind(w->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return 0;
}

static bool parse_options(struct frame *f, const uint8_t *o, int n)
{
	int i, k;

	for (i = 0; i < n && o[i] != 0; i += o[i] == 1 ? 1 : o[i + 1]) {
		if (o[i] == 1)
			continue;
		if (i + 1 >= n || o[i + 1] < 2 || i + o[i + 1] > n)
			return false;
		switch (o[i]) {
		case 2:
			f->mss = get16(o + i + 2);
			break;
		case 3:
			f->wscale = o[i + 2];
			break;
		case 4:
			f->sack_ok = true;
			break;
		case 5:
			for (k = 0; k < (o[i + 1] - 2) / 8 && f->n_sack < 4; k++, f->n_sack++) {
				f->sack[f->n_sack][0] = get32(o + i + 2 + 8 * k);
				f->sack[f->n_sack][1] = get32(o + i + 6 + 8 * k);
			}
			break;
		case 8:
			f->ts = true;
			f->tsval = get32(o + i + 2);
			f->tsecr = get32(o + i + 6);
			break;
		}
	}
	return true;
}

bool frame_parse(struct frame *f, uint8_t *buf, size_t n)
{
	const struct virtio_net_hdr *v = (void *)buf;
	const uint8_t *ip = buf + ETH, *tcp;
	uint16_t type, have;
	size_t ihl, len;

	memset(f, 0, sizeof(*f));
	f->wscale = -1;
	if (n < ETH + 40)
		return false;
	type = get16(buf + VNET + 12);
	f->v6 = type == ETH_P_IPV6;
	if (type == ETH_P_IP && ip[9] == IPPROTO_TCP) {
		ihl = (ip[0] & 15) * 4;
		len = get16(ip + 2);
		f->csum_ok = fold(sum(ip, ihl)) == 0xffff;
	} else if (f->v6 && ip[6] == IPPROTO_TCP) {
		ihl = 40;
		len = ihl + get16(ip + 4);
		f->csum_ok = true;
	} else {
		return false;
	}
	if (n < ETH + len || len < ihl + 20)
		return false;
	tcp = ip + ihl;
	len -= ihl;
	f->sport = get16(tcp);
	f->dport = get16(tcp + 2);
	f->seq = get32(tcp + 4);
	f->ack = get32(tcp + 8);
	f->flags = tcp[13];
	f->wnd = get16(tcp + 14);
	f->optlen = (tcp[12] >> 4) * 4 - 20;
	if (f->optlen + 20U > len || !parse_options(f, tcp + 20, f->optlen))
		return false;
	f->payload = tcp + 20 + f->optlen;
	f->len = len - 20 - f->optlen;
	f->gso = v->gso_type == VIRTIO_NET_HDR_GSO_NONE ? 0 : v->gso_size;
	/* If left to the device, the field has the pseudo-header's sum alone. */
	have = get16(tcp + 16);
	if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		f->csum_ok &= have == fold(pseudo(ip, f->v6, len));
	else
		f->csum_ok &= fold(pseudo(ip, f->v6, len) + sum(tcp, len)) == 0xffff;
	return true;
}

static int build_options(const struct frame *f, uint8_t *o)
{
	int n = 0, i;

	if (f->mss) {
		o[n] = 2;
		o[n + 1] = 4;
		put16(o + n + 2, f->mss);
		n += 4;
	}
	if (f->sack_ok) {
		memcpy(o + n, "\1\1\4\2", 4);
		n += 4;
	}
	if (f->wscale >= 0) {
		memcpy(o + n, "\1\3\3", 3);
		o[n + 3] = f->wscale;
		n += 4;
	}
	if (f->ts) {
		memcpy(o + n, "\1\1\10\12", 4);
		put32(o + n + 4, f->tsval);
		put32(o + n + 8, f->tsecr);
		n += 12;
	}
	if (f->n_sack) {
		memcpy(o + n, "\1\1\5", 3);
		o[n + 3] = 2 + 8 * f->n_sack;
		n += 4;
		for (i = 0; i < f->n_sack; i++, n += 8) {
			put32(o + n, f->sack[i][0]);
			put32(o + n + 4, f->sack[i][1]);
		}
	}
	return n;
}

void frame_checksum(uint8_t *buf, size_t n)
{
	struct virtio_net_hdr *v = (void *)buf;
	bool v6 = get16(buf + VNET + 12) == ETH_P_IPV6;
	uint8_t *ip = buf + ETH, *tcp = ip + (v6 ? 40 : 20);
	size_t len = buf + n - tcp;

	if (!v6) {
		put16(ip + 10, 0);
		put16(ip + 10, ~fold(sum(ip, 20)));
	}
	put16(tcp + 16, 0);
	put16(tcp + 16, v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ?
			fold(pseudo(ip, v6, len)) :
			(uint16_t)~fold(pseudo(ip, v6, len) + sum(tcp, len)));
}

size_t frame_build(const struct wire *w, const struct frame *f, uint8_t *buf)
{
	size_t ihl = f->v6 ? 40 : 20, len;
	struct virtio_net_hdr *v = (void *)buf;
	uint8_t *ip = buf + ETH, *tcp = ip + ihl;
	int opts;

	memset(buf, 0, ETH + ihl + 20);
	memcpy(buf + VNET, w->box_mac, 6);
	memcpy(buf + VNET + 6, w->mac, 6);
	put16(buf + VNET + 12, f->v6 ? ETH_P_IPV6 : ETH_P_IP);
	opts = build_options(f, tcp + 20);
	len = 20 + opts + f->len;
	if (f->v6) {
		ip[0] = 0x60;
		put16(ip + 4, len);
		ip[6] = IPPROTO_TCP;
		ip[7] = 64;
		address(ip + 8, true, w->side);
		address(ip + 24, true, !w->side);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, ihl + len);
		ip[6] = 0x40; /* DF */
		ip[8] = 64;
		ip[9] = IPPROTO_TCP;
		address(ip + 12, false, w->side);
		address(ip + 16, false, !w->side);
	}
	put16(tcp, f->sport);
	put16(tcp + 2, f->dport);
	put32(tcp + 4, f->seq);
	put32(tcp + 8, f->ack);
	tcp[12] = (20 + opts) / 4 << 4;
	tcp[13] = f->flags;
	put16(tcp + 14, f->wnd);
	if (f->len)
		memcpy(tcp + 20 + opts, f->payload, f->len);
	if (w->gso && f->len) {
		v->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v->csum_start = 14 + ihl;
		v->csum_offset = 16;
		v->hdr_len = 14 + ihl + 20 + opts;
		if (f->gso && f->len > f->gso) {
			v->gso_type = f->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
			v->gso_size = f->gso;
		}
	}
	frame_checksum(buf, ETH + ihl + len);
	return ETH + ihl + len;
}
