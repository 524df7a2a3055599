/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the first payload decides, where the kernel can tell: the same walk over the policy's lines
 * as at the SYN, with the name known. It ends where the daemon's walk would, or the daemon is
 * asked.
 */
#ifndef SEAM_BPF_NAMES_H
#define SEAM_BPF_NAMES_H

#include "hello.h"
#include "packet.h"
#include "policy.h"
#include "request.h"

#define BPF_CSUM_LEVEL_QUERY 0

/* Names that the rules of one policy list. */
struct name_rules {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct seam_name);
	__type(value, struct seam_name_rules);
} name_rules SEC(".maps");

/*
 * By the last bit of the policy's generation, so that a packet which began with the previous
 * policy still finds its names. By the second exchange no such packet is left: each exchange waits
 * for the programs that run.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct name_rules);
} names SEC(".maps");

/* The programs that seam_names is called from and returns to. */
enum jump {
	JUMP_CLIENT = SEAM_CLIENT,
	JUMP_SERVER = SEAM_SERVER,
	JUMP_NAMES,
	JUMP_MAX,
};

/*
 * Whether a packet is the client's first payload, of a flow that a name may settle. Not if it is
 * out of place, or says more than its bytes. Not if it may not get to the server either: with an
 * option that was not agreed on, or fewer hops to go than its SYN had. seam_names() checks again,
 * under the flow's lock.
 */
static __always_inline bool may_settle(const struct flow *f, __u32 end, const struct pkt *p)
{
	return (f->flags & FLOW_F_BY_NAME) && f->state == FLOW_MONITORED && end == SEAM_CLIENT &&
	       p->len && p->seq == f->end[SEAM_CLIENT].nxt && !more_options(p) &&
	       p->ttl >= f->end[SEAM_CLIENT].ttl0 &&
	       (p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK | TCP_URG)) == TCP_ACK;
}

/*
 * Whether the packet's checksum is still to be filled in (CHECKSUM_PARTIAL). No helper says so,
 * but bpf_l4_csum_replace() leaves such a checksum alone.
 */
static __noinline bool csum_partial(struct __sk_buff *ctx, const struct pkt *p)
{
	__u32 at = p->l4 + TCP_CHECK_OFF;
	__u16 was, is;

	if (bpf_skb_load_bytes(ctx, at, &was, 2) ||
	    bpf_l4_csum_replace(ctx, at, 0, bpf_htons(1), 2) ||
	    bpf_skb_load_bytes(ctx, at, &is, 2))
		return false;
	if (was == is)
		return true;
	bpf_skb_store_bytes(ctx, at, &was, 2, 0);
	return false;
}

/* Adds the `len` bytes of the payload, which are in the room, to `sum`. */
static __always_inline __s64 csum_first(struct first_room *room, __u32 len, __s64 sum)
{
	__u32 at = len, i, n;

	asm volatile("" : "+r"(at));
	if (at > FIRST_MAX)
		return sum;
	room->bytes[at] = room->bytes[at + 1] = room->bytes[at + 2] = 0;
#pragma unroll
	for (i = 0; i < FIRST_MAX / 512; i++) {
		n = len > 512 ? 512 : (len + 3) & ~3U;
		asm volatile("" : "+r"(n));
		if (!n || n > 512)
			break;
		sum = bpf_csum_diff(0, 0, (__be32 *)(room->bytes + i * 512), n, sum);
		len -= len < n ? len : n;
	}
	return sum;
}

/*
 * Whether the receiver will find the packet's checksums right. What it discards must decide
 * nothing, because the sender may follow it up with something else. Like frame_checksum_ok().
 */
static __noinline bool intact(struct __sk_buff *ctx, const struct pkt *p, struct first_room *room)
{
	__u32 head = p->payload - p->l4, ip[5];
	__s64 sum;

	if (!room)
		return false;
	if (p->v4 && (bpf_skb_load_bytes(ctx, ETH_HLEN, ip, sizeof(ip)) ||
		      csum_fold(bpf_csum_diff(0, 0, ip, sizeof(ip), 0))))
		return false;
	if ((long)bpf_csum_level(ctx, BPF_CSUM_LEVEL_QUERY) >= 0 || csum_partial(ctx, p))
		return true;
	__builtin_memset(room->tcp, 0, sizeof(room->tcp));
	if (p->gso || p->len > FIRST_MAX ||
	    load_bytes(ctx, p->l4, room->tcp, head, sizeof(room->tcp)))
		return false;
	/* The ffff of a mapped IPv4 address adds nothing to a one's complement sum. */
	sum = bpf_csum_diff(0, 0, (__be32 *)&p->key, 32, bpf_htonl(head + p->len + IPPROTO_TCP));
	sum = bpf_csum_diff(0, 0, (__be32 *)room->tcp, sizeof(room->tcp), sum);
	return !csum_fold(csum_first(room, p->len, sum));
}

