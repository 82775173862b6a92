# SPDX-License-Identifier: MIT
# kill -9 of the runtime at its Nth system call, for each STRIDEth N: delete cleans up, nothing leaks.
# shellcheck shell=bash
. tests/container/lib.sh
gcc -O1 -Wall -o "$tmp/killat" tests/container/killat.c || { echo "not ok - killat builds"; exit 1; }
id=$CONTAINER_TEST_ID
b=$tmp/bundle
make_bundle "$b" '.process.args=["/bin/sleep","98765"] | .linux.cgroupsPath="/'"$id"'"
	| .mounts |= map(if .type=="devpts" then .options-=["gid=5"] else . end)'
cp "$b/config.json" "$tmp/plain"
jq '.linux.namespaces += [{type:"user"}] | .mounts |= map(select(.type != "cgroup"))
	| .linux.uidMappings=[{containerID:0,hostID:300000,size:65536}] | .linux.gidMappings=.linux.uidMappings' \
	"$tmp/plain" >"$tmp/user"
chmod 755 "$tmp"

settle() { # waits for processes that carry our state directory in their command line, or the sleeper
	local p
	for p in $(pgrep -f -- "--root $state|sleep 98765"); do timeout 5 tail --pid="$p" -f /dev/null || return 1; done
}

crash_steps() { # verb config
	local n=1 bad= rc steps=0
	cp "$tmp/$2" "$b/config.json"
	while :; do
		case $1 in
		create) "$tmp/killat" $n "$oci" --root "$state" create --bundle "$b" "$id" ;;
		start) run_oci create --bundle "$b" "$id" && "$tmp/killat" $n "$oci" --root "$state" start "$id" ;;
		delete) run_oci create --bundle "$b" "$id" && run_oci start "$id" && run_oci kill "$id" KILL &&
			"$tmp/killat" $n "$oci" --root "$state" delete --force "$id" ;;
		esac </dev/null >"$tmp/out" 2>&1
		rc=$?
		# what had not been created yet ends by itself, without delete's help
		case $1:$(run_oci state "$id" 2>/dev/null | jq -r .status) in
		create:created) ;;
		create:*) settle || bad+="$n:orphan " ;;
		esac
		run_oci list >/dev/null 2>"$tmp/err" || bad+="$n:list "
		run_oci delete --force "$id" >>"$tmp/err" 2>&1 || bad+="$n:delete:$(head -c 200 "$tmp/err") "
		settle || bad+="$n:process "
		[ -z "$(leftovers "$id")" ] || bad+="$n:$(leftovers "$id" | head -3 | tr '\n' ',') "
		[ $rc = 3 ] && break
		[ $rc = 0 ] || bad+="$n:status$rc:$(head -c 100 "$tmp/out") "
		steps=$((steps + 1))
		n=$((n + STRIDE))
		[ $n -lt 3000 ] || break
	done
	same "$bad" "" "kill -9 of $1 ($2) at $steps steps leaves what delete cleans"
	[ $steps -gt 5 ]; result $? "$1 ($2) has steps"
}
crash_steps create plain
crash_steps create user
crash_steps start plain
crash_steps delete plain
