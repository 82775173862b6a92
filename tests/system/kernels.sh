#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Both of Debian's kernels with little and much memory, and the cloud kernel under the options that change
# how it uses the processor: page table isolation, process context identifiers, access prevention, clocks,
# debugging aids.  KERNELS_LONG=1 tries more of them.
# TIMEOUT: 240
set -u
. tests/lib/guest.sh
long=${KERNELS_LONG:-}

cat >"$tmp/t.sh" <<'X'
# Deterministic work of each kind: a computing loop, new processes, pipes, files, signals.
i=0 sum=0
while [ $i -lt 20000 ]; do i=$((i + 1)) sum=$((sum + i)); done
[ $sum = 200010000 ] && echo "ok sum" || echo "not ok sum: $sum"
n=0
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/busybox true && n=$((n + 1)); done
[ $n = 20 ] && echo "ok processes" || echo "not ok processes: $n"
digest=$(head -c 1000000 /dev/zero | gzip | gunzip | tee /tmp/zero | sha256sum)
digest2=$(sha256sum </tmp/zero)
case $digest:$digest2 in
d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025*:d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025*) echo "ok pipes" ;;
*) echo "not ok pipes: $digest $digest2" ;;
esac
trap 'got=$((got + 1))' USR1
got=0
while [ $got -lt 20 ]; do last=$got; kill -USR1 $$; while [ $got = $last ]; do :; done; done
echo "ok signals"
sleep 0.3
echo "clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
grep MemTotal /proc/meminfo
for v in /sys/devices/system/cpu/vulnerabilities/*; do echo "${v##*/}: $(cat $v)"; done
dmesg | grep -o "page tables isolation: enabled"
X
guest/build.sh overlay "$initrd" "$tmp/work.img" "root/t.sh=$tmp/t.sh"

works() { # name options-of-the-kernel options...
	local name=$1
	guest_run log "$quiet penumbra.exec=sh,/root/t.sh $2" --timeout 60 --initrd "$tmp/work.img" "${@:3}"
	[ "$(grep -cE '^ok (sum|processes|pipes|signals)$' "$guest_log")" = 4 ] || guest_status="$guest_status, work not done: $(grep -a '^not ok' "$guest_log")"
	guest_clean "$name"
}

# Memory: the guest has to see most of what it was given.
guest_need "$BUILD/guest/vmlinuz-full"
for kernel in cloud full; do
	[ $kernel = cloud ] || vmlinuz=$BUILD/guest/vmlinuz-full
	sizes="128 512 2048 8192"
	[ -n "$long" ] && sizes="128 192 256 512 1024 2048 3072 4096 6144 8192"
	for memory in $sizes; do
		works "$kernel kernel, $memory MiB" "" --memory ${memory}M
		total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB.*/\1/p' "$guest_log")
		result "$([ "${total:-0}" -gt $((memory * 1024 * 90 / 100 - 40000)) ]; echo $?)" \
			"$kernel kernel sees its $memory MiB" "$total kB"
	done
done
vmlinuz=$BUILD/guest/vmlinuz

works "page table isolation" "pti=on"
guest_has "page table isolation is on" 'page tables isolation: enabled'
works "page table isolation without PCID" "pti=on nopcid"
works "page table isolation with 128 MiB" "pti=on" --memory 128M
options=(nopcid nokaslr noxsave clearcpuid=smap,smep mitigations=off "nohz=off highres=off" "slub_debug=FZP page_poison=1"
	"init_on_free=1 init_on_alloc=1" transparent_hugepage=always preempt=full)
[ -n "$long" ] && options+=(nopti clearcpuid=smap nosmep clearcpuid=fsgsbase,rdtscp spectre_v2=retpoline spec_store_bypass_disable=on
	maxcpus=1 nosmp nohz=off idle=poll noapic vsyscall=emulate gbpages=off no5lvl transparent_hugepage=never preempt=none
	norandmaps vdso=0 clearcpuid=avx2 clearcpuid=erms,fsrm nofsgsbase slub_debug=FZPU debug_boot_weak_hash threadirqs
	"mem=100M" "pti=on mitigations=auto,nosmt" noinvpcid cpuidle.off=1 tsc=nowatchdog)
for option in "${options[@]}"; do
	works "$option" "$option"
done

for clock in tsc acpi_pm kvm-clock; do
	works "clocksource $clock" "clocksource=$clock"
	guest_has "the guest uses the clock $clock" "^clocksource $clock"
done
works "no paravirtual clock" no-kvmclock
works "no stable clock" "no-kvmclock tsc=unstable"
works "clock by ticks" "no-kvmclock tsc=unstable clocksource=jiffies"
