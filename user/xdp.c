// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "log.h"
#include "net.h"
#include "xdp.h"
#include "xdp.skel.h"

/* The names of our programs begin with this. */
#define OUR_PROGRAMS "seam_xdp_"

int xdp_open(struct xdp *x, const struct kern_maps *maps, bool wires)
{
	memset(x, 0, sizeof(*x));
	x->maps = maps;
	x->wires = wires;
	/*
	 * Not pinned: libbpf takes a pinned map only with the flags it asked for, and the
	 * kernel adds one to a DEVMAP. A new run replaces the programs anyway, and with them
	 * the map.
	 */
	x->ports = bpf_map_create(BPF_MAP_TYPE_DEVMAP_HASH, "xdp_ports", sizeof(__u32),
				  sizeof(__u32), KERN_PORTS_MAX, NULL);
	return x->ports < 0 ? x->ports : 0;
}

void xdp_close(struct xdp *x)
{
	for (int i = 0; i < 4; i++) {
		if (x->programs[i / 2][i % 2] > 0)
			close(x->programs[i / 2][i % 2]);
		x->programs[i / 2][i % 2] = 0;
	}
	if (x->ports > 0)
		close(x->ports);
	x->ports = -1;
}

static __attribute__((format(printf, 2, 3))) void because(struct kern_port *port, const char *fmt,
							  ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(port->xdp_why, sizeof(port->xdp_why), fmt, args);
	va_end(args);
}

static int share(struct bpf_map *map, int fd)
{
	int err = bpf_map__set_autocreate(map, true);

	if (!err)
		err = bpf_map__set_pin_path(map, NULL);
	return err ? err : bpf_map__reuse_fd(map, fd);
}

/*
 * The program of one end, in an object of its own, ready to be loaded. Only a native one says
 * that it takes packets in pieces (jumbo frames). Behind a generic one that does, TC on 6.18
 * sees no packet that it can parse (every one is counted as not_tcp; presumably the copy made
 * for it loses its mac_len).
 */
static struct xdp_bpf *open_program(const struct xdp *x, enum seam_end end, bool native,
				    struct bpf_program **prog)
{
	struct xdp_bpf *o = xdp_bpf__open();
	struct bpf_program *other;
	struct bpf_map *map;
	int err = 0;

	if (!o)
		return NULL;
	bpf_object__for_each_map(map, o->obj)
		if (!err && !bpf_map__is_internal(map))
			err = bpf_map__set_autocreate(map, false);
	if (err || (err = share(o->maps.flows, x->maps->flows)) ||
	    (err = share(o->maps.reasons, x->maps->reasons)) ||
	    (err = share(o->maps.hops, x->maps->hops)) ||
	    (err = share(o->maps.links, x->maps->links)) ||
	    (err = share(o->maps.ports, x->maps->ports)) ||
	    (err = share(o->maps.xdp_ports, x->ports))) {
		xdp_bpf__destroy(o);
		errno = -err;
		return NULL;
	}
	o->rodata->wire_mode = x->wires;
	*prog = end == SEAM_CLIENT ? o->progs.seam_xdp_client : o->progs.seam_xdp_server;
	other = end == SEAM_CLIENT ? o->progs.seam_xdp_server : o->progs.seam_xdp_client;
	bpf_program__set_autoload(other, false);
	if (native)
		bpf_program__set_flags(*prog, BPF_F_XDP_HAS_FRAGS);
	return o;
}

/* Whether one program can replace another's function, as a dispatcher does. */
static bool freplace_works(struct xdp *x)
{
	struct bpf_program *target, *prog;
	struct xdp_bpf *a, *b = NULL;

	if (x->probed)
		return x->freplace;
	x->probed = true;
	a = open_program(x, SEAM_CLIENT, false, &target);
	if (!a || xdp_bpf__load(a) || !(b = open_program(x, SEAM_CLIENT, false, &prog)))
		goto out;
	x->freplace = !bpf_program__set_type(prog, BPF_PROG_TYPE_EXT) &&
		      !bpf_program__set_expected_attach_type(prog, 0) &&
		      !bpf_program__set_attach_target(prog, bpf_program__fd(target),
						      bpf_program__name(target)) &&
		      !xdp_bpf__load(b);
	log_debug("libxdp's dispatcher %s on this kernel",
		  x->freplace ? "can work" : "cannot work (freplace is refused)");
out:
	xdp_bpf__destroy(a);
	xdp_bpf__destroy(b);
	return x->freplace;
}

