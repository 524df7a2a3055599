#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The guest's init: loads every program, runs the BPF unit tests, and takes a
# connection through hold, split and merge, over veth and over virtio network
# cards with native XDP in libxdp's dispatcher. What it prints is TAP.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmp /run
mkdir -p /run/netns /run/seam
dmesg -n 1
for m in /modules/*; do insmod "$m" || echo "# insmod $m failed"; done
# busybox's shell takes its own applets first.
ip() { /usr/sbin/ip "$@"; }
sysctl() { /usr/sbin/sysctl "$@"; }
ip link set lo up

count=0 failed=0
# check NAME COMMAND...: a test point that holds if the command succeeds
check() {
	name=$1
	shift
	count=$((count + 1))
	if "$@" > /tmp/check.log 2>&1; then
		echo "ok $count - $name"
	else
		failed=$((failed + 1))
		echo "not ok $count - $name"
		# Of TAP, what failed and its diagnostics.
		grep -v '^ok ' /tmp/check.log | tail -n "${LINES_SHOWN:-12}" | cut -c1-300 | sed 's/^/# /'
	fi
}

in_ns() { # NAMESPACE COMMAND...
	ns=$1
	shift
	nsenter --net="/run/netns/$ns" -- "$@"
}

loads() { # OBJECT
	# Of what is refused libbpf tells what the verifier said. To have that of the rest takes long.
	bpftool prog loadall "$1" /sys/fs/bpf/try > /tmp/load.log 2>&1
	rc=$?
	[ $rc = 0 ] || tail -n 40 /tmp/load.log
	rm -rf /sys/fs/bpf/try
	find /sys/fs/bpf -maxdepth 1 -type f -exec rm {} +
	return $rc
}

# plug END INTERFACE NUMBER: an end of the connection behind an interface
plug() {
	ip netns add "$1"
	ip link set "$2" netns "$1"
	in_ns "$1" ip link set lo up
	in_ns "$1" ip addr add "10.99.$3.2/24" dev "$2"
	in_ns "$1" ip link set "$2" up
	in_ns "$1" ip route add default via "10.99.$3.1"
}

# box INTERFACE NUMBER
box() {
	ip addr add "10.99.$2.1/24" dev "$1"
	ip link set "$1" up
}

xdp_count() { # packets that XDP forwarded; 83 is in include/seam/reason.h
	bpftool map lookup pinned /sys/fs/bpf/seam/default/reasons key 83 0 0 0 -j |
		tr '{' '\n' | awk -F'"value":' '/"cpu"/ && NF > 1 { gsub(/[^0-9,a-fx"]/, "", $2); print $2 }' |
		tr -d '"' | awk -F, '{ n = 0; for (i = 8; i >= 1; i--) n = n * 256 + hex($i); sum += n } END { print sum + 0 }
			function hex(s, v, i) { v = 0; s = substr(s, 3); for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return v }'
}

run_seam() { # OPTION...
	: > /tmp/seam.log	# the last run's `ready` is in it
	seam run -v "$@" > /dev/null 2> /tmp/seam.log &
	seam=$!
	n=0
	until grep -q ready /tmp/seam.log; do
		n=$((n + 1))
		[ $n -gt 1800 ] || ! kill -0 $seam && { cat /tmp/seam.log; return 1; }
		sleep 0.1
	done
}

start_seam() { # CLIENT-IF SERVER-IF XDP
	run_seam --client "$1" --server "$2" --inspect --xdp "$3"
}

# What nobody reads: by the kernel, or where that has failed Seam's own test of it, by the daemon.
relay_policy() {
	cat > /tmp/relay.conf << EOF
client = "cli"; server = "srv"; xdp = "off"; relay = "kernel";
rules = ( { name = "all"; action = "inspect"; inspectors = "count"; until = { verdict = false; time = "1h"; }; } );
EOF
}

# Which of them is printed; state 6 is that of the kernel relay.
was_relayed() {
	grep -q "no kernel relay" /tmp/seam.log && return 0
	bpftool map dump pinned /sys/fs/bpf/seam/default/history | grep -q '"to": 6,' # FLOW_RELAYED
}

no_warning() {
	! grep warning /tmp/seam.log
}

# transfer PORT BYTES: there and back, in chunks with pauses; both hashes are the same
transfer() {
	: > /tmp/server.err
	# Not by in_ns: $! would be a shell, and tcpload outlive it with its namespace.
	nsenter --net=/run/netns/server -- tcpload --listen echo 0.0.0.0 "$1" > /tmp/server.json 2> /tmp/server.err &
	server=$!
	until grep -q ready /tmp/server.err; do sleep 0.1; done
	in_ns client tcpload --send "$2" --recv "$2" --chunk 100000 --pause 30 --timeout 60 source 10.99.2.2 "$1" > /tmp/client.json
	rc=$?
	kill $server
	wait $server
	tx=$(sed 's/.*"tx_sha256": "\([^"]*\).*/\1/' /tmp/client.json)
	rx=$(sed 's/.*"rx_sha256": "\([^"]*\).*/\1/' /tmp/client.json)
	cat /tmp/client.json
	[ $rc = 0 ] && [ -n "$tx" ] && [ "$tx" = "$rx" ]
}

