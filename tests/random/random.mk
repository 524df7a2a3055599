# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Randomised connections through the daemon and the BPF programs; included by tests/tests.mk.
#
#	make random [SEED=1] [SCHEDULES=20000] [RANDOM_OPTIONS="--regime on --verbose"]
#
# tries the seeds from SEED on, a connection each. One that fails is printed with how to run it alone.

SEED ?= 1
SCHEDULES ?= 20000
RANDOM_PEERS := $(O)/tests/random_peers

$(RANDOM_PEERS): $(wildcard tests/random/*.c tests/random/*.h) include/seam/flow.h include/seam/reason.h | $(O)/tests
	$(CC) -std=gnu11 $(WARN) -O2 -g -Iinclude -o $@ $(filter %.c,$^)

.PHONY: random
random: $(O)/seam $(RANDOM_PEERS)
	SEAM=$(O)/seam PEERS=$(RANDOM_PEERS) tests/random/test_random.py --seed $(SEED) --schedules $(SCHEDULES) $(RANDOM_OPTIONS)
