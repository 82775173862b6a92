#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# podman, buildah and containerd from Debian's packages with penumbra-oci as their runtime, on an image made
# here: networks, volumes, limits, logs, exec, stats, restart policies.
# TIMEOUT: 180
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
export CONTAINERS_CONF=$tmp/containers.conf CONTAINERS_STORAGE_CONF=$tmp/storage.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$tmp" "$tmp" >"$CONTAINERS_STORAGE_CONF"
printf '[containers]\ndefault_ulimits = ["nofile=1024:4096","nproc=1024:2048"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >"$CONTAINERS_CONF"
make_root "$tmp/root"
for a in httpd wget seq; do ln -sf busybox "$tmp/root/bin/$a"; done
image=localhost/$id:1

if command -v podman >/dev/null; then
	p() { timeout 60 podman --runtime "$oci" "$@" </dev/null; }
	tar -C "$tmp/root" -c . | podman import - "$image" >/dev/null 2>&1; result $? "podman imports an image"
	same "$(p run --rm --network none "$image" sh -c 'echo in; exit 0')" in "podman run"
	p run --rm --network none "$image" sh -c 'exit 5'; same $? 5 "podman gives the status"
	mkdir "$tmp/vol"; echo data >"$tmp/vol/f"
	p run -d --name "$id" -p 127.0.0.1:18931:80 -v "$tmp/vol:/vol:ro" -m 64m --pids-limit 50 "$image" \
		sh -c 'mkdir /www; cp /vol/f /www/index.html; echo started; httpd -f -p 80 -h /www' >"$tmp/out" 2>&1
	result $? "podman run -d with a network, volume and limits" "$(cat "$tmp/out")"
	p exec "$id" wget -q -O- http://127.0.0.1/ >/dev/null 2>&1 # httpd is up when this has answered
	same "$(busybox wget -qO- http://127.0.0.1:18931/ 2>&1)" data "the published port answers"
	same "$(p exec "$id" cat /vol/f)" data "podman exec"
	same "$(p logs "$id")" started "podman logs"
	has "$(p stats --no-stream --format '{{.MemUsage}}' "$id")" "67.11MB" "podman stats"
	has "$(p top "$id")" httpd "podman top"
	p pause "$id" >/dev/null && same "$(p inspect -f '{{.State.Status}}' "$id")" paused "podman pause"
	p unpause "$id" >/dev/null; result $? "podman unpause"
	p update --memory 96m "$id" >/dev/null; same "$(p exec "$id" cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || p exec "$id" cat /sys/fs/cgroup/memory.max)" 100663296 "podman update"
	p rm -f -t 0 "$id" >/dev/null; result $? "podman rm"
	: >"$tmp/vol/runs"
	p run -d --restart=on-failure:2 --name "$id-r" --network none -v "$tmp/vol:/vol" "$image" sh -c 'echo x >>/vol/runs; exit 3' >/dev/null
	timeout 30 sh -c 'until [ "$(wc -l <"$1")" -ge 3 ]; do sleep 0.1; done' - "$tmp/vol/runs"
	p wait --condition exited "$id-r" >/dev/null 2>&1
	same "$(wc -l <"$tmp/vol/runs") $(p inspect -f '{{.RestartCount}} {{.State.ExitCode}}' "$id-r")" "3 2 3" "podman restarts it twice and no more"
	p rm -f -t 0 "$id-r" >/dev/null
	has "$(p run --rm --network none --userns auto "$image" cat /proc/self/uid_map 2>&1 || p run --rm --network none --uidmap 0:100000:5000 "$image" cat /proc/self/uid_map 2>&1)" "0 +[1-9]" "podman with a user namespace"
	if command -v buildah >/dev/null; then
		printf 'FROM %s\nRUN echo built >/built && id -u\n' "$image" >"$tmp/Containerfile"
		timeout 60 buildah build --runtime "$oci" --isolation oci --network none -t "$image-b" -f "$tmp/Containerfile" "$tmp/vol" >"$tmp/out" 2>&1 </dev/null
		result $? "buildah builds with RUN" "$(tail -3 "$tmp/out")"
	fi
	podman save --format oci-archive -o "$tmp/image.tar" "$image" >/dev/null 2>&1
	podman rmi -f -a >/dev/null 2>&1
else
	echo "ok - podman # SKIP podman is missing"
fi

if command -v containerd >/dev/null && [ -s "$tmp/image.tar" ]; then
	cat >"$tmp/containerd.toml" <<-X
	version = 2
	root = "$tmp/cd/root"
	state = "$tmp/cd/state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$tmp/cd/sock"
	[ttrpc]
	  address = "$tmp/cd/ttrpc"
	X
	containerd --config "$tmp/containerd.toml" >"$tmp/cd.log" 2>&1 & daemon=$!
	trap 'kill $daemon 2>/dev/null; wait $daemon' EXIT
	c() { timeout 60 ctr -a "$tmp/cd/sock" "$@" </dev/null; }
	tail -f "$tmp/cd.log" 2>/dev/null | timeout 20 grep -q 'containerd successfully booted'
	c images import "$tmp/image.tar" >/dev/null 2>"$tmp/out"; result $? "containerd imports the image" "$(cat "$tmp/out")"
	same "$(c run --rm --snapshotter native --runc-binary "$oci" "$image" "$id" echo ctr)" ctr "ctr run"
	c run -d --snapshotter native --runc-binary "$oci" "$image" "$id" sleep 1000; result $? "ctr run -d"
	same "$(c task exec --exec-id e "$id" echo ex)" ex "ctr task exec"
	c task pause "$id"; has "$(c task ls)" PAUSED "ctr task pause"; c task resume "$id"
	has "$(c task metrics "$id")" "memory" "ctr task metrics"
	c task kill -s KILL "$id"; c task rm -f "$id" >/dev/null 2>&1; c container rm "$id"; result $? "ctr removes it"
else
	echo "ok - containerd # SKIP containerd or an image is missing"
fi
