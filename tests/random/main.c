// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs many random connections at a time, all through one box. It sends and receives frames for
 * both ends, loses, doubles and delays them, asks the box for splits and merges, and has the
 * oracle judge every frame that the box sends.
 *
 * A seed decides what the ends are and do, which frames of each end are lost by their number,
 * and at which numbers of frames transitions are asked for. It does not decide when timers
 * fire, nor how fast the box is: a seed that failed usually fails again, but not each time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

#define CONNS_MAX 256
#define PORT_FIRST 2048
#define STALL (20000 * MS)
#define RST_PATIENCE (2000 * MS)
#define OP_RETRY (MS / 2)
#define OP_REFUSALS 400
#define LATEST (8 * MS)
#define SHOWN_MAX 5
#define LOG_SHOWN 70

enum sabotage { SAB_NONE, SAB_BYTE, SAB_CHECKSUM, SAB_ACK, SAB_EDGE, SAB_BEYOND, SAB_TSVAL, SAB_TSECR, SAB_SACK,
	SAB_FIN, SAB_RST, SAB_MSS, SAB_CUSTODY, SAB_SILENCE };

static const char *const sabotages[] = { "none", "byte", "checksum", "ack", "edge", "beyond", "tsval", "tsecr", "sack",
	"fin", "rst", "mss", "custody", "silence" };

static struct wire wires[2];
static struct conn *conns[CONNS_MAX], *by_port[65536];
static unsigned int at_once = 64, first_port = PORT_FIRST;
static int64_t patience = STALL;
static int64_t clock_now;
static bool verbose;
static enum sabotage sabotage;
static uint8_t buffer[FRAME_MAX];

static struct {
	uint64_t schedules, failed, frames, lost, doubled, late, splits, merges, refused, in_flight, sacks, retransmits,
		again, resets, passed;
} total;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

void conn_note(struct conn *c, enum side side, const char *format, ...)
{
	struct event *e;
	va_list args;

	if (c->failure[0] && format[0] != '*')
		return;
	if (c->n_log == c->max_log) {
		c->max_log = c->max_log ? 2 * c->max_log : 256;
		c->log = realloc(c->log, c->max_log * sizeof(*c->log));
	}
	e = &c->log[c->n_log++];
	e->at = clock_now - c->began;
	e->side = side;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
}

void conn_fail(struct conn *c, const char *format, ...)
{
	va_list args;

	if (c->failure[0])
		return;
	va_start(args, format);
	vsnprintf(c->failure, sizeof(c->failure), format, args);
	va_end(args);
	conn_note(c, CLIENT, "*** %s", c->failure);
}

static void note_frame(struct conn *c, enum side side, enum flight flight, const struct frame *f, const char *fate)
{
	const struct end *from = &c->end[flight == OUT ? side : !side], *to = &c->end[!from->side];
	char tail[80] = "";
	int n = 0, i;

	if (f->ts)
		n = snprintf(tail, sizeof(tail), " ts %u/%u", f->tsval - from->p->ts0, f->tsecr - to->p->ts0);
	for (i = 0; i < f->n_sack && n < 60; i++)
		n += snprintf(tail + n, sizeof(tail) - n, "%s%d-%d", i ? "," : " sack ",
			      (int32_t)(f->sack[i][0] - to->p->isn), (int32_t)(f->sack[i][1] - to->p->isn));
	conn_note(c, side, "%s %s%s%s%s%d+%u ack %d edge %d%s%s", flight == OUT ? "->" : "<-",
		  f->flags & SYN ? "SYN " : "", f->flags & FIN ? "FIN " : "", f->flags & RST ? "RST " : "",
		  f->flags & ACK ? "" : "noack ", (int32_t)(f->seq - from->p->isn), f->len,
		  (int32_t)(f->ack - to->p->isn),
		  (int32_t)(f->ack - to->p->isn) + (f->wnd << (f->flags & SYN ? 0 : from->my_wscale)), tail, fate);
}

