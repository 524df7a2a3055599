// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ctl.skel.h"
#include "hold.skel.h"
#include "leg.skel.h"
#include "port.skel.h"
#include "xdp.skel.h"

#include "harness.h"
#include "policy.h"
#include "../tap.h"

#define OUTPUT ".output/tests"
#define PINS "/sys/fs/bpf/seam-test"
#define TEST_CSUM_COMPLETE (1U << 2) /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE, Linux 6.17 */

struct conn conn;
bool csum_complete;
const char *const state_names[] = {
	"none", "handshake", "monitored", "held", "splitting", "split", "relayed", "merging",
	"merged", "passed", "blocked", "closing",
};

static const char *test_name;
static char pins[64];
static int fails;
static struct port_bpf *port;
static struct hold_bpf *hold;
static struct leg_bpf *leg;
static struct ctl_bpf *ctl_obj;
static struct xdp_bpf *xdp;
static struct control *control_map;
static int fds[N_PROGS], ifindexes[N_PROGS];
static __u64 marked[SEAM_R_MAX];

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(errno));
	exit(1);
}

/* ---- namespaces and maps ---- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s", path);
	close(fd);
}

static const char *const network[] = {
	"link set lo up",
	"link add c0 address 02:00:00:00:01:01 type veth peer name c1",
	"link add s0 address 02:00:00:00:02:01 type veth peer name s1",
	"link add h0 type veth peer name h1",
	"link add v0 type veth peer name v1",
	"link set c0 up", "link set c1 up", "link set s0 up", "link set s1 up",
	"link set h0 up", "link set h1 up", "link set v0 up", "link set v1 up",
	"addr add 10.1.0.1/24 dev c0", "addr add 10.2.0.1/24 dev s0",
	"addr add fd01::1/64 dev c0 nodad", "addr add fd02::1/64 dev s0 nodad",
	"neigh add 10.1.0.2 lladdr 02:00:00:00:01:02 dev c0 nud permanent",
	"neigh add 10.2.0.2 lladdr 02:00:00:00:02:02 dev s0 nud permanent",
	"neigh add fd01::2 lladdr 02:00:00:00:01:02 dev c0 nud permanent",
	"neigh add fd02::2 lladdr 02:00:00:00:02:02 dev s0 nud permanent",
};

/* No mount from here on is seen outside; in a chroot too, where `/` is no mount point to ask that of. */
static void private_mounts(void)
{
	int root = open("/", O_PATH), ns = open("/proc/self/ns/mnt", O_RDONLY);
	char cwd[4096];

	if (root < 0 || ns < 0 || !getcwd(cwd, sizeof(cwd)) || setns(ns, CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    fchdir(root) || chroot(".") || chdir(cwd))
		die("making mounts private");
	close(root);
	close(ns);
}

void harness_start(const char *name)
{
	static char out[1 << 16];
	FILE *ip;
	size_t i;

	test_name = name;
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		exit(0);
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		die("unshare");
	private_mounts();
	if (mount("sysfs", "/sys", "sysfs", 0, NULL) || mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		die("mount");
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	ip = popen("ip -batch -", "w");
	if (!ip)
		die("ip");
	for (i = 0; i < sizeof(network) / sizeof(network[0]); i++)
		fprintf(ip, "%s\n", network[i]);
	if (pclose(ip))
		die("ip");
	ifindexes[CLIENT] = if_nametoindex("c0");
	ifindexes[SERVER] = if_nametoindex("s0");
	ifindexes[HOLD] = if_nametoindex("h0");
	ifindexes[LEG_OUT] = if_nametoindex("v0");
	ifindexes[LEG_IN] = if_nametoindex("v1");
	mkdir(".output", 0755);
	mkdir(OUTPUT, 0755);
	csum_complete = !!getenv("SEAM_TEST_CSUM");
	harness_load(NULL);
}

static void load(struct bpf_object *obj, const struct sizes *sizes)
{
	if (!obj)
		die("opening a BPF object");
	if (sizes && sizes->flows)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flows"), sizes->flows);
	if (sizes && sizes->embryos)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "embryos"),
					 sizes->embryos);
	if (bpf_object__load(obj))
		die("loading a BPF object");
}

bool check(bool pass, const char *name, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, name);
	vsnprintf(text, sizeof(text), name, ap);
	va_end(ap);
	return ok(pass, "%s", text);
}

void note(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	diag("%s", text);
}

static void unload(void)
{
	if (control_map)
		munmap(control_map, sizeof(*control_map));
	control_map = NULL;
	port_bpf__destroy(port);
	hold_bpf__destroy(hold);
	leg_bpf__destroy(leg);
	ctl_bpf__destroy(ctl_obj);
	xdp_bpf__destroy(xdp);
	port = NULL;
	hold = NULL;
	leg = NULL;
	ctl_obj = NULL;
	xdp = NULL;
}

