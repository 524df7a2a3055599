#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The quick runs of the model of the transitions; `make model` makes all of them.
exec "${0%/*}/run.py" --tap
