// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Has the kernel move the bytes of a split flow that nobody reads: when, and how it starts and
 * ends. Each direction goes by itself.
 *
 * Start: from any byte on, as the program cuts off what was read before. End: the kernel takes
 * nothing more from the one leg, and the daemon reads it again; but the daemon does not write
 * to the other leg before everything taken has arrived there. An end's FIN ends it in this way;
 * the userspace relay then finds the FIN. So does urgent data; its first packet waits in the
 * hold queue.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon.h"
#include "frame.h"
#include "log.h"

/*
 * `auto`: the kernel works for each packet, the daemon for each byte. A direction becomes the
 * kernel's at one average packet size, and the daemon's again at another. It is looked at once
 * in so many nanoseconds, if so much has been moved by then. Between the two sizes neither is
 * better (docs/benchmarks.md, `sizes`).
 */
#define BULK_PACKET 24576
#define SMALL_PACKET 16384
#define BULK_BYTES (4 << 20)
#define BULK_LOOK 1000000000ULL
/* Send buffer of such a leg; only what it holds is accounted. */
#define ROOM (64 << 20)
/* Milliseconds between looks at what is on its way; grows from first to second. */
#define LOOK_MIN 1
#define LOOK_MAX 32

static bool is_asked_for(const struct policy *p)
{
	bool asked = p->relay == POLICY_RELAY_KERNEL;
	size_t i;

	for (i = 0; i < p->n_rules; i++)
		asked |= p->rules[i].relay == POLICY_RELAY_KERNEL;
	return asked;
}

void relay_kernel_open(struct daemon *d)
{
	static const char text[] = "no kernel relay, the daemon moves all bytes of split flows";
	char why[128];

	if (!sockmap_open(&d->sockmap, d->kern.dir, d->kern.maps.legs, why, sizeof(why)))
		return;
	if (is_asked_for(d->policy))
		log_warn("%s: %s", text, why);
	else
		log_info("%s: %s", text, why);
}

void relay_kernel_rewatch(struct conn *c)
{
	uint32_t events;
	int end;

	for (end = 0; end < 2; end++) {
		events = LEG_EVENTS;
		if (c->leg[end].by_kernel)
			events &= ~EPOLLIN;
		if (c->leg[!end].by_kernel)
			events &= ~EPOLLOUT;
		watch_again(c->worker->epoll, &c->leg[end].watch, events);
	}
}

static void look_in(struct daemon *d, int ms)
{
	struct itimerspec once = { .it_value.tv_nsec = ms * 1000000L };

	d->look_ms = ms;
	timerfd_settime(d->look.fd, 0, &once, NULL);
}

static void look_again(struct daemon *d, struct conn *c)
{
	if (c->looked_at)
		return;
	c->looked_at = true;
	pthread_mutex_lock(&d->lists);
	DL_APPEND2(d->arriving, c, look_prev, look_next);
	look_in(d, LOOK_MIN);
	pthread_mutex_unlock(&d->lists);
}

static void look_no_more(struct daemon *d, struct conn *c)
{
	if (!c->looked_at)
		return;
	pthread_mutex_lock(&d->lists);
	DL_DELETE2(d->arriving, c, look_prev, look_next);
	pthread_mutex_unlock(&d->lists);
	c->looked_at = false;
}

void relay_kernel_look(struct daemon *d, struct watch *w, uint32_t events)
{
	struct conn *c, *next;
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0)
		return;
	DL_FOREACH_SAFE2(d->arriving, c, next, look_next)
		relay_run(d, c);
	if (d->arriving)
		look_in(d, d->look_ms * 2 < LOOK_MAX ? d->look_ms * 2 : LOOK_MAX);
}

/* Bytes have vanished in the kernel: the ends must see neither a clean end nor a hole. */
static void give_up(struct daemon *d, struct conn *c)
{
	log_err("flow %llu: the kernel relay lost bytes; both ends are reset",
		(unsigned long long)c->id);
	conn_ctl(d, c, CTL_RECOVER, SEAM_R_RELAY_LOST, 0, NULL);
	split_reset(c);
	conn_free(d, c);
}

static void account(struct conn *c, enum seam_dir dir, uint64_t bytes)
{
	editor_advance(&c->leg[dir].edit, bytes);
	c->rec.bytes[dir] += bytes;
	c->worker->kernel_bytes += bytes;
}

/*
 * A leg that the kernel relays to takes everything that comes, which is no more than its end
 * has room for: the kernel retries a full leg only every few milliseconds.
 */
