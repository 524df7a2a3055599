/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From one control loop to two, and back: the rules of docs/architecture.md as
 * bpf/split.h, packet.h, leg.bpf.c and transition.h follow them, for Spin. To be
 * read beside those; names are theirs. tests/model/run.py has the runs.
 *
 * Two ends, 0 and 1, send N0 and N1 units to each other in segments of one or two;
 * each leg faces the end of its number. Every packet carries data [s, e) and an
 * ack. Links hold CAP packets and deliver them in any order. At any moment the
 * daemon may freeze the flow, be ready with the legs, ask for a merge, move bytes
 * from leg to leg, or give back what the hold queue has: its delay is as long as
 * it can be. FAULTS bounds how often, in one run, a packet is lost, is delivered
 * twice, or a timer fires that need not have. When nothing else can move, the
 * timers of all who wait for an ack fire together; with FAULTS=0 that is an error
 * by itself: without loss, no transition may need one.
 *
 * Checked, by assertions:
 *   EXACT	no end gets a unit that was not sent, or in another place; in the end it
 *		has all of them (a unit that is lost is one for which the timers fire
 *		in vain). With EDIT: no end gets both an original and an edited unit of
 *		one place.
 *   CUSTODY	an end is told only of bytes that the other end has, or a leg that will
 *		deliver them; when the legs go, only of bytes that the other end has.
 *   FUTURE	no end or leg is given an ack of what it has not sent.
 *   PROGRESS	timers that fire TRIES times bring something about; with FAULTS=0, none
 *		has to. In the end no transition is pending.
 *
 * What is left out or done wrong, by -D, and has to fail, stands at its place.
 *
 * Not covered: more than a few units, faults and packets in flight; wrap; SACK;
 * timestamps; FIN, RST and urgent data; congestion control; keepalive; windows
 * (see window.pml) and zero-window probes; loss between BPF and a leg except with
 * BOXLOSS; packets that other CPUs reorder between the flow's lock and the leg;
 * a hold queue that overflows or is given up; the death of the daemon, of a leg,
 * of an end; XDP. A leg's timer never gives up.
 */

#ifndef N0
#define N0 2
#endif
#ifndef N1
#define N1 1
#endif
#ifndef TRANSITIONS
#define TRANSITIONS 2
#endif
#ifndef FAULTS
#define FAULTS 0
#endif
#ifndef CAP
#define CAP 2
#endif
#ifndef LEG_CWND
#define LEG_CWND 4 /* units that a leg may have in flight */
#endif
#define TRIES 3

#define DIRECT	  0 /* monitored, merged */
#define SPLITTING 1
#define SPLIT	  2
#define MERGING	  3

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define N(i)	  ((i) == 0 -> N0 : N1)

/* A set of units; how many there are from 0 on. */
#define BELOW(n)    ((1 << (n)) - 1)
#define RANGE(s, e) (BELOW(e) & ~BELOW(s))
#define CUM(b)	    ((b) & 1 -> ((b) & 2 -> ((b) & 4 -> ((b) & 8 -> 4 : 3) : 2) : 1) : 0)

/* A packet, as it lies on a link or in the hold queue; 0: none there. */
#define PACK(s, e, a, gso) (1 + (s) * 2 + (e) * 16 + (a) * 128 + (gso) * 1024)
#define S(pk)		   ((pk) >> 1 & 7)
#define E(pk)		   ((pk) >> 4 & 7)
#define A(pk)		   ((pk) >> 7 & 7)
#define GSO(pk)		   ((pk) >> 10 & 1)
#define EDITED		   2048
#define FROM_1		   4096

/* The ends. got: what it has received; owe: it owes an ack. */
byte una[2], nxt[2], got[2];
bool owe[2];

/* Links: slots 2i and 2i + 1 are those of end i, to the box and from it. */
short up[4], dn[4], hold[2];

/* struct flow and struct flow_end, but for nxt and ack, which the ends have as well. */
byte state;
bool legs;
byte bnxt[2], back[2], told_nxt[2], told_ack[2], bound[2], leg_ack[2];

/* The legs. lwr: end of what the relay has written. */
byte lgot[2], luna[2], lnxt[2], lwr[2];
bool lowe[2];

byte ask = TRANSITIONS, faults = FAULTS, tries, reached;
#ifdef EDIT
byte orig[2], edited[2]; /* of end i's units, what was sent on as it was, and what by a leg */
#endif
#ifdef STALE
bool looked;
#endif

