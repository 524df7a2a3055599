// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>

#include "log.h"
#include "net.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/*
 * The table that makes every packet local: for packets from the veth pair, or with
 * NET_LOCAL_MARK.
 */
#define LOCAL_TABLE 100
/* The first of the tables with an initial congestion window. */
#define CWND_TABLE 101
/* A value of the sysctl tcp_recovery. */
#define RACK_NO_DUPTHRESH 4
#define NEXT_HOP4 "169.254.1.1"
#define NEXT_HOP6 "fe80::1"

int net_sysctl(const char *path, const char *value)
{
	char file[160];
	int fd, err = 0;

	snprintf(file, sizeof(file), "/proc/sys/%s", path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int net_sysctl_read(const char *path, int unset)
{
	char file[160];
	FILE *f;
	int n;

	snprintf(file, sizeof(file), "/proc/sys/%s", path);
	f = fopen(file, "re");
	if (!f || fscanf(f, "%d", &n) != 1)
		n = unset;
	if (f)
		fclose(f);
	return n;
}

bool net_host_is_stateful(void)
{
	return net_sysctl_read("net/netfilter/nf_conntrack_count", 0) > 0;
}

int net_ifreq(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, request, ifr))
		err = -errno;
	close(fd);
	return err;
}

int net_ethtool(const char *ifname, void *command)
{
	struct ifreq ifr = { .ifr_data = command };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return net_ifreq(SIOCETHTOOL, &ifr);
}

int net_flags(const char *ifname, short set, short clear, short *was)
{
	struct ifreq ifr = {};
	int err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	err = net_ifreq(SIOCGIFFLAGS, &ifr);
	if (err)
		return err;
	if (was)
		*was = ifr.ifr_flags;
	ifr.ifr_flags = (ifr.ifr_flags | set) & ~clear;
	return net_ifreq(SIOCSIFFLAGS, &ifr);
}

static int set_up(const char *name)
{
	return net_flags(name, IFF_UP, 0, NULL);
}

void net_no_ipv6(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "net/ipv6/conf/%s/disable_ipv6", name);
	net_sysctl(path, "1");
}

/* Begins a request: all zeros, since attributes are sent with their padding. */
static struct nlmsghdr *request_new(char *buf)
{
	memset(buf, 0, MNL_SOCKET_BUFFER_SIZE);
	return mnl_nlmsg_put_header(buf);
}

/* Sends one rtnetlink request and waits for its acknowledgement. */
static int transact(struct nlmsghdr *nlh)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int n, err = 0;

	if (!nl)
		return -errno;
	nlh->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		err = -errno;
		goto out;
	}
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0 || mnl_cb_run(buf, n, 1, mnl_socket_get_portid(nl), NULL, NULL) < 0)
		err = -errno;
out:
	mnl_socket_close(nl);
	return err;
}

/* How many dumps may be torn by concurrent changes before that counts as an error. */
#define DUMP_TRIES 5

static int dump_once(struct nlmsghdr *nlh, mnl_cb_t each, void *data)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int n, err = 0;

	if (!nl)
		return -errno;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		goto fail;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			goto fail;
		n = mnl_cb_run(buf, n, 0, mnl_socket_get_portid(nl), each, data);
		if (n < 0)
			goto fail;
	} while (n > MNL_CB_STOP);
	goto out;
fail:
	err = -errno;
out:
	mnl_socket_close(nl);
	return err;
}

int net_dump(struct nlmsghdr *nlh, mnl_cb_t each, void *data)
{
	int i, err;

	for (i = 0; i < DUMP_TRIES; i++) {
		err = dump_once(nlh, each, data);
		if (err != -EINTR)
			break;
	}
	return err;
}

/* Creates the pair: the host end here, the other end in the namespace `inner_ns`. */
static int veth_create(const char *name, int inner_ns, unsigned int mtu)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, NET_INNER_NAME);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, inner_ns);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return transact(nlh);
}

uint64_t net_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		cookie = 0;
	close(fd);
	return cookie;
}

int net_link_delete(int ifindex, const char *prefix)
{
	char buf[MNL_SOCKET_BUFFER_SIZE], name[IF_NAMESIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct ifinfomsg *ifi;

	if (!if_indextoname(ifindex, name))
		return -errno;
	if (strncmp(name, prefix, strlen(prefix)))
		return -EEXIST;
	nlh->nlmsg_type = RTM_DELLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = ifindex;
	return transact(nlh);
}

/*
 * One on-link next hop with a fixed address, instead of a route to the device. Such a route
 * would make a neighbour of every destination, and their number is limited over all namespaces
 * together.
 */
static int neigh_add(int family, const void *addr, size_t len, int ifindex)
{
	static const unsigned char mac[6] = { 0x02, 0x5e, 0xa3, 0, 0, 1 };
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct ndmsg *nd;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	nd = mnl_nlmsg_put_extra_header(nlh, sizeof(*nd));
	nd->ndm_family = family;
	nd->ndm_ifindex = ifindex;
	nd->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nlh, NDA_DST, len, addr);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac), mac);
	return transact(nlh);
}

