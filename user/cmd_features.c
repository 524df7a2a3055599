// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * seam features: what this kernel offers, and what Seam makes of it. Everything is tried,
 * nothing is concluded from version numbers. What needs an interface is tried on those of a
 * network namespace made for it, which vanishes with the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <jansson.h>

#include "client.h"
#include "cmd.h"
#include "log.h"
#include "net.h"
#include "show.h"

static const char help[] =
	"usage: seam features [-j]\n"
	"\n"
	"Tries out what Seam needs or makes use of, without touching any interface or flow.\n"
	"\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 everything required is there, 1 it is not, or not root, 2 wrong usage.\n";

/* BPF_TCX_INGRESS of Linux 6.6, which older headers do not have. */
#define TCX_INGRESS ((enum bpf_attach_type)46)

/* Each probe returns 1, 0, or a negative errno. */
static int in_namespace = -ENOSYS; /* 0 once we are in one of our own */

static const struct bpf_insn return_zero[] = {
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
	{ .code = BPF_JMP | BPF_EXIT },
};

static int load(enum bpf_prog_type type)
{
	return bpf_prog_load(type, "seam_probe", "GPL", return_zero, 2, NULL);
}

static int close_probe(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 1;
}

static int probe_privilege(void)
{
	return close_probe(load(BPF_PROG_TYPE_SCHED_CLS));
}

static int probe_namespace(void)
{
	return in_namespace ? in_namespace : 1;
}

static int probe_btf(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return -errno;
	btf__free(btf);
	return 1;
}

static int probe_jit(void)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd = load(BPF_PROG_TYPE_SCHED_CLS), ret;

	if (fd < 0)
		return fd;
	ret = bpf_obj_get_info_by_fd(fd, &info, &len) ? -errno : info.jited_prog_len > 0;
	close(fd);
	return ret;
}

static int probe_test_run(void)
{
	unsigned char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	int fd = load(BPF_PROG_TYPE_SCHED_CLS), err;

	if (fd < 0)
		return fd;
	err = bpf_prog_test_run_opts(fd, &opts);
	close(fd);
	return err ? err : 1;
}

#define HELPER(probe, type, helper)                                                   \
	static int probe(void)                                                        \
	{                                                                             \
		return libbpf_probe_bpf_helper(BPF_PROG_TYPE_##type, BPF_FUNC_##helper, NULL); \
	}

HELPER(probe_spin_lock, SCHED_CLS, spin_lock)
HELPER(probe_timer, SCHED_CLS, timer_init)
HELPER(probe_loop, SCHED_CLS, loop)
HELPER(probe_redirect_peer, SCHED_CLS, redirect_peer)
HELPER(probe_redirect_neigh, SCHED_CLS, redirect_neigh)
HELPER(probe_fib_lookup, SCHED_CLS, fib_lookup)
HELPER(probe_sk_assign, SCHED_CLS, sk_assign)
HELPER(probe_vlan, SCHED_CLS, skb_vlan_push)
HELPER(probe_xdp_fib, XDP, fib_lookup)
HELPER(probe_xdp_redirect, XDP, redirect_map)

static int probe_ringbuf(void)
{
	int map = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL);

	return map == 1 ? libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS,
						  BPF_FUNC_ringbuf_output, NULL) :
			  map;
}

static int probe_sockhash(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKHASH, NULL);
}

static int probe_lru(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_LRU_HASH, NULL);
}

static int probe_map_in_map(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_ARRAY_OF_MAPS, NULL);
}

static int probe_devmap(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_DEVMAP_HASH, NULL);
}

static int probe_sk_skb(void)
{
	return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_SKB, NULL);
}

static int probe_batch(void)
{
	__u32 keys[4], values[4], out, n = 4, zero = 0;
	int fd, err;

	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "seam_probe", 4, 4, 4, NULL);
	if (fd < 0)
		return fd;
	bpf_map_update_elem(fd, &zero, &zero, BPF_ANY);
	err = bpf_map_lookup_batch(fd, NULL, &out, keys, values, &n, NULL);
	close(fd);
	return err && err != -ENOENT ? err : n == 1;
}

