/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How userspace asks for a transition: it runs the `seam_ctl` program by BPF_PROG_TEST_RUN with a
 * struct seam_ctl as the packet, and finds the answer in the same place. Userspace never writes an
 * entry of `flows` itself: the packet path is updating it at the same time.
 */
#ifndef SEAM_CTL_H
#define SEAM_CTL_H

#include "flow.h"

enum seam_ctl_op {
	CTL_PASS = 1,	  /* held: release what is held, then passed, or monitored if armed */
	CTL_SPLIT,	  /* monitored, held, merged: freeze the boundaries, splitting; merging,
			   * before any byte has gone straight: merge given up, split;
			   * END_F_ANNOUNCE as for CTL_MERGE. `arg`: CTL_SPLIT_SAME or 0 */
	CTL_SPLIT_READY,  /* splitting: both legs stand; split once the boundaries are crossed */
	CTL_UNSPLIT,	  /* splitting: no legs after all, passed */
	CTL_MERGE,	  /* split: merging, or merged at once if nothing is in flight; merging:
			   * END_F_ANNOUNCE of an end asks for a packet of its leg. `arg`: ends
			   * that are paced first (bit 1 << end) */
	CTL_BLOCK,	  /* any: blocked */
	CTL_ABORT,	  /* split: allow a RST to the ends in `arg` (bit 1 << end) */
	CTL_CLOSED,	  /* split: both legs are closed end to end, closing; but blocked, and RST to
			   * both ends, where a merge has not delivered all that the legs took */
	CTL_EXPIRE,	  /* delete if idle for `arg` nanoseconds in state `state`; with legs: blocked,
			   * RST to both ends, -EAGAIN */
	CTL_DELETE,	  /* delete whatever its state */
	CTL_RECOVER,	  /* held, splitting: the fail answer; split: RST to both ends */
	CTL_SNAPSHOT,	  /* only fill in `flow` */
	CTL_PACE,	  /* merging: acknowledge `arg` more bytes to an end, see CTL_PACED;
			   * END_F_ANNOUNCE as for CTL_MERGE */
	CTL_EDIT,	  /* split: from now on the legs' streams differ by `arg`, see
			   * CTL_DELTAS; END_F_ANNOUNCE as for CTL_MERGE */
	CTL_ARM,	  /* held, splitting, split: once let go, to be split as `after` says;
			   * all zero: not to be */
	CTL_RELAY,	  /* split: relayed, from here on the kernel may move its bytes */
	CTL_UNRELAY,	  /* relayed: split; merging: goes on without the kernel relay */
};

/*
 * Request and answer. The first 14 bytes stand where test_run wants an Ethernet header and stay
 * zero. `result` is 0 or a negative errno: -ENOENT no such flow (or another id), -EBUSY another
 * transition is under way, -EINVAL not from this state, -EAGAIN not now (`reason` says why),
 * -EINPROGRESS begun.
 */
struct seam_ctl {
	__u8 eth[14];
	__u16 op;	  /* enum seam_ctl_op */
	__s32 result;
	__u8 reason;	  /* in: why; out with -EAGAIN: why not */
	__u8 state;	  /* CTL_EXPIRE: only in this state */
	__u16 rule;	  /* deciding rule; 0xffff: keep the current one */
	__u64 id;	  /* 0: whatever flow has this key */
	__u64 arg;
	__u32 flags;	  /* CTL_BLOCK: FLOW_F_BLOCK_RST; CTL_ARM: FLOW_F_AGAIN,
			   * FLOW_F_FAIL_BLOCK */
	__u16 policy;	  /* policy generation of `rule` */
	__u8 count;	  /* count one more flow decided by `rule` */
	__u8 reserved;
	struct flow_key key;
	struct seam_after after; /* CTL_ARM */
	struct flow flow; /* out: the flow after the transition */
};

#define CTL_KEEP_RULE 0xffff
/* CTL_SPLIT: only give up a merge, keeping the existing legs. */
#define CTL_SPLIT_SAME 1
/*
 * CTL_PACE: `bytes` more for `end`; LEARNT: the merge no longer waits for it; END: it is no longer
 * paced.
 */
#define CTL_PACED(end, bytes) ((__u64)(end) << 32 | (__u32)(bytes))
#define CTL_PACE_LEARNT (1ULL << 33)
#define CTL_PACE_END (1ULL << 34)
/* CTL_EDIT: seq_delta of client and server. */
#define CTL_DELTAS(client, server) ((__u64)(__u32)(server) << 32 | (__u32)(client))

#endif
