#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# vsock: connections between the guest's ports and AF_UNIX sockets of the host, in both directions.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh
device_stream
bytes=200000000
socket=$tmp/vsock

device_script "$tmp/vsock.sh" <<'END'
B=200000000
[ -e /dev/vsock ]; pass $? device
/stream connect vsock:2/7001 send $B 2>/tmp/log; pass $? up "$(cat /tmp/log)"
/stream connect vsock:2/7002 receive $B >/tmp/log 2>&1; pass $? down "$(cat /tmp/log)"
echo "down: $(cat /tmp/log)"
! /stream connect vsock:2/9 send 10 2>/tmp/log && grep -q -i reset /tmp/log; pass $? nobody "$(cat /tmp/log)"
/stream listen vsock:4294967295/80 send $B >/tmp/log 2>&1 &
server=$!
n=0
while [ $n -lt 100 ] && ! grep -q listening /tmp/log; do usleep 20000; n=$((n + 1)); done
echo "the guest listens"
wait $server; pass $? served "$(cat /tmp/log)"
i=0
while [ $i -lt 100 ]; do /stream connect vsock:2/7003 send 1000 2>>/tmp/many || break; i=$((i + 1)); done
[ $i = 100 ]; pass $? many "$i, $(tail -n 1 /tmp/many)"
(/stream connect vsock:2/7003 receive 1000000000 >/dev/null 2>&1; echo "ended $?" >/tmp/ended) &
n=0
while [ $n -lt 3 ] && echo virtio0 >/sys/bus/virtio/drivers/vmw_vsock_virtio_transport/unbind &&
	echo virtio0 >/sys/bus/virtio/drivers/vmw_vsock_virtio_transport/bind; do n=$((n + 1)); done
/stream connect vsock:2/7003 send 1000 2>/tmp/log; pass $? rebound "$n $(cat /tmp/log)"
END
device_guest test.sh="$tmp/vsock.sh" stream="$tmp/stream"
"$tmp/stream" listen "unix:${socket}_7001" receive $bytes >"$tmp/up" 2>&1 &
receiver=$!
"$tmp/stream" listen "unix:${socket}_7002" send $bytes >"$tmp/down" 2>&1 &
socat -u "UNIX-LISTEN:${socket}_7003,fork" - >"$tmp/many" 2>/dev/null &
servers=$!
{
	device_await "$tmp/vsock.log" 'the guest listens'
	"$tmp/stream" connect "unix:$socket/80" receive $bytes
} >"$tmp/served" 2>&1 &
client=$!
guest_run vsock "$quiet penumbra.run=/test.sh" --timeout 200 --vsock "path=$socket,cid=77"
wait $receiver $client
kill $servers
guest_clean "a guest with vsock"
guest_results vsock device up down nobody served many rebound
grep -q "^$bytes bytes" "$tmp/up"
result $? "what the guest sends arrives whole" "$(cat "$tmp/up")"
grep -q "^$bytes bytes" "$tmp/served"
result $? "what the guest serves arrives whole" "$(cat "$tmp/served")"
[ ! -e "$socket" ]
result $? "the socket is removed" "$(ls -l "$tmp")"
echo "# up $(tail -n 1 "$tmp/up"), $(grep -a 'down:' "$guest_log"), served $(tail -n 1 "$tmp/served")"

# ---- a worker that dies, a client that says nonsense ----
device_script "$tmp/kill.sh" <<'END'
echo "ready to lose it"
read -r line
/stream connect vsock:2/7004 receive 1000000000 >/dev/null 2>/tmp/log &
client=$!
usleep 300000
echo "connected"
read -r line
wait $client
echo "ended: $(cat /tmp/log)"
timeout -s KILL 20 /stream connect vsock:2/7003 send 1000 2>/tmp/log && echo "ok alive"
read -r line
timeout -s KILL 2 /stream connect vsock:2/7003 send 10 2>/dev/null
echo "ok without"
END
device_guest test.sh="$tmp/kill.sh" stream="$tmp/stream"
terminal_start "$quiet penumbra.run=/test.sh" --vsock "path=$socket" --timeout 60
terminal_await "ready to lose it"
for words in "HELLO" "CONNECT" "CONNECT x" "CONNECT 99999999999999999999" "$(printf 'x%.0s' {1..100})"; do
	[ -z "$(printf '%s\n' "$words" | socat -t 2 - "UNIX-CONNECT:$socket" 2>/dev/null)" ] || echo "answered $words"
done >"$tmp/answers"
[ ! -s "$tmp/answers" ] && [ "$(socat -t 5 - "UNIX-CONNECT:$socket" <<<"CONNECT 9")" = "" ]
result $? "nonsense and closed ports get no answer" "$(cat "$tmp/answers")"
socat -u -T 60 "UNIX-LISTEN:${socket}_7003,fork" - >/dev/null 2>&1 &
many=$!
socat -T 60 "UNIX-LISTEN:${socket}_7004" "EXEC:cat /dev/zero,nofork" >/dev/null 2>&1 &
servers=$!
terminal_answer "a connection to lose" '\n' connected
device_kill vsock
result $? "the worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra-vsock)"
terminal_answer "connections through one that is killed end" '\n' "ended: "
terminal_await "ok alive"
result $? "its successor makes new ones" "${seen: -300}"
device_kill vsock keeper
terminal_answer "the guest outlives both" '\n' "ok without"
for p in "$servers" "$many"; do [[ $p =~ ^[0-9]+$ ]] && kill "$p" 2>/dev/null; done
terminal_finish
[ "$guest_status" = 0 ]
result $? "the machine ends well after it died" "status $guest_status: $(guest_tail)"

refused() { # name pattern options
	"$PENUMBRA" run --kernel "$vmlinuz" --initrd "$initrd" --vsock "$3" </dev/null >"$tmp/refused" 2>&1
	[ $? = 1 ] && [ "$(wc -l <"$tmp/refused")" = 1 ] && grep -qE -- "$2" "$tmp/refused"
	result $? "$1" "$(cat "$tmp/refused")"
}
refused "a file that is no socket is left alone" "--vsock: path=.*not a socket" "path=$tmp/stream"
refused "a reserved number is refused" "--vsock: cid=2: not a number from 3" "path=$socket,cid=2"
