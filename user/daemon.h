/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The daemon: one event loop in the inner namespace over the hold device, the kernel's events,
 * the legs and the control socket. Worker threads, if any, handle the legs. What the daemon
 * knows of a flow beyond the kernel's entry is in a struct conn, which exists only while the
 * flow is held or split.
 */
#ifndef SEAM_DAEMON_H
#define SEAM_DAEMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bpf/libbpf.h>
/* If memory runs out, conn_new() fails, not the daemon. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, out) ((out) = conn_hash(key))
#include <uthash.h>

#include "editor.h"
#include "frame.h"
#include "inspect.h"
#include "kern.h"
#include "pace.h"
#include "policy.h"
#include "prime.h"
#include "sockmap.h"

/* The longest hold, whatever the round trip. */
#define HOLD_MAX_US 50000

/*
 * Hash of a struct flow_key, for the table of conns. Whoever opens connections picks the keys,
 * and must not be able to make them collide: see conn_seed().
 */
uint32_t conn_hash(const void *key);
/* Seeds the hash differently in every daemon; once, before there is a conn. Negative errno. */
int conn_seed(void);

struct daemon;

/* The target of an epoll event; embedded in whatever handles it. */
struct watch {
	int fd;
	void (*ready)(struct daemon *d, struct watch *w, uint32_t events);
};

/* A packet in the hold queue's userspace part. */
struct held {
	struct held *next;
	size_t len;
	uint8_t data[];
};

/* One of the two legs of a split flow. */
struct conn_leg {
	struct watch watch;
	struct conn *conn;
	struct editor edit;	/* edits of what its end sends */
	bool over;		/* its end had sent FIN before the split */
	bool ended;		/* its end sent FIN, and the inspectors know */
	bool eof;		/* ... and everything before it was handed on */
	bool shut;		/* FIN handed on to the other leg */
	bool dead;		/* error; its end is gone */
	bool by_kernel;		/* the kernel moves what it receives */
	bool arriving;		/* no longer, but what it took may not be with the other leg yet */
	bool kernel_refused;	/* the kernel refused to relay it */
	uint64_t taken;		/* bytes that the kernel took */
	struct sockmap_leg kernel;
	uint64_t moved;		/* moved by the daemon since the last look at its end's packets */
	uint64_t packets, bytes; /* what its end had sent by that look */
	bool bulk;		/* its packets are of a size that the kernel moves at less cost */
};

enum conn_phase {
	CONN_HELD,		/* packets held, no legs */
	CONN_SPLIT,		/* legs stand */
	CONN_MERGING,		/* asked to merge */
	CONN_ABORTING,		/* one end reset; the other gets what is left, then a RST */
};

struct conn {
	UT_hash_handle hh;	/* by key */
	struct worker *worker;
	bool watched;		/* its worker has had events for it, or may have */
	struct conn *next_dead;	/* in worker.dead, or daemon.dead */
	struct flow_key key;
	uint64_t id;
	enum conn_phase phase;
	uint32_t base[2];	/* sequence number of each end's first payload byte */
	struct policy *policy;
	uint16_t generation;	/* of that policy */
	const struct policy_rule *rule; /* NULL: undecided */
	bool counted;		/* counted for the rule that decided */
	bool fail_block;	/* the fail answer of the rule it waits for is block */
	bool let_go;		/* decided, and nobody inspects any more */
	bool by_hand;		/* split by an operator: nobody inspects it */
	bool awaited;		/* ... while a rule still waited for it */
	bool kept;		/* operator gave up its merge: split until the next is asked for */
	bool crossed;		/* split: both boundaries have been crossed */
	bool begun;		/* its inspectors have been called */
	bool midst;		/* must not be let go yet: inspectors not called so far, or one
				 * is in the middle of an edit */
	bool due;		/* let go as soon as that is over */
	__u32 delta[2];		/* seq_delta of its ends at the split */
	bool later;		/* its rule's `after` has come */
	uint32_t turns;		/* client turns left until the request named by `after`, counted
				 * here while the flow is split */
	bool answered;		/* the last bytes handed on were the server's */
	bool relay_by_hand;	/* an operator chose who relays it; its rule does not count */
	enum policy_relay relay;
	bool relayed;		/* its flow is relayed, or was when the merge began */
	bool not_by_kernel;	/* it has urgent data */
	bool looked_at;		/* in daemon.arriving */
	struct conn *look_prev, *look_next;
	struct policy_facts facts;
	struct flow_record rec;
	struct held *held, **held_tail;
	struct classifier *classifier; /* classifies the client's first bytes, while undecided */
	uint8_t *head;		/* those bytes */
	bool gap;		/* held payload arrived ahead of its turn */
	size_t head_len;
	size_t head_limit;	/* limit of head_len: beyond it no rule is waited for */
	struct conn_leg leg[2];	/* by the enum seam_end that each faces */
	void *inspect[POLICY_INSPECTORS_MAX]; /* NULL: that one has let go */
	size_t memory;		/* bytes of inspector memory */
	struct pace pace;
	uint64_t began_ns;	/* when it was held */
	uint64_t sized_ns;	/* when its packets were last looked at */
	uint64_t deadline_ns;	/* of the phase, 0: none */
	uint64_t checked_ns;	/* when its flow was last found as it should be */
};

