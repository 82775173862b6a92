#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of exec.sh with the hot tier, which here takes a place for hot after 200 branches to it.
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
exec "$RUNTIME" "tier=2 count=200" "$(type -P "$1")" "$@"
WRAPPER
chmod +x "$TEST_TMP/penumbra"
PENUMBRA=$TEST_TMP/penumbra HOT_TIER=1
. "$here/exec.sh"
