#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The hardened run: its options, what follows a violation, learnt profiles, explain.
# TIMEOUT: 120
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
make_root "$tmp/root"
chmod 755 "$tmp"
hard() { run_oci hardened-run --name "$id" --events "$tmp/events" "$@" </dev/null; }
front() { (exec -a penumbra-container "$oci" --root "$state" "$@") </dev/null; }

same "$(hard "$tmp/root" /bin/sh -c 'echo $(id -u) $(grep -c . /proc/net/dev)')" "0 3" "root inside, only a loopback interface"
has "$(hard "$tmp/root" /bin/grep CapBnd /proc/self/status)" "0000000000000000" "no capability"
same "$(hard --user 7:8 "$tmp/root" /bin/sh -c 'id -u; id -g' | tr '\n' ' ')" "7 8 " "--user"
same "$(hard --env A=b --cwd /etc "$tmp/root" /bin/sh -c 'echo $A $(pwd)')" "b /etc" "--env and --cwd"
mkdir "$tmp/vol"; echo v >"$tmp/vol/f"; chmod 777 "$tmp/vol"
same "$(hard --volume "$tmp/vol:/tmp/v" "$tmp/root" /bin/sh -c 'cat /tmp/v/f; echo x 2>/dev/null >/tmp/v/g || echo ro' 2>/dev/null | tr '\n' ' ')" "v ro " "a volume is read-only"
hard --volume "$tmp/vol:/tmp/v:rw" "$tmp/root" /bin/sh -c 'echo w >/tmp/v/g'; same "$(cat "$tmp/vol/g") $(stat -c %u "$tmp/vol/g")" "w 0" "with :rw it is not, and ids are mapped"
hard --pids 10 "$tmp/root" /bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; kill -9 -1' 2>"$tmp/out" >&2
has "$(cat "$tmp/out")" "fork|Resource" "--pids"
hard --disk 1M "$tmp/root" /bin/dd if=/dev/zero of=/tmp/f bs=1k count=2000 2>"$tmp/out"; has "$(cat "$tmp/out")" "No space" "--disk"
same "$(hard --allow keyctl --cap CHOWN "$tmp/root" /bin/grep CapEff /proc/self/status | tr -d '\t')" "CapEff:0000000000000001" "--cap"
a=$(hard "$tmp/root" /bin/cat /proc/self/uid_map | awk '{print $2}')
run_oci hardened-run --name "$id-a" --detach "$tmp/root" /bin/sleep 50 </dev/null >/dev/null 2>&1
b=$(hard "$tmp/root" /bin/cat /proc/self/uid_map | awk '{print $2}')
[ "$a" -ge 1073741824 ] && [ "$b" != "$a" ]; result $? "two containers have ranges of their own" "$a $b"
same "$(run_oci exec "$id-a" /bin/id -u)" 0 "exec in a hardened container"
same "$(run_oci exec "$id-a" /bin/grep -c 'Seccomp:.2' /proc/self/status)" 1 "exec has a filter"
run_oci exec "$id-a" /bin/mount -t tmpfs x /tmp 2>/dev/null; [ $? != 0 ]; result $? "exec is under the same filter"
run_oci delete -f "$id-a"

rm -f "$tmp/events"
hard --on-violation kill "$tmp/root" /bin/sh -c 'echo a; mount -t tmpfs x /tmp; echo b' >"$tmp/out" 2>&1
same "$? $(cat "$tmp/out")" "137 a" "--on-violation kill"
has "$(cat "$tmp/events")" '"call":"mount".*"answer":"killed"' "and its event"
rm -f "$tmp/events"; mkfifo "$tmp/events"
hard --on-violation freeze "$tmp/root" /bin/sh -c 'echo x >/etc/passwd; echo b' >"$tmp/out" 2>&1 & run=$!
event=$(head -1 "$tmp/events")
same "$(run_oci state "$id" | jq -r .status)" paused "--on-violation freeze"
ms=$(jq -r '.answer | capture("in (?<t>[0-9.]+) ms").t' <<<"$event")
awk -v t="$ms" 'BEGIN { exit !(t > 0 && t < 50) }'; result $? "frozen and disconnected within 50 ms" "$ms"
run_oci delete -f "$id"; wait $run
rm -f "$tmp/events"

hard --learn "$tmp/profile" "$tmp/root" /bin/sh -c 'cat /etc/group >/tmp/x; ls /tmp' >"$tmp/out" 2>&1
same $? 0 "--learn runs, and runs again under the profile"
has "$(cat "$tmp/out")" "check: the same status" "the check is reported"
same "$(jq -r '.syscalls[]|select(.name=="execve").from|(index("run")!=null and index("runtime")!=null)' "$tmp/profile")" true "entries say where they come from"
jq -e '[.syscalls[].from[]|select(startswith("code /bin/busybox"))]|length>50' "$tmp/profile" >/dev/null; result $? "static analysis adds calls"
hard --profile "$tmp/profile" "$tmp/root" /bin/sh -c 'cat /etc/group' >"$tmp/out" 2>&1; has "$? $(cat "$tmp/out")" "^0 root:" "--profile runs the workload"
hard --profile "$tmp/profile" "$tmp/root" /bin/cat /etc/passwd >"$tmp/out" 2>&1; has "$? $(cat "$tmp/out")" "^1 .*Permission denied" "a file that was not learnt is closed"

has "$("$oci" explain)" "no Landlock|version . of Landlock" "explain tells of Landlock"
has "$("$oci" explain --network host --cap NET_ADMIN)" "host's interfaces" "explain says what an option gives away"
same "$("$oci" hardened-run --help | grep -c -- ' --')" "$("$oci" explain --help | grep -c -- ' --')" "explain knows every option of the run"
hard "$tmp/nowhere" /bin/true 2>"$tmp/out"; same $? 1 "an image that is not there is an error"
hard --network nowhere "$tmp/root" /bin/true 2>"$tmp/out"; has "$? $(cat "$tmp/out")" "^1 .*namespaces.*nowhere" "a network that is not there is an error"
has "$(front run "$tmp/root" /bin/echo via-front 2>&1)" via-front "under the front-end's name run is the hardened run"
same "$(leftovers "$id")" "" "nothing is left behind"
