// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ctl.skel.h"
#include "hold.skel.h"
#include "kern.h"
#include "leg.skel.h"
#include "log.h"
#include "net.h"
#include "port.skel.h"
#include "wire.h"
#include "xdp.h"

/* Where our filters sit in a clsact qdisc. */
#define TC_HANDLE 0x5ea

struct kern_objects {
	struct port_bpf *port;
	struct hold_bpf *hold;
	struct leg_bpf *leg;
	struct ctl_bpf *ctl;
	struct xdp xdp;
};

/* The maps of struct kern_maps, by their names. */
static const struct {
	const char *name;
	size_t at;
} map_names[] = {
#define MAP(name) { #name, offsetof(struct kern_maps, name) }
	MAP(flows), MAP(embryos), MAP(history), MAP(records), MAP(holds), MAP(legs), MAP(links), MAP(ports),
	MAP(names), MAP(policy), MAP(control), MAP(reasons), MAP(rule_hits), MAP(states), MAP(hops),
	MAP(events),
#undef MAP
};

#define N_MAPS (sizeof(map_names) / sizeof(map_names[0]))

static int *map_slot(struct kern_maps *m, size_t i)
{
	return (int *)((char *)m + map_names[i].at);
}

uint64_t kern_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void kern_dir(const char *instance, char *dir, size_t len)
{
	snprintf(dir, len, "%s/seam/%s", KERN_BPFFS, instance);
}

/* Mounts bpffs where every tool expects it, as iproute2 does, if it is not mounted. */
static int bpffs_ready(void)
{
	struct statfs st;

	if (!statfs(KERN_BPFFS, &st) && (unsigned long)st.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", KERN_BPFFS, "bpf", 0, "mode=0700")) {
		log_err("no BPF file system at %s, and mounting one failed: %s; as root: mount -t bpf bpf %s",
			KERN_BPFFS, strerror(errno), KERN_BPFFS);
		return -errno;
	}
	log_info("mounted a BPF file system at %s", KERN_BPFFS);
	return 0;
}

static void pins_remove(const char *dir)
{
	struct dirent *de;
	char path[600];
	DIR *d = opendir(dir);

	if (!d)
		return;
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		unlink(path);
	}
	closedir(d);
	rmdir(dir);
	/* The parent, too, if this was the last instance. */
	snprintf(path, sizeof(path), "%s/seam", KERN_BPFFS);
	rmdir(path);
}

static int maps_open(struct kern *k, bool all)
{
	char path[320];
	size_t i;
	int fd;

	for (i = 0; i < N_MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", k->dir, map_names[i].name);
		fd = bpf_obj_get(path);
		if (fd < 0 && all)
			return fd;
		*map_slot(&k->maps, i) = fd;
	}
	return 0;
}

static void maps_close(struct kern *k)
{
	size_t i;

	for (i = 0; i < N_MAPS; i++)
		if (*map_slot(&k->maps, i) > 0)
			close(*map_slot(&k->maps, i));
	memset(&k->maps, 0xff, sizeof(k->maps));
}

/* A configured size, or that of the map if it is pinned already. */
static uint32_t map_size(struct kern *k, const char *name, uint32_t wanted)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char path[320];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return wanted;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.max_entries != wanted) {
		log_warn("map %s keeps its size of %u from the run before; `seam detach` first to change it to %u",
			 name, info.max_entries, wanted);
		wanted = info.max_entries;
	}
	close(fd);
	return wanted;
}

static int load_one(struct kern *k, const struct policy *p, const char *what,
		    struct bpf_object *obj)
{
	int err;

	if (!obj) {
		err = errno ? -errno : -EINVAL;
		log_err("opening the BPF object `%s`: %s", what, strerror(-err));
		return err;
	}
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flows"),
				 map_size(k, "flows", p->max_flows));
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "links"),
				 map_size(k, "links", p->max_flows));
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "embryos"),
				 map_size(k, "embryos", p->max_embryos));
	err = bpf_object__load(obj);
	if (err)
		log_err("loading the BPF programs of `%s`: %s%s", what, strerror(-err),
			err == -EPERM ? "; Seam needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN" :
					"; run with -vv for the verifier's log, `seam features` for what is missing");
	return err;
}

size_t kern_value_size(int map)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(map, &info, &len) ? 0 : info.value_size;
}