static void set_room(const struct conn_leg *to, bool all)
{
	unsigned int lowat = all ? -1U : SPLIT_LOWAT;
	int room = ROOM;

	setsockopt(to->watch.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
	if (all)
		setsockopt(to->watch.fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
}

/* The daemon reads this leg again. False: the conn was freed. */
static bool take_back(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir];
	struct relay r = {};
	int err = sockmap_end(&d->sockmap, &from->kernel, from->watch.fd, &r);

	set_room(&c->leg[!dir], false);
	from->by_kernel = false;
	from->arriving = true;
	from->taken = r.bytes;
	account(c, dir, r.bytes);
	if (err && err != -EIO)
		from->dead = true;
	/* A RST may cut off anywhere what comes before it. */
	if (err && !from->dead && !c->leg[!dir].dead) {
		give_up(d, c);
		return false;
	}
	return true;
}

/* Ends the relay if neither direction is the kernel's any more. */
static void relayed_no_more(struct daemon *d, struct conn *c, __u8 reason)
{
	if (!c->relayed || c->leg[0].by_kernel || c->leg[1].by_kernel)
		return;
	c->relayed = false;
	conn_ctl(d, c, CTL_UNRELAY, reason, 0, NULL);
}

/* Any other inspector reads its bytes; `count` only wants their number. */
static bool is_read(const struct conn *c)
{
	const struct policy_until *u = &c->rule->until;
	int i;

	if (c->turns || (c->rule->after.again && c->rule->after.request))
		return true; /* the next request comes through the daemon */
	if (c->let_go)
		return false;
	for (i = 0; c->rule->inspectors[i]; i++)
		if (c->inspect[i] && c->rule->inspectors[i] != &inspector_count)
			return true;
	return u->bytes || u->messages;
}

static bool is_closed(const struct conn_leg *from)
{
	return from->ended || from->kernel_refused;
}

int relay_kernel_possible(const struct daemon *d, const struct conn *c)
{
	if (!d->sockmap.obj)
		return -EOPNOTSUPP;
	if (!c->rule || c->phase != CONN_SPLIT)
		return -EBUSY;
	if (is_closed(&c->leg[0]) && is_closed(&c->leg[1]))
		return -ENOTCONN;
	return c->not_by_kernel ? -EPERM : is_read(c) ? -EINVAL : 0;
}

static enum policy_relay wanted(const struct daemon *d, const struct conn *c)
{
	if (relay_kernel_possible(d, c))
		return POLICY_RELAY_USERSPACE; /* for example undecided */
	if (c->relay_by_hand)
		return c->relay;
	return c->by_hand ? c->policy->relay : c->rule->relay;
}

/*
 * Looks at the packets of one end since the last look, if there are enough of them. Bare acks
 * count, as they cost as much. `first`: what came before says nothing about what comes now.
 */
static void weigh(struct conn_leg *from, const struct flow_end *end, bool first)
{
	uint64_t packets = end->packets - from->packets, bytes = end->bytes - from->bytes;

	from->moved = 0;
	if (!first && (!packets || bytes < BULK_BYTES))
		return;
	from->packets = end->packets;
	from->bytes = end->bytes;
	if (!first)
		from->bulk = bytes / packets >= (from->bulk ? SMALL_PACKET : BULK_PACKET);
}

void relay_kernel_weigh_anew(struct conn *c)
{
	c->sized_ns = 0;
	c->leg[SEAM_UP].bulk = c->leg[SEAM_UP].by_kernel;
	c->leg[SEAM_DOWN].bulk = c->leg[SEAM_DOWN].by_kernel;
}

bool relay_kernel_weigh(struct daemon *d, struct conn *c, uint64_t now)
{
	struct conn_leg *leg = c->leg;
	struct flow f;
	int dir;

	if (now < c->sized_ns + BULK_LOOK || wanted(d, c) != POLICY_RELAY_AUTO ||
	    (!c->relayed && leg[0].moved < BULK_BYTES && leg[1].moved < BULK_BYTES) ||
	    kern_flow(&d->kern, &c->key, &f))
		return false;
	for (dir = 0; dir < 2; dir++)
		weigh(&leg[dir], &f.end[dir], !c->sized_ns);
	c->sized_ns = now;
	for (dir = 0; dir < 2; dir++)
		if (leg[dir].by_kernel && !leg[dir].bulk && !take_back(d, c, dir))
			return true;
	relay_kernel_rewatch(c);
	relayed_no_more(d, c, SEAM_R_SMALL_PACKETS);
	relay_run(d, c);
	return true;
}

static bool may_begin(const struct conn *c, enum seam_dir dir)
{
	const struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];

	return !from->by_kernel && !from->arriving && !is_closed(from) && !from->dead && !to->dead &&
	       !from->edit.edits;
}

static bool begin(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];
	struct flow_key peer = c->key;
	int err;

	if (dir == SEAM_UP)
		frame_reverse(&c->key, &peer);
	err = sockmap_begin(&d->sockmap, &from->kernel, from->watch.fd, to->watch.fd, &peer);
	if (err) {
		/* For example, it is half closed. */
		log_debug("flow %llu: kernel relay: %s", (unsigned long long)c->id, strerror(-err));
		from->kernel_refused = true;
		return false;
	}
	set_room(to, true);
	/* A counter has seen these, and now the kernel counts them. */
	c->rec.bytes[dir] -= from->edit.shown - from->edit.next;
	from->edit.shown = from->edit.next;
	from->by_kernel = true;
	return true;
}