static void print_conn(struct conn *c, uint32_t most)
{
	static const char *const names[] = { "client", "server" };
	uint32_t i, from = c->n_log > most ? c->n_log - most : 0;
	struct flow f;

	printf("FAILED: %s\n", c->failure[0] ? c->failure : "not at all");
	plan_print(&c->plan, stdout);
	printf("  %u splits, %u merges, %u requests refused; the last %u of %u events, positions from each ISN:\n",
	       c->splits, c->merges, c->refused, c->n_log - from, c->n_log);
	for (i = from; i < c->n_log; i++)
		printf("  %10.3f ms  %s %s\n", c->log[i].at / 1e6, names[c->log[i].side], c->log[i].text);
	if (box_flow(&c->key, &f)) {
		printf("  flow %llu: %s, flags %x\n", (unsigned long long)f.id, box_state(f.state), f.flags);
		for (i = 0; i < 2; i++) {
			const struct flow_end *e = &f.end[i];
			uint32_t mine = c->plan.end[i].isn, peer = c->plan.end[!i].isn;

			printf("    %s: nxt %d, ack %d, edge %d, told nxt %d, ack %d, edge %d; bound %d; leg ack %d, edge %d, nxt %d; "
			       "tsval %u, told %u, delta %d; flags %x\n", names[i], e->nxt - mine, e->ack - peer, e->edge - peer,
			       e->told_nxt - peer, e->told_ack - mine, e->told_edge - mine, e->bound - mine, e->leg_ack - mine,
			       e->leg_edge - mine, e->leg_nxt - peer, e->tsval - c->plan.end[i].ts0,
			       e->told_tsval - c->plan.end[!i].ts0, (int32_t)e->ts_delta, e->flags);
		}
	}
	for (i = 0; i < 2; i++) {
		const struct end *e = &c->end[i];

		printf("    %s itself: %u bytes written, una %lld, nxt %lld, max %lld, edge %lld; received to %lld of %u, read to %lld, "
		       "its edge %lld\n", names[i], e->written, (long long)e->una, (long long)e->nxt, (long long)e->max,
		       (long long)e->edge, (long long)e->rcv_nxt, e->expect_total, (long long)e->read_to,
		       (long long)e->rcv_edge);
	}
	printf("  again, alone: make random SEED=%" PRIu64 " SCHEDULES=1\n", c->plan.seed);
}

/*
 * Whether the n-th frame is lost. The same bytes, or any frames in a row, are not lost over and
 * over.
 */
static bool lose(struct conn *c, enum flight flight, enum side side, const struct frame *f, uint32_t n)
{
	uint32_t *seq = &c->lost_seq[flight][side], *row = &c->lost_in_row[flight][side];
	uint32_t most = 2;

	if (f->flags & RST)
		return false;
	/* Without timestamps a leg knows no round trip at first: it waits 3 s, 6 s, 12 s. */
	if (flight == IN && f->len && !c->end[side].ts && c->lost_slow > 1)
		return false;
	if (chance(c->plan.seed, DRAW_LOSS + 2 * flight + side, n) >= c->plan.loss ||
	    (*row >= most && f->seq == *seq)) {
		if (f->seq != *seq)
			*row = 0;
		return false;
	}
	if (*row >= 4) {
		*row = 0;
		return false;
	}
	*seq = f->seq;
	++*row;
	c->lost_slow += flight == IN && f->len;
	total.lost++;
	return true;
}

static void put_on_wire(struct conn *c, enum side side, const uint8_t *bytes, size_t len)
{
	struct frame f;
	int tries;

	frame_parse(&f, (uint8_t *)bytes, len);
	oracle_sent(&c->end[side], &f);
	c->frames++;
	for (tries = 0; send(wires[side].fd, bytes, len, 0) < 0; tries++) {
		if (errno != ENOBUFS && errno != EAGAIN) {
			conn_fail(c, "sending %zu bytes: %s", len, strerror(errno));
			return;
		}
		if (tries > 1000)
			return; /* lost, as may happen */
	}
}

static void deliver(struct conn *c, enum side side, uint8_t *bytes, size_t len)
{
	struct frame f;

	frame_parse(&f, bytes, len);
	end_input(&c->end[side], &f, clock_now);
}

static void delay(struct conn *c, enum flight flight, enum side side, const uint8_t *bytes, size_t len, int64_t at)
{
	struct delayed *d = malloc(sizeof(*d) + len), **where = &c->delayed;

	d->at = at;
	d->flight = flight;
	d->side = side;
	d->len = len;
	memcpy(d->bytes, bytes, len);
	while (*where && (*where)->at <= at)
		where = &(*where)->next;
	d->next = *where;
	*where = d;
}

