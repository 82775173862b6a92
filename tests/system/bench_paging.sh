#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# penumbra bench paging: what it measures, writes and refuses; its kernel reads the same through its mappings by every
# maintainer, by kvm and by QEMU.
# TIMEOUT: 400
set -u
subject=paging
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/bench.sh
refuse "no runs" 2 "--runs: not a number from 1 to 99*" --runs 0
refuse "runs that are no number" 2 "--runs: not a number*" --runs 3x
refuse "too much work" 2 "--scale: not a number from 1 to 100*" --scale 101
refuse "an unknown way" 2 "--paging: there is no way 'laz'*" --paging flush,laz
refuse "an unknown workload" 2 "there is no workload 'fork2'*" --only fork,fork2
refuse "half a workload's name" 2 "there is no workload 'swee'*" --only swee
refuse "an empty name" 2 "there is no workload ''*" --only rare,
refuse "an operand" 2 "*" rare

maintainers=$("$PENUMBRA" run --help | grep -oP -- 'kvm(\|[a-z]+)+' | head -n 1 | tr '|' '\n' | grep -vx kvm | paste -sd,)
[[ ,$maintainers, == *,auto,* && ,$maintainers, == *,flush,* && ,$maintainers, == *,lazy,* ]]
result $? "the maintainers" "$maintainers"

# Each workload of the kernel by every maintainer and QEMU; each has as many samples as there are runs, and all sums agree.
bench --runs 1 --scale 2 --only kernel --paging "$maintainers,qemu" --json "$tmp/all.json" --svg "$tmp/all.svg"
status=$?
result $status "the whole, in small" "status $status: $(tail -n 3 "$tmp/err")"
jq -e . "$tmp/all.json" >/dev/null
result $? "the JSON is valid" "$(head -c 100 "$tmp/all.json")"
ways=$(($(tr ',' '\n' <<<"$maintainers" | wc -l) + 1))
bad=$(jq -r --argjson ways "$ways" '.workloads[] | select(([.columns[].samples | length] | length != $ways or any(. != 1)) or
	([.columns[].samples[].checksum] | unique | length != 1) or .auto_over_best == null) | .workload' "$tmp/all.json")
