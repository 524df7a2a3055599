# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Unit tests, included by tests.mk: of the daemon's sources, built with the sanitizers, and of the
# BPF programs, run by BPF_PROG_TEST_RUN (root).

UNIT_TESTS := $(patsubst tests/unit/%.c,$(O)/tests/%,$(wildcard tests/unit/test_*.c))
BPF_TESTS := $(patsubst tests/unit/bpf/%.c,$(O)/tests/bpf_%,$(wildcard tests/unit/bpf/test_*.c))

UNIT_CFLAGS := $(SEAM_CFLAGS) -Itests/unit -Itests/unit/bpf -Wno-missing-field-initializers -Wno-override-init -O1 -g
UNIT_LIBS := -lbpf -lconfig -ljansson -lhs -lhttp_parser -lcrypto
SANITIZED := $(UNIT_CFLAGS) -fsanitize=address,undefined
# Of a test's one source file: what it includes.
UNIT_DEPS = -MMD -MP -MT $@ -MF $(O)/tests/deps/$(@F).d

objects = $(patsubst user/%.c,%.o,$(wildcard $(1)))
POLICY_OBJS := $(call objects,user/policy*.c)
INSPECT_OBJS := $(call objects,user/inspect*.c user/http_*.c) editor.o header_edits.o tls_hello.o
TRACE_OBJS := $(filter-out trace_capture.o,$(call objects,user/trace*.c)) svg.o show.o frame.o

sanitized = $(addprefix $(O)/tests/user/,$(1))
$(addprefix $(O)/tests/test_,tls http pattern replace proxy headers): $(call sanitized,$(INSPECT_OBJS))
$(O)/tests/test_policy: $(call sanitized,cmd_check.o show.o $(POLICY_OBJS) $(INSPECT_OBJS))
$(O)/tests/test_show: $(call sanitized,show.o record.o)
$(O)/tests/test_trace: $(call sanitized,$(TRACE_OBJS))
$(O)/tests/test_frame: $(call sanitized,frame.o)

$(UNIT_TESTS): $(O)/tests/%: tests/unit/%.c | $(O)/tests/deps
	$(CC) $(SANITIZED) $(UNIT_DEPS) -o $@ $(filter %.c %.o,$^) $(UNIT_LIBS)

$(O)/tests/user/%.o: user/%.c Makefile tests/unit/unit.mk | $(SKELS) $(O)/tests/user
	$(CC) $(SANITIZED) -MMD -MP -c -o $@ $<

BPF_HARNESS := $(O)/tests/deps/harness.o

$(BPF_HARNESS): tests/unit/bpf/harness.c | $(SKELS) $(O)/tests/deps
	$(CC) $(UNIT_CFLAGS) $(UNIT_DEPS) -c -o $@ $<

# With what the daemon finds in the same packets, to compare with.
$(O)/tests/bpf_test_names $(O)/tests/fuzz_names: $(addprefix $(O)/user/,$(POLICY_OBJS) $(INSPECT_OBJS))

$(BPF_TESTS): $(O)/tests/bpf_%: tests/unit/bpf/%.c $(BPF_HARNESS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_DEPS) -o $@ $(filter %.c %.o,$^) $(UNIT_LIBS)

$(O)/tests/fuzz_bpf $(O)/tests/fuzz_names: $(O)/tests/%: tests/fuzz/%.c $(BPF_HARNESS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_DEPS) -o $@ $(filter %.c %.o,$^) $(UNIT_LIBS)

$(O)/tests $(O)/tests/deps $(O)/tests/user:
	mkdir -p $@

# The second time with CHECKSUM_COMPLETE, which the kernel checks after each packet.
.PHONY: check-bpf
check-bpf: $(BPF_TESTS) $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names $(O)/tests/test_frame
	@failed=; for t in $(BPF_TESTS) $(O)/tests/test_frame $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names \
			$(patsubst %,"env SEAM_TEST_CSUM=1 %",$(filter-out %verifier,$(BPF_TESTS))); do \
		echo "# $$t"; $$t || failed="$$failed $$t"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

-include $(wildcard $(O)/tests/deps/*.d $(O)/tests/user/*.d)
