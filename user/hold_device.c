// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The hold device: a TAP whose frames the daemon reads, and writes back when they are let go. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net.h"

int net_hold_open(unsigned int queue, int *ifindex)
{
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct ifreq ifr = { .ifr_name = NET_HOLD_NAME };
	int fd, err;

	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETOFFLOAD, offload)) {
		err = -errno;
		goto fail;
	}
	/*
	 * Packets of several segments with the same IP ID, as GRO makes them from what some
	 * hosts send, also come whole: the flow counts what goes in and comes out. Best effort:
	 * without this they are cut, and let out as they are.
	 */
	net_feature_on(ifr.ifr_name, "tx-tcp-mangleid-segmentation");
	net_no_ipv6(ifr.ifr_name);
	ifr.ifr_qlen = queue;
	err = net_ifreq(SIOCSIFTXQLEN, &ifr);
	if (err)
		goto fail;
	err = net_flags(ifr.ifr_name, IFF_UP, 0, NULL);
	if (err)
		goto fail;
	*ifindex = if_nametoindex(ifr.ifr_name);
	return fd;
fail:
	close(fd);
	return err;
}