void harness_load(const struct sizes *sizes)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	static int round;

	bool wire = sizes && sizes->wire;

	unload();
	snprintf(pins, sizeof(pins), PINS "%d", round++);
	if (mkdir(pins, 0700))
		die("%s", pins);
	opts.pin_root_path = pins;
	port = port_bpf__open_opts(&opts);
	hold = hold_bpf__open_opts(&opts);
	leg = leg_bpf__open_opts(&opts);
	ctl_obj = ctl_bpf__open_opts(&opts);
	xdp = xdp_bpf__open_opts(&opts);
	if (!port || !hold || !leg || !ctl_obj || !xdp)
		die("opening a BPF object");
	port->rodata->wire_mode = hold->rodata->wire_mode = leg->rodata->wire_mode =
		ctl_obj->rodata->wire_mode = xdp->rodata->wire_mode = wire;
	port->rodata->bypass_passed = hold->rodata->bypass_passed = sizes && sizes->bypass;
	load(port->obj, sizes);
	load(hold->obj, sizes);
	load(leg->obj, sizes);
	load(ctl_obj->obj, sizes);
	load(xdp->obj, sizes);
	fds[CLIENT] = bpf_program__fd(port->progs.seam_client);
	fds[SERVER] = bpf_program__fd(port->progs.seam_server);
	fds[HOLD] = bpf_program__fd(hold->progs.seam_hold);
	fds[LEG_OUT] = bpf_program__fd(leg->progs.seam_leg_out);
	fds[LEG_IN] = bpf_program__fd(leg->progs.seam_leg_in);
	fds[XDP_CLIENT] = bpf_program__fd(xdp->progs.seam_xdp_client);
	fds[XDP_SERVER] = bpf_program__fd(xdp->progs.seam_xdp_server);
	for (int i = CLIENT; i <= SERVER; i++)
		if (bpf_map_update_elem(bpf_map__fd(xdp->maps.xdp_ports), &ifindexes[i], &ifindexes[i], BPF_ANY))
			die("xdp_ports");
	control_map = mmap(NULL, sizeof(*control_map), PROT_READ | PROT_WRITE, MAP_SHARED,
			   bpf_map__fd(port->maps.control), 0);
	if (control_map == MAP_FAILED)
		die("mmap");
	if (wire)
		wires(true);
}

void wires(bool one)
{
	struct port client = { .end = SEAM_CLIENT, .partner = ifindexes[one ? SERVER : HOLD] };
	struct port server = { .end = SEAM_SERVER, .partner = ifindexes[one ? CLIENT : LEG_OUT] };

	if (bpf_map_update_elem(bpf_map__fd(port->maps.ports), &ifindexes[CLIENT], &client, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(port->maps.ports), &ifindexes[SERVER], &server, BPF_ANY))
		die("ports");
}

void port_mac(const __u8 *mac)
{
	struct port lo = {};
	__u32 ifindex = 1;

	if (mac)
		memcpy(lo.mac, mac, sizeof(lo.mac));
	if (mac ? bpf_map_update_elem(bpf_map__fd(port->maps.ports), &ifindex, &lo, BPF_ANY) :
		  bpf_map_delete_elem(bpf_map__fd(port->maps.ports), &ifindex))
		die("ports");
}

void wire_to(enum prog other)
{
	struct port lo = { .partner = ifindexes[other] };
	__u32 ifindex = 1;

	if (bpf_map_update_elem(bpf_map__fd(port->maps.ports), &ifindex, &lo, BPF_ANY))
		die("ports");
}

const char *harness_pins(void)
{
	return pins;
}

int harness_end(void)
{
	unload();
	return tap_end();
}

struct control *control(void)
{
	return control_map;
}

int prog_fd(enum prog prog)
{
	return fds[prog];
}

int names_fd(void)
{
	return bpf_program__fd(port->progs.seam_names);
}

int ctl_fd(void)
{
	return bpf_program__fd(ctl_obj->progs.seam_ctl);
}

void daemon_beat(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	control_map->heartbeat_ns = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void daemon_gone(void)
{
	control_map->heartbeat_ns = 1;
	control_map->patience_ms = 1; /* whatever the machine's uptime */
}

static void clear(int fd)
{
	__u8 key[64];

	while (!bpf_map_get_next_key(fd, NULL, key))
		if (bpf_map_delete_elem(fd, key) && errno != ENOENT)
			die("clearing a map");
}

static void zero(int fd, __u32 n)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 values[cpus];

	memset(values, 0, sizeof(values));
	for (__u32 i = 0; i < n; i++)
		bpf_map_update_elem(fd, &i, values, BPF_ANY);
}

void fresh(const struct conn *c)
{
	static const struct conn usual = { .cisn = 1000000, .sisn = 5000000 };

	conn = c ? *c : usual;
	if (!conn.cport)
		conn.cport = 40000;
	if (!conn.sport)
		conn.sport = 80;
	clear(bpf_map__fd(port->maps.flows));
	clear(bpf_map__fd(port->maps.embryos));
	clear(bpf_map__fd(port->maps.holds));
	clear(bpf_map__fd(port->maps.history));
	zero(bpf_map__fd(port->maps.reasons), SEAM_R_MAX);
	zero(bpf_map__fd(port->maps.states), FLOW_STATE_MAX);
	memset(control_map, 0, sizeof(*control_map));
	control_map->abi = SEAM_ABI;
	control_map->tap_ifindex = ifindexes[HOLD];
	control_map->veth_ifindex = ifindexes[LEG_OUT];
	control_map->patience_ms = 60000;
	control_map->hold_bytes = 65536;
	control_map->hold_max_us = 60000000;
	daemon_beat();
	policy_all(RULE_ASK, 0);
	counters_mark();
}

