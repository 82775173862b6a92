#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Known ways out of a container and known damage, each tried in a deliberately weak container, where it
# must go, in an ordinary one and in a hardened one.
# TIMEOUT: 180
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
[ -r /usr/share/containers/seccomp.json ] || skip_all "golang-github-containers-common is missing"
command -v socat >/dev/null || skip_all "socat is missing"
gcc -O1 -Wall -static -o "$tmp/probe" tests/container/probe.c 2>"$tmp/out" || { echo "not ok - probe: $(cat "$tmp/out")"; exit 1; }
gcc -O1 -Wall -o "$tmp/peer" tests/container/peer.c 2>"$tmp/out" || { echo "not ok - peer: $(cat "$tmp/out")"; exit 1; }
b=$tmp/bundle
make_bundle "$b" .
mkdir -p "$b/rootfs/bin"; cp "$tmp/probe" "$b/rootfs/bin/probe"

socat ABSTRACT-LISTEN:"$id-host",fork /dev/null & listener=$!
sleep 1000 & victim=$!
coproc peer { exec "$tmp/peer" "$id"; }
read -r port key <&"${peer[0]}"
trap 'kill $listener $victim 2>/dev/null' EXIT
disk=$(findmnt -no MAJ:MIN / | tr -d ' ')
environment="[\"PATH=/bin\",\"PROBE_DISK=$disk\",\"PROBE_ABSTRACT=$id-host\",\"PROBE_PID=$victim\",\"PROBE_PORT=$port\",\"PROBE_SHM=$key\",\"PROBE_QUEUE=$id\"]"