rows=$(jq -r '.workloads | length' "$tmp/all.json")
[ -z "$bad" ] && [ "$rows" -ge 25 ]
result $? "every workload gives the same sums by all $ways ways" "$rows rows, not so: $bad"
bad=$(jq -r '.workloads[] | .workload as $w | .columns | to_entries[] | select(.key != "qemu") |
	select((.value.samples[0].stats.fills > 0 and .value.medians.vmas_peak > 0 and .value.medians.cycles > 0) | not) | "\($w) \(.key)"' "$tmp/all.json")
[ -z "$bad" ]
result $? "statistics are those of each run" "$bad"
got=$(jq -r '[.workloads[] | select(.workload == "switch-8") | .columns | del(.qemu)[].medians | .carriers_peak >= 8 and .carriers_peak <= 10] | all' "$tmp/all.json")
[ "$got" = true ]
result $? "eight address spaces take as many carriers" "$(jq -c '.workloads[] | select(.workload == "switch-8") | [.columns[].medians.carriers_peak]' "$tmp/all.json")"
got=$(jq -r '[.workloads[] | select(.accesses_per_update) | .accesses_per_update] | join(",")' "$tmp/all.json")
[ "$got" = 1,10,100,1000,10000,100000 ]
result $? "the points of the sweep" "$got"
bad=$(jq -r '.workloads[] | select(.workload | test("^(sweep|switch|pcid|scattered|exec)") | not) |
	.workload as $w | .columns[].samples[0] | select(.updates == 0 or .updates > 1e6) | $w' "$tmp/all.json")
[ -z "$bad" ]
result $? "updates are counted" "$bad"
xmllint --noout "$tmp/all.svg" && grep -q '<polyline' "$tmp/all.svg" && grep -q '>scattered<' "$tmp/all.svg"
result $? "the chart is well-formed" "$(head -c 200 "$tmp/all.svg")"
grep -q '^fork .*% of ' "$tmp/out" && grep -q '^1/100000 ' "$tmp/out" && grep -q '^auto is within 5 %' "$tmp/out"
result $? "the report has its tables" "$(tail -n 3 "$tmp/out")"

# kvm, where it works, reads the same; it may be an emulating one, and slow.
if "$PENUMBRA" host --json | grep -q '"kvm_state":"\(real\|emulated\)"'; then
	bench --runs 1 --scale 2 --paging lazy,kvm --only rare,mmap,switch-8,exec,scattered,sweep/1000 --json "$tmp/kvm.json"
	status=$?
	got=$(jq -r '[.workloads[] | select([.columns[].samples[].checksum] | length == 2 and (unique | length) == 1)] | length' "$tmp/kvm.json")
	[ $status = 0 ] && [ "$got" = 6 ]
	result $? "kvm gives the same sums" "status $status, $got of 6: $(cat "$tmp/err")"
else
	echo "ok - kvm gives the same sums # SKIP $("$PENUMBRA" host | grep '^kvm ')"
fi
# The Linux program: natively, and in the default guest.
bench --runs 2 --scale 2 --paging native --only linux --json "$tmp/native.json"
status=$?
got=$(jq -r '.workloads | length == 11 and all(.columns.native.samples | length == 2)' "$tmp/native.json")
[ $status = 0 ] && [ "$got" = true ]
result $? "natively" "status $status: $(cat "$tmp/err")"
bench --runs 1 --scale 20 --paging "$maintainers,native" --only linux-fork,linux-mmap,linux-ksm --json "$tmp/linux.json"
status=$?
got=$(jq -r --argjson ways "$ways" '[.workloads[] | select([.columns[].samples[].checksum] | length == $ways and (unique | length) == 1)] | length' "$tmp/linux.json")
[ $status = 0 ] && [ "$got" = 3 ]
result $? "a Linux guest reads what native programs read, by each maintainer" "status $status, $got of 3: $(cat "$tmp/err")"

# What differs or fails is named, and is a failure; the rest goes on.
mkdir "$tmp/bin"
line='paging rare cycles=1000 updates=1 updates_cycles=1 checksum=1 stale=0'
printf '#!/bin/sh\nprintf "%%s\\n" "%s" "paging end"\nexit 33\n' "$line" >"$tmp/bin/qemu-system-x86_64"
chmod +x "$tmp/bin/qemu-system-x86_64"
PATH=$tmp/bin:$PATH bench --runs 1 --scale 2 --paging lazy,qemu --only rare
status=$?
[ $status = 1 ] && grep -q "rare: by qemu the guest read something else than by lazy" "$tmp/err"
result $? "another sum is a failure" "status $status: $(cat "$tmp/err")"
printf '#!/bin/sh\necho no such thing >&2\nexit 1\n' >"$tmp/bin/qemu-system-x86_64"
PATH=$tmp/bin:$PATH bench --runs 1 --scale 2 --paging lazy,qemu --only rare,frequent
status=$?
[ $status = 1 ] && grep -q "rare by qemu: status 1: no such thing" "$tmp/err" && grep -q '^frequent .*failed' "$tmp/out"
result $? "a run that fails is named" "status $status: $(cat "$tmp/err")"
refuse "a file that cannot be written" 1 "/nowhere/x*" --runs 1 --scale 2 --paging lazy --only frequent --json /nowhere/x

# An interrupt ends it, and nothing stays behind.
mkdir "$tmp/own"
printf '#!/bin/sh\ntouch "%s"; sleep 60\n' "$tmp/own/started" >"$tmp/bin/qemu-system-x86_64"
PATH=$tmp/bin:$PATH setsid "$PENUMBRA" bench paging --runs 1 --paging qemu --only rare >"$tmp/out" 2>"$tmp/err" </dev/null &
pid=$!
while [ ! -e "$tmp/own/started" ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
left=$(tr '\0' '\n' <"/proc/$(pgrep -P $pid -f qemu-system)/cmdline" | grep -o '/tmp/penumbra-paging\.[^/]*' | head -n 1)
kill -INT -- -$pid
wait $pid
status=$?
[ $status = 1 ] && grep -q "interrupted" "$tmp/err" && [ -n "$left" ] && [ ! -e "$left" ]
result $? "an interrupt ends it and leaves nothing behind" "status $status, $left: $(cat "$tmp/err")"
