// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a seed decides about a connection: its ends, its links, and when it is split and merged. */
#include <inttypes.h>

#include "random.h"

uint64_t draw(uint64_t seed, uint32_t what, uint64_t index)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + what * 0xd1b54a32d192ed03ULL + index * 0x2545f4914f6cdd1dULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	return x ^ x >> 29;
}

double chance(uint64_t seed, uint32_t what, uint64_t index)
{
	return (draw(seed, what, index) >> 11) / (double)(1ULL << 53);
}

static uint64_t drawn;

/* The next number below n. */
static uint32_t pick(const struct plan *p, uint32_t n)
{
	return draw(p->seed, DRAW_PLAN, drawn++) % n;
}

#define ONE_OF(p, ...)                                                         \
	({                                                                     \
		const double of[] = { __VA_ARGS__ };                           \
		of[pick(p, sizeof(of) / sizeof(*of))];                         \
	})

/* Up to `most`, spread over orders of magnitude. */
static uint32_t spread(const struct plan *p, uint32_t most)
{
	uint32_t n = most;

	while (n > 4 && pick(p, 3))
		n /= 2;
	return pick(p, n + 1);
}

static void plan_end(struct plan *p, struct end_plan *e, bool offload)
{
	static const uint32_t most[] = { [SEG_FULL] = 200000, [SEG_MIXED] = 120000,
					 [SEG_SMALL] = 40000, [SEG_TINY] = 2000 };
	uint32_t near = pick(p, 8);

	e->segments = pick(p, 4);
	e->total = pick(p, 12) ? spread(p, most[e->segments]) : 0;
	if (p->policy >= POLICY_PROXY)
		e->total += TOKEN_MAX; /* there has to be something to edit */
	/* Mostly such that the numbers wrap somewhere in the stream. */
	e->isn = near == 0 ? draw(p->seed, DRAW_PLAN, drawn++) :
		 near == 1 ? 0x80000000U - pick(p, e->total + 3) : 0U - pick(p, e->total + 3);
	e->mss = ONE_OF(p, 1460, 1400, 1000, 536, 300);
	if (p->v6 && e->mss > 1440)
		e->mss = 1440;
	e->wscale = pick(p, 5) ? (int)pick(p, 9) : -1;
	e->ts = pick(p, 3);
	e->sack = pick(p, 4);
	e->dsack = pick(p, 2);
	e->wnd_up = pick(p, 2);
	e->ts0 = pick(p, 2) ? 0U - pick(p, 2000) : draw(p->seed, DRAW_PLAN, drawn++);
	e->ts_tick = MS;
	e->gso = offload && pick(p, 2);
	e->probe_byte = pick(p, 2);
	e->cwnd = ONE_OF(p, 2, 4, 10, 10, 30, 60);
	e->ack_every = ONE_OF(p, 1, 2, 2, 3, 8);
	e->rto = (25 + pick(p, 40)) * MS;
	e->delack = ONE_OF(p, 1, 5, 20, 40) * MS;
	e->rcvbuf = ONE_OF(p, 600, 3000, 8000, 20000, 65000, 65000, 250000);
	if (e->wscale < 0 && e->rcvbuf > 65535)
		e->rcvbuf = 65535;
	/* One unit of the scale is a small part of the window, as in any stack. */
	while (e->wscale > 0 && (1U << e->wscale) > e->rcvbuf / 16)
		e->wscale--;
	e->reader = ONE_OF(p, READ_ALL, READ_ALL, READ_SLOW, READ_STOPS);
	e->read_chunk = 1 + pick(p, e->rcvbuf);
	if (e->reader == READ_SLOW)
		e->read_chunk += e->rcvbuf / 4;
	e->read_pause = e->reader == READ_SLOW ? (1 + pick(p, 3)) * MS : (10 + pick(p, 70)) * MS;
	e->latency = pick(p, 2) ? 0 : (int64_t)pick(p, 6000) * 1000;
	e->rto += 4 * e->latency;
}