int kern_read(int map, const void *key, void *value, size_t size)
{
	size_t have = kern_value_size(map);

	if (!have || have > size)
		return -EINVAL;
	return bpf_map_lookup_elem(map, key, value) ? -errno : 0;
}

/* Checks who made a directory of pins. -ENOENT: nobody. */
static int abi_check(struct kern *k)
{
	struct control c = {};
	__u32 zero = 0;
	char path[320];
	int fd, err;

	snprintf(path, sizeof(path), "%s/control", k->dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -ENOENT;
	err = kern_read(fd, &zero, &c, sizeof(c));
	close(fd);
	/* Its maker was killed: nothing is attached, and nothing is in it yet. */
	if (!err && !c.abi)
		return -ENOENT;
	if (err || c.abi != SEAM_ABI) {
		log_err("%s holds the state of another version of Seam (layout %u, this is %u); "
			"`seam detach` removes it, and flows that depend on it with it",
			k->dir, err ? 0 : c.abi, SEAM_ABI);
		return -EEXIST;
	}
	return 0;
}

int kern_load(struct kern *k, const struct policy *p, const char *instance)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	struct kern_objects *o;
	char parent[64];
	int err;

	memset(k, 0, sizeof(*k));
	memset(&k->maps, 0xff, sizeof(k->maps));
	kern_dir(instance, k->dir, sizeof(k->dir));
	err = bpffs_ready();
	if (err)
		return err;
	snprintf(parent, sizeof(parent), "%s/seam", KERN_BPFFS);
	if ((mkdir(parent, 0700) && errno != EEXIST) || (mkdir(k->dir, 0700) && errno != EEXIST)) {
		err = -errno;
		log_err("making %s: %s", k->dir, strerror(errno));
		return err;
	}
	err = abi_check(k);
	if (err && err != -ENOENT)
		return err;
	k->recovered = !err;

	k->objects = o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	opts.pin_root_path = k->dir;
	o->port = port_bpf__open_opts(&opts);
	o->hold = hold_bpf__open_opts(&opts);
	o->leg = leg_bpf__open_opts(&opts);
	o->ctl = ctl_bpf__open_opts(&opts);
	if (o->port && o->hold && o->leg && o->ctl) {
		o->port->rodata->backlog_limit = o->hold->rodata->backlog_limit =
			o->leg->rodata->backlog_limit = o->ctl->rodata->backlog_limit = p->backlog;
		o->port->rodata->wire_mode = o->hold->rodata->wire_mode =
			o->leg->rodata->wire_mode = o->ctl->rodata->wire_mode = p->mode == MODE_WIRE;
		o->port->rodata->bypass_passed = o->hold->rodata->bypass_passed =
			p->bypass && p->mode != MODE_WIRE; /* where there is no stack to leave */
	}
	if ((err = load_one(k, p, "port", o->port ? o->port->obj : NULL)) ||
	    (err = load_one(k, p, "hold", o->hold ? o->hold->obj : NULL)) ||
	    (err = load_one(k, p, "leg", o->leg ? o->leg->obj : NULL)) ||
	    (err = load_one(k, p, "ctl", o->ctl ? o->ctl->obj : NULL)))
		goto fail;
	k->ctl_fd = bpf_program__fd(o->ctl->progs.seam_ctl);
	err = maps_open(k, true);
	if (err) {
		log_err("opening the maps pinned in %s: %s", k->dir, strerror(-err));
		goto fail;
	}
	k->control = mmap(NULL, sizeof(*k->control), PROT_READ | PROT_WRITE, MAP_SHARED,
			  k->maps.control, 0);
	if (k->control == MAP_FAILED) {
		err = -errno;
		k->control = NULL;
		log_err("mapping the control map: %s", strerror(errno));
		goto fail;
	}
	err = xdp_open(&o->xdp, &k->maps, p->mode == MODE_WIRE);
	if (err) {
		log_err("making the map of XDP ports: %s", strerror(-err));
		goto fail;
	}
	k->control->abi = SEAM_ABI;
	return 0;
fail:
	if (!k->recovered)
		pins_remove(k->dir);
	kern_close(k);
	return err;
}

