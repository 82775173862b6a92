#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Hostile bundles: fields that are wrong, missing, huge; and what an image can do to mounts.
# TIMEOUT: 120
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
make_bundle "$b" '.process.args=["/bin/true"]'
cp "$b/config.json" "$tmp/good"

refused() { # jq-filter pattern
	jq "$1" "$tmp/good" >"$b/config.json"
	out=$(run_oci run --bundle "$b" "$id" 2>&1 </dev/null); rc=$?
	[ $rc = 1 ] && grep -qE -- "$2" <<<"$out"
	result $? "refused: $1" "status $rc, \"${out:0:200}\""
}
refused 'del(.ociVersion)' 'ociVersion: is missing'
refused '.ociVersion="2.0.0"' 'ociVersion: 2.0.0'
refused 'del(.root)' 'root: is missing'
refused '.root.path=""' 'root.path: has 0'
refused '.root.path="/"' 'root.path: is the host'
refused '.root.path="nowhere"' 'root.path: nowhere'
refused 'del(.process.cwd)' 'process.cwd: is missing'
refused '.process.cwd="a"' 'process.cwd: must be an absolute'
refused '.process.args=[]' 'process.args: names no'
refused '.process.args=[1]' 'process.args\[0\]: must be a string'
refused '.process.args="x"' 'process.args: must be an array'
refused '.process.user.uid=-1' 'process.user.uid: is -1'
refused '.process.user.uid=4294967295' 'process.user.uid: is 4294967295'
refused '.process.rlimits=[{type:"RLIMIT_X",soft:1,hard:1}]' 'rlimits\[0\].type: "RLIMIT_X" is not one of'
refused '.process.rlimits=[{type:"RLIMIT_CPU",soft:2,hard:1}]' 'rlimits\[0\].soft: is above hard'
refused '.process.oomScoreAdj=5000' 'oomScoreAdj: is 5000'
refused '.process.scheduler={policy:"X"}' 'scheduler.policy'
refused '.mounts[0].destination=5' 'mounts\[0\].destination: must be a string'
refused '.mounts[0].destination="/"' 'mounts\[0\].destination: the root'
refused '.mounts[1].type="nofs"' 'file system type "nofs"'
refused '.mounts += [{destination:"/m",type:"bind",source:"/nowhere"}]' 'mounts\[.\] .*/nowhere'
refused '.mounts += [{destination:"/proc",type:"bind",source:"/etc",options:["rbind"]}]' 'only a proc'
refused '.mounts += [{destination:"/dev/../proc/sys/kernel",type:"tmpfs",source:"x"}]' 'must not be covered'
refused '.mounts += [{destination:"/./proc",type:"tmpfs",source:"x"}]' 'must not be covered'
refused '.linux.namespaces += [{type:"pid"}]' 'namespaces\[.\].type: is given twice'
refused '.linux.namespaces += [{type:"what"}]' 'type: "what" is not one of cgroup, ipc'
refused '.linux.namespaces += [{type:"user"}]' 'uidMappings: a new user namespace'
refused '.linux.sysctl={"kernel.core_pattern":"|/x"}' 'sysctl.kernel.core_pattern: does not belong'
refused '.linux.sysctl={"net/../kernel/core_pattern":"x"}' 'sysctl'
refused '.linux.cgroupsPath="/a/../../b"' 'cgroupsPath'
refused '.linux.resources.memory.limit="1"' 'memory.limit: must be a whole'
refused '.linux.resources.memory.limit=1.5' 'memory.limit: must be a whole'
refused '.linux.resources.unified={"../x":"1"}' 'unified.*plain name'
refused '.linux.seccomp={defaultAction:"SCMP_ACT_NO"}' 'seccomp.defaultAction'
refused '.linux.seccomp={defaultAction:"SCMP_ACT_ALLOW",syscalls:[{names:["read"],action:"SCMP_ACT_NOTIFY"}]}' 'listenerPath'
refused '.linux.seccomp={defaultAction:"SCMP_ACT_ALLOW",syscalls:[{names:["read"],action:"SCMP_ACT_ERRNO",args:[{index:9,value:0,op:"SCMP_CMP_EQ"}]}]}' 'args\[0\].index: is 9'
refused '.linux.devices=[{path:"x",type:"c"}]' 'devices\[0\].path: must be an absolute'
refused '.hooks.prestart=[{path:"/bin/true",timeout:0}]' 'timeout: is 0'
refused '.hooks.prestart=[{path:"x"}]' 'prestart\[0\].path'
refused '.hostname=("x"*65)' 'hostname: has 65'
refused '.process.env=["A\u0000B"]' 'env\[0\]: contains a NUL'

# a cgroup of somebody else's is refused, and its processes live
mkdir -p "/sys/fs/cgroup/pids/$id-theirs" 2>/dev/null && {
	sleep 1000 & theirs=$!
	echo $theirs >"/sys/fs/cgroup/pids/$id-theirs/cgroup.procs"
	refused '.linux.cgroupsPath="/'"$id-theirs"'"' 'has processes already'
	kill -0 $theirs; result $? "whose processes live on"
	kill $theirs; wait $theirs 2>/dev/null
	rmdir "/sys/fs/cgroup/pids/$id-theirs"
}

