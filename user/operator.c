// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an operator asks of one flow over the control socket: split it, merge it, who relays it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "show.h"

/* Keeps a flow split, without inspection, until the operator says otherwise. */
static const struct policy_rule by_hand = {
	.name = "operator",
	.action = RULE_INSPECT,
	.after.bytes = AFTER_NEVER,
	.block_rst = true,
	.number = CTL_KEEP_RULE,
};

static bool look_up(struct daemon *d, const struct flow_key *key, uint64_t id, struct flow *f,
		    char *why, size_t len)
{
	if (!kern_flow(&d->kern, key, f) && f->id == id)
		return true;
	snprintf(why, len, "there is no flow %llu", (unsigned long long)id);
	return false;
}

int operator_split(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len)
{
	struct conn *c = conn_find(d, key);
	struct flow f;
	int err;

	if (!look_up(d, key, id, &f, why, len))
		return -ENOENT;
	if (f.flags & FLOW_F_NO_SPLIT) {
		snprintf(why, len, "it cannot be split: %s", show_reason_text(f.why_not));
		return -EOPNOTSUPP;
	}
	/* Its merge may be over and the event on its way: then these legs are gone. */
	if (c && c->phase == CONN_MERGING && !d->stopping &&
	    !conn_ctl(d, c, CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, &f)) {
		c->phase = CONN_SPLIT;
		c->kept = true;
		split_nudge(c, &f);
		return 0;
	}
	if (c || d->stopping) {
		snprintf(why, len, "it is %s already", show_state(f.state));
		return -EBUSY;
	}
	c = conn_new(d, key, &f);
	if (!c) {
		snprintf(why, len, "out of memory");
		return -ENOMEM;
	}
	c->rule = &by_hand;
	c->by_hand = true;
	c->awaited = f.flags & (FLOW_F_WANT_UP | FLOW_F_WANT_DOWN | FLOW_F_ARMED);
	c->deadline_ns = 0;
	err = conn_ctl(d, c, CTL_SPLIT, SEAM_R_OPERATOR, 0, &f);
	if (err) {
		if (err == -EAGAIN)
			snprintf(why, len, "it cannot be split now: %s", show_reason_text(SEAM_R_ASTRAY));
		else
			snprintf(why, len, "it is %s%s", show_state(f.state),
				 f.held_in != f.held_out ? ", and some of its packets are still held" :
							   "; only monitored, passed and merged flows can be");
		conn_free(d, c);
		return err;
	}
	split_build(d, c, &f);
	if (!conn_find(d, key)) {
		snprintf(why, len, "its legs could not be built, and it is let pass or blocked; the daemon's log says why");
		return -EIO;
	}
	return 0;
}

int operator_merge(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len)
{
	struct conn *c = conn_find(d, key);
	struct flow f;

	if (!look_up(d, key, id, &f, why, len))
		return -ENOENT;
	if (!c || c->phase == CONN_HELD || c->phase == CONN_ABORTING) {
		snprintf(why, len, "it is %s, not split", show_state(f.state));
		return -EINVAL;
	}
	if (!c->rule)
		conn_decided(d, c, &c->policy->default_rule);
	c->kept = false;
	conn_end_due(d, c, SEAM_R_OPERATOR);
	return 0;
}

static const char *why_not_relayed(int err)
{
	switch (err) {
	case -EOPNOTSUPP:
		return "there is no kernel relay on this machine";
	case -EPERM:
		return "it has urgent data, whose mark only the daemon passes on";
	case -EBUSY:
		return "its rule is not known yet";
	case -ENOTCONN:
		return "the kernel refuses it, as it does once an end has closed its half";
	default:
		return "it is inspected, or its rule counts bytes or messages";
	}
}

int operator_relay(struct daemon *d, const struct flow_key *key, uint64_t id, enum policy_relay how,
		   char *why, size_t len)
{
	struct conn *c = conn_find(d, key);
	enum policy_relay before;
	bool by_hand;
	struct flow f;
	int err;

	if (!look_up(d, key, id, &f, why, len))
		return -ENOENT;
	if (!c || (c->phase != CONN_SPLIT && !(c->relayed && how == POLICY_RELAY_USERSPACE))) {
		snprintf(why, len, "it is %s, not split", show_state(f.state));
		return -EINVAL;
	}
	if (how == POLICY_RELAY_KERNEL && (err = relay_kernel_possible(d, c))) {
		snprintf(why, len, "%s", why_not_relayed(err));
		return err;
	}
	before = c->relay;
	by_hand = c->relay_by_hand;
	c->relay = how;
	c->relay_by_hand = true;
	if (how == POLICY_RELAY_AUTO)
		relay_kernel_weigh_anew(c);
	if (how == POLICY_RELAY_USERSPACE && !relay_kernel_stop(d, c, SEAM_R_OPERATOR)) {
		snprintf(why, len, "bytes were lost in the kernel; both ends are reset");
		return -EIO;
	}
	relay_run(d, c);
	c = conn_find(d, key);
	if (how == POLICY_RELAY_KERNEL && c && relay_kernel_possible(d, c) == -ENOTCONN) {
		c->relay = before;
		c->relay_by_hand = by_hand;
		snprintf(why, len, "%s", why_not_relayed(-ENOTCONN));
		return -ENOTCONN;
	}
	return 0;
}