/* Of the packet in hand. */
hidden byte s, e, a, g, va, ack, keep, j;
hidden short pk;
hidden byte over, queued, part, whole, lost;

#define FULL(w, i) (w[2 * (i)] && (CAP == 1 || w[2 * (i) + 1]))

/* What order a link delivers in is open: the larger packet lies in the first slot. */
#define PUT(w, i, x) \
	pk = x; \
	assert(!FULL(w, i)); \
	if \
	:: w[2 * (i)] == 0 -> w[2 * (i)] = pk \
	:: w[2 * (i)] != 0 && pk > w[2 * (i)] -> w[2 * (i) + 1] = w[2 * (i)]; w[2 * (i)] = pk \
	:: else -> w[2 * (i) + 1] = pk \
	fi

#define TAKE(w, i, k) \
	w[2 * (i) + k] = 0; \
	if \
	:: k == 0 -> w[2 * (i)] = w[2 * (i) + 1]; w[2 * (i) + 1] = 0 \
	:: else \
	fi

inline look(x)
{
	s = S(x); e = E(x); a = A(x); g = GSO(x);
}

/* bpf/split.h: crossed(), ack_for(), news(). Direction i is what end i sends. */
#define CROSSED(i) (back[1 - (i)] >= bound[i])
#ifdef NOCOMB
#define ACK_SPLITTING(i) leg_ack[i]
#else
#define ACK_SPLITTING(i) (CROSSED(i) -> MAX(bound[i], leg_ack[i]) : back[1 - (i)])
#endif
#ifdef NOTAKEOVER
#define ACK_MERGING(i) leg_ack[i]
#else
#define ACK_MERGING(i) (CROSSED(i) -> back[1 - (i)] : leg_ack[i])
#endif
#define ACK_FOR(i) MAX(told_ack[i], (state == SPLITTING -> ACK_SPLITTING(i) : \
				    (state == MERGING -> ACK_MERGING(i) : leg_ack[i])))
#define NEWS(i)	   (ACK_FOR(i) != told_ack[i])

#define RCV(i)	     CUM(got[i])
#define HAS_LEGS     (legs && state != DIRECT)
#define CUSTODY(i, x) ((x) <= RCV(1 - (i)) || (HAS_LEGS && RCV(1 - (i)) >= luna[1 - (i)] && \
					     (x) <= CUM(lgot[i])))

/* To end i, from the other end or the leg that speaks for it. */
inline to_wire(i, ws, we, wa, by_leg)
{
	printf("   box > end %d: [%d,%d) ack %d\n", i, ws, we, wa);
	assert(CUSTODY(i, wa)); /* CUSTODY */
#ifdef EDIT
	if
	:: by_leg -> edited[1 - i] = edited[1 - i] | RANGE(ws, we)
	:: else -> orig[1 - i] = orig[1 - i] | RANGE(ws, we)
	fi;
	assert(!(orig[1 - i] & edited[1 - i])); /* EXACT */
#endif
	PUT(dn, i, PACK(ws, we, wa, 0))
}

/* track_ack(), track_data() */
inline track_ack(i)
{
	if
	:: a <= (state == DIRECT -> bnxt[1 - i] : told_nxt[i]) -> back[i] = MAX(back[i], a)
	:: else
	fi
}

inline track_data(i)
{
	bnxt[i] = MAX(bnxt[i], (s < e -> e : 0))
}

/* What the kernel of leg i makes of [s, e) and the ack va. */
inline leg_rx(i)
{
	printf("   box > leg %d: [%d,%d) ack %d; leg has sent %d, has %d\n", i, s, e, va, lnxt[i], CUM(lgot[i]));
#ifdef STRICT
	assert(va <= lnxt[i]); /* FUTURE */
#endif
	if
	:: lost
	:: !lost && (va > lnxt[i] || (state != MERGING && va < bound[1 - i])) ->
		lowe[i] = 1 /* discarded, data and all; a challenge ack */
	:: else ->
		luna[i] = MAX(luna[i], va);
		if
		:: s < e -> lgot[i] = lgot[i] | RANGE(s, e); lowe[i] = 1
		:: else
		fi
	fi
}

