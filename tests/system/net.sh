#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Network cards: the user-mode network with its forwards, tap interfaces, a driver that is taken off while frames
# flow, a worker that dies.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh
device_own_network "$@"
device_stream
device_dhcp "$tmp/dhcp.sh"
bytes=200000000

device_script "$tmp/user.sh" <<'END'
dhcp() { ip link set eth0 up && udhcpc -i eth0 -q -n -t 5 -T 2 -s /dhcp.sh >/tmp/dhcp.log 2>&1; }
B=200000000
ip link set lo up
dhcp
ip addr show eth0 | grep -q '10\.0\.2\.15/24'; pass $? dhcp "$(cat /tmp/dhcp.log; ip addr)"
[ "$(cat /sys/class/net/eth0/mtu)" = 65520 ]; pass $? mtu "$(cat /sys/class/net/eth0/mtu)"
[ "$(cat /sys/class/net/eth0/address)" = 52:54:00:12:34:56 ]; pass $? mac "$(cat /sys/class/net/eth0/address)"
[ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; pass $? carrier
ping -c 3 -W 5 10.0.2.2 >/tmp/ping.log; pass $? ping "$(cat /tmp/ping.log)"
ping -c 1 -W 5 -s 60000 10.0.2.2 >/tmp/ping.log; pass $? large "$(cat /tmp/ping.log)"
/stream connect tcp:10.0.2.2/7001 send $B 2>/tmp/log; pass $? up "$(cat /tmp/log)"
/stream connect tcp:10.0.2.2/7002 receive $B >/tmp/log 2>&1; pass $? down "$(cat /tmp/log)"
echo "down: $(cat /tmp/log)"
/stream listen tcp:0.0.0.0/80 send $B >/tmp/forward 2>&1 &
forward=$!
/stream echo udp:0.0.0.0/53 1 >/tmp/echo 2>&1 &
echo=$!
n=0
while [ $n -lt 100 ] && ! grep -q listening /tmp/echo; do usleep 20000; n=$((n + 1)); done
echo "forwards are up"
wait $forward; pass $? forward "$(cat /tmp/forward)"
wait $echo; pass $? datagram "$(cat /tmp/echo)"
# Traffic in both directions while the driver comes and goes.
(while :; do ping -q -c 1000 -A -s 30000 10.0.2.2; done) >/dev/null 2>&1 &
pings=$!
n=0
while [ $n -lt 5 ]; do
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind
	dhcp || break
	n=$((n + 1))
done
kill $pings
killall ping # or their answers fill the buffer of the next one
[ $n = 5 ] && ping -c 1 -W 5 10.0.2.2 >/dev/null; pass $? rebound "$n times, $(cat /tmp/dhcp.log)"
END
device_guest test.sh="$tmp/user.sh" dhcp.sh="$tmp/dhcp.sh" stream="$tmp/stream"
"$tmp/stream" listen tcp:127.0.0.1/7001 receive $bytes >"$tmp/up" 2>&1 &
"$tmp/stream" listen tcp:127.0.0.1/7002 send $bytes >"$tmp/down" 2>&1 &
{
	device_await "$tmp/user.log" 'forwards are up'
	printf hello | socat -T 5 - UDP:127.0.0.1:5353 >"$tmp/datagram"
	"$tmp/stream" connect tcp:127.0.0.1/8080 receive $bytes
} >"$tmp/forward" 2>&1 &
guest_run user "$quiet penumbra.run=/test.sh" --timeout 200 \
	--net user,mac=52:54:00:12:34:56,loopback,forward=8080:80,forward=udp:5353:53
wait
guest_clean "a guest with a user-mode network"
guest_results user dhcp mtu mac carrier ping large up down forward datagram rebound
grep -q "^$bytes bytes" "$tmp/up"
result $? "what the guest sends arrives whole" "$(cat "$tmp/up")"
grep -q "^$bytes bytes" "$tmp/forward"
result $? "what the guest serves arrives whole" "$(cat "$tmp/forward")"
[ "$(cat "$tmp/datagram")" = hello ]
result $? "a datagram goes to the guest and back" "$(cat "$tmp/datagram")"
echo "# up $(tail -n 1 "$tmp/up"), $(grep -a 'down:' "$guest_log"), forward $(tail -n 1 "$tmp/forward")"

# Nothing of the host's is reached unless it was asked for.
device_script "$tmp/closed.sh" <<'END'
ip link set eth0 up && udhcpc -i eth0 -q -n -s /dhcp.sh >/dev/null 2>&1
nc -w 2 10.0.2.2 7003 </dev/null >/tmp/out 2>&1
[ ! -s /tmp/out ] || ! grep -q secret /tmp/out; pass $? loopback "$(cat /tmp/out)"
END
device_guest test.sh="$tmp/closed.sh" dhcp.sh="$tmp/dhcp.sh"
socat -U TCP-LISTEN:7003,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo secret' 2>/dev/null &
server=$!
guest_run closed "$quiet penumbra.run=/test.sh" --net user --timeout 60
kill $server
guest_clean "a guest with a closed user-mode network"
guest_results closed loopback

# ---- tap ----
# A card with two pairs of queues, in a machine with as many vCPUs as told.
tap() { # vcpus
	local receiver sender
	device_guest test.sh="$tmp/tap.sh" stream="$tmp/stream"
	timeout 110 "$tmp/stream" listen tcp:10.9.0.1/7001 receive $bytes >"$tmp/up" 2>&1 &
	receiver=$!
	"$tmp/stream" listen tcp:10.9.0.1/7002 send $bytes >"$tmp/down" 2>&1 &
	sender=$!
	guest_run tap "$quiet penumbra.run=/test.sh" --net tap,name=penumbra0,queues=2 --cpus "$1" --timeout 100
	wait $receiver
	kill $sender 2>/dev/null # it may wait long for the last word of a guest that is gone
	guest_clean "a guest with a tap interface and $1 vCPUs"
	guest_results "tap, $1 vCPUs:" ping fragments queues up down
	grep -q "^$bytes bytes" "$tmp/up"
	result $? "what the guest sends over a tap arrives whole, $1 vCPUs" "$(cat "$tmp/up")"
	echo "# $1 vCPUs: up $(tail -n 1 "$tmp/up"), $(grep -a 'down:' "$guest_log")"
}
if ! ip tuntap add penumbra0 mode tap vnet_hdr multi_queue 2>/dev/null; then
	echo "ok - tap interfaces # SKIP this host makes none"
else
	ip addr add 10.9.0.1/24 dev penumbra0
	ip link set penumbra0 up
	device_script "$tmp/tap.sh" <<'END'
B=200000000
ip link set eth0 up
ip addr add 10.9.0.2/24 dev eth0
n=0
while [ $n -lt 50 ] && ! ping -c 1 -W 1 10.9.0.1 >/dev/null; do n=$((n + 1)); done
[ $n -lt 50 ]; pass $? ping
ping -c 1 -W 5 -s 20000 10.9.0.1 >/dev/null; pass $? fragments
# A vCPU sends through its own pair, and the host answers on the one that it heard the flow on.
bad= c=0
while [ $c -lt $(grep -c ^processor /proc/cpuinfo) ]; do
	taskset $((1 << c)) ping -c 3 -W 5 10.9.0.1 >/dev/null || bad="$bad no answer on $c,"
	grep -q "[1-9].*virtio0-input\.$c\$" /proc/interrupts || bad="$bad no interrupt of pair $c,"
	c=$((c + 1))
done
[ -z "$bad" ]; pass $? queues "$bad $(grep virtio /proc/interrupts)"
/stream connect tcp:10.9.0.1/7001 send $B 2>/tmp/log; pass $? up "$(cat /tmp/log)"
/stream connect tcp:10.9.0.1/7002 receive $B >/tmp/log 2>&1; pass $? down "$(cat /tmp/log)"
echo "down: $(cat /tmp/log)"
END
	tap 1
	tap 2
fi

# ---- a worker that dies ----
device_script "$tmp/kill.sh" <<'END'
ip link set eth0 up && udhcpc -i eth0 -q -n -s /dhcp.sh >/dev/null 2>&1
ping -c 1 -W 5 10.0.2.2 >/dev/null && echo "ready to lose it"
read -r line
ping -c 1 -W 5 10.0.2.2 >/dev/null && echo "ok alive"
read -r line
ping -c 1 -W 1 10.0.2.2 >/dev/null || echo "ok without"
END
device_guest test.sh="$tmp/kill.sh" dhcp.sh="$tmp/dhcp.sh"
terminal_start "$quiet penumbra.run=/test.sh" --net user --timeout 60
terminal_await "ready to lose it"
device_kill net
result $? "the card's worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra)"
terminal_answer "one that is killed has a successor" '\n' "ok alive"
device_kill net keeper
terminal_answer "the guest outlives its card" '\n' "ok without"
terminal_finish
[ "$guest_status" = 0 ]
result $? "the machine ends well after the card's worker died" "status $guest_status: $(guest_tail)"

# ---- wrong usage ----
refused() { # name pattern options...
	local name=$1 pattern=$2
	shift 2
	"$PENUMBRA" run --kernel "$vmlinuz" --initrd "$initrd" "$@" </dev/null >"$tmp/refused" 2>&1
	[ $? = 1 ] && [ "$(wc -l <"$tmp/refused")" = 1 ] && grep -qE -- "$pattern" "$tmp/refused"
	result $? "$name" "$(cat "$tmp/refused")"
}
refused "an unknown key is named" "--net: 'colour' is not known" --net user,colour=red
refused "a tap that is not there is named" "--net: tap interface" --net tap,name=//
socat -u TCP-LISTEN:7004,bind=127.0.0.1 - &
taken=$!
for _ in {1..100}; do ss -ltn | grep -q :7004 && break; sleep 0.05; done
refused "a port that is taken is named" "forward=7004:22: Address already in use" --net user,forward=7004:22
kill $taken