/* A map like `model`, for one of maps; before Linux 6.2 one without BTF does not equal one with it. */
static int inner(const struct bpf_map *model, __u32 max_entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .btf_fd = bpf_object__btf_fd(port->obj));
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd;

	if (bpf_obj_get_info_by_fd(bpf_map__fd(model), &info, &len))
		die("%s", bpf_map__name(model));
	opts.btf_key_type_id = info.btf_key_type_id;
	opts.btf_value_type_id = info.btf_value_type_id;
	fd = bpf_map_create(info.type, info.name, info.key_size, info.value_size, max_entries, &opts);
	if (fd < 0)
		die("%s", bpf_map__name(model));
	return fd;
}

void policy_listed(const struct policy_name *listed, int n, __u32 generation)
{
	int fd = inner(port->maps.name_rules, n ? n : 1), i;
	__u32 slot = generation & 1;

	for (i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &listed[i].name, &listed[i].rules, BPF_NOEXIST))
			die("a name");
	if (bpf_map_update_elem(bpf_map__fd(port->maps.names), &slot, &fd, BPF_ANY))
		die("names");
	close(fd);
}

void policy(const struct seam_rule *lines, int n)
{
	int fd = inner(port->maps.rules, SEAM_RULES_MAX);
	__u32 slot = 0, i;

	for (i = 0; i < (__u32)n; i++)
		bpf_map_update_elem(fd, &i, &lines[i], BPF_ANY);
	if (bpf_map_update_elem(bpf_map__fd(port->maps.policy), &slot, &fd, BPF_ANY))
		die("policy");
	close(fd);
}

void policy_all(enum rule_action action, __u8 flags)
{
	struct seam_rule line = {
		.rule = 1, .policy = 1, .action = action, .flags = flags | RULE_F_LAST,
	};

	policy(&line, 1);
}

/* ---- packets ---- */

static __u32 sum(const void *data, size_t len, __u32 from)
{
	const __u8 *p = data;

	for (; len > 1; len -= 2, p += 2)
		from += p[0] << 8 | p[1];
	if (len)
		from += p[0] << 8;
	while (from >> 16)
		from = (from & 0xffff) + (from >> 16);
	return from;
}

static void put16(__u8 *at, __u16 v)
{
	at[0] = v >> 8;
	at[1] = v;
}

static void put32(__u8 *at, __u32 v)
{
	put16(at, v >> 16);
	put16(at + 2, v);
}

static int options(const char *text, __u8 *at)
{
	char copy[256], *word, *save = NULL;
	unsigned int a, b;
	int n = 0, kind;

	snprintf(copy, sizeof(copy), "%s", text ?: "");
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!strcmp(word, "nop")) {
			at[n++] = 1;
		} else if (!strcmp(word, "eol")) {
			at[n++] = 0;
		} else if (!strcmp(word, "sackok")) {
			at[n++] = 4;
			at[n++] = 2;
		} else if (sscanf(word, "mss=%u", &a) == 1) {
			at[n++] = 2;
			at[n++] = 4;
			put16(at + n, a);
			n += 2;
		} else if (sscanf(word, "ws=%u", &a) == 1) {
			at[n++] = 3;
			at[n++] = 3;
			at[n++] = a;
		} else if (sscanf(word, "ts=%u:%u", &a, &b) == 2) {
			at[n++] = 8;
			at[n++] = 10;
			put32(at + n, a);
			put32(at + n + 4, b);
			n += 8;
		} else if (!strncmp(word, "sack=", 5)) {
			kind = n;
			at[n++] = 5;
			at[n++] = 2;
			for (word += 5; sscanf(word, "%u:%u", &a, &b) == 2;
			     word += strcspn(word, ","), word += *word == ',') {
				put32(at + n, a);
				put32(at + n + 4, b);
				n += 8;
				at[kind + 1] += 8;
			}
		} else if (!strncmp(word, "raw=", 4)) {
			for (word += 4; sscanf(word, "%2x", &a) == 1; word += 2)
				at[n++] = a;
		} else {
			die("option %s", word);
		}
	}
	while (n % 4)
		at[n++] = 0;
	if (n > 40)
		die("options \"%s\" too long", text);
	return n;
}

static const __u8 box[2][6] = { { 2, 0, 0, 0, 1, 1 }, { 2, 0, 0, 0, 2, 1 } };

static void macs(const struct spec *s, __u8 *at)
{
	static const __u8 ends[2][6] = { { 2, 0, 0, 0, 1, 2 }, { 2, 0, 0, 0, 2, 2 } };

	if (s->link == FROM_LEG) {
		memcpy(at, "\2\0\0\0\3\1\2\0\0\0\3\2", 12);
	} else if (s->link == LEAVING) {
		memcpy(at, ends[!s->dir], 6);
		memcpy(at + 6, box[!s->dir], 6);
	} else {
		memcpy(at, box[s->dir], 6);
		memcpy(at + 6, ends[s->dir], 6);
	}
}

static const __u8 addr4[2][4] = { { 10, 1, 0, 2 }, { 10, 2, 0, 2 } };

static const __u8 *addr6(unsigned int dir)
{
	static const __u8 routed[2][16] = { { 0xfd, 1, [15] = 2 }, { 0xfd, 2, [15] = 2 } };
	static const __u8 local[2][16] = { { 0xfe, 0x80, [15] = 2 }, { 0xfe, 0x80, [15] = 3 } };

	return conn.link_local ? local[dir] : routed[dir];
}

