#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The verbs of the container runtime, one container through its whole life.
# TIMEOUT: 120
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle

make_bundle "$b" '.process.args=["/bin/sh","-c","echo out; exit 7"]'
out=$(run_oci run --bundle "$b" "$id"); rc=$?
same "$rc $out" "7 out" "run gives the process's output and status"

make_bundle "$b" '.process.args=["/bin/sleep","1000"] | .linux.resources.pids.limit=40
	| .linux.resources.memory={"limit":67108864} | .hostname="inner"'
run_oci create --bundle "$b" --pid-file "$tmp/pid" "$id" </dev/null >"$tmp/out" 2>&1
result $? "create" "$(cat "$tmp/out")"
same "$(run_oci state "$id" | jq -r '.status + " " + .id + " " + (.pid|tostring)')" \
	"created $id $(cat "$tmp/pid")" "state tells of a created container"
exec 9<"/proc/$(cat "$tmp/pid")/exe" # held until it is no longer run, when "text file busy" protects it no more
has "$(touch -c "/proc/$(cat "$tmp/pid")/exe" 2>&1)" "Read-only file system" "until its execve it runs where nobody can write"
same "$(stat -Lc %d:%i "/proc/$(cat "$tmp/pid")/exe")" "$(stat -Lc %d:%i "$oci")" "which is the runtime's own file"
has "$(nsenter -t "$(cat "$tmp/pid")" -m mount -o remount,bind,rw "/proc/$(cat "$tmp/pid")/exe" 2>&1)" . "and no namespace has that mount"
run_oci create --bundle "$b" "$id" </dev/null >"$tmp/out" 2>&1
has "$? $(cat "$tmp/out")" "^1 .*already exists" "an id is taken once"
run_oci start "$id"; result $? "start"
has "$(bash -c 'echo x >/proc/self/fd/9' 2>&1)" "Read-only file system" "nor afterwards through a descriptor"; exec 9<&-
run_oci start "$id" 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "^1 .*running" "a second start is refused"
same "$(run_oci state "$id" | jq -r .status)" running "state tells of a running container"
same "$(run_oci list -q)" "$id" "list"
same "$(run_oci list --format json | jq -r '.[0].status')" running "list as JSON"
same "$(run_oci exec "$id" /bin/hostname)" inner "exec runs in the container"
same "$(run_oci exec --cwd /etc --env A=b --user 5:6 "$id" /bin/sh -c 'echo $(pwd) $A $(id -u) $(id -g)')" \
	"/etc b 5 6" "exec takes a directory, environment and user"
run_oci exec "$id" /bin/sh -c 'exit 9'; same $? 9 "exec gives the status"
run_oci exec "$id" /bin/nothing 2>"$tmp/out"
has "$? $(cat "$tmp/out")" "^1 .*process.args\[0\].*No such file" "exec of nothing is an error that says so"
echo '{"args":["/bin/id","-u"],"cwd":"/","user":{"uid":3,"gid":3}}' >"$tmp/process.json"
same "$(run_oci exec --process "$tmp/process.json" "$id")" 3 "exec takes process.json"
same "$(run_oci ps --format json "$id" | jq length)" 1 "ps as JSON"
echo '{"args":["/bin/grep","Cpus_allowed_list","/proc/self/status"],"cwd":"/","execCPUAffinity":{"initial":"0","final":"0-0"}}' >"$tmp/process.json"
same "$(run_oci exec --process "$tmp/process.json" "$id" | tr -d '\t')" "Cpus_allowed_list:0" "exec takes execCPUAffinity"
has "$(run_oci ps "$id")" "sleep 1000" "ps"
same "$(run_oci events --stats "$id" | jq -r '.data.pids.limit')" 40 "events --stats shows the limit"
same "$(run_oci events --stats "$id" | jq -r '.data.memory.usage.limit')" 67108864 "the memory limit holds"
run_oci pause "$id"; same "$(run_oci state "$id" | jq -r .status)" paused "pause"
run_oci exec "$id" /bin/true 2>/dev/null; same $? 1 "exec in a paused container is refused"
run_oci resume "$id"; same "$(run_oci state "$id" | jq -r .status)" running "resume"
run_oci update --pids-limit 50 --memory 96M "$id"
same "$(run_oci events --stats "$id" | jq -r '[.data.pids.limit,.data.memory.usage.limit]|join(" ")')" \
	"50 100663296" "update changes limits"
run_oci delete "$id" 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "not stopped" "delete refuses a running container"
run_oci kill "$id" KILL; result $? "kill"
tail --pid="$(cat "$tmp/pid")" -f /dev/null
same "$(run_oci state "$id" | jq -r .status)" stopped "state tells of a stopped container"
run_oci kill "$id" TERM 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "container not running" "kill of a stopped container says so"
run_oci kill --all "$id" KILL; result $? "kill --all of a stopped container: none is left"
run_oci delete "$id"; result $? "delete"
run_oci state "$id" 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "does not exist" "afterwards it does not exist"
run_oci delete --force "$id"; result $? "delete --force of nothing succeeds"