/*
 * Moves the bytes of some of the split flows. A worker has a thread; if there are no threads,
 * the only worker is the loop's. Its data and its conns are touched by its own thread alone,
 * and by the loop while no worker is at work: see daemon.turn.
 */
struct worker {
	struct daemon *daemon;
	pthread_t thread;
	int epoll;		/* of legs */
	unsigned int conns;	/* conns given to it */
	struct conn *dead;	/* freed conns, while events may still point to them */
	uint64_t bytes;		/* bytes it moved */
	uint64_t kernel_bytes;	/* bytes of kernel relays that are over */
	uint8_t *buf;		/* FRAME_MAX bytes */
};

struct mnl_socket;
struct client;
struct retired;

struct daemon {
	struct kern kern;
	struct policy *policy;	/* in force */
	struct policy *started; /* the one it started with; holds for what a reload cannot change */
	char *config;		/* path for a reload, NULL: command line */
	uint16_t generation;
	int epoll;
	int host_ns, inner_ns;
	int hold_ifindex, veth_ifindex, inner_ifindex;
	struct primer primer;
	struct watch hold, events, signals, timer, pacer, look, listener, links_watch;
	struct mnl_socket *links; /* the kernel reports links here, NULL: not asked */
	bool links_torn;	/* links have to be asked for again */
	uint64_t attach_ns; /* next look for what replaces gone ports; 0: when a link is reported */
	struct mnl_socket *conntrack; /* deletes entries of the host; NULL: on a wire, or there is none */
	bool stateful;		/* the host tracks connections, as of the last look */
	struct mnl_socket *neighbours; /* tells the kernel of those in use, NULL: there is no XDP */
	uint64_t neighbours_ns;	/* when it is next told */
	struct pace *paced;	/* of conns whose merge waits for a round trip to grow */
	unsigned int n_paced;
	struct sockmap sockmap;
	struct conn *arriving;	/* conns that wait for bytes on their way in the kernel */
	int look_ms;
	struct ring_buffer *ring;
	unsigned int events_read;
	struct conn *conns;	/* hash */
	struct conn *dead;	/* conns freed in this turn that only the loop knew of */
	struct worker *workers;
	unsigned int n_workers;	/* at least 1 */
	unsigned int threads;	/* their threads that run */
	int halt;		/* eventfd: tells the threads to end */
	/*
	 * The loop locks it for writing, a worker for reading: no worker is at work while the
	 * loop is, and a worker touches only its own conns. Within it, `lists` guards what
	 * links conns of several workers: `conns`, `paced`, `arriving`, and their timers.
	 */
	pthread_rwlock_t turn;
	pthread_mutex_t lists;
	struct client *clients;
	struct retired *retired; /* policies that armed flows may still need */
	struct reload *reload;	/* under way */
	uint32_t reloads;	/* begun so far */
	uint32_t reload_wanted; /* the last one asked for */
	int lock;		/* descriptor of the lock file */
	char socket_path[128];
	uint64_t sweep_ns;	/* next sweep of the tables */
	uint64_t stop_ns;	/* stopping: when the wait for merges ends */
	bool stopping, stop_now;
	int failed;		/* why it stops by itself, a negative errno; 0: no */
	uint8_t *buf;		/* FRAME_MAX bytes, for the hold device */
	uint64_t behind_ns;	/* since when more is held than is read at a time, 0: it is not */
	bool hurries;		/* therefore the loop's thread goes before others */
	struct {
		uint64_t splits, merges, held_packets;
		uint64_t hold_behind; /* how often more was held than is read at a time */
		uint64_t closing_ns; /* from merged to legs closed, sum of all merges */
	} stats;
};