void build(const struct spec *s, struct packet *p)
{
	static const char letters[] = "FSRPAUEC";
	__u8 *ip = p->data + 14, *th, flags = 0, extra = 0, pseudo[40];
	__u32 seq = s->seq + (s->dir == SEAM_UP ? conn.cisn : conn.sisn);
	__u32 ack = s->ack + (s->dir == SEAM_UP ? conn.sisn : conn.cisn);
	__u32 l4_len, head, len = s->data && !s->len ? strlen(s->data) : s->len;
	const char *c;
	__u32 i;
	int opt;

	memset(p, 0, sizeof(*p));
	macs(s, p->data);
	put16(p->data + 12, conn.v6 ? 0x86dd : 0x0800);
	head = conn.v6 ? 40 + 8 * s->ip_opts : 20 + 4 * s->ip_opts;
	th = ip + head;
	opt = options(s->opts, th + 20);
	l4_len = 20 + opt + len;
	for (c = s->flags; *c; c++) {
		if (strchr(letters, *c))
			flags |= 1 << (strchr(letters, *c) - letters);
		else
			extra |= *c == 'N' ? 1 : 4;
	}
	put16(th, s->dir == SEAM_UP ? conn.cport : conn.sport);
	put16(th + 2, s->dir == SEAM_UP ? conn.sport : conn.cport);
	put32(th + 4, seq);
	put32(th + 8, flags & 0x10 ? ack : s->ack);
	th[12] = (s->doff ?: (20 + opt) / 4) << 4 | extra;
	th[13] = flags;
	put16(th + 14, s->wnd);
	put16(th + 18, s->urg);
	for (i = 0; s->data && i < len; i++)
		th[20 + opt + i] = ((const __u8 *)s->data)[i];
	for (i = 0; !s->data && i < len; i++)
		th[20 + opt + i] = (seq - s->moved + i) * 7 >> 1;

	memset(pseudo, 0, sizeof(pseudo));
	if (conn.v6) {
		put32(ip, 6U << 28 | s->tos << 20 | s->label);
		put16(ip + 4, head - 40 + l4_len + s->tot);
		ip[6] = s->ip_opts ? 60 : 6;
		ip[7] = s->ttl ?: 64;
		memcpy(ip + 8, addr6(s->dir), 16);
		memcpy(ip + 24, addr6(!s->dir), 16);
		for (i = 0; i < s->ip_opts; i++)
			memcpy(ip + 40 + 8 * i, "\6\0\1\4\0\0\0\0", 8); /* PadN */
		for (i = 0; i + 1 < s->ip_opts; i++)
			ip[40 + 8 * i] = 60;
		memcpy(pseudo, ip + 8, 32);
		put32(pseudo + 32, l4_len);
		pseudo[39] = 6;
		put16(th + 16, ~sum(th, l4_len, sum(pseudo, 40, 0)));
	} else {
		ip[0] = 0x45 + s->ip_opts;
		ip[1] = s->tos;
		put16(ip + 2, head + l4_len + s->tot);
		put16(ip + 4, 0x1234);
		put16(ip + 6, s->frag ?: 0x4000);
		ip[8] = s->ttl ?: 64;
		ip[9] = 6;
		memcpy(ip + 12, addr4[s->dir], 4);
		memcpy(ip + 16, addr4[!s->dir], 4);
		memset(ip + 20, 1, 4 * s->ip_opts);
		put16(ip + 10, ~sum(ip, head, 0));
		memcpy(pseudo, ip + 12, 8);
		pseudo[9] = 6;
		put16(pseudo + 10, l4_len);
		put16(th + 16, ~sum(th, l4_len, sum(pseudo, 12, 0)));
	}
	p->len = 14 + head + l4_len + s->pad;
}

static void hexdump(const char *what, const struct packet *p)
{
	char line[128];
	__u32 i;
	int n = 0;

	diag("%s, %u bytes:", what, p->len);
	for (i = 0; i < p->len; i++) {
		n += snprintf(line + n, sizeof(line) - n, "%s%02x", i % 2 ? "" : " ", p->data[i]);
		if (i % 16 == 15 || i + 1 == p->len) {
			diag("  %04x %s", i & ~15, line);
			n = 0;
		}
	}
}

void packet_save(const char *what, const struct packet *const *packets, int n)
{
	__u32 head[6] = { 0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 1 }, rec[4] = { 0 };
	char path[256];
	FILE *f;
	int i;

	snprintf(path, sizeof(path), OUTPUT "/fail-%s-%d.pcap", test_name, ++fails);
	f = fopen(path, "w");
	if (!f)
		return;
	fwrite(head, sizeof(head), 1, f);
	for (i = 0; i < n; i++) {
		rec[0] = i;
		rec[2] = rec[3] = packets[i]->len;
		fwrite(rec, sizeof(rec), 1, f);
		fwrite(packets[i]->data, packets[i]->len, 1, f);
	}
	fclose(f);
	diag("%s: %s has %s", what, path, n == 3 ? "in, expected, found" : "the packets");
}

