#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of exec.sh with calls and returns as pairs of the host's from the first instruction on, and one that breaks
# the pairing in every way.
# TIMEOUT: 280
set -u
runtime_words() {
	local limit=${PENUMBRA_TEST_KNOBS:-hot=0}
	echo "tier=1 returns=2 limit=${limit#hot=}"
}
. "$(dirname "$0")/../lib/exec.sh"

# What returns.c says, in each way and with regions.
native=$("$TEST_TMP/returns")
for words in "tier=1 returns=1" "tier=1 returns=2" "tier=2 count=20 returns=1" "tier=2 count=20 returns=2" "tier=2 count=5 returns=2 limit=65536" \
	"tier=1 returns=150" "tier=1 returns=400" "tier=2 count=20 returns=400"; do
	out=$("$RUNTIME" "$words" "$TEST_TMP/returns" "$TEST_TMP/returns" 2>&1)
	if [ "$out" = "$native" ]; then echo "ok - returns.c, $words"; else echo "not ok - returns.c, $words: $(tr '\n' ' ' <<<"$out")"; fi
done
