# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Benchmarks, see docs/benchmarks.md; included by the Makefile.

ROUNDS ?= 3
RUNS ?= 20

$(O)/bench/cost: bench/cost.c $(BPF_HARNESS) | $(O)/bench/again.skel.h
	$(CC) $(UNIT_CFLAGS) $(UNIT_DEPS) -O2 -o $@ $(filter %.c %.o,$^) -lbpf

$(O)/bench/%.bpf.o: bench/%.bpf.c | $(O)/bench
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(O)/bench/$*.bpf.d -c -o $@ $<
	$(LLVM_STRIP) -g $@

$(O)/bench/%.skel.h: $(O)/bench/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(O)/bench/fill: bench/fill.c include/seam/flow.h | $(O)/bench
	$(CC) -std=gnu11 $(WARN) $(CFLAGS) -Iinclude -o $@ $< -lbpf

$(O)/bench/splice $(O)/bench/load: $(O)/bench/%: bench/%.c | $(O)/bench
	$(CC) -std=gnu11 $(WARN) $(CFLAGS) -o $@ $<

$(O)/bench:
	mkdir -p $@

.PHONY: bench bench-run
bench:
	scripts/deps build test bench
	$(MAKE) --no-print-directory bench-run

BENCH_TOOLS := $(addprefix $(O)/bench/,cost splice load fill redirect.bpf.o)

.PHONY: bench-tools
bench-tools: $(O)/seam $(BENCH_TOOLS)

bench-run: bench-tools
	bench/bench.py --rounds $(ROUNDS) $(if $(FULL),--full)
	bench/plot.py docs/bench.svg

# At length, and every case if FULL=1 is given.
.PHONY: bench-stall bench-loss soak
bench-stall bench-loss: bench-%: $(O)/seam
	bench/bench.py --rounds 10 $(if $(FULL),--full) $*

# 100 splits and 100 merges during each of $(RUNS) transfers, case by case.
soak: $(O)/seam
	bench/soak.py --runs $(RUNS)

.PHONY: bench-goodput
bench-goodput: $(O)/seam
	bench/goodput.py --rounds $(ROUNDS)

-include $(wildcard $(O)/bench/*.d)
