// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The host's connection tracking sees a flow begin, but not end: once Seam holds it, its
 * packets bypass the host. The entry would stay "established" for days
 * (nf_conntrack_tcp_timeout_established), in a table that all of the host's traffic shares.
 * So it is deleted when the flow is.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "daemon.h"
#include "net.h"

int conntrack_open(struct daemon *d)
{
	if (d->started->mode == MODE_WIRE)
		return 0;
	d->conntrack = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* A kernel without netfilter tracks nothing. */
	if (!d->conntrack)
		return errno == EPROTONOSUPPORT ? 0 : -errno;
	return mnl_socket_bind(d->conntrack, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
}

void conntrack_close(struct daemon *d)
{
	if (d->conntrack)
		mnl_socket_close(d->conntrack);
	d->conntrack = NULL;
}

void conntrack_look(struct daemon *d)
{
	if (!d->conntrack || !host_enter(d))
		return;
	d->stateful = net_host_is_stateful();
	host_leave(d);
}

void conntrack_forget(struct daemon *d, const struct flow_key *key, const struct flow *f)
{
	bool v4 = f->flags & FLOW_F_IPV4;
	char buf[256] = "", answer[512];
	struct nlattr *tuple, *part;
	struct nfgenmsg *nfg;
	struct nlmsghdr *nlh;

	if (!d->conntrack || !d->stateful || !(f->flags & FLOW_F_BYPASS))
		return;
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = v4 ? AF_INET : AF_INET6;
	nfg->version = NFNETLINK_V0;
	/* Without a tuple it would be every entry there is. */
	tuple = mnl_attr_nest_start(nlh, CTA_TUPLE_ORIG);
	part = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);
	if (v4) {
		mnl_attr_put_u32(nlh, CTA_IP_V4_SRC, key->client[3]);
		mnl_attr_put_u32(nlh, CTA_IP_V4_DST, key->server[3]);
	} else {
		mnl_attr_put(nlh, CTA_IP_V6_SRC, sizeof(key->client), key->client);
		mnl_attr_put(nlh, CTA_IP_V6_DST, sizeof(key->server), key->server);
	}
	mnl_attr_nest_end(nlh, part);
	part = mnl_attr_nest_start(nlh, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(nlh, CTA_PROTO_NUM, IPPROTO_TCP);
	mnl_attr_put_u16(nlh, CTA_PROTO_SRC_PORT, key->client_port);
	mnl_attr_put_u16(nlh, CTA_PROTO_DST_PORT, key->server_port);
	mnl_attr_nest_end(nlh, part);
	mnl_attr_nest_end(nlh, tuple);
	mnl_socket_sendto(d->conntrack, nlh, nlh->nlmsg_len);
	/* Only a failure is answered: most often the entry had gone by itself. */
	while (recv(mnl_socket_get_fd(d->conntrack), answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}
