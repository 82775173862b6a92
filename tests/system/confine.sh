#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the processes of a translated machine may still do, and what is left when one of them is killed.
# PLANT=1 also builds a monitor that makes a forbidden system call.
set -u
tmp=${TEST_TMP:-$(mktemp -d)}
failed=0
result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - confine: $2"
	else
		echo "not ok - confine: $2: ${3//$'\n'/ | }"
		failed=1
	fi
}
${CC:-gcc} -nostdlib -static -no-pie -Wl,-Ttext=0x1000000,--build-id=none,-z,noexecstack,-N,--no-warn-rwx-segments \
	-o "$tmp/hello" tests/guest/hello.S 2>"$tmp/err" || { result 1 "the test guest is built" "$(cat "$tmp/err")"; exit 1; }

machine=("$PENUMBRA" run --accel translate --kernel "$tmp/hello" --memory 128M --timeout 60 --append)
# Starts a guest that loops for ever; sets front, zygote and carriers once its first line is out.
start() { # command prefix...
	rm -f "$tmp/out"
	mkfifo "$tmp/out"
	"$@" "${machine[@]}" l >"$tmp/out" 2>"$tmp/err" </dev/null &
	front=$!
	exec 8<"$tmp/out"
	read -r -t 30 -u 8 line
	while [ "$(tr -d '\0' <"/proc/$front/comm")" != penumbra ]; do
		front=$(pgrep -P "$front" | head -1)
		[ -n "$front" ] || break
	done
	zygote=$(pgrep -P "$front" penumbra-guest)
	mapfile -t carriers < <(pgrep -P "$zygote")
}
field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
strangers() { awk '$2 ~ /x/ && $NF !~ /vsyscall/ { print $NF, $2 }  /\[(stack|heap|vdso|vvar)/' "/proc/$1/maps" | sort | tr '\n' ';'; }
gone() { # pid...: all ended within ten seconds
	local p
	for p; do timeout 10 tail -s 0.05 --pid="$p" -f /dev/null || return 1; done
}
finish() { wait 2>/dev/null; exec 8<&-; }

start
result "$([ "${line:-}" = "hello from the guest" ] && [ -n "$zygote" ] && [ ${#carriers[@]} -ge 1 ]; echo $?)" "a machine runs" \
	"'${line:-}' zygote '$zygote', $(cat "$tmp/err")"
for p in "$zygote" "${carriers[0]}"; do
	who=zygote
	[ "$p" = "$zygote" ] || who=carrier
	got="$(field "$p" Seccomp) $(field "$p" NoNewPrivs) $(field "$p" CapInh) $(field "$p" CapPrm) $(field "$p" CapEff) $(field "$p" CapBnd) $(field "$p" CapAmb)"
	none=0000000000000000
	result "$([ "$got" = "2 1 $none $none $none $none $none" ]; echo $?)" "$who: a filter and no capabilities" "$got"
	want=1
	[ $who = carrier ] && want=2
	result "$([ "$(field "$p" Seccomp_filters)" = $want ]; echo $?)" "$who: $want filters" "$(field "$p" Seccomp_filters)"
	open=$(cd "/proc/$p/fd" && for f in *; do echo "$f=$(readlink "$f")"; done)
	result "$([ "$open" = "3=/memfd:penumbra-ram (deleted)" ]; echo $?)" "$who: no descriptor but guest memory" "$open"
	limits=$(awk '/Max (core file size|file size|open files|locked memory|msgqueue size)/ { print $(NF-2), $(NF-1) }' "/proc/$p/limits" | sort -u)
	result "$([ "$limits" = "0 0" ]; echo $?)" "$who: limits" "$limits"
	maps=$(strangers "$p")
	want="(deleted) r-xp;(deleted) rwxs;"
	result "$([ "$maps" = "$want" ]; echo $?)" "$who: no stack, no vdso, nothing executable but monitor and cache" "$maps"
	files=$(ls -A "/proc/$p/root/" 2>&1)
	result "$([ -z "$files" ]; echo $?)" "$who: an empty file system" "$files"
	for ns in user mnt net ipc uts cgroup pid; do
		[ "$(readlink "/proc/$p/ns/$ns")" != "$(readlink "/proc/$front/ns/$ns")" ] || same+=" $ns"
	done
	result "$([ -z "${same:-}" ]; echo $?)" "$who: namespaces of its own" "shared:${same:-}"
	same=
	result "$([ "$(stat -c %u "/proc/$p/mem")" = 0 ] && ! su nobody -s /bin/sh -c "cat /proc/$p/environ" >/dev/null 2>&1; echo $?)" \
		"$who: not readable by others" "$(ls -l "/proc/$p/mem")"
