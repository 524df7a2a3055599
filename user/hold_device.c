// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The hold device: a TAP, whose frames the daemon reads, and writes back when they are let go. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net.h"

/* How many features a device may have, as ethtool -k names them; 0: that is not known. */
static unsigned int features(const char *ifname)
{
	struct ethtool_sset_info *set = calloc(1, sizeof(*set) + sizeof(set->data[0]));
	unsigned int n = 0;

	if (!set)
		return 0;
	set->cmd = ETHTOOL_GSSET_INFO;
	set->sset_mask = 1ULL << ETH_SS_FEATURES;
	if (!net_ethtool(ifname, set) && set->sset_mask)
		n = set->data[0];
	free(set);
	return n;
}

/* The number of a feature of `n`; negative: there is none of that name. */
static int feature_number(const char *ifname, unsigned int n, const char *feature)
{
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)n * ETH_GSTRING_LEN);
	int found = -ENOENT;
	unsigned int i;

	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = n;
	if (!net_ethtool(ifname, names))
		for (i = 0; i < names->len && found < 0; i++)
			if (!strncmp((char *)names->data + i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN))
				found = (int)i;
	free(names);
	return found;
}

/*
 * Packets of several segments that have the same IP ID, as GRO makes them of what some
 * hosts send, come whole as well: the flow counts what goes in and comes out. Best effort:
 * where this cannot be had they are cut, and let out as they are.
 */
static void whole_with_same_id(const char *ifname)
{
	unsigned int n = features(ifname), words = (n + 31) / 32;
	int feature = n ? feature_number(ifname, n, "tx-tcp-mangleid-segmentation") : -ENOENT;
	struct ethtool_sfeatures *set;

	if (feature < 0)
		return;
	set = calloc(1, sizeof(*set) + words * sizeof(set->features[0]));
	if (!set)
		return;
	set->cmd = ETHTOOL_SFEATURES;
	set->size = words;
	set->features[feature / 32].valid = set->features[feature / 32].requested = 1U << feature % 32;
	net_ethtool(ifname, set);
	free(set);
}

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
	whole_with_same_id(ifr.ifr_name);
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
