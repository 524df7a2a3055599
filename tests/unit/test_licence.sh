#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Every file names its licence in its first lines, and both texts are there.
# Test data is read byte by byte and has no room for it.
echo "TAP version 13"
without=$(find . -type f ! -path './.git/*' ! -path ./.git ! -path './.output/*' ! -path "./${O:-.output}/*" ! -path './LICENSES/*' \
	! -path './tests/fixtures/*' ! -path './tests/fuzz/corpus/*' ! -name '*.pyc' | sort | while read -r f; do
	head -n 5 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause' || echo "$f"
done)
if [ -z "$without" ]; then echo "ok 1 - every file has its SPDX line"; else
	echo "not ok 1 - every file has its SPDX line"
	echo "$without" | sed 's/^/# /'
fi
n=1
for text in GPL-2.0-only BSD-2-Clause; do
	n=$((n + 1))
	if [ -s LICENSES/$text.txt ]; then echo "ok $n - the text of $text"; else echo "not ok $n - the text of $text"; fi
done
echo "1..$n"
