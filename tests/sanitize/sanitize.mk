# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The daemon and the command line under sanitizers and valgrind; included by tests.mk.
# The lab fails on any report in the daemon's log.

SANITIZE_TESTS ?= tests/lab/test_split_merge.py tests/lab/test_hostile.py
VALGRIND_TESTS ?= tests/lab/test_hostile.py
ASAN_OUT := .output/asan
ASAN_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined

.PHONY: check-asan check-valgrind
check-asan: deps-test
	$(MAKE) --no-print-directory O=$(ASAN_OUT) CFLAGS='$(ASAN_CFLAGS)' $(ASAN_OUT)/seam
	SEAM=$(ASAN_OUT)/seam ASAN_OPTIONS=detect_leaks=1 prove --merge --failures --comments --exec '' $(SANITIZE_TESTS)

check-valgrind: deps-test
	scripts/deps sanitize
	$(MAKE) --no-print-directory $(O)/seam
	SEAM=tests/sanitize/valgrind prove --merge --failures --comments --exec '' $(VALGRIND_TESTS)
