#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of exec.sh with the hot tier, which here records after every 20 exits to C, beside its samples.
# TIMEOUT: 280
set -u
runtime_words() {
	local limit=${PENUMBRA_TEST_KNOBS:-hot=0}
	echo "tier=2 count=20 limit=${limit#hot=}"
}
. "$(dirname "$0")/../lib/exec.sh"

# Passes in other combinations, with a recording after every 5 exits.
seq 20000 >"$TEST_TMP/text"
with() { # passes, name, words...
	local passes=$1 name=$2 native hot
	shift 2
	native=$("$@" </dev/null 2>&1 | sha256sum)
	hot=$("$RUNTIME" "tier=2 count=5 passes=$passes" "$(readlink -f "$(type -P "$1")")" "$@" </dev/null 2>&1 | sha256sum)
	if [ "$native" = "$hot" ]; then echo "ok - $name, passes $passes"; else echo "not ok - $name, passes $passes: another output"; fi
}
for passes in 4095 607 $((RANDOM % 4096)) $((RANDOM % 4096)); do
	with $passes "lua" lua5.4 -e 'local t = {} for i = 1, 20000 do t[i] = tostring(i * 7 % 1009) end table.sort(t) print(table.concat(t):sub(1, 999))'
	with $passes "perl" perl -e 'my %h; $h{$_ % 513} .= chr(65 + $_ % 26) for 1 .. 60000; print join ",", map { length $h{$_} } sort { $a <=> $b } keys %h'
	with $passes "sort" sort -rn "$TEST_TMP/text"
	with $passes "gzip" gzip -9nc "$TEST_TMP/text"
	with $passes "mawk" mawk '{ s += $1 * 3; t = t substr($1, 1, 1); if (length(t) > 100) t = "" } END { print s, t }' "$TEST_TMP/text"
done

# --passes and --report, through the command line.
check() { # status of the check, name, more
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2: ${3:-}"; fi
}
gcc -O2 -fno-inline -o "$TEST_TMP/calls" bench/micro/calls.c
"$PROGRAM" exec --tier 2 --native --report "$TEST_TMP/report.json" -- "$TEST_TMP/calls" >"$TEST_TMP/out"
check $? "a report leaves the status"
[ "$("$TEST_TMP/calls")" = "$(<"$TEST_TMP/out")" ]
check $? "and the output"
jq -e '.native.seconds > 0 and .translated.seconds > 0 and .ratio_to_native.time > 0 and .samples_in_regions > 0 and
	(.hot[0] | .samples > 0 and .trace_after < .trace_before and .passes.returns > 0 and
	(.disassembly_before | length) > 10 and (.disassembly_after | length) > 10)' "$TEST_TMP/report.json" >"$TEST_TMP/jq"
check $? "it has times, hot regions, their code and what passes spare" "$(head -c 600 "$TEST_TMP/report.json" | tr '\n' ' ')"
"$PROGRAM" exec --tier 2 --passes none --report "$TEST_TMP/none.json" -- "$TEST_TMP/calls" >/dev/null
[ "$(jq -c '[.regions, .native]' "$TEST_TMP/none.json")" = '[0,"not measured: see --native"]' ]
check $? "no passes, no regions" "$(jq -c '[.regions, .native]' "$TEST_TMP/none.json")"
"$PROGRAM" exec --tier 2 --report "$TEST_TMP/report.svg" -- "$TEST_TMP/calls" >/dev/null
head -n 1 "$TEST_TMP/report.svg" | grep -q '^<svg ' && tail -n 1 "$TEST_TMP/report.svg" | grep -q '</svg>$'
check $? "a picture"
"$PROGRAM" exec --tier 2 --report "$TEST_TMP/killed.json" -- bash -c 'kill -TERM $$'
[ $? = 143 ] && jq -e .translator "$TEST_TMP/killed.json" >/dev/null
check $? "a program that dies by a signal"
error=$("$PROGRAM" exec --tier 2 --passes all,-layuot -- true 2>&1)
[ $? = 2 ] && [[ $error == *'no pass is called `layuot`'* ]]
check $? "a pass that there is not" "$error"
