#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Boots one of Debian's packaged kernels in qemu and runs guest.sh in it.
#
#	tests/kernels/run.sh OUTPUT PACKAGE [OBJECTS...]
#
# PACKAGE is a meta package, as linux-image-cloud-amd64. OBJECTS are directories
# with the same BPF objects by other compilers, to be loaded as well. Nothing is installed:
# the kernel is unpacked below OUTPUT/kernels. Emulated (TCG), so that it runs
# everywhere; at most $LIMIT seconds (default 2400: slow machines).
set -euo pipefail

out=$(readlink -f "$1") package=$2
here=$(dirname "$(readlink -f "$0")")
dir=$out/kernels
programs="ip tc bpftool ethtool xdp-loader nsenter sysctl"
modules="virtio_pci virtio_net veth tun sch_ingress cls_bpf"
mkdir -p "$dir"
root=$(mktemp -d "$dir/root.XXXXXX")
trap 'rm -rf "$root"' EXIT

# The kernel
image=$(apt-cache depends "$package" | awk '/Depends: linux-image-/ { print $2; exit }')
[ -n "$image" ] || { echo "$package: not known to apt; apt-get update?" >&2; exit 1; }
version=${image#linux-image-}
kernel=$dir/$version
if [ ! -e "$kernel/unpacked" ]; then
	(cd "$dir" && apt-get -qq download "$image")
	mkdir -p "$kernel"
	dpkg-deb -x "$dir/${image}"_*.deb "$kernel"
	/sbin/depmod -b "$kernel" "$version"
	touch "$kernel/unpacked"
fi

# What goes into the guest: a program with its libraries.
add() {
	install -D "$1" "$root$2"
	# Nothing for what is linked statically.
	{ ldd "$1" 2>/dev/null || true; } | sed -n 's/^[^/]*\(\/[^ ]*\).*/\1/p' | while read -r lib; do
		[ -e "$root$lib" ] || install -D "$(readlink -f "$lib")" "$root$lib"
	done
}

mkdir -p "$root"/{bin,proc,sys,dev,tmp,run,etc,modules,t/bpf}
add /bin/busybox /bin/busybox
# For system() and popen(): busybox's shell takes its own applets before PATH.
add "$(readlink -f /bin/sh)" /bin/sh
for p in $programs; do
	path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$p") || { echo "$p is missing" >&2; exit 1; }
	add "$(readlink -f "$path")" "/usr/sbin/$p"
done
add "${SEAM:-$out/seam}" /usr/sbin/seam
mkdir -p "$dir/bin"
cc -std=gnu11 -O2 -o "$dir/bin/tcpload" "$here/../lab/tcpload.c"
add "$dir/bin/tcpload" /usr/sbin/tcpload
for t in "$out"/tests/bpf_test_*; do
	if [ -x "$t" ]; then add "$t" "/t/$(basename "$t")"; fi
done
for d in "$out" "${@:3}"; do
	mkdir -p "$root/t/bpf/$(basename "$d")"
	cp "$d"/*.bpf.o "$root/t/bpf/$(basename "$d")/"
done
install -D "$here/../unit/bpf/verified.txt" "$root/tests/unit/bpf/verified.txt"
mkdir -p "$root/tests/fixtures/tls"
cp "$here"/../fixtures/tls/*.bin "$root/tests/fixtures/tls/"
# libxdp looks for its dispatcher here.
mkdir -p "$root/usr/lib/x86_64-linux-gnu/bpf"
cp /usr/lib/x86_64-linux-gnu/bpf/xdp-dispatcher.o "$root/usr/lib/x86_64-linux-gnu/bpf/"
n=100
for m in $modules; do
	/sbin/modprobe -S "$version" -d "$kernel" --show-depends "$m" | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r ko; do
	n=$((n + 1))
	case $ko in
	*.xz) xz -dc "$ko" > "$root/modules/$n-$(basename "$ko" .xz)" ;;
	*) cp "$ko" "$root/modules/$n-$(basename "$ko")" ;;
	esac
done
install "$here/guest.sh" "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$dir/$version.cpio.gz"

# Two pairs of network cards, each joined by a cable. A port of our own for each end.
net=() port=$((20000 + $$ % 5000 * 4))
for i in 0 1 2 3; do
	net+=(-netdev "socket,id=n$i,udp=127.0.0.1:$((port + (i ^ 1))),localaddr=127.0.0.1:$((port + i))"
	      -device "virtio-net-pci,netdev=n$i,romfile=,mac=52:54:00:00:00:0$i")
done
log=$dir/$version.log
echo "# $version"
timeout "${LIMIT:-2400}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
	-display none -no-reboot -nodefaults -serial stdio \
	-kernel "$kernel/boot/vmlinuz-$version" -initrd "$dir/$version.cpio.gz" \
	-append "console=ttyS0 panic=-1 mitigations=off quiet net.ifnames=0" "${net[@]}" \
	< /dev/null | stdbuf -o0 tr -d '\r' | tee "$log" | grep --line-buffered -aE '^(TAP|ok|not ok|1\.\.|#|Bail)' || true
grep -aqx 'GUEST: passed' "$log" || { echo "not ok - $version; all it said is in $log"; exit 1; }
