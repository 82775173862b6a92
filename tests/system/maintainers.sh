#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The maintainers of the shadow page tables: programs that change their mappings at random see what they should under
# each of them, and the invariants of docs/shadow-paging.md hold all the while.
# PLANT=1 also builds copies that break an invariant each, and shows that it is noticed.
# TIMEOUT: 250
set -u
. tests/lib/guest.sh
guest_need "$BUILD/guest/initrd-test" "$BUILD/shadow/churn"

cat >"$tmp/work.sh" <<'X'
/t/churn "$1" "$2" 3 && /t/churn "$1" "$2" 9
for i in 1 2 3; do (for j in 1 2 3 4; do echo "$i $j" | sha256sum | md5sum >/tmp/sum.$i.$j; done) & done
wait
n=$(cat /tmp/sum.* | wc -l)
[ "$n" = 12 ] && echo "ok programs" || echo "not ok programs: $n of 12 ended"
X
guest/build.sh overlay "$BUILD/guest/initrd-test" "$tmp/work.img" t/work.sh="$tmp/work.sh" t/churn="$BUILD/shadow/churn"
seed=${SEED:-$((RANDOM + 1))}

# name, knobs, steps, options
machine() {
	local name=$1 knobs=$2 steps=$3
	shift 3
	PENUMBRA_TEST_KNOBS=$knobs guest_run run "$quiet penumbra.exec=bash,/t/work.sh,$seed,$steps" --initrd "$tmp/work.img" \
		--memory 512M --timeout 60 --stats "$tmp/stats" "$@"
	guest_results "$name, seed $seed:" churn programs
	guest_clean "$name: a clean log"
}
stat() { grep -o "\"$1\": *{[^}]*}\|\"$1\": *[0-9]*" "$tmp/stats" | grep -oE '[0-9]+' | head -n 1; }
positive() { # name statistic
	[ "$(stat "$2")" -gt 0 ] 2>/dev/null
	result $? "$1: $2 is counted" "$(stat "$2")"
}
for paging in auto flush lazy writeprotect intercept; do
	machine "$paging" check=1 2000 --paging $paging
	case $paging in
	lazy) positive $paging compared_pages ;;
	writeprotect) positive $paging table_traps && positive $paging table_updates ;;
	intercept) positive $paging table_stores && positive $paging table_updates ;;
	esac
done
for paging in auto writeprotect intercept; do
	machine "$paging, 2 vCPUs" "" 1000 --paging $paging --cpus 2
done

# User code goes through the software TLB wherever it can.
machine "software TLB" soft=40,check=1 600
machine "software TLB, intercept, 2 vCPUs" soft=1000 400 --paging intercept --cpus 2

for words in "--accel translate --paging kvm" "--accel translate --paging fast"; do
	# shellcheck disable=SC2086
	out=$("$PENUMBRA" run $words --kernel "$vmlinuz" 2>&1)
	[ $? = 2 ] && [ "$(wc -l <<<"$out")" -le 2 ]
	result $? "$words is refused" "$out"
done
[ -n "${PLANT:-}" ] || exit 0

mkdir "$tmp/plant" && cp -a Makefile mk src guest bench "$tmp/plant" || exit 1
plant() { # invariant, paging, file, sed expression
	sed -i "$4" "$tmp/plant/$3"
	if cmp -s "$3" "$tmp/plant/$3" || ! make -s -C "$tmp/plant" BUILD="$tmp/plant/b" "$tmp/plant/b/penumbra" >"$tmp/err" 2>&1; then
		result 1 "planted: against $1 in $3" "it cannot be planted: $(tail -n 3 "$tmp/err")"
		return
	fi
	PENUMBRA_TEST_KNOBS=check=1 PENUMBRA="$tmp/plant/b/penumbra" guest_run planted "$quiet penumbra.exec=bash,/t/work.sh,$seed,3000" \
		--initrd "$tmp/work.img" --timeout 60 --paging "$2"
	grep -q "invariant $1" "$guest_log"
	result $? "planted: against $1 in $3, $2: is noticed" "$(guest_tail)"
	cp "$3" "$tmp/plant/$3"
}
plant S1 lazy src/shadow/compare.c 's/found |= BIT(i);/found |= i == 13 ? 0 : BIT(i);/'
plant S2 lazy src/shadow/space.c 's/ && !frame_flags(ram_offset(e & PTE_ADDR) >> PAGE_SHIFT);/;/'
plant S3 lazy src/shadow/space.c 's/S->key = KEY_KERNEL + 1/S->key = 0/'
plant T1 intercept src/shadow/tables.c '/log_add(frame << PAGE_SHIFT | TABLE_RELEASED);/d'
plant T2 intercept src/monitor/entry.S 's/^	je	5f$/	jmp	5f/'
plant T2 writeprotect src/shadow/tables.c 's/^		log_add(at);$/		if (at \& 64) log_add(at);/'
plant T3 writeprotect src/shadow/tables.c 's/__atomic_fetch_add(frame_watchers(last), 1, __ATOMIC_SEQ_CST);/;/'
exit 0
