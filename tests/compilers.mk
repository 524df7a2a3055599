# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Every compiler that Seam claims to build with; included by the Makefile.

# C compiler+clang for BPF, each with an output directory of its own.
COMPILERS ?= gcc+clang-14 clang-14+clang-14 clang-19+clang-19

.PHONY: deps-compilers check-compilers check-compiler
deps-compilers:
	scripts/deps build test compilers

check-compilers: deps-compilers
	@failed=; for c in $(COMPILERS); do \
		echo "# $$c"; \
		$(MAKE) -s --no-print-directory O=$(O)/$$c CC=$${c%+*} CLANG=$${c#*+} check-compiler || failed="$$failed $$c"; \
	done; \
	if [ -n "$$failed" ]; then echo "check-compilers: failed with$$failed"; exit 1; fi; \
	echo "check-compilers: passed with $(COMPILERS)"

check-compiler: $(O)/seam $(UNIT_TESTS) $(BPF_TESTS)
	prove --merge --failures --comments --exec '' $(UNIT_TESTS) $(BPF_TESTS)
