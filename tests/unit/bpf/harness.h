/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Unit tests of the BPF programs through BPF_PROG_TEST_RUN. Fixtures are data: a
 * packet in, and what is expected of it: the return code, the packet out byte
 * for byte, the counters that moved (these and no others), and the flow's entry
 * afterwards. A step that fails prints its packets and writes them to
 * .output/tests/fail-*.pcap: in, expected, found.
 *
 * The process lives in network and mount namespaces of its own, with a bpffs of
 * its own: nothing is left behind. It needs root.
 */
#ifndef SEAM_TEST_HARNESS_H
#define SEAM_TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "seam/ctl.h"
#include "seam/event.h"
#include "seam/flow.h"
#include "seam/record.h"
#include "seam/rule.h"

#define PASS (-1) /* TC_ACT_UNSPEC: the normal way on */
#define OK 0
#define DROP 2
#define REDIRECT 7
#define XDP_PASS 2
#define XDP_REDIRECT 4

enum prog {
	CLIENT,	 /* seam_client: from the client's port */
	SERVER,
	HOLD,	 /* back from the hold device */
	LEG_OUT, /* from a leg */
	LEG_IN,
	XDP_CLIENT,
	XDP_SERVER,
	N_PROGS,
};

/* Link addresses of a packet. */
enum link {
	ARRIVING = 0, /* from the end that sent it to the box */
	LEAVING,      /* from the box to the end it is for */
	FROM_LEG,
};

/* A packet. Sequence numbers count from the ISNs of `conn`. */
struct spec {
	__u8 dir;	   /* enum seam_dir */
	__u8 link;	   /* enum link */
	const char *flags; /* of F S R P A U E C, N for AE, x for a reserved bit */
	__u32 seq, ack;
	__u16 wnd;
	__u16 len;	   /* payload: bytes that depend on the sequence number */
	const void *data;  /* or these; without `len` a string */
	const char *opts;  /* "mss=1460 sackok ts=1:2 nop ws=7 sack=1:2 raw=1e0301 eol"; ends padded with EOL */
	__u8 ttl;	   /* 0: 64 */
	__u8 tos;
	__u32 label;	   /* IPv6 flow label */
	__u8 ip_opts;	   /* IPv4: words of NOP; IPv6: destination options of 8 bytes */
	__u8 pad;	   /* bytes behind the IP packet */
	__u16 frag;	   /* IPv4: fragment field */
	__u8 doff;	   /* what the header says, where that is not true */
	__s16 tot;	   /* added to what the IP header says of its length */
	__u16 urg;
	__s32 moved;	   /* what an edit has added to its sequence number */
};

struct packet {
	__u8 data[4096];
	__u32 len;
};

struct conn {
	bool v6, link_local; /* with v6: addresses in fe80::/10 */
	__u16 cport, sport; /* 0: 40000, 80 */
	__u32 cisn, sisn;
};

struct step {
	const char *what;
	enum prog via;
	struct spec in;
	int rc;
	bool wire;		/* out: as in, but routed */
	const struct spec *out;	/* out: this; neither: as in, unless dropped */
	const char *set;	/* change the flow before: "state=split c.nxt=1 +bypass s+fin" */
	const char *flow;	/* the flow afterwards, in the same words; "none": there is none */
	const char *embryo;	/* the same of the embryo */
	const char *counts;	/* "new rst=2"; NULL: not looked at; "": nothing moved */
};

extern struct conn conn;
extern const char *const state_names[];
/* Runs packets with CHECKSUM_COMPLETE and has the kernel check that it stays true:
 * environment SEAM_TEST_CSUM, Linux 6.17. A lie makes the run fail with -EBADMSG. */
extern bool csum_complete;

/* How the programs are loaded: sizes of maps, 0 as they are; as bump in the wire; passed flows bypass the stack. */
struct sizes {
	__u32 flows, embryos;
	bool wire, bypass;
};

/* Namespaces, devices, routes. Exits with a skip if not root. */
void harness_start(const char *name);
/* Loads the programs, with other sizes of maps where given; again if called again. */
void harness_load(const struct sizes *sizes);
/* The ports of CLIENT and SERVER: one wire, or else of two, each. */
void wires(bool one);
/* The same of the loopback device, by which a test run of XDP has its packets come in. */
void wire_to(enum prog other);
/* On a router: the MAC address of that device, if it is known (NULL: it is not). */
void port_mac(const __u8 *mac);
/* Where they are pinned. */
const char *harness_pins(void);
/* The plan; what main() returns. */
int harness_end(void);

/* ok() and diag() of tap.h, which counts per file. */
bool check(bool pass, const char *name, ...) __attribute__((format(printf, 2, 3)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A clean slate: no flows, counters at 0, a daemon that lives, everything is inspected. */
void fresh(const struct conn *c);
struct control *control(void);
void daemon_beat(void);
void daemon_gone(void);
void policy(const struct seam_rule *lines, int n);
/* What the lines of this generation look up, before they are put in force. */
struct policy_name;
void policy_listed(const struct policy_name *names, int n, __u32 generation);
/* A table of one line for everything. */
void policy_all(enum rule_action action, __u8 flags);

void build(const struct spec *s, struct packet *p);
struct flow_key flow_key(void);
int flow_get(struct flow *f);
int embryo_get(struct embryo *e);
/* What was seen of SYNs without a flow was so many seconds earlier. */
void embryos_age(unsigned int s);
int record_get(__u64 id, struct seam_record *rec);
void flow_set(const char *set);
/* XDP has left packets of both ends to TC, a moment ago and for a second to come: on a slow machine, too. */
void flow_left_to_tc(void);
void flow_put(const struct flow *f); /* the entry, whole */
bool flow_is(const char *expected);
bool embryo_is(const char *expected);
__u64 counter(enum seam_reason reason);
__s64 state_counter(enum flow_state state);
/* Whether exactly these counters moved since the last counters_mark(). */
void counters_mark(void);
bool counters_are(const char *expected);

/* Runs a packet; negative errno beyond -1000. XDP sees it come in on lo. */
int run_packet(enum prog prog, const struct packet *in, struct packet *out, __u32 gso);
/* An ICMP error of this type about a segment, from the side that it was sent to. */
void build_icmp(const struct spec *about, __u8 type, __u8 code, struct packet *p);
int prog_fd(enum prog prog);
int ctl_fd(void);
int names_fd(void);
bool packet_is(const char *what, const struct packet *in, const struct packet *expected,
	       const struct packet *found);
void packet_save(const char *what, const struct packet *const *packets, int n);

bool step(const struct step *s);
void steps(const struct step *s, int n);
#define STEPS(...) \
	steps((const struct step[]){ __VA_ARGS__ }, \
	      sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

/* SYN, SYN-ACK, ACK with these options ("" for none), unchecked. */
void establish(const char *syn, const char *synack, const char *ack);
/* For flow_set(): a test run of XDP has its packets come in on the loopback device. */
#define XDP_PORT "c.ifindex=1 s.ifindex=1"
#define LINUX_SYN "mss=1460 sackok ts=100:0 nop ws=7"
#define LINUX_SYNACK "mss=1460 sackok ts=900:100 nop ws=7"
#define LINUX_TS "nop nop ts=101:900"

/* Asks seam_ctl. The answer's flow is in the result. */
struct seam_ctl ctl(enum seam_ctl_op op, __u8 reason, __u64 arg);
bool ctl_is(const char *what, enum seam_ctl_op op, __u8 reason, __u64 arg, int result,
	    const char *flow);

#endif
