# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The daemon and the command line under sanitizers and valgrind, and with workers; included by tests.mk.
# The lab fails on any report in the daemon's log.

SANITIZE_TESTS ?= tests/lab/test_split_merge.py tests/lab/test_hostile.py
VALGRIND_TESTS ?= tests/lab/test_hostile.py
# Where flows are split; each is to hold as well with threads that share them.
WORKERS_TESTS ?= $(addprefix tests/lab/test_,workers.py split_merge.py relay_kernel.py edits.py edits_http.py live.py \
	endings.py hold.py after.py cycles.py asymmetric.py urgent.py crash.py merge_waits.py hostile.py wire_split.py windows.py)
TSAN_TESTS ?= $(addprefix tests/lab/test_,workers.py split_merge.py relay_kernel.py edits.py hold.py asymmetric.py endings.py hostile.py merge_waits.py)
ASAN_OUT := .output/asan
ASAN_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined

TSAN_OUT := .output/tsan
TSAN_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread

.PHONY: check-asan check-valgrind check-workers check-tsan
check-asan: deps-test
	$(MAKE) --no-print-directory O=$(ASAN_OUT) CFLAGS='$(ASAN_CFLAGS)' $(ASAN_OUT)/seam
	LAB_LIMIT=0 SEAM=$(ASAN_OUT)/seam ASAN_OPTIONS=detect_leaks=1 prove --merge --failures --comments --exec '' $(SANITIZE_TESTS)

check-valgrind: deps-test
	scripts/deps sanitize
	$(MAKE) --no-print-directory $(O)/seam
	LAB_LIMIT=0 SEAM=tests/sanitize/valgrind prove --merge --failures --comments --exec '' $(VALGRIND_TESTS)

check-workers: deps-test
	$(MAKE) --no-print-directory $(O)/seam
	LAB_LIMIT=0 WORKERS=2 SEAM=$(O)/seam prove --merge --failures --comments --exec '' $(WORKERS_TESTS)

check-tsan: deps-test
	$(MAKE) --no-print-directory O=$(TSAN_OUT) CFLAGS='$(TSAN_CFLAGS)' $(TSAN_OUT)/seam
	LAB_LIMIT=0 TSAN_OPTIONS=suppressions=$(CURDIR)/tests/sanitize/tsan.supp WORKERS=2 SEAM=$(TSAN_OUT)/seam prove --merge --failures --comments --exec '' $(TSAN_TESTS)
