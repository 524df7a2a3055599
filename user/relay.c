// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Moves the bytes of a split flow from leg to leg, past its inspectors. Custody
 * stays in the kernel: bytes are peeked at, written to the other leg, and only
 * then taken out of the first one's queue, so that whatever becomes of the
 * daemon, the legs say exactly what was handed on.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon.h"
#include "frame.h"

/* Bytes moved at a time, and turns a flow takes before others get theirs. */
#define RELAY_CHUNK 65536
#define RELAY_TURNS 8
/* Most edits made in one step: each single byte may be one. */
#define RELAY_EDITS 256
/* A RST waits this long for what was sent before it. */
#define ABORT_PATIENCE 1000000000ULL

enum step {
	STEP_AGAIN,	/* something moved */
	STEP_WAIT,	/* nothing to do until the next event */
	STEP_GONE,	/* the conn was freed, or somebody else went on with it */
};

/* Bytes written to a leg that its end has not acknowledged. */
static int unacked(const struct conn_leg *leg)
{
	int n = 0;

	return ioctl(leg->watch.fd, SIOCOUTQ, &n) ? 0 : n;
}

/* Bytes in a leg's receive queue, up to `most`. SIOCINQ does not tell for a socket in a sockmap. */
static size_t queued(const struct conn_leg *leg, size_t most)
{
	ssize_t n = recv(leg->watch.fd, NULL, most, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	return n > 0 ? n : 0;
}

static bool at_mark(int fd)
{
	int mark = 0;

	return !ioctl(fd, SIOCATMARK, &mark) && mark;
}

static void let_go(struct daemon *d, struct conn *c, __u8 reason)
{
	conn_let_go(c);
	split_try_merge(d, c, reason);
}

/* The rule's limits; true once one of them is reached. */
static bool until_reached(const struct conn *c)
{
	const struct policy_until *u = &c->rule->until;

	return (u->bytes && c->rec.bytes[0] + c->rec.bytes[1] >= u->bytes) ||
	       (u->messages && c->rec.http.requests + c->rec.http.responses >= u->messages);
}

/* Shows new bytes of direction `dir` to whoever still inspects. */
static enum inspect_answer inspect(struct conn *c, enum seam_dir dir, const uint8_t *data,
				   size_t len, bool end)
{
	struct editor *edit = &c->leg[dir].edit;
	enum inspect_answer answer;
	bool more = false;
	uint64_t hold;
	int i;

	c->rec.bytes[dir] += len;
	c->midst = false;
	for (i = 0; c->rule->inspectors[i]; i++) {
		if (!c->inspect[i])
			continue;
		hold = edit->hold;
		answer = c->rule->inspectors[i]->data(c->inspect[i], dir, data, len, end, edit);
		if (answer == INSPECT_BLOCK)
			return INSPECT_BLOCK;
		if (answer == INSPECT_LET_GO) {
			edit->hold = hold; /* it will not be asked again */
			c->rule->inspectors[i]->close(c->inspect[i]);
			free(c->inspect[i]);
			c->inspect[i] = NULL;
		} else {
			c->midst |= answer == INSPECT_MIDST;
			more = true;
		}
	}
	if (!c->midst && (c->due || until_reached(c)))
		return INSPECT_LET_GO;
	return more || !c->rule->until.verdict ? INSPECT_MORE : INSPECT_LET_GO;
}

/* One end has reset: the other gets what is left, and then a RST. */
static enum step aborting(struct daemon *d, struct conn *c)
{
	struct conn_leg *other;
	size_t left = 0;
	int end;

	if (c->phase != CONN_ABORTING) {
		c->phase = CONN_ABORTING;
		c->deadline_ns = kern_now() + ABORT_PATIENCE;
		conn_ctl(d, c, CTL_ABORT, SEAM_R_RST, 3, NULL);
	}
	for (end = 0; end < 2; end++) {
		other = &c->leg[!end];
		if (c->leg[end].dead && !other->dead)
			left += (c->rule ? queued(&c->leg[end], 1) : 0) + unacked(other) +
				c->leg[end].arriving;
	}
	if (left)
		return STEP_WAIT;
	conn_reset(d, c);
	return STEP_GONE;
}

int relay_tcp_state(const struct conn_leg *leg)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	return getsockopt(leg->watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? TCP_CLOSE :
									     info.tcpi_state;
}

/* Peeks at what is new of the client's first bytes, all in its leg's queue, up to the limit. */
static void head_peek(struct conn *c)
{
	size_t n = queued(&c->leg[SEAM_CLIENT], c->head_limit);
	uint8_t *head;
	ssize_t got;

	if (n <= c->head_len)
		return;
	head = realloc(c->head, n);
	if (!head)
		return;
	c->head = head;
	got = recv(c->leg[SEAM_CLIENT].watch.fd, head, n, MSG_PEEK | MSG_DONTWAIT);
	if (got > 0 && (size_t)got > c->head_len)
		c->head_len = got;
}

/* A flow that was split before its verdict. */
static enum step undecided(struct daemon *d, struct conn *c)
{
	const struct policy_rule *rule;
	int end, state[2];

	for (end = 0; end < 2; end++) {
		state[end] = relay_tcp_state(&c->leg[end]);
		if (state[end] == TCP_CLOSE)
			c->leg[end].dead = true;
	}
	if (c->leg[SEAM_CLIENT].dead || c->leg[SEAM_SERVER].dead)
		return aborting(d, c);
	head_peek(c);
	if (queued(&c->leg[SEAM_SERVER], 1) || state[SEAM_SERVER] == TCP_CLOSE_WAIT)
		head_server_spoke(c);
	else if (state[SEAM_CLIENT] == TCP_CLOSE_WAIT)
		head_client_done(c);
	rule = head_decide(c);
	if (!rule) {
		if (c->head_len < c->head_limit)
			return STEP_WAIT;
		conn_give_up(d, c);
		return STEP_GONE;
	}
	if (rule->action == RULE_BLOCK) {
		conn_block(d, c, rule, SEAM_R_RULE);
		return STEP_GONE;
	}
	if (conn_decided(d, c, rule)) {
		if (rule->fail_block) {
			conn_block(d, c, rule, SEAM_R_NO_MEMORY);
			return STEP_GONE;
		}
		let_go(d, c, SEAM_R_NO_MEMORY);
	} else if (c->let_go) {
		let_go(d, c, rule->number ? SEAM_R_RULE : SEAM_R_DEFAULT);
	}
	return STEP_AGAIN;
}

/*
 * Tells the kernel side about edits before any of them is made: from then on the two legs'
 * streams differ in length. False: not now, or the flow is over.
 */
static bool tell_edits(struct daemon *d, struct conn *c)
{
	struct editor *up = &c->leg[SEAM_CLIENT].edit, *down = &c->leg[SEAM_SERVER].edit;
	__u64 deltas = CTL_DELTAS(c->delta[SEAM_CLIENT] + up->shift,
				  c->delta[SEAM_SERVER] + down->shift);
	struct flow f;

	if (!up->changed && !down->changed)
		return true;
	if (conn_ctl(d, c, CTL_EDIT, SEAM_R_NONE, deltas, &f))
		return false;
	split_nudge(c, &f);
	up->changed = down->changed = false;
	return true;
}

/* Whether this rule's inspectors may change what passes. */
static bool edits(const struct conn *c)
{
	int i;

	for (i = 0; c->rule && c->rule->inspectors[i]; i++)
		if (c->rule->inspectors[i]->edits)
			return true;
	return false;
}

/* Sends to a leg; the bytes taken, or 0: none now, or it is dead. */
static size_t give(struct conn_leg *to, const void *data, size_t len, int flags)
{
	ssize_t n = send(to->watch.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL | flags);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		to->dead = true;
	return n < 0 ? 0 : n;
}

/* Takes bytes out of a leg's queue, only now that they are handed on or removed. */
static void take(struct conn_leg *from, size_t n)
{
	ssize_t got;

	editor_advance(&from->edit, n);
	/* Nothing is written there, though TSan expects it. No read goes across an urgent mark. */
	for (; n; n -= got) {
		got = recv(from->watch.fd, from->conn->worker->buf, n < FRAME_MAX ? n : FRAME_MAX,
			   MSG_TRUNC | MSG_DONTWAIT);
		if (got <= 0)
			break;
	}
}

/* Makes edits that are due, as far as the other leg has room for them, and at most RELAY_EDITS. */
static enum step make_edits(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];
	struct edit *edit;
	int n = 0;

	if (!tell_edits(d, c))
		return STEP_WAIT;
	while ((edit = editor_due(&from->edit)) && n++ < RELAY_EDITS) {
		if (edit->sent < edit->len)
			edit->sent += give(to, edit->with + edit->sent, edit->len - edit->sent,
					   editor_goes_on(&from->edit, edit->at + edit->remove, edit->next) ? MSG_MORE : 0);
		if (edit->sent < edit->len)
			return STEP_WAIT;
		if (edit->remove)
			take(from, edit->remove);
		editor_made(&from->edit);
		c->rec.edits++;
	}
	return STEP_AGAIN;
}

