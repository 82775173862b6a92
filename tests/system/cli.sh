#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The command line: exit statuses, one clear line for each failure, help and manual page.
set -u
tmp=${TEST_TMP:-$(mktemp -d)}
failed=0

result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2: ${3//$'\n'/ | }"
		failed=1
	fi
}

# Runs the program; leaves status, out and err.
run() {
	"$PENUMBRA" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	out=$(cat "$tmp/out") err=$(cat "$tmp/err")
}

expect() { # name status pattern-of-standard-error arguments...
	local name=$1 want=$2 pattern=$3 good=0
	shift 3
	run "$@"
	[ "$status" = "$want" ] && [[ $err == $pattern ]] && [ -z "$out" ] || good=1
	result $good "$name" "status $status, stdout '$out', stderr '$err'"
}

# Wrong usage: status 2, what is wrong, and where to read on.
usage() { # name pattern arguments...
	local name=$1 pattern=$2
	shift 2
	expect "$name" 2 "penumbra*: $pattern"$'\n'"Try \`penumbra*--help\`." "$@"
}
usage "no command" "no command given"
usage "unknown command" "there is no command 'fly'" fly
usage "unknown program option" "unknown option '--fly'" --fly
usage "unknown option" "unknown option '--fly'" run --fly
usage "missing value" "--kernel needs a value (FILE)" run --kernel
usage "bad size" "--memory: '1Q' is not a size (512M, 2G)" run --memory 1Q
usage "bad time" "--timeout: '-1' is not a number of seconds above 0" run --timeout -1
usage "bad choice" "--accel: 'hvf' is not one of auto|translate|kvm" run --accel hvf
usage "bad name" "--name: 'a/b' is not a name*" run --name a/b
usage "operand where none is taken" "unexpected argument 'x'" run x
usage "value for a flag" "--json takes no value" host --json=yes
expect "help for an unknown command" 2 "penumbra: help: there is no command 'fly'" help fly

# Failed jobs: status 1 and exactly one line.  kvm is named, or the accelerator that is there, so that the
# reason is the one that was planted.
accel=auto
failure() { # name pattern arguments...
	local name=$1 pattern=$2
	shift 2
	run run --accel $accel "$@"
	[ "$status" = 1 ] && [[ $err == "penumbra: run: "$pattern ]] && [ "$(wc -l <"$tmp/err")" = 1 ] && [ -z "$out" ]
	result $? "$name" "status $status, stdout '$out', stderr '$err'"
}
: >"$tmp/empty"
head -c 5000 /dev/urandom >"$tmp/junk"
mkdir "$tmp/directory"
printf '\177ELF' >"$tmp/short"
failure "missing kernel" "$tmp/none: No such file or directory" --kernel "$tmp/none"
failure "kernel is a directory" "$tmp/directory: Is a directory" --kernel "$tmp/directory"
failure "kernel is empty" "$tmp/empty: not a Linux kernel*" --kernel "$tmp/empty"
failure "kernel is junk" "$tmp/junk: not a Linux kernel*" --kernel "$tmp/junk"
failure "kernel is cut short" "$tmp/short: ELF header is cut short" --kernel "$tmp/short"
failure "kernel is a program of this host" "$PENUMBRA: *" --kernel "$PENUMBRA"
failure "too little memory" "memory: 64 MiB is not between 128 MiB and *" --kernel "$tmp/junk" --memory 64M
failure "odd memory" "memory: *is not a multiple of 2 MiB" --kernel "$tmp/junk" --memory 131073K
failure "statistics in a missing directory" "$tmp/none/stats: No such file or directory" \
	--kernel "$tmp/junk" --stats "$tmp/none/stats"

hello=$tmp/hello
if ${CC:-gcc} -nostdlib -static -no-pie -Wl,-Ttext=0x1000000,--build-id=none,-z,noexecstack,-N,--no-warn-rwx-segments \
	-o "$hello" tests/guest/hello.S 2>"$tmp/err"; then
	failure "missing initrd" "$tmp/none: No such file or directory" --kernel "$hello" --initrd "$tmp/none"
	head -c 2000000 "$hello" >"$tmp/cut"
	truncate -s 500 "$tmp/cut"
	failure "kernel without its end" "$tmp/cut: segment 0 lies outside the file" --kernel "$tmp/cut"
	truncate -s 200M "$tmp/large"
	failure "initrd larger than the memory" "$tmp/large: larger than 128 MiB" \
		--kernel "$hello" --initrd "$tmp/large" --memory 128M
	truncate -s 120M "$tmp/large"
	failure "initrd over the kernel" "initrd of * does not fit *" \
		--kernel "$hello" --initrd "$tmp/large" --memory 128M
	failure "long command line" "kernel command line of 3000 bytes is longer *" \
		--kernel "$hello" --append "$(printf '%3000s' x)"
