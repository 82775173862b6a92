#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of exec.sh with calls and returns as pairs of the host's from the first instruction on, and one that breaks
# the pairing in every way.
# TIMEOUT: 280
set -u
here=$(dirname "$0")
export TEST_TMP=${TEST_TMP:-$(mktemp -d)}
export RUNTIME=$(realpath "${BUILD:-build}/penumbra-exec") PROGRAM=$PENUMBRA
cat >"$TEST_TMP/penumbra" <<'WRAPPER'
#!/bin/bash
# penumbra exec -- WORDS...: straight to the runtime, which has more options
[ "$1" = exec ] && [ "$2" = -- ] || exec "$PROGRAM" "$@"
shift 2
limit=${PENUMBRA_TEST_KNOBS:-hot=0}
exec "$RUNTIME" "tier=1 returns=2 limit=${limit#hot=}" "$(type -P "$1")" "$@"
WRAPPER
chmod +x "$TEST_TMP/penumbra"
PENUMBRA=$TEST_TMP/penumbra
. "$here/exec.sh"

# What returns.c says, in each way and with regions.
native=$("$TEST_TMP/returns")
for words in "tier=1 returns=1" "tier=1 returns=2" "tier=2 count=20 returns=1" "tier=2 count=20 returns=2" "tier=2 count=5 returns=2 limit=65536" \
	"tier=1 returns=150" "tier=1 returns=400" "tier=2 count=20 returns=400"; do
	out=$("$RUNTIME" "$words" "$TEST_TMP/returns" "$TEST_TMP/returns" 2>&1)
	if [ "$out" = "$native" ]; then echo "ok - returns.c, $words"; else echo "not ok - returns.c, $words: $(tr '\n' ' ' <<<"$out")"; fi
done
