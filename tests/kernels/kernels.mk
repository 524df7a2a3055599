# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Seam on Debian's packaged kernels, in qemu; included by the Makefile.

KERNELS ?= linux-image-cloud-amd64 linux-image-6.12-cloud-amd64

# Its BPF objects are loaded there as well: how it inlines decides what an old verifier says.
ALSO_CLANG ?= clang-19

.PHONY: deps-kernels check-kernels check-kernels-run
deps-kernels:
	scripts/deps build test kernels compilers

# In a make of its own, as check.
check-kernels: deps-kernels
	$(MAKE) --no-print-directory check-kernels-run

check-kernels-run: $(O)/seam $(BPF_TESTS)
	$(MAKE) -s --no-print-directory O=$(O)/kernels/$(ALSO_CLANG) CLANG=$(ALSO_CLANG) bpf
	@failed=; for k in $(KERNELS); do \
		tests/kernels/run.sh $(O) $$k $(O)/kernels/$(ALSO_CLANG) || failed="$$failed $$k"; done; \
		if [ -n "$$failed" ]; then echo "check-kernels: failed on$$failed"; exit 1; fi; \
		echo "check-kernels: passed on $(KERNELS)"
