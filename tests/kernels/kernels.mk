# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Seam on Debian's packaged kernels, in qemu; included by the Makefile.

KERNELS ?= linux-image-cloud-amd64 linux-image-6.12-cloud-amd64
KERNEL_TEST_PACKAGES := qemu-system-x86 busybox-static cpio kmod xz-utils xdp-tools

.PHONY: check-kernels
check-kernels: $(O)/seam $(BPF_TESTS)
	@failed=; for k in $(KERNELS); do \
		tests/kernels/run.sh $(O) $$k || failed="$$failed $$k"; done; \
		test -z "$$failed" || { echo "failed:$$failed"; exit 1; }
