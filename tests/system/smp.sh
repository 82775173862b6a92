#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Several vCPUs: they come up, run programs at once, and agree about memory and code.
# TIMEOUT: 280
set -u
. tests/lib/guest.sh
guest_need "$BUILD/guest/initrd-test" "$BUILD"/smp/{litmus,code}

# Programs at once, each with a known result.
cat >"$tmp/storm.sh" <<'X'
cd /tmp || exit 1
storm() {
	local i x y
	for ((i = 0; i < $1; i++)); do
		x=$(echo "$i" | sha256sum) && y=$(echo "$i" | openssl dgst -sha256 -r) && [ "${x%% *}" = "${y%% *}" ] || return 1
		/bin/true && ls / >/dev/null || return 1
	done
}
for j in 1 2 3 4; do storm "$1" & pids="$pids $!"; done
bad=0
for p in $pids; do wait "$p" || bad=$((bad + 1)); done
[ $bad = 0 ] && echo "ok programs" || echo "not ok programs: $bad of 4 loops failed"
X
cat >"$tmp/smp.sh" <<'X'
echo "online $(nproc)"
/t/litmus "$2"
/t/code "$2"
bash /t/storm.sh "$1"
# Code of the kernel that is patched while all run it.
mount -t tracefs none /sys/kernel/tracing
while [ ! -e /tmp/stop ]; do /bin/true; done & busy=$!
while [ ! -e /tmp/stop ]; do echo x | sha256sum; done >/dev/null & busy="$busy $!"
for i in 1 2 3 4 5 6; do echo $((i & 1)) >/proc/sys/kernel/sched_schedstats || exit 1; done
echo 1 >/sys/kernel/tracing/events/sched/enable && echo 0 >/sys/kernel/tracing/events/sched/enable && echo "ok kernel patches"
touch /tmp/stop
wait $busy
n=0
for i in 1 2 3; do
	for c in /sys/devices/system/cpu/cpu[1-9]*/online; do
		echo 0 >"$c" && echo 1 >"$c" && n=$((n + 1))
	done
done
[ $n = $((3 * ($(nproc) - 1))) ] && echo "ok offline and online" || echo "not ok offline and online: $n changes, $(nproc) processors"
X
guest/build.sh overlay "$BUILD/guest/initrd-test" "$tmp/smp.img" t/smp.sh="$tmp/smp.sh" t/storm.sh="$tmp/storm.sh" \
	t/litmus="$BUILD/smp/litmus" t/code="$BUILD/smp/code"

# cpus, storm rounds, litmus rounds, kernel options, knobs
machine() {
	local name="$1 vCPUs${4:+, $4}${5:+, $5}"
	PENUMBRA_TEST_KNOBS=${5:-} guest_run "smp$1" "$quiet penumbra.exec=bash,/t/smp.sh,$2,$3 $4" --cpus "$1" --initrd "$tmp/smp.img" \
		--memory 1G --timeout 100
	guest_has "$name: all are online" "^online $1\$"
	guest_results "$name:" litmus code programs "kernel patches" "offline and online"
	guest_clean "$name: a clean log"
}
machine 2 12 200000 "" ""
machine 4 4 100000 "" ""
machine 2 3 20000 "" "kill=40,seed=7"
machine 2 2 20000 "" "hot=0x180000,cold=0x180000"
machine 2 2 20000 "" "no_membarrier=1"
machine 2 1 10000 "" "no_numbers=1"
machine 2 1 200000 "" "unmapped=0x123456789000"
machine 2 1 20000 "" "soft=100000000"
PENUMBRA_TEST_KNOBS=smp=1 guest_run one "$quiet penumbra.exec=nproc" --timeout 60
guest_has "one vCPU as one of several" '^1$'
guest_clean "one vCPU as one of several: a clean log"
guest_run eight "$quiet penumbra.exec=nproc" --cpus 8 --timeout 60
guest_has "8 vCPUs: all are online" '^8$'
guest_clean "8 vCPUs: a clean log"

out=$("$PENUMBRA" run --accel translate --cpus 17 2>&1)
[ $? = 1 ] && [[ $out == *"1 to 16"* ]]
result $? "17 vCPUs are refused" "$out"
exit 0