done
got="$(field "$front" Seccomp) $(field "$front" NoNewPrivs)"
result "$([ "$got" = "2 1" ]; echo $?)" "front-end: a filter" "$got"

# ---- one of them is killed ----
kill -9 "${carriers[0]}"
wait "$front"
status=$?
result "$([ $status = 1 ] && [[ $(cat "$tmp/err") == "penumbra: run: the monitor cannot go on: a process of the guest was ended by signal 9" ]]; echo $?)" \
	"a killed carrier is one line" "status $status, $(cat "$tmp/err")"
result "$(gone "$front" "$zygote" "${carriers[@]}"; echo $?)" "nothing is left of it" "$(pgrep -l penumbra)"
finish
start
kill -9 "$zygote"
wait "$front"
status=$?
result "$([ $status = 1 ] && [[ $(cat "$tmp/err") == "penumbra: run: the monitor was ended by signal 9" ]]; echo $?)" \
	"a killed zygote is one line" "status $status, $(cat "$tmp/err")"
result "$(gone "$front" "$zygote" "${carriers[@]}"; echo $?)" "nothing is left of it" "$(pgrep -l penumbra)"
finish
start
kill -9 "$front"
result "$(gone "$front" "$zygote" "${carriers[@]}"; echo $?)" "nothing is left of a killed front-end" "$(pgrep -l penumbra)"
finish

# ---- without privileges, and without namespaces ----
chmod -R a+rX "$tmp"
works() { # name command prefix...
	local name=$1 status
	shift
	"$@" "${machine[@]}" p >"$tmp/log" 2>&1 </dev/null
	status=$?
	result "$([ $status = 0 ] && [ "$(cat "$tmp/log")" = "hello from the guest" ]; echo $?)" "$name" "status $status, $(cat "$tmp/log")"
}
if [ "$(id -u)" = 0 ]; then
	cp "$PENUMBRA" "$tmp/penumbra" && chmod a+rx "$tmp/penumbra"
	if setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$tmp/penumbra" -a -r "$tmp/hello"; then
		machine[0]=$tmp/penumbra
		works "an ordinary user" setpriv --reuid=65534 --regid=65534 --clear-groups
		works "an ordinary user without user namespaces" \
			unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces || exit 9
				exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"' sh
	else
		echo "ok - confine: an ordinary user # SKIP $tmp is not accessible to one"
	fi
fi
[ -n "${PLANT:-}" ] || exit $failed

build() { # name file sed-expression
	rm -rf "$tmp/plant"
	mkdir "$tmp/plant"
	cp -r Makefile mk src guest bench "$tmp/plant"
	sed -i "$3" "$tmp/plant/$2"
	if cmp -s "$2" "$tmp/plant/$2" || ! make -s -C "$tmp/plant" BUILD="$tmp/plant/b" "$tmp/plant/b/penumbra" >"$tmp/log" 2>&1; then
		result 1 "planted: $1" "it cannot be planted: $(tail -3 "$tmp/log")"
		return 1
	fi
	machine[0]=$tmp/plant/b/penumbra
}
plant() { # name file sed-expression expected-line
	build "$@" || return
	"${machine[@]}" p >"$tmp/log" 2>&1 </dev/null
	status=$?
	result "$([ $status = 1 ] && [ "$(tail -1 "$tmp/log")" = "$4" ]; echo $?)" "planted: $1" "status $status, $(cat "$tmp/log")"
}
if build "the host's stack and vdso left mapped" src/monitor/confine.c 's/^	unmap_strangers();/	(void)unmap_strangers;/'; then
	start
	result "$([ "$(strangers "$zygote")" != "(deleted) r-xp;(deleted) rwxs;" ]; echo $?)" \
		"planted: the host's stack and vdso left mapped are noticed" "$(strangers "$zygote")"
	kill -9 "$front"
	finish
fi
plant "a carrier's forbidden system call" src/monitor/run.c 's/^_Noreturn void run_loop(void)/_Noreturn void run_loop(void)\n{ sys0(__NR_getpid); run_loop_(); }\n_Noreturn void run_loop_(void)/; s/^struct mine my;/struct mine my;\n_Noreturn void run_loop_(void);/' \
	"penumbra: run: the monitor cannot go on: a process of the guest made a forbidden system call and was ended"
plant "the zygote's forbidden system call" src/monitor/main.c 's/^	confine_zygote();/	confine_zygote(); sys0(__NR_sync);/' \
	"penumbra: run: the monitor made a forbidden system call and was ended"
plant "the front-end's forbidden system call" src/accel/bt.c 's/^	drain(vm, bt);/	drain(vm, bt); if (chmod("\/", 0755)) return -1;/; s/^#include <poll.h>/#include <poll.h>\n#include <sys\/stat.h>/' \
	"penumbra: a running machine made a system call that it does not need, and was ended"
exit $failed
