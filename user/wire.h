/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Interfaces that become ports of a wire: what must not be on them, and what is changed while
 * they are ports, so that every frame is taken and none is the host's.
 */
#ifndef SEAM_WIRE_H
#define SEAM_WIRE_H

#include <linux/types.h>

/*
 * Whether an interface can be a port. The host uses one that has an address or a route, or is
 * part of a bridge or bond. Negative errno, with a message logged.
 */
int wire_check(const char *ifname, int ifindex);

/*
 * Sets the interface up and promiscuous, and turns IPv6 and large receive offload off. `undo`
 * gets the PORT_UNDO_* of what was changed, even on failure. Negative errno.
 */
int wire_prepare(const char *ifname, __u32 *undo);

/* Undoes that, as far as the interface is still there. */
void wire_undo(int ifindex, __u32 undo);

#endif
