// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "log.h"
#include "net.h"
#include "seam/event.h"
#include "wire.h"

/* What prevents an interface from becoming a port. */
struct use {
	int ifindex;
	int master;
	bool route;
	char address[INET6_ADDRSTRLEN];
};

static const struct nlattr *attribute(const struct nlmsghdr *nlh, size_t header, int type)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, header)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static int on_link(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr = attribute(nlh, sizeof(*ifi), IFLA_MASTER);
	struct use *use = data;

	if (ifi->ifi_index == use->ifindex && attr)
		use->master = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *nlh, void *data)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr = attribute(nlh, sizeof(*ifa), IFA_ADDRESS);
	struct use *use = data;

	/* The address that IPv6 makes by itself goes with IPv6. */
	if ((int)ifa->ifa_index == use->ifindex && attr &&
	    !(ifa->ifa_family == AF_INET6 && ifa->ifa_scope == RT_SCOPE_LINK))
		inet_ntop(ifa->ifa_family, mnl_attr_get_payload(attr), use->address,
			  sizeof(use->address));
	return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr = attribute(nlh, sizeof(*rtm), RTA_OIF);
	struct use *use = data;

	/* The kernel's own routes come with an address, and go with it. */
	if (attr && (int)mnl_attr_get_u32(attr) == use->ifindex && rtm->rtm_protocol != RTPROT_KERNEL)
		use->route = true;
	return MNL_CB_OK;
}

static int dump(int type, mnl_cb_t each, struct use *use)
{
	char request[64] = "";
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);

	nlh->nlmsg_type = type;
	/* AF_UNSPEC, in a header that is large enough for each of the three. */
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	return net_dump(nlh, each, use);
}

int wire_check(const char *ifname, int ifindex)
{
	struct use use = { .ifindex = ifindex };
	char master[IF_NAMESIZE];
	int err;

	if ((err = dump(RTM_GETLINK, on_link, &use)) || (err = dump(RTM_GETADDR, on_address, &use)) ||
	    (err = dump(RTM_GETROUTE, on_route, &use))) {
		log_err("%s: asking for its addresses and routes: %s", ifname, strerror(-err));
		return err;
	}
	if (use.master) {
		if (!if_indextoname(use.master, master))
			snprintf(master, sizeof(master), "%d", use.master);
		log_err("%s: it is part of %s, and a port of a wire can be part of nothing else: "
			"ip link set dev %s nomaster", ifname, master, ifname);
	} else if (use.address[0]) {
		log_err("%s: it has the address %s, and a port of a wire has none: "
			"ip address flush dev %s; or mode = \"route\"", ifname, use.address, ifname);
	} else if (use.route) {
		log_err("%s: there is a route by it, and by a port of a wire there is none: "
			"ip route flush dev %s, and ip -6 route flush dev %s; or mode = \"route\"",
			ifname, ifname, ifname);
	} else {
		return 0;
	}
	return -EBUSY;
}

/* Turns large receive offload on or off; returns whether it was the other way. */
static bool change_lro(const char *ifname, bool on)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_SFLAGS };
	int now = net_offloads(ifname);

	/* Packets that it has put together cannot be taken apart again. */
	if (now < 0 || !(now & ETH_FLAG_LRO) == !on)
		return false;
	flags.data = now ^ ETH_FLAG_LRO;
	return !net_ethtool(ifname, &flags);
}

/* The same for IPv6, whose neighbour discovery would be the host's own. */
static bool change_ipv6(const char *ifname, bool on)
{
	char path[96], now = '1';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	f = fopen(path, "re");
	if (!f)
		return false; /* a kernel without IPv6 */
	now = fgetc(f);
	fclose(f);
	if ((now == '0') == on)
		return false;
	return !net_sysctl(path + strlen("/proc/sys/"), on ? "0" : "1");
}

int wire_prepare(const char *ifname, __u32 *undo)
{
	short was = 0;
	int err;

	*undo = 0;
	if (change_ipv6(ifname, false))
		*undo |= PORT_UNDO_IPV6;
	if (change_lro(ifname, false))
		*undo |= PORT_UNDO_LRO;
	/* By the flag, not by a packet socket: it has to outlive this process. */
	err = net_flags(ifname, IFF_UP | IFF_PROMISC, 0, &was);
	if (err) {
		log_err("%s: setting it up, and promiscuous: %s", ifname, strerror(-err));
		return err;
	}
	if (!(was & IFF_UP))
		*undo |= PORT_UNDO_UP;
	if (!(was & IFF_PROMISC))
		*undo |= PORT_UNDO_PROMISC;
	return 0;
}

void wire_undo(int ifindex, __u32 undo)
{
	bool up = (undo & (PORT_UNDO_MIRROR | PORT_UNDO_UP)) == PORT_UNDO_MIRROR;
	char name[IF_NAMESIZE];
	short clear = 0;
	int err = 0;

	if (!undo || !if_indextoname(ifindex, name))
		return;
	if (undo & PORT_UNDO_PROMISC)
		clear |= IFF_PROMISC;
	if (undo & PORT_UNDO_UP)
		clear |= IFF_UP;
	if (up || clear)
		err = net_flags(name, up ? IFF_UP : 0, clear, NULL);
	if (err)
		log_warn("%s: setting its flags back: %s", name, strerror(-err));
	if (undo & PORT_UNDO_LRO)
		change_lro(name, true);
	if (undo & PORT_UNDO_IPV6)
		change_ipv6(name, true);
}
