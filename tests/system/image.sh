#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# penumbra image: bad input, failure, interruption.  tests/system/debian.sh builds and boots one.
# TIMEOUT: 400
set -u
tmp=${TEST_TMP:-$(mktemp -d)}
export PATH=$PATH:/usr/sbin:/sbin

result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2: ${3//$'\n'/ | }"
	fi
}

refuse() { # name status pattern arguments...
	local name=$1 want=$2 pattern=$3 got
	shift 3
	got=$("$PENUMBRA" image debian "$@" 2>&1 </dev/null)
	status=$?
	[ $status = "$want" ] && [[ $got == $pattern ]]
	result $? "$name" "status $status: $got"
}
refuse "no file" 2 "penumbra: image debian: no file to write given*"
refuse "a disk that is too small" 1 "penumbra: image debian: --size: 100 MiB is not between*" --size 100M "$tmp/x"
refuse "a bad release" 1 "penumbra: image debian: --suite: '-x' is not the name of a release" --suite=-x "$tmp/x"
refuse "bad packages" 1 "penumbra: image debian: --packages: 'a b' is not a list*" --packages "a b" "$tmp/x"
refuse "a bad mirror" 1 "penumbra: image debian: --mirror: 'x' is not an address*" --mirror x "$tmp/x"
refuse "keys that are not there" 1 "penumbra: image debian: --ssh-key: $tmp/none: No such file*" --ssh-key "$tmp/none" "$tmp/x"
refuse "a copy without a path" 1 "penumbra: image debian: --copy: '/etc/x' is not PATH=FILE" --copy /etc/x "$tmp/x"
refuse "a copy to a relative path" 1 "penumbra: image debian: --copy: 'etc/x' is not an absolute path*" --copy etc/x=/etc/hostname "$tmp/x"
refuse "a copy of nothing" 1 "penumbra: image debian: --copy: /none: No such file*" --copy /etc/x=/none "$tmp/x"
refuse "a setup that is not there" 1 "penumbra: image debian: --setup: /none: No such file*" --setup /none "$tmp/x"
refuse "a directory that is not there" 1 "penumbra: image debian: $tmp/none/.: No such file*" "$tmp/none/x"
echo keep >"$tmp/there"
refuse "a file that is there" 1 "penumbra: image debian: $tmp/there is there already*" "$tmp/there"
[ "$(cat "$tmp/there")" = keep ]
result $? "a file that is there is kept" ""
mkdir "$tmp/fail"
refuse "packages that do not exist" 1 "*penumbra: image debian: mmdebstrap failed with status*" --packages no-such-package-here "$tmp/fail/x"
[ -z "$(ls -A "$tmp/fail")" ]
result $? "nothing is left of a failure" "$(ls -A "$tmp/fail")"

mkdir "$tmp/stop"
"$PENUMBRA" image debian "$tmp/stop/x" >"$tmp/stop.out" 2>&1 </dev/null &
pid=$!
while [ -z "$(find "$tmp/stop" -name root.tar)" ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -TERM $pid
wait $pid
status=$?
[ $status = 1 ] && grep -q "interrupted" "$tmp/stop.out" && [ -z "$(ls -A "$tmp/stop")" ]
result $? "an interruption leaves nothing" "status $status, $(ls -A "$tmp/stop") $(tail -n 1 "$tmp/stop.out")"

