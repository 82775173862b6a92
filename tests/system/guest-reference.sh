#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The default guest on another machine: under QEMU the same kernel and initial file system run the demonstration
# and power off.  What fails here is the guest's fault, not the machine's.
# TIMEOUT: 120
set -u
if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "# SKIP qemu-system-x86_64 is not installed"
	exit
fi
qemu-system-x86_64 -accel tcg -m 512 -nic none -nographic -no-reboot -kernel "$BUILD/guest/vmlinuz" \
	-initrd "$BUILD/guest/initrd" -append "console=ttyS0 quiet penumbra.demo" </dev/null >"$TEST_TMP/console" 2>&1
status=$?
tr -d '\r' <"$TEST_TMP/console" | sed 's/^/# /'

verdict() { # name, pattern
	if grep -Eq "$2" "$TEST_TMP/console"; then echo "ok - $1"; else echo "not ok - $1: no line matches $2"; fi
}
verdict "reaches process 1" '^.*penumbra guest: Linux .* reached init after'
verdict "shows the kernel" '^kernel +Linux 6\.'
verdict "runs 100 processes" '100 processes +[0-9]+\.[0-9]{3} ms'
verdict "computes the right digest and sum" 'gzip and gunzip of 4 MiB +[0-9]+\.[0-9]{3} ms'
verdict "ends the demonstration with status 0" 'penumbra guest: exit status 0'
verdict "powers off" 'reboot: Power down'
if [ $status = 0 ]; then echo "ok - the machine ends by itself"; else echo "not ok - the machine ends by itself: status $status"; fi