/* to_leg() */
inline to_leg(i)
{
#ifdef NOCLAMP
	va = a;
#else
	va = MAX(a, back[i]);
	if
	:: state != MERGING -> va = MAX(va, bound[1 - i])
	:: else
	fi;
#ifdef CLAMP_BOUND
	va = MIN(va, (state != MERGING -> told_nxt[i] : bound[1 - i]));
#else
	va = MIN(va, lnxt[i]); /* leg_nxt: BPF has seen all that the leg has sent */
#endif
#endif
	leg_rx(i)
}

/* tell(), tell_ack(): what end i is told with the packet in hand. */
inline tell(i)
{
	ack = ACK_FOR(i);
	told_ack[i] = ack;
	if
	:: s < e -> told_nxt[i] = MAX(told_nxt[i], e)
	:: else
	fi
}

inline tell_ack(i)
{
	ack = ACK_FOR(i);
	told_ack[i] = ack
}

inline into_hold(i)
{
	printf("   held: of end %d [%d,%d) ack %d\n", i, s, e, a);
	if
	:: hold[0] == 0 -> hold[0] = PACK(s, e, a, g) + i * FROM_1
	:: else -> assert(hold[1] == 0); hold[1] = PACK(s, e, a, g) + i * FROM_1
	fi
}

inline split_done()
{
	if
	:: state == SPLITTING && legs && CROSSED(0) && CROSSED(1) -> printf("split\n"); state = SPLIT; tries = 0
	:: else
	fi
}

/* splitting(): a packet of end i */
inline splitting(i)
{
	if
	:: s < e && e > bound[i] -> /* new data is the leg's; what else there is, is not */
		part = 0; keep = 0;
		if
		:: s < bound[i] ->
#ifndef WHOLE_NEW
			part = !g; /* of a GSO packet at least one segment; here it may do without */
#endif
			keep = (part -> bound[i] - s : 0)
		:: else
		fi;
		if
		:: part || (!over && NEWS(1 - i)) ->
			part = 1;
			tell_ack(1 - i);
			j = (keep -> s : told_nxt[1 - i]);
			to_wire((1 - i), j, j + keep, ack, 0);
			into_hold(i)
		:: else ->
			if
			:: queued -> into_hold(i)
			:: else -> track_data(i); to_leg(i)
			fi
		fi
	:: s < e && e <= bound[i] && CROSSED(i) && !queued && (over || !NEWS(1 - i)) -> to_leg(i)
	:: else ->
		if
		:: s < e || !over ->
			if
#ifdef NOHELDACK
			:: s == e && a >= bound[1 - i] && !queued ->
#else
			:: s == e && a >= bound[1 - i] ->
#endif
				if
				:: NEWS(1 - i) -> tell_ack(1 - i); to_wire((1 - i), told_nxt[1 - i], told_nxt[1 - i], ack, 0)
				:: else
				fi;
				if
				:: queued -> into_hold(i)
				:: else -> to_leg(i)
				fi
			:: else -> tell(1 - i); to_wire((1 - i), s, e, ack, 0)
			fi
		:: else ->
			if
			:: queued -> into_hold(i)
			:: else -> to_leg(i)
			fi
		fi
	fi
}

/* merge_if_done(), merged_way() */
#ifdef CLOSE_EARLY
#define MERGED_WAY(i) (told_ack[i] >= bound[i])
#else
#ifdef CLOSE_UNTOLD
#define MERGED_WAY(i) (back[1 - (i)] >= bound[i])
#else
#define MERGED_WAY(i) (back[1 - (i)] >= bound[i] && told_ack[i] >= bound[i])
#endif
#endif

inline legs_gone()
{
	j = 0;
	do
	:: j < 2 ->
		told_nxt[j] = 0; told_ack[j] = 0; leg_ack[j] = 0; bound[j] = 0;
		lgot[j] = 0; luna[j] = 0; lnxt[j] = 0; lwr[j] = 0; lowe[j] = 0;
		j++
	:: else -> break
	od;
	j = 0
}

inline merge_if_done()
{
	if
	:: MERGED_WAY(0) && MERGED_WAY(1) ->
		printf("merged\n");
		state = DIRECT;
		legs = 0;
		tries = 0;
		assert(CUSTODY(0, told_ack[0]) && CUSTODY(1, told_ack[1])); /* CUSTODY */
		legs_gone()
	:: else
	fi
}