all_caps=$("$oci" features | jq -c .linux.capabilities)
make_bundle "$b" ".process.args=[\"/bin/probe\"] | .process.env=$environment | .process.noNewPrivileges=false
	| .process.capabilities=({bounding:$all_caps,effective:$all_caps,permitted:$all_caps})
	| .root.readonly=false | .linux.maskedPaths=[] | .linux.readonlyPaths=[]
	| .linux.namespaces=[{type:\"mount\"}] | del(.hostname) | .mounts |= map(select(.type != \"cgroup\" and .type != \"sysfs\"))
	| .mounts |= map(if .destination==\"/dev\" then .options=[\"mode=755\"] elif .destination==\"/dev/shm\" then .options=[\"mode=1777\",\"size=512m\"] else . end)
	| .linux.devices=[{path:\"/dev/kmsg\",type:\"c\",major:1,minor:11}]
	| .linux.resources={devices:[{allow:true,access:\"rwm\"}]} | .process.rlimits=[{type:\"RLIMIT_NOFILE\",soft:10000,hard:10000}]"
run_oci run --preserve-fds 1 --bundle "$b" "$id" >"$tmp/weak" 2>"$tmp/err" 3</dev/null </dev/null
result $? "the weak container runs" "$(cat "$tmp/err")"

make_bundle "$b" ".process.args=[\"/bin/probe\"] | .process.env=$environment | .linux.seccomp=$(engine_seccomp)
	| .linux.resources={devices:[{allow:false,access:\"rwm\"}],pids:{limit:100},memory:{limit:268435456,swap:268435456}}
	| .process.rlimits=[{type:\"RLIMIT_NOFILE\",soft:1024,hard:1024}]"
run_oci run --bundle "$b" "$id" >"$tmp/ordinary" 2>"$tmp/err" 7</etc/passwd </dev/null
result $? "the ordinary container runs" "$(cat "$tmp/err")"

run_oci hardened-run --name "$id" --events "$tmp/events" --env "PROBE_DISK=$disk" --env "PROBE_ABSTRACT=$id-host" \
	--env "PROBE_PID=$victim" --env "PROBE_PORT=$port" --env "PROBE_SHM=$key" --env "PROBE_QUEUE=$id" "$b/rootfs" /bin/probe >"$tmp/hardened" 2>"$tmp/err" 7</etc/passwd </dev/null
result $? "the hardened container runs" "$(cat "$tmp/err")"

# An ordinary container reaches what the engines' list allows: its own terminal and keys, user namespaces,
# 32-bit calls, programs from memory.
ordinary_reaches=" int80 x32 tiocsti dropped-program memfd-exec user-namespace nf_tables keyctl vsock inode-flood "
while read -r name got _; do
	why=
	# what this host itself does not offer proves nothing
	case $name in host-disk | sysrq | x32 | module | vsock | alg-socket | perf | io_uring | kcore | tiocsti | userfaultfd) PROBE_DISK=$disk "$tmp/probe" "$name" | grep -q reached || why=host ;; esac
	if [ -n "$why" ]; then echo "ok - weak container: $name # SKIP this host does not have it"; continue; fi
	same "$got" reached "weak container: $name"
done <"$tmp/weak"
while read -r name got _; do
	case $ordinary_reaches in *" $name "*) continue ;; esac
	same "$got" denied "ordinary container: $name"
done <"$tmp/ordinary"
while read -r name got _; do
	same "$got" denied "hardened container: $name"
done <"$tmp/hardened"
n=$("$tmp/probe" --nothing; wc -l <"$tmp/hardened")
same "$(wc -l <"$tmp/weak") $(wc -l <"$tmp/ordinary")" "$n $n" "all probes answered in all three"
for call in mount bpf keyctl io_uring_setup ptrace; do
	has "$(cat "$tmp/events")" "\"call\":\"$call\"" "a denied $call is an event"
done
has "$(cat "$tmp/events")" "exec of a foreign file" "a dropped program is an event"
has "$(cat "$tmp/events")" "write to a protected path" "a write to the root is an event"

# without the filter and Landlock in front of them the namespaces must hold by themselves
run_oci hardened-run --name "$id" --seccomp off --landlock off --env "PROBE_ABSTRACT=$id-host" --env "PROBE_PID=$victim" \
	--env "PROBE_PORT=$port" --env "PROBE_SHM=$key" --env "PROBE_QUEUE=$id" "$b/rootfs" /bin/probe abstract-socket peer-address \
	shared-memory message-queue peer-signal ptrace-host nsenter-host </dev/null 2>/dev/null | while read -r name got _; do
	same "$got" denied "hardened, namespaces alone: $name"
done
# a flood of events is counted, not written
rm "$tmp/events"; SECONDS=0
run_oci hardened-run --name "$id" --events "$tmp/events" "$b/rootfs" /bin/probe --deny 5000 </dev/null >/dev/null 2>&1
[ "$(wc -l <"$tmp/events")" -le $((100 * (SECONDS + 2))) ]; result $? "5000 denied calls do not fill the log" "$(wc -l <"$tmp/events") lines in $SECONDS s"

# The runtime's own program through /proc/self/exe of a process that enters the container
before=$(sha256sum <"$oci")
make_bundle "$b" '.process.args=["/bin/sleep","100"] | .root.readonly=false'
cp -a "$b/rootfs" "$b/r2"; rm -f "$b/r2/bin/sh"; printf '#!/proc/self/exe\n' >"$b/r2/bin/evil"; chmod 755 "$b/r2/bin/evil"
jq '.root.path="r2"' "$b/config.json" >"$b/n" && mv "$b/n" "$b/config.json"
run_oci run -d --bundle "$b" "$id" </dev/null >/dev/null 2>&1
run_oci exec "$id" /bin/evil >/dev/null 2>&1 </dev/null &
run_oci exec "$id" /bin/busybox sh -c 'for p in /proc/[0-9]*; do echo x > $p/exe; done' 2>/dev/null </dev/null
wait $!
same "$(sha256sum <"$oci")" "$before" "the runtime's file is out of reach of /proc/self/exe"
run_oci delete -f "$id"
has "$(grep -c . "$tmp/hardened")" . "done"
same "$(leftovers "$id")" "" "nothing is left behind"