/* Reads the first payload; false: not settled. */
static __noinline bool first_read(struct __sk_buff *ctx, const struct pkt *p, struct first *f)
{
	__u32 len = p->len < FIRST_MAX ? p->len : FIRST_MAX;

	if (!f->room || load_bytes(ctx, p->payload, f->room->bytes, len, FIRST_MAX) ||
	    !intact(ctx, p, f->room))
		return false;
	f->len = len;
	return first8(f->room, 0) == 22 ? hello_read(f) : request_read(f);
}

#define NAME_LABELS_MAX 16

/* Looks up the rules that list what of the name has been read. */
static __always_inline void name_find(struct first_room *room)
{
	struct seam_name_rules *rules;
	__u32 slot = room->walk.slot;
	void *map = bpf_map_lookup_elem(&names, &slot);

	rules = map ? bpf_map_lookup_elem(map, &room->name) : NULL;
	if (rules)
		room->rules = *rules;
}

/* Reads a name from its end; each ending that begins with a dot may be listed. */
static long name_step(__u32 i, struct first_step *s)
{
	struct name_walk *w = &s->room->walk;
	__u32 n = w->n, left = w->left, c;

	if (!left)
		return 1;
	left--;
	c = to_lower(first8(s->room, w->at + left));
	if (n >= SEAM_NAME_MAX || !(c == '.' ? w->label : is_label(c) && w->label < 63))
		goto odd;
	s->room->name.text[n] = c;
	s->room->text[left & SEAM_NAME_MAX] = c;
	w->left = left;
	w->n = n + 1;
	if (c != '.') {
		w->label++;
		return 0;
	}
	if (++w->labels == NAME_LABELS_MAX)
		goto odd;
	w->label = 0;
	name_find(s->room);
	return 0;
odd:
	w->odd = true;
	return 1;
}

/* Finds the rules that list the name; false if it is not a name. */
static __noinline bool name_rules_find(const struct first *f, __u32 generation)
{
	struct first_step step = { f->room };
	struct first_room *room = f->room;
	__u32 len = f->name_len;
	struct name_walk *w;

	if (!room)
		return false;
	__builtin_memset(&room->name, 0, sizeof(room->name));
	__builtin_memset(&room->rules, 0, sizeof(room->rules));
	__builtin_memset(room->text, 0, sizeof(room->text));
	if (!len)
		return true;
	/* The root's dot does not change the name. */
	if (first8(room, f->name_at + len - 1) == '.')
		len--;
	if (len > SEAM_NAME_MAX)
		return false;
	w = &room->walk;
	__builtin_memset(w, 0, sizeof(*w));
	w->at = f->name_at;
	w->left = len;
	w->slot = generation & 1;
	room->name.proto = f->proto;
	bpf_loop(SEAM_NAME_MAX + 1, name_step, &step, 0);
	if (w->odd || w->left || !w->label)
		return false;
	name_find(room);
	return true;
}

struct settle_walk {
	struct flow_key key;
	struct first_room *room;
	__u32 generation;
	__u16 rule;
	__u8 proto;
	__u8 action;	  /* RULE_ASK: the daemon's to decide */
	__u8 flags;	  /* RULE_F_* of the rule */
};

static __always_inline bool settle_listed(const struct settle_walk *w, __u16 rule)
{
	__u32 word = rule / 64 & (SEAM_POLICY_RULES_MAX / 64 - 1);

	asm volatile("" : "+r"(word));
	return w->room->rules.bits[word] >> rule % 64 & 1;
}

