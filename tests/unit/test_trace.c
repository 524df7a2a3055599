// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* `seam trace`: what is read from packets and from the history, and what becomes of much of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "svg.h"
#include "tap.h"
#include "trace.h"
#include "trace_plot.h"
#include "xml.h"

#define MSS 1448
#define ISN 0xfff00000u /* soon beyond 2^32 */

static struct trace new_trace(void)
{
	struct trace t = { .id = 7, .max_packets = TRACE_PACKETS_MAX, .state = FLOW_MERGED };

	t.key.client[2] = t.key.server[2] = htonl(0xffff);
	t.key.client[3] = htonl(0x0a000001);
	t.key.server[3] = htonl(0x0a000002);
	t.key.client_port = htons(40000);
	t.key.server_port = htons(80);
	t.isn[SEAM_CLIENT] = t.isn[SEAM_SERVER] = ISN;
	t.nxt[SEAM_CLIENT] = t.nxt[SEAM_SERVER] = ISN + 1;
	t.wscale[SEAM_CLIENT] = 7;
	t.stop_ns = 60000000000ULL;
	return t;
}

static char *svg_of(const struct trace *t)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (trace_svg(t, f))
		diag("trace_svg failed");
	fclose(f);
	return text;
}

/* A server's segment as it comes in, or as it leaves towards the client; or an ack of the client's. */
static void add(struct trace *t, uint64_t ns, int dir, int side, uint32_t seq, uint32_t len,
		uint32_t ack, uint32_t wnd)
{
	struct trace_packet p = {
		.ns = ns, .dir = dir, .side = side, .seq = ISN + 1 + seq, .len = len,
		.ack = ISN + 1 + ack, .wnd = wnd, .flags = TH_ACK,
	};

	trace_add(t, &p);
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* 100 MB in segments of a wire's size, one of them sent twice. */
static void big(void)
{
	struct trace t = new_trace();
	const char *again, *end;
	uint32_t seq;
	int i, side;
	char *text;

	for (i = 0, seq = 0; seq < 100000000; i++, seq += MSS)
		for (side = 0; side < 2; side++) {
			add(&t, i * 100000ULL + side, SEAM_DOWN, side, seq, MSS, 1, 65535);
			add(&t, i * 100000ULL + 50000 + side, SEAM_UP, side, 1, 0, seq + MSS, 1 << 20);
			if (i == 30000 && side == SEAM_SERVER)
				add(&t, i * 100000ULL + 7, SEAM_DOWN, side, seq - MSS, MSS, 1, 65535);
		}
	trace_sort(&t);
	text = svg_of(&t);
	ok(strlen(text) < 500000, "100 MB in %zu packets: %zu bytes of SVG", t.n_packets, strlen(text));
	ok(xml_ok(text), "100 MB: well-formed");
	again = strstr(text, "<path class=\"again\"");
	end = again ? strchr(again, '>') : NULL;
	ok(again && memchr(again, 'm', end - again) && count(text, "<path class=\"again\"") == 1 &&
	   strstr(text, "data-segments=\"69062\" data-again=\"1\""),
	   "100 MB: the one segment that was sent again is there");
	ok(strstr(text, "95M bytes in 69062 segments"), "100 MB: beyond 2^32 as well");
	free(text);
	trace_free(&t);
}

/* The server is told a window that closes and opens again between two others. */
static void stairs(void)
{
	struct svg_path p;
	struct stairs s;
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	stairs_init(&s, 1000, 10);
	for (int i = 0; i < 100000; i++)
		stairs_add(&s, i / 100, i == 50005 ? 900 : 100);
	svg_path(&p, f, "edge");
	stairs_draw(&s, &p, 1000);
	svg_path_end(&p);
	fclose(f);
	ok(!strcmp(text, "<path class=\"edge\" d=\"M0 0m0 10h50v80-80h50\"/>\n"),
	   "one value of 100000 is not lost");
	diag("%s", text);
	free(text);
	stairs_free(&s);
}

static void bars(void)
{
	struct bars b = {};

	bars_init(&b, 10);
	bars_add(&b, 5, 100, 200);
	bars_add(&b, 6, 200, 300);
	bars_add(&b, 7, 400, 500);
	bars_add(&b, 15, 100, 200);
	ok(b.n == 3 && b.at[0].top == 100 && b.at[0].bottom == 300, "what touches in one column is one bar");
	bars_again(&b, 100);
	bars_add(&b, 5, 100, 200);
	bars_add(&b, 6, 300, 400);
	ok(b.n == 1 && b.at[0].bottom == 400, "and what is near, when there are too many");
	bars_again(&b, 0);
	for (int i = 0; i <= PLOT_BARS_MAX; i++)
		bars_add(&b, i * 10, 0, 1);
	ok(b.n == PLOT_BARS_MAX && b.full, "no more than there is room for");
	bars_free(&b);
}

/* Numbers as an attacker would make them. */
static void hostile(void)
{
	struct trace t = new_trace();
	uint32_t x = 1;
	char *text;

	for (int i = 0; i < 200000; i++) {
		struct trace_packet p = { .ns = i, .n_sack = TRACE_SACK_MAX };
		uint32_t *words = &p.seq;

		for (int k = 0; k < 4; k++)
			words[k] = x = x * 1664525 + 1013904223;
		for (int k = 0; k < 8; k++)
			p.sack[k / 2][k % 2] = x = x * 1664525 + 1013904223;
		p.flags = x >> 24;
		p.dir = x >> 23 & 1;
		p.side = x >> 22 & 1;
		trace_add(&t, &p);
	}
	for (int i = 0; i < 5000; i++) {
		struct transition m = { .time_ns = i * 40, .from = i, .to = i + 1, .reason = i };

		trace_add_transition(&t, &m);
	}
	text = svg_of(&t);
	ok(xml_ok(text) && strlen(text) < 1000000, "nonsense: well-formed, %zu bytes", strlen(text));
	ok(strstr(text, "far outside"), "nonsense: says that it does not show all");
	free(text);
	trace_free(&t);
}

static void nothing(void)
{
	struct trace t = new_trace();
	char *text = svg_of(&t);

	ok(xml_ok(text) && strstr(text, "No packet was seen"), "no packets: well-formed, and says so");
	free(text);
}

static void escape(void)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	svg_escape(f, "a<b>&\"\x01\xc3\xa9\x7f");
	fclose(f);
	ok(!strcmp(text, "a&lt;b&gt;&amp;&quot;????"), "what XML cannot have is not written");
	free(text);
}

