/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Devices and namespaces Seam makes for itself: the hold device on the host,
 * and the inner namespace with its veth pair (docs/architecture.md).
 */
#ifndef SEAM_NET_H
#define SEAM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

struct ifreq;

#define NET_VETH_NAME "seam%d"	/* host end: the first free number */
#define NET_HOLD_NAME "seamh%d"
#define NET_INNER_NAME "inner"	/* the other end, in the inner namespace */
#define NET_LOCAL_MARK 0x5ea	/* in there, every address is local to packets sent with it */
/*
 * A TCP socket that connects in there with mark NET_CWND_MARK + n may first send 16 << n
 * segments.
 */
#define NET_CWND_MARK 0x600
#define NET_CWND_MARKS 11

/*
 * Opens the hold device: a TAP that keeps offload state (virtio-net header),
 * with room for `queue` packets. Returns its descriptor, non-blocking, and its
 * ifindex; the device lives as long as the descriptor. Negative errno.
 */
int net_hold_open(unsigned int queue, int *ifindex);

/*
 * Makes the inner namespace and the veth pair into it. The calling thread stays
 * where it is; `host_ns` and `inner_ns` become descriptors of the two namespaces,
 * `veth` and `inner` the ifindexes of the two ends. Everything vanishes with the
 * last descriptor and task of the namespace. Negative errno.
 */
int net_inner_open(int *host_ns, int *inner_ns, int *veth, int *inner);

/* A number that only this network namespace ever has; 0 if the kernel gives none. */
uint64_t net_cookie(void);

/* Deletes a link by ifindex, if its name begins with `prefix`. */
int net_link_delete(int ifindex, const char *prefix);

/* Writes a sysctl of the current namespace, "net/ipv4/...". Negative errno. */
int net_sysctl(const char *path, const char *value);

/* Reads the number in a sysctl; `unset` if there is none. */
int net_sysctl_read(const char *path, int unset);

/* Whether this host tracks connections, and so may drop those it has not seen. */
bool net_host_is_stateful(void);

/*
 * The driver of an interface as ethtool -i shows it, "" if it has none. Returns whether the
 * interface is a device on a bus, not a virtual one.
 */
bool net_driver(const char *ifname, char *driver, size_t len);

/*
 * Sends the dump request in `nlh`, after setting its flags, and calls `each` for every message
 * of the answer. 0, or a negative errno.
 */
int net_dump(struct nlmsghdr *nlh, mnl_cb_t each, void *data);

/* Whether an interface's clsact qdisc has any filter; true also if unknown. */
bool net_has_filters(int ifindex);

/* Whether a feature of an interface, named as by ethtool -k, is known to be on. */
bool net_feature(const char *ifname, const char *feature);
/* Turns one on, if the interface has it. */
void net_feature_on(const char *ifname, const char *feature);

#define NET_XDP_REDIRECT (1ULL << 1)	/* a program's XDP_REDIRECT works */
#define NET_XDP_NDO_XMIT (1ULL << 2)	/* packets can be redirected to the device */
/* What a driver can do of XDP, NET_XDP_*. -EOPNOTSUPP: the kernel does not tell. */
int net_xdp_features(int ifindex, uint64_t *features);

/* The offloads that are on, as ETH_FLAG_*. Negative errno. */
int net_offloads(const char *ifname);

/* An ioctl for the interface named in `ifr`. Negative errno. */
int net_ifreq(unsigned long request, struct ifreq *ifr);

/* An ethtool command, a structure of linux/ethtool.h, for an interface. Negative errno. */
int net_ethtool(const char *ifname, void *command);

/* Disables IPv6 on a device of Seam's: else it sends neighbour discovery as soon as it is up. */
void net_no_ipv6(const char *name);

/* Changes IFF_* of an interface; `was` (may be NULL) gets the old ones. Negative errno. */
int net_flags(const char *ifname, short set, short clear, short *was);

/* How long a packet GRO makes at most of what an interface receives; 0: not known. */
unsigned int net_gro_max(int ifindex);

/* MAC address and MTU of an interface; -EINVAL unless it is Ethernet. */
int net_port(const char *ifname, unsigned char mac[6], int *mtu);

#endif