/* The multiprog of an interface if it is a dispatcher, else NULL. */
static struct xdp_multiprog *dispatcher_of(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);

	if (libxdp_get_error(mp))
		return NULL;
	if (!xdp_multiprog__is_legacy(mp))
		return mp;
	xdp_multiprog__close(mp);
	return NULL;
}

/* One of our programs in a dispatcher, other than the one with id `keep`. */
static struct xdp_program *ours_in(struct xdp_multiprog *mp, __u32 keep)
{
	struct xdp_program *p = NULL;

	while ((p = xdp_multiprog__next_prog(p, mp)))
		if (!strncmp(xdp_program__name(p), OUR_PROGRAMS, strlen(OUR_PROGRAMS)) &&
		    xdp_program__id(p) != keep)
			return p;
	return NULL;
}

/* Takes our programs out of the dispatcher; others stay. */
static void leave_dispatcher(int ifindex, __u32 keep)
{
	struct xdp_multiprog *mp;
	struct xdp_program *p;
	int err = 0;

	while (!err && (mp = dispatcher_of(ifindex))) {
		p = ours_in(mp, keep);
		if (p)
			err = xdp_program__detach(p, ifindex, xdp_multiprog__attach_mode(mp), 0);
		else
			err = -ENOENT;
		xdp_multiprog__close(mp);
	}
	if (err && err != -ENOENT)
		log_warn("taking the XDP program out of the dispatcher of interface %d: %s", ifindex,
			 strerror(-err));
}

static int join_dispatcher(struct xdp *x, struct kern_port *port, bool native)
{
	enum xdp_attach_mode mode = native ? XDP_MODE_NATIVE : XDP_MODE_SKB;
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts);
	struct xdp_program *p = NULL;
	struct xdp_multiprog *mp;
	struct bpf_program *prog;
	struct xdp_bpf *o;
	int err;

	o = open_program(x, port->end, native, &prog);
	if (!o)
		return -errno;
	opts.obj = o->obj;
	opts.prog_name = bpf_program__name(prog);
	p = xdp_program__create(&opts);
	err = libxdp_get_error(p);
	if (err) {
		p = NULL;
		goto out;
	}
	err = xdp_program__attach(p, port->ifindex, mode, 0);
	if (err)
		goto out;
	mp = dispatcher_of(port->ifindex);
	if (mp) {
		xdp_multiprog__close(mp);
		leave_dispatcher(port->ifindex, xdp_program__id(p));
		because(port, "in libxdp's dispatcher");
	} else {
		/* It fell back to a single program, which nothing could replace in place. */
		xdp_program__detach(p, port->ifindex, mode, 0);
		err = -EOPNOTSUPP;
	}
out:
	xdp_program__close(p);
	xdp_bpf__destroy(o);
	return err;
}

static void link_path(const char *dir, int ifindex, char *path, size_t len)
{
	snprintf(path, len, "%s/xdp_link_%d", dir, ifindex);
}

/* The link of an earlier run if `query` says that it is still attached, or -1. */
static int link_find(const char *dir, int ifindex, const struct bpf_xdp_query_opts *query,
		     unsigned int attached)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	char path[320];
	int fd;

	link_path(dir, ifindex, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -1;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == BPF_LINK_TYPE_XDP &&
	    (int)info.xdp.ifindex == ifindex && info.prog_id == query->prog_id &&
	    query->attach_mode == attached)
		return fd;
	/* Not left to the last reference: the kernel drops it some time later. */
	bpf_link_detach(fd);
	close(fd);
	unlink(path);
	return -1;
}

/*
 * The program of one end, loaded once: it may take a second. Not the caller's to close.
 * Negative errno.
 */