/* Takes a frame from an end to the box or back: it may be lost, doubled, late. */
static void fly(struct conn *c, enum flight flight, enum side side, const struct frame *f, uint8_t *bytes, size_t len)
{
	uint32_t n = c->count[flight][side]++, which = 2 * flight + side;
	uint64_t seed = c->plan.seed;
	int64_t at = clock_now + c->plan.end[side].latency;
	int copies = 1, i;

	if (lose(c, flight, side, f, n)) {
		note_frame(c, side, flight, f, flight == OUT ? " (lost on the way to the box)" : " (lost)");
		return;
	}
	if (chance(seed, DRAW_DUP + which, n) < c->plan.dup) {
		copies = 2;
		total.doubled++;
	}
	note_frame(c, side, flight, f, copies > 1 ? " (twice)" : "");
	for (i = 0; i < copies; i++) {
		if (i || chance(seed, DRAW_LATE + which, n) < c->plan.reorder) {
			at += draw(seed, DRAW_LATE + 4 + which, n) % LATEST;
			total.late++;
		}
		/* What is sent at once goes at once, unless something is waiting before it. */
		if (at > clock_now || c->delayed)
			delay(c, flight, side, bytes, len, at);
		else if (flight == OUT)
			put_on_wire(c, side, bytes, len);
		else
			deliver(c, side, bytes, len);
	}
}

void conn_send(struct end *e, struct frame *f, int64_t now)
{
	static uint8_t bytes[FRAME_MAX];
	struct conn *c = e->c;
	size_t len;

	clock_now = now;
	f->sport = e->side == CLIENT ? c->port : POLICY_PORT + c->plan.policy;
	f->dport = e->side == CLIENT ? POLICY_PORT + c->plan.policy : c->port;
	len = frame_build(&wires[e->side], f, bytes);
	fly(c, OUT, e->side, f, bytes, len);
}

static void due(struct conn *c)
{
	struct delayed *d;

	while ((d = c->delayed) && d->at <= clock_now) {
		c->delayed = d->next;
		if (d->flight == OUT)
			put_on_wire(c, d->side, d->bytes, d->len);
		else
			deliver(c, d->side, d->bytes, d->len);
		free(d);
	}
}

/* Does to a frame what no box should do; see the test that wants it caught. */
static bool spoil(struct conn *c, struct end *e, struct frame *f)
{
	struct end *peer = &c->end[!e->side];
	uint32_t unit = 1U << peer->my_wscale;

	if (e->state != END_OPEN || peer->state != END_OPEN || e->o.frames < 6 || (f->flags & (SYN | RST)))
		return false;
	switch (sabotage) {
	case SAB_BYTE:
		if (f->len)
			((uint8_t *)f->payload)[f->len / 2] ^= 0x20;
		break;
	case SAB_CHECKSUM:
		f->csum_ok = false;
		break;
	case SAB_ACK:
		f->ack = e->p->isn + e->o.wired_to + 1;
		break;
	case SAB_EDGE:
		f->wnd = f->wnd * unit > 2 * unit + 100 ? f->wnd - 2 - 100 / unit : f->wnd;
		break;
	case SAB_BEYOND:
		f->wnd += 2 + (e->p->total + 100) / unit;
		break;
	case SAB_TSVAL:
		f->tsval -= 100;
		break;
	case SAB_TSECR:
		f->tsecr = e->o.max_tsval + 1;
		break;
	case SAB_SACK:
		if (e->sack) {
			f->n_sack = 1;
			f->sack[0][0] = e->p->isn + e->o.wired_max;
			f->sack[0][1] = e->p->isn + e->o.wired_max + 1;
		}
		break;
	case SAB_FIN:
		f->flags |= FIN;
		break;
	case SAB_RST:
		f->flags |= RST;
		break;
	case SAB_MSS:
		f->gso = f->len ? e->p->mss + 1 : 0;
		break;
	case SAB_CUSTODY: /* the server gets nothing more, the client is told that it has */
		if (e->side == SERVER)
			return f->len > 0;
		f->ack = e->p->isn + (e->o.wired_to < 1 + e->p->total ? e->o.wired_to : 1 + e->p->total);
		break;
	case SAB_SILENCE:
		return true;
	case SAB_NONE:
		break;
	}
	return false;
}