/* Replaces our filter on an interface's ingress, atomically if it is there. */
static int tc_attach(int ifindex, int prog_fd, bool *new_qdisc)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = KERN_TC_PRIORITY,
		    .prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);
	int err;

	err = bpf_tc_hook_create(&hook);
	*new_qdisc = !err;
	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

static int tc_detach(int ifindex, bool our_qdisc)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = KERN_TC_PRIORITY);
	int err = bpf_tc_detach(&hook, &opts);

	/* This would remove filters of others, too. */
	if (our_qdisc && !net_has_filters(ifindex)) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return err;
}

bool kern_attached(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = KERN_TC_PRIORITY);

	return !bpf_tc_query(&hook, &opts);
}

/* Whether there is a filter with our handle that this instance did not put there. */
static bool tc_taken(struct kern *k, int ifindex)
{
	__u32 key = ifindex;
	struct port port;

	return bpf_map_lookup_elem(k->maps.ports, &key, &port) && kern_attached(ifindex);
}

static void port_detach(const char *dir, int ifindex, const struct port *port)
{
	int err;

	xdp_detach(dir, ifindex);
	wire_undo(ifindex, port->undo);
	err = tc_detach(ifindex, port->our_qdisc);
	if (err && err != -ENOENT && err != -ENODEV && err != -EINVAL)
		log_warn("detaching from interface %d: %s", ifindex, strerror(-err));
}

/*
 * Both ports of a wire must take the same frames, or one would let frames in that the other
 * cannot let out.
 */
static int wire_join(struct kern_port *port, const char *partner)
{
	unsigned char mac[6];
	int err, mtu = 0;

	err = wire_check(port->name, port->ifindex);
	if (err)
		return err;
	port->partner = if_nametoindex(partner);
	err = port->partner ? net_port(partner, mac, &mtu) : -ENODEV;
	if (err) {
		log_err("%s, the other port of the wire of %s: %s", partner, port->name,
			err == -EINVAL ? "not an Ethernet interface" : strerror(-err));
		return err;
	}
	if (mtu != port->mtu) {
		log_err("%s has an MTU of %d, %s one of %d; a wire wants the same at both: "
			"ip link set dev %s mtu %d", port->name, port->mtu, partner, mtu,
			mtu < port->mtu ? port->name : partner, mtu < port->mtu ? mtu : port->mtu);
		return -EINVAL;
	}
	return 0;
}

/* Merges what two runs have to undo: a port that mirroring had set down had been up. */
static __u32 undo_of(__u32 before, __u32 now)
{
	if (before & PORT_UNDO_MIRROR)
		now &= ~PORT_UNDO_UP;
	return (before & ~PORT_UNDO_MIRROR) | now;
}

static struct bpf_program *program_of(struct kern *k, enum seam_end end)
{
	return end == SEAM_CLIENT ? k->objects->port->progs.seam_client :
				    k->objects->port->progs.seam_server;
}