/* merging(): a packet of end i */
inline merging(i)
{
#ifdef WHOLE_A
	if
	:: s < bound[i] && e > bound[i] -> to_leg(i); whole = 1
	:: else -> whole = 0
	fi;
#else
	whole = 0;
#endif
	if
	:: whole
	:: !whole && s < e && (e > bound[i] || CROSSED(i)) ->
		tell(1 - i);
		to_wire((1 - i), s, e, ack, 0);
#ifndef NOLEGCOPY
		if
		:: !over -> e = s; to_leg(i)
		:: else
		fi
#endif
	:: !whole && s == e && CROSSED(1 - i) -> tell(1 - i); to_wire((1 - i), s, e, ack, 0)
	:: else -> to_leg(i)
	fi
}

/* decide(): a packet of end i, from its port or back from the hold queue. */
inline decide(i, from_hold)
{
	over = CROSSED(1 - i);
	queued = !legs || hold[0] != 0;
	if
	:: !from_hold && state != SPLITTING && hold[0] != 0 -> into_hold(i)
	:: else ->
		track_ack(i);
		if
		:: state == DIRECT ->
			track_data(i);
			to_wire((1 - i), s, e, a, 0)
		:: state == SPLITTING ->
			if
			:: from_hold -> track_data(i); to_leg(i)
			:: else -> splitting(i)
			fi;
			split_done()
		:: state == SPLIT -> track_data(i); to_leg(i)
		:: state == MERGING -> track_data(i); merging(i); merge_if_done()
		fi
	fi
}

/* Whether there is room for what may become of a packet at the port: a full link is not loss. */
#define HOLDS(i, x) ((state != SPLITTING -> hold[0] != 0 : \
		     ((S(x) < E(x) && E(x) > bound[i]) || \
		      (S(x) == E(x) && (CROSSED(1 - (i)) || A(x) >= bound[1 - (i)]) && \
		       (!legs || hold[0] != 0)))))
#define ROOM(i, x)  (!FULL(dn, 1 - (i)) && (!hold[1] || !HOLDS(i, x)))

/* bpf/leg.bpf.c: silent(), leg_out(). The packet [s, e), a of the leg that faces end i. */
#define SILENT(i) (state == SPLITTING -> (s == e && !CROSSED(i)) : (state == MERGING -> \
		   (s == e -> (CROSSED(i) && !NEWS(i)) : CROSSED(1 - (i))) : 0))

inline leg_out(i)
{
	lowe[i] = 0;
#ifdef NOREMEMBER
	if
	:: !SILENT(i) -> leg_ack[i] = MAX(leg_ack[i], a)
	:: else
	fi;
#else
	leg_ack[i] = MAX(leg_ack[i], a);
#endif
	if
	:: lost || SILENT(i)
	:: else ->
		tell(i);
		to_wire(i, s, e, ack, 1);
		if
		:: state == MERGING -> merge_if_done()
		:: else
		fi
	fi
}

inline leg_sends(i, ws, we)
{
	s = ws; e = we; a = CUM(lgot[i]);
	lnxt[i] = MAX(lnxt[i], e);
	printf("leg %d > box: [%d,%d) ack %d\n", i, s, e, a);
	leg_out(i)
}

inline end_sends(i, ws, we, gso)
{
	s = ws; e = we;
	nxt[i] = MAX(nxt[i], e);
	owe[i] = 0;
	printf("end %d sends [%d,%d) ack %d\n", i, s, e, RCV(i));
	PUT(up, i, PACK(s, e, RCV(i), gso))
}

inline end_rx(i, k)
{
	look(dn[2 * i + k]);
	printf("end %d gets [%d,%d) ack %d\n", i, s, e, a);
	assert(a <= nxt[i] && e <= nxt[1 - i]); /* FUTURE, EXACT */
	una[i] = MAX(una[i], a);
	if
	:: s < e -> got[i] = got[i] | RANGE(s, e); owe[i] = 1
	:: else
	fi
}

inline port_rx(i, k)
{
	look(up[2 * i + k]);
	printf("end %d > box: [%d,%d) ack %d\n", i, s, e, a);
	TAKE(up, i, k);
	decide(i, 0)
}

inline unhold()
{
	pk = hold[0];
	look(pk);
	hold[0] = hold[1];
	hold[1] = 0;
	printf("released: [%d,%d) ack %d\n", s, e, a);
	if
	:: pk & FROM_1 -> decide(1, 1)
	:: else -> decide(0, 1)
	fi
}

