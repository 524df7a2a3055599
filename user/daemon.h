/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The daemon: one event loop in the inner namespace over the hold device, the
 * kernel's events, the legs and the control socket; with workers, the legs are
 * theirs. What it knows of a flow beyond the kernel's entry is a struct conn,
 * which exists only while the flow is held or split.
 */
#ifndef SEAM_DAEMON_H
#define SEAM_DAEMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bpf/libbpf.h>
/* Without memory conn_new() fails, and not the daemon. */
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
 * Of a struct flow_key, for the table of conns. Who opens connections picks the keys, and
 * must not be able to have them collide: see conn_seed().
 */
uint32_t conn_hash(const void *key);
/* Makes the hash another one than any other daemon's, once, before there is a conn. Negative errno. */
int conn_seed(void);

struct daemon;

/* What an epoll event is for; embedded in whatever handles it. */
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
	struct editor edit;	/* of what its end sends */
	bool over;		/* its end had sent FIN before the split */
	bool ended;		/* its end sent FIN, and the inspectors know */
	bool eof;		/* ... and all before it was handed on */
	bool shut;		/* FIN handed on to the other leg */
	bool dead;		/* error; its end is gone */
	bool by_kernel;		/* the kernel moves what it receives */
	bool arriving;		/* no more, but what it has taken may not be with the other leg yet */
	bool kernel_refused;	/* it did not want to */
	uint64_t taken;		/* bytes that it took */
	struct sockmap_leg kernel;
	uint64_t moved;		/* by the daemon, bytes since the last look at its end's packets */
	uint64_t packets, bytes; /* that its end had sent by then */
	bool bulk;		/* its packets are such as the kernel moves for less */
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
	bool watched;		/* its worker has had events of it, or may have */
	struct conn *next_dead;	/* in worker.dead, or daemon.dead */
	struct flow_key key;
	uint64_t id;
	enum conn_phase phase;
	uint32_t base[2];	/* sequence number of each end's first payload byte */
	struct policy *policy;
	uint16_t generation;	/* of that policy */
	const struct policy_rule *rule; /* NULL: undecided */
	bool counted;		/* for the rule that decided */
	bool fail_block;	/* the fail answer of the rule that it waits for is block */
	bool let_go;		/* decided, and nobody inspects any more */
	bool by_hand;		/* split by an operator: nobody inspects it */
	bool awaited;		/* ... while a rule still waited for it */
	bool kept;		/* an operator gave its merge up: split until the next that is asked for */
	bool crossed;		/* split: both boundaries are behind */
	bool begun;		/* its inspectors have been called */
	bool midst;		/* ... or must be yet, or one is amid an edit: not to be let go */
	bool due;		/* to be let go as soon as that is over */
	__u32 delta[2];		/* seq_delta of its ends when it was split */
	bool later;		/* its rule's `after` has come */
	uint32_t turns;		/* of the client, armed while split, to the request of its rule's `after` */
	bool answered;		/* the server's bytes were the last that were handed on */
	bool relay_by_hand;	/* the operator said who relays it, its rule does not count */
	enum policy_relay relay;
	bool relayed;		/* its flow is, or was when the merge began */
	bool not_by_kernel;	/* it has urgent data */
	bool looked_at;		/* in daemon.arriving */
	struct conn *look_prev, *look_next;
	struct policy_facts facts;
	struct flow_record rec;
	struct held *held, **held_tail;
	struct classifier *classifier; /* of the client's first bytes, while undecided */
	uint8_t *head;		/* those bytes */
	bool gap;		/* held payload came before its turn */
	size_t head_len;
	size_t head_limit;	/* of head_len: after that many a rule is waited for no longer */
	struct conn_leg leg[2];	/* by enum seam_end that it faces */
	void *inspect[POLICY_INSPECTORS_MAX]; /* NULL: has let go */
	size_t memory;		/* bytes of inspector memory */
	struct pace pace;
	uint64_t began_ns;	/* when it was held */
	uint64_t sized_ns;	/* its packets were last looked at */
	uint64_t deadline_ns;	/* of the phase, 0: none */
	uint64_t checked_ns;	/* its flow was last found to be as it should */
};

/*
 * Who moves the bytes of some of the split flows. Either it has a thread, or, being
 * the only one, it is the loop's. What it has, and its conns, is touched by its own
 * thread alone, and by the loop while no worker is at work: see daemon.turn.
 */
struct worker {
	struct daemon *daemon;
	pthread_t thread;
	int epoll;		/* of legs */
	unsigned int conns;	/* that it was given */
	struct conn *dead;	/* conns freed, while events may still point there */
	uint64_t bytes;		/* moved by it */
	uint64_t kernel_bytes;	/* of kernel relays that are over */
	uint8_t *buf;		/* FRAME_MAX bytes */
};

