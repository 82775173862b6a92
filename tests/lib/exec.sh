# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The programs of exec.sh with other words for the runtime than `penumbra exec` has: a script in the place of $PENUMBRA starts
# it with what the function `runtime_words`, of the sourcing test, prints.  Leaves $RUNTIME, the runtime, and $here.
here=$(dirname "$0")
export TEST_TMP=${TEST_TMP:-$(mktemp -d)}
export RUNTIME=$(realpath "${BUILD:-build}/penumbra-exec") PROGRAM=$PENUMBRA
export -f runtime_words
cat >"$TEST_TMP/penumbra" <<'WRAPPER'
#!/bin/bash
# penumbra exec -- WORDS...
[ "$1" = exec ] && [ "$2" = -- ] || exec "$PROGRAM" "$@"
shift 2
exec "$RUNTIME" "$(runtime_words)" "$(type -P "$1")" "$@"
WRAPPER
chmod +x "$TEST_TMP/penumbra"
PENUMBRA=$TEST_TMP/penumbra
. "$here/exec.sh"