/* freeze() */
inline freeze()
{
	printf("splitting from %d, %d\n", bnxt[0], bnxt[1]);
	state = SPLITTING;
	legs = 0;
	tries = 0;
	j = 0;
	do
	:: j < 2 ->
		told_nxt[j] = bnxt[1 - j];
		told_ack[j] = back[1 - j];
#ifndef STALE
		bound[j] = bnxt[j];
#endif
		leg_ack[j] = bound[j];
		j++
	:: else -> break
	od;
	j = 0
}

/* The legs as user/leg.c builds them, from what the freeze left. */
#ifdef LASTACK
#define BUILT_AT(i) back[1 - (i)]
#else
#define BUILT_AT(i) bound[i]
#endif
inline ready()
{
	j = 0;
	do
	:: j < 2 ->
		lgot[j] = BELOW(BUILT_AT(j));
		luna[j] = BUILT_AT(1 - j); lnxt[j] = luna[j]; lwr[j] = luna[j];
		j++
	:: else -> break
	od;
	legs = 1;
	printf("legs ready\n");
	split_done()
}

inline begin_merge()
{
	bound[0] = bnxt[0];
	bound[1] = bnxt[1];
	printf("merging from %d, %d\n", bound[0], bound[1]);
	state = MERGING;
	tries = 0;
	merge_if_done()
}

#define REST (!up[0] && !up[2] && !dn[0] && !dn[2])
#define LEG_RESTS(i) (luna[i] == lwr[i] && lwr[i] == CUM(lgot[1 - (i)]))
#define COMPLETE (una[0] == N0 && una[1] == N1 && RCV(0) == N1 && RCV(1) == N0 && \
		  (state == DIRECT || (state == SPLIT && LEG_RESTS(0) && LEG_RESTS(1))))

/* What timers can bring about, or a fault prevent, as one number that only grows. */
#define REACHED (una[0] + una[1] + luna[0] + luna[1] + RCV(0) + RCV(1) + \
		 CUM(lgot[0]) + CUM(lgot[1]) + back[0] + back[1] + told_ack[0] + told_ack[1] + FAULTS - faults)

/* The timers of all who wait, or of one end; `all`: it repeats all it has out, in one segment. */
inline timers(all, who)
{
	printf("timers\n");
	assert(FAULTS); /* PROGRESS */
	if
	:: REACHED > reached -> tries = 0
	:: else -> tries++
	fi;
	reached = REACHED;
	assert(tries < TRIES); /* PROGRESS */
	if
	:: una[0] < nxt[0] && who != 1 -> j = (all -> nxt[0] : una[0] + 1); end_sends(0, una[0], j, 0)
	:: else
	fi;
	if
	:: una[1] < nxt[1] && who != 0 -> j = (all -> nxt[1] : una[1] + 1); end_sends(1, una[1], j, 0)
	:: else
	fi;
	if
	:: who > 1 && HAS_LEGS && luna[0] < lnxt[0] -> leg_sends(0, luna[0], luna[0] + 1)
	:: else
	fi;
	if
	:: who > 1 && HAS_LEGS && luna[1] < lnxt[1] -> leg_sends(1, luna[1], luna[1] + 1)
	:: else
	fi
}

#ifdef SINGLE
#define TWO(i)
#else
#define TWO(i) :: nxt[i] + 1 < N(i) && !FULL(up, i) -> d_step { end_sends(i, nxt[i], nxt[i] + 2, 0) }
#endif

/* What end i and its leg can do. */
#define MOVES(i) \
	:: nxt[i] < N(i) && !FULL(up, i) -> d_step { end_sends(i, nxt[i], nxt[i] + 1, 0) } \
	TWO(i) \
	:: owe[i] && !FULL(up, i) -> d_step { end_sends(i, nxt[i], nxt[i], 0) } \
	:: dn[2 * i] -> d_step { end_rx(i, 0); TAKE(dn, i, 0) } \
	:: dn[2 * i + 1] -> d_step { end_rx(i, 1); TAKE(dn, i, 1) } \
	:: up[2 * i] && ROOM(i, up[2 * i]) -> d_step { port_rx(i, 0) } \
	:: up[2 * i + 1] && ROOM(i, up[2 * i + 1]) -> d_step { port_rx(i, 1) } \
	:: HAS_LEGS && lwr[1 - i] < CUM(lgot[i]) -> d_step { lwr[1 - i] = CUM(lgot[i]); printf("relayed to leg %d: up to %d\n", 1 - i, lwr[1 - i]) } \
	:: HAS_LEGS && lnxt[i] < MIN(lwr[i], luna[i] + LEG_CWND) && !FULL(dn, i) -> \
		d_step { leg_sends(i, lnxt[i], lnxt[i] + 1) } \
	:: HAS_LEGS && lnxt[i] + 1 < MIN(lwr[i], luna[i] + LEG_CWND) && !FULL(dn, i) -> \
		d_step { leg_sends(i, lnxt[i], lnxt[i] + 2) } \
	:: HAS_LEGS && lowe[i] && !FULL(dn, i) -> d_step { leg_sends(i, lnxt[i], lnxt[i]) }

