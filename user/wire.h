/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Interfaces that become ports of a wire: what must not be there, and what is changed
 * for as long as they are ports, so that every frame is taken and none is the host's.
 */
#ifndef SEAM_WIRE_H
#define SEAM_WIRE_H

#include <linux/types.h>

/*
 * Whether an interface can be a port: one with an address or a route, or one that is
 * part of a bridge or bond, is in use by the host. Negative errno, with a message logged.
 */
int wire_check(const char *ifname, int ifindex);

/*
 * Sets the interface up, promiscuous, without IPv6 and large receive offload. `undo`
 * gets the PORT_UNDO_* of what was changed. Negative errno; `undo` counts then, too.
 */
int wire_prepare(const char *ifname, __u32 *undo);

/* Takes it back, as far as the interface is still there. */
void wire_undo(int ifindex, __u32 undo);

#endif
