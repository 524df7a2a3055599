// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Neighbours that XDP sends to. The kernel asks a stale neighbour whether it is still there
 * only if it sees that neighbour in use, and it sees nothing of what XDP forwards. So it is
 * told, once a second, of those that the `hops` map says were lately asked for.
 */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <libmnl/libmnl.h>

#include "daemon.h"
#include "seam/hop.h"

#define EVERY_NS 1000000000ULL

struct neigh {
	__u32 ifindex, family;
	__u8 addr[16];
};

int neigh_open(struct daemon *d)
{
	bool xdp = false;
	int i;

	for (i = 0; i < d->kern.n_ports; i++)
		xdp |= d->kern.ports[i].xdp != PORT_XDP_OFF;
	if (!xdp || d->started->mode == MODE_WIRE)
		return 0;
	d->neighbours = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!d->neighbours || mnl_socket_bind(d->neighbours, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	return 0;
}

void neigh_close(struct daemon *d)
{
	if (d->neighbours)
		mnl_socket_close(d->neighbours);
	d->neighbours = NULL;
}

/* Acts as if a packet had been sent to it; does not create an entry. */
static void used(struct daemon *d, const struct neigh *n)
{
	char buf[128] = "";
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *ndm;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = n->family;
	ndm->ndm_ifindex = n->ifindex;
	ndm->ndm_flags = NTF_USE;
	mnl_attr_put(nlh, NDA_DST, n->family == AF_INET ? 4 : 16, n->addr);
	mnl_socket_sendto(d->neighbours, nlh, nlh->nlmsg_len);
}

static int by_content(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct neigh));
}

/* Those that XDP or TC has asked for since then, on any CPU: at most HOPS of each. */
static size_t lately(const struct daemon *d, uint64_t since, struct neigh *out, int cpus)
{
	size_t size = (sizeof(struct hop) + 7) & ~7UL, n = 0;
	char *values = calloc(cpus, size);
	const struct hop *h;
	__u32 slot;
	int cpu;

	for (slot = 0; values && slot < HOPS; slot++) {
		if (bpf_map_lookup_elem(d->kern.maps.hops, &slot, values))
			break;
		for (cpu = 0; cpu < cpus; cpu++) {
			h = (const void *)(values + cpu * size);
			if (!h->tick || h->now < since)
				continue;
			out[n] = (struct neigh){ .ifindex = h->fib.ifindex, .family = h->nh.nh_family };
			memcpy(out[n].addr, h->nh.ipv6_nh, out[n].family == AF_INET ? 4 : 16);
			n++;
		}
	}
	free(values);
	return n;
}

void neigh_tick(struct daemon *d, uint64_t now)
{
	int cpus = libbpf_num_possible_cpus();
	struct neigh *found;
	char answers[512];
	size_t i, n;

	if (!d->neighbours || now < d->neighbours_ns || cpus < 1)
		return;
	d->neighbours_ns = now + EVERY_NS;
	found = calloc((size_t)HOPS * cpus, sizeof(*found));
	if (!found)
		return;
	n = lately(d, now - EVERY_NS, found, cpus);
	qsort(found, n, sizeof(*found), by_content);
	for (i = 0; i < n; i++)
		if (!i || by_content(&found[i - 1], &found[i]))
			used(d, &found[i]);
	free(found);
	/* There is an answer only for those that are gone, and it says no more than that. */
	while (recv(mnl_socket_get_fd(d->neighbours), answers, sizeof(answers), MSG_DONTWAIT) > 0)
		;
}