static int probe_mmap(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "seam_probe", 4, 64, 1, &opts), ret = 1;
	void *at;

	if (fd < 0)
		return fd;
	at = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		ret = -errno;
	else
		munmap(at, 64);
	close(fd);
	return ret;
}

static int probe_clsact(void)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = 1, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int err;

	if (in_namespace)
		return in_namespace;
	opts.prog_fd = load(BPF_PROG_TYPE_SCHED_CLS);
	if (opts.prog_fd < 0)
		return opts.prog_fd;
	err = bpf_tc_hook_create(&hook);
	if (!err)
		err = bpf_tc_attach(&hook, &opts);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
	close(opts.prog_fd);
	return err ? err : 1;
}

static int probe_tcx(void)
{
	int fd, link;

	if (in_namespace)
		return in_namespace;
	fd = load(BPF_PROG_TYPE_SCHED_CLS);
	if (fd < 0)
		return fd;
	link = bpf_link_create(fd, 1, TCX_INGRESS, NULL);
	close(fd);
	return close_probe(link);
}

static int probe_tap(void)
{
	int ifindex;

	return in_namespace ? in_namespace : close_probe(net_hold_open(64, &ifindex));
}

static int attach_xdp(int ifindex, __u32 mode)
{
	int fd = load(BPF_PROG_TYPE_XDP), err;

	if (fd < 0)
		return fd;
	err = bpf_xdp_attach(ifindex, fd, mode, NULL);
	if (!err)
		bpf_xdp_detach(ifindex, mode, NULL);
	close(fd);
	return err ? err : 1;
}

static int probe_xdp_native(void)
{
	int ifindex, tap, ret;

	if (in_namespace)
		return in_namespace;
	tap = net_hold_open(64, &ifindex);
	if (tap < 0)
		return tap;
	ret = attach_xdp(ifindex, XDP_FLAGS_DRV_MODE);
	close(tap);
	return ret;
}

static int probe_xdp_generic(void)
{
	return in_namespace ? in_namespace : attach_xdp(1, XDP_FLAGS_SKB_MODE);
}

static int probe_inner(void)
{
	int host = -1, inner = -1, veth, inside, err;

	if (in_namespace)
		return in_namespace;
	err = net_inner_open(&host, &inner, &veth, &inside);
	if (err)
		return err;
	/* Back to the probes' own namespace, wherever that has left us. */
	if (setns(host, CLONE_NEWNET))
		err = -errno;
	net_link_delete(veth, "seam");
	close(host);
	close(inner);
	return err ? err : 1;
}

static int probe_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : close_probe(fd);
}

static int probe_repair(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = 1;
	int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF_NO_WP, queue = TCP_SEND_QUEUE, zero = 0;

	if (fd < 0)
		return -errno;
	/* As far as possible without a connection: the modes and a queue's position. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &zero, sizeof(zero)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)))
		ret = -errno;
	close(fd);
	return ret;
}

/* BTF for a program of one function, `int NAME(struct xdp_md *)`. */
static struct btf *one_function(int *func)
{
	struct btf *btf = btf__new_empty();
	int num, ctx, ptr, proto;

	if (!btf)
		return NULL;
	num = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	ctx = btf__add_struct(btf, "xdp_md", 4);
	btf__add_field(btf, "data", num, 0, 0);
	ptr = btf__add_ptr(btf, ctx);
	proto = btf__add_func_proto(btf, num);
	btf__add_func_param(btf, "ctx", ptr);
	*func = btf__add_func(btf, "seam_probe", BTF_FUNC_GLOBAL, proto);
	if (*func > 0 && !btf__load_into_kernel(btf))
		return btf;
	btf__free(btf);
	return NULL;
}

/* Whether one program can replace another's function, as libxdp's dispatcher does. */
static int probe_freplace(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts);
	struct bpf_func_info info = {};
	int func = 0, target, ext = -1, ret;
	struct btf *btf = one_function(&func);

	if (!btf)
		return -errno;
	info.type_id = func;
	opts.prog_btf_fd = btf__fd(btf);
	opts.func_info = &info;
	opts.func_info_cnt = 1;
	opts.func_info_rec_size = sizeof(info);
	ret = target = bpf_prog_load(BPF_PROG_TYPE_XDP, "seam_probe", "GPL", return_zero, 2, &opts);
	if (target >= 0) {
		opts.attach_prog_fd = target;
		opts.attach_btf_id = func;
		ret = ext = bpf_prog_load(BPF_PROG_TYPE_EXT, "seam_probe", "GPL", return_zero, 2,
					  &opts);
		if (ext >= 0)
			ret = close_probe(bpf_link_create(ext, 0, 0, NULL));
		close(target);
	}
	if (ext >= 0)
		close(ext);
	btf__free(btf);
	return ret;
}

