/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Wires: pairs of ports without addresses. A frame leaves by the other port of the wire that it
 * came in on, with its own MAC addresses and VLAN tags.
 *
 * The kernel keeps the outer tag of a frame beside it. The outer of two tags is taken off while a
 * packet is in hand, so that the frame itself begins with IP in any case. It is put back when the
 * packet leaves by a port.
 */
#ifndef SEAM_BPF_WIRE_H
#define SEAM_BPF_WIRE_H

#include "maps.h"

#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define VLAN_HLEN 4

/* Whether ports are wires. Fixed when the programs are loaded. */
const volatile bool wire_mode = false;

/* The other port of a port's wire, 0: it is no port. */
static __always_inline __u32 partner_of(__u32 ifindex)
{
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	return port ? port->partner : 0;
}

/* The VLAN of a tag; a priority tag has none (IEEE 802.1Q 9.6). */
static __always_inline __u32 vlan_of(__u32 tag)
{
	return tag & LINK_VID ? tag & LINK_VLAN : 0;
}

static __always_inline struct seam_links *links_of(const struct flow *f)
{
	__u64 id = f->id;

	return bpf_map_lookup_elem(&links, &id);
}

static __always_inline void forget_links(__u64 id)
{
	if (wire_mode)
		bpf_map_delete_elem(&links, &id);
}

/* Gives the packet in hand the link header of that end's last frame. -1: it is not known. */
static __always_inline int link_as(struct room *room, const struct flow *f, __u32 end)
{
	struct seam_links *l = links_of(f);

	if (!l)
		return -1;
	room->link = l->end[end & 1];
	return 0;
}

/* Whether they are on the same VLANs. */
static __always_inline bool same_vlan(const struct seam_link *a, const struct seam_link *b)
{
	return vlan_of(a->tag[0]) == vlan_of(b->tag[0]) && vlan_of(a->tag[1]) == vlan_of(b->tag[1]);
}

static __always_inline bool same_link(const struct seam_link *a, const struct seam_link *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/*
 * Whether a frame has come by the same way, and with the same link header, as its end's last one:
 * then there is nothing to note. `l` may be NULL: not known.
 */
static __always_inline bool same_way(const struct flow *f, const struct seam_links *l, enum seam_end side,
				     __u32 ifindex, __u32 partner, const struct seam_link *link)
{
	const struct flow_end *me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	const struct flow_end *peer = side == SEAM_CLIENT ? &f->end[1] : &f->end[0];

	return l && f->why_not != SEAM_R_ASYMMETRIC && me->ifindex == ifindex && partner == peer->ifindex &&
	       same_link(side == SEAM_CLIENT ? &l->end[0] : &l->end[1], link);
}

static __always_inline bool is_tag(__u16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/*
 * Reads the link header, and takes off the outer of two tags. -1: the frame has anything but IP
 * behind its tags, and is left as it is; -2: it has yet another tag.
 */
static __noinline int link_read(struct __sk_buff *ctx, struct seam_link *l)
{
	__u16 inner[3]; /* ethertype; if that is a tag's: TCI, ethertype */

	l->tag[0] = l->tag[1] = 0;
	if (bpf_skb_load_bytes(ctx, 0, l->mac, sizeof(l->mac)))
		return -1;
	if (!ctx->vlan_present)
		return 0;
	if (bpf_skb_load_bytes(ctx, sizeof(l->mac), inner, sizeof(inner)))
		return -1;
	if (is_tag(inner[0]) && inner[2] != bpf_htons(ETH_P_IP) && inner[2] != bpf_htons(ETH_P_IPV6))
		return is_tag(inner[2]) ? -2 : -1;
	l->tag[0] = (__u32)bpf_ntohs(ctx->vlan_proto) << 16 | (__u16)ctx->vlan_tci;
	if (!is_tag(inner[0]))
		return 0;
	if (bpf_skb_vlan_pop(ctx)) {
		l->tag[0] = 0;
		return -1;
	}
	l->tag[1] = (__u32)bpf_ntohs(inner[0]) << 16 | bpf_ntohs(inner[1]);
	return 0;
}

static __always_inline long put_tag(struct __sk_buff *ctx, __u32 tag)
{
	return bpf_skb_vlan_push(ctx, bpf_htons(tag >> 16), tag);
}

/* Puts the outer one of two tags back. */
static __always_inline long put_outer(struct __sk_buff *ctx, const struct seam_link *l)
{
	return l->tag[1] ? put_tag(ctx, l->tag[0]) : 0;
}

/* Gives a frame without any the MAC addresses and tags of `l`, except the outer of two tags. */
static __always_inline long link_write(struct __sk_buff *ctx, const struct seam_link *l)
{
	__u32 tag = l->tag[1] ?: l->tag[0];

	return bpf_skb_store_bytes(ctx, 0, l->mac, sizeof(l->mac), 0) ?: tag ? put_tag(ctx, tag) : 0;
}

/* Sends the packet in hand out of a port. */
static __always_inline int out_of(struct __sk_buff *ctx, __u32 ifindex)
{
	struct room *room = room_get();

	if (wire_mode && (!room || put_outer(ctx, &room->link)))
		return TC_ACT_SHOT;
	return bpf_redirect(ifindex, 0);
}

/* Sends a copy of it out of a port. */
static __always_inline void copy_out_of(struct __sk_buff *ctx, __u32 ifindex)
{
	struct room *room = room_get();

	if (!room || put_outer(ctx, &room->link))
		return;
	bpf_clone_redirect(ctx, ifindex, 0);
	if (room->link.tag[1])
		bpf_skb_vlan_pop(ctx);
}

/* Steers the packet into the inner namespace, where there are no tags. */
static __always_inline int to_inner(struct __sk_buff *ctx, __u32 veth)
{
	if (wire_mode && ctx->vlan_present && bpf_skb_vlan_pop(ctx))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(veth, 0);
}

/*
 * Sends the packet in hand out of a port, if that takes frames of its size: one tag more than the
 * MTU says, as in the kernel's bridge (is_skb_forwardable()).
 */
static __noinline int cross(struct __sk_buff *ctx, __u32 out)
{
	struct room *room = room_get();
	__u32 mtu = 0;

	if (!out || !room || put_outer(ctx, &room->link))
		return TC_ACT_SHOT;
	if (bpf_check_mtu(ctx, out, &mtu, -VLAN_HLEN, 0)) {
		count(SEAM_R_MTU);
		return TC_ACT_SHOT;
	}
	return bpf_redirect(out, 0);
}

/* A frame has come in by a port; wire_end() lets it go on as it came. */
static __noinline int wire_begin(struct __sk_buff *ctx)
{
	struct room *room = room_get();

	if (!room)
		return -1;
	room->link.tag[1] = 0;
	room->partner = partner_of(ctx->ifindex);
	return 0;
}

static __noinline int wire_end(struct __sk_buff *ctx)
{
	struct room *room = room_get();

	return room ? cross(ctx, room->partner) : TC_ACT_SHOT;
}

#endif
