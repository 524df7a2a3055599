# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Seam on Debian's packaged kernels, in qemu; included by the Makefile.

KERNELS ?= linux-image-cloud-amd64 linux-image-6.12-cloud-amd64

.PHONY: deps-kernels check-kernels check-kernels-run
deps-kernels:
	scripts/deps build test kernels

# In a make of its own, as check.
check-kernels: deps-kernels
	$(MAKE) --no-print-directory check-kernels-run

check-kernels-run: $(O)/seam $(BPF_TESTS)
	@failed=; for k in $(KERNELS); do \
		tests/kernels/run.sh $(O) $$k || failed="$$failed $$k"; done; \
		if [ -n "$$failed" ]; then echo "check-kernels: failed on$$failed"; exit 1; fi; \
		echo "check-kernels: passed on $(KERNELS)"