/* Attaches to the interface that has the port's name, and fills in the rest of `port`. */
static int port_attach(struct kern *k, struct kern_port *port, const char *partner, enum policy_xdp xdp)
{
	const char *ifname = port->name;
	struct port entry = {}, old = {};
	bool new_qdisc, noted;
	int err, wire = 0;
	__u32 key;

	port->ifindex = if_nametoindex(ifname);
	if (!port->ifindex) {
		log_err("there is no interface `%s`; `ip link` lists what there is", ifname);
		return -ENODEV;
	}
	err = net_port(ifname, entry.mac, &port->mtu);
	if (err) {
		log_err("%s: %s", ifname,
			err == -EINVAL ? "not an Ethernet interface, and Seam needs one" : strerror(-err));
		return err;
	}
	/*
	 * Its packets are chains of segments with headers of their own; a program sees only the
	 * first.
	 */
	if (net_feature(ifname, "rx-gro-list")) {
		log_err("%s: rx-gro-list is on, and what would be changed is the first of several packets only: "
			"ethtool -K %s rx-gro-list off", ifname, ifname);
		return -EINVAL;
	}
	if (net_gro_max(port->ifindex) > 65536) {
		log_err("%s: its gro_max_size makes packets of more than 64k (BIG TCP), and no hold queue takes those: "
			"ip link set dev %s gro_max_size 65536; or gro_ipv4_max_size", ifname, ifname);
		return -EINVAL;
	}
	key = port->ifindex;
	err = partner ? wire_join(port, partner) : 0;
	if (err)
		return err;
	if (tc_taken(k, port->ifindex)) {
		log_err("%s: another instance of Seam is attached there; `seam detach -i NAME` removes it, "
			"or what is left of one: tc filter del dev %s ingress pref %d",
			ifname, ifname, KERN_TC_PRIORITY);
		return -EBUSY;
	}
	err = tc_attach(port->ifindex, bpf_program__fd(program_of(k, port->end)), &new_qdisc);
	if (err) {
		log_err("attaching to TC ingress of %s: %s", ifname, strerror(-err));
		return err;
	}
	noted = !bpf_map_lookup_elem(k->maps.ports, &key, &old);
	entry.end = port->end;
	entry.our_qdisc = new_qdisc || old.our_qdisc;
	entry.partner = port->partner;
	entry.undo = old.undo;
	/* Written down before XDP is attached, so that kern_detach() looks there. */
	err = bpf_map_update_elem(k->maps.ports, &key, &entry, BPF_ANY) ? -errno : 0;
	if (!err) {
		/* Before XDP: some drivers have no XDP with LRO. */
		if (partner)
			wire = wire_prepare(ifname, &entry.undo);
		entry.undo = undo_of(old.undo, entry.undo);
		xdp_attach(&k->objects->xdp, k->dir, port, xdp);
		entry.xdp = port->xdp;
		err = bpf_map_update_elem(k->maps.ports, &key, &entry, BPF_ANY) ? -errno : 0;
	}
	if (err || wire) {
		if (err)
			log_err("%s: noting it in the map `ports`: %s", ifname, strerror(-err));
		xdp_detach(k->dir, port->ifindex);
		wire_undo(port->ifindex, entry.undo & ~old.undo);
		tc_detach(port->ifindex, new_qdisc);
		if (!noted)
			bpf_map_delete_elem(k->maps.ports, &key);
		return err ?: wire;
	}
	return 0;
}

void kern_port_mac(struct kern *k, const struct kern_port *port, const unsigned char mac[6])
{
	__u32 key = port->ifindex;
	struct port entry;

	if (bpf_map_lookup_elem(k->maps.ports, &key, &entry) || !memcmp(entry.mac, mac, sizeof(entry.mac)))
		return;
	memcpy(entry.mac, mac, sizeof(entry.mac));
	bpf_map_update_elem(k->maps.ports, &key, &entry, BPF_EXIST);
}

int kern_attach(struct kern *k, const char *ifname, const char *partner, enum seam_end end,
		enum policy_xdp xdp)
{
	struct kern_port *port = &k->ports[k->n_ports];
	int err;

	if (k->n_ports == KERN_PORTS_MAX) {
		log_err("more than %d interfaces", KERN_PORTS_MAX);
		return -E2BIG;
	}
	memset(port, 0, sizeof(*port));
	snprintf(port->name, sizeof(port->name), "%s", ifname);
	port->end = end;
	err = port_attach(k, port, partner, xdp);
	if (!err)
		k->n_ports++;
	return err;
}

/* Makes what comes in by `port` leave by `partner`; 0: by none. Negative errno. */
static int set_partner(struct kern *k, struct kern_port *port, int partner)
{
	__u32 key = port->ifindex;
	struct port entry;

	if (bpf_map_lookup_elem(k->maps.ports, &key, &entry))
		return -errno;
	port->partner = entry.partner = partner;
	return bpf_map_update_elem(k->maps.ports, &key, &entry, BPF_EXIST) ? -errno : 0;
}

void kern_port_gone(struct kern *k, struct kern_port *port, struct kern_port *partner)
{
	__u32 key = port->ifindex;
	struct port entry = {};

	bpf_map_lookup_elem(k->maps.ports, &key, &entry);
	port_detach(k->dir, port->ifindex, &entry);
	xdp_forget(port->ifindex);
	bpf_map_delete_elem(k->maps.ports, &key);
	/* Another interface may get its number. */
	if (partner && partner->ifindex)
		set_partner(k, partner, 0);
	port->ifindex = port->partner = 0;
	port->link = port->held_down = false;
}

