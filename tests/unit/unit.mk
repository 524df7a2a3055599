# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Unit tests of the BPF programs and of user/frame.c; included by the Makefile.

BPF_TESTS := $(patsubst tests/unit/bpf/%.c,$(O)/tests/bpf_%,$(wildcard tests/unit/bpf/test_*.c))
TEST_CFLAGS := -std=gnu11 $(WARN) -Iinclude -Iuser -Itests/unit -I$(O) -Wno-missing-field-initializers -Wno-override-init

$(O)/tests/bpf-harness.o: tests/unit/bpf/harness.c tests/unit/bpf/harness.h tests/unit/tap.h \
		$(wildcard include/seam/*.h) $(SKELS) | $(O)/tests
	$(CC) $(TEST_CFLAGS) -O1 -g -c -o $@ $<

$(O)/tests/bpf_%: tests/unit/bpf/%.c $(O)/tests/bpf-harness.o tests/unit/bpf/harness.h tests/unit/tap.h
	$(CC) $(TEST_CFLAGS) -O1 -g -o $@ $< $(O)/tests/bpf-harness.o -lbpf

$(O)/tests/fuzz_bpf: tests/fuzz/fuzz_bpf.c tests/fuzz/random.h $(O)/tests/bpf-harness.o tests/unit/bpf/harness.h
	$(CC) $(TEST_CFLAGS) -Itests/unit/bpf -O1 -g -o $@ $< $(O)/tests/bpf-harness.o -lbpf

# With the daemon's own sources, to compare with.
$(O)/tests/bpf_test_names: tests/unit/bpf/test_names.c $(O)/tests/bpf-harness.o tests/unit/bpf/harness.h tests/unit/tap.h \
		$(POLICY_SRCS) $(INSPECT_SRCS) $(wildcard user/*.h)
	$(CC) $(SEAM_CFLAGS) $(TEST_CFLAGS) -O1 -g -o $@ $< $(O)/tests/bpf-harness.o $(POLICY_SRCS) $(INSPECT_SRCS) -lbpf $(UNIT_LIBS)

$(O)/tests/fuzz_names: tests/fuzz/fuzz_names.c tests/fuzz/random.h $(O)/tests/bpf-harness.o tests/unit/bpf/harness.h \
		$(POLICY_SRCS) $(INSPECT_SRCS) $(wildcard user/*.h)
	$(CC) $(SEAM_CFLAGS) $(TEST_CFLAGS) -Itests/unit/bpf -O2 -g -o $@ $< $(O)/tests/bpf-harness.o $(POLICY_SRCS) $(INSPECT_SRCS) \
		-lbpf $(UNIT_LIBS)

$(O)/tests/test_frame: tests/unit/test_frame.c user/frame.c user/frame.h tests/unit/tap.h | $(O)/tests
	$(CC) $(TEST_CFLAGS) -O1 -g -fsanitize=address,undefined -o $@ $< user/frame.c

$(O)/tests:
	mkdir -p $@

# Each runs in namespaces of its own; root.
# The second time with CHECKSUM_COMPLETE, which the kernel checks after each packet.
.PHONY: check-bpf
check-bpf: $(BPF_TESTS) $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names $(O)/tests/test_frame
	@failed=; for t in $(BPF_TESTS) $(O)/tests/test_frame $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names \
			$(patsubst %,"env SEAM_TEST_CSUM=1 %",$(filter-out %verifier,$(BPF_TESTS))); do \
		echo "# $$t"; $$t || failed="$$failed $$t"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }
