#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The default guest from its start to each of its ends, and its shell on a terminal.
# TIMEOUT: 180
set -u
. tests/lib/guest.sh

guest_run demo "console=ttyS0 loglevel=8 penumbra.demo" --timeout 60 --stats "$tmp/stats"
guest_clean "the demonstration ends the machine with status 0 and a clean log"
guest_has "the demonstration ends with status 0" '^penumbra guest: exit status 0$'
guest_has "the guest shows its kernel" '^kernel +Linux 6\.'
grep -q '"end":"poweroff"' "$tmp/stats"
result $? "the statistics tell of a power off" "$(grep '"end"' "$tmp/stats")"

guest_run reboot "$quiet penumbra.exec=reboot,-f" --timeout 60
guest_clean "a reboot ends the machine with status 0"
guest_has "the kernel restarts" 'reboot: Restarting system'

guest_run halt "$quiet penumbra.exec=halt,-f" --timeout 60
guest_clean "a halted machine has status 3" 3

guest_run timeout "$quiet penumbra.exec=sleep,1000" --timeout 4
result "$([ "$guest_status" = 4 ] && grep -q 'reached init' "$guest_log"; echo $?)" "the time limit ends a machine that sleeps" \
	"status $guest_status, $(guest_tail)"

cat >"$tmp/panic.sh" <<'X'
echo 1 >/proc/sys/kernel/sysrq
echo c >/proc/sysrq-trigger
X
guest/build.sh overlay "$initrd" "$tmp/panic.img" "root/panic.sh=$tmp/panic.sh"
guest_run panic "console=ttyS0 quiet penumbra.exec=sh,/root/panic.sh" --timeout 60 --initrd "$tmp/panic.img"
result "$([ "$guest_status" = 3 ]; echo $?)" "a guest kernel that panics has status 3" "status $guest_status, $(guest_tail)"
guest_has "the panic is shown" 'Kernel panic - not syncing: sysrq triggered crash'
guest_has "the panic is reported" '^penumbra: run: the guest kernel panicked; its last lines:'

if ! command -v socat >/dev/null; then
	echo "ok - terminal # SKIP socat is not installed"
	exit
fi
prompt='penumbra:/root# '
terminal_start "$quiet" --timeout 120
terminal_answer "a prompt appears" '' "$prompt"
terminal_answer "the shell computes" 'echo $((6*7))\r' $'\n42\r\n'
terminal_await "$prompt"
# What is typed before a command's first output might still meet the shell's line editor.
terminal_answer "a program starts" 'echo go; cat\r' $'\r\ngo\r\n'
terminal_answer "it reads the terminal" 'hello\r' $'hello\r\nhello\r\n'
terminal_answer "Ctrl-z stops it" '\x1a' "$prompt"
terminal_answer "jobs lists it" 'jobs\r' 'Stopped'
terminal_await "$prompt"
terminal_answer "fg continues it" 'fg\r' $'\r\ncat\r\n'
terminal_answer "it still reads the terminal" 'line of mine\r' $'line of mine\r\nline of mine\r\n'
terminal_answer "Ctrl-c ends it" '\x03' "$prompt"
terminal_answer "the status tells of the signal" 'echo $?\r' $'\n130\r\n'
terminal_await "$prompt"
terminal_answer "a background job is waited for" 'sleep 0.2 & wait $!; echo waited $?\r' $'\nwaited 0\r\n'
terminal_await "$prompt"
# Not a loop of the shell's own: busybox 1.35 leaves its handler from within malloc() now and then, and then waits
# for a lock that it holds, on any machine.
terminal_answer "a program that never rests starts" 'echo go; yes >/dev/null\r' $'\r\ngo\r\n'
terminal_answer "Ctrl-c stops it" '\x03' "$prompt"
long=$(printf 'x%.0s' {1..900})
terminal_answer "a long line arrives whole" "echo $long | wc -c\r" $'\n901\r\n'
terminal_await "$prompt"
terminal_type '\x01x'
terminal_finish
guest_clean "Ctrl-a x leaves"

terminal_start "$quiet" --timeout 120
terminal_await "$prompt"
terminal_type 'poweroff\r'
terminal_finish
guest_clean "poweroff in the shell ends the machine"