/* `cwnd`: segments that a connection by this route may first send, 0: the kernel's choice. */
static int route_add(int family, int table, int type, int oif, const void *gw, size_t len,
		     unsigned int cwnd)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct nlattr *metrics;
	struct rtmsg *rtm;

	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = family;
	rtm->rtm_table = table;
	rtm->rtm_protocol = RTPROT_STATIC;
	rtm->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = type;
	if (gw) {
		rtm->rtm_flags = RTNH_F_ONLINK;
		mnl_attr_put(nlh, RTA_GATEWAY, len, gw);
	}
	mnl_attr_put_u32(nlh, RTA_OIF, oif);
	if (cwnd) {
		metrics = mnl_attr_nest_start(nlh, RTA_METRICS);
		mnl_attr_put_u32(nlh, RTAX_INITCWND, cwnd);
		mnl_attr_nest_end(nlh, metrics);
	}
	return transact(nlh);
}

/* Makes everything that comes in by `iif`, or has the mark, look into `table`. */
static int rule_add(int family, const char *iif, unsigned int mark, int table)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct fib_rule_hdr *frh;

	nlh->nlmsg_type = RTM_NEWRULE;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
	frh->family = family;
	frh->table = table;
	frh->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, 10);
	if (iif)
		mnl_attr_put_strz(nlh, FRA_IIFNAME, iif);
	else
		mnl_attr_put_u32(nlh, FRA_FWMARK, mark);
	return transact(nlh);
}

/*
 * Legs recover from loss as the box's own TCP does: a new namespace does not inherit what the
 * host's administrator has set.
 */
static const char *const inherited[] = {
	"net/ipv4/tcp_early_retrans", "net/ipv4/tcp_recovery", "net/ipv4/tcp_reordering",
	"net/ipv4/tcp_max_reordering", "net/ipv4/tcp_dsack", "net/ipv4/tcp_frto",
	"net/ipv4/tcp_retries2", "net/ipv4/tcp_rto_min_us", "net/ipv4/tcp_autocorking",
	"net/ipv4/tcp_mtu_probing", "net/ipv4/tcp_base_mss",
};

#define N_INHERITED (sizeof(inherited) / sizeof(inherited[0]))

/* Their values in this namespace; empty where the kernel has none. */
struct tcp_settings {
	char value[N_INHERITED][32];
};

static void settings_read(struct tcp_settings *s)
{
	char path[80];
	size_t i;
	FILE *f;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < N_INHERITED; i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", inherited[i]);
		f = fopen(path, "re");
		if (f && !fgets(s->value[i], sizeof(s->value[i]), f))
			s->value[i][0] = 0;
		if (f)
			fclose(f);
	}
}

/*
 * A connection learns how much its path reorders; a leg that takes its place knows nothing of
 * that. Three SACKed segments alone are therefore no loss to a leg yet: a quarter of a round
 * trip has to pass as well (RFC 8985 6.2 step 4).
 */
static void patient_recovery(const struct tcp_settings *s)
{
	char value[16];
	size_t i;
	int err;

	for (i = 0; i < N_INHERITED; i++) {
		if (strcmp(inherited[i], "net/ipv4/tcp_recovery"))
			continue;
		snprintf(value, sizeof(value), "%d", atoi(s->value[i]) | RACK_NO_DUPTHRESH);
		err = s->value[i][0] ? net_sysctl(inherited[i], value) : 0;
		if (err)
			log_debug("%s: %s", inherited[i], strerror(-err));
	}
}

static void settings_write(const struct tcp_settings *s)
{
	size_t i;
	int err;

	for (i = 0; i < N_INHERITED; i++) {
		err = s->value[i][0] ? net_sysctl(inherited[i], s->value[i]) : 0;
		if (err)
			log_debug("%s: %s", inherited[i], strerror(-err));
	}
	patient_recovery(s);
}

#define RPS_MASK_LEN 2560 /* 9 characters for each 32 CPUs, of up to 8192 and more */

