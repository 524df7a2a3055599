# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What `make check` runs; included by the Makefile.

include tests/unit/unit.mk
include tests/kernels/kernels.mk
include tests/fuzz/fuzz.mk
include tests/sanitize/sanitize.mk
include tests/model/model.mk
include tests/random/random.mk

include tests/compilers.mk

LAB_TESTS := $(sort $(wildcard tests/lab/test_*.py))

.PHONY: check demo trace-example deps-build deps-test

deps-build:
	scripts/deps build
deps-test:
	scripts/deps build test model

# In a make of its own: what was just installed is looked for anew. The tests run one after
# another all the same.
check: deps-test
	$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) check-run

.PHONY: check-run
check-run: $(O)/seam $(UNIT_TESTS) $(BPF_TESTS) $(FUZZ_BINS) $(O)/tests/fuzz_bpf $(O)/tests/fuzz_names $(RANDOM_PEERS)
	SEAM=$(O)/seam prove --timer --merge --failures --comments -j$(shell nproc) --exec '' tests/unit/test_licence.sh $(UNIT_TESTS) $(BPF_TESTS) \
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
