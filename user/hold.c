// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "frame.h"
#include "log.h"

/* Frames read before other work gets its turn. */
#define HOLD_BATCH 256

/*
 * How long the loop is behind before it goes before others: a split under load is over by then.
 * And how long until it stops doing so.
 */
#define HURRY_FROM_NS 20000000ULL
#define HURRY_UNTIL_NS 1000000000ULL

static void put_back(struct daemon *d, const uint8_t *data, size_t len)
{
	/* A full device drops, as any link does; the sender will send it again. */
	if (write(d->hold.fd, data, len) < 0)
		log_debug("putting a held packet back: %s", strerror(errno));
}

void hold_release(struct daemon *d, struct conn *c)
{
	struct held *h;

	while ((h = c->held)) {
		c->held = h->next;
		put_back(d, h->data, h->len);
		free(h);
	}
	c->held_tail = &c->held;
}

void hold_drop(struct conn *c)
{
	struct held *h;

	while ((h = c->held)) {
		c->held = h->next;
		free(h);
	}
	c->held_tail = &c->held;
}

void hold_let_out(struct daemon *d, struct conn *c, __u8 reason)
{
	/* Its timer may have begun a split; there are no legs yet. */
	if (conn_ctl(d, c, CTL_PASS, reason, 0, NULL) == -EBUSY)
		conn_ctl(d, c, CTL_UNSPLIT, reason, 0, NULL);
	hold_release(d, c);
	conn_free(d, c);
}

/*
 * Takes what continues the client's first bytes; the rest comes through a leg. So does
 * everything after a gap: when the turn of bytes that came ahead of it comes, they count for
 * the receiver, not what is sent in their place by then.
 */
static void head_add(struct conn *c, const struct frame *f)
{
	uint32_t off = f->seq - c->base[SEAM_CLIENT], skip;
	uint8_t *head;

	if (c->rule || !f->len || c->gap)
		return; /* decided, empty, or out of order: the timer will split it */
	c->gap = (int32_t)(off - c->head_len) > 0;
	if (off > c->head_len)
		return;
	skip = c->head_len - off;
	if (skip >= f->len)
		return;
	head = realloc(c->head, c->head_len + f->len - skip);
	if (!head)
		return;
	memcpy(head + c->head_len, f->payload + skip, f->len - skip);
	c->head = head;
	c->head_len += f->len - skip;
}

void hold_pass(struct daemon *d, struct conn *c, __u8 reason)
{
	struct flow f;

	if (conn_ctl(d, c, CTL_PASS, reason, 0, &f) == -EBUSY) {
		/* The timer was faster: it becomes a split, to be merged at once. */
		conn_let_go(c);
		split_build(d, c, &f);
		return;
	}
	hold_release(d, c);
	conn_free(d, c);
}

/* Splits a flow for its verdict. A flow that cannot be split gets the fail answer. */
static void split_first(struct daemon *d, struct conn *c)
{
	struct flow f;
	int err = conn_ctl(d, c, CTL_SPLIT, SEAM_R_DECIDE, 0, &f);

	if (!err) {
		split_build(d, c, &f);
		return;
	}
	log_debug("flow %llu: split: %s", (unsigned long long)c->id, strerror(-err));
	if (c->fail_block)
		conn_block(d, c, &c->policy->default_rule, SEAM_R_DECIDE);
	else
		hold_pass(d, c, SEAM_R_DECIDE);
}

/* Decides a held flow if that is possible by now, and acts on it. */
static void decide(struct daemon *d, struct conn *c)
{
	const struct policy_rule *rule = head_decide(c);
	struct flow f;
	int err;

	if (!rule) {
		if (c->head_len >= c->head_limit)
			conn_give_up(d, c);
		return;
	}
	if (rule->action == RULE_BLOCK) {
		conn_block(d, c, rule, SEAM_R_RULE);
		return;
	}
	err = conn_decided(d, c, rule);
	if (err && rule->fail_block) {
		/* No memory to inspect it: the rule's fail answer. */
		conn_block(d, c, rule, SEAM_R_NO_MEMORY);
		return;
	}
	if (rule->action == RULE_INSPECT && !err && !c->let_go) {
		err = conn_ctl(d, c, CTL_SPLIT, SEAM_R_RULE, 0, &f);
		if (!err) {
			split_build(d, c, &f);
			return;
		}
		log_debug("flow %llu: split: %s", (unsigned long long)c->id, strerror(-err));
	}
	hold_pass(d, c, rule->number ? SEAM_R_RULE : SEAM_R_DEFAULT);
}

static struct conn *conn_for(struct daemon *d, const struct frame *f, enum seam_end *end)
{
	struct flow_key key = f->key;
	struct flow flow;
	struct conn *c;