else
	result 1 "the test guest is built" "$(cat "$tmp/err")"
fi

# Without a guest: a copy of the program that has none beside it.
mkdir "$tmp/alone" && cp "$PENUMBRA" "$tmp/alone/penumbra"
(PENUMBRA=$tmp/alone/penumbra XDG_DATA_HOME=$tmp HOME=$tmp; export XDG_DATA_HOME HOME
failure "no default guest" "there is no default guest *make guest*" ; exit $failed) || failed=1

# Help names every option, and so does the manual page.
run --help
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$out")
result "$([ "$status" = 0 ] && [ -n "$commands" ]; echo $?)" "--help lists commands" "$out$err"
"$PENUMBRA" --man >"$tmp/penumbra.1"
for command in $commands; do
	run "$command" --help
	help=$out
	result "$([ "$status" = 0 ] && [ -z "$err" ]; echo $?)" "$command --help" "status $status, $err"
	run help "$command"
	result "$([ "$out" = "$help" ]; echo $?)" "help $command says the same" "$out"
	grep -q "^\.SS penumbra $command" "$tmp/penumbra.1"
	result $? "the manual page has $command" "no section"
	for option in $(sed -n 's/^  --\([a-z-]*\).*/\1/p' <<<"$help"); do
		[ "$option" = help ] && continue
		# Known: with a value left out it asks for the value; one without a value is followed by what is wrong.
		wrong=
		[[ $help != *"  --$option  "* ]] || wrong=--wrong
		run "$command" "--$option" $wrong
		[[ $err != *"unknown option '--$option'"* ]] && grep -qF -- "$(sed 's/-/\\-/g' <<<"--$option")" "$tmp/penumbra.1"
		result $? "$command --$option is known and in the manual page" "$err"
	done
done

run --version
result "$([[ $status = 0 && $out == "penumbra "[0-9]* ]]; echo $?)" "--version" "$out$err"

if command -v groff >/dev/null; then
	groff -man -Tutf8 -ww -z "$tmp/penumbra.1" >"$tmp/out" 2>&1
	result "$([ ! -s "$tmp/out" ]; echo $?)" "the manual page renders without warnings" "$(head -3 "$tmp/out")"
else
	echo "ok - the manual page renders without warnings # SKIP groff is not installed"
fi
if command -v man >/dev/null; then
	MANWIDTH=80 man --warnings -l "$tmp/penumbra.1" >"$tmp/page" 2>"$tmp/err" </dev/null
	result "$([ ! -s "$tmp/err" ] && grep -q 'EXIT STATUS' "$tmp/page"; echo $?)" "man -l shows the manual page" \
		"$(head -3 "$tmp/err")"
else
	echo "ok - man -l shows the manual page # SKIP man is not installed"
fi

# host: as root and as an ordinary user, as a table and as JSON.
run host
result "$([[ $status = 0 && -z $err && $out == *"accelerator (auto)"* && $out == *"guest boundary"* ]]; echo $?)" \
	"host" "$out$err"
labels=$(wc -l <"$tmp/out")
run host --json
keys=$(grep -c '":' "$tmp/out")
result "$([ "$status" = 0 ] && [ -z "$err" ] && [ "$keys" -ge "$labels" ]; echo $?)" "host --json has it all" "$out$err"
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$tmp/out" 2>"$tmp/err"
	result $? "host --json is JSON" "$(cat "$tmp/err")"
else
	echo "ok - host --json is JSON # SKIP python3 is not installed"
fi
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$tmp" "$tmp/alone"
	out=$(setpriv --reuid=65534 --regid=65534 --clear-groups "$tmp/alone/penumbra" host 2>&1)
	result "$([[ $? = 0 && $out == *"guest boundary"* ]]; echo $?)" "host as an ordinary user" "$out"
else
	echo "ok - host as an ordinary user # SKIP needs root and setpriv"
fi

# Standard output that takes nothing is a failure, not silence.
for arguments in "--help" "run --help" "help" "host" "host --json" "--version" "--man"; do
	# shellcheck disable=SC2086 # words
	"$PENUMBRA" $arguments >/dev/full 2>"$tmp/err"
	status=$?
	result "$([ $status = 1 ] && [ "$(wc -l <"$tmp/err")" = 1 ] && grep -q "No space left" "$tmp/err"; echo $?)" \
		"penumbra $arguments on a full disk" "status $status, $(cat "$tmp/err")"
	# shellcheck disable=SC2086
	"$PENUMBRA" $arguments >&- 2>"$tmp/err"
	status=$?
	result "$([ $status = 1 ] && [ "$(wc -l <"$tmp/err")" = 1 ]; echo $?)" \
		"penumbra $arguments with standard output closed" "status $status, $(cat "$tmp/err")"
done
exit $failed