/* What the box sent to an end. */
static void receive(enum side side)
{
	char control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	struct timespec ts;
	const char *wrong;
	struct frame f;
	struct conn *c;
	int budget;
	ssize_t n;

	for (budget = 256; budget; budget--) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		n = recvmsg(wires[side].fd, &m, MSG_DONTWAIT);
		if (n <= 0)
			return;
		clock_now = now_ns();
		if (!frame_parse(&f, buffer, n))
			continue;
		c = by_port[side == CLIENT ? f.dport : f.sport];
		if (!c || c->failure[0] || f.v6 != c->plan.v6 ||
		    (side == CLIENT ? f.sport : f.dport) != POLICY_PORT + c->plan.policy)
			continue;
		for (cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
			if (cmsg->cmsg_type != SCM_TIMESTAMPNS)
				continue;
			memcpy(&ts, CMSG_DATA(cmsg), sizeof(ts));
			f.stamp = ts.tv_sec * 1000 * MS + ts.tv_nsec;
		}
		total.frames++;
		if (sabotage && spoil(c, &c->end[side], &f))
			continue;
		wrong = oracle_got(&c->end[side], &f);
		if (wrong) {
			note_frame(c, side, IN, &f, "");
			conn_fail(c, "to the %s: %s", side ? "server" : "client", wrong);
			continue;
		}
		total.sacks += f.n_sack > 0;
		fly(c, IN, side, &f, buffer, n);
	}
}

static void map_address(uint32_t out[4], bool v6, enum side side)
{
	uint8_t b[16] = {};

	if (v6) {
		b[0] = 0xfd;
		b[1] = 0x99;
		b[3] = side + 1;
		b[15] = 0x77;
	} else {
		b[10] = b[11] = 0xff;
		b[12] = 10;
		b[13] = 99;
		b[14] = side + 1;
		b[15] = 77;
	}
	memcpy(out, b, 16);
}

static struct conn *conn_begin(uint64_t seed, uint16_t port)
{
	struct conn *c = calloc(1, sizeof(*c));
	int i;

	plan_make(&c->plan, seed, wires[0].gso);
	c->port = port;
	c->key.client_port = __builtin_bswap16(port);
	c->key.server_port = __builtin_bswap16(POLICY_PORT + c->plan.policy);
	map_address(c->key.client, c->plan.v6, CLIENT);
	map_address(c->key.server, c->plan.v6, SERVER);
	c->began = c->moved = clock_now;
	for (i = 0; i < 2; i++) {
		edit_plan(&c->edit[i], c->plan.policy, i, c->plan.v6, port, c->plan.end[i].total);
		end_init(&c->end[i], c, i);
	}
	by_port[port] = c;
	for (i = 1; i >= 0; i--)
		end_open(&c->end[i], clock_now);
	return c;
}

static void conn_end(struct conn *c)
{
	struct delayed *d;
	int i;

	by_port[c->port] = NULL;
	while ((d = c->delayed)) {
		c->delayed = d->next;
		free(d);
	}
	for (i = 0; i < 2; i++) {
		total.retransmits += c->end[i].retransmits;
		end_free(&c->end[i]);
	}
	total.splits += c->splits;
	total.merges += c->merges;
	total.refused += c->refused;
	free(c->log);
	free(c);
}

void conn_answered(struct conn *c, bool ok, const char *why)
{
	bool known = false;
	unsigned int i;

	for (i = 0; i < at_once; i++)
		known |= conns[i] == c;
	if (!known)
		return;
	c->asked = false;
	conn_note(c, CLIENT, "box: %s %s%s", c->asked_split ? "split" : "merge", ok ? "begun" : "refused", why);
	if (ok) {
		c->asked_split ? c->splits++ : c->merges++;
		c->refusals = 0;
		c->next_op++;
		return;
	}
	c->refused++;
	c->op_after = clock_now + OP_RETRY;
	if (++c->refusals > OP_REFUSALS) {
		c->refusals = 0;
		c->next_op++;
	}
}

/* Whether what was to be edited has been: a merge asked for earlier lets it go unedited. */
static bool edited(const struct conn *c)
{
	int i;

	for (i = 0; i < 2; i++)
		if (c->edit[i].insert && c->end[!i].rcv_nxt < c->edit[i].at + c->edit[i].insert)
			return false;
	return true;
}