/* daemon.c */
/* Begins to wait for events: in the loop's epoll, or for a leg in its worker's. Negative errno. */
int watch_begin(int epoll, struct watch *w, uint32_t events);
/* Changes the events, or asks for new edges of the same ones. */
int watch_again(int epoll, struct watch *w, uint32_t events);
void watch_end(int epoll, struct watch *w);
/* Puts a policy in force on the kernel side. */
int daemon_policy(struct daemon *d, struct policy *p);

/* worker.c: moves the bytes of split flows */
/* With `n` threads; 0: in the loop. Negative errno. */
int workers_open(struct daemon *d, unsigned int n);
/* Starts the threads, in the caller's network namespace. Negative errno. */
int workers_start(struct daemon *d);
/* Waits for the threads to end. */
void workers_stop(struct daemon *d);
/* Frees them, once the threads have ended. */
void workers_close(struct daemon *d);
/* Begin and end the loop's turn, during which no worker is at work. */
void workers_halt(struct daemon *d);
void workers_resume(struct daemon *d);
/* The worker with the fewest conns. */
struct worker *workers_next(struct daemon *d);

/* conn.c: a flow from its first held packet to the end of its split */
struct conn *conn_find(struct daemon *d, const struct flow_key *key);
/* Frees any conn that is left under this key. */
struct conn *conn_new(struct daemon *d, const struct flow_key *key, const struct flow *f);
void conn_free(struct daemon *d, struct conn *c);
/* Frees the memory of freed conns, once no event can point there. */
void conn_bury(struct conn **dead);
/* A limit has passed without a rule: gives the policy's answer. May free the conn. */
void conn_give_up(struct daemon *d, struct conn *c);
/*
 * Takes `rule` as the decision, and opens its inspectors if it is time. Negative errno: no
 * memory.
 */
int conn_decided(struct daemon *d, struct conn *c, const struct policy_rule *rule);
/* Opens its inspectors again, for a later request. Negative errno: no memory. */
int conn_inspect(struct conn *c);
/* Ends inspection: the flow may be merged. */
void conn_let_go(struct conn *c);
/*
 * conn_let_go(), then starts the merge for `reason` and relays what was held back, since no
 * event will trigger that. A half-made edit is finished first.
 */
void conn_end_due(struct daemon *d, struct conn *c, __u8 reason);
/* Blocks the flow as `rule` says; frees the conn. */
void conn_block(struct daemon *d, struct conn *c, const struct policy_rule *rule, __u8 reason);
/* Ends a flow that one end has reset: a RST to the other. Frees the conn. */
void conn_reset(struct daemon *d, struct conn *c);
/* Asks the kernel for a transition of this flow; fills in `out` if not NULL. */
int conn_ctl(struct daemon *d, struct conn *c, enum seam_ctl_op op, __u8 reason, __u64 arg,
	     struct flow *out);
/* Handles a transition that the kernel reports. */
void conn_event(struct daemon *d, const struct seam_event *ev);
/* Handles deadlines of all conns. */
void conn_tick(struct daemon *d, uint64_t now);

/*
 * Tells the kernel side that the daemon is alive. Call it often enough in anything that may
 * take long.
 */
static inline void daemon_beat(struct daemon *d)
{
	d->kern.control->heartbeat_ns = kern_now();
}

/*
 * Ends the daemon with exit status 1: it cannot go on without what failed with `err`, a
 * negative errno.
 */
static inline void daemon_fail(struct daemon *d, int err)
{
	d->failed = err;
	d->stop_now = true;
}

/* head.c: the first bytes of a conn's client, while no rule is known */
/* Negative errno: no memory. */
int head_begin(struct conn *c, const struct flow *f);
void head_free(struct conn *c);
/* The legs stand, and only their bytes count: reads the client's first bytes anew. */
void head_read_anew(struct conn *c);
/* The client says no more before it is answered: what it speaks is known. */
void head_client_done(struct conn *c);
/* The server has spoken: no more is waited for from the client. */
void head_server_spoke(struct conn *c);
/* The flow's rule, if it is known by now; applies the policy to what has been seen. */
const struct policy_rule *head_decide(struct conn *c);

/* hold.c: the hold device */
void hold_ready(struct daemon *d, struct watch *w, uint32_t events);
/* Puts all held packets of a flow back, in order, for the kernel to judge. */
void hold_release(struct daemon *d, struct conn *c);
void hold_drop(struct conn *c);
/* Lets a held flow go; frees the conn, unless it is to be merged first. */
void hold_pass(struct daemon *d, struct conn *c, __u8 reason);
/* The same without legs, when the daemon ends. Frees the conn. */
void hold_let_out(struct daemon *d, struct conn *c, __u8 reason);

