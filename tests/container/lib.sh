# SPDX-License-Identifier: MIT
# Shared by the container tests: bundles made here, results as TAP lines.
# shellcheck shell=bash

oci=$(dirname "$PENUMBRA")/penumbra-oci
tmp=${TEST_TMP:?}
state=$tmp/state
export CONTAINER_TEST_ID=pt-$$

skip_all() { echo "# SKIP $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip_all "containers are tested as root"
[ -x "$oci" ] || { echo "not ok - penumbra-oci is built: $oci is missing"; exit 1; }
command -v jq >/dev/null || skip_all "jq is missing"

result() { # status name [reason]
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2: ${3:-status $1}" | tr '\n' ' '; echo; fi
	return 0
}
same() { # got wanted name
	[ "$1" = "$2" ]; result $? "$3" "got \"$1\", wanted \"$2\""
}
has() { # text pattern name
	grep -qE -- "$2" <<<"$1"; result $? "$3" "no \"$2\" in \"${1:0:300}\""
}

run_oci() { "$oci" --root "$state" "$@"; }

# A root directory with busybox and the usual directories.
make_root() { # dir
	local a
	mkdir -p "$1"/{bin,etc,proc,sys,dev,tmp,run,var/tmp}
	cp /bin/busybox "$1/bin/busybox"
	for a in sh true false cat ls id sleep echo mount touch mkdir ln rm ps kill env stat hostname \
		readlink dd wc tr head mkfifo grep chmod cp ulimit; do
		ln -sf busybox "$1/bin/$a"
	done
	echo root:x:0:0:root:/:/bin/sh >"$1/etc/passwd"
	echo root:x:0: >"$1/etc/group"
}

# A bundle from `spec`, changed by a jq filter: make_bundle DIR FILTER
make_bundle() {
	mkdir -p "$1"
	[ -d "$1/rootfs" ] || make_root "$1/rootfs"
	rm -f "$1/config.json"
	"$oci" spec --bundle "$1"
	jq '.process.terminal=false | .process.rlimits=[] | '"${2:-.}" "$1/config.json" >"$1/new" &&
		mv "$1/new" "$1/config.json"
}

# linux.seccomp of container engines, from the list that Debian's share.
engine_seccomp() {
	jq -c '["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"] as $held |
	{defaultAction, architectures: ["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
	 syscalls: [.syscalls[] |
		select((.includes.arches // []) as $a | ($a | length) == 0 or ($a | any(. == "amd64" or . == "x86" or . == "x32"))) |
		select((.includes.caps // []) as $c | ($c - $held) == []) |
		select((.excludes.arches // []) | index("amd64") | not) |
		select((.excludes.caps // []) as $c | $c == [] or ($c - $held) == $c) |
		{names, action} + (if .errnoRet then {errnoRet} else {} end) + (if .args then {args} else {} end)]}' \
		/usr/share/containers/seccomp.json
}

# What a container of ours could leave: cgroups, mounts, state, processes.
leftovers() { # id-prefix
	find /sys/fs/cgroup -maxdepth 6 -type d -name "$1*" 2>/dev/null
	grep -F "$tmp" /proc/self/mountinfo
	find "$state" -mindepth 1 -maxdepth 1 ! -name '.*' 2>/dev/null
	find "$state/.ids" -mindepth 1 2>/dev/null
}
