# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What `make check` runs; included by the Makefile.

POLICY_SRCS := $(wildcard user/policy*.c)
INSPECT_SRCS := $(wildcard user/inspect*.c user/http_*.c) user/editor.c user/header_edits.c user/tls_hello.c
UNIT_LIBS := -lconfig -ljansson -lhs -lhttp_parser -lcrypto

include tests/unit/unit.mk
include tests/kernels/kernels.mk
include tests/fuzz/fuzz.mk
include tests/sanitize/sanitize.mk
include tests/model/model.mk
include tests/random/random.mk

UNIT_CFLAGS := $(SEAM_CFLAGS) -Itests/unit -O1 -g -fsanitize=address,undefined
UNIT_TESTS := $(addprefix $(O)/tests/,test_tls test_http test_pattern test_replace test_proxy test_headers test_policy test_show test_frame test_trace)

$(addprefix $(O)/tests/,test_tls test_http test_pattern test_replace test_proxy test_headers): $(O)/tests/%: tests/unit/%.c \
		$(INSPECT_SRCS) $(wildcard user/*.h tests/unit/*.h) | $(O)/tests
	$(CC) $(UNIT_CFLAGS) -o $@ $< $(INSPECT_SRCS) $(UNIT_LIBS)

$(O)/tests/test_policy: tests/unit/test_policy.c $(POLICY_SRCS) $(INSPECT_SRCS) user/cmd_check.c user/show.c \
		$(wildcard user/*.h tests/unit/*.h) | $(O)/tests
	$(CC) $(UNIT_CFLAGS) -o $@ $< user/cmd_check.c user/show.c $(POLICY_SRCS) $(INSPECT_SRCS) $(UNIT_LIBS)

$(O)/tests/test_show: tests/unit/test_show.c user/show.c user/record.c \
		$(wildcard user/*.h tests/unit/*.h include/seam/*.h) | $(O)/tests
	$(CC) -D_GNU_SOURCE $(UNIT_CFLAGS) -o $@ $< user/show.c user/record.c $(UNIT_LIBS)

TRACE_SRCS := $(filter-out user/trace_capture.c,$(wildcard user/trace*.c)) user/svg.c user/show.c
$(O)/tests/test_trace: tests/unit/test_trace.c user/frame.c $(TRACE_SRCS) \
		$(wildcard user/*.h tests/unit/*.h include/seam/*.h) | $(O)/tests
	$(CC) -D_GNU_SOURCE $(UNIT_CFLAGS) -o $@ $< user/frame.c $(TRACE_SRCS) $(UNIT_LIBS)

include tests/compilers.mk

LAB_TESTS := $(sort $(wildcard tests/lab/test_*.py))

.PHONY: check demo trace-example deps-build deps-test

deps-build:
	scripts/deps build
deps-test:
	scripts/deps build test model

# In a make of its own: what was just installed is looked for anew.
check: deps-test
	$(MAKE) --no-print-directory check-run

.PHONY: check-run
check-run: $(O)/seam $(UNIT_TESTS) $(BPF_TESTS) $(FUZZ_BINS) $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names $(RANDOM_PEERS)
	SEAM=$(O)/seam prove --timer --merge --failures --comments --exec '' tests/unit/test_licence.sh $(UNIT_TESTS) $(BPF_TESTS) \
		tests/fuzz/test_fuzz.py tests/model/test_model.sh $(LAB_TESTS) \
		tests/random/test_random.py

# The same with the full numbers; about four minutes.
.PHONY: check-cycles
check-cycles: $(O)/seam
	SEAM=$(O)/seam CYCLES=1000 FLOWS=10000 tests/lab/test_cycles.py

# Wants a machine that does nothing else, and does not stop for 12 ms: a near sender then probes
# for a loss that it would not have thought of by itself. About two minutes.
.PHONY: check-asymmetric
check-asymmetric: $(O)/seam
	SEAM=$(O)/seam FULL=1 tests/lab/test_asymmetric.py

demo: deps-test
	$(MAKE) --no-print-directory $(O)/seam
	SEAM=$(O)/seam tests/lab/demo.py

trace-example: deps-test
	$(MAKE) --no-print-directory $(O)/seam
	SEAM=$(O)/seam tests/lab/trace_example.py docs/trace.svg