void build_icmp(const struct spec *about, __u8 type, __u8 code, struct packet *p)
{
	__u32 ip = conn.v6 ? 40 : 20, head = 14 + ip + 8;
	struct packet quoted;

	build(about, &quoted);
	build(&(struct spec){ .dir = !about->dir, .flags = "A", .seq = 1, .ack = 1 }, p);
	p->len = head + ip + 8;
	memset(p->data + 14 + ip, 0, 8);
	p->data[14 + ip] = type;
	p->data[14 + ip + 1] = code;
	memcpy(p->data + head, quoted.data + 14, ip + 8);
	if (conn.v6) {
		put16(p->data + 18, p->len - 54);
		p->data[20] = IPPROTO_ICMPV6;
		return;
	}
	put16(p->data + 16, p->len - 14);
	p->data[23] = IPPROTO_ICMP;
	put16(p->data + 24, 0);
	put16(p->data + 24, ~sum(p->data + 14, 20, 0));
}

bool packet_is(const char *what, const struct packet *in, const struct packet *expected,
	       const struct packet *found)
{
	const struct packet *all[] = { in, expected, found };

	if (expected->len == found->len && !memcmp(expected->data, found->data, found->len))
		return true;
	hexdump("in", in);
	hexdump("expected", expected);
	hexdump("found", found);
	packet_save(what, all, 3);
	return false;
}

int run_packet(enum prog prog, const struct packet *in, struct packet *out, __u32 gso)
{
	struct __sk_buff ctx = { .ifindex = ifindexes[prog], .gso_size = gso };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
		    .data_out = out->data, .data_size_out = sizeof(out->data), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .flags = csum_complete ? TEST_CSUM_COMPLETE : 0);
	int err;

	if (prog >= XDP_CLIENT) {
		opts.ctx_in = NULL;
		opts.ctx_size_in = opts.flags = 0;
	}
	err = bpf_prog_test_run_opts(fds[prog], &opts);
	if (err == -EINVAL && csum_complete && in->len > 60) {
		diag("this kernel's test_run knows no CHECKSUM_COMPLETE");
		csum_complete = false;
		opts.flags = 0;
		err = bpf_prog_test_run_opts(fds[prog], &opts);
	}
	out->len = err ? 0 : opts.data_size_out;
	return err ? err - 1000 : (int)opts.retval;
}

/* ---- entries ---- */

/* What a number in a fixture counts from. */
enum base { PLAIN, MINE, THEIRS, STATE, REASON };

struct field {
	const char *name;
	size_t at, size;
	enum base base;
};

#define F(type, name, base) { #name, offsetof(struct type, name), sizeof(((struct type *)0)->name), base }
static const struct field flow_fields[] = {
	F(flow, state, STATE), F(flow, reason, REASON), F(flow, why_not, REASON),
	F(flow, rule, PLAIN), F(flow, policy, PLAIN), F(flow, held_in, PLAIN),
	F(flow, held_out, PLAIN), F(flow, held_bytes, PLAIN),
	F(flow, id, PLAIN), F(flow, released_ns, PLAIN), F(flow, seen_ns, PLAIN),
	F(flow, created_ns, PLAIN), F(flow, changed_ns, PLAIN), F(flow, due_bytes, PLAIN),
	{ "leg_ms_c", offsetof(struct flow, leg_ms[SEAM_CLIENT]), 2, PLAIN },
	{ "leg_ms_s", offsetof(struct flow, leg_ms[SEAM_SERVER]), 2, PLAIN },
	{ "tc_at", offsetof(struct flow, tc_at), 8, PLAIN }, /* of both ends */
	F(flow, after_bytes, PLAIN), F(flow, after_ms, PLAIN), F(flow, after_request, PLAIN),
	F(flow, held_since, PLAIN), {},
};
static const struct field end_fields[] = {
	F(flow_end, nxt, MINE), F(flow_end, ack, THEIRS), F(flow_end, edge, THEIRS),
	F(flow_end, tsval, PLAIN), F(flow_end, told_nxt, THEIRS), F(flow_end, told_ack, MINE),
	F(flow_end, told_edge, MINE), F(flow_end, told_tsval, PLAIN), F(flow_end, bound, MINE), F(flow_end, urg, MINE), F(flow_end, pace, MINE),
	F(flow_end, leg_ack, MINE), F(flow_end, leg_edge, MINE), F(flow_end, leg_nxt, THEIRS),
	F(flow_end, ts_delta, PLAIN), F(flow_end, seq_delta, PLAIN), F(flow_end, seq_pos, MINE),
	F(flow_end, fin, MINE), F(flow_end, isn, MINE), F(flow_end, rtt_us, PLAIN),
	F(flow_end, tsval0, PLAIN), F(flow_end, tsval_ns, PLAIN), F(flow_end, tsval0_ns, PLAIN),
	F(flow_end, ifindex, PLAIN), F(flow_end, flow_label, PLAIN), F(flow_end, mss, PLAIN),
	F(flow_end, seg_max, PLAIN), F(flow_end, flags, PLAIN), F(flow_end, wscale, PLAIN),
	F(flow_end, ttl, PLAIN), F(flow_end, tos, PLAIN), F(flow_end, packets, PLAIN),
	F(flow_end, bytes, PLAIN), F(flow_end, keepalive_s, PLAIN), F(flow_end, left_ack, THEIRS), {},
};
static const struct field embryo_fields[] = {
	F(embryo, why_not, REASON), F(embryo, rule, PLAIN), F(embryo, policy, PLAIN),
	F(embryo, action, PLAIN), F(embryo, flags, PLAIN), {},
};
static const struct field embryo_end_fields[] = {
	F(embryo_end, isn, MINE), F(embryo_end, nxt, MINE), F(embryo_end, ack, THEIRS),
	F(embryo_end, wnd, PLAIN), F(embryo_end, tsval, PLAIN), F(embryo_end, mss, PLAIN),
	F(embryo_end, wscale, PLAIN), F(embryo_end, opts, PLAIN), F(embryo_end, ttl, PLAIN),
	F(embryo_end, tos, PLAIN), F(embryo_end, tcp_flags, PLAIN), F(embryo_end, ae, PLAIN),
	F(embryo_end, flow_label, PLAIN), {},
};
#undef F