static int program_fd(struct xdp *x, enum seam_end end, bool native)
{
	int *fd = &x->programs[end][native], err;
	struct bpf_program *prog;
	struct xdp_bpf *o;

	if (*fd > 0)
		return *fd;
	o = open_program(x, end, native, &prog);
	if (!o)
		return -errno;
	err = xdp_bpf__load(o);
	if (!err) {
		*fd = fcntl(bpf_program__fd(prog), F_DUPFD_CLOEXEC, 3);
		err = *fd < 0 ? -errno : *fd;
	}
	xdp_bpf__destroy(o);
	return err;
}

/* Attaches by a link of our own: `link` if there is one already, else a new one. */
static int attach_link(struct xdp *x, const char *dir, struct kern_port *port, int link, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int prog = program_fd(x, port->end, native), fd, err = 0;
	char path[320];

	if (prog < 0)
		return prog;
	if (link >= 0) {
		err = bpf_link_update(link, prog, NULL);
	} else {
		fd = bpf_link_create(prog, port->ifindex, BPF_XDP, &opts);
		if (fd < 0)
			return fd;
		link_path(dir, port->ifindex, path, sizeof(path));
		if (bpf_obj_pin(fd, path))
			err = -errno;
		close(fd);
	}
	if (!err)
		because(port, "by a link of its own");
	return err;
}

/* Whether the device leaves VLAN tags in the frames. */
static bool leaves_tags(const char *ifname)
{
	int offloads = net_offloads(ifname);

	return offloads >= 0 && !(offloads & ETH_FLAG_RXVLAN);
}

/*
 * Whether a driver lets XDP forward: one that only knows XDP_PASS and XDP_TX drops what is
 * redirected. Before Linux 6.3 that has to be known of it; these can in 6.1.
 */
static bool can_redirect(const struct kern_port *port, const char *driver)
{
	static const char *const known[] = {
		"bnxt_en", "ena", "fsl_dpaa2_eth", "fsl_enetc", "hv_netvsc", "i40e", "ice", "igb", "igc", "ixgbe",
		"mlx5_core", "mvneta", "mvpp2", "qede", "sfc", "virtio_net",
	};
	uint64_t features;
	size_t i;

	if (!net_xdp_features(port->ifindex, &features))
		return features & NET_XDP_REDIRECT;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i], driver))
			return true;
	return false;
}

/* Whether packets can be redirected to a port that has a program by now, as some drivers want. */
static bool takes_redirected(const struct kern_port *port, enum port_xdp mode)
{
	uint64_t features;

	return mode != PORT_XDP_NATIVE || net_xdp_features(port->ifindex, &features) ||
	       (features & NET_XDP_NDO_XMIT);
}

static enum port_xdp wanted_by_driver(struct kern_port *port, enum policy_xdp how, bool real,
				      const char *driver)
{
	switch (how) {
	case POLICY_XDP_OFF:
		because(port, "turned off");
		return PORT_XDP_OFF;
	case POLICY_XDP_GENERIC:
		return PORT_XDP_GENERIC;
	case POLICY_XDP_NATIVE:
		return PORT_XDP_NATIVE;
	default:
		if (real && strcmp(driver, "vif")) {
			if (can_redirect(port, driver))
				return PORT_XDP_NATIVE;
			because(port, "the driver %s is not known to forward by XDP", driver);
			return PORT_XDP_OFF;
		}
		if (!strcmp(driver, "veth"))
			because(port, "veth: TC is faster there, and XDP would see incomplete checksums");
		else
			because(port, "%s is no hardware: XDP could see incomplete checksums",
				*driver ? driver : "a device without driver");
		return PORT_XDP_OFF;
	}
}

/* The mode to try; PORT_XDP_OFF with the reason filled in. */
static enum port_xdp wanted(struct kern_port *port, enum policy_xdp how)
{
	char driver[32];
	bool real = net_driver(port->name, driver, sizeof(driver));
	enum port_xdp mode = wanted_by_driver(port, how, real, driver);

	if (mode != PORT_XDP_OFF && port->partner && !leaves_tags(port->name)) {
		because(port, "on a wire it must see VLAN tags: ethtool -K %s rxvlan off", port->name);
		return PORT_XDP_OFF;
	}
	if (mode == PORT_XDP_NATIVE && !strcmp(driver, "veth"))
		log_warn("%s: native XDP on a veth: its peer must complete checksums "
			 "(`ethtool -K <peer> tx off`) and have NAPI (`ethtool -K <peer> "
			 "gro on`), or what is forwarded is lost%s", port->name,
			 port->partner ? "; and leave VLAN tags where they are (txvlan off)" : "");
	return mode;
}

