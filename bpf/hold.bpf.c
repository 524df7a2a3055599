// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* TC ingress on the hold device: packets that the daemon lets go on. */
#include "packet.h"

SEC("tc")
int seam_hold(struct __sk_buff *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	struct flow_key key;
	struct flow *f;
	struct pkt *p;
	__u32 end;

	if (!room)
		return TC_ACT_SHOT;
	p = &room->pkt;
	if (parse_skb(ctx, p) != PARSE_TCP)
		return TC_ACT_SHOT;
	f = flow_find(p, &key, SEAM_CLIENT, &end);
	if (!f) {
		count(SEAM_R_HOLD_LOST);
		return TC_ACT_SHOT;
	}
	/* A frame with two tags comes back without the outer one. */
	if (wire_mode && link_as(room, f, end))
		return TC_ACT_SHOT;
	return handle_packet(ctx, f, &key, end, p, FROM_HOLD, now);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