struct mnl_socket;
struct monitor;
struct retired;

struct daemon {
	struct kern kern;
	struct policy *policy;	/* in force */
	struct policy *started; /* with; holds for what a reload cannot change */
	char *config;		/* path for a reload, NULL: command line */
	uint16_t generation;
	int epoll;
	int host_ns, inner_ns;
	int hold_ifindex, veth_ifindex, inner_ifindex;
	struct primer primer;
	struct watch hold, events, signals, timer, pacer, look, listener, links_watch;
	struct mnl_socket *links; /* where the kernel reports links, NULL: not asked */
	bool links_torn;	/* and has to be asked again */
	uint64_t attach_ns; /* when to look for what takes the place of ports that are gone; 0: when a link is reported */
	struct mnl_socket *neighbours; /* to tell the kernel of those in use, NULL: there is no XDP */
	uint64_t neighbours_ns;	/* next time that it is told */
	struct pace *paced;	/* of conns whose merge waits for a round trip to grow */
	unsigned int n_paced;
	struct sockmap sockmap;
	struct conn *arriving;	/* bytes on their way in the kernel are waited for */
	int look_ms;
	struct ring_buffer *ring;
	unsigned int events_read;
	struct conn *conns;	/* hash */
	struct conn *dead;	/* freed in this turn of the loop, which alone knew of them */
	struct worker *workers;
	unsigned int n_workers;	/* at least 1 */
	unsigned int threads;	/* of theirs, that run */
	int halt;		/* eventfd: they end */
	/*
	 * The loop writes, a worker reads: while the loop is at work no worker is, and
	 * a worker goes no further than its own conns. Inside of that `lists` is for what
	 * conns of several workers hang in: `conns`, `paced`, `arriving`, their timers.
	 */
	pthread_rwlock_t turn;
	pthread_mutex_t lists;
	struct monitor *monitors;
	struct retired *retired; /* policies that armed flows may still need */
	struct reload *reload;	/* under way */
	uint32_t reloads;	/* begun so far */
	uint32_t reload_wanted; /* the last that was asked for */
	int lock;		/* descriptor of the lock file */
	char socket_path[128];
	uint64_t sweep_ns;	/* next sweep of the tables */
	uint64_t stop_ns;	/* stopping: when patience with merges ends */
	bool stopping, stop_now;
	int failed;		/* why it stops by itself, a negative errno; 0 */
	uint8_t *buf;		/* FRAME_MAX bytes, for the hold device */
	uint64_t behind_ns;	/* since when more is held than is read at a time, 0: it is not */
	bool hurries;		/* and the loop's thread goes before others therefore */
	struct {
		uint64_t splits, merges, held_packets;
		uint64_t hold_behind; /* times that more was held than is read at a time */
		uint64_t closing_ns; /* from merged to its legs closed, of all merges */
	} stats;
};

/* daemon.c */
/* What is waited for: in the loop's epoll, or for a leg in its worker's. Negative errno. */
int watch_begin(int epoll, struct watch *w, uint32_t events);
/* For other events, or for the edges of the same ones anew. */
int watch_again(int epoll, struct watch *w, uint32_t events);
void watch_end(int epoll, struct watch *w);
/* Puts a policy in force on the kernel side. */
int daemon_policy(struct daemon *d, struct policy *p);

/* worker.c: who moves the bytes of split flows */
/* With `n` threads; 0: with the loop. Negative errno. */
int workers_open(struct daemon *d, unsigned int n);
/* Starts the threads, in the network namespace that this one is in. Negative errno. */
int workers_start(struct daemon *d);
/* Waits for the threads to end. */
void workers_stop(struct daemon *d);
/* Once they have. */
void workers_close(struct daemon *d);
/* The loop's turn: from the one to the other no worker is at work. */
void workers_halt(struct daemon *d);
void workers_resume(struct daemon *d);
/* The one that has the fewest conns. */
struct worker *workers_next(struct daemon *d);

/* conn.c: a flow from its first held packet to the end of its split */
struct conn *conn_find(struct daemon *d, const struct flow_key *key);
/* Frees what is left under that key of a flow with another id. */
struct conn *conn_new(struct daemon *d, const struct flow_key *key, const struct flow *f);
void conn_free(struct daemon *d, struct conn *c);
/* Gives back the memory of conns that were freed, once no event points there any more. */
void conn_bury(struct conn **dead);
/* A limit has passed without a rule: the policy's answer. May free the conn. */
void conn_give_up(struct daemon *d, struct conn *c);
/* Takes the rule as decided and opens its inspectors, if it is time. Negative errno: no memory. */
int conn_decided(struct daemon *d, struct conn *c, const struct policy_rule *rule);
/* Opens its inspectors anew, for a later request. Negative errno: no memory. */
int conn_inspect(struct conn *c);
/* Nobody inspects it any more: it may be merged. */
void conn_let_go(struct conn *c);
/*
 * The same with what follows, for `reason`: the merge, and that what was held back goes on,
 * for no event is to come for it. But an edit that is half made is finished first.
 */
