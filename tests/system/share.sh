#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shared directories: what the guest does in one is what the host finds there, and the guest stays within.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh

shared=$tmp/shared outside=$tmp/outside
mkdir -p "$shared/sub" "$outside"
echo secret >"$outside/secret"
echo hello >"$shared/file"
ln -s "$outside/secret" "$shared/absolute"
ln -s ../outside/secret "$shared/relative"
seq 1 200000 >"$shared/numbers"
mkdir "$shared/many"
(cd "$shared/many" && seq -f 'f%05g' 1 3000 | xargs touch)

device_script "$tmp/share.sh" <<'END'
mkdir -p /mnt /ro
mount -t virtiofs data /mnt; pass $? mount
mount -t virtiofs fixed /ro; pass $? second
[ "$(cat /mnt/file)" = hello ]; pass $? read
seq 1 200000 | cmp -s - /mnt/numbers; pass $? large
[ "$(ls /mnt/many | wc -l)" = 3000 ] && [ "$(ls -l /mnt/many | wc -l)" -ge 3000 ]; pass $? list "$(ls /mnt/many | wc -l)"
# Symbolic links lead where they lead in the guest.
! cat /mnt/absolute /mnt/relative >/tmp/out 2>&1 && ! grep -q secret /tmp/out; pass $? links "$(cat /tmp/out)"
! ls /mnt/../outside >/dev/null 2>&1; pass $? above
! touch /ro/new 2>/dev/null && ! rm /ro/file 2>/dev/null && [ "$(cat /ro/file)" = hello ]; pass $? readonly
cd /mnt
mkdir -p work/a/b && echo one >work/a/b/one && mv work/a/b/one work/two && ln work/two work/three && ln -s two work/four &&
	[ "$(cat work/four)" = one ]; pass $? names
chmod 4751 work/two && chown 12:34 work/two && [ "$(stat -c '%a %u %g' work/two)" = "751 12 34" ] && chmod 4751 work/two &&
	[ "$(stat -c '%a %u %g' work/two)" = "4751 12 34" ]; pass $? owners "$(stat -c '%a %u %g' work/two)"
touch -d '2001-02-03 04:05:06' work/three && [ "$(stat -c %Y work/two)" = "$(date -d '2001-02-03 04:05:06' +%s)" ]; pass $? times
mknod work/pipe p && (echo through >work/pipe &) && [ "$(cat work/pipe)" = through ]; pass $? pipe
mknod work/null c 1 3 && [ "$(stat -c '%t %T' work/null)" = "1 3" ]; pass $? device "$(stat -c '%F %t %T' work/null)"
dd if=/dev/urandom of=work/random bs=1M count=24 2>/dev/null && sha1sum work/random >work/sum && sync; pass $? write
echo 3 >/proc/sys/vm/drop_caches
sha1sum -c work/sum >/dev/null; pass $? again
dd if=/dev/zero of=work/sparse bs=1 count=1 seek=1000000 2>/dev/null && dd if=work/numbers of=/dev/null 2>/dev/null
truncate -s 500 work/sparse && [ "$(stat -c %s work/sparse)" = 500 ]; pass $? truncate
echo start >work/log; for i in 1 2 3; do echo "line $i" >>work/log; done; [ "$(wc -l <work/log)" = 4 ]; pass $? append
# Open, removed, still readable.
exec 5<work/log; rm work/log; [ "$(wc -l <&5)" = 4 ]; pass $? unlinked; exec 5<&-
# A tree is copied, compared, removed.
mkdir tree && cp -a /usr tree/ && diff -r /usr tree/usr >/tmp/out 2>&1; pass $? tree "$(head -n 3 /tmp/out)"
rm -rf tree; pass $? removed
(i=0; while [ $i -lt 200 ]; do echo $i >work/c.$i; i=$((i + 1)); done) & (cd many && for f in *; do cat $f; done) & wait
[ "$(ls work | grep -c '^c\.')" = 200 ]; pass $? parallel
df /mnt >/dev/null; pass $? df
# The driver goes and comes.
cd /
umount /mnt
n=0
while [ $n -lt 3 ] && echo virtio0 >/sys/bus/virtio/drivers/virtiofs/unbind && echo virtio0 >/sys/bus/virtio/drivers/virtiofs/bind; do n=$((n + 1)); done
mount -t virtiofs data /mnt && [ "$(cat /mnt/file)" = hello ]; pass $? rebound "$n"
END
device_guest test.sh="$tmp/share.sh"
guest_run share "$quiet penumbra.run=/test.sh" --timeout 200 \
	--share "tag=data,path=$shared" --share "tag=fixed,path=$shared,readonly"
