/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The right edges of windows while a flow is split and merged, for Spin: window_for(),
 * open_window(), news() of bpf/, to be read beside them; names are theirs.
 *
 * One direction, no loss: S sends N units, one segment each, R reads them when it
 * likes, and so does the relay of the leg A that faces S; the leg L that faces R has
 * no limit of its own. R's window is W units, A's buffer WA.
 *
 * Checked: no edge told to S moves left; S never sends what R, or A, has no room for;
 * and with nothing under way S does not wait at a closed window: nobody but its
 * persist timer would open it.
 *
 * Not covered: loss; acks on data of the other direction; scaling, and what is lost
 * by rounding to its unit; a receiver that takes back what it promised.
 */

#ifndef N
#define N 5
#endif
#ifndef TRANSITIONS
#define TRANSITIONS 3
#endif
#define W  2
#define WA 3
#define MSS 1

#define DIRECT	  0
#define SPLITTING 1
#define SPLIT	  2
#define MERGING	  3

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define CUM(b) ((b) & 1 -> ((b) & 2 -> ((b) & 4 -> ((b) & 8 -> ((b) & 16 -> ((b) & 32 -> 6 : 5) : 4) : 3) : 2) : 1) : 0)

/* S: what it has sent, the edge it was told; and on its way to the box, in order. */
byte s_nxt, s_edge = W, up;
/* R: what it has, what it has read; segments on their way to it, in any order. */
byte got, r_read, to_r;
bool r_owes;
/* Acks on their way: from R, and to S; one at a time. */
byte ra, re, da, de;
bool r_ack_out, s_ack_out;

/* struct flow: `s` is S's flow_end, `back` and `edge` R's. */
byte state, nxt, back, edge = W, told_ack, told_edge, bound, leg_ack, leg_edge;
bool legs, clamped, other;

/* The legs: A's queue is what it has received and the relay has not read. */
byte a_rcv, a_read, a_edge, l_nxt, l_edge;
bool a_owes;

byte ask = TRANSITIONS;
hidden byte u, limit, over;

#ifdef NOEDGE
#define LEG_FROM 1 /* only an ack past the boundary is the leg's as well */
#else
#define LEG_FROM 0
#endif
#define CROSSED (back >= bound)
#define ACK_FOR MAX(told_ack, (state == SPLITTING -> (CROSSED -> MAX(bound, leg_ack) : back) : \
			      (state == MERGING && CROSSED -> back : leg_ack)))
/* What open_window() goes by: S has been told less than R has room for, and it matters. */
#define UNTOLD (edge > told_edge && (edge >= told_edge + 2 * MSS || told_edge < nxt + MSS))
#define NEWS   (ACK_FOR != told_ack || UNTOLD)
#ifdef NOLAST
#define ALL_TOLD 1
#else
#define ALL_TOLD (!UNTOLD)
#endif

/* tell() and window_for(), and the packet that says it. */
inline tell()
{
	told_ack = ACK_FOR;
	clamped = 0;
	limit = edge;
	if
	:: state != MERGING ->
		if
		:: leg_edge > edge -> clamped = 1
		:: else -> limit = leg_edge
		fi
	:: else
	fi;
#ifdef LEGS_OWN
	if
	:: state != MERGING -> limit = leg_edge
	:: else
	fi;
#endif
#ifdef REAL_EDGE
	limit = edge;
#endif
	told_edge = MAX(told_edge, limit);
	da = told_ack; de = told_edge; s_ack_out = 1;
	printf("   box > S: ack %d edge %d\n", da, de)
}

inline a_rx()
{
	assert(u < a_edge); /* the leg has room for what S was promised */
	a_rcv = u + 1;
	a_owes = 1
}

inline to_leg()
{
	l_edge = MAX(l_edge, edge)
}

inline split_done()
{
	if
	:: state == SPLITTING && legs && CROSSED && other -> printf("split\n"); state = SPLIT
	:: else
	fi
}

inline merge_if_done()
{
	if
	:: state == MERGING && CROSSED && told_ack >= bound && ALL_TOLD && other ->
		printf("merged\n");
		state = DIRECT;
		legs = 0; clamped = 0; other = 0;
		a_rcv = 0; a_read = 0; a_edge = 0; a_owes = 0; l_nxt = 0; l_edge = 0;
		told_ack = 0; told_edge = 0; bound = 0; leg_ack = 0; leg_edge = 0
	:: else
	fi
}

/* A segment of S at the box. */
inline data()
{
	printf("S > box: [%d]\n", nxt);
	u = nxt;
	up--;
	nxt++;
	if
	:: state == DIRECT || state == MERGING -> to_r = to_r | (1 << u)
	:: else -> a_rx()
	fi
}