/* Asks for the next transition, if its time has come: whatever the flow's state allows. */
static void operate(struct conn *c)
{
	struct flow f;

	if (c->asked || c->done_at || c->next_op >= c->plan.n_ops || c->frames < c->plan.op_at[c->next_op] ||
	    clock_now < c->op_after)
		return;
	c->op_after = clock_now + OP_RETRY;
	if (!edited(c) || !box_flow(&c->key, &f))
		return;
	switch (f.state) {
	case FLOW_MONITORED:
	case FLOW_MERGED:
		c->asked_split = true;
		break;
	case FLOW_SPLITTING:
	case FLOW_SPLIT:
		c->asked_split = false;
		break;
	case FLOW_CLOSING:
	case FLOW_PASSED:
		c->next_op = c->plan.n_ops;
		return;
	default:
		return;
	}
	total.in_flight += f.end[0].nxt != f.end[1].ack || f.end[1].nxt != f.end[0].ack;
	c->asked = true;
	conn_note(c, CLIENT, "box: %s asked for, it is %s", c->asked_split ? "split" : "merge", box_state(f.state));
	box_ask(c, c->asked_split, f.id);
}

/* Whether both ends have come to the same end. */
static bool conn_over(const struct conn *c)
{
	const struct end *a = &c->end[0], *b = &c->end[1];
	bool reset = a->state == END_RESET || b->state == END_RESET;

	/* A RST after lost bytes does not count, and what asks for another may be lost as well. */
	if (reset && c->plan.loss > 0 && clock_now > c->moved + RST_PATIENCE)
		return true;
	if (!end_done(a) || !end_done(b))
		return false;
	return reset || (a->state == END_OPEN && b->state == END_OPEN);
}

/* One turn of a connection; false once it is finished. */
static bool conn_run(struct conn *c)
{
	struct flow f;
	int i;

	due(c);
	for (i = 0; i < 2; i++)
		end_run(&c->end[i], clock_now);
	operate(c);
	if (c->failure[0])
		return false;
	if (c->done_at)
		return clock_now < c->done_at + c->plan.linger;
	if (conn_over(c)) {
		c->done_at = clock_now;
	} else if (clock_now > c->moved + patience) {
		conn_fail(c, "nothing moves: %u of %u bytes have arrived at the client, %u of %u at the server",
			  (uint32_t)c->end[0].rcv_nxt - 1, c->end[0].expect_total, (uint32_t)c->end[1].rcv_nxt - 1,
			  c->end[1].expect_total);
		return false;
	}
	if (c->done_at && box_flow(&c->key, &f)) {
		/* A RST amid a merge may end it so: what was judged is not delivered in full any more. */
		if (f.state == FLOW_BLOCKED && f.reason != SEAM_R_RST)
			conn_fail(c, "it was blocked");
		total.passed += f.state == FLOW_PASSED;
		total.resets += c->end[0].state == END_RESET || c->end[1].state == END_RESET;
	}
	return true;
}

static int64_t conn_next(const struct conn *c)
{
	int64_t quiet = c->moved + (clock_now <= c->moved + RST_PATIENCE ? RST_PATIENCE + 1 : patience);
	int64_t next = c->done_at ? c->done_at + c->plan.linger : quiet, at;
	int i;

	if (c->delayed && c->delayed->at < next)
		next = c->delayed->at;
	for (i = 0; i < 2; i++) {
		at = end_next(&c->end[i]);
		if (at && at < next)
			next = at;
	}
	if (c->next_op < c->plan.n_ops && c->frames >= c->plan.op_at[c->next_op] && !c->asked && !c->done_at &&
	    c->op_after < next)
		next = c->op_after;
	return next;
}

static void finished(struct conn *c)
{
	if (c->failure[0])
		total.failed++;
	if (verbose || (c->failure[0] && total.failed <= SHOWN_MAX))
		print_conn(c, verbose ? ~0U : LOG_SHOWN);
	else if (c->failure[0])
		printf("FAILED: %s\n  again, alone: make random SEED=%" PRIu64 " SCHEDULES=1\n", c->failure, c->plan.seed);
}

