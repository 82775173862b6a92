# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Tests of `penumbra bench $subject`: one run, with its output in $tmp/out and $tmp/err; a result; a refusal.
tmp=${TEST_TMP:-$(mktemp -d)}
bench() { "$PENUMBRA" bench "${subject:?}" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null; }
result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2: ${3//$'\n'/ | }"
	fi
}
refuse() { # name status pattern arguments...
	local name=$1 want=$2 pattern=$3
	shift 3
	bench "$@"
	status=$?
	[ $status = "$want" ] && [[ $(cat "$tmp/err") == "penumbra: bench $subject: "$pattern ]]
	result $? "$name" "status $status: $(cat "$tmp/err")"
}
