#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Containers of a user without privileges: run, exec, delete, and the hardened run.
# TIMEOUT: 60
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
make_root "$b/rootfs"
mkdir "$tmp/run"
cp "$oci" "$tmp/penumbra-oci"
chmod 755 "$tmp"; chown -R 54321:54321 "$b" "$tmp/run"
user() { XDG_RUNTIME_DIR=$tmp/run setpriv --reuid 54321 --regid 54321 --clear-groups "$@" </dev/null; }
user "$tmp/penumbra-oci" spec --rootless --bundle "$b"
jq '.process.terminal=false | .process.rlimits=[] | .process.args=["/bin/sh","-c","echo $(id -u) $(cat /proc/self/uid_map)"]' \
	"$b/config.json" >"$tmp/c" && cp "$tmp/c" "$b/config.json"
bad=
for i in 1 2 3 4 5; do
	out=$(user "$tmp/penumbra-oci" run --bundle "$b" "$id" 2>&1)
	[ "$out" = "0 0 54321 1" ] || bad+="$i: $out "
done
same "$bad" "" "run without privileges, five times"
jq '.process.args=["/bin/sleep","1000"]' "$tmp/c" >"$b/config.json"
user "$tmp/penumbra-oci" create --bundle "$b" --pid-file "$tmp/run/pid" "$id" >"$tmp/out" 2>&1; result $? "create" "$(cat "$tmp/out")"
same "$(user "$tmp/penumbra-oci" state "$id" | jq -r .status)" created "state of a created container"
user "$tmp/penumbra-oci" start "$id"; result $? "start"
same "$(user "$tmp/penumbra-oci" state "$id" | jq -r .status)" running "state of a running container"
same "$(user "$tmp/penumbra-oci" exec "$id" /bin/id -u)" 0 "exec"
user "$tmp/penumbra-oci" kill "$id" KILL; tail --pid="$(cat "$tmp/run/pid")" -f /dev/null
user "$tmp/penumbra-oci" delete "$id" 2>"$tmp/out"; result $? "delete" "$(cat "$tmp/out")"
same "$(user "$tmp/penumbra-oci" hardened-run "$b/rootfs" /bin/id -u 2>/dev/null)" 0 "the hardened run"
same "$(user "$tmp/penumbra-oci" list -q)" "" "nothing is left"
