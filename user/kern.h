/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel side as the daemon and the command line see it: where an instance
 * keeps its pins, how its programs are loaded and attached, and how a transition
 * is asked for.
 */
#ifndef SEAM_KERN_H
#define SEAM_KERN_H

#include <stdbool.h>
#include <stdint.h>

#include "policy.h"
#include "seam/ctl.h"
#include "seam/event.h"

#define KERN_BPFFS "/sys/fs/bpf"
#define KERN_TC_PRIORITY 1514 /* of its filters; `tc filter` calls it pref */
#define KERN_RUN_DIR "/run/seam"
#define KERN_PORTS_MAX 64

/* A port: an interface on the client or the server side. */
struct kern_port {
	char name[32];
	int ifindex;		/* 0: it is gone, and not replaced yet */
	int mtu;
	int partner;		/* ifindex of the other port of its wire, 0: none */
	bool link;		/* wire: it has link, as far as is known */
	bool held_down;		/* ... it is set down, as its partner has no link */
	uint64_t settle_ns;	/* ... until then it may still get its link, 0: no more */
	enum seam_end end;
	enum port_xdp xdp;
	char xdp_why[80];	/* why it has the XDP mode it has */
};

/* An entry of `ports`, of any version. */
union kern_value {
	struct port port;
	char room[256];
};

/* Maps of an instance, opened by their pins. A descriptor is -1 if there is none. */
struct kern_maps {
	int flows, embryos, history, records, holds, legs, links, ports, names, policy, control;
	int reasons, rule_hits, states, events, hops;
};

struct kern {
	char dir[256];		/* where the pins are */
	struct kern_maps maps;
	struct control *control; /* mapped; writable only in the daemon */
	int ctl_fd;		/* seam_ctl, for test_run */
	struct kern_port ports[KERN_PORTS_MAX];
	int n_ports;
	bool recovered;		/* pins of an earlier run were taken over */
	struct kern_objects *objects;
};

/* The pin directory of an instance, "/sys/fs/bpf/seam/NAME". */
void kern_dir(const char *instance, char *dir, size_t len);

/* Nanoseconds of CLOCK_MONOTONIC, the clock of all flow times. */
uint64_t kern_now(void);

/*
 * Loads every program. Shares the pinned maps that exist and makes the others. On failure logs
 * a message and leaves nothing new behind.
 */
int kern_load(struct kern *k, const struct policy *p, const char *instance);

/*
 * Attaches to one port. `partner`: the other port of its wire, or NULL. The entry in `ports`
 * says what was done.
 */
int kern_attach(struct kern *k, const char *ifname, const char *partner, enum seam_end end,
		enum policy_xdp xdp);

/* The port's MAC address, which may have changed. */
void kern_port_mac(struct kern *k, const struct kern_port *port, const unsigned char mac[6]);

/* The port that is this interface, or NULL. */
struct kern_port *kern_port(struct kern *k, int ifindex);

/*
 * The interface of a port is gone, or is no longer a port: forgets what was noted of it, except
 * its name. `partner`: the other port of its wire, or NULL. In the host's namespace.
 */
void kern_port_gone(struct kern *k, struct kern_port *port, struct kern_port *partner);

/*
 * Attaches to the interface that replaces one that is gone. `partner`: the other port of its
 * wire, whose interface is named `partner_name`, or NULL. In the host's namespace. Negative
 * errno, with a message logged: the port stays gone.
 */
int kern_attach_again(struct kern *k, struct kern_port *port, struct kern_port *partner,
		      const char *partner_name, enum policy_xdp xdp);

/*
 * Attaches to TC again if somebody has taken the filter of a port away. In the host's namespace.
 * 0: it was there, 1: it was not, and is again; or a negative errno.
 */
int kern_filter_again(struct kern *k, const struct kern_port *port);

/* Whether the ports of an instance are in the current network namespace; true also if unknown. */
bool kern_is_here(const struct control *c);

/* Detaches from the ports of the previous run that kern_attach() was not called for. */
void kern_detach_dropped(struct kern *k);

/* Attaches the programs of the hold device and the veth pair. Called with the
 * thread in the namespace that `ifindex` is in. */
int kern_attach_hold(struct kern *k, int ifindex);
int kern_attach_veth(struct kern *k, int ifindex);
int kern_attach_inner(struct kern *k, int ifindex);

/* Whether a program of Seam, of any instance, is at the TC ingress of this interface. */
bool kern_attached(int ifindex);

/* Takes the programs off every port of the `ports` map and removes all pins. */
int kern_detach(const char *instance);

/* Frees what the process holds; what is pinned and attached stays. */
void kern_close(struct kern *k);

/* Opens the maps of a running or lingering instance for reading. -ENOENT. */
int kern_open(struct kern *k, const char *instance);

/* Puts a compiled policy and its names in force, as a whole. */
int kern_policy(struct kern *k, const struct seam_rule *lines, int n,
		const struct policy_name *names, int n_names, uint32_t generation);

/*
 * Asks for a transition: runs seam_ctl on `c`. Returns c->result, or the error
 * of running it.
 */
int kern_ctl(struct kern *k, struct seam_ctl *c);

/* Copies a flow's entry; 0, or -ENOENT. */
int kern_flow(const struct kern *k, const struct flow_key *key, struct flow *f);

/* Size of a map's values in bytes; 0: not known. */
size_t kern_value_size(int map);
/*
 * Reads an entry of a map that another version may have made. Negative errno: none, or larger
 * than `size`.
 */
int kern_read(int map, const void *key, void *value, size_t size);

/* Sum over CPUs of entry `key` of a per-CPU counter map. */
int64_t kern_counter(int map, uint32_t key);
/* Sets its first `n` entries to 0. */
void kern_counters_clear(int map, uint32_t n);

#endif
