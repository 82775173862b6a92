# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Guests for test scripts: starting them, judging their logs, talking to their terminals.
# Sourced from the top of the tree; needs $PENUMBRA and $BUILD.  ACCEL chooses the accelerator.
ACCEL=${ACCEL:-translate}
tmp=${TEST_TMP:-$(mktemp -d)}
vmlinuz=$BUILD/guest/vmlinuz initrd=$BUILD/guest/initrd

# What a healthy kernel never prints.  Kernels must be told to show warnings: loglevel=5 after quiet.
guest_trouble='BUG|Oops|WARNING:|Call Trace|Kernel panic|lockup|LOCKUP|(rcu|RCU).*(stall|self-detected|starved)|hung_task|blocked for more than|general protection|double fault|unable to handle|[Bb]ad page|bad: scheduling|corrupt|page allocation failure|irq [0-9]+: nobody cared|Out of memory|clocksource.*(unstable|skewed)|TSC.*unstable|CPU#[0-9]+ stuck'
quiet='console=ttyS0 quiet loglevel=5'
guest_late=

result() { # status name reason
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2: ${3//$'\n'/ | }"
	fi
}

# A 64-bit kernel without an operating system, at the address of tests/guest/entry/link.ld: $tmp/kernel.
guest_kernel() { # source...
	gcc -O2 -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -Wall -Wextra -Werror -nostdlib -static -no-pie \
		-Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments -T tests/guest/entry/link.ld -o "$tmp/kernel" "$@" ||
		{ result 1 "the kernel builds" "gcc"; exit 1; }
}

# Files of the guest that `make check` does not build by itself.
guest_need() { # target...
	local log=$tmp/make.log
	"${MAKE:-make}" -s BUILD="$BUILD" "$@" >"$log" 2>&1 && return
	result 1 "make ${*#"$BUILD"/}" "$(tail -n 5 "$log")"
	exit 1
}

# Runs a machine to its end; leaves guest_status, guest_log, and in guest_late that it lasted until its --timeout: with
# status 0 that is a front-end that hung after its guest's end.
# $1 is the name of the log, $2 the kernel command line, the rest are options of `penumbra run`.
guest_run() {
	local append=$2 begin=$SECONDS limit
	guest_log=$tmp/$1.log
	shift 2
	limit=$(grep -oP -- '--timeout \K[0-9]+' <<<"$*")
	"$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$initrd" --append "$append" "$@" \
		</dev/null >"$guest_log" 2>&1
	guest_status=$?
	guest_late=
	[ -z "$limit" ] || ((SECONDS - begin < limit)) || guest_late="ended $((SECONDS - begin)) s after its begin, "
	tr -d '\r' <"$guest_log" >"$guest_log.text" && mv "$guest_log.text" "$guest_log"
}

guest_tail() { tail -n 8 "$guest_log"; }

# One result: the machine ended well, by itself, and its log shows no trouble.
guest_clean() { # name [status]
	local found
	found=$(grep -aE -m 3 "$guest_trouble" "$guest_log")
	[ "$guest_status" = "${2:-0}" ] && [ -z "$found$guest_late" ]
	result $? "$1" "status $guest_status, $guest_late${found:-$(guest_tail)}"
}

guest_has() { # name extended-regular-expression
	grep -aEq "$2" "$guest_log"
	result $? "$1" "no line matches $2: $(guest_tail)"
}

# Turns the lines `ok ...` and `not ok ...` that a guest's script printed into results of this test.
# Every name in the list must be there; a script that ended early is found out by that.
guest_results() { # prefix name...
	local prefix=$1 name line
	shift
	for name; do
		line=$(grep -aE -m 1 "(^|[^a-z])(not )?ok $name( |:|$)" "$guest_log" | grep -aoE '(not )?ok .*')
		case $line in
		"ok $name"*) echo "ok - $prefix $name" ;;
		"not ok $name"*) echo "not ok - $prefix $name${line#"not ok $name"}" ;;
		*) result 1 "$prefix $name" "no result: $(guest_tail)" ;;
		esac
	done
}

# ---- a machine on a pseudo terminal ----

# Starts it; what it prints is read from $from, what is written to $to are its keys.
terminal_start() { # append [options]
	local append=$1
	shift
	guest_log=$tmp/terminal.log
	: >"$guest_log"
	{
		printf '%q ' "$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$initrd" --append "$append" "$@"
		printf '\necho $? >%q\n' "$tmp/terminal.status"
	} >"$tmp/terminal.sh"
	guest_late=
	rm -f "$tmp/terminal.status"
	coproc TERMINAL { exec socat STDIO "EXEC:bash $tmp/terminal.sh,pty,setsid,ctty,rawer" 2>"$tmp/terminal.err"; }
	terminal_pid=$TERMINAL_PID
	exec {from}<&"${TERMINAL[0]}" {to}>&"${TERMINAL[1]}"
	seen=
}

# Waits for the text, at most 20 seconds without output; `seen` then holds what came before it.
terminal_await() { # text
	local byte
	seen=
	while IFS= read -r -t 20 -d '' -N 1 -u "$from" byte; do
		seen+=$byte
		printf %s "$byte" >>"$guest_log"
		[[ $seen != *"$1" ]] || return 0
	done
	return 1
}

terminal_type() { printf %b "$1" >&"$to"; }

# One result: after the keys, the text comes.
terminal_answer() { # name keys text
	terminal_type "$2"
	terminal_await "$3"
	result $? "$1" "instead of '$3': '${seen: -300}'"
}

# Waits for the end; leaves guest_status.
terminal_finish() {
	cat <&"$from" >>"$guest_log"
	exec {from}<&- {to}>&-
	wait "$terminal_pid" 2>/dev/null
	guest_status=$(cat "$tmp/terminal.status" 2>/dev/null)
}