static const struct {
	const char *name;
	__u32 bit;
} flow_flags[] = {
	{ "bypass", FLOW_F_BYPASS }, { "want_up", FLOW_F_WANT_UP },
	{ "want_down", FLOW_F_WANT_DOWN }, { "release", FLOW_F_RELEASE },
	{ "tstamp", FLOW_F_TSTAMP }, { "sack", FLOW_F_SACK }, { "wscale", FLOW_F_WSCALE },
	{ "ecn", FLOW_F_ECN }, { "ipv4", FLOW_F_IPV4 }, { "no_split", FLOW_F_NO_SPLIT },
	{ "block_rst", FLOW_F_BLOCK_RST }, { "inspect", FLOW_F_INSPECT },
	{ "fail_block", FLOW_F_FAIL_BLOCK }, { "rst_both", FLOW_F_RST_BOTH },
	{ "tsdelta", FLOW_F_TSDELTA }, { "history", FLOW_F_HISTORY },
	{ "aborted", FLOW_F_ABORTED }, { "tscatchup", FLOW_F_TSCATCHUP },
	{ "closed", FLOW_F_CLOSED }, { "legs", FLOW_F_LEGS }, { "edited", FLOW_F_EDITED },
	{ "waits", FLOW_F_WAITS },
	{ "armed", FLOW_F_ARMED }, { "again", FLOW_F_AGAIN }, { "answered", FLOW_F_ANSWERED },
	{ "sockmap", FLOW_F_SOCKMAP }, { "by_name", FLOW_F_BY_NAME },
	{ "exact", FLOW_F_EXACT }, { "queued_up", FLOW_F_QUEUED_UP },
	{ "queued_down", FLOW_F_QUEUED_DOWN }, {},
}, end_flags[] = {
	{ "fin", END_F_FIN }, { "fin_acked", END_F_FIN_ACKED }, { "rst", END_F_RST },
	{ "rst_ok", END_F_RST_OK }, { "astray", END_F_ASTRAY }, { "ce", END_F_CE },
	{ "cwr", END_F_CWR }, { "data", END_F_DATA }, { "urg", END_F_URG },
	{ "clamped", END_F_CLAMPED }, { "rst_sent", END_F_RST_SENT },
	{ "asked", END_F_ASKED }, { "announce", END_F_ANNOUNCE },
	{ "urg_out", END_F_URG_OUT }, { "paced", END_F_PACED }, { "learns", END_F_LEARNS }, {},
};

static int reason_by_name(const char *name)
{
#define X(sym, num, text, what) if (!strcmp(name, text)) return num;
	SEAM_REASONS(X)
#undef X
	return -1;
}

static const char *reason_name(int reason)
{
#define X(sym, num, text, what) if (reason == num) return text;
	SEAM_REASONS(X)
#undef X
	return "?";
}

static __u32 flag_bit(bool of_end, const char *name)
{
	int i;

	for (i = 0; (of_end ? end_flags : flow_flags)[i].name; i++)
		if (!strcmp((of_end ? end_flags : flow_flags)[i].name, name))
			return (of_end ? end_flags : flow_flags)[i].bit;
	errno = EINVAL;
	die("flag %s", name);
}