was_merged() {
	bpftool map dump pinned /sys/fs/bpf/seam/default/history | grep -q '"to": 8,' # FLOW_MERGED
}

forwarded_more() { # THAN
	now=$(xdp_count)
	echo "# XDP forwarded $((now - $1)) packets" > /dev/console
	[ "$now" -gt "$1" ]
}

nothing_left() {
	[ ! -e /sys/fs/bpf/seam ] && ! ip -d link show | grep -q "prog/xdp" && ! bpftool link show | grep -q xdp &&
		[ -z "$(find /sys/fs/bpf/xdp -mindepth 1 2> /dev/null)" ]
}

ended() { # the daemon, by SIGTERM
	kill "$seam"
	wait "$seam"
	rc=$?
	[ $rc = 0 ] || { echo "exit status $rc"; tail -n 5 /tmp/seam.log; }
	return $rc
}

echo "TAP version 13"
echo "# $(uname -r)"
for o in /t/bpf/*/*.bpf.o; do
	LINES_SHOWN=40 check "${o#/t/bpf/} loads" loads "$o"
done
for t in /t/bpf_test_*; do
	[ -x "$t" ] && LINES_SHOWN=40 check "$(basename "$t")" "$t"
done

sysctl -qw net.ipv4.ip_forward=1
ip link add c0 type veth peer name cli
ip link add s0 type veth peer name srv
plug client c0 1; plug server s0 2; box cli 1; box srv 2
check "veth: seam starts" start_seam cli srv off
check "veth: in the first network namespace too it has nothing to warn of" no_warning
check "veth: a connection is inspected, and arrives whole" transfer 7000 3000000
check "veth: it was merged" was_merged
check "veth: seam ends" ended
check "veth: nothing is left" nothing_left
relay_policy
check "veth: seam starts with a kernel relay" run_seam -c /tmp/relay.conf
grep "kernel relay" /tmp/seam.log | sed 's/^/# /'
check "veth: a connection is relayed, and arrives whole" transfer 7004 3000000
check "veth: by the kernel, if it has passed the test" was_relayed
check "veth: seam ends" ended
[ $failed = 0 ] || { tail -n 20 /tmp/seam.log; dmesg | grep -i segfault; } | cut -c1-300 | sed 's/^/# /'
ip link del cli
ip link del srv
ip netns del client
ip netns del server

plug client eth0 1; plug server eth3 2; box eth1 1; box eth2 2
check "virtio: the cables are plugged in" in_ns client ping -c 3 -W 2 10.99.2.2
check "virtio: without seam, a connection arrives whole" transfer 6999 300000
check "virtio: seam starts" start_seam eth1 eth2 auto
check "virtio: native XDP, in libxdp's dispatcher" grep -q "eth1: XDP (native, in libxdp's dispatcher)" /tmp/seam.log
grep XDP /tmp/seam.log | sed 's/^/# /'
before=$(xdp_count)
in_ns client sysctl -qw net.ipv4.tcp_timestamps=0	# else chance decides on XDP or TC
check "virtio: a connection is inspected, and arrives whole" transfer 7001 3000000
check "virtio: it was merged" was_merged
check "virtio: and went through XDP" forwarded_more "$before"
kill -9 $seam
check "virtio: seam starts again after a kill" start_seam eth1 eth2 auto
before=$(xdp_count)
check "virtio: a connection arrives whole" transfer 7002 3000000
check "virtio: and went through XDP" forwarded_more "$before"
one_program() { [ "$(xdp-loader status "$1" | grep -c seam_xdp_)" = 1 ] || { xdp-loader status; false; }; }
check "virtio: one program of ours is in the dispatcher" one_program eth1
check "virtio: seam ends" ended
check "virtio: nothing is left" nothing_left
echo "1..$count"
[ $failed = 0 ] && echo "GUEST: passed" || { echo "# the daemon's last words:"; tail -n 30 /tmp/seam.log | cut -c1-300 | sed 's/^/# /'; }
poweroff -f
