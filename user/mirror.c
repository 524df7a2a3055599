// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The links of the ports, as the kernel reports them. ports.c handles an interface that is gone,
 * whose name is another's, or from which Seam's filter was taken. On wires, where the policy asks
 * for it, a port whose partner has lost its link is set down until the partner has it again.
 *
 * A port that is down tells nothing of its own link. So one that is set up again is given
 * SETTLE_NS to get it, and only then has lost it: otherwise both ends of a wire would take
 * each other down for ever while they negotiate.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <libmnl/libmnl.h>

#include "daemon.h"
#include "log.h"

#define SETTLE_NS (10 * 1000000000ULL)

static int send_request(struct daemon *d, int type, int flags, const struct ifinfomsg *with)
{
	char buf[64] = "";
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	*ifi = *with;
	return mnl_socket_sendto(d->links, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

/* Recorded for whoever detaches, in case this process does not come to it. */
static void note_held_down(struct daemon *d, const struct kern_port *port)
{
	__u32 key = port->ifindex;
	struct port entry;

	if (bpf_map_lookup_elem(d->kern.maps.ports, &key, &entry))
		return;
	entry.undo &= ~PORT_UNDO_MIRROR;
	if (port->held_down)
		entry.undo |= PORT_UNDO_MIRROR;
	bpf_map_update_elem(d->kern.maps.ports, &key, &entry, BPF_EXIST);
}

static void hold_down(struct daemon *d, struct kern_port *port, bool down)
{
	struct ifinfomsg ifi = {
		.ifi_index = port->ifindex, .ifi_change = IFF_UP, .ifi_flags = down ? 0 : IFF_UP,
	};
	int err;

	if (port->held_down == down)
		return;
	port->held_down = down;
	note_held_down(d, port);
	err = send_request(d, RTM_NEWLINK, 0, &ifi);
	if (err)
		log_warn("%s: setting it %s: %s", port->name, down ? "down" : "up", strerror(-err));
	else
		log_info("%s: set %s, as the other port of its wire %s", port->name,
			 down ? "down" : "up", down ? "has lost its link" : "has its link again");
	port->link = false;
	port->settle_ns = kern_now() + SETTLE_NS;
}

static void link_is(struct daemon *d, struct kern_port *port, bool link)
{
	struct kern_port *partner = kern_port(&d->kern, port->partner);

	if (port->held_down || !partner)
		return;
	if (link != port->link)
		log_info("%s: link %s", port->name, link ? "up" : "lost");
	else if (link || port->settle_ns)
		return; /* nothing new, or not yet */
	port->link = link;
	port->settle_ns = 0;
	if (d->started->mirror_link)
		hold_down(d, partner, !link);
}

/* Filters or qdiscs of ports were taken off: looked at once, however many were. */
static bool filters_changed;

static int on_link(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
	struct kern_port *port, *partner;
	const struct nlattr *attr;
	struct daemon *d = data;

	if (nlh->nlmsg_type == RTM_DELQDISC || nlh->nlmsg_type == RTM_DELTFILTER) {
		if (kern_port(&d->kern, tcm->tcm_ifindex))
			filters_changed = true;
		return MNL_CB_OK;
	}
	port = kern_port(&d->kern, ifi->ifi_index);
	/* Bridges report their ports as links of their own family. */
	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) || ifi->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		if (ifi->ifi_index == d->veth_ifindex)
			ports_no_veth(d);
		if (port) {
			link_is(d, port, false);
			ports_gone(d, port);
		}
		return MNL_CB_OK;
	}
	if (!port) {
		mnl_attr_for_each(attr, nlh, sizeof(*ifi))
			if (mnl_attr_get_type(attr) == IFLA_IFNAME)
				ports_named(d, mnl_attr_get_str(attr), ifi->ifi_index);
		return MNL_CB_OK;
	}
	partner = kern_port(&d->kern, port->partner);
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == 6)
			kern_port_mac(&d->kern, port, mnl_attr_get_payload(attr));
		if (mnl_attr_get_type(attr) != IFLA_MTU || (int)mnl_attr_get_u32(attr) == port->mtu)
			continue;
		port->mtu = mnl_attr_get_u32(attr);
		if (partner && partner->mtu != port->mtu)
			log_warn("%s has an MTU of %d now, and %s one of %d: what is too long for one of "
				 "them does not cross", port->name, port->mtu, partner->name, partner->mtu);
	}
	link_is(d, port, (ifi->ifi_flags & IFF_UP) && (ifi->ifi_flags & IFF_LOWER_UP));
	return MNL_CB_OK;
}

/* Asks for all links, reported as if they had just changed. */
static void ask_all(struct daemon *d)
{
	const struct ifinfomsg any = {};
	int err = send_request(d, RTM_GETLINK, NLM_F_DUMP, &any);

	d->links_torn = err;
	if (err)
		log_warn("asking for the links of the ports: %s", strerror(-err));
}

static void links_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	int n;

	filters_changed = false;

	(void)w;
	(void)events;
	for (;;) {
		n = mnl_socket_recvfrom(d->links, buf, sizeof(buf));
		if (n < 0 && errno == ENOBUFS) { /* more has happened than was reported */
			ports_look(d);
			filters_changed = true;
			ask_all(d);
		} else if (n <= 0) {
			break;
		} else if (mnl_cb_run(buf, n, 0, 0, on_link, d) < 0) {
			/*
			 * Something changed during the dump, and part of it is missing; or the
			 * dump still runs.
			 */
			if (errno == EINTR || errno == EBUSY)
				d->links_torn = true;
			else
				log_warn("links of the ports: %s", strerror(errno));
		}
		daemon_beat(d);
	}
	if (filters_changed)
		ports_filters(d);
	if (ports_attach(d, kern_now()))
		ask_all(d);
}

int mirror_open(struct daemon *d)
{
	uint64_t settled = kern_now() + SETTLE_NS;
	int i;

	d->links = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!d->links || mnl_socket_bind(d->links, RTMGRP_LINK | RTMGRP_TC, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (i = 0; i < d->kern.n_ports; i++)
		d->kern.ports[i].settle_ns = settled;
	ask_all(d);
	d->links_watch.fd = mnl_socket_get_fd(d->links);
	d->links_watch.ready = links_ready;
	return watch_begin(d->epoll, &d->links_watch, EPOLLIN);
}

void mirror_tick(struct daemon *d, uint64_t now)
{
	struct kern_port *port;
	bool again = d->links && d->links_torn;
	int i;

	if (again)
		ask_all(d);
	for (i = 0; d->links && i < d->kern.n_ports; i++) {
		port = &d->kern.ports[i];
		if (again && port->settle_ns)
			port->settle_ns = now + SETTLE_NS;
		if (port->settle_ns && now >= port->settle_ns) {
			port->settle_ns = 0;
			if (!port->link)
				link_is(d, port, false);
		}
	}
	if (ports_attach(d, now))
		ask_all(d);
}

void mirror_close(struct daemon *d)
{
	int i;

	if (!d->links)
		return;
	for (i = 0; i < d->kern.n_ports; i++)
		hold_down(d, &d->kern.ports[i], false);
	mnl_socket_close(d->links);
	d->links = NULL;
}