/* Shows the inspectors what is new. True: they blocked the flow, and it is freed. */
static bool blocked(struct daemon *d, struct conn *c, enum seam_dir dir, const uint8_t *data,
		    size_t len, bool end)
{
	enum inspect_answer answer;

	if (c->let_go)
		return false;
	editor_show(&c->leg[dir].edit, len);
	answer = inspect(c, dir, data, len, end);
	if (answer == INSPECT_BLOCK) {
		conn_block(d, c, c->rule, SEAM_R_INSPECTOR);
		return true;
	}
	if (c->leg[dir].over) { /* nothing comes after a FIN */
		editor_free(&c->leg[dir].edit);
		editor_init(&c->leg[dir].edit);
	}
	tell_edits(d, c);
	if (answer == INSPECT_LET_GO)
		conn_let_go(c);
	return false;
}

/* The client begins to speak after the server has. Whether its rule was waiting for this turn. */
static bool turn(struct conn *c)
{
	const struct policy_after *after = &c->rule->after;

	if (c->turns)
		return !--c->turns;
	return after->again && after->request;
}

/*
 * The client's next request has got into the legs before the flow was merged. It is inspected
 * here and now, and the merge is given up if it has not begun. If it has begun, the rest of the
 * request goes straight and can no longer be changed: what has to be seen whole is not let by.
 * Negative errno: it must be inspected and cannot be.
 */
