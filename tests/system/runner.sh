#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The test runner itself: a failure of any kind must end in the count.  Each row is a test script and the last
# line and status that a run of it alone must give.
set -u
mkdir -p "$TEST_TMP/tests/system" "$TEST_TMP/tests/unit" "$TEST_TMP/build"
cp tests/run "$TEST_TMP/tests/run"

expect() { # name, script, last line, status
	local last status
	rm -f "$TEST_TMP"/tests/system/*
	printf '%s\n' "$2" >"$TEST_TMP/tests/system/sample.sh"
	last=$(env -u BUILD -u PENUMBRA "$TEST_TMP/tests/run" 2>&1 <<<input)
	status=$?
	last=${last##*$'\n'}
	if [ "$last" = "$3" ] && [ $status = "$4" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1: '$last' and status $status instead of '$3' and $4"
	fi
}

# The samples are written with `o` for the o of ok, so that their lines are not taken for results of this script.
o=o
expect "results are counted" "printf '${o}k - a\n${o}k 2 - b\r\n'" "2 passed, 0 failed" 0
expect "a failed result" "echo '${o}k - a'; echo 'n${o}t ok - b: reason'" "1 passed, 1 failed" 1
expect "a failed result and a status are one failure" "echo 'n${o}t ok - b: reason'; exit 1" "0 passed, 1 failed" 1
expect "a skipped result" "echo '${o}k - a'; echo '${o}k - b # SKIP none here'" "1 passed, 0 failed, 1 skipped" 0
expect "a script that skips everything" "echo '# SKIP none here'" "0 passed, 0 failed, 1 skipped" 0
expect "a status without a failed result" "echo '${o}k - a'; exit 3" "1 passed, 1 failed" 1
expect "no result at all" "true" "0 passed, 1 failed" 1
expect "a signal" "echo '${o}k - a'; kill -SEGV \$\$" "1 passed, 1 failed" 1
expect "fewer results than planned" "echo 1..2; echo '${o}k - a'" "1 passed, 1 failed" 1
expect "its own time limit" "# TIMEOUT: 1
echo 'n${o}t ok - a'; read -r < <(sleep 60)" "0 passed, 2 failed" 1
expect "no terminal and no input" "read -r || echo '${o}k - a'" "1 passed, 0 failed" 0
expect "a directory of its own" "[ -d \"\$TEST_TMP\" ] && [ -z \"\$(ls -A \"\$TEST_TMP\")\" ] && echo '${o}k - a'" "1 passed, 0 failed" 0

printf 'int main(void) { return 0; }\n' >"$TEST_TMP/tests/unit/test_absent.c"
expect "a unit test that was not built" "echo '${o}k - a'" "1 passed, 1 failed" 1
