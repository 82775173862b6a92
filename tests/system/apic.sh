#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Interrupt controllers as kernels use them: Linux told to leave out one part after the other, timers and lines that
# then carry on, NMIs, processors started by INIT; and a kernel that writes garbage into every register.
# TIMEOUT: 200
set -u
. tests/lib/guest.sh

cat >"$tmp/irq.sh" <<'X'
sleep 0.05
cat /proc/interrupts
cat /sys/devices/system/clockevents/clockevent0/current_device
X
guest/build.sh overlay "$initrd" "$tmp/irq.img" "root/irq.sh=$tmp/irq.sh"

# name, kernel options, lines that /proc/interrupts and the clock event device must have
boot() {
	local name=$1 options=$2 line
	shift 2
	guest_run "${name// /-}" "console=ttyS0 loglevel=5 penumbra.exec=sh,/root/irq.sh $options" --initrd "$tmp/irq.img" --timeout 60
	guest_clean "$name: boots"
	for line; do
		guest_has "$name: $line" "$line"
	done
}
boot "local APIC in x2APIC mode" "" 'LOC: +[1-9]' 'IO-APIC +4-edge +ttyS0' '^lapic-deadline'
boot "local APIC in xAPIC mode" nox2apic 'LOC: +[1-9]' 'IO-APIC +4-edge' '^lapic-deadline'
boot "timer without TSC deadline" "lapic=notscdeadline" 'LOC: +[1-9]' 'IO-APIC +2-edge +timer' '^lapic$'
boot "both" "nox2apic lapic=notscdeadline" 'LOC: +[1-9]' '^lapic$'
boot "no IO-APIC" noapic 'XT-PIC +ttyS0' 'LOC: +[1-9]'
boot "no local APIC" nolapic 'XT-PIC +timer' 'XT-PIC +ttyS0' '^pit$'
# With TSC deadline Linux leaves the PIT out and would have no timer at all.
boot "no local APIC timer" "nolapic_timer lapic=notscdeadline" 'IO-APIC +2-edge +timer' '^pit$'
boot "no ACPI interrupt routing" acpi=noirq 'XT-PIC +timer'
boot "an unstable TSC" tsc=unstable 'LOC: +[1-9]'

# Processors are taken away and started again, in each way to send the messages.
cat >"$tmp/hotplug.sh" <<'X'
for i in 1 2 3; do
	echo 0 >/sys/devices/system/cpu/cpu1/online || echo cannot stop
	echo "left $(grep -c ^processor /proc/cpuinfo)"
	echo 1 >/sys/devices/system/cpu/cpu1/online || echo cannot start
	echo "now $(grep -c ^processor /proc/cpuinfo)"
done
X
guest/build.sh overlay "$initrd" "$tmp/hotplug.img" "root/hotplug.sh=$tmp/hotplug.sh"
for option in "" nox2apic; do
	guest_run "hotplug$option" "$quiet penumbra.exec=sh,/root/hotplug.sh $option" --initrd "$tmp/hotplug.img" --timeout 60 --cpus 3
	guest_clean "a processor is stopped and started ${option:+with }$option"
	result "$([ "$(grep -acE '^(left 2|now 3)$' "$guest_log")" = 6 ] && ! grep -aq inconsistent "$guest_log"; echo $?)" \
		"it leaves and comes back ${option:+with }$option" "$(guest_tail)"
done

# An NMI that the kernel sends to itself: the backtrace of all processors.
cat >"$tmp/nmi.sh" <<'X'
echo 1 >/proc/sys/kernel/sysrq
echo l >/proc/sysrq-trigger
grep NMI: /proc/interrupts
X
guest/build.sh overlay "$initrd" "$tmp/nmi.img" "root/nmi.sh=$tmp/nmi.sh"
guest_run nmi "$quiet penumbra.exec=sh,/root/nmi.sh" --initrd "$tmp/nmi.img" --timeout 60 --cpus 2
result "$([ "$guest_status" = 0 ] && grep -aEq 'NMI: +[0-9]+ ' "$guest_log"; echo $?)" "two processors answer a backtrace" "$(guest_tail)"
guest_has "an NMI reached one of them" 'NMI: +([1-9][0-9]* |0 +[1-9])'

# Garbage.
gcc -m32 -DPROTOCOL=3 -O2 -ffreestanding -fno-pic -fno-pie -mgeneral-regs-only -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments \
	-T tests/guest/entry/link.ld -o "$tmp/entry.elf" tests/guest/entry/start.S tests/guest/entry/kernel.c
for seed in ${SEEDS:-11 222 3333 44444 555555 6666666}; do
	"$PENUMBRA" run --accel "$ACCEL" --kernel "$tmp/entry.elf" --append "garbage $seed" --debug-exit --timeout 8 --memory 128M \
		--cpus $((1 + seed % 2)) </dev/null >"$tmp/garbage.log" 2>&1
	status=$?
	case $status in
	0 | 3 | 4 | 43) good=0 ;;
	*) good=1 ;;
	esac
	grep -aqE 'monitor|process of the guest' "$tmp/garbage.log" && good=1
	result $good "garbage with seed $seed ends well" "status $status, $(tail -c 300 "$tmp/garbage.log")"
done