static int again(struct daemon *d, struct conn *c)
{
	const struct policy_rule *rule = c->rule;
	struct flow f;

	if (!c->let_go || !turn(c) || d->stopping)
		return 0;
	if (c->phase == CONN_MERGING && !conn_ctl(d, c, CTL_SPLIT, SEAM_R_AFTER, CTL_SPLIT_SAME, &f)) {
		c->phase = CONN_SPLIT;
		split_nudge(c, &f);
	}
	if (c->phase != CONN_SPLIT && rule->fail_block)
		return -EBUSY;
	if (c->phase != CONN_SPLIT && edits(c))
		return 0;
	if (!rule->after.again)
		later_disarm(d, c);
	memset(&c->rec, 0, sizeof(c->rec));
	if (!conn_inspect(c))
		return 0;
	conn_let_go(c);
	return rule->fail_block ? -ENOMEM : 0;
}

/* Tells the inspectors, once, that a direction has ended; returns as blocked() does. */
static bool blocked_at_end(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	if (c->leg[dir].ended)
		return false;
	if (blocked(d, c, dir, c->worker->buf, 0, true))
		return true;
	c->leg[dir].ended = true;
	return false;
}

static enum step relay_end(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];

	if (blocked_at_end(d, c, dir))
		return STEP_GONE;
	if (make_edits(d, c, dir) == STEP_WAIT)
		return STEP_WAIT;
	from->eof = true;
	if (!from->shut && !to->dead) {
		shutdown(to->watch.fd, SHUT_WR);
		from->shut = true;
	}
	return STEP_WAIT;
}

/* Whether there is unread urgent data: no read looks at what is behind its mark. */
static bool urgent_ahead(const struct conn_leg *from)
{
	struct pollfd p = { .fd = from->watch.fd, .events = POLLPRI };

	return poll(&p, 1, 0) > 0 && p.revents & POLLPRI;
}

/* Whether nothing more comes from an end and the inspectors have been shown what is there. */
static bool ends_held(const struct conn_leg *from)
{
	switch (relay_tcp_state(from)) {
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK:
	case TCP_CLOSING:
	case TCP_CLOSE:
		return queued(from, RELAY_CHUNK) == from->edit.shown - from->edit.next;
	}
	return false;
}

/* Moves one chunk of one direction. */
static enum step relay_dir(struct daemon *d, struct conn *c, enum seam_dir dir)
{
	struct conn_leg *from = &c->leg[dir], *to = &c->leg[!dir];
	size_t ahead, want, n, w;
	bool urgent, mark, more;
	ssize_t got;
	int err;

