/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path's programs on the ports. A port has them in one of two ways: as
 * one of several in libxdp's dispatcher, or by a link of their own, pinned in
 * the instance's directory as xdp_link_IFINDEX. Both outlive the process.
 */
#ifndef SEAM_XDP_H
#define SEAM_XDP_H

#include "kern.h"

/* What the programs of one run share. */
struct xdp {
	const struct kern_maps *maps; /* the instance's; not ours to close */
	bool wires;		/* ports are pairs: what comes in by one leaves by the other */
	int ports;		/* where packets may be redirected to */
	int programs[2][2];	/* loaded ones, by end and whether they are native; 0: not yet */
	bool probed, freplace;	/* whether the kernel can do what a dispatcher needs */
};

/* `maps` is used until xdp_close(). Negative errno. */
int xdp_open(struct xdp *x, const struct kern_maps *maps, bool wires);
void xdp_close(struct xdp *x);

/*
 * Gives `port` the mode `how` asks for, or none; fills in xdp and xdp_why, and logs them. Takes
 * over, replaces or removes what an earlier run left there. Never fails: without XDP, TC does
 * all the work.
 */
void xdp_attach(struct xdp *x, const char *dir, struct kern_port *port, enum policy_xdp how);

/* Takes the instance's program off an interface, however it is attached. */
void xdp_detach(const char *dir, int ifindex);
/* Removes what libxdp has pinned for the dispatcher of an interface that is gone. */
void xdp_forget(int ifindex);

#endif