void plan_make(struct plan *p, uint64_t seed, bool offload)
{
	uint32_t at = 0, most;
	int i;

	*p = (struct plan){ .seed = seed };
	drawn = 0;
	p->v6 = pick(p, 3) == 0;
	p->policy = pick(p, POLICIES);
	plan_end(p, &p->end[CLIENT], offload);
	plan_end(p, &p->end[SERVER], offload);
	p->talk = pick(p, 3);
	/*
	 * What may be the beginning of a token is held for more, which nobody sends before an
	 * answer.
	 */
	if (p->policy == POLICY_REPLACE && p->talk == TALK_TURNS)
		p->talk = TALK_PAUSES;
	p->rounds = 1 + pick(p, 12);
	p->pause = (1 + pick(p, 20)) * MS;
	if (pick(p, 5) > 1) {
		p->loss = ONE_OF(p, 0.0, 0.01, 0.05, 0.15);
		p->dup = ONE_OF(p, 0.0, 0.0, 0.02, 0.1);
		p->reorder = ONE_OF(p, 0.0, 0.0, 0.02, 0.1);
	}
	p->end[pick(p, 2)].fin_waits = pick(p, 2);
	/* Half a token would go unedited before a RST. */
	if (pick(p, 12) == 0 && p->policy != POLICY_REPLACE) {
		i = pick(p, 2);
		p->end[i].reset_at = 1 + pick(p, p->end[i].total + 1);
		if (p->end[i].reset_at > p->end[i].total)
			p->end[i].reset_at = 0;
	}
	p->linger = pick(p, 8) ? 20 * MS : 300 * MS;
	p->n_ops = pick(p, 10) ? (int)spread(p, OPS_MAX) : 0;
	most = ONE_OF(p, 4, 20, 60);
	for (i = 0; i < p->n_ops; i++)
		p->op_at[i] = at += 1 + pick(p, most);
}

void plan_print(const struct plan *p, FILE *out)
{
	static const char *const policies[] = { "split for a byte", "split for 20 kB", "split",
						"split for a PROXY header", "split and edited" };
	static const char *const segments[] = { "full", "mixed", "small", "tiny" };
	static const char *const readers[] = { "at once", "slowly", "with stops" };
	static const char *const talks[] = { "freely", "with pauses", "in turns" };
	const struct end_plan *e;
	int i;

	fprintf(out, "seed %" PRIu64 ": IPv%d, at first %s, they talk %s; loss %g, dup %g, reorder %g\n", p->seed,
		p->v6 ? 6 : 4, policies[p->policy], talks[p->talk], p->loss, p->dup, p->reorder);
	for (i = 0; i < 2; i++) {
		e = &p->end[i];
		fprintf(out, "  %s: %u bytes from %u, %s segments%s, mss %u, wscale %d%s%s, ts tick %g ms, cwnd %d, "
			"rto %g ms, acks each %d or %g ms\n", i ? "server" : "client", e->total, e->isn,
			segments[e->segments], e->gso ? " in GSO packets" : "", e->mss, e->wscale, e->ts ? ", ts" : "",
			e->sack ? ", sack" : "", e->ts_tick / 1e6, e->cwnd, e->rto / 1e6, e->ack_every, e->delack / 1e6);
		fprintf(out, "    rcvbuf %u, reads %s, %u bytes, %g ms; latency %g ms", e->rcvbuf, readers[e->reader],
			e->read_chunk, e->read_pause / 1e6, e->latency / 1e6);
		if (e->reset_at)
			fprintf(out, "; resets at %u", e->reset_at);
		fprintf(out, "%s\n", e->fin_waits ? "; ends last" : "");
	}
	fprintf(out, "  transitions at frames");
	for (i = 0; i < p->n_ops; i++)
		fprintf(out, " %u", p->op_at[i]);
	fprintf(out, "\n");
}