	if (from->eof || make_edits(d, c, dir) == STEP_WAIT)
		return STEP_WAIT;
	if (editor_due(&from->edit))
		return STEP_AGAIN;
	switch (relay_kernel_dir(d, c, dir)) {
	case RELAY_KERNEL_IDLE:
		break;
	case RELAY_KERNEL_BUSY:
		return STEP_WAIT;
	case RELAY_KERNEL_GONE:
		return STEP_GONE;
	}
	/* Only up to the next edit, or each edit would cost a chunk. */
	ahead = from->edit.shown - from->edit.next;
	want = from->edit.edits ? editor_untouched(&from->edit, ahead) : 0;
	want = want && want < RELAY_CHUNK ? want : RELAY_CHUNK;
	got = from->over ? 0 : recv(from->watch.fd, c->worker->buf, want, MSG_PEEK | MSG_DONTWAIT);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			from->dead = true;
		return STEP_WAIT;
	}
	if (got == 0) /* also after a reset, once SO_ERROR was asked for */
		return from->dead ? STEP_WAIT : relay_end(d, c, dir);
	/* Asked after the byte was seen: its mark was there before. No read goes across a mark. */
	urgent = at_mark(from->watch.fd);
	n = urgent ? 1 : got;
	if (dir == SEAM_UP && c->answered && (err = again(d, c))) {
		conn_block(d, c, c->rule, err == -EBUSY ? SEAM_R_AFTER : SEAM_R_NO_MEMORY);
		return STEP_GONE;
	}
	c->answered = dir == SEAM_DOWN;
	if (n > ahead && blocked(d, c, dir, c->worker->buf + ahead, n - ahead, false))
		return STEP_GONE;
	if (editor_due(&from->edit))
		return STEP_AGAIN;
	n = editor_untouched(&from->edit, n);
	if (!n) { /* an inspector holds it until it sees more or there is no more */
		if (urgent_ahead(from)) { /* it sees nothing more before this has gone */
			from->edit.hold = UINT64_MAX;
			return STEP_AGAIN;
		}
		if (from->ended || !ends_held(from))
			return STEP_WAIT;
		return blocked_at_end(d, c, dir) ? STEP_GONE : STEP_AGAIN;
	}
	/*
	 * Without its mark the byte is part of the stream, as it was judged and inspected. With
	 * the mark, a server that does not look out for it finds the byte missing there.
	 */
	mark = urgent && !c->fail_block && !(c->rule && c->rule->fail_block);
	more = from->edit.edits && editor_goes_on(&from->edit, from->edit.next + n, from->edit.edits);
	w = give(to, c->worker->buf, n, (mark ? MSG_OOB : 0) | (more ? MSG_MORE : 0));
	if (!w)
		return STEP_WAIT;
	take(from, w);
	from->moved += w;
	c->worker->bytes += w;
	return STEP_AGAIN;
}

void relay_run(struct daemon *d, struct conn *c)
{
	enum step up = STEP_AGAIN, down = STEP_AGAIN;
	bool let_go;
	int turn;

	while (!c->rule) {
		up = undecided(d, c);
		if (up != STEP_AGAIN)
			return;
	}
	/*
	 * For edits it must not be in doubt what is on which side of a boundary that is being
	 * crossed.
	 */
	if (!c->crossed && edits(c)) {
		/* The boundary will no longer be crossed. */
		if (c->leg[SEAM_CLIENT].dead || c->leg[SEAM_SERVER].dead)
			aborting(d, c);
		return;
	}
	if (!c->begun && blocked(d, c, SEAM_UP, c->worker->buf, 0, false))
		return;
	c->begun = true;
	for (turn = 0; up == STEP_AGAIN || down == STEP_AGAIN; turn++) {
		let_go = c->let_go;
		up = relay_dir(d, c, SEAM_UP);
		if (up == STEP_GONE)
			return;
		down = relay_dir(d, c, SEAM_DOWN);
		if (down == STEP_GONE)
			return;
		if (c->let_go != let_go)
			up = STEP_AGAIN; /* what was held in the other direction may go */
		if (turn == RELAY_TURNS) {
			/* Asking again raises the edge again, after everybody else's turn. */
			relay_kernel_rewatch(c);
			break;
		}
	}
	if (c->leg[SEAM_CLIENT].dead || c->leg[SEAM_SERVER].dead)
		aborting(d, c);
	else if (c->let_go && !c->kept)
		split_try_merge(d, c, SEAM_R_LET_GO);
	if (c->phase == CONN_SPLIT)
		relay_kernel_try(d, c);
}

void relay_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	struct conn_leg *leg = (void *)((char *)w - offsetof(struct conn_leg, watch));
	struct conn *c = leg->conn;

	if (events & EPOLLERR) { /* without it, SO_ERROR may report an ICMP error, which is none */
		int err = 0;
		socklen_t len = sizeof(err);

		/* A socket in a sockmap does not report its error by recv(). */
		if (!getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len) && err)
			leg->dead = true;
	}
	relay_run(d, c);
}
