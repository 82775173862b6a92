#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A tiny guest under kvm: the ways a run ends, the console, the terminal.  ACCEL chooses another accelerator.
set -u
ACCEL=${ACCEL:-kvm}
tmp=${TEST_TMP:-$(mktemp -d)}
hello=$tmp/hello
failed=0

result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - $ACCEL: $2"
	else
		echo "not ok - $ACCEL: $2: ${3//$'\n'/ | }"
		failed=1
	fi
}

if [ "$ACCEL" = kvm ] && ! "$PENUMBRA" host --json | grep -q '"kvm_state":"\(real\|emulated\)"'; then
	echo "1..0 # SKIP $("$PENUMBRA" host | grep '^kvm ')"
	exit 0
fi
${CC:-gcc} -nostdlib -static -no-pie -Wl,-Ttext=0x1000000,--build-id=none,-z,noexecstack,-N,--no-warn-rwx-segments \
	-o "$hello" tests/guest/hello.S 2>"$tmp/err" || { result 1 "the test guest is built" "$(cat "$tmp/err")"; exit 1; }

penumbra=("$PENUMBRA" run --accel "$ACCEL" --kernel "$hello" --memory 128M --timeout 30 --append)

ends() { # name letter status output error-pattern [options]
	local name=$1 letter=$2 want=$3 output=$4 pattern=$5 status
	shift 5
	"${penumbra[@]}" "$letter" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	[ $status = "$want" ] && [ "$(cat "$tmp/out")" = "$output" ] && [[ $(cat "$tmp/err") == $pattern ]]
	result $? "$name" "status $status, stdout '$(cat "$tmp/out")', stderr '$(cat "$tmp/err")'"
}
line="hello from the guest"
panic="[    1.0] Kernel panic - not syncing: planted
[    1.0] CPU: 0
[    1.0] ---[ end Kernel panic - not syncing: planted ]---"
ends "power off" p 0 "$line" ""
ends "reset" r 0 "$line" ""
ends "halt" h 3 "$line" "penumbra: run: the guest halted with interrupts off"
ends "triple fault" t 3 "$line" "penumbra: run: the guest processor shut down after a triple fault"
ends "timer interrupts" i 0 "$line"$'\n'".........." "" --stats "$tmp/stats"
ends "timer interrupts without HLT" s 0 "$line"$'\n'".........." ""
ends "interrupts that waited for the interrupt flag" w 0 "$line"$'\n'".........." ""
ends "panic" k 3 "$line"$'\n'"$panic" \
	"penumbra: run: the guest kernel panicked; its last lines:"*"  [[]    1.0] Kernel panic - not syncing: planted"*
ends "a panic that is not the last word" c 0 "$line"$'\n'"$panic"$'\n'"$line" ""
ends "time limit" l 4 "$line" "penumbra: run: the time limit of 0.5 seconds was reached, the machine was ended" \
	--timeout 0.5
ends "end of input is not the end" e 4 "$line" "penumbra: run: the time limit of 0.5 seconds *" --timeout 0.5
ends "8 GiB of memory" p 0 "$line" "" --memory 8G
ends "statistics on a full disk" p 1 "$line" "penumbra: run: /dev/full: No space left on device" --stats /dev/full

# The figures of the run with the timer.
figure() { sed -n "s/^ *\"$1\":\"\?\([^\",]*\)\"\?,\?$/\1/p" "$tmp/stats"; }
result "$([ "$(figure end)" = poweroff ] && [ "$(figure accel)" = "$ACCEL" ] && [ "$(figure name)" = guest ]; echo $?)" \
	"statistics: what ran and how it ended" "$(head -5 "$tmp/stats")"
result "$([ "$(figure interrupts)" -ge 10 ]; echo $?)" "statistics: interrupts" "$(figure interrupts)"
result "$([ "$(figure console_out)" = 32 ]; echo $?)" "statistics: console bytes" "$(figure console_out)"
# Ten periods of the timer, the first of which may be short.
result "$([ "$(figure first_output_ns)" -gt 0 ] &&
	[ "$(figure wall_ns)" -gt $(($(figure first_output_ns) + 80000000)) ]; echo $?)" \
	"statistics: times" "$(figure first_output_ns) of $(figure wall_ns)"
result "$([ "$(figure ram_bytes)" = $((128 << 20)) ] && [ "$(figure ram_resident)" -gt 4096 ]; echo $?)" \
	"statistics: memory" "$(figure ram_resident) of $(figure ram_bytes)"