int kern_attach_again(struct kern *k, struct kern_port *port, struct kern_port *partner,
		      const char *partner_name, enum policy_xdp xdp)
{
	int err = port_attach(k, port, partner ? partner_name : NULL, xdp);

	if (err) {
		port->ifindex = port->partner = 0;
		return err;
	}
	err = partner && partner->ifindex ? set_partner(k, partner, port->ifindex) : 0;
	if (err) {
		log_err("%s: noting that it has a partner again: %s", partner->name, strerror(-err));
		kern_port_gone(k, port, NULL);
	}
	return err;
}

int kern_filter_again(struct kern *k, const struct kern_port *port)
{
	__u32 key = port->ifindex;
	struct port entry;
	bool new_qdisc;
	int err;

	if (kern_attached(port->ifindex))
		return 0;
	err = tc_attach(port->ifindex, bpf_program__fd(program_of(k, port->end)), &new_qdisc);
	if (err)
		return err;
	if (new_qdisc && !bpf_map_lookup_elem(k->maps.ports, &key, &entry)) {
		entry.our_qdisc = true;
		bpf_map_update_elem(k->maps.ports, &key, &entry, BPF_EXIST);
	}
	return 1;
}

struct kern_port *kern_port(struct kern *k, int ifindex)
{
	int i;

	for (i = 0; i < k->n_ports; i++)
		if (ifindex && k->ports[i].ifindex == ifindex)
			return &k->ports[i];
	return NULL;
}

void kern_detach_dropped(struct kern *k)
{
	char name[IF_NAMESIZE];
	struct port port = {};
	__u32 key, next;
	int err;

	err = bpf_map_get_next_key(k->maps.ports, NULL, &next);
	while (!err) {
		key = next;
		err = bpf_map_get_next_key(k->maps.ports, &key, &next);
		if (kern_port(k, key) || bpf_map_lookup_elem(k->maps.ports, &key, &port))
			continue;
		port_detach(k->dir, key, &port);
		bpf_map_delete_elem(k->maps.ports, &key);
		log_info("%s: detached, the policy does not name it any more",
			 if_indextoname(key, name) ? name : "an interface that is gone");
	}
}

int kern_attach_hold(struct kern *k, int ifindex)
{
	bool qdisc;

	return tc_attach(ifindex, bpf_program__fd(k->objects->hold->progs.seam_hold), &qdisc);
}

int kern_attach_veth(struct kern *k, int ifindex)
{
	bool qdisc;

	return tc_attach(ifindex, bpf_program__fd(k->objects->leg->progs.seam_leg_out), &qdisc);
}

int kern_attach_inner(struct kern *k, int ifindex)
{
	bool qdisc;

	return tc_attach(ifindex, bpf_program__fd(k->objects->leg->progs.seam_leg_in), &qdisc);
}

bool kern_is_here(const struct control *c)
{
	uint64_t here = net_cookie();

	return !c->netns || !here || c->netns == here;
}

int kern_detach(const char *instance)
{
	struct kern k = {};
	__u32 key, *prev = NULL;
	struct control c = {};
	union kern_value value = {}; /* another version may have less in it, or more */
	__u32 zero = 0;
	bool known, here;

	memset(&k.maps, 0xff, sizeof(k.maps));
	kern_dir(instance, k.dir, sizeof(k.dir));
	if (access(k.dir, F_OK))
		return -ENOENT;
	maps_open(&k, false);
	known = k.maps.control >= 0 && !kern_read(k.maps.control, &zero, &c, sizeof(c));
	here = !known || kern_is_here(&c);
	/* Elsewhere the same numbers mean other interfaces. */
	while (here && k.maps.ports >= 0 && !bpf_map_get_next_key(k.maps.ports, prev, &key)) {
		prev = &key;
		if (kern_read(k.maps.ports, &key, &value, sizeof(value)))
			continue;
		port_detach(k.dir, key, &value.port);
	}
	if (known && here) {
		if (c.veth_ifindex)
			net_link_delete(c.veth_ifindex, "seam");
		if (c.tap_ifindex)
			net_link_delete(c.tap_ifindex, "seam");
	}
	maps_close(&k);
	pins_remove(k.dir);
	return 0;
}

void kern_close(struct kern *k)
{
	if (k->control)
		munmap(k->control, sizeof(*k->control));
	k->control = NULL;
	maps_close(k);
	if (k->objects) {
		port_bpf__destroy(k->objects->port);
		hold_bpf__destroy(k->objects->hold);
		leg_bpf__destroy(k->objects->leg);
		ctl_bpf__destroy(k->objects->ctl);
		xdp_close(&k->objects->xdp);
		free(k->objects);
		k->objects = NULL;
	}
}

