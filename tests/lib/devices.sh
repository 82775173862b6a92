# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# For tests of devices: a guest with scripts and tools in it, workers to find, a network of the test's own.
# Sourced after tests/lib/guest.sh.

# Puts programs into the guest: device_guest NAME=FILE...; leaves $initrd.  /test.sh begins with pass().
device_guest() {
	local base=$BUILD/guest/initrd
	guest/build.sh overlay "$base" "$tmp/initrd" "$@"
	initrd=$tmp/initrd
}

# The head of every script that runs in a guest.
device_script() { # file
	cat >"$1" <<'END'
#!/bin/sh
pass() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2: $3"; fi; }
END
	cat >>"$1"
	chmod +x "$1"
}

# How the guest's network is set by DHCP.
device_dhcp() { # file
	cat >"$1" <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
ip route replace default via $router
echo "nameserver $dns" >/etc/resolv.conf
END
	chmod +x "$1"
}

# tests/guest/net/stream.c for both sides.
device_stream() {
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -static -o "$tmp/stream" tests/guest/net/stream.c
}

# The worker of a class that belongs to the machine whose initrd is $initrd, or the keeper behind it.
device_worker() { # class [keeper]
	local pid name=${2-penumbra}-$1
	for pid in $(pgrep -f -- "--initrd $initrd "); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "${name:0:15}" ] || echo "$pid"
	done
}

# Kills the worker of a class, or with a second word its keeper, and waits until it is gone.
device_kill() { # class [keeper]
	local pid
	if [ -n "${2-}" ]; then
		pid=$(device_worker "$1" keeper)
	else
		pid=$(device_worker "$1")
	fi
	pid=$(shuf -n 1 <<<"$pid")
	# Never kill but one process that was found.
	[[ $pid =~ ^[0-9]+$ ]] && [ "$pid" -gt 1 ] || return 1
	kill -KILL "$pid"
	# A keeper stays as a zombie until its machine ends.
	for _ in {1..500}; do
		case $(cat "/proc/$pid/stat" 2>/dev/null) in '' | *') Z '*) return 0 ;; esac
		sleep 0.02
	done
	return 1
}

# Waits until a line of a file matches: what a process running beside us has come to.
device_await() { # file regular-expression
	local i
	for ((i = 0; i < 600; i++)); do
		grep -aqE "$2" "$1" 2>/dev/null && return
		sleep 0.05
	done
	return 1
}

# Starts the script again in a network namespace of its own, where every port is free.
device_own_network() { # "$@" of the script
	[ -z "${DEVICE_NETWORK-}" ] || { ip link set lo up && return; }
	if [ "$(id -u)" = 0 ]; then
		DEVICE_NETWORK=1 exec unshare -n "$0" "$@"
	else
		DEVICE_NETWORK=1 exec unshare -rn "$0" "$@"
	fi
}