	*end = SEAM_CLIENT;
	if (kern_flow(&d->kern, &key, &flow)) {
		frame_reverse(&f->key, &key);
		*end = SEAM_SERVER;
		if (kern_flow(&d->kern, &key, &flow))
			return NULL;
	}
	if (later_due(&flow)) {
		/* The event is coming, but this packet was first. */
		later_split(d, &key, &flow);
		return NULL;
	}
	c = conn_find(d, &key);
	if (c && c->id == flow.id)
		return c;
	if ((flow.state != FLOW_HELD && flow.state != FLOW_SPLITTING) ||
	    (flow.flags & FLOW_F_RELEASE))
		return NULL;
	return conn_new(d, &key, &flow);
}

/* What a held packet says about who speaks, and whether more is to come. */
static void note_frame(struct conn *c, const struct frame *f, enum seam_end end)
{
	uint32_t upto = f->seq + f->len - c->base[end];

	if (end == SEAM_SERVER) {
		/* Except a keepalive probe with a byte in it. */
		if ((f->len && (int32_t)upto > 0) || (f->flags & (TH_FIN | TH_RST)))
			head_server_spoke(c);
		return;
	}
	head_add(c, f);
	if ((f->flags & (TH_FIN | TH_RST)) && upto == c->head_len)
		head_client_done(c);
}

static void one_frame(struct daemon *d, size_t len)
{
	struct frame f;
	enum seam_end end;
	struct conn *c;
	struct held *h;

	d->stats.held_packets++;
	if (frame_parse(d->buf, len, &f))
		return; /* not one of ours: the host's own chatter */
	c = conn_for(d, &f, &end);
	if (c && (f.flags & TH_URG))
		relay_kernel_urgent(d, c);
	if (!c || c->phase != CONN_HELD || !frame_checksum_ok(d->buf, &f)) {
		/*
		 * It is already on its way elsewhere, and only kept its place in the queue. Or
		 * its receiver would discard it: then the kernel counts it out and drops it.
		 */
		put_back(d, d->buf, len);
		return;
	}
	h = malloc(sizeof(*h) + len);
	if (!h)
		return;
	h->next = NULL;
	h->len = len;
	memcpy(h->data, d->buf, len);
	*c->held_tail = h;
	c->held_tail = &h->next;
	if (d->stopping) {
		hold_let_out(d, c, SEAM_R_SHUTDOWN); /* stop() has let out the others */
		return;
	}
	if (c->policy->decide == DECIDE_SPLIT) {
		split_first(d, c);
		return;
	}
	note_frame(c, &f, end);
	decide(d, c);
}

/*
 * A daemon that for a while has had more to read than it reads at a time has to catch up, and
 * goes before others until it has. On a machine without a processor to spare, the queue of a
 * flow that runs at full rate would otherwise never be empty again, and all its packets would
 * go that way for as long as it runs. (Niceness would rank it only within its own session, or
 * control group.)
 */
static void hurry(struct daemon *d)
{
	const struct sched_param param = { .sched_priority = 1 };
	static bool warned;

	if (sched_getscheduler(0) != SCHED_OTHER)
		return; /* someone has set this already */
	if (!sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param)) {
		d->hurries = true;
	} else if (!warned) {
		log_warn("catching up with the hold queue: %s; it takes CAP_SYS_NICE to go before others",
			 strerror(errno));
		warned = true;
	}
}

static void calm_down(struct daemon *d)
{
	const struct sched_param param = {};

	if (d->hurries && sched_setscheduler(0, SCHED_OTHER, &param))
		log_warn("having caught up with the hold queue: %s", strerror(errno));
	d->hurries = false;
}

static void note_backlog(struct daemon *d, bool behind)
{
	uint64_t now;

	if (!behind) {
		calm_down(d);
		d->behind_ns = 0;
		return;
	}
	now = kern_now();
	if (!d->behind_ns) {
		d->behind_ns = now;
		d->stats.hold_behind++;
	} else if (now - d->behind_ns > HURRY_UNTIL_NS) {
		calm_down(d); /* it does not help, and others wait */
	} else if (!d->hurries && now - d->behind_ns > HURRY_FROM_NS) {
		hurry(d);
	}
}

void hold_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	struct pollfd more = { .fd = w->fd, .events = POLLIN };
	ssize_t n;
	int i;

	(void)events;
	for (i = 0; i < HOLD_BATCH; i++) {
		n = read(w->fd, d->buf, FRAME_MAX);
		if (n <= 0)
			break;
		one_frame(d, n);
		daemon_beat(d); /* with a long list of names, each of them may take a while */
	}
	/* Without it nothing would be inspected, and poll() would report its end for ever. */
	if (i < HOLD_BATCH && n < 0 && errno != EAGAIN && errno != EINTR) {
		daemon_fail(d, -errno);
		log_err("reading the hold device: %s; was it deleted? Seam ends", strerror(-d->failed));
		return;
	}
	note_backlog(d, i == HOLD_BATCH && poll(&more, 1, 0) > 0);
}