static void step(struct history *h, uint64_t ns)
{
	h->at[h->count++ % HISTORY_MAX] = (struct transition){ .time_ns = ns };
}

static void history(void)
{
	struct trace t = new_trace();
	struct history h = {};
	uint64_t ns;

	for (ns = 1; ns <= 20; ns++)
		step(&h, ns);
	t.start_ns = 20;
	t.history = h.count;
	trace_history(&t, &h, 100);
	ok(!t.n_transitions, "what was before the trace is not part of it");
	step(&h, 21);
	h.count++; /* counted, and not written yet: the slot has what was there before */
	trace_history(&t, &h, 100);
	ok(t.n_transitions == 1 && t.transitions[0].time_ns == 21, "a transition, and not the one being written");
	h.at[(h.count - 1) % HISTORY_MAX].time_ns = 22;
	trace_history(&t, &h, 22);
	ok(t.n_transitions == 1, "nor what has only just been written");
	trace_history(&t, &h, 23);
	ok(t.n_transitions == 2 && t.transitions[1].time_ns == 22, "but later");
	for (ns = 30; ns < 50; ns++)
		step(&h, ns);
	trace_history(&t, &h, 100);
	ok(t.n_transitions == 2 + HISTORY_MAX && t.missed == 4 && t.transitions[2].time_ns == 34,
	   "what was overwritten is counted");
	trace_free(&t);
}

static bool reads(const struct trace *t, const uint8_t *b, size_t have, size_t len, bool out,
		  struct trace_packet *p)
{
	return trace_read(t, b, have, len, htons(0x0800), out, p);
}

static void packets(void)
{
	/* The client's ack with a SACK block, of a packet that is longer than what is there. */
	uint8_t b[] = {
		0x45, 0, 2, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, TH_ACK, 1, 2, 0, 0, 0, 0,
		1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2,
	};
	struct trace t = new_trace();
	struct trace_packet p;

	ok(reads(&t, b, sizeof(b), 512, false, &p) && p.dir == SEAM_UP && p.side == SEAM_CLIENT &&
	   p.seq == 0x01020304 && p.ack == 0x05060708 && p.len == 512 - 52 && p.wnd == 0x102 << 7,
	   "a packet of the client, coming in");
	ok(p.n_sack == 1 && p.sack[0][0] == 1 && p.sack[0][1] == 2, "with its SACK block");
	ok(reads(&t, b, sizeof(b), 512, true, &p) && p.dir == SEAM_UP && p.side == SEAM_SERVER,
	   "going out it is on the server's side");
	b[33] |= TH_SYN;
	ok(reads(&t, b, sizeof(b), 512, false, &p) && p.wnd == 0x102, "the window of a SYN is not scaled");
	b[43] = 11;
	ok(reads(&t, b, sizeof(b), 512, false, &p) && !p.n_sack, "an option that is too long");
	b[43] = 0;
	ok(reads(&t, b, sizeof(b), 512, false, &p) && !p.n_sack, "one of length 0");
	ok(!reads(&t, b, 51, 512, false, &p), "without its last header byte");
	b[15] = 2;
	ok(!reads(&t, b, sizeof(b), 512, false, &p), "another's");
	b[15] = 2;
	b[19] = 1;
	memcpy(b + 20, "\x00\x50\x9c\x40", 4);
	ok(reads(&t, b, sizeof(b), 512, false, &p) && p.dir == SEAM_DOWN && p.side == SEAM_SERVER,
	   "a packet of the server, coming in");
	ok(reads(&t, b, sizeof(b), 512, true, &p) && p.side == SEAM_CLIENT,
	   "going out it is on the client's side");
}

int main(void)
{
	packets();
	history();
	stairs();
	bars();
	escape();
	nothing();
	big();
	hostile();
	return tap_end();
}