static long settle_step(__u32 i, struct settle_walk *w)
{
	struct seam_rule *r;
	__u32 zero = 0;
	void *table = bpf_map_lookup_elem(&policy, &zero);
	__u8 by;

	r = table ? bpf_map_lookup_elem(table, &i) : NULL;
	/* The policy was exchanged meanwhile: its rule numbers differ. */
	if (!r || r->policy != w->generation)
		return 1;
	if (!rule_matches(r, &w->key))
		return 0;
	if (r->action == RULE_ASK) {
		by = w->proto == PROTO_TLS ? r->by[PROTO_TLS] : r->by[PROTO_HTTP];
		if (by == BY_NONE || (by == BY_NAME && !settle_listed(w, r->rule)))
			return 0;
		if (by != BY_DAEMON && (r->flags & RULE_F_PASSES))
			w->action = RULE_PASS;
		else if (by != BY_DAEMON && (r->flags & RULE_F_BLOCKS))
			w->action = RULE_BLOCK;
	} else if (r->action != RULE_INSPECT) {
		w->action = r->action;
	}
	w->rule = r->rule;
	w->flags = r->flags;
	return 1;
}

/* Walks the policy in force. Without an answer w->action stays RULE_ASK. */
static __noinline void settle_decide(struct __sk_buff *ctx, const struct pkt *p, struct first *f,
				     struct settle_walk *w)
{
	struct seam_rule *r;
	__u32 zero = 0;
	void *table = bpf_map_lookup_elem(&policy, &zero);

	r = table ? bpf_map_lookup_elem(table, &zero) : NULL;
	if (!r || p->ip_opts || !first_read(ctx, p, f))
		return;
	w->generation = r->policy;
	w->proto = f->proto;
	w->room = f->room;
	if (name_rules_find(f, w->generation))
		bpf_loop(SEAM_RULES_MAX, settle_step, w, 0);
}

/* Stores what `seam flow` shows of it. */
static __noinline void settle_record(struct __sk_buff *ctx, const struct pkt *p,
				     const struct first *f, __u64 id)
{
	struct seam_record *rec;

	if (!f->room)
		return;
	rec = &f->room->record;
	__builtin_memset(rec, 0, sizeof(*rec));
	rec->flags = RECORD_F_KERNEL;
	if (f->proto == PROTO_TLS) {
		rec->flags |= RECORD_F_TLS;
		__builtin_memcpy(rec->tls_sni, f->room->text, sizeof(rec->tls_sni));
	} else {
		rec->flags |= RECORD_F_HTTP;
		load_bytes(ctx, p->payload, rec->http_method, f->target_at - 1,
			   sizeof(rec->http_method) - 1);
		__builtin_memcpy(rec->http_host, f->room->text, sizeof(rec->http_host));
		load_bytes(ctx, p->payload + f->target_at, rec->http_target,
			   f->target_len < sizeof(rec->http_target) ? f->target_len :
								     sizeof(rec->http_target) - 1,
			   sizeof(rec->http_target) - 1);
	}
	bpf_map_update_elem(&records, &id, rec, BPF_ANY);
}

/*
 * Does what the policy says, as the daemon would by CTL_PASS or CTL_BLOCK. The flow gets one try:
 * what is not settled goes to the daemon. False if nothing was done. Lock held.
 */
static __always_inline bool settle(struct flow *f, const struct pkt *p, const struct settle_walk *w,
				   __u64 now, struct seam_event *ev)
{
	struct flow_end *me = &f->end[SEAM_CLIENT], *peer = &f->end[SEAM_SERVER];
	bool first = may_settle(f, SEAM_CLIENT, p) && !f->held_in &&
		     acceptable(f, me, peer, p, believe(f, me, peer, p)) && !seq_after(p->end, seq_back(me, peer->edge));

	f->flags &= ~FLOW_F_BY_NAME;
	if (!first || w->action == RULE_ASK)
		return false;
	f->rule = w->rule;
	f->policy = w->generation;
	f->flags &= ~(FLOW_F_WANT_UP | FLOW_F_WANT_DOWN);
	if (w->action == RULE_PASS) {
		move(f, FLOW_PASSED, w->rule ? SEAM_R_RULE : SEAM_R_DEFAULT, now, ev);
		return true;
	}
	if (w->flags & RULE_F_BLOCK_RST)
		f->flags |= FLOW_F_BLOCK_RST | FLOW_F_RST_BOTH;
	move(f, FLOW_BLOCKED, SEAM_R_RULE, now, ev);
	return true;
}

#endif
