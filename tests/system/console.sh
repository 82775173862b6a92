#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The virtio console: both terminals come out, keys go to the one that a driver serves, many bytes arrive whole.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh

device_script "$tmp/console.sh" <<'END'
exec </dev/hvc0 >/dev/hvc0 2>&1
echo "step virtio"
read -r line && echo "virtio heard $line"
stty raw -echo
echo "step bulk"
dd bs=1 count=20000 2>/dev/null | sha1sum
stty sane
seq 1 3000
echo "step numbers"
read -r line
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo virtio0 >/sys/bus/virtio/drivers/virtio_console/unbind
echo "step unbound"
read -r line && echo "serial heard $line"
echo virtio0 >/sys/bus/virtio/drivers/virtio_console/bind
exec </dev/hvc0 >/dev/hvc0 2>&1
echo "step bound"
read -r line && echo "virtio heard $line"
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo "ready to lose it"
read -r line </dev/hvc0 && echo "virtio heard $line" >/dev/hvc0
read -r line && echo "serial heard $line"
END
device_guest test.sh="$tmp/console.sh"
terminal_start "$quiet penumbra.run=/test.sh" --console virtio --timeout 100
terminal_await "step virtio"
result $? "the virtio console comes out" "${seen: -300}"
terminal_answer "keys go to the virtio console" 'one\r' "virtio heard one"
terminal_await "step bulk"
keys=$(head -c 20000 /dev/zero | tr '\0' x)
sum=$(printf %s "$keys" | sha1sum)
terminal_answer "many keys arrive whole" "$keys" "${sum%% *}"
terminal_await "step numbers"
[[ $(tr -d '\r' <<<"$seen") == *"$(seq 1 3000)"* ]]
result $? "much output arrives whole" "${seen: -300}"
terminal_answer "the driver goes" '\r' "step unbound"
terminal_answer "keys go to the serial port without it" 'two\r' "serial heard two"
terminal_await "step bound"
terminal_answer "keys go to the virtio console again" 'three\r' "virtio heard three"
terminal_await "ready to lose it"
# Keys that reach a worker in its last moment are lost with it.
device_kill console
result $? "the worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra-con)"
terminal_answer "keys go to its successor, and its output comes out" 'five\r' "virtio heard five"
device_kill console keeper
for _ in {1..200}; do [ -n "$(device_worker console)" ] || break; sleep 0.05; done
terminal_answer "keys go to the serial port when it died" 'four\r' "serial heard four"
terminal_finish
guest_clean "the machine ends well"