static const struct field *field_by_name(const struct field *f, const char *name)
{
	for (; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	errno = EINVAL;
	die("field %s", name);
}

static __u64 value_of(const struct field *f, const char *text, int end)
{
	__u64 v;
	int i;

	if (f->base == STATE) {
		for (i = 0; i < FLOW_STATE_MAX; i++)
			if (!strcmp(text, state_names[i]))
				return i;
		errno = EINVAL;
		die("state %s", text);
	}
	if (f->base == REASON) {
		if (reason_by_name(text) >= 0)
			return reason_by_name(text);
		errno = EINVAL;
		die("reason %s", text);
	}
	v = strtoll(text, NULL, 0);
	if (f->base == MINE)
		v += end == SEAM_CLIENT ? conn.cisn : conn.sisn;
	if (f->base == THEIRS)
		v += end == SEAM_CLIENT ? conn.sisn : conn.cisn;
	return f->size == 8 ? v : v & ((1ULL << f->size * 8) - 1);
}

/* What differs between flows and embryos. */
struct layout {
	const struct field *fields, *end_fields;
	size_t ends, end_size, flags, end_flags;
};

static const struct layout flow_layout = {
	flow_fields, end_fields, offsetof(struct flow, end), sizeof(struct flow_end),
	offsetof(struct flow, flags), offsetof(struct flow_end, flags),
};
static const struct layout embryo_layout = {
	embryo_fields, embryo_end_fields, offsetof(struct embryo, end), sizeof(struct embryo_end),
	offsetof(struct embryo, flags), 0,
};

static __u64 get(const void *at, size_t size)
{
	__u64 v = 0;

	memcpy(&v, at, size);
	return v;
}

/* One word of a fixture: compares, or with `set` changes. */
static bool word_is(const struct layout *l, void *entry, char *word, bool set)
{
	int end = (word[0] == 'c' || word[0] == 's') && strchr(".+-", word[1]) && word[1] ?
			  word[0] == 's' :
			  -1;
	char *p = end >= 0 ? (char *)entry + l->ends + end * l->end_size : entry;
	char *name = end >= 0 ? word + 1 : word, *eq;
	const struct field *f;
	__u64 expected, found;

	if (*name == '+' || *name == '-') {
		__u32 bit = flag_bit(end >= 0, name + 1);

		p += end >= 0 ? l->end_flags : l->flags;
		found = end >= 0 ? get(p, 2) : get(p, 4);
		if (set) {
			found = *name == '+' ? found | bit : found & ~(__u64)bit;
			memcpy(p, &found, end >= 0 ? 2 : 4);
			return true;
		}
		if (!!(found & bit) == (*name == '+'))
			return true;
		diag("expected %s, found flags %#llx", word, found);
		return false;
	}
	eq = strchr(name, '=');
	if (!eq)
		die("word %s", word);
	*eq++ = 0;
	name += *name == '.';
	f = field_by_name(end >= 0 ? l->end_fields : l->fields, name);
	expected = value_of(f, eq, end);
	if (set) {
		memcpy(p + f->at, &expected, f->size);
		return true;
	}
	found = get(p + f->at, f->size);
	if (found == expected)
		return true;
	if (f->base == REASON)
		diag("expected %s=%s, found %s", word, eq, reason_name(found));
	else if (f->base == STATE)
		diag("expected %s=%s, found %s", word, eq, state_names[found]);
	else
		diag("expected %s=%s, found %lld (%+lld)", word, eq, found,
		     (long long)(found - expected));
	return false;
}

static bool words_are(const struct layout *l, void *entry, const char *words, bool set)
{
	char copy[1024], *word, *save = NULL;
	bool good = true;

	snprintf(copy, sizeof(copy), "%s", words);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		good &= word_is(l, entry, word, set);
	return good;
}

struct flow_key flow_key(void)
{
	struct flow_key k = {
		.client_port = htons(conn.cport), .server_port = htons(conn.sport),
	};

	if (conn.v6) {
		memcpy(k.client, addr6(0), 16);
		memcpy(k.server, addr6(1), 16);
	} else {
		k.client[2] = k.server[2] = htonl(0xffff);
		memcpy(&k.client[3], addr4[0], 4);
		memcpy(&k.server[3], addr4[1], 4);
	}
	return k;
}

int flow_get(struct flow *f)
{
	struct flow_key k = flow_key();

	return bpf_map_lookup_elem(bpf_map__fd(port->maps.flows), &k, f);
}

void embryos_age(unsigned int s)
{
	int fd = bpf_map__fd(port->maps.embryos);
	struct flow_key key, *prev = NULL;
	struct embryo e;

	for (; !bpf_map_get_next_key(fd, prev, &key); prev = &key) {
		if (bpf_map_lookup_elem(fd, &key, &e))
			die("an embryo");
		e.end[SEAM_CLIENT].seen_ns -= s * 1000000000ULL;
		if (bpf_map_update_elem(fd, &key, &e, BPF_EXIST))
			die("an embryo");
	}
}

int record_get(__u64 id, struct seam_record *rec)
{
	return bpf_map_lookup_elem(bpf_map__fd(port->maps.records), &id, rec);
}

int embryo_get(struct embryo *e)
{
	struct flow_key k = flow_key();

	return bpf_map_lookup_elem(bpf_map__fd(port->maps.embryos), &k, e);
}

void flow_set(const char *set)
{
	struct flow_key k = flow_key();
	struct flow f;

	if (flow_get(&f))
		die("no flow to change");
	words_are(&flow_layout, &f, set, true);
	if (bpf_map_update_elem(bpf_map__fd(port->maps.flows), &k, &f, BPF_EXIST))
		die("changing a flow");
}

void flow_put(const struct flow *f)
{
	struct flow_key k = flow_key();

	if (bpf_map_update_elem(bpf_map__fd(port->maps.flows), &k, f, BPF_EXIST))
		die("changing a flow");
}

void flow_left_to_tc(void)
{
	struct timespec ts;
	struct flow f;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (flow_get(&f))
		die("no flow to change");
	f.tc_at[0] = f.tc_at[1] = ((ts.tv_sec + 1) * 1000000000ULL + ts.tv_nsec) >> 10 | 1; /* left_at() */
	flow_put(&f);
}

bool flow_is(const char *expected)
{
	struct flow f;
	int err = flow_get(&f);

	if (!strcmp(expected, "none")) {
		if (err)
			return true;
		diag("there is a flow");
		return false;
	}
	if (err) {
		diag("there is no flow");
		return false;
	}
	return words_are(&flow_layout, &f, expected, false);
}

bool embryo_is(const char *expected)
{
	struct embryo e;
	int err = embryo_get(&e);

	if (!strcmp(expected, "none") || err) {
		if (err && !strcmp(expected, "none"))
			return true;
		diag("there is %s embryo", err ? "no" : "an");
		return false;
	}
	return words_are(&embryo_layout, &e, expected, false);
}

static __u64 percpu(int fd, __u32 key)
{
	int cpus = libbpf_num_possible_cpus(), i;
	__u64 values[cpus], all = 0;

	memset(values, 0, sizeof(values));
	bpf_map_lookup_elem(fd, &key, values);
	for (i = 0; i < cpus; i++)
		all += values[i];
	return all;
}

__u64 counter(enum seam_reason reason)
{
	return percpu(bpf_map__fd(port->maps.reasons), reason);
}

__s64 state_counter(enum flow_state state)
{
	return percpu(bpf_map__fd(port->maps.states), state);
}

void counters_mark(void)
{
	int i;

	for (i = 0; i < SEAM_R_MAX; i++)
		marked[i] = counter(i);
}

bool counters_are(const char *expected)
{
	__u64 want[SEAM_R_MAX] = { 0 }, found;
	char copy[256], *word, *eq, *save = NULL;
	bool good = true;
	int i;

	snprintf(copy, sizeof(copy), "%s", expected);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		eq = strchr(word, '=');
		if (eq)
			*eq++ = 0;
		i = reason_by_name(word);
		errno = EINVAL;
		if (i < 0)
			die("counter %s", word);
		want[i] = eq ? atoi(eq) : 1;
	}
	for (i = 0; i < SEAM_R_MAX; i++) {
		found = counter(i) - marked[i];
		if (found == want[i])
			continue;
		diag("counter %s moved by %llu, expected %llu", reason_name(i), found, want[i]);
		good = false;
	}
	return good;
}

