#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# First touches of memory: stores ask whether their page is there, and do what they did.
# TIMEOUT: 200
set -u
. tests/lib/guest.sh
guest_need "$BUILD/guest/initrd-test"

${CC:-gcc} -O1 -Wall -Wextra -static -o "$tmp/touch" tests/guest/memory/touch.c 2>"$tmp/err"
result $? "the program is built" "$(cat "$tmp/err")"
"$tmp/touch" >"$tmp/native" 2>&1 && ! grep -q '^not ok' "$tmp/native"
result $? "natively" "$(cat "$tmp/native")"
guest/build.sh overlay "$initrd" "$tmp/initrd" bin/touch="$tmp/touch"

each() { # name knobs options...
	local name=$1 knobs=$2
	shift 2
	PENUMBRA_TEST_KNOBS=$knobs guest_run touch "$quiet penumbra.exec=/bin/touch" --initrd "$tmp/initrd" --timeout 90 "$@"
	guest_results "$name:" "forms of stores" "pages copied on write" "mappings taken back" "a busy store" "forms once more"
	guest_clean "$name: a clean log"
}
each "one processor" ""
each "as one of several" smp=1
each "blocks killed at random" kill=30,seed=3

# Programs that are at another address each time: translations move, those of stores that came to ask too.
cat >"$tmp/starts.sh" <<'X'
for ((i = 0; i < 250; i++)); do
	[ "$(bash -c 'a=$((6 * 7)); echo $a' | cat)" = 42 ] || { echo "not ok programs again and again: at $i"; exit 1; }
done
echo "ok programs again and again"
X
guest/build.sh overlay "$BUILD/guest/initrd-test" "$tmp/initrd-starts" t/starts.sh="$tmp/starts.sh"
for knobs in "" smp=1; do
	PENUMBRA_TEST_KNOBS=$knobs guest_run starts "$quiet penumbra.exec=bash,/t/starts.sh" --initrd "$tmp/initrd-starts" --timeout 60 --memory 1G
	guest_results "${knobs:-one processor}:" "programs again and again"
	guest_clean "${knobs:-one processor}, programs: a clean log"
done

# Ten rounds more of 256 pages: the host's faults would be as many as the pages.
faults() { # rounds
	guest_run faults "$quiet penumbra.exec=/bin/touch,$1" --initrd "$tmp/initrd" --timeout 60 --stats "$tmp/stats"
	grep -oP '"faults": *\K[0-9]+' "$tmp/stats"
}
if [ "${PAGING:-}" = writeprotect ]; then
	echo "ok - known stores fault no more # SKIP with writeprotect those to page tables do"
else
	few=$(faults 2) many=$(faults 12)
	((many - few < 1000))
	result $? "known stores fault no more" "$few faults with 512 pages, $many with 3072"
fi

# Processes of the host that stood for a crowd of the guest's end after it.
carriers() {
	local pid zygote
	for pid in $(pgrep -f -- "--initrd $tmp/initrd-crowd "); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = penumbra ] || continue
		for zygote in $(pgrep -P "$pid" -x penumbra-guest); do pgrep -P "$zygote"; done
	done | wc -l
}
guest/build.sh overlay "$initrd" "$tmp/initrd-crowd" crowd.sh=tests/guest/memory/crowd.sh
initrd=$tmp/initrd-crowd
for cpus in 1 2; do
	terminal_start "$quiet penumbra.run=/crowd.sh" --cpus $cpus --timeout 90
	terminal_await "crowd there"
	most=$(carriers)
	terminal_type '\n'
	terminal_await "crowd gone"
	for ((i = 0; i < 40; i++)); do
		few=$(carriers)
		[ "$few" -gt 30 ] || break
		sleep 0.5
	done
	terminal_type '\n'
	terminal_await "crowd over"
	terminal_finish
	guest_clean "a crowd comes and goes, $cpus processors"
	[ "$most" -gt 50 ] && [ "$few" -le 30 ]
	result $? "the host's processes for it end, $cpus processors" "$most, then $few"
done