text_refused() { # name pattern; text on stdin
	cat >"$b/config.json"
	out=$(run_oci run --bundle "$b" "$id" 2>&1 </dev/null); rc=$?
	[ $rc = 1 ] && grep -qE -- "$2" <<<"$out"
	result $? "refused: $1" "status $rc, \"${out:0:200}\""
}
text_refused "an empty file" 'too early|not JSON' </dev/null
text_refused "half a file" 'too early|unexpected end' < <(head -c 300 "$tmp/good")
text_refused "text after the document" 'after the document' < <(cat "$tmp/good"; echo x)
text_refused "deep nesting" 'nesting|not JSON' < <(printf '%.0s[' $(seq 5000))
text_refused "a huge file" 'more than' < <(head -c 20000000 /dev/zero | tr '\0' ' ')

# seeded mutations of a good file: an error or a clean run, never a crash, never something left
awk -v seed=7 'BEGIN { RS = "\001" } { srand(seed); for (n = 0; n < 120; n++) { s = $0;
	for (k = 0; k < 3; k++) { p = int(rand() * length(s)) + 1; c = int(rand() * 4);
		if (c == 0) s = substr(s, 1, p - 1) substr(s, p + 1 + int(rand() * 9));
		else if (c == 1) s = substr(s, 1, p) sprintf("%c", 33 + int(rand() * 90)) substr(s, p + 1);
		else if (c == 2) s = substr(s, 1, p) "99999999999999999999" substr(s, p + 1);
		else s = substr(s, 1, p) substr(s, int(rand() * length(s)) + 1, 12) substr(s, p + 1) }
	print s > ("'"$tmp"'/fuzz." n); close("'"$tmp"'/fuzz." n) } }' "$tmp/good"
bad=
for f in "$tmp"/fuzz.*; do
	cp "$f" "$b/config.json"
	timeout 20 "$oci" --root "$state" run --bundle "$b" "$id" >/dev/null 2>"$tmp/out" </dev/null; rc=$?
	case $rc in 0 | 1 | 126 | 127) ;; *) bad+="${f##*/}:$rc " ;; esac
	[ $rc = 0 ] || [ -s "$tmp/out" ] || bad+="${f##*/}:silent "
done
same "$bad" "" "120 mutated configurations end in a run or a clear error"

# links in the image that point out of it
outside=$tmp/outside; mkdir -p "$outside"
rm -rf "$b/rootfs/dev"; ln -s "$outside" "$b/rootfs/dev"
cp "$tmp/good" "$b/config.json"
run_oci run --bundle "$b" "$id" 2>"$tmp/out" </dev/null
same "$(ls -A "$outside")" "" "a /dev that is a link leads nowhere outside: ${rc:+}$(head -c 0 /dev/null)"
rm -f "$b/rootfs/dev"; mkdir "$b/rootfs/dev"
rm -rf "$b/rootfs/proc"; ln -s /sys "$b/rootfs/proc"
run_oci run --bundle "$b" "$id" 2>"$tmp/out" </dev/null
has "$? $(cat "$tmp/out")" "^1 .*not a link" "a /proc that is a link is refused"
rm -f "$b/rootfs/proc"; mkdir "$b/rootfs/proc"
ln -s ../../../../../../../../../../"$outside" "$b/rootfs/vol"
jq '.mounts += [{destination:"/vol/new",type:"tmpfs",source:"t"}] | .root.readonly=false' "$tmp/good" >"$b/config.json"
run_oci run --bundle "$b" "$id" >/dev/null 2>&1 </dev/null
same "$(ls -A "$outside")" "" "a mount point behind a link is made inside the root"
jq '.mounts += [{destination:"/lnk",type:"tmpfs",source:"t"}]' "$tmp/good" >"$b/config.json"
ln -s /proc/self "$b/rootfs/lnk"
run_oci run --bundle "$b" "$id" 2>"$tmp/out" </dev/null
has "$? $(cat "$tmp/out")" "^1 .*(leads into /proc|mount point)" "a mount point that leads into /proc is refused"
rm -f "$b/rootfs/lnk" "$b/rootfs/vol"
for cwd in /proc/self/fd/3 /proc/self/fd/5 /proc/self/fd/7 /proc/self/fd/8 /proc/self/fd/11 /proc/self/fd/17; do
	jq --arg c "$cwd" '.process.cwd=$c | .process.args=["/bin/sh","-c","ls ../../../.. | head -50"]' "$tmp/good" >"$b/config.json"
	out=$(run_oci run --bundle "$b" "$id" 2>&1 </dev/null)
	grep -q 'lib64\|boot\|home' <<<"$out"; same $? 1 "working directory $cwd shows nothing of the host"
done
same "$(leftovers "$id")" "" "nothing is left behind"