/* Events waited for on a leg: edge-triggered, so none needs switching off. */
#define LEG_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Bytes that may wait unsent in a leg before the other one is no longer read. */
#define SPLIT_LOWAT (256 * 1024)

/* split.c: from held to split, and from split to merged */
/* Builds the legs of a flow that is `splitting`. On failure the flow is let go. */
void split_build(struct daemon *d, struct conn *c, const struct flow *f);
void split_try_merge(struct daemon *d, struct conn *c, __u8 reason);
/* Makes legs send a packet where the kernel side asks for it (END_F_ANNOUNCE). */
void split_nudge(struct conn *c, const struct flow *f);
/* Looks after a merge under way. */
void split_merge_on(struct daemon *d, struct conn *c);
/* Closes both legs silently. */
void split_vanish(struct conn *c);
/* Ends both legs with RST. */
void split_reset(struct conn *c);

/* later.c: splits at another moment than the first payload */
/* Keeps a policy no longer in force, if armed flows may need it. */
void later_retire(struct daemon *d, struct policy *p, uint16_t generation);
/*
 * The sweep: the first for each flow of the table, the second once all were looked at since
 * `began`.
 */
void later_seen(struct daemon *d, const struct flow *f, uint64_t now);
void later_swept(struct daemon *d, uint64_t began);
void later_close(struct daemon *d);
/*
 * Arms the flow if its rule, just decided, says so. `spoken`: bytes of the client decided it.
 * True: do not inspect it yet.
 */
bool later_arms(struct daemon *d, struct conn *c, bool spoken);
/*
 * The flow is still split when the moment it was armed for comes: the kernel no longer waits
 * for it.
 */
void later_disarm(struct daemon *d, struct conn *c);
/* The kernel has begun a split because the flow was due: makes its conn and the legs. */
void later_split(struct daemon *d, const struct flow_key *key, const struct flow *f);
/* Whether it has begun such a split, whose legs do not stand yet. */
static inline bool later_due(const struct flow *f)
{
	return f->state == FLOW_SPLITTING && f->reason == SEAM_R_AFTER && !(f->flags & FLOW_F_LEGS);
}

/* pace.c: acknowledgements held back before a merge */
int pace_open(struct daemon *d);
/* `arg` for the CTL_MERGE of this flow: the end to be paced, if any. */
uint64_t pace_wanted(struct daemon *d, struct conn *c);
void pace_start(struct daemon *d, struct conn *c);
void pace_stop(struct daemon *d, struct conn *c);

/* operator.c: transitions by hand; 0, or a negative errno and the reason in words in `why` */
int operator_split(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len);
int operator_merge(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len);
int operator_relay(struct daemon *d, const struct flow_key *key, uint64_t id, enum policy_relay how,
		   char *why, size_t len);

/* relay.c: the bytes of a split flow */
void relay_ready(struct daemon *d, struct watch *w, uint32_t events);
void relay_run(struct daemon *d, struct conn *c);
/* The state by TCP_INFO. */
int relay_tcp_state(const struct conn_leg *leg);

/* relay_kernel.c: the same by the kernel, where nobody reads the bytes */
enum relay_kernel {
	RELAY_KERNEL_IDLE,	/* this direction is the daemon's */
	RELAY_KERNEL_BUSY,	/* the kernel's, or what it took is still on its way */
	RELAY_KERNEL_GONE,	/* the conn was freed */
};
/* Tries the kernel relay; if it does not work, there is none. In the inner namespace. */
void relay_kernel_open(struct daemon *d);
/*
 * 0, or why the kernel may not relay it now: -EOPNOTSUPP, -EBUSY, -EPERM urgent data, -EINVAL
 * inspected, -ENOTCONN the kernel has refused it or an end has closed its half.
 */
int relay_kernel_possible(const struct daemon *d, const struct conn *c);
/* Starts the kernel relay if that is wanted and possible. */
void relay_kernel_try(struct daemon *d, struct conn *c);
/* `auto` from now on: whoever relays it goes on until its packets say otherwise. */
void relay_kernel_weigh_anew(struct conn *c);
/*
 * `auto`: looks at its packets now and then, and acts on them. True: it did; the conn may be
 * freed.
 */