void conn_end_due(struct daemon *d, struct conn *c, __u8 reason);
/* Blocks the flow as `rule` says; frees the conn. */
void conn_block(struct daemon *d, struct conn *c, const struct policy_rule *rule, __u8 reason);
/* Ends a flow that an end has reset: a RST to the other one. Frees the conn. */
void conn_reset(struct daemon *d, struct conn *c);
/* Asks the kernel for a transition of this flow; fills in `out` if not NULL. */
int conn_ctl(struct daemon *d, struct conn *c, enum seam_ctl_op op, __u8 reason, __u64 arg,
	     struct flow *out);
/* A transition that the kernel reports. */
void conn_event(struct daemon *d, const struct seam_event *ev);
/* Deadlines of all conns. */
void conn_tick(struct daemon *d, uint64_t now);

/* Has the kernel side know that the daemon is there: often enough in whatever may take long. */
static inline void daemon_beat(struct daemon *d)
{
	d->kern.control->heartbeat_ns = kern_now();
}

/* Ends it, with exit status 1: without what has failed with `err`, a negative errno, it cannot go on. */
static inline void daemon_fail(struct daemon *d, int err)
{
	d->failed = err;
	d->stop_now = true;
}

/* head.c: the first bytes of a conn's client, while no rule is known */
/* Negative errno: no memory. */
int head_begin(struct conn *c, const struct flow *f);
void head_free(struct conn *c);
/* The legs stand, and what is theirs counts alone: the client's first bytes are read anew. */
void head_read_anew(struct conn *c);
/* The client has said all it will before it is answered: what it is is known. */
void head_client_done(struct conn *c);
/* The server has spoken: nothing more of the client is waited for. */
void head_server_spoke(struct conn *c);
/* The flow's rule, if it is known by now; walks the policy with what is seen. */
const struct policy_rule *head_decide(struct conn *c);

/* hold.c: the hold device */
void hold_ready(struct daemon *d, struct watch *w, uint32_t events);
/* Puts all held packets of a flow back, in order, for the kernel to judge. */
void hold_release(struct daemon *d, struct conn *c);
void hold_drop(struct conn *c);
/* Lets a held flow go; frees the conn, unless it is to be merged first. */
void hold_pass(struct daemon *d, struct conn *c, __u8 reason);
/* The same without legs, when the daemon ends: frees the conn. */
void hold_let_out(struct daemon *d, struct conn *c, __u8 reason);

/* What is waited for on a leg: edge-triggered, so that nothing needs to be switched off. */
#define LEG_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Bytes that may wait unsent in a leg before the other one is left alone. */
#define SPLIT_LOWAT (256 * 1024)

/* split.c: from held to split, and from split to merged */
/* Builds the legs of a flow that is `splitting`. On failure the flow is let go. */
void split_build(struct daemon *d, struct conn *c, const struct flow *f);
void split_try_merge(struct daemon *d, struct conn *c, __u8 reason);
/* Has the legs that the kernel side asks for it (END_F_ANNOUNCE) send a packet. */
void split_nudge(struct conn *c, const struct flow *f);
/* Looks after a merge that is under way. */
void split_merge_on(struct daemon *d, struct conn *c);
/* Closes both legs without a sound. */
void split_vanish(struct conn *c);
/* Ends both with RST. */
void split_reset(struct conn *c);

/* later.c: splits at another moment than the first payload */
/* A policy that is no longer in force. */
void later_retire(struct daemon *d, struct policy *p, uint16_t generation);
/* The sweep: a flow of the table; the whole of it was looked at since `began`. */
void later_seen(struct daemon *d, const struct flow *f, uint64_t now);
void later_swept(struct daemon *d, uint64_t began);
void later_close(struct daemon *d);
/*
 * Arms the flow if its rule, just decided, says so; `spoken`: by what the client has
 * sent. True: it is not to be inspected yet.
 */
bool later_arms(struct daemon *d, struct conn *c, bool spoken);
/* What the flow was armed for has come while it is split still: the kernel does not wait for it. */
void later_disarm(struct daemon *d, struct conn *c);
/* The kernel has begun a split because the flow was due: makes its conn, and the legs. */
void later_split(struct daemon *d, const struct flow_key *key, const struct flow *f);
/* Whether that is so, and has not been done yet. */
static inline bool later_due(const struct flow *f)
{
	return f->state == FLOW_SPLITTING && f->reason == SEAM_R_AFTER && !(f->flags & FLOW_F_LEGS);
}