int kern_open(struct kern *k, const char *instance)
{
	int err;

	memset(k, 0, sizeof(*k));
	memset(&k->maps, 0xff, sizeof(k->maps));
	kern_dir(instance, k->dir, sizeof(k->dir));
	err = maps_open(k, true);
	if (err) {
		maps_close(k);
		return err == -ENOENT || err == -EACCES || err == -EPERM ? err : -ENOENT;
	}
	k->control = mmap(NULL, sizeof(*k->control), PROT_READ, MAP_SHARED, k->maps.control, 0);
	if (k->control == MAP_FAILED) {
		err = -errno;
		k->control = NULL;
		maps_close(k);
		return err;
	}
	return 0;
}

/* Makes a map like `model`. Before Linux 6.2 a map of maps takes only one with its types. */
static int inner_create(struct kern *k, const struct bpf_map *model, __u32 max_entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .btf_fd = bpf_object__btf_fd(k->objects->port->obj));
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_map__fd(model), &info, &len))
		return -errno;
	opts.btf_key_type_id = info.btf_key_type_id;
	opts.btf_value_type_id = info.btf_value_type_id;
	return bpf_map_create(info.type, bpf_map__name(model), info.key_size, info.value_size,
			      max_entries, &opts);
}

/* Names that packets look up if they meet the policy of that generation. */
static int kern_names(struct kern *k, const struct policy_name *names, int n, uint32_t generation)
{
	int fd = inner_create(k, k->objects->port->maps.name_rules, n ? n : 1), i, err = 0;
	__u32 slot = generation & 1;

	if (fd < 0)
		return fd;
	for (i = 0; i < n && !err; i++)
		err = bpf_map_update_elem(fd, &names[i].name, &names[i].rules, BPF_NOEXIST);
	if (!err)
		err = bpf_map_update_elem(k->maps.names, &slot, &fd, BPF_ANY);
	close(fd);
	return err;
}

int kern_policy(struct kern *k, const struct seam_rule *lines, int n,
		const struct policy_name *names, int n_names, uint32_t generation)
{
	int fd = inner_create(k, k->objects->port->maps.rules, SEAM_RULES_MAX), err;
	__u32 i, zero = 0;

	if (fd < 0)
		return fd;
	/* First: the policy says in which slot the names are. */
	err = kern_names(k, names, n_names, generation);
	for (i = 0; i < (__u32)n && !err; i++)
		err = bpf_map_update_elem(fd, &i, &lines[i], BPF_ANY);
	if (!err)
		err = bpf_map_update_elem(k->maps.policy, &zero, &fd, BPF_ANY);
	if (!err)
		k->control->policy = generation;
	close(fd);
	return err;
}

int kern_ctl(struct kern *k, struct seam_ctl *c)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c, .data_size_in = sizeof(*c),
		    .data_out = c, .data_size_out = sizeof(*c));
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	int err;

	c->result = -EIO;
	/*
	 * Each CPU has one room for it, and before Linux 6.11 another test run could come
	 * between.
	 */
	pthread_mutex_lock(&one);
	err = bpf_prog_test_run_opts(k->ctl_fd, &opts);
	pthread_mutex_unlock(&one);
	return err ? err : c->result;
}

int kern_flow(const struct kern *k, const struct flow_key *key, struct flow *f)
{
	return bpf_map_lookup_elem_flags(k->maps.flows, key, f, BPF_F_LOCK);
}

void kern_counters_clear(int map, uint32_t n)
{
	int cpus = libbpf_num_possible_cpus();
	int64_t values[cpus > 0 ? cpus : 1];
	uint32_t key;

	memset(values, 0, sizeof(values));
	for (key = 0; cpus > 0 && key < n; key++)
		bpf_map_update_elem(map, &key, values, BPF_ANY);
}

int64_t kern_counter(int map, uint32_t key)
{
	int cpus = libbpf_num_possible_cpus(), i;
	int64_t values[cpus > 0 ? cpus : 1], sum = 0;

	if (cpus < 1 || bpf_map_lookup_elem(map, &key, values))
		return 0;
	for (i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}
