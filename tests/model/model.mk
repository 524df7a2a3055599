# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The models of the transitions; included by tests/tests.mk.

.PHONY: model
model:
	scripts/deps model
	tests/model/run.py
