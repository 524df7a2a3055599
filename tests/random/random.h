/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Randomised connections between two scripted ends, through the real Seam. main.c says how it
 * runs; this is what the parts share.
 *
 * Positions in a stream are counted from the sender's initial sequence number: the SYN is 0,
 * the first byte 1, the FIN one more than the number of bytes. What an end sends is in its own
 * numbers; where the box edits, the other end gets it in others (edit.c).
 */
#ifndef SEAM_RANDOM_H
#define SEAM_RANDOM_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "seam/flow.h"

#define MS 1000000LL	/* times are in ns of CLOCK_MONOTONIC, except frame.stamp */

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum side { CLIENT, SERVER };

/* frame.c: a TCP segment as on the wire, in host order. */

struct frame {
	bool v6, csum_ok;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags, optlen;
	uint16_t wnd;
	bool ts, sack_ok;
	uint32_t tsval, tsecr;
	int n_sack;
	uint32_t sack[4][2];
	uint16_t mss;		/* option; 0: none */
	int wscale;		/* option; -1: none */
	uint16_t gso;		/* segment size of a packet of several segments; 0: it is one */
	uint32_t len;
	const uint8_t *payload;
	int64_t stamp;		/* when the kernel got it, CLOCK_REALTIME */
};

/* One end's link: an AF_PACKET socket in its namespace. */
struct wire {
	int fd;
	enum side side;
	uint8_t mac[6], box_mac[6];
	bool gso;		/* the link has segmentation and checksum offload */
};

#define FRAME_MAX (sizeof(struct virtio_net_hdr) + 14 + 40 + 60 + 65536)

int wire_open(struct wire *w, enum side side, const char *netns, const char *box_mac);
/* Parses what is in buf, `n` bytes from the virtio header on; false: not TCP between the ends. */
bool frame_parse(struct frame *f, uint8_t *buf, size_t n);
/* Writes the frame out from virtio header to payload; returns its length. */
size_t frame_build(const struct wire *w, const struct frame *f, uint8_t *buf);
void frame_checksum(uint8_t *buf, size_t n);
const char *frame_text(const struct frame *f, char *out, size_t size);

/* plan.c: everything that a seed decides. */

enum segments { SEG_FULL, SEG_MIXED, SEG_SMALL, SEG_TINY };
enum reader { READ_ALL, READ_SLOW, READ_STOPS };
enum talk { TALK_FREE, TALK_PAUSES, TALK_TURNS };

struct end_plan {
	uint32_t isn, total;	/* bytes it sends */
	uint16_t mss;
	int wscale;		/* -1: not offered */
	bool ts, sack, dsack, wnd_up;	/* wnd_up: rounds its window up to a unit, else down */
	uint32_t ts0;
	int64_t ts_tick;	/* ns */
	enum segments segments;
	bool gso, probe_byte;
	int cwnd, ack_every;
	int64_t rto, delack;
	uint32_t rcvbuf;
	enum reader reader;
	uint32_t read_chunk;
	int64_t read_pause;
	bool fin_waits;		/* until the other end's has come */
	int64_t latency;	/* of its link, each way */
	uint32_t reset_at;	/* sends a RST after sending this much; 0: never */
};

#define OPS_MAX 24

struct plan {
	uint64_t seed;
	bool v6;
	int policy;		/* POLICY_* */
	enum talk talk;
	uint32_t rounds;	/* TALK_TURNS */
	int64_t pause;
	double loss, dup, reorder;
	int64_t linger;
	int n_ops;
	uint32_t op_at[OPS_MAX];	/* number of frames both ends have sent by then */
	struct end_plan end[2];
};

/*
 * By server port: split for a byte, for 20 kB, until further notice; with a header for the
 * server; edited.
 */
#define POLICY_PORT 7000
enum { POLICY_BYTE, POLICY_SOME, POLICY_LONG, POLICY_PROXY, POLICY_REPLACE, POLICIES };
#define TOKEN_MAX 20

void plan_make(struct plan *p, uint64_t seed, bool offload);
void plan_print(const struct plan *p, FILE *out);
/* A number decided by the seed, separate for each thing `what` and index. */
uint64_t draw(uint64_t seed, uint32_t what, uint64_t index);
double chance(uint64_t seed, uint32_t what, uint64_t index);

enum draws { DRAW_PLAN = 1, DRAW_STREAM = 10, DRAW_SEGMENT = 20, DRAW_CHUNK = 30, DRAW_LOSS = 40,
	DRAW_DUP = 50, DRAW_LATE = 60 };

/* edit.c: what becomes of a stream on its way. */

struct edit {
	uint32_t at, remove, insert;	/* `remove` bytes from `at` on are replaced by `insert` */
	char bytes[112];
	uint32_t got_total;	/* length of what is received */
};