/* open_window() */
#ifdef NOOPEN
#define OPENS 0
#else
#define OPENS (clamped && edge > told_ack && UNTOLD)
#endif

/* A bare ack of R at the box. */
inline ack()
{
	printf("R > box: ack %d edge %d\n", ra, re);
	over = CROSSED;
	back = MAX(back, ra);
	edge = MAX(edge, re);
	if
	:: state == DIRECT -> da = ra; de = re; s_ack_out = 1
	:: state == SPLITTING ->
		if
		:: !over && ra >= bound + LEG_FROM ->
			if
			:: NEWS -> tell()
			:: else
			fi;
			to_leg()
		:: !over && ra < bound + LEG_FROM -> tell()
		:: else ->
#ifndef NOOPEN_SPLITTING
			if
			:: OPENS -> tell()
			:: else
			fi;
#endif
			to_leg()
		fi;
		split_done()
	:: state == SPLIT ->
		if
		:: OPENS -> tell()
		:: else
		fi;
		to_leg()
	:: state == MERGING ->
		if
		:: CROSSED -> tell()
		:: else -> to_leg()
		fi;
		merge_if_done()
	fi;
	r_ack_out = 0; ra = 0; re = 0
}

/* leg_out() */
inline leg_ack_out()
{
	a_owes = 0;
	a_edge = MAX(a_edge, a_read + WA);
	leg_ack = MAX(leg_ack, a_rcv);
	leg_edge = MAX(leg_edge, a_edge);
	printf("leg > box: ack %d edge %d\n", leg_ack, leg_edge);
	if
	:: state == SPLITTING && !CROSSED
	:: state == MERGING && CROSSED && !NEWS
	:: else -> tell(); merge_if_done()
	fi
}

inline freeze()
{
	printf("splitting from %d\n", nxt);
	state = SPLITTING;
	bound = nxt; leg_ack = nxt;
	told_ack = back;
	told_edge = edge; leg_edge = edge
}

/* As user/leg.c builds them. */
inline ready()
{
	printf("legs ready\n");
	legs = 1;
	a_rcv = bound; a_read = bound; l_nxt = bound;
	a_edge = leg_edge;
	l_edge = edge;
#ifndef NOASK
	a_owes = 1; /* it tells its own window at once */
#endif
	split_done()
}

active proctype flow()
{
	do
	:: s_nxt < N && s_nxt < s_edge && up < 2 -> d_step { s_nxt++; up++ }
	:: up && (state == DIRECT || legs) -> d_step { data() }
	:: to_r -> d_step {
			u = 0;
			do
			:: !(to_r & (1 << u)) -> u++
			:: else -> break
			od;
			to_r = to_r & ~(1 << u);
			assert(u < r_read + W); /* R has room for what S was promised */
			got = got | (1 << u);
			r_owes = 1;
			printf("R gets [%d]\n", u)
		}
	:: r_read < CUM(got) -> d_step { r_read++; r_owes = 1; printf("R reads to %d\n", r_read) }
	:: r_owes && !r_ack_out -> d_step { r_owes = 0; ra = CUM(got); re = r_read + W; r_ack_out = 1 }
	:: r_ack_out && !s_ack_out && (state != SPLITTING || legs || !CROSSED) -> d_step { ack() }
	:: s_ack_out -> d_step {
			assert(de >= s_edge); /* no promise withdrawn */
			s_edge = de;
			printf("S told edge %d\n", de);
			s_ack_out = 0; da = 0; de = 0
		}
	:: legs && a_owes && !s_ack_out -> d_step { leg_ack_out() }
	:: legs && a_read < a_rcv -> d_step { a_read++; a_owes = 1 }
	:: legs && l_nxt < a_read && l_nxt < l_edge -> d_step {
			to_r = to_r | (state == MERGING && CROSSED -> 0 : 1 << l_nxt);
			l_nxt++
		}
	:: ask && state == DIRECT -> d_step { ask--; freeze() }
	:: state == SPLITTING && !legs -> d_step { ready() }
	:: (state == SPLITTING || state == MERGING) && !other -> d_step { other = 1; split_done(); merge_if_done() }
	:: ask && state == SPLIT -> d_step { ask--; printf("merging from %d\n", nxt); bound = nxt; other = 0; state = MERGING; a_owes = 1; merge_if_done() }
	:: ask -> ask = 0
	:: timeout ->
		assert(s_nxt == N && CUM(got) == N && (state == DIRECT || state == SPLIT)); /* progress */
		break
	od
}
