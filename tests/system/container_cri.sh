#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# containerd's Kubernetes side (CRI) with penumbra-oci as a runtime handler, as a RuntimeClass chooses it: what a kubelet
# asks for is asked here over containerd's socket.  A pod with a network of its own, two containers in it, volumes,
# limits, users, logs, exec, stats, update, failure, and an unknown handler.
# TIMEOUT: 180
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
for a in containerd ctr podman curl protoc; do command -v $a >/dev/null || skip_all "$a is missing"; done
curl --version | grep -q HTTP2 || skip_all "curl without HTTP/2"
[ -x /usr/lib/cni/ptp ] || skip_all "the network plugins are missing"

make_root "$tmp/root"
ln -sf busybox "$tmp/root/bin/httpd"; ln -sf busybox "$tmp/root/bin/wget"
image=localhost/$id:1
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$tmp" "$tmp" >"$tmp/storage.conf"
tar -C "$tmp/root" -c . | CONTAINERS_STORAGE_CONF=$tmp/storage.conf podman import --change 'ENV PATH=/bin' --change 'CMD ["sleep","100000"]' - "$image" >/dev/null 2>&1
CONTAINERS_STORAGE_CONF=$tmp/storage.conf podman save --format oci-archive -o "$tmp/image.tar" "$image" >/dev/null 2>&1
result $? "an image for the pod and its containers"

