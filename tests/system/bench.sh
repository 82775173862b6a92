#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# penumbra bench translation: what it measures, writes and refuses.
# TIMEOUT: 200
set -u
subject=translation
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/bench.sh
refuse "no rounds" 2 "--rounds: not a number from 1 to 99*" --rounds 0
refuse "an unknown way" 2 "--ways: there is no way 'tier9'*" --ways tier1,tier9
refuse "an unknown set" 1 "there is no set 'mains'" --sets mains
refuse "an unknown program" 1 "there is no program 'gzi'" --programs gzi
refuse "a program of another set" 1 "none of the programs asked for is installed" --sets o0 --programs gzip
"$PENUMBRA" bench >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && grep -q "no subcommand given" "$tmp/err"
result $? "no subcommand" "$(cat "$tmp/err")"
"$PENUMBRA" bench nothing >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && grep -q "there is no subcommand 'nothing'" "$tmp/err"
result $? "an unknown subcommand" "$(cat "$tmp/err")"

bench --sets main,second --programs gzip,sed --rounds 2 --ways tier1,tier2 --json "$tmp/bench.json" --svg "$tmp/bench.svg"
status=$?
[ $status = 0 ] && grep -q '^gzip ' "$tmp/out" && grep -q '^sed ' "$tmp/out"
result $? "two programs, two tiers" "status $status: $(tail -n 3 "$tmp/out" "$tmp/err")"
got=$(jq -r '[.programs[] | "\(.set) \(.program) \(.native.samples | length) \(.tier1.samples | length) \(.tier2.time > 0)"] | join(",")' "$tmp/bench.json")
[ "$got" = "main gzip 2 2 true,second sed 2 2 true" ]
result $? "every sample is in the JSON" "$got"
# Median of two is their mean; a ratio is of the same round.
got=$(jq -r '.programs[0] | (([range(2) as $i | .tier1.samples[$i].seconds / .native.samples[$i].seconds] | add / 2) - .tier1.time) | fabs < 0.0001' "$tmp/bench.json")
[ "$got" = true ]
result $? "ratios are medians of the rounds" "$got"
grep -q '<svg ' "$tmp/bench.svg" && grep -q '>gzip<' "$tmp/bench.svg" && grep -q '</svg>' "$tmp/bench.svg"
result $? "a chart is drawn" "$(head -c 200 "$tmp/bench.svg")"

# A program whose output differs is named, and is a failure: its second run prints something else.
mkdir "$tmp/bin"
printf '#!/bin/sh\nexec date +%%N\n' >"$tmp/bin/bc"
chmod +x "$tmp/bin/bc"
PATH=$tmp/bin:$PATH bench --sets second --programs bc --rounds 1 --ways tier1
status=$?
[ $status = 1 ] && grep -q "bc: output or status differs" "$tmp/err" && grep -q "differs" "$tmp/out"
result $? "another output is a failure" "status $status: $(cat "$tmp/err")"
bench --programs bc --sets second --rounds 1 --ways tier1 --json /nowhere/x
status=$?
[ $status = 1 ] && grep -q "/nowhere/x" "$tmp/err"
result $? "a file that cannot be written" "status $status: $(cat "$tmp/err")"

# The container runtime is measured as the program that engines start, from wherever it is asked for.
if [ "$(id -u)" = 0 ]; then
	for words in "bench container" "container bench"; do
		PATH=/usr/sbin:/usr/bin:/sbin:/bin "$PENUMBRA" $words --runs 5 --json "$tmp/container.json" >"$tmp/out" 2>&1 </dev/null
		status=$?
		got=$(jq -r '[.. | objects | select(.runtime? == "penumbra-oci")] | length' "$tmp/container.json" 2>/dev/null)
		[ $status = 0 ] && [ "${got:-0}" -ge 1 ]
		result $? "penumbra $words" "status $status, $got rows: $(tail -n 1 "$tmp/out")"
		rm -f "$tmp/container.json"
	done
else
	echo "ok - penumbra bench container # SKIP needs root"
fi
