// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a driver can do of XDP, by the kernel's `netdev` family of generic netlink (Linux 6.3,
 * Documentation/netlink/specs/netdev.yaml), whose header Debian 12 does not have.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "net.h"

#define NETDEV_CMD_DEV_GET 1
#define NETDEV_A_DEV_IFINDEX 1
#define NETDEV_A_DEV_XDP_FEATURES 3

/* The attribute of an answer that is asked for, as a number; it may have 2 bytes or 8. */
struct wanted {
	uint16_t type;
	uint64_t value;
	bool found;
};

static int take(const struct nlmsghdr *nlh, void *data)
{
	struct wanted *w = data;
	struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) != w->type)
			continue;
		w->value = mnl_attr_get_payload_len(attr) >= sizeof(uint64_t) ? mnl_attr_get_u64(attr) :
										mnl_attr_get_u16(attr);
		w->found = true;
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *request(char *buf, int family, int command, unsigned int seq)
{
	struct nlmsghdr *nlh;
	struct genlmsghdr *genl;

	memset(buf, 0, 128);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = seq;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = command;
	genl->version = 1;
	return nlh;
}

/* Asks, and finds `w` in the answer. Negative errno; -EOPNOTSUPP: it is not there. */
static int answer(struct mnl_socket *nl, struct nlmsghdr *nlh, char *buf, struct wanted *w)
{
	unsigned int seq = nlh->nlmsg_seq;
	int n, rc = MNL_CB_OK;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (rc > MNL_CB_STOP) {
		n = mnl_socket_recvfrom(nl, buf, MNL_SOCKET_BUFFER_SIZE);
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, n, seq, mnl_socket_get_portid(nl), take, w);
	}
	if (rc < 0)
		return -errno;
	return w->found ? 0 : -EOPNOTSUPP;
}

int net_xdp_features(int ifindex, uint64_t *features)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	struct wanted family = { .type = CTRL_ATTR_FAMILY_ID }, all = { .type = NETDEV_A_DEV_XDP_FEATURES };
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh;
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (!err) {
		nlh = request(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
		mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, "netdev");
		err = answer(nl, nlh, buf, &family);
	}
	if (!err) {
		nlh = request(buf, family.value, NETDEV_CMD_DEV_GET, 2);
		mnl_attr_put_u32(nlh, NETDEV_A_DEV_IFINDEX, ifindex);
		err = answer(nl, nlh, buf, &all);
	}
	mnl_socket_close(nl);
	*features = all.value;
	return err == -ENOENT ? -EOPNOTSUPP : err;
}