static int probe_bpffs(void)
{
	FILE *f = fopen("/proc/filesystems", "re");
	char line[128];
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strcmp(line, "nodev\tbpf\n");
	if (f)
		fclose(f);
	return found;
}

static const struct feature {
	const char *name;
	bool required;
	int (*probe)(void);
	const char *used_for, *without;
} features[] = {
	{ "sched_cls", true, probe_privilege, "the programs on every interface",
	  "Seam does not start; it needs root and CONFIG_NET_CLS_BPF" },
	{ "clsact", true, probe_clsact, "attaching them to TC ingress",
	  "Seam does not start; CONFIG_NET_SCH_INGRESS" },
	{ "bpffs", true, probe_bpffs, "pins: state that outlives the daemon",
	  "Seam does not start; CONFIG_BPF_SYSCALL" },
	{ "btf", true, probe_btf, "fitting the programs to this kernel",
	  "the programs do not load; CONFIG_DEBUG_INFO_BTF" },
	{ "test_run", true, probe_test_run, "transitions that the daemon asks for",
	  "the daemon cannot decide anything" },
	{ "spin_lock", true, probe_spin_lock, "one owner of a flow's state at a time",
	  "the programs do not load" },
	{ "timer", true, probe_timer, "the end of a hold, whether the daemon lives or not",
	  "the programs do not load; Linux 5.15" },
	{ "loop", true, probe_loop, "walking rules and TCP options",
	  "the programs do not load; Linux 5.17" },
	{ "ringbuf", true, probe_ringbuf, "telling the daemon what happens",
	  "the programs do not load; Linux 5.8" },
	{ "sockhash", true, probe_sockhash, "finding the leg a packet is for",
	  "the programs do not load; CONFIG_BPF_STREAM_PARSER, CONFIG_NET" },
	{ "lru_hash", true, probe_lru, "handshakes, histories, records",
	  "the programs do not load" },
	{ "map_in_map", true, probe_map_in_map, "exchanging the policy whole",
	  "the programs do not load" },
	{ "mmap_array", true, probe_mmap, "the daemon's heartbeat", "the daemon does not start" },
	{ "batch", true, probe_batch, "finding idle flows, listing flows",
	  "flows never time out; Linux 5.6" },
	{ "fib_lookup", true, probe_fib_lookup, "the way on for packets past the host's stack",
	  "the programs do not load" },
	{ "redirect_neigh", true, probe_redirect_neigh, "sending what legs say to the ends",
	  "the programs do not load; Linux 5.10" },
	{ "redirect_peer", true, probe_redirect_peer, "steering packets to the inner namespace",
	  "the programs do not load; Linux 5.10" },
	{ "sk_assign", true, probe_sk_assign, "handing packets to the legs",
	  "the programs do not load; Linux 5.7" },
	{ "tun", true, probe_tap, "the hold device (/dev/net/tun)",
	  "the daemon does not start; CONFIG_TUN, modprobe tun" },
	{ "network_namespace", true, probe_namespace, "keeping legs apart from the host's sockets",
	  "the daemon does not start; CONFIG_NET_NS" },
	{ "inner_namespace", true, probe_inner, "veth pair, routes and rules for the legs",
	  "the daemon does not start; CONFIG_VETH, CONFIG_IP_MULTIPLE_TABLES" },
	{ "tcp_repair", true, probe_repair, "making the legs of a split",
	  "nothing can be split; CONFIG_CHECKPOINT_RESTORE" },
	{ "vlan", false, probe_vlan, "mode = \"wire\": the tags of what legs send",
	  "the programs do not load in that mode; Linux 4.3" },
	{ "ipv6", false, probe_ipv6, "IPv6 flows", "they are passed on untouched" },
	{ "jit", false, probe_jit, "speed", "every packet costs several times as much" },
	{ "xdp_native", false, probe_xdp_native, "the fast path in drivers that have XDP",
	  "merged flows go through TC" },
	{ "xdp_generic", false, probe_xdp_generic, "the fast path on other interfaces, if asked for",
	  "merged flows go through TC" },
	{ "xdp_redirect", false, probe_xdp_redirect, "sending packets on from XDP",
	  "merged flows go through TC" },
	{ "xdp_fib_lookup", false, probe_xdp_fib, "routing in XDP", "merged flows go through TC" },
	{ "devmap", false, probe_devmap, "sending packets on from XDP",
	  "merged flows go through TC" },
	{ "freplace", false, probe_freplace, "sharing XDP with others by libxdp's dispatcher",
	  "one XDP program per interface: where there is one already, Seam does without" },
	{ "sockmap_redirect", false, probe_sk_skb, "moving a relayed flow's bytes in the kernel",
	  "the daemon moves them" },
	{ "tcx", false, probe_tcx, "nothing yet: clsact is used", "nothing changes" },
};

