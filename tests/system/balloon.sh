#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The balloon: memory that the guest gives up or reports as free leaves the host, and comes back as zeroes.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh

# Lines that the host types choose the step.
device_script "$tmp/balloon.sh" <<'END'
mkdir -p /mnt
mount -t tmpfs -o size=400m none /mnt
free() { while read -r name value _; do [ "$name" = MemFree: ] && echo $((value / 1024)); done </proc/meminfo; }
fill() { dd if=/dev/urandom of=/mnt/data bs=1M count=$1 2>/dev/null && sha1sum /mnt/data >/tmp/sum; }
echo "step ready"
while read -r word; do
	case $word in
	fill) fill 250 && echo "step filled" ;;
	check) sha1sum -c /tmp/sum >/dev/null && echo "step checked" ;;
	drop) rm /mnt/data; echo "step dropped" ;;
	free) echo "step free $(free) MiB" ;;
	rebind)
		echo virtio0 >/sys/bus/virtio/drivers/virtio_balloon/unbind
		echo virtio0 >/sys/bus/virtio/drivers/virtio_balloon/bind
		echo "step rebound" ;;
	end) break ;;
	esac
done
END
device_guest test.sh="$tmp/balloon.sh"
terminal_start "$quiet penumbra.run=/test.sh" --memory 512M --balloon "socket=$tmp/balloon" --timeout 200
terminal_await "step ready"
result $? "the guest starts" "${seen: -300}"

# MiB of the machine's RAM that the host holds: the blocks of the file that is the RAM.
ram_held() {
	local pid=$1 fd
	for fd in /proc/"$pid"/fd/*; do
		case $(readlink "$fd") in
		*memfd:*ram*) stat -L -c %b "$fd" | awk '{ print int($1 / 2048) }' && return ;;
		esac
	done
}
machine=$(pgrep -f -o -- "penumbra run .*--initrd $initrd ")
[ "$(cat "/proc/$machine/comm")" = penumbra ] || machine=$(pgrep -x penumbra -f -- "--initrd $initrd ")
held=$(ram_held "$machine")
if [ -z "$held" ]; then
	result 1 "the machine's memory can be measured" "$(ls -l "/proc/$machine/fd")"
fi
# Waits until what the host holds is in a range.
held_within() { # name low high
	local i now
	for ((i = 0; i < 200; i++)); do
		now=$(ram_held "$machine")
		[ "$now" -ge "$2" ] && [ "$now" -le "$3" ] && break
		sleep 0.05
	done
	[ "$now" -ge "$2" ] && [ "$now" -le "$3" ]
	result $? "$1" "$now MiB, not within $2 and $3"
}
ask() { socat -t 5 - "UNIX-CONNECT:$tmp/balloon" <<<"$1"; }
# Asks until the balloon holds so many bytes, within 4 MiB.
balloon_reaches() { # name MiB
	local i now=
	for ((i = 0; i < 200; i++)); do
		now=$(ask stats | jq .balloon)
		[ "${now:-x}" != x ] && [ $((now / 1048576)) -ge $(($2 - 4)) ] && [ $((now / 1048576)) -le $(($2 + 4)) ] && break
		sleep 0.05
	done
	[ $((now / 1048576)) -ge $(($2 - 4)) ] && [ $((now / 1048576)) -le $(($2 + 4)) ]
	result $? "$1" "$now bytes: $(ask stats)"
}

terminal_answer "the guest fills memory" 'fill\r' "step filled"
held_within "the host holds what the guest has filled" 260 512
full=$(ram_held "$machine")
terminal_answer "the guest gives memory up" 'drop\r' "step dropped"
held_within "pages reported as free leave the host" 0 $((full - 150))
terminal_answer "memory given up can be filled again" 'fill\r' "step filled"
terminal_answer "and holds what was written" 'check\r' "step checked"
terminal_answer "the guest gives it up again" 'drop\r' "step dropped"
[ "$(ask 'target 256M')" = ok ]
result $? "a target is taken" "$(ask 'target 256M')"
balloon_reaches "the balloon grows" 256
held_within "what is in the balloon leaves the host" 0 260
[ "$(ask stats | jq '.free < 260000000 and .total > 0 and .target == 268435456')" = true ]
result $? "the driver's figures are told" "$(ask stats)"
ask 'target 512M' >/dev/null
balloon_reaches "the balloon shrinks" 0
terminal_answer "memory that came back can be filled" 'fill\r' "step filled"
terminal_answer "and holds what was written to it" 'check\r' "step checked"
ask 'target 400M' >/dev/null
terminal_answer "the driver goes and comes" 'rebind\r' "step rebound"
balloon_reaches "and takes up its target again" 112
terminal_answer "nothing was lost" 'check\r' "step checked"
for words in "target" "target x" "target 1T" "target -1" "hello" ""; do
	ask "$words" | grep -q '^error: ' || echo "$words"
done >"$tmp/accepted"
[ ! -s "$tmp/accepted" ]
result $? "nonsense is refused" "$(cat "$tmp/accepted")"
ask "target 480M" >"$tmp/answers"
device_kill balloon
result $? "the worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra-ball)"
terminal_answer "the guest outlives the worker" 'check\r' "step checked"
[[ $(ask stats) == *'"target":503316480,'* ]]
result $? "its successor knows the target and answers" "$(ask stats)"
device_kill balloon keeper
terminal_answer "the guest goes on without it" 'check\r' "step checked"
terminal_type 'end\r'
terminal_finish
guest_clean "the machine ends well"
[ ! -e "$tmp/balloon" ]
result $? "the socket is removed" "$(ls "$tmp")"

"$PENUMBRA" run --kernel "$vmlinuz" --initrd "$initrd" --memory 256M --balloon target=1G </dev/null >"$tmp/refused" 2>&1
[ $? = 1 ] && grep -q "target=1G: more than the guest's memory" "$tmp/refused"
result $? "a target beyond the memory is refused" "$(cat "$tmp/refused")"