/* pace.c: acknowledgements held back before a merge */
int pace_open(struct daemon *d);
/* `arg` of the CTL_MERGE of this flow: the end to be paced, if any. */
uint64_t pace_wanted(struct daemon *d, struct conn *c);
void pace_start(struct daemon *d, struct conn *c);
void pace_stop(struct daemon *d, struct conn *c);

/* operator.c: transitions by hand; 0 or a negative errno and, in words, `why` */
int operator_split(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len);
int operator_merge(struct daemon *d, const struct flow_key *key, uint64_t id, char *why, size_t len);
int operator_relay(struct daemon *d, const struct flow_key *key, uint64_t id, enum policy_relay how,
		   char *why, size_t len);

/* relay.c: the bytes of a split flow */
void relay_ready(struct daemon *d, struct watch *w, uint32_t events);
void relay_run(struct daemon *d, struct conn *c);
/* As TCP_INFO has it. */
int relay_tcp_state(const struct conn_leg *leg);

/* relay_kernel.c: the same without the daemon, where nobody reads them */
enum relay_kernel {
	RELAY_KERNEL_IDLE,	/* this direction is the daemon's */
	RELAY_KERNEL_BUSY,	/* the kernel's, or what it has taken is still on its way */
	RELAY_KERNEL_GONE,	/* the conn was freed */
};
/* Tries it; where it does not work there is none. In the inner namespace. */
void relay_kernel_open(struct daemon *d);
/*
 * 0, or why the kernel may not relay it now: -EOPNOTSUPP, -EBUSY, -EPERM urgent, -EINVAL inspected,
 * -ENOTCONN the kernel has refused it, or an end has closed its half.
 */
int relay_kernel_possible(const struct daemon *d, const struct conn *c);
/* Has the kernel relay it, if that is wanted and possible. */
void relay_kernel_try(struct daemon *d, struct conn *c);
/* `auto`, from now on: who relays it goes on until its packets say otherwise. */
void relay_kernel_weigh_anew(struct conn *c);
/* `auto`: looks at its packets, now and then, and acts on it. True: it did; the conn may be freed. */
bool relay_kernel_weigh(struct daemon *d, struct conn *c, uint64_t now);
/* Whose is this direction? Takes it back from the kernel when it has ended. */
enum relay_kernel relay_kernel_dir(struct daemon *d, struct conn *c, enum seam_dir dir);
/* Takes both directions back. False: the conn was freed. */
bool relay_kernel_stop(struct daemon *d, struct conn *c, __u8 reason);
/* A packet with urgent data is in the hold queue. May free the conn. */
void relay_kernel_urgent(struct daemon *d, struct conn *c);
/* Asks for the events of both legs again: not for each packet that the kernel relays. */
void relay_kernel_rewatch(struct conn *c);
void relay_kernel_forget(struct daemon *d, struct conn *c);
/* Bytes that the kernel has moved so far. */
uint64_t relay_kernel_bytes(const struct daemon *d);
void relay_kernel_look(struct daemon *d, struct watch *w, uint32_t events);
void relay_kernel_tick(struct daemon *d);

/* sweep.c: idle flows, by the timeouts of their states, and conns that missed an event */
void sweep_run(struct daemon *d);
/* What a dead daemon left half done. */
unsigned int sweep_recover(struct daemon *d);
/* Flows that still need the kernel side, by why. */
struct sweep_census {
	unsigned int deltas, bypass;
};
void sweep_census(struct daemon *d, struct sweep_census *out);

/* ports.c: ports whose interface goes, and what takes its place */
/* It is gone. */
void ports_gone(struct daemon *d, struct kern_port *port);
/* Some may be gone that nobody has told of. */
void ports_look(struct daemon *d);
/* The veth pair by which legs are reached is: the daemon ends. */
void ports_no_veth(struct daemon *d);
/* An interface that is no port has this name. */
void ports_named(struct daemon *d, const char *name, int ifindex);
/* Attaches to what has taken the place of one, if it is time to look for that; whether it has. */
bool ports_attach(struct daemon *d, uint64_t now);

/* mirror.c: the links of the ports, and on wires what one makes of the other */
/* In the host's namespace. Negative errno. */
int mirror_open(struct daemon *d);
void mirror_tick(struct daemon *d, uint64_t now);
/* Sets those up again that it has set down. */
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
/* The reload of that number has ended; `why` it changed nothing, or NULL. */
void control_reloaded(struct daemon *d, uint32_t number, const char *why);

/* reload.c: the policy, anew from its file */
#define RELOAD_NO_CONFIG "started without a policy file; there is nothing to read again"
/*
 * Asks for a reload; there must be a `config`. control_reloaded() tells the end of
 * the one of this number. Negative errno: there will be none.
 */
int reload_ask(struct daemon *d, uint32_t *number);
void reload_signalled(struct daemon *d);
/* Waits for what is under way, and drops it. */
void reload_close(struct daemon *d);

#endif
