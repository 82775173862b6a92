#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A Debian root made from Debian's packages, as an image under podman and buildah with penumbra-oci as their runtime:
# package tools and users inside, two containers on a network of their own, volumes, limits, logs, exec, stats, restart
# policies, builds on it and from nothing.  The root is made once and kept in the build directory.
# TIMEOUT: 400
set -u
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
export LC_ALL=C.UTF-8
for a in podman buildah mmdebstrap; do command -v $a >/dev/null || skip_all "$a is missing"; done
export CONTAINERS_CONF=$tmp/containers.conf CONTAINERS_STORAGE_CONF=$tmp/storage.conf
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$tmp" "$tmp" >"$CONTAINERS_STORAGE_CONF"
cat >"$CONTAINERS_CONF" <<X
[containers]
default_ulimits = ["nofile=1024:4096","nproc=1024:2048"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "penumbra"
[engine.runtimes]
penumbra = ["$oci"]
[network]
network_config_dir = "$tmp/networks"
X
base=$BUILD/debian-root.tar
if [ ! -s "$base" ]; then
	mmdebstrap --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' bookworm "$tmp/root.tar" >"$tmp/out" 2>&1 ||
		skip_all "no Debian packages to be had: $(tail -1 "$tmp/out")"
	mv "$tmp/root.tar" "$base"
fi
image=localhost/$id:1
p() { (cd "$tmp" && timeout 90 podman "$@" </dev/null 2>"$tmp/err"); } # conmon writes files where it is started
pe() { (cd "$tmp" && timeout 90 podman "$@" </dev/null 2>&1); }
until_true() { timeout 30 bash -c "until $1; do sleep 0.1; done"; }
cleanup() { podman pod rm -f -a -t 0; podman rm -f -a -t 0; podman network rm -f "$id"; podman volume rm -f -a; podman rmi -f -a; }
trap 'cleanup >/dev/null 2>&1' EXIT
p import --change 'ENV WHO=image' --change 'CMD ["/bin/cat","/etc/os-release"]' "$base" "$image" >/dev/null
result $? "podman imports a Debian root" "$(tail -1 "$tmp/err")"
same "$(p info -f '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}')" "penumbra $oci" "containers.conf names the runtime"
has "$(pe run --rm --network none "$image")" 'VERSION_CODENAME=bookworm' "the image's own command"
same "$(p run --rm --network none "$image" bash -c 'dpkg --audit && dpkg-query -W -f "\${db:Status-Status}\n" | sort -u; echo $WHO')" $'installed\nimage' "dpkg finds its packages whole"
same "$(p run --rm --network none "$image" sh -c 'useradd -m -u 1234 who && su who -c "id -un; id -u; touch ~/f && stat -c %U ~/f"')" $'who\n1234\nwho' "a user is added and entered"
same "$(p run --rm --network none -u nobody:daemon -w /tmp "$image" sh -c 'id -un; id -gn; pwd')" $'nobody\ndaemon\n/tmp' "a user and group by name"
has "$(pe run --rm --network none --read-only --tmpfs /tmp "$image" sh -c 'touch /tmp/x && touch /x')" "/x.*Read-only" "a read-only root with a tmpfs"
same "$(p run --rm --network none --tmpfs /usr/bin:tmpcopyup,ro "$image" sh -c 'cd /usr/bin; sha256sum perl bash | sha256sum; stat -c "%a %U" passwd; touch x 2>&1 | grep -o Read-only')" \
	"$(p run --rm --network none "$image" sh -c 'cd /usr/bin; sha256sum perl bash | sha256sum; stat -c "%a %U" passwd')"$'\nRead-only' "a read-only tmpfs with a copy of what was there, modes too"
same "$(p run --rm --network none --cap-drop all --security-opt no-new-privileges "$image" sed -n 's/^\(CapEff\|NoNewPrivs\|Seccomp\):\t//p' /proc/self/status)" $'0000000000000000\n1\n2' "no capabilities, no new privileges, the filter"

# Two containers on a network of their own; the server is Debian's perl.
cat >"$tmp/serve" <<'X'
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die "no socket: $!";
$| = 1; print "ready\n"; print STDERR "to stderr\n";
while (my $c = $s->accept) { open my $f, "<", "/vol/f"; print {$c} <$f>; close $c }
X
p network create "$id" >/dev/null; result $? "podman network create" "$(cat "$tmp/err")"
p volume create "$id-v" >/dev/null
same "$(p run --rm --network none -v "$id-v:/vol" "$image" sh -c 'echo kept >/vol/f; stat -c %u /vol/f')" 0 "a named volume is written"
p run -d --name "$id-s" --network "$id" -p 127.0.0.1:18932:80 -v "$id-v:/vol:ro" -v "$tmp/serve:/serve:ro" -m 128m --memory-swap 128m --pids-limit 40 \
	--cpus 0.5 --cpu-shares 512 --ulimit nofile=333:333 --ulimit nproc=1024:2048 --hostname server "$image" perl /serve >/dev/null
result $? "a server on it" "$(cat "$tmp/err")"
until_true "podman logs $id-s 2>/dev/null | grep -q ready"
address=$(p inspect -f "{{(index .NetworkSettings.Networks \"$id\").IPAddress}}" "$id-s")
same "$(p run --rm --network "$id" "$image" bash -c "cat </dev/tcp/$address/80")" kept "a peer reaches it, and the volume kept its file"
same "$(cat </dev/tcp/127.0.0.1/18932)" kept "the published port answers"
same "$(p run --rm --network "container:$id-s" "$image" bash -c 'cat </dev/tcp/127.0.0.1/80')" kept "another one in its network namespace"
has "$(pe run --rm --network none "$image" bash -c "cat </dev/tcp/$address/80")" "unreachable" "no network reaches nothing"
has "$(pe exec "$id-s" sh -c 'echo x >/vol/f')" "Read-only" "its volume is read-only"
same "$(pe logs "$id-s" | sort)" $'ready\nto stderr' "podman logs, both streams"
same "$(p exec -e A=b -w /var -u www-data "$id-s" sh -c 'echo $A $PWD $(id -un) $(ulimit -n)')" "b /var www-data 333" "podman exec with environment, directory, user"
p exec "$id-s" sh -c 'exit 7' >/dev/null; same $? 7 "podman exec gives the status"
g=/sys/fs/cgroup
limits=$(p exec "$id-s" sh -c "cat $g/memory/memory.limit_in_bytes $g/pids/pids.max $g/cpu/cpu.cfs_quota_us $g/cpu/cpu.shares 2>/dev/null || cat $g/memory.max $g/pids.max $g/cpu.max $g/cpu.weight")
has "$(tr '\n' ' ' <<<"$limits")" '^134217728 40 50000 ([0-9]+ )?(512|20) $' "limits of memory, processes and processor"
has "$(p stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' "$id-s")" '/ 134.2MB 1$' "podman stats"
has "$(pe run --rm --network none --pids-limit 20 "$image" bash -c 'for i in {1..40}; do sleep 5 & done; wait')" "fork: (retry: )?Resource" "the limit of processes holds"
p run --rm --network none -m 32m --memory-swap 32m "$image" perl -e '$x = "x" x 200000000; print length $x' >/dev/null
same $? 137 "the limit of memory ends it"
p stop -t 1 "$id-s" >/dev/null; p start "$id-s" >/dev/null; until_true "[ \$(podman logs $id-s 2>/dev/null | grep -c ready) = 2 ]"
same "$(cat </dev/tcp/127.0.0.1/18932)" kept "stopped and started again"
has "$(p diff "$id-s"; p cp "$id-s:/etc/debian_version" - | tar -xO)" "^12" "podman cp"

# Restart policies
p run -d --restart=always --name "$id-a" --network none -v "$tmp:/t" "$image" sh -c 'echo x >>/t/always; [ $(wc -l </t/always) -lt 3 ] || exec sleep 1000' >/dev/null
until_true "[ -e $tmp/always ] && [ \$(wc -l <$tmp/always) -ge 3 ]"; result $? "restart=always starts one that ended well"
p stop -t 0 "$id-a" >/dev/null; runs=$(wc -l <"$tmp/always")
same "$(p inspect -f '{{.State.Status}}' "$id-a") $(wc -l <"$tmp/always")" "exited $runs" "podman stop ends restart=always"
p run -d --restart=no --name "$id-n" --network none "$image" false >/dev/null
same "$(p wait "$id-n") $(p inspect -f '{{.RestartCount}}' "$id-n")" "1 0" "restart=no starts it once"
p run -d --name "$id-h" --network none --health-cmd 'test -e /ok' --health-interval disable "$image" sleep 1000 >/dev/null
p healthcheck run "$id-h" >/dev/null; bad=$?; p exec "$id-h" touch /ok; p healthcheck run "$id-h" >/dev/null
same "$bad $?" "1 0" "podman healthcheck"
has "$(pe run --rm --network none --init "$image" cat /proc/1/comm; p run --rm --network none --systemd always "$image" sh -c 'stat -f -c %T /run')" tmpfs "systemd's mounts"

# Building on it, and from nothing
printf 'FROM %s\nARG V\nRUN echo "$V" >/built && useradd -u 4321 app\nUSER app\nWORKDIR /home\nENTRYPOINT ["/bin/sh","-c"]\nCMD ["id -un; pwd; cat /built"]\n' "$image" >"$tmp/Containerfile"
mkdir "$tmp/context"
timeout 90 buildah build --runtime "$oci" --isolation oci --network none --build-arg V=arg -t "$image-b" -f "$tmp/Containerfile" "$tmp/context" >"$tmp/out" 2>&1 </dev/null
result $? "buildah builds on it" "$(tail -3 "$tmp/out")"
same "$(p run --rm --network none "$image-b")" $'app\n/home\narg' "the built image runs"
w=$(buildah from scratch) && buildah add -q "$w" "$base" / >/dev/null && buildah config --cmd 'cat /etc/debian_version' "$w" &&
	same "$(timeout 60 buildah run --runtime "$oci" --isolation oci --network none "$w" -- sh -c 'echo "$0" >/made; cat /made' scratch </dev/null 2>&1)" scratch "buildah from scratch, and run in it" &&
	buildah commit -q --rm "$w" "$image-s" >/dev/null
has "$(pe run --rm --network none "$image-s" sh -c 'cat /made /etc/debian_version')" "^12" "what was made from scratch runs"