# hooks, in their order, with the state on stdin
make_bundle "$b" '.process.args=["/bin/true"] | .hooks = (["prestart","createRuntime","createContainer","poststart","poststop"]
	| map({(.): [{path:"/bin/sh", args:["sh","-c",("echo " + . + " $(jq -r .status) >> '"$tmp"'/hooks")],
	env:["PATH=/usr/bin:/bin"]}]}) | add) + {startContainer:[{path:"/bin/sh",args:["sh","-c","cat >/dev/null"]}]}'
run_oci run --bundle "$b" "$id"
same "$(tr '\n' ';' <"$tmp/hooks")" \
	"prestart created;createRuntime created;createContainer creating;poststart running;poststop stopped;" "six hooks in their order"
make_bundle "$b" '.hooks.createRuntime=[{path:"/bin/sleep",args:["sleep","100"],timeout:1}]'
run_oci run --bundle "$b" "$id" 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "^1 .*createRuntime\[0\].*longer than 1" "a hook that hangs is ended"

# terminal over a socket and in the foreground
make_bundle "$b" '.process.terminal=true | .process.args=["/bin/sh","-c","tty; test -t 0 && echo yes"]'
has "$(script -qec "$oci --root $state run --bundle $b $id" /dev/null </dev/null)" yes "run with a terminal"

# user namespace, time namespace, rlimits, sysctl, oom score, personality, mounts
make_bundle "$b" '.process.args=["/bin/sh","-c","cat /proc/self/uid_map; cat /proc/self/oom_score_adj; ulimit -n; cat /proc/sys/net/ipv4/ip_forward; cat /v/f; echo x > /v/f || echo ro; awk 1 /proc/uptime 2>/dev/null; cat /proc/self/timens_offsets"]
	| .process.oomScoreAdj=900 | .process.rlimits=[{type:"RLIMIT_NOFILE",soft:77,hard:88}]
	| .linux.sysctl={"net.ipv4.ip_forward":"1"}
	| .mounts += [{destination:"/v",type:"bind",source:"'"$tmp"'/vol",options:["rbind","rro"]}]
	| .mounts |= map(select(.type!="cgroup")) | .mounts |= map(if .type=="devpts" then .options-=["gid=5"] else . end)
	| .linux.namespaces += [{type:"user"},{type:"time"}] | .linux.timeOffsets={boottime:{secs:5000}}
	| .linux.uidMappings=[{containerID:0,hostID:200000,size:65536}] | .linux.gidMappings=.linux.uidMappings'
mkdir -p "$tmp/vol" "$b/rootfs/v"; echo inside >"$tmp/vol/f"; chmod 755 "$tmp"
out=$(run_oci run --bundle "$b" "$id" 2>&1)
has "$out" "200000" "user namespace"
has "$out" "^900" "oomScoreAdj"
has "$out" "^77$" "rlimits"
has "$out" "^1$" "sysctl"
has "$out" "^ro$" "a recursively read-only volume"
has "$out" "boottime +5000" "time namespace"

# a seccomp agent gets the listener with the state; this one only reads the state and goes away
make_bundle "$b" '.process.args=["/bin/mkdir","/dev/shm/x"] | .linux.seccomp={defaultAction:"SCMP_ACT_ALLOW",
	listenerPath:"'"$tmp"'/agent",listenerMetadata:"meta",syscalls:[{names:["mkdir","mkdirat"],action:"SCMP_ACT_NOTIFY"}]}'
socat -u "UNIX-LISTEN:$tmp/agent" "CREATE:$tmp/said" & agent=$!
until [ -S "$tmp/agent" ]; do read -rt 0.02 <> <(:); done
has "$(run_oci run --bundle "$b" "$id" 2>&1)" "not implemented" "without an answer a notified call fails"
wait $agent
same "$(jq -r '.metadata + " " + .state.id + " " + .fds[0]' "$tmp/said")" "meta $id seccompFd" "the agent gets the container's state"
echo preserved >"$tmp/keep"
make_bundle "$b" '.process.args=["/bin/sh","-c","cat <&3; ls /proc/self/fd | wc -l"]'
same "$(run_oci run --preserve-fds 1 --bundle "$b" "$id" 3<"$tmp/keep" 4</etc/passwd | tr '\n' ' ')" "preserved 5 " "--preserve-fds passes these descriptors and no other"

# every option of `features` is accepted by the parser that it was printed from
same "$(run_oci features | jq -r '.linux.namespaces | join(" ")')" "cgroup ipc mount network pid time user uts" "features"
run_oci nothing 2>/dev/null; same $? 2 "an unknown command is wrong usage"
run_oci delete 2>/dev/null; same $? 2 "a missing operand is wrong usage"
same "$(leftovers "$id")" "" "nothing is left behind"