/* What the box does to what this end sends, and what it looks for in the stream. */
void edit_plan(struct edit *e, int policy, enum side side, bool v6, uint16_t port, uint32_t total);
void edit_plant(int policy, enum side side, uint8_t *stream);
/*
 * Converts positions of what is sent to those of what is received, and back. In doubt the later
 * one.
 */
int64_t edit_forth(const struct edit *e, int64_t pos);
int64_t edit_back(const struct edit *e, int64_t pos);
/* What has to be received of `sent`; allocated. */
uint8_t *edit_apply(const struct edit *e, const uint8_t *sent, uint32_t total);

/* oracle.c: what has to hold of everything that is sent to an end. */

/*
 * Two CPUs of the box may send what they decide at the same time in the other order, for so
 * long; ns.
 */
extern int64_t disorder;

#define TOLD_MAX 64
#define SEEN_SLOTS 16384

struct oracle_end {
	/* Sent by the end itself, as far as it went out on the wire. */
	uint8_t *wired;		/* each of its positions */
	int64_t wired_to, wired_max;	/* all up to here; some up to here */
	int64_t max_ack, max_edge;	/* in the numbers of what it receives */
	uint32_t max_tsval, first_tsval;
	bool any_tsval, syn, fin, rst;
	uint64_t *seen;		/* the frames it sent, to recognise them */
	uint32_t n_seen;
	/* Sent to the end. */
	int64_t told_ack, told_edge;
	uint32_t told_tsval;
	bool told_any, told_any_tsval;
	struct { int64_t stamp, ack, edge; uint32_t tsval; bool ts; } told[TOLD_MAX];
	int n_told;
	uint32_t frames, bytes_again;
};

struct end;
struct conn;

void oracle_init(struct end *e);
void oracle_free(struct end *e);
void oracle_sent(struct end *e, const struct frame *f);
/* NULL, or what is wrong with a frame that the box sent to `e`. */
const char *oracle_got(struct end *e, const struct frame *f);

/* end.c: a small TCP. */

enum end_state { END_CLOSED, END_SYN_SENT, END_SYN_RCVD, END_OPEN, END_RESET, END_GOT_RST };

struct end {
	struct conn *c;
	enum side side;
	const struct end_plan *p;
	enum end_state state;
	uint8_t *stream;	/* what it sends */
	uint8_t *expect;	/* what it has to receive */
	uint32_t expect_total;
	/* sending, in its own positions */
	uint8_t *sacked;
	int64_t una, nxt, max, edge, repaired, recover;
	uint32_t written, chunks, reads, segment_no;
	int dupacks, backoff;
	bool ts, sack;
	int peer_wscale, my_wscale;
	uint32_t smss;
	int64_t rto_at, persist_at, app_at;
	/* receiving, in the other end's positions */
	uint8_t *got;
	int64_t rcv_nxt, read_to, rcv_edge, last_ack, recent[3];
	bool got_fin;
	uint32_t ts_recent;
	int unacked;
	int64_t delack_at, read_at;
	int64_t dsack[2];
	uint32_t frames_sent, retransmits;
	struct oracle_end o;
};

void end_init(struct end *e, struct conn *c, enum side side);
void end_free(struct end *e);
void end_open(struct end *e, int64_t now);
void end_input(struct end *e, const struct frame *f, int64_t now);
/* Does whatever is due. */
void end_run(struct end *e, int64_t now);
int64_t end_next(const struct end *e);
bool end_done(const struct end *e);
bool end_fin_acked(const struct end *e);

/* box.c: Seam as seen from outside. */

int box_open(void);
int box_fd(void);
bool box_flow(const struct flow_key *key, struct flow *f);
/* Asks for a transition; the answer comes to conn_answered(). */
void box_ask(struct conn *c, bool split, uint64_t id);
void box_read(void);
const char *box_state(uint8_t state);

/* main.c: connections. */

struct event {
	int64_t at;
	uint8_t side;
	char text[132];
};

enum flight { IN, OUT };

struct delayed {
	struct delayed *next;
	int64_t at;
	enum flight flight;
	enum side side;
	uint32_t len;
	uint8_t bytes[];
};

struct conn {
	struct plan plan;
	struct end end[2];
	struct edit edit[2];	/* of what that end sends */
	uint16_t port;
	struct flow_key key;
	int64_t began, moved, done_at;
	struct delayed *delayed;
	uint32_t count[2][2];	/* frames, by flight and side */
	uint32_t frames;
	uint32_t lost_seq[2][2], lost_in_row[2][2], lost_slow;
	/* transitions */
	int next_op;
	bool asked, asked_split;
	int64_t op_after;
	uint32_t refusals;
	uint32_t splits, merges, refused, busy_splits;
	char failure[256];
	struct event *log;
	uint32_t n_log, max_log;
};

void conn_send(struct end *e, struct frame *f, int64_t now);
void conn_answered(struct conn *c, bool ok, const char *why);
void conn_note(struct conn *c, enum side side, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void conn_fail(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
