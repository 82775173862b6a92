#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# PCI and virtio devices in a guest: the bus is found, random numbers come, a driver can be taken off and put on
# again, a worker can die.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh

cat >"$tmp/rng.sh" <<'END'
#!/bin/sh
pass() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2: $3"; fi; }
ids=$(cat /sys/bus/pci/devices/0000:00:00.0/vendor /sys/bus/pci/devices/0000:00:01.0/vendor /sys/bus/pci/devices/0000:00:01.0/device)
[ "$ids" = "$(printf '0x1b36\n0x1af4\n0x1044')" ]; pass $? bus "$ids"
[ "$(cat /sys/class/misc/hw_random/rng_current)" = virtio_rng.0 ]; pass $? current
dd if=/dev/hwrng of=/tmp/a bs=512 count=16 2>/dev/null
dd if=/dev/hwrng of=/tmp/b bs=512 count=16 2>/dev/null
[ "$(wc -c </tmp/a)" = 8192 ] && ! cmp -s /tmp/a /tmp/b; pass $? bytes "$(wc -c </tmp/a)"
# Random bytes do not get smaller.
[ "$(gzip -c /tmp/a | wc -c)" -gt 8192 ]; pass $? random
n=0
while [ $n -lt 20 ]; do
	echo virtio0 >/sys/bus/virtio/drivers/virtio_rng/unbind
	echo virtio0 >/sys/bus/virtio/drivers/virtio_rng/bind
	n=$((n + 1))
done
dd if=/dev/hwrng of=/tmp/c bs=512 count=16 2>/dev/null
[ "$(wc -c </tmp/c)" = 8192 ]; pass $? rebound "$(wc -c </tmp/c)"
[ "$(grep virtio /proc/interrupts | awk '{ print ($2 > 16) }' | sort -r | head -n 1)" = 1 ]; pass $? interrupts "$(grep virtio /proc/interrupts)"
END
chmod +x "$tmp/rng.sh"
guest/build.sh overlay "$initrd" "$tmp/initrd" rng.sh="$tmp/rng.sh"
initrd=$tmp/initrd
guest_run rng "$quiet penumbra.run=/rng.sh" --rng on --timeout 60
guest_clean "a guest with a random number device"
guest_results rng bus current bytes random rebound interrupts

# The worker is killed while the guest waits for it: the guest goes on, the machine ends as ever.
initrd=$tmp/initrd
cat >"$tmp/kill.sh" <<'END'
#!/bin/sh
dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null
echo "ready to lose it"
read -r line
timeout 20 dd if=/dev/hwrng of=/tmp/bytes bs=64 count=1 2>/dev/null
echo "ok alive $(wc -c </tmp/bytes)"
read -r line
timeout 2 dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null
echo "ok without"
END
chmod +x "$tmp/kill.sh"
guest/build.sh overlay "$BUILD/guest/initrd" "$tmp/initrd" kill.sh="$tmp/kill.sh"
terminal_start "$quiet penumbra.run=/kill.sh" --rng on --timeout 60
terminal_await "ready to lose it"
result $? "the guest waits" "${seen: -300}"
# A worker has the front-end's command line and a name of its own.
device_kill rng
result $? "the worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra)"
terminal_answer "one that is killed has a successor" '\n' "ok alive 64"
device_kill rng keeper
result $? "it has a keeper" "$(ps -eo pid,ppid,comm | grep rng)"
terminal_answer "the guest outlives both" '\n' "ok without"
terminal_finish
[ "$guest_status" = 0 ]
result $? "the machine ends well after a worker died" "status $guest_status: $(guest_tail)"