bool relay_kernel_weigh(struct daemon *d, struct conn *c, uint64_t now);
/* Who moves this direction. Takes it back from the kernel if it has ended. */
enum relay_kernel relay_kernel_dir(struct daemon *d, struct conn *c, enum seam_dir dir);
/* Takes both directions back. False: the conn was freed. */
bool relay_kernel_stop(struct daemon *d, struct conn *c, __u8 reason);
/* A packet with urgent data is in the hold queue. May free the conn. */
void relay_kernel_urgent(struct daemon *d, struct conn *c);
/* Asks for the events of both legs again, but not for each packet that the kernel relays. */
void relay_kernel_rewatch(struct conn *c);
void relay_kernel_forget(struct daemon *d, struct conn *c);
/* Bytes moved by the kernel so far. */
uint64_t relay_kernel_bytes(const struct daemon *d);
void relay_kernel_look(struct daemon *d, struct watch *w, uint32_t events);
void relay_kernel_tick(struct daemon *d);

/* sweep.c: idle flows, by the timeouts of their states, and conns that missed an event */
void sweep_run(struct daemon *d);
/* Settles what a dead daemon left half done. */
unsigned int sweep_recover(struct daemon *d);
/* Live flows that would be lost if the kernel side were removed, by the first reason that applies. */
struct sweep_census {
	unsigned int all;
	unsigned int deltas;	/* their numbers are translated */
	unsigned int bypass;	/* the host's connection tracking would drop them */
	unsigned int armed;	/* they are to be inspected later */
	unsigned int untracked;	/* the policy drops what is not tracked */
};
/* On the way the host's connection tracking forgets flows that have ended. */
void sweep_census(struct daemon *d, struct sweep_census *out);

/* conntrack.c: entries that the host's connection tracking has of flows whose end it does not see */
/* In the host's namespace. Negative errno. */
int conntrack_open(struct daemon *d);
void conntrack_close(struct daemon *d);
/* Looks whether the host tracks connections, and sets d->stateful. */
void conntrack_look(struct daemon *d);
/* Deletes the entry of a flow that has left the table, if its packets bypassed the host. */
void conntrack_forget(struct daemon *d, const struct flow_key *key, const struct flow *f);

/* limits.c: warnings of limits that are being hit */
/* Takes what was counted so far as known. */
void limits_open(struct daemon *d);
void limits_tick(struct daemon *d, uint64_t now);

/* ports.c: ports whose interface disappears, and its replacement */
/*
 * Enters the host's network namespace. The loop's thread is in the inner one, where legs are made
 * and where interfaces have the same numbers. False, with a message logged: it stays there.
 */
bool host_enter(struct daemon *d);
/* Goes back to the inner namespace; if that fails, the daemon ends. */
void host_leave(struct daemon *d);
/* Its interface is gone. */
void ports_gone(struct daemon *d, struct kern_port *port);
/* Looks for ports that are gone without a report. */
void ports_look(struct daemon *d);
/* Attaches Seam's filter again to ports from which somebody has taken it. */
void ports_filters(struct daemon *d);
/* The veth pair by which legs are reached is gone: the daemon ends. */
void ports_no_veth(struct daemon *d);
/* An interface that is not a port has this name. */
void ports_named(struct daemon *d, const char *name, int ifindex);
/* If it is time, attaches to what replaces a gone port. True: it did. */
bool ports_attach(struct daemon *d, uint64_t now);

/* mirror.c: the links of the ports; on wires, a port may follow its partner's */
/* In the host's namespace. Negative errno. */
int mirror_open(struct daemon *d);
void mirror_tick(struct daemon *d, uint64_t now);
/* Sets the ports up again that it has set down. */
void mirror_close(struct daemon *d);

/* neigh.c: neighbours that XDP sends to */
/* In the host's namespace, once ports are attached. Negative errno. */
int neigh_open(struct daemon *d);
void neigh_tick(struct daemon *d, uint64_t now);
void neigh_close(struct daemon *d);

/* control.c: the control socket */
int control_open(struct daemon *d);
void control_close(struct daemon *d);
void control_event(struct daemon *d, const struct seam_event *ev);
/* Reload `number` has ended; `why` it changed nothing, or NULL. */
void control_reloaded(struct daemon *d, uint32_t number, const char *why);

/* reload.c: reads the policy again from its file */
#define RELOAD_NO_CONFIG "started without a policy file; there is nothing to read again"
/*
 * Asks for a reload; there must be a `config`. control_reloaded() reports the end of the one
 * with this number. Negative errno: there will be none.
 */
int reload_ask(struct daemon *d, uint32_t *number);
void reload_signalled(struct daemon *d);
/* Waits for a reload under way, and drops it. */
void reload_close(struct daemon *d);

#endif