# Console input: every byte arrives once and in order, also more than any buffer holds.
seq 1 3000 >"$tmp/in"
printf . >>"$tmp/in"
"${penumbra[@]}" e <"$tmp/in" >"$tmp/out" 2>"$tmp/err"
status=$?
tail -n +2 "$tmp/out" | cmp -s - "$tmp/in" && [ $status = 0 ]
result $? "console input from a file" "status $status, $(wc -c <"$tmp/out") bytes, $(cat "$tmp/err")"
printf '\001x\001h.' | "${penumbra[@]}" e >"$tmp/out" 2>"$tmp/err"
result "$([ "$(tail -n +2 "$tmp/out")" = $'\001x\001h.' ]; echo $?)" "a pipe has no escape keys" "$(od -c "$tmp/out")"

# Standard output that goes away.
exec 7> >(exec true)
wait $!
"${penumbra[@]}" p >&7 2>"$tmp/err" </dev/null
status=$?
exec 7>&-
result "$([ $status = 1 ] && [ "$(cat "$tmp/err")" = "penumbra: run: console output: Broken pipe" ]; echo $?)" \
	"a closed pipe" "status $status, $(cat "$tmp/err")"
"${penumbra[@]}" p >&- 2>"$tmp/err" </dev/null
status=$?
result "$([ $status = 1 ] && [[ $(cat "$tmp/err") == "penumbra: run: console output: Bad file descriptor" ]]; echo $?)" \
	"standard output closed" "status $status, $(cat "$tmp/err")"
"${penumbra[@]}" p <&- >"$tmp/out" 2>&1
status=$?
result "$([ $status = 0 ]; echo $?)" "standard input closed" "status $status, $(cat "$tmp/out")"

# ---- on a terminal ----

if ! command -v socat >/dev/null; then
	echo "ok - $ACCEL: terminal # SKIP socat is not installed"
	exit $failed
fi

# A pseudo terminal whose other end is the pair of descriptors $from, $to.
terminal_open() {
	mkfifo "$tmp/log"
	coproc TERMINAL { exec socat -d -d "PTY,link=$tmp/tty" STDIO 2>"$tmp/log"; }
	terminal=$TERMINAL_PID
	exec {from}<&"${TERMINAL[0]}" {to}>&"${TERMINAL[1]}" {log}<"$tmp/log"
	until [ -e "$tmp/tty" ]; do read -r -t 30 -u "$log" _ || break; done
	before=$(stty -F "$tmp/tty" -a)
}
terminal_close() {
	exec {from}<&- {to}>&- {log}<&-
	kill "$terminal" 2>/dev/null
	wait "$terminal" 2>/dev/null
	rm -f "$tmp/tty"
}
# Starts the guest on the terminal, as the leader of its own session, and waits for its first line.
start() { # letter
	env --default-signal=INT,QUIT setsid -c "${penumbra[@]}" "$1" \
		<"$tmp/tty" >"$tmp/tty" 2>"$tmp/err" {from}<&- {to}>&- {log}<&- &
	guest=$!
	seen=
	until [[ $seen == *"$line"* ]]; do
		IFS= read -r -t 30 -u "$from" seen || break
	done
}
finish() { wait "$guest" 2>/dev/null; status=$?; }
restored() {
	[ "$(stty -F "$tmp/tty" -a)" = "$before" ]
	result $? "the terminal is restored after $1" "$(stty -F "$tmp/tty" -a)"
}

terminal_open
start e
result "$([ "$(stty -F "$tmp/tty" -a)" != "$before" ]; echo $?)" "the terminal is raw" "$(stty -F "$tmp/tty" -a)"
printf 'a\003\001\001b.' >&"$to"
finish
IFS= read -r -t 1 -N 5 -u "$from" seen
result "$([ $status = 0 ] && [ "$seen" = $'a\003\001b.' ]; echo $?)" "keys, and Ctrl-a Ctrl-a" "status $status, '$seen'"
restored "power off"

start l
printf '\001h' >&"$to"
help=
while IFS= read -r -t 10 -u "$from" seen; do
	help+=$seen
	[[ $seen == *"Ctrl-a Ctrl-a"* ]] && break
done
result "$([[ $help == *"Ctrl-a x"* ]]; echo $?)" "Ctrl-a h" "$help"
printf '\001x' >&"$to"
finish
result "$([ $status = 0 ] && [ ! -s "$tmp/err" ]; echo $?)" "Ctrl-a x" "status $status, $(cat "$tmp/err")"
restored "Ctrl-a x"

for signal in TERM INT QUIT; do
	start l
	kill -$signal "$guest"
	finish
	result "$([ $status = $((128 + $(kill -l $signal))) ]; echo $?)" "SIG$signal ends it with that signal" "status $status"
	restored "SIG$signal"
done
start l
kill -SEGV "$guest"
finish
restored "a crash"

start l
terminal_close
finish
result "$([ $status = 1 ] && [ "$(cat "$tmp/err")" = "penumbra: run: the terminal was closed" ]; echo $?)" \
	"the terminal is closed" "status $status, $(cat "$tmp/err")"
exit $failed