/*
 * A veth queues to the backlog of the sending CPU, and a leg sends from several: that of
 * whoever writes to it, and that of whichever takes its acks. Its packets would overtake each
 * other. Receive packet steering brings those of a socket to one CPU
 * (Documentation/networking/scaling.rst). It is set in sysfs, and the one mounted need not be
 * this namespace's: a child mounts its own.
 */
static int steer_packets(const char *name)
{
	char path[80], mask[RPS_MASK_LEN] = "";
	int cpus = libbpf_num_possible_cpus(), i, fd, status;
	size_t n = 0;
	pid_t child;

	if (cpus > RPS_MASK_LEN / 9 * 32)
		return -E2BIG;
	for (i = (cpus - 1) / 32; i >= 0; i--)
		n += snprintf(mask + n, sizeof(mask) - n, "%x%s",
			      cpus - i * 32 >= 32 ? ~0U : (1U << (cpus - i * 32)) - 1, i ? "," : "");
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-0/rps_cpus", name);
	child = fork();
	if (child < 0)
		return -errno;
	if (!child) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(errno);
		/* EBUSY: the one mounted is already this namespace's. */
		if (mount("sysfs", "/sys", "sysfs", 0, NULL) && errno != EBUSY)
			_exit(errno);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		_exit(fd >= 0 && write(fd, mask, n) == (ssize_t)n ? 0 : errno);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* The ways in and out of the inner namespace, for one family. */
static int routes_add(int family, int inner, const void *hop, size_t len)
{
	int err, n;

	if ((err = neigh_add(family, hop, len, inner)) ||
	    (err = route_add(family, RT_TABLE_MAIN, RTN_UNICAST, inner, hop, len, 0)) ||
	    (err = route_add(family, LOCAL_TABLE, RTN_LOCAL, 1, NULL, 0, 0)) ||
	    (err = rule_add(family, NET_INNER_NAME, 0, LOCAL_TABLE)) ||
	    (err = rule_add(family, NULL, NET_LOCAL_MARK, LOCAL_TABLE)))
		return err;
	for (n = 0; n < NET_CWND_MARKS && !err; n++) {
		err = route_add(family, CWND_TABLE + n, RTN_UNICAST, inner, hop, len, 16U << n);
		if (!err)
			err = rule_add(family, NULL, NET_CWND_MARK + n, CWND_TABLE + n);
	}
	return err;
}

/* Sets up routes and settings inside; the thread is there already. */
static int inner_configure(int inner)
{
	static const struct {
		const char *path, *value;
	} sysctls[] = {
		{ "net/ipv4/conf/all/rp_filter", "0" },
		{ "net/ipv4/conf/" NET_INNER_NAME "/rp_filter", "0" },
		{ "net/ipv4/conf/" NET_INNER_NAME "/accept_local", "1" },
		/* Off on the kernel's command line, it is off in every new namespace. */
		{ "net/ipv6/conf/lo/disable_ipv6", "0" },
		{ "net/ipv6/conf/" NET_INNER_NAME "/disable_ipv6", "0" },
		{ "net/ipv6/conf/" NET_INNER_NAME "/addr_gen_mode", "1" },
		{ "net/ipv6/conf/" NET_INNER_NAME "/accept_ra", "0" },
		{ "net/ipv6/conf/" NET_INNER_NAME "/dad_transmits", "0" },
		/* The ends close end to end; nothing of a connection stays here. */
		{ "net/ipv4/tcp_max_tw_buckets", "0" },
		{ "net/ipv4/tcp_orphan_retries", "1" },
		{ "net/ipv4/tcp_no_metrics_save", "1" },
		/* A leg's window is bounded by the real receiver's, told by BPF. */
		{ "net/ipv4/tcp_rmem", "4096 4194304 33554432" },
		{ "net/ipv4/tcp_wmem", "4096 262144 33554432" },
		{ "net/ipv4/tcp_window_scaling", "1" },
		{ "net/ipv4/tcp_timestamps", "1" },
		{ "net/ipv4/tcp_sack", "1" },
		{ "net/ipv4/tcp_slow_start_after_idle", "0" },
	};
	struct in6_addr hop6;
	struct in_addr hop4;
	size_t i;
	int err;

	for (i = 0; i < sizeof(sysctls) / sizeof(sysctls[0]); i++) {
		err = net_sysctl(sysctls[i].path, sysctls[i].value);
		if (err)
			log_debug("%s: %s", sysctls[i].path, strerror(-err));
	}
	inet_pton(AF_INET, NEXT_HOP4, &hop4);
	inet_pton(AF_INET6, NEXT_HOP6, &hop6);
	if ((err = set_up("lo")) || (err = set_up(NET_INNER_NAME)) ||
	    (err = routes_add(AF_INET, inner, &hop4, sizeof(hop4))))
		return err;
	/* A kernel without IPv6 has no IPv6 flows either. */
	return access("/proc/sys/net/ipv6", F_OK) ? 0 :
						    routes_add(AF_INET6, inner, &hop6, sizeof(hop6));
}

int net_inner_open(int *host_ns, int *inner_ns, int *veth, int *inner)
{
	struct tcp_settings settings;
	char name[IF_NAMESIZE];
	int err, n;

	settings_read(&settings);
	*inner_ns = -1;
	*host_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (*host_ns < 0)
		return -errno;
	if (unshare(CLONE_NEWNET)) {
		err = -errno;
		goto fail;
	}
	*inner_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (*inner_ns < 0 || setns(*host_ns, CLONE_NEWNET)) {
		err = -errno;
		goto fail;
	}
	for (n = 0, err = -EEXIST; err == -EEXIST && n < 64; n++) {
		snprintf(name, sizeof(name), NET_VETH_NAME, n);
		err = veth_create(name, *inner_ns, 65535);
	}
	if (err)
		goto fail;
	*veth = if_nametoindex(name);
	net_no_ipv6(name);
	err = steer_packets(name);
	if (err)
		log_warn("steering packets of %s to one CPU per leg: %s; legs may retransmit needlessly",
			 name, strerror(-err));
	err = set_up(name);
	if (err)
		goto fail;
	if (setns(*inner_ns, CLONE_NEWNET)) {
		err = -errno;
		goto fail;
	}
	settings_write(&settings);
	*inner = if_nametoindex(NET_INNER_NAME);
	err = inner_configure(*inner);
	if (err)
		goto fail;
	return setns(*host_ns, CLONE_NEWNET) ? -errno : 0;
fail:
	setns(*host_ns, CLONE_NEWNET);
	return err;
}

bool net_driver(const char *ifname, char *driver, size_t len)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };

	if (net_ethtool(ifname, &info))
		memset(&info, 0, sizeof(info));
	snprintf(driver, len, "%s", info.driver);
	/* Some virtual devices put these where others have nothing. */
	return info.bus_info[0] && strcmp(info.bus_info, "N/A") && strcmp(info.bus_info, "tap") &&
	       strcmp(info.bus_info, "tun");
}