#define N_FEATURES (sizeof(features) / sizeof(features[0]))

static void print_one(const struct feature *f, int got)
{
	printf("%-18s %-4s%s%s", f->name, got > 0 ? "yes" : "no",
	       f->required ? "required: " : "optional: ", f->used_for);
	if (got <= 0)
		printf("; without it: %s%s%s%s", f->without, got < 0 ? " (" : "",
		       got < 0 ? strerror(-got) : "", got < 0 ? ")" : "");
	putchar('\n');
}

static int probe_all(bool json)
{
	json_t *list = json_array();
	struct utsname uts = {};
	bool missing = false;
	size_t i;
	int got;

	uname(&uts);
	in_namespace = unshare(CLONE_NEWNET) ? -errno : 0;
	if (!json)
		printf("kernel: Linux %s %s\n", uts.release, uts.machine);
	for (i = 0; i < N_FEATURES; i++) {
		const struct feature *f = &features[i];

		got = f->probe();
		missing |= f->required && got <= 0;
		if (!json) {
			print_one(f, got);
			continue;
		}
		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:s, s:s, s:s*}", "name",
						      f->name, "available", got > 0, "required",
						      f->required, "used_for", f->used_for,
						      "without", f->without, "error",
						      got < 0 ? strerror(-got) : NULL));
	}
	if (json) {
		show_print(json_pack("{s:s, s:s, s:b, s:o}", "kernel", uts.release, "machine",
				       uts.machine, "ok", !missing, "features", list));
	} else {
		puts(missing ? "something that Seam requires is missing" :
			       "everything that Seam requires is there");
		json_decref(list);
	}
	return missing ? EXIT_FAILED : EXIT_OK;
}

int cmd_features(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	bool json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	if (geteuid()) {
		fputs("seam features: needs root to try things out: sudo seam features\n", stderr);
		return EXIT_FAILED;
	}
	log_libraries();
	return probe_all(json);
}
