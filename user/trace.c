// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "trace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>


#include "frame.h"

#define WSCALE_MAX 14 /* RFC 7323 2.3 */

static uint8_t scale(uint8_t announced)
{
	return announced < WSCALE_MAX ? announced : WSCALE_MAX;
}

void trace_from_flow(struct trace *t, const struct flow *f)
{
	t->state = f->state;
	t->edited = f->flags & FLOW_F_EDITED;
	for (int i = 0; i < 2; i++) {
		t->wscale[i] = f->flags & FLOW_F_WSCALE ? scale(f->end[i].wscale) : 0;
		t->isn[i] = f->end[i].isn;
		t->nxt[i] = f->end[i].nxt;
	}
}

void trace_from_embryo(struct trace *t, const struct embryo *e)
{
	bool both = e->end[SEAM_CLIENT].opts & e->end[SEAM_SERVER].opts & EMBRYO_O_WSCALE;

	t->state = FLOW_HANDSHAKE;
	for (int i = 0; i < 2; i++) {
		t->wscale[i] = both ? scale(e->end[i].wscale) : 0;
		t->isn[i] = e->end[i].isn;
		t->nxt[i] = e->end[i].nxt;
	}
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

/* SACK blocks, out of the options between `o` and `end`. */
static void read_sack(const uint8_t *o, const uint8_t *end, struct trace_packet *p)
{
	while (o < end && *o != TCPOPT_EOL) {
		if (*o == TCPOPT_NOP) {
			o++;
			continue;
		}
		if (end - o < 2 || o[1] < 2 || o[1] > end - o)
			return;
		if (*o == TCPOPT_SACK)
			for (int i = 2; i + 8 <= o[1] && p->n_sack < TRACE_SACK_MAX; i += 8) {
				p->sack[p->n_sack][0] = get32(o + i);
				p->sack[p->n_sack++][1] = get32(o + i + 4);
			}
		o += o[1];
	}
}

bool trace_read(const struct trace *t, const uint8_t *ip, size_t have, size_t len, uint16_t proto,
		bool out, struct trace_packet *p)
{
	struct flow_key reversed;
	struct frame f;

	memset(p, 0, sizeof(*p));
	if (frame_parse_ip(ip, have, len, proto, &f))
		return false;
	if (memcmp(&f.key, &t->key, sizeof(f.key))) {
		frame_reverse(&f.key, &reversed);
		if (memcmp(&reversed, &t->key, sizeof(reversed)))
			return false;
		p->dir = SEAM_DOWN;
	}
	/* The sender in direction d is end d. */
	p->side = out ? !p->dir : p->dir;
	p->seq = f.seq;
	p->ack = f.ack;
	p->len = f.len;
	p->flags = f.flags;
	p->wnd = f.tcp[14] << 8 | f.tcp[15];
	if (!(f.flags & TH_SYN))
		p->wnd <<= t->wscale[p->dir];
	if (f.flags & TH_ACK)
		read_sack(f.tcp + sizeof(struct tcphdr), f.payload, p);
	return true;
}

int trace_add(struct trace *t, const struct trace_packet *p)
{
	struct trace_packet *more;

	if (t->n_packets >= t->max_packets)
		return -ENOSPC;
	if (t->n_packets == t->room) {
		t->room = t->room ? t->room * 2 : 4096;
		more = realloc(t->packets, t->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		t->packets = more;
	}
	t->packets[t->n_packets++] = *p;
	return 0;
}

int trace_add_transition(struct trace *t, const struct transition *transition)
{
	struct transition *more;
	size_t n = t->n_transitions;

	if (n == TRACE_TRANSITIONS_MAX) {
		t->missed++;
		return 0;
	}
	/* Room for a power of two of them. */
	if (!(n & (n - 1))) {
		more = realloc(t->transitions, (n ? n * 2 : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		t->transitions = more;
	}
	t->transitions[t->n_transitions++] = *transition;
	return 0;
}

int trace_history(struct trace *t, const struct history *h, uint64_t before)
{
	const struct transition *next;
	uint64_t last;
	int err;

	if (h->count - t->history > HISTORY_MAX) {
		t->missed += h->count - t->history - HISTORY_MAX;
		t->history = h->count - HISTORY_MAX;
	}
	for (; t->history != h->count; t->history++) {
		next = &h->at[t->history % HISTORY_MAX];
		last = t->n_transitions ? t->transitions[t->n_transitions - 1].time_ns : t->start_ns;
		/* What is not newer than the last was not written yet, or is being written. */
		if (next->time_ns < last || next->time_ns >= before)
			break;
		err = trace_add_transition(t, next);
		if (err)
			return err;
	}
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct trace_packet *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return 0;
}

void trace_sort(struct trace *t)
{
	size_t i, n = 0;

	for (i = 0; i < t->n_packets; i++)
		if (t->packets[i].ns >= t->start_ns && t->packets[i].ns <= t->stop_ns)
			t->packets[n++] = t->packets[i];
	t->n_packets = n;
	if (n)
		qsort(t->packets, n, sizeof(*t->packets), by_time);
}

void trace_free(struct trace *t)
{
	free(t->packets);
	free(t->transitions);
	t->packets = NULL;
	t->transitions = NULL;
}

void trace_count(const struct trace *t, struct trace_count *c)
{
	uint32_t top[2][2] = {};
	bool any[2][2] = {};
	size_t i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < t->n_packets; i++) {
		const struct trace_packet *p = &t->packets[i];
		int s = p->side, d = p->dir;

		c->packets[s]++;
		if (!p->len)
			continue;
		c->segments[s][d]++;
		c->bytes[s][d] += p->len;
		if (any[s][d] && (int32_t)(p->seq - top[s][d]) < 0)
			c->again[s][d]++;
		if (!any[s][d] || (int32_t)(p->seq + p->len - top[s][d]) > 0)
			top[s][d] = p->seq + p->len;
		any[s][d] = true;
	}
}