static void run(uint64_t seed, uint64_t schedules)
{
	struct pollfd fds[3] = { { wires[0].fd, POLLIN, 0 }, { wires[1].fd, POLLIN, 0 }, { box_fd(), POLLIN, 0 } };
	uint64_t next = 0, running = 0;
	unsigned int i;
	int64_t wake;

	while (next < schedules || running) {
		clock_now = now_ns();
		wake = clock_now + 1000 * MS;
		for (i = 0; i < at_once; i++) {
			if (conns[i] && !conn_run(conns[i])) {
				total.schedules++;
				finished(conns[i]);
				conn_end(conns[i]);
				conns[i] = NULL;
				running--;
			}
			if (!conns[i] && next < schedules) {
				conns[i] = conn_begin(seed + next, first_port + next % 60000);
				next++;
				running++;
			}
			if (conns[i] && conn_next(conns[i]) < wake)
				wake = conn_next(conns[i]);
		}
		clock_now = now_ns();
		wake = wake > clock_now ? wake - clock_now : 0;
		ppoll(fds, 3, &(struct timespec){ wake / (1000 * MS), wake % (1000 * MS) }, NULL);
		clock_now = now_ns();
		if (fds[2].revents)
			box_read();
		for (i = 0; i < 2; i++)
			if (fds[i].revents)
				receive(i);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: peers --client NETNS,MAC --server NETNS,MAC [--seed N] [--schedules N] [--at-once N]\n"
			"             [--port N] [--patience SECONDS] [--disorder MS] [--gso] [--sabotage WHAT] [--verbose]\n");
	return 2;
}

static int open_link(enum side side, char *where)
{
	char *mac = strchr(where, ',');

	if (!mac)
		return -EINVAL;
	*mac = 0;
	return wire_open(&wires[side], side, where, mac + 1);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "client", 1, 0, 'c' }, { "server", 1, 0, 's' }, { "seed", 1, 0, 'n' }, { "schedules", 1, 0, 'k' },
		{ "at-once", 1, 0, 'p' }, { "port", 1, 0, 'o' }, { "patience", 1, 0, 't' }, { "disorder", 1, 0, 'd' },
		{ "gso", 0, 0, 'g' }, { "sabotage", 1, 0, 'x' }, { "verbose", 0, 0, 'v' }, {},
	};
	char *link[2] = {};
	uint64_t seed = 1, schedules = 1;
	int o, err;
	size_t i;

	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case 'c':
		case 's':
			link[o == 's'] = optarg;
			break;
		case 'n':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			schedules = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			at_once = strtoul(optarg, NULL, 0);
			break;
		case 'o':
			first_port = strtoul(optarg, NULL, 0);
			break;
		case 't':
			patience = strtoul(optarg, NULL, 0) * 1000 * MS;
			break;
		case 'd':
			disorder = strtoul(optarg, NULL, 0) * MS;
			break;
		case 'g':
			wires[0].gso = wires[1].gso = true;
			break;
		case 'x':
			for (i = 0; i < sizeof(sabotages) / sizeof(*sabotages); i++)
				if (!strcmp(sabotages[i], optarg))
					sabotage = i;
			if (!sabotage)
				return usage();
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return usage();
		}
	}
	if (!link[0] || !link[1] || !at_once || at_once > CONNS_MAX)
		return usage();
	err = box_open();
	for (o = 0; !err && o < 2; o++)
		err = open_link(o, link[o]);
	if (err) {
		fprintf(stderr, "peers: opening the links and the box: %s\n", strerror(-err));
		return 2;
	}
	run(seed, schedules);
	printf("{\"schedules\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"frames\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"doubled\": %" PRIu64 ", \"late\": %" PRIu64 ", \"splits\": %" PRIu64 ", \"merges\": %" PRIu64
	       ", \"refused\": %" PRIu64 ", \"in_flight\": %" PRIu64 ", \"with_sack\": %" PRIu64
	       ", \"retransmits\": %" PRIu64 ", \"resets\": %" PRIu64 ", \"passed\": %" PRIu64 "}\n",
	       total.schedules, total.failed, total.frames, total.lost, total.doubled, total.late, total.splits,
	       total.merges, total.refused, total.in_flight, total.sacks, total.retransmits, total.resets, total.passed);
	return total.failed ? 1 : 0;
}