guest_clean "a guest with shared directories"
guest_results share mount second read large list links above readonly names owners times pipe device write again \
	truncate append unlinked tree removed parallel df rebound

work=$shared/work
(cd "$shared" && sha1sum --status -c work/sum)
result $? "the host finds the bytes that the guest wrote" "$(ls -l "$work")"
[ "$work/two" -ef "$work/three" ] && [ "$(readlink "$work/four")" = two ] && [ "$(cat "$work/two")" = one ]
result $? "the host finds the names that the guest made" "$(ls -l "$work")"
[ "$(stat -c %u "$work/two" "$work/random" "$work/null" | sort -u)" = "$(id -u)" ] &&
	[ -z "$(find "$shared" -perm /6000 -o -type b -o -type c -o -type p)" ]
result $? "owners, setuid and devices of the guest stay out of the host" "$(ls -l "$work")"
[ "$(cat "$outside/secret")" = secret ] && [ "$(ls "$outside")" = secret ]
result $? "nothing outside of the directory was touched" "$(ls -l "$outside")"

if [ "$(id -u)" = 0 ]; then
	device_script "$tmp/host.sh" <<'END'
mkdir -p /mnt && mount -t virtiofs data /mnt && cd /mnt
echo x >owned && chown 12:34 owned && chmod 4755 owned && mknod null c 1 3; pass $? made
END
	device_guest test.sh="$tmp/host.sh"
	guest_run host "$quiet penumbra.run=/test.sh" --timeout 60 --share "tag=data,path=$shared,owners=host"
	guest_clean "a guest whose owners are the host's"
	guest_results host made
	[ "$(stat -c '%a %u %g' "$shared/owned")" = "4755 12 34" ] && [ -c "$shared/null" ]
	result $? "with owners=host the host has the guest's owners" "$(ls -l "$shared")"
fi

# ---- a worker that dies ----
device_script "$tmp/kill.sh" <<'END'
mkdir -p /mnt && mount -t virtiofs data /mnt && mkdir /mnt/deep && echo kept >/mnt/deep/file
exec 3</mnt/deep/file
echo "ready to lose it"
read -r line
read -r line <&3
echo "ok open file: ${line:-nothing}"
n=0
while [ $n -lt 50 ] && ! [ "$(cat /mnt/deep/file)" = kept ]; do n=$((n + 1)); usleep 100000; done
[ "$(cat /mnt/deep/file)" = kept ] && echo new >/mnt/deep/new && echo "ok alive"
read -r line
ls /mnt/deep >/dev/null 2>&1
END
device_guest test.sh="$tmp/kill.sh"
terminal_start "$quiet penumbra.run=/test.sh" --share "tag=data,path=$shared" --timeout 60
terminal_await "ready to lose it"
device_kill fs
result $? "the directory's worker is a process of its own" "$(ps -eo pid,ppid,comm | grep penumbra-fs)"
terminal_answer "what was open in one that is killed is not another file later" '\n' "ok open file: nothing"
terminal_await "ok alive"
[ "$(cat "$shared/deep/new")" = new ]
result $? "its successor serves the directory" "${seen: -300}"
device_kill fs keeper
terminal_finish
[ "$guest_status" = 1 ] && grep -aq 'process of the device "fs" was ended' "$tmp/terminal.err"
result $? "without a successor the machine ends with a line" "status $guest_status: $(tail -n 2 "$tmp/terminal.err")"

refused() { # name pattern options
	"$PENUMBRA" run --kernel "$vmlinuz" --initrd "$initrd" --share "$3" </dev/null >"$tmp/refused" 2>&1
	[ $? = 1 ] && [ "$(wc -l <"$tmp/refused")" = 1 ] && grep -qE -- "$2" "$tmp/refused"
	result $? "$1" "$(cat "$tmp/refused")"
}
refused "a directory that is not there is named" "shared directory $tmp/nothing: No such file" "tag=a,path=$tmp/nothing"
refused "a file is no directory" "shared directory $outside/secret: Not a directory" "tag=a,path=$outside/secret"
refused "a tag is needed" "--share: tag=... is missing" "path=$shared"
