#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A Debian disk made by penumbra image: what is on it, and the machine that boots from it to a login, with network,
# secure shell and package manager.
# TIMEOUT: 400
set -u
tmp=${TEST_TMP:-$(mktemp -d)}
export PATH=$PATH:/usr/sbin:/sbin
ACCEL=${ACCEL:-translate}

result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2: ${3//$'\n'/ | }"
	fi
}

ssh-keygen -q -t ed25519 -N '' -C AAAATEST -f "$tmp/key"
echo 'id -u >/srv/ran' >"$tmp/setup.sh"
"$PENUMBRA" image debian --size 2G --packages sqlite3 --hostname shadow --ssh-key "$tmp/key.pub" \
	--copy "/srv/deep/of it=$tmp/key.pub" --setup "$tmp/setup.sh" "$tmp/debian.img" >"$tmp/build.out" 2>&1 </dev/null
result $? "a Debian disk is built" "$(tail -n 1 "$tmp/build.out")"
sfdisk --verify "$tmp/debian.img" >"$tmp/sfdisk.out" 2>&1 && grep -q 'No errors detected' "$tmp/sfdisk.out"
result $? "its partition table is right" "$(cat "$tmp/sfdisk.out")"
fs="$tmp/debian.img?offset=1048576"
e2fsck -fn "$fs" >"$tmp/fsck.out" 2>&1
result $? "its file system is clean" "$(tail -n 1 "$tmp/fsck.out")"
has() { # name debugfs-command pattern
	local got
	got=$(debugfs -R "$2" "$fs" 2>/dev/null)
	[[ $got == *$3* ]]
	result $? "$1" "$got"
}
has "hostname" "cat /etc/hostname" shadow
has "command line" "cat /etc/kernel/cmdline" "root=PARTUUID=$(sfdisk --part-uuid "$tmp/debian.img" 1 | tr A-Z a-z) ro console=ttyS0"
has "keys" "cat /root/.ssh/authorized_keys" AAAATEST
has "keys are root's alone" "stat /root/.ssh/authorized_keys" "Mode:  0600"
has "the package that was asked for" "stat /usr/bin/sqlite3" "Mode:  0755"
has "capabilities of files" "stat /usr/bin/ping" "security.capability"
has "a file that was copied" "cat \"/srv/deep/of it\"" AAAATEST
has "the script ran as root" "cat /srv/ran" 0
[ -z "$(debugfs -R 'ls /etc/ssh' "$fs" 2>/dev/null | grep ssh_host_)" ]
result $? "no host keys that copies would share" ""

# The machine: its console in one file, its secure shell at a port that is free.
port=$((20000 + $$ % 20000))
"$PENUMBRA" run --accel "$ACCEL" --memory 1G --disk "$tmp/debian.img" --net "user,forward=127.0.0.1:$port:22" --timeout 240 \
	</dev/null >"$tmp/console" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null' EXIT
for ((i = 0; i < 600; i++)); do
	grep -aq 'shadow login:' "$tmp/console" && break
	kill -0 $pid 2>/dev/null || break
	sleep 0.2
done
grep -aq 'shadow login:' "$tmp/console"
result $? "boots to a login" "$(tail -n 3 "$tmp/console")"
grep -aqE 'Oops|BUG:|WARNING:|rcu.*stall|soft lockup|FAILED' "$tmp/console"
result $((!$?)) "nothing failed on the way" "$(grep -aE 'Oops|BUG:|WARNING:|stall|lockup|FAILED' "$tmp/console" | head -n 3)"
guest() { # name expected command
	local got
	got=$(timeout 60 ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=30 \
		-o BatchMode=yes -i "$tmp/key" -p $port root@127.0.0.1 "$3" 2>&1 </dev/null)
	[[ $got == $2 ]]
	result $? "$1" "$got"
}
# The login does not wait for the server: it is there when its first line comes.
banner() {
	local line
	exec 9<>"/dev/tcp/127.0.0.1/$port" && read -r -t 30 line <&9 && [[ $line == SSH-* ]]
}
for ((i = 0; i < 300; i++)); do
	(banner) 2>/dev/null && break
	kill -0 $pid 2>/dev/null || break
	sleep 0.2
done
guest "a secure shell" root "id -un"
guest "the root file system is the disk" "/dev/vda1 ext4 rw*" "findmnt -rno SOURCE,FSTYPE,OPTIONS /"
guest "nothing failed" "" "systemctl --failed --no-legend"
guest "the network is up" "10.0.2.*" "ip -4 -o addr show scope global | sed 's/.*inet //'"
guest "names are resolved, and packages come from the mirror" "*ok" "apt-get -qq update && apt-get -qq -d install -y hello >/dev/null 2>&1 && echo ok"
guest "a database on the disk" "100000 5000050000" "sqlite3 /root/db 'create table t (i); with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) insert into t select i from n; select count(*), sum(i) from t' | tr '|' ' '; sync"
guest "host keys of its own" "ok" "[ -s /etc/ssh/ssh_host_ed25519_key ] && echo ok"
guest "the log is clean" "" "dmesg -l emerg,alert,crit,err | grep -v IMA_DISABLE_HTABLE"
# It may take the connection with it before its own end is told.
guest "power off" "@(|Connection to * closed by remote host.)" "systemctl poweroff"
wait $pid
status=$?
[ $status = 0 ]
result $? "ends with status 0" "status $status: $(tail -n 2 "$tmp/console")"
e2fsck -fn "$fs" >"$tmp/fsck.out" 2>&1
result $? "the file system is clean afterwards" "$(tail -n 1 "$tmp/fsck.out")"
has "what was written is on the disk" "stat /root/db" "Type: regular"