void relay_kernel_try(struct daemon *d, struct conn *c)
{
	struct conn_leg *leg = c->leg;
	enum policy_relay how = wanted(d, c);
	bool want[2], begun = false;
	int dir, err;

	for (dir = 0; dir < 2; dir++)
		want[dir] = may_begin(c, dir) && (how == POLICY_RELAY_KERNEL ||
						  (how == POLICY_RELAY_AUTO && leg[dir].bulk));
	if (!want[0] && !want[1])
		return;
	if (!c->relayed) {
		err = conn_ctl(d, c, CTL_RELAY, c->relay_by_hand ? SEAM_R_OPERATOR : SEAM_R_RELAY, 0, NULL);
		if (err) {
			c->not_by_kernel |= err == -EAGAIN; /* urgent data */
			return;
		}
		c->relayed = true;
	}
	for (dir = 0; dir < 2; dir++)
		begun |= want[dir] && begin(d, c, dir);
	if (begun)
		relay_kernel_rewatch(c);
	else
		relayed_no_more(d, c, SEAM_R_RELAY_OVER);
}

/* Whether the relay is over, at least in this direction. */
static bool has_ended(struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir];

	switch (relay_tcp_state(from)) {
	case TCP_CLOSE: /* by a RST, or by both FINs */
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK:
	case TCP_CLOSING:
	case TCP_TIME_WAIT:
		return true;
	}
	return from->dead || c->leg[!dir].dead;
}

enum relay_kernel relay_kernel_dir(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];

	if (from->by_kernel) {
		if (!has_ended(c, dir))
			return RELAY_KERNEL_BUSY;
		if (!take_back(d, c, dir))
			return RELAY_KERNEL_GONE;
		relay_kernel_rewatch(c);
		relayed_no_more(d, c, SEAM_R_RELAY_OVER);
	}
	if (!from->arriving)
		return RELAY_KERNEL_IDLE;
	if (!to->dead && !sockmap_arrived(&from->kernel, to->watch.fd, from->taken)) {
		look_again(d, c);
		return RELAY_KERNEL_BUSY;
	}
	from->arriving = false;
	sockmap_forget(&d->sockmap, &from->kernel);
	if (!to->arriving)
		look_no_more(d, c);
	return RELAY_KERNEL_IDLE;
}

bool relay_kernel_stop(struct daemon *d, struct conn *c, __u8 reason)
{
	int dir;

	for (dir = 0; dir < 2; dir++)
		if (c->leg[dir].by_kernel && !take_back(d, c, dir))
			return false;
	relayed_no_more(d, c, reason);
	relay_kernel_rewatch(c);
	return true;
}

void relay_kernel_urgent(struct daemon *d, struct conn *c)
{
	c->not_by_kernel = true;
	if (c->relayed && relay_kernel_stop(d, c, SEAM_R_URGENT_MARK))
		relay_run(d, c);
}

void relay_kernel_forget(struct daemon *d, struct conn *c)
{
	struct relay r;
	int dir;

	look_no_more(d, c);
	for (dir = 0; dir < 2; dir++) {
		if (c->leg[dir].by_kernel && !sockmap_read(&d->sockmap, &c->leg[dir].kernel, &r))
			account(c, dir, r.bytes);
		c->leg[dir].by_kernel = c->leg[dir].arriving = false;
		sockmap_forget(&d->sockmap, &c->leg[dir].kernel);
	}
}

uint64_t relay_kernel_bytes(const struct daemon *d)
{
	const struct conn *c;
	uint64_t sum = 0;
	struct relay r;
	unsigned int i;
	int dir;

	for (i = 0; i < d->n_workers; i++)
		sum += d->workers[i].kernel_bytes;
	for (c = d->conns; c; c = c->hh.next)
		for (dir = 0; dir < 2; dir++)
			if (c->leg[dir].by_kernel && !sockmap_read(&d->sockmap, &c->leg[dir].kernel, &r))
				sum += r.bytes;
	return sum;
}

void relay_kernel_tick(struct daemon *d)
{
	struct conn *c, *next;
	struct relay r;
	int dir;

	if (!sockmap_any_lost(&d->sockmap))
		return;
	HASH_ITER(hh, d->conns, c, next) {
		for (dir = 0; dir < 2; dir++) {
			if (!c->leg[dir].by_kernel ||
			    sockmap_read(&d->sockmap, &c->leg[dir].kernel, &r) || !r.lost)
				continue;
			/* There is nothing to pass on to a leg whose end has reset. */
			if (has_ended(c, dir) || relay_tcp_state(&c->leg[!dir]) == TCP_CLOSE)
				relay_run(d, c);
			else
				give_up(d, c);
			break;
		}
	}
}