mkdir -p "$tmp/cni" "$tmp/logs" "$tmp/vol"; echo data >"$tmp/vol/f"
cat >"$tmp/cni/10-net.conflist" <<X
{"cniVersion":"0.4.0","name":"$id","plugins":[{"type":"ptp","ipam":{"type":"host-local","dataDir":"$tmp/ipam",
"ranges":[[{"subnet":"10.97.63.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
X
cat >"$tmp/containerd.toml" <<X
version = 2
root = "$tmp/cd/root"
state = "$tmp/cd/state"
[grpc]
  address = "$tmp/cd/sock"
[ttrpc]
  address = "$tmp/cd/ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$image"
  stream_server_port = "0"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$tmp/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.penumbra]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.penumbra.options]
    BinaryName = "$oci"
    SystemdCgroup = false
X
containerd --config "$tmp/containerd.toml" >"$tmp/cd.log" 2>&1 & daemon=$!
pod=
end() {
	[ -z "$pod" ] || { call Id None StopPodSandbox "id:\"$pod\""; call Id None RemovePodSandbox "id:\"$pod\""; } >/dev/null 2>&1
	kill $daemon 2>/dev/null; wait $daemon
	grep -F "$tmp/cd" /proc/self/mountinfo | awk '{ print $5 }' | sort -r | xargs -r umount -l
}
trap end EXIT

# call REQUEST-MESSAGE ANSWER-MESSAGE METHOD 'TEXT': one gRPC call (length-prefixed message in HTTP/2, status in the trailer)
call() {
	local n status
	protoc -I tests/container --encode="cri.$1" cri.proto <<<"$4" >"$tmp/q" || return 1
	n=$(stat -c %s "$tmp/q")
	{ printf "\\0\\x$(printf %x $((n >> 24)))\\x$(printf %x $((n >> 16 & 255)))\\x$(printf %x $((n >> 8 & 255)))\\x$(printf %x $((n & 255)))"; cat "$tmp/q"; } >"$tmp/body"
	curl -s --max-time 60 --http2-prior-knowledge --unix-socket "$tmp/cd/sock" -H 'content-type: application/grpc' -H 'te: trailers' \
		--data-binary @"$tmp/body" -D "$tmp/head" -o "$tmp/answer" "http://localhost/runtime.v1.RuntimeService/$3"
	status=$(tr -d '\r' <"$tmp/head" | sed -n 's/^grpc-status: //p')
	[ "$status" = 0 ] || { tr -d '\r' <"$tmp/head" | sed -n 's/^grpc-message: //p'; return 1; }
	tail -c +6 "$tmp/answer" | protoc -I tests/container --decode="cri.$2" cri.proto
}
field() { sed -n "s/^ *$1: \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p"; }
exec_in() { # container command...
	local c=$1 words=
	shift
	for a; do words+=" cmd:\"$a\""; done
	call Exec ExecResult ExecSync "container_id:\"$c\"$words timeout:20"
}
create() { # name fields...
	call CreateContainer Id CreateContainer "pod_sandbox_id:\"$pod\" sandbox_config:{$config} config:{metadata:{name:\"$1\"} image:{image:\"$image\"} log_path:\"$1.log\" $2}" | field id
}
tail -f "$tmp/cd.log" 2>/dev/null | timeout 30 grep -q 'containerd successfully booted'
ctr -a "$tmp/cd/sock" -n k8s.io images import "$tmp/image.tar" >/dev/null 2>"$tmp/out"; result $? "containerd imports the image" "$(cat "$tmp/out")"

config="metadata:{name:\"pod\" uid:\"$id\" namespace:\"default\"} hostname:\"podhost\" log_directory:\"$tmp/logs\" linux:{cgroup_parent:\"/$id\" sysctls:{key:\"net.ipv4.ip_unprivileged_port_start\" value:\"0\"}}"
has "$(call RunPodSandbox Id RunPodSandbox "config:{$config} runtime_handler:\"nobody\"")" "no runtime for" "an unknown handler is refused"
out=$(call RunPodSandbox Id RunPodSandbox "config:{$config} runtime_handler:\"penumbra\""); bad=$?
pod=$(field id <<<"$out"); result $bad "a pod with the handler penumbra" "$out"
out=$(call Id PodStatus PodSandboxStatus "id:\"$pod\"")
address=$(field ip <<<"$out")
same "$(field runtime_handler <<<"$out") ${address%.*}" "penumbra 10.97.63" "its handler and its address"
[ -n "$pod" ] && [ -s "/run/containerd/runc/k8s.io/$pod/config.json" ]; result $? "its sandbox is one of ours, which keeps its configuration"
limits='resources:{memory_limit_in_bytes:67108864 cpu_quota:50000 cpu_period:100000 cpu_shares:512 oom_score_adj:900}'
c=$(create web "command:\"sh\" args:\"-c\" args:\"echo started; echo \$WHO >&2; exec httpd -f -p 80 -h /vol\" envs:{key:\"WHO\" value:\"me\"} mounts:{container_path:\"/vol\" host_path:\"$tmp/vol\" readonly:true} \
	linux:{$limits security_context:{readonly_rootfs:true no_new_privs:true run_as_user:{value:1000} capabilities:{drop_capabilities:\"ALL\"} seccomp:{profile_type:0} masked_paths:\"/proc/kcore\" readonly_paths:\"/proc/sys\"}}")
[ -n "$c" ]; result $? "CreateContainer" "$(tail -3 "$tmp/cd.log")"
call Id None StartContainer "id:\"$c\""; result $? "StartContainer"
timeout 20 sh -c 'until busybox wget -qO- "http://$1/f" >/dev/null 2>&1; do sleep 0.1; done' - "$address"
same "$(busybox wget -qO- "http://$address/f" 2>&1)" data "the pod's address answers with the volume's file"
has "$(cat "$tmp/logs/web.log")" 'stdout F started' "the log"; has "$(cat "$tmp/logs/web.log")" 'stderr F me' "its second stream, and the environment"
out=$(exec_in "$c" sh -c 'hostname; id -u; grep -E \"^(CapEff|NoNewPrivs|Seccomp):\" /proc/self/status | tr -d \"\\n\\t\"; touch /x; exit 9')
has "$out" 'stdout: "podhost\\n1000\\nCapEff:0000000000000000NoNewPrivs:1Seccomp:2"' "exec: host name, user, capabilities, filter"
has "$out" 'Read-only' "a read-only root"; same "$(field exit_code <<<"$out")" 9 "ExecSync gives the status"
g=$(find /sys/fs/cgroup/memory /sys/fs/cgroup -maxdepth 3 -type d -path "*/$id/$c" 2>/dev/null | head -1)
same "$(cat "$g/memory.limit_in_bytes" 2>/dev/null || cat "$g/memory.max")" 67108864 "its limit of memory, below the pod's cgroup"
call Update None UpdateContainerResources "container_id:\"$c\" linux:{memory_limit_in_bytes:100663296}" >"$tmp/out"; bad=$?
same "$bad $(cat "$g/memory.limit_in_bytes" 2>/dev/null || cat "$g/memory.max")" "0 100663296" "UpdateContainerResources"
has "$(call Id Stats ContainerStats "id:\"$c\"" | tr -d '\n')" 'working_set_bytes \{ *value: [1-9]' "ContainerStats"
d=$(create side 'command:"sh" args:"-c" args:"wget -qO- http://127.0.0.1/f; exit 4"')
call Id None StartContainer "id:\"$d\""; result $? "a second container in the pod"
for ((i = 0; i < 100; i++)); do out=$(call Id ContainerStatus ContainerStatus "id:\"$d\""); [ "$(field state <<<"$out")" = 2 ] && break; sleep 0.1; done
same "$(field exit_code <<<"$out") $(sed 's/.* F //' "$tmp/logs/side.log")" "4 data" "it reaches the first over the pod's loopback, and its status is known"
f=$(create bad 'command:"/no/such/program"')
has "$(call Id None StartContainer "id:\"$f\"")" '/no/such/program' "a program that is not there is named"
call Id None StopContainer "id:\"$c\" timeout:1" >/dev/null; result $? "StopContainer"
same "$(call Id ContainerStatus ContainerStatus "id:\"$c\"" | field state)" 2 "it has ended"
for a in "$c" "$d" "$f"; do call Id None RemoveContainer "id:\"$a\"" || echo "not ok - RemoveContainer $a"; done
call Id None StopPodSandbox "id:\"$pod\"" && call Id None RemovePodSandbox "id:\"$pod\""; result $? "the pod is stopped and removed"
pod=
has "$(grep -c 'OCI runtime killall failed' "$tmp/cd.log")" '^0$' "containerd had no trouble with what was left of the processes"
same "$(find /sys/fs/cgroup -maxdepth 4 -type d -path "*/$id/*" 2>/dev/null)" "" "no cgroup of a container is left"
find /sys/fs/cgroup -maxdepth 3 -type d -name "$id" -exec rmdir {} + 2>/dev/null