/* ---- steps ---- */

bool step(const struct step *s)
{
	struct packet in, out, expected;
	struct spec routed;
	bool good = true;
	int rc;

	if (s->set)
		flow_set(s->set);
	counters_mark();
	build(&s->in, &in);
	/* A router does nothing with frames to another one, whoever writes the other end's address. */
	if (s->via <= SERVER && s->in.link == ARRIVING)
		memcpy(in.data, box[s->via], 6);
	rc = run_packet(s->via, &in, &out, 0);
	if (s->out && rc == -1000 - EBADMSG) {
		build(s->out, &expected);
		/* Cutting a packet makes CHECKSUM_NONE of it, and test_run compares all the same. */
		if (expected.len < in.len)
			return ok(true, "%s # SKIP cut", s->what);
	}
	if (rc != s->rc) {
		diag("returned %d, expected %d", rc, s->rc);
		packet_save(s->what, (const struct packet *[]){ &in, &out }, rc > -1000 ? 2 : 1);
		good = false;
	}
	if (rc > -1000 && rc != DROP) {
		routed = s->out ? *s->out : s->in;
		if (s->wire) {
			routed.link = LEAVING;
			routed.ttl = (s->in.ttl ?: 64) - 1;
		}
		build(&routed, &expected);
		if (s->via <= SERVER && routed.link == ARRIVING)
			memcpy(expected.data, box[s->via], 6);
		good &= packet_is(s->what, &in, &expected, &out);
	}
	if (s->flow)
		good &= flow_is(s->flow);
	if (s->embryo)
		good &= embryo_is(s->embryo);
	if (s->counts)
		good &= counters_are(s->counts);
	return ok(good, "%s", s->what);
}

void steps(const struct step *s, int n)
{
	for (; n; n--, s++)
		step(s);
}

void establish(const char *syn, const char *synack, const char *ack)
{
	struct spec three[] = {
		{ .flags = "S", .wnd = 64240, .opts = syn },
		{ .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = synack },
		{ .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = ack },
	};
	struct packet in, out;
	int i;

	for (i = 0; i < 3; i++) {
		build(&three[i], &in);
		if (run_packet(i == 1 ? SERVER : CLIENT, &in, &out, 0) < -1000)
			die("handshake");
	}
}

struct seam_ctl ctl(enum seam_ctl_op op, __u8 reason, __u64 arg)
{
	struct seam_ctl c = {
		.op = op, .reason = reason, .arg = arg, .rule = CTL_KEEP_RULE, .key = flow_key(),
		.result = -EIO,
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &c, .data_size_in = sizeof(c),
		    .data_out = &c, .data_size_out = sizeof(c));
	struct flow f;

	if (op == CTL_EXPIRE && !flow_get(&f))
		c.state = f.state;
	if (bpf_prog_test_run_opts(bpf_program__fd(ctl_obj->progs.seam_ctl), &opts))
		die("seam_ctl");
	return c;
}

bool ctl_is(const char *what, enum seam_ctl_op op, __u8 reason, __u64 arg, int result,
	    const char *flow)
{
	struct seam_ctl c = ctl(op, reason, arg);
	bool good = c.result == result;

	if (!good)
		diag("result %d, expected %d", c.result, result);
	if (flow)
		good &= flow_is(flow);
	return ok(good, "%s", what);
}
