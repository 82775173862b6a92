#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --systemd-cgroup with a real systemd, process 1 of a guest: scopes in slices, limits as properties, deletion.
# TIMEOUT: 150
set -u
. tests/container/lib.sh
. tests/lib/guest.sh
b=$tmp/bundle
guest_need "$BUILD/guest/initrd"
[ -x /usr/lib/systemd/systemd ] || skip_all "systemd is missing"
parts=()
add() { parts+=("${1#/}=$1"); }
for f in /usr/lib/systemd/systemd /usr/bin/systemctl; do
	add $f
	while read -r lib; do parts+=("lib/x86_64-linux-gnu/${lib##*/}=$lib"); done < <(ldd $f | awk '$3 ~ /^\// { print $3 }')
done
parts+=("lib64/ld-linux-x86-64.so.2=/lib64/ld-linux-x86-64.so.2")
mapfile -t parts < <(printf '%s\n' "${parts[@]}" | sort -u)
printf '[Unit]\nDescription=test\nRequires=oci-test.service\n' >"$tmp/default.target"
printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/oci-systemd test\nTimeoutStartSec=infinity\n' >"$tmp/oci-test.service"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$tmp/passwd"; printf 'root:x:0:\n' >"$tmp/group"
one() { make_bundle "$b" "$2" && mv "$b/config.json" "$tmp/$1.json" && parts+=("t/$1.json=$tmp/$1.json"); }
limits='.linux.cgroupsPath="mine-web.slice:pre:s" | .linux.resources += {memory:{limit:67108864},pids:{limit:33},cpu:{quota:50000,period:100000}} | .linux.namespaces += [{type:"cgroup"}] | .linux.namespaces |= unique'
g=/sys/fs/cgroup
one run ".process.args=[\"/bin/cat\",\"$g/memory.max\",\"$g/pids.max\",\"$g/cpu.max\"] | $limits"
one sleep ".process.args=[\"/bin/sleep\",\"1000\"] | $limits"
printf '#!/bin/sh\nexec /bin/busybox sh -c "echo 1 >/run/hook; exec sleep 1000"\n' >"$tmp/hook"
one hang '.process.args=["/bin/sleep","1000"] | .hooks={createRuntime:[{path:"/bin/hook"}]}'
guest/build.sh overlay "$BUILD/guest/initrd" "$tmp/initrd" "bin/penumbra-oci=$oci" "bin/oci-systemd=tests/guest/systemd.sh" \
	"bin/hook=$tmp/hook" "etc/systemd/system/default.target=$tmp/default.target" "etc/passwd=$tmp/passwd" "etc/group=$tmp/group" \
	"etc/systemd/system/oci-test.service=$tmp/oci-test.service" "${parts[@]}" >"$tmp/out" 2>&1
result $? "the guest's files" "$(cat "$tmp/out")"
initrd=$tmp/initrd
guest_run systemd "$quiet rdinit=/bin/oci-systemd systemd.show_status=0 systemd.log_level=err" --memory 1G --timeout 120
guest_clean "the guest ends well"
guest_results "systemd:" run gone place limit properties update reload pause exec twice untouched stopped killed cleaned