static int attach(struct xdp *x, const char *dir, struct kern_port *port, enum port_xdp mode)
{
	bool native = mode == PORT_XDP_NATIVE;
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct xdp_multiprog *mp;
	struct xdp_program *p;
	int err, link;
	bool free;

	err = bpf_xdp_query(port->ifindex, 0, &query);
	if (err)
		return err;
	link = link_find(dir, port->ifindex, &query, native ? XDP_ATTACHED_DRV : XDP_ATTACHED_SKB);
	if (link >= 0) {
		err = attach_link(x, dir, port, link, native);
		close(link);
		return err;
	}
	/* In a dispatcher from an earlier run, another mode requires starting anew. */
	mp = dispatcher_of(port->ifindex);
	p = mp ? ours_in(mp, 0) : NULL;
	if (p && xdp_multiprog__attach_mode(mp) != (native ? XDP_MODE_NATIVE : XDP_MODE_SKB)) {
		xdp_multiprog__close(mp);
		leave_dispatcher(port->ifindex, 0);
		mp = dispatcher_of(port->ifindex);
	}
	/* Queried again: what was ours may have gone just now. */
	query.prog_id = 0;
	err = bpf_xdp_query(port->ifindex, 0, &query);
	free = !err && !query.prog_id;
	err = -EBUSY;
	if ((mp || free) && freplace_works(x))
		err = join_dispatcher(x, port, native);
	if (mp)
		xdp_multiprog__close(mp);
	if (err && free)
		err = attach_link(x, dir, port, -1, native);
	else if (err == -EBUSY)
		because(port, "XDP program %u of someone else is there, %s", query.prog_id,
			mp ? "and it could not be joined" : "not in a dispatcher to join");
	return err;
}

void xdp_attach(struct xdp *x, const char *dir, struct kern_port *port, enum policy_xdp how)
{
	bool asked = how == POLICY_XDP_NATIVE || how == POLICY_XDP_GENERIC;
	enum port_xdp mode = wanted(port, how);
	__u32 key = port->ifindex;
	bool to;
	int err;

	port->xdp = PORT_XDP_OFF;
	if (mode == PORT_XDP_OFF) {
		xdp_detach(dir, port->ifindex);
		log_write(asked ? LOG_WARNING : LOG_INFO, "%s: TC; no XDP: %s", port->name, port->xdp_why);
		return;
	}
	err = attach(x, dir, port, mode);
	to = !err && takes_redirected(port, mode);
	if (to && bpf_map_update_elem(x->ports, &key, &key, BPF_ANY))
		err = -errno;
	if (err) {
		xdp_detach(dir, port->ifindex);
		if (!port->xdp_why[0] || err != -EBUSY)
			because(port, "%s: %s", mode == PORT_XDP_NATIVE ? "native XDP" : "generic XDP",
				err == -EOPNOTSUPP ? "the driver has none" : strerror(-err));
		log_write(asked ? LOG_WARNING : LOG_INFO, "%s: TC; no XDP: %s", port->name, port->xdp_why);
		return;
	}
	port->xdp = mode;
	log_info("%s: XDP (%s, %s), TC for the rest%s", port->name,
		 mode == PORT_XDP_NATIVE ? "native" : "generic", port->xdp_why,
		 to ? "" : "; and for all that leaves by it, which its driver cannot do for XDP");
}

void xdp_detach(const char *dir, int ifindex)
{
	char path[320];
	int fd;

	link_path(dir, ifindex, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd); /* at once, as in link_find() */
		close(fd);
	}
	if (unlink(path) && errno != ENOENT)
		log_warn("removing %s: %s", path, strerror(errno));
	leave_dispatcher(ifindex, 0);
}

void xdp_forget(int ifindex)
{
	/* libxdp would make its directory if there were none. */
	if (!access(KERN_BPFFS "/xdp", F_OK))
		libxdp_clean_references(ifindex);
}
