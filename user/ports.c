// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Ports whose interface disappears, and its replacement: an interface with their name. If a
 * live one is renamed nothing changes, until another interface gets its name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>

#include "daemon.h"
#include "log.h"

/* An interface that replaces a port may not be in the right state yet. */
#define RETRY_NS (10 * 1000000000ULL)
/* No program takes longer to load, and XDP's may have to be loaded. */
#define ATTACH_MAX_NS (5 * 1000000000ULL)

/*
 * The other port of the same wire, gone or not; NULL: there are no wires. Clients come first,
 * in order.
 */
static struct kern_port *partner_of(struct daemon *d, const struct kern_port *port)
{
	int i = port - d->kern.ports, n = d->started->client.n;

	return d->started->mode == MODE_WIRE ? &d->kern.ports[port->end == SEAM_CLIENT ? i + n : i - n] : NULL;
}

bool host_enter(struct daemon *d)
{
	if (!setns(d->host_ns, CLONE_NEWNET))
		return true;
	log_err("entering the host's namespace: %s", strerror(errno));
	return false;
}

void host_leave(struct daemon *d)
{
	if (!setns(d->inner_ns, CLONE_NEWNET))
		return;
	daemon_fail(d, -errno);
	log_err("entering the inner namespace again: %s; no flow can be split", strerror(-d->failed));
}

/* In the host's namespace. */
static void gone(struct daemon *d, struct kern_port *port)
{
	log_err("%s (index %d) is gone; what gets its name will take its place", port->name, port->ifindex);
	kern_port_gone(&d->kern, port, partner_of(d, port));
	d->attach_ns = 1;
}

void ports_gone(struct daemon *d, struct kern_port *port)
{
	if (!host_enter(d))
		return;
	gone(d, port);
	host_leave(d);
}

void ports_no_veth(struct daemon *d)
{
	if (d->failed)
		return;
	daemon_fail(d, -ENODEV);
	log_err("the veth pair by which legs are reached was deleted; Seam ends");
}

void ports_look(struct daemon *d)
{
	char name[IF_NAMESIZE];
	int i;

	if (!host_enter(d))
		return;
	if (!if_indextoname(d->veth_ifindex, name))
		ports_no_veth(d);
	for (i = 0; i < d->kern.n_ports; i++) {
		struct kern_port *port = &d->kern.ports[i];

		if (port->ifindex && !if_indextoname(port->ifindex, name))
			gone(d, port);
	}
	host_leave(d);
}

void ports_filters(struct daemon *d)
{
	char name[IF_NAMESIZE];
	int i, rc;

	if (!host_enter(d))
		return;
	for (i = 0; i < d->kern.n_ports; i++) {
		struct kern_port *port = &d->kern.ports[i];

		if (!port->ifindex || !if_indextoname(port->ifindex, name))
			continue;
		rc = kern_filter_again(&d->kern, port);
		if (rc > 0)
			log_warn("%s: Seam's filter was taken off its TC ingress, as `tc qdisc del dev %s clsact` does; "
				 "it is attached again", name, name);
		else if (rc)
			log_err("%s: Seam's filter was taken off its TC ingress, and attaching it again: %s; "
				"what comes in there is not inspected", name, strerror(-rc));
	}
	host_leave(d);
}

void ports_named(struct daemon *d, const char *name, int ifindex)
{
	int i;

	for (i = 0; i < d->kern.n_ports; i++) {
		struct kern_port *port = &d->kern.ports[i];

		if (strcmp(port->name, name))
			continue;
		d->attach_ns = 1;
		if (!port->ifindex || !host_enter(d))
			continue;
		log_warn("%s is another interface now (index %d, before %d): it takes the place of that one", name,
			 ifindex, port->ifindex);
		kern_port_gone(&d->kern, port, partner_of(d, port));
		host_leave(d);
	}
}

/* Attaches to what has replaced `port`, and returns whether it did. In the host's namespace. */
static bool take_place(struct daemon *d, struct kern_port *port, bool *failed)
{
	struct kern_port *partner = partner_of(d, port);
	int now = if_nametoindex(port->name);
	char other[IF_NAMESIZE] = "";
	int err;

	/* It may be another port that was renamed. */
	if (!now || kern_port(&d->kern, now))
		return false;
	if (partner && !(partner->ifindex ? if_indextoname(partner->ifindex, other) :
					    if_indextoname(if_nametoindex(partner->name), other)))
		return false;
	/* Being slow here is not being dead. */
	d->kern.control->heartbeat_ns = kern_now() + ATTACH_MAX_NS;
	*failed |= kern_attach_again(&d->kern, port, partner, other, d->started->xdp);
	daemon_beat(d);
	if (!port->ifindex)
		return false;
	log_info("%s is there again, as index %d: attached", port->name, port->ifindex);
	err = d->neighbours ? 0 : neigh_open(d);
	if (err)
		log_warn("opening a netlink socket: %s", strerror(-err));
	return true;
}

bool ports_attach(struct daemon *d, uint64_t now)
{
	bool failed = false, done = false;
	int i;

	if (!d->attach_ns || now < d->attach_ns)
		return false;
	d->attach_ns = 0;
	if (!host_enter(d))
		return false;
	for (i = 0; i < d->kern.n_ports && !done; i++)
		if (!d->kern.ports[i].ifindex)
			done = take_place(d, &d->kern.ports[i], &failed);
	host_leave(d);
	if (done)
		d->attach_ns = 1; /* one at a time: whoever moves bytes gets a turn */
	else if (failed)
		d->attach_ns = now + RETRY_NS;
	return done;
}
