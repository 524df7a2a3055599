# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
#	make		build .output/seam
#	make demo	install what is missing, build, and show the main job on real traffic
#	make check	install what is missing, build, and run the tests
#	make help	the other targets

VERSION := 0.1.0
O := .output

CLANG ?= $(firstword $(shell command -v clang clang-19 clang-16 clang-14 2>/dev/null) clang)
LLVM_STRIP ?= $(firstword $(shell command -v $(subst clang,llvm-strip,$(notdir $(CLANG))) llvm-strip \
		llvm-strip-19 llvm-strip-16 llvm-strip-14 2>/dev/null) llvm-strip)
BPFTOOL ?= $(firstword $(shell command -v bpftool /usr/sbin/bpftool 2>/dev/null) bpftool)
PREFIX ?= /usr/local
ARCH := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')

WARN := -Wall -Wextra -Werror
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) $(WARN) -Wno-unused-function \
	-Wno-unused-parameter -Wno-address-of-packed-member -Iinclude -Ivmlinux -Ibpf
LIBS := libbpf libxdp libmnl libconfig jansson libhs libcrypto
CFLAGS ?= -O2 -g
SEAM_CFLAGS := -std=gnu11 $(WARN) -DSEAM_VERSION='"$(VERSION)"' -Iinclude -Iuser -I$(O) \
	$(shell pkg-config --cflags $(LIBS) 2>/dev/null)
SEAM_LIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lhttp_parser -pthread $(EXTRA_LIBS)

BPF_OBJS := $(patsubst bpf/%.bpf.c,$(O)/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELS := $(BPF_OBJS:.bpf.o=.skel.h)
USER_OBJS := $(patsubst user/%.c,$(O)/user/%.o,$(wildcard user/*.c))

.PHONY: all bpf clean help install uninstall
.DELETE_ON_ERROR:
.SECONDARY:

all: $(O)/seam

bpf: $(BPF_OBJS)

$(O)/seam: $(USER_OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(SEAM_LIBS)

$(O)/user/%.o: user/%.c Makefile | $(SKELS) $(O)/user
	$(CC) $(SEAM_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# DWARF is dropped, BTF kept: a tenth of the size in the binary.
$(O)/%.bpf.o: bpf/%.bpf.c Makefile | $(O)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(O)/$*.bpf.d -c -o $@ $<
	$(LLVM_STRIP) -g $@

$(O)/%.skel.h: $(O)/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(O) $(O)/user:
	mkdir -p $@

install: $(O)/seam
	install -D -m 0755 $(O)/seam $(DESTDIR)$(PREFIX)/sbin/seam
	install -D -m 0644 man/seam.8 $(DESTDIR)$(PREFIX)/share/man/man8/seam.8
	install -D -m 0644 man/seam.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/seam.conf.5
	install -D -m 0644 man/seam-json.5 $(DESTDIR)$(PREFIX)/share/man/man5/seam-json.5
	install -D -m 0644 examples/seam.conf $(DESTDIR)$(PREFIX)/share/doc/seam/examples/seam.conf
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local,$(PREFIX),' examples/seam.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/seam.service

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/seam $(DESTDIR)$(PREFIX)/share/man/man8/seam.8 \
		$(DESTDIR)$(PREFIX)/share/man/man5/seam.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/seam-json.5 \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/seam.service
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/seam

clean:
	rm -rf $(O)

help:
	@echo "make                build $(O)/seam"
	@echo "make install        PREFIX=$(PREFIX) DESTDIR=; uninstall"
	@echo "make demo           the main job on real traffic, in namespaces of its own (root)"
	@echo "make check          the tests, in about half an hour (root); the check-* below are not part of it"
	@echo "make bench          what packets, connections and transitions cost, beside other systems; draws docs/bench.svg (root)"
	@echo "make trace-example  draws docs/trace.svg anew, from a real run (root)"
	@echo "make bench-loss     retransmissions under loss, ten rounds; bench-stall: stalls; FULL=1: every case (root)"
	@echo "make soak           100 splits and 100 merges during each of RUNS=$(RUNS) transfers (root)"
	@echo "make check-kernels  the same programs on Debian's 6.1 and 6.12 kernels, in qemu"
	@echo "make check-cycles   1,000 splits and merges of one connection, 10,000 connections split and merged (root)"
	@echo "make check-asymmetric  merges where one end is a quarter of a second away (root)"
	@echo "make random         random connections, SEED=$(SEED) and SCHEDULES=$(SCHEDULES) from there on (root)"
	@echo "make model          the model of the transitions, exhaustively; and that each rule is needed"
	@echo "make fuzz           every fuzzer at length, FUZZ_SECONDS=$(FUZZ_SECONDS) each, FUZZERS=\"$(FUZZERS)\""
	@echo "make check-asan     the daemon with ASan and UBSan through the lab (root)"
	@echo "make check-workers  the lab's split flows with two workers; check-tsan: the same under TSan (root)"
	@echo "make check-valgrind the daemon under valgrind through a short scenario (root)"
	@echo "make check-compilers  the unit tests, built by gcc, clang 14 and clang 19"
	@echo "make clean"

include tests/tests.mk
include bench/bench.mk

-include $(wildcard $(O)/*.d $(O)/user/*.d)
