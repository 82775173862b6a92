#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The runtime in a guest whose kernel has all controllers of version 2, which hosts with version 1 do not: every
# limit is written and read back inside the container.
# TIMEOUT: 120
set -u
. tests/container/lib.sh
. tests/lib/guest.sh
b=$tmp/bundle
guest_need "$BUILD/guest/initrd"
caps='.process.capabilities.bounding += ["CAP_MKNOD","CAP_SYS_ADMIN"] | .process.capabilities.effective=.process.capabilities.bounding | .process.capabilities.permitted=.process.capabilities.bounding'
parts=()
make_case() { # name command filter
	make_bundle "$b" ".process.args=[\"/bin/sh\",\"-c\",\$c] | .linux.namespaces += [{type:\"cgroup\"}] | .linux.namespaces |= unique | $3" 2>/dev/null
	mv "$b/config.json" "$tmp/$1.json"
	parts+=("t/$1.json=$tmp/$1.json")
}
jq() { command jq --arg c "${shell:-}" "$@"; }
one() { shell=$2 make_case "$1" "$2" "$3"; }
g=/sys/fs/cgroup
one memory "cat $g/memory.max $g/memory.swap.max $g/memory.low" '.linux.resources += {memory:{limit:67108864,swap:100663296,reservation:16777216}}'
one pids "cat $g/pids.max" '.linux.resources += {pids:{limit:33}}'
one cpu "cat $g/cpu.max $g/cpu.weight $g/cpu.max.burst" '.linux.resources += {cpu:{quota:50000,period:100000,shares:45398,burst:1000}}'
one cpuset "cat $g/cpuset.cpus $g/cpuset.mems" '.linux.resources += {cpu:{cpus:"0",mems:"0"}}'
one io "cat $g/io.max" '.linux.resources += {blockIO:{throttleReadBpsDevice:[{major:7,minor:0,rate:1048576}],throttleWriteBpsDevice:[{major:7,minor:0,rate:2097152}],throttleReadIOPSDevice:[{major:7,minor:0,rate:100}],throttleWriteIOPSDevice:[{major:7,minor:0,rate:200}]}}'
one hugetlb "cat $g/hugetlb.2MB.max" '.linux.resources += {hugepageLimits:[{pageSize:"2MB",limit:4194304}]}'
one unified "cat $g/cgroup.max.depth $g/memory.high | sed s/999424/1000000/" '.linux.resources += {unified:{"cgroup.max.depth":"5","memory.high":"1000000"}} | .process.args[2]="cat /sys/fs/cgroup/cgroup.max.depth; grep -q 999424 /sys/fs/cgroup/memory.high && echo 1000000"'
one rdma true '.linux.resources += {rdma:{nodev0:{hcaHandles:3}}}'
open='echo a >/dev/null && echo null; mknod /dev/k c 1 11; { head -c 0 </dev/k; } 2>/dev/null && echo opened || echo refused'
one device-closed "$open" "$caps"
one device-open "$open" "$caps | .linux.resources.devices += [{allow:true,type:\"c\",major:1,minor:11,access:\"r\"}]"
one path 'cat /proc/self/cgroup' .
one fork 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done' '.linux.resources += {pids:{limit:6}}'
one oom 'exec dd if=/dev/zero of=/dev/null bs=100M count=1' '.linux.resources += {memory:{limit:16777216,swap:16777216}}'
one sleep 'exec sleep 1000' '.linux.resources += {memory:{limit:67108864},pids:{limit:33}}'
guest/build.sh overlay "$BUILD/guest/initrd" "$tmp/initrd" "bin/penumbra-oci=$oci" "bin/cgroup2=tests/guest/cgroup2.sh" "${parts[@]}" >"$tmp/out" 2>&1
result $? "the guest's files" "$(cat "$tmp/out")"
initrd=$tmp/initrd
guest_run cgroup2 "$quiet penumbra.run=/bin/cgroup2" --memory 512M --timeout 100
guest_clean "the guest ends well"
guest_results "version 2:" memory pids cpu cpuset io hugetlb unified rdma device-closed device-open namespace pids-hold \
	memory-holds start pause resume update stats exec members delete-frozen hardened landlock nothing-left