static int one_filter(const struct nlmsghdr *nlh, void *seen)
{
	*(bool *)seen |= nlh->nlmsg_type == RTM_NEWTFILTER;
	return MNL_CB_OK;
}

bool net_has_filters(int ifindex)
{
	static const __u32 parents[] = { TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
					 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh;
	struct tcmsg *tc;
	bool seen = false;
	size_t i;

	for (i = 0; i < 2; i++) {
		nlh = request_new(buf);
		nlh->nlmsg_type = RTM_GETTFILTER;
		tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
		tc->tcm_ifindex = ifindex;
		tc->tcm_parent = parents[i];
		if (net_dump(nlh, one_filter, &seen))
			return true;
	}
	return seen;
}

int net_offloads(const char *ifname)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	int err = net_ethtool(ifname, &flags);

	return err ? err : (int)flags.data;
}

int net_port(const char *ifname, unsigned char mac[6], int *mtu)
{
	struct ifreq ifr = {};
	int err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	err = net_ifreq(SIOCGIFHWADDR, &ifr);
	if (err)
		return err;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EINVAL;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	err = net_ifreq(SIOCGIFMTU, &ifr);
	*mtu = ifr.ifr_mtu;
	return err;
}

/* Of a newer linux/if_link.h than Debian 12's. */
#define GRO_MAX_SIZE 58	     /* IFLA_GRO_MAX_SIZE */
#define GRO_IPV4_MAX_SIZE 64 /* IFLA_GRO_IPV4_MAX_SIZE */

struct gro {
	int ifindex;
	unsigned int max;
};

static int gro_of(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	struct gro *gro = data;
	unsigned int type;

	if (nlh->nlmsg_type != RTM_NEWLINK || ifi->ifi_index != gro->ifindex)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		type = mnl_attr_get_type(attr);
		if ((type == GRO_MAX_SIZE || type == GRO_IPV4_MAX_SIZE) && mnl_attr_get_u32(attr) > gro->max)
			gro->max = mnl_attr_get_u32(attr);
	}
	return MNL_CB_OK;
}

unsigned int net_gro_max(int ifindex)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = request_new(buf);
	struct gro gro = { .ifindex = ifindex };

	nlh->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	return net_dump(nlh, gro_of, &gro) ? 0 : gro.max;
}