#ifdef GSO_RTX
#define GSO_MOVE(i) \
	:: faults && una[i] + 1 < nxt[i] && !FULL(up, i) -> \
		d_step { faults--; end_sends(i, una[i], una[i] + 2, 1) }
#else
#define GSO_MOVE(i)
#endif
#ifdef BOXLOSS
#define BOX_MOVE(i) \
	:: faults && up[2 * i] && state != DIRECT && ROOM(i, up[2 * i]) -> \
		d_step { faults--; lost = 1; port_rx(i, 0); lost = 0 }
#else
#define BOX_MOVE(i)
#endif

/* A packet that is delivered twice, a timer that need not have fired. */
#ifdef ONLY_LOSS
#define EARLY(i)
#else
#define EARLY(i) \
	:: faults && dn[2 * i] -> d_step { faults--; end_rx(i, 0) } \
	:: faults && up[2 * i] && !FULL(up, i) -> d_step { faults--; PUT(up, i, up[2 * i]) } \
	:: faults && una[i] < nxt[i] && !FULL(up, i) -> \
		d_step { faults--; end_sends(i, una[i], una[i] + 1, 0) } \
	:: faults && una[i] + 1 < nxt[i] && !FULL(up, i) -> \
		d_step { faults--; end_sends(i, una[i], nxt[i], 0) } \
	:: faults && HAS_LEGS && luna[i] < lnxt[i] && !FULL(dn, i) -> \
		d_step { faults--; leg_sends(i, luna[i], luna[i] + 1) }
#endif


#define FAULTS_OF(i) \
	:: faults && up[2 * i] -> d_step { faults--; TAKE(up, i, 0); printf("lost: up %d\n", i) } \
	:: faults && up[2 * i + 1] -> d_step { faults--; TAKE(up, i, 1); printf("lost: up %d\n", i) } \
	:: faults && dn[2 * i] -> d_step { faults--; TAKE(dn, i, 0); printf("lost: dn %d\n", i) } \
	:: faults && dn[2 * i + 1] -> d_step { faults--; TAKE(dn, i, 1); printf("lost: dn %d\n", i) } \
	EARLY(i) \
	GSO_MOVE(i) \
	BOX_MOVE(i)

#ifdef OVERLAP
#define MAY_MERGE (state == SPLIT || (state == SPLITTING && legs))
#else
#define MAY_MERGE (state == SPLIT)
#endif

active proctype flow()
{
#ifdef START_SPLIT
	d_step { state = SPLIT; legs = 1 };
#endif
	do
	MOVES(0)
	MOVES(1)
	FAULTS_OF(0)
	FAULTS_OF(1)
	/* The daemon. */
	:: hold[0] && (state != SPLITTING || legs) && !FULL(dn, 0) && !FULL(dn, 1) -> d_step { unhold() }
#ifdef STALE
	:: ask && state == DIRECT && !looked -> d_step { bound[0] = bnxt[0]; bound[1] = bnxt[1]; looked = 1; ask-- }
	:: looked -> d_step { looked = 0; freeze() }
#else
#ifdef QUEUED_SPLIT
	:: ask && state == DIRECT -> d_step { ask--; freeze() }
#else
	:: ask && state == DIRECT && !hold[0] -> d_step { ask--; freeze() }
#endif
#endif
	:: state == SPLITTING && !legs -> d_step { ready() }
	:: ask && MAY_MERGE -> d_step { ask--; begin_merge() }
	:: ask -> ask = 0
	:: timeout ->
		if
		:: COMPLETE -> break
		:: !COMPLETE -> d_step { timers(0, 2) }
		:: !COMPLETE && FAULTS -> d_step { timers(1, 2) }
		:: !COMPLETE && FAULTS && !tries && una[0] < nxt[0] -> d_step { timers(1, 0) }
		:: !COMPLETE && FAULTS && !tries && una[1] < nxt[1] -> d_step { timers(1, 1) }
		fi
	od
}
