# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Fuzzers; included by tests.mk. Each has the parser's own source in it.
#
#	make fuzz [FUZZ_SECONDS=600] [FUZZERS="tls frame"]
#
# keeps what it finds in .output/fuzz/corpus; a crash leaves .output/fuzz/NAME-crash-*, to be run
# again with .output/fuzz/fuzz_NAME FILE.

FUZZERS := tls http headers pattern policy frame control explain flows trace
FUZZ_SECONDS ?= 600
# libclang-rt-14-dev of scripts/deps goes with clang 14.
FUZZ_CC ?= $(firstword $(shell command -v clang-14 clang 2>/dev/null) clang)
FUZZ_CFLAGS := $(SEAM_CFLAGS) -Itests/unit -Wno-unused-function -O1 -g -fno-omit-frame-pointer \
	-fno-sanitize-recover=undefined
FUZZ_BINS := $(patsubst %,$(O)/fuzz/fuzz_%,$(FUZZERS))
FUZZ_OBJS := $(patsubst user/%.c,$(O)/fuzz/user/%.o,$(filter-out user/main.c,$(wildcard user/*.c)))

# These read a static function, and so have the source file in their own.
$(O)/fuzz/fuzz_control: FUZZ_HAS := control
$(O)/fuzz/fuzz_explain: FUZZ_HAS := cmd_check
$(O)/fuzz/fuzz_flows: FUZZ_HAS := cmd_flows

$(O)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h tests/unit/edited.h $(FUZZ_OBJS)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< \
		$(filter-out $(O)/fuzz/user/$(FUZZ_HAS).o,$(FUZZ_OBJS)) $(SEAM_LIBS)

$(O)/fuzz/user/%.o: user/%.c Makefile tests/fuzz/fuzz.mk | $(SKELS) $(O)/fuzz/user
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

$(O)/fuzz/user:
	mkdir -p $@

.PHONY: fuzz
fuzz: $(FUZZ_BINS) $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names
	tests/fuzz/test_fuzz.py --seconds $(FUZZ_SECONDS) --keep $(FUZZERS) bpf names

-include $(wildcard $(O)/fuzz/user/*.d)
