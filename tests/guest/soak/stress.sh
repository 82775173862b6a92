#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs inside the Debian system of tests/soak/stress.sh: every class of stress-ng, one stressor after another, in turns
# over the whole list.  Prints, for the host to judge: `begin NAME`, `ok NAME`, `not ok NAME: reason`, `skipped NAME`,
# `clock REALTIME UPTIME` often, `mark N` after turn N once the system is at rest, `done`.
# What to do comes on the kernel's command line: penumbra.soak=SECONDS,TURNS[,STRESSOR...]
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
IFS=, read -r -a words <<<"$(sed -n 's/.*penumbra\.soak=\([^ ]*\).*/\1/p' /proc/cmdline)"
seconds=${words[0]} turns=${words[1]} names=("${words[@]:2}")
cpus=$(nproc)

# Left out: what takes all memory on purpose (the kernel's log would tell of it), holds processors by force, or is about
# hardware, modules and daemons that are not here.
left_out=" bigheap brk stack oom-pipe resources mmaphuge mlockmany swap physpage softlockup cpu-online watchdog reboot
 smi kvm efivar memhotplug ioport klog dccp sctp netdev rawdev apparmor quota x86cpuid binderfs llc-affinity
 ipsec-mb jpeg judy verity plugin "
# The kernel's own code changes while all processors run it: what stress-ng does not have.
tracing=/sys/kernel/tracing
x_tracer() { # seconds
	local tracer end=$((SECONDS + $1))
	[ -e $tracing/current_tracer ] || mount -t tracefs none $tracing || return 3
	stress-ng --switch "$cpus" --fork 1 --syscall 1 -t "$1" >/dev/null 2>&1 &
	while [ $SECONDS -lt $end ]; do
		for tracer in function function_graph nop; do
			grep -qw $tracer $tracing/available_tracers || continue
			echo $tracer >$tracing/current_tracer || return 2
			sleep 0.3
		done
		head -c 100000 $tracing/trace >/dev/null
	done
	echo nop >$tracing/current_tracer
	wait $!
}
x_probes() { # seconds
	local name end=$((SECONDS + $1))
	[ -e $tracing/kprobe_events ] || mount -t tracefs none $tracing || return 3
	stress-ng --fork "$cpus" --open 1 --mmap 1 -t "$1" >/dev/null 2>&1 &
	while [ $SECONDS -lt $end ]; do
		for name in do_sys_openat2 kernel_clone do_exit handle_mm_fault; do echo "p:p_$name $name" >>$tracing/kprobe_events; done
		echo "r:r_open do_sys_openat2" >>$tracing/kprobe_events
		echo 1 >$tracing/events/kprobes/enable || return 2
		sleep 0.2
		echo 0 >$tracing/events/kprobes/enable
		echo >$tracing/kprobe_events
	done
	wait $!
}
# Static keys and calls are patched while others run them.
x_keys() { # seconds
	local end=$((SECONDS + $1))
	stress-ng --switch "$cpus" --pipe 1 --sock 1 -t "$1" >/dev/null 2>&1 &
	while [ $SECONDS -lt $end ]; do
		sysctl -q kernel.sched_schedstats=1 kernel.task_delayacct=1 2>/dev/null
		sysctl -q kernel.sched_schedstats=0 kernel.task_delayacct=0 2>/dev/null
	done
	wait $!
}
x_hotplug() { # seconds
	local c end=$((SECONDS + $1))
	[ "$cpus" -gt 1 ] || return 3
	stress-ng --switch 2 --fork 1 --mmap 1 --timer 1 -t "$1" >/dev/null 2>&1 &
	while [ $SECONDS -lt $end ]; do
		for ((c = 1; c < cpus; c++)); do echo 0 >/sys/devices/system/cpu/cpu$c/online || return 2; done
		for ((c = 1; c < cpus; c++)); do echo 1 >/sys/devices/system/cpu/cpu$c/online || return 2; done
	done
	wait $!
}
x_modules() { # seconds
	local end=$((SECONDS + $1)) m
	stress-ng --fork "$cpus" --mmap 1 -t "$1" >/dev/null 2>&1 &
	while [ $SECONDS -lt $end ]; do
		for m in dummy xfs btrfs nf_tables; do modprobe $m 2>/dev/null && modprobe -r $m 2>/dev/null; done
	done
	wait $!
}
own=(x_tracer x_probes x_keys x_hotplug x_modules)

if [ ${#names[@]} = 0 ]; then
	declare -A seen=()
	names=("${own[@]}")
	for class in cpu cpu-cache device filesystem interrupt io memory network os pipe scheduler vm; do
		for name in $(stress-ng --class $class? 2>&1 | sed 's/.*: //'); do
			[[ ${seen[$name]-} || ${left_out//$'\n'/ } == *" $name "* ]] || { seen[$name]=1 names+=("$name"); }
		done
	done
fi
# More words of a command line than names: a cross section for short runs.
case ${names[*]} in short) names=(cpu matrix vecwide switch futex fork vm mmap mremap pipe sigsegv itimer timerfd hdd sock
	clone pthread tlb-shootdown membarrier mprotect rmap context exec fault sem msg poll aio io-uring userfaultfd "${own[@]}") ;; code) names=("${own[@]}") ;; esac

clock() {
	local up i
	for i in 1 2 3 4 5 6 7 8; do
		read -r up _ </proc/uptime
		echo "clock $EPOCHREALTIME $up"
		sleep 0.05
	done
}

each=$((seconds / turns / ${#names[@]}))
[ $each -ge 1 ] || each=1
sysctl -q debug.exception-trace=0 kernel.printk='5 4 1 5'
mkdir -p /var/tmp/soak && cd /var/tmp/soak || exit 1
echo "soak of ${#names[@]} stressors, $each s each, $turns turns, on $cpus processors"
clock
for ((turn = 1; turn <= turns; turn++)); do
	for name in "${names[@]}"; do
		echo "begin $name"
		if [[ $name == x_* ]]; then
			"$name" $((each < 6 ? 6 : each)) >log 2>&1
		else
			timeout -k 30 $((each * 8 + 120)) stress-ng --"$name" "$cpus" -t $each --verify --vm-bytes 128M --temp-path . >log 2>&1
		fi
		status=$?
		! grep -q 'No stress workers invoked' log || status=3
		case $status in
		0) echo "ok $name" ;;
		3 | 4) echo "skipped $name" ;; # no resources, or not implemented
		*)
			echo "not ok $name: status $status"
			grep -aE 'fail|error|terminated' log | tail -n 5
			;;
		esac
		rm -rf -- /var/tmp/soak/* 2>/dev/null
		clock
	done
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 3
	echo "mark $turn"
	sleep 5
done
clock
echo "done"
