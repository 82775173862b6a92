#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Translations that are kept on disk: a warm start does what a cold one does, and no file can make a machine fail.
# TIMEOUT: 240
set -u
. tests/lib/guest.sh
dir=$tmp/translations seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
echo "# seed $seed"
RANDOM=$((seed & 0x7fff))
cache=(--translation-cache "$dir")
figure() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$tmp/stats"; }
stored() { ls "$dir"/*.translations 2>/dev/null; }
# What a log says, without times and addresses of a run.
same() { sed -e 's/^\[ *[0-9.]*\] //' -e '/^penumbra guest: Linux/d' -e '/TSC\|tsc\|clocksource\|random:/d' "$1"; }
words="penumbra.exec=sha256sum,/bin/busybox,/etc/profile"

# ---- cold and warm ----
guest_run cold "$quiet $words" --timeout 60 --stats "$tmp/stats" "${cache[@]}"
guest_clean "a machine without a file to begin with ends well"
cold=$(figure blocks) file=$(stored)
[ "$(figure blocks_stored)" = 0 ] && [ "$(stat -c '%a %u' "$dir" "$dir/key" "$file" | tr '\n' ' ')" = "700 $(id -u) 600 $(id -u) 600 $(id -u) " ]
result $? "it leaves a file and a key that are the user's alone" "$(ls -la "$dir") $(cat "$tmp/cold.log" | tail -n 3)"
guest_run warm "$quiet $words" --timeout 60 --stats "$tmp/stats" "${cache[@]}"
guest_clean "a machine with the file ends well"
[ "$(same "$tmp/warm.log")" = "$(same "$tmp/cold.log")" ]
result $? "its console says the same" "$(diff <(same "$tmp/cold.log") <(same "$tmp/warm.log") | head -n 6)"
(($(figure blocks) * 10 < cold && $(figure blocks_stored) > cold / 2 && $(figure blocks_revived) > cold / 2))
result $? "what it translates is a tenth" "$cold cold, $(figure blocks) warm of $(figure blocks_stored) stored, $(figure blocks_revived) came back"
[ "$(stored)" = "$file" ] && [ ! "$file" -nt "$tmp/cold.log" ]
result $? "the file stays as it is" "$(ls -la --full-time "$dir")"

# ---- files that may not be used ----
keep=$tmp/good
cp "$file" "$keep"
# Only the start: the refusal is told before the guest runs.
refuses() { # what, part of the line
	local status
	"$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$initrd" --append "$quiet" --timeout 0.05 "${cache[@]}" \
		</dev/null >/dev/null 2>"$tmp/refusal"
	status=$?
	[ $status = 4 ] && [ "$(grep -c -- '--translation-cache' "$tmp/refusal")" = 1 ] && grep -q -- "$2" "$tmp/refusal"
	result $? "$1 is not used, with one line" "status $status, $(cat "$tmp/refusal")"
	rm -rf "$file" && cp "$keep" "$file"
	chmod 700 "$dir"
}
size=$(stat -c %s "$file")
poke() { printf "\\x$(printf %02x $((RANDOM & 255)))\\x$(printf %02x $((RANDOM & 255)))" | dd of="$file" bs=1 seek="$1" conv=notrunc status=none; }
for part in 1 2 3; do
	at=$(((RANDOM * 32768 + RANDOM) % (size - 4096) + 4096))
	poke $at
	cmp -s "$file" "$keep" && poke $at
	refuses "a file with changed bytes ($part)" 'is damaged'
done
poke 0
refuses "a file of another format" 'another kind'
poke 30
refuses "a file of another build" 'another kind'
truncate -s $((size / 2)) "$file"
refuses "a file that is cut short" 'cut short'
truncate -s 10 "$file"
refuses "a file without a head" 'impossible'
chmod 644 "$file"
refuses "a file that others can read" 'not a file of yours'
mv "$file" "$tmp/elsewhere" && ln -s "$tmp/elsewhere" "$file"
refuses "a symbolic link" 'not a file of yours'
rm "$file" && mkfifo -m 600 "$file"
refuses "a pipe" 'not a file of yours'
chmod 755 "$dir"
refuses "a directory that others can enter" 'open to others'
if [ "$(id -u)" = 0 ]; then
	chown 1 "$file"
	refuses "a file of another user" 'not a file of yours'
fi
head -c 16 /dev/urandom >"$dir/key"
refuses "a file made with another key" 'is damaged'
dir=$tmp/translations/key/below cache=(--translation-cache "$tmp/translations/key/below")
"$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$initrd" --append "$quiet" --timeout 0.05 "${cache[@]}" \
	</dev/null >/dev/null 2>"$tmp/refusal"
[ $? = 4 ] && grep -q -- '--translation-cache' "$tmp/refusal"
result $? "a directory that cannot be made is told" "$(cat "$tmp/refusal")"

# ---- a damaged file is made anew, by two at once ----
dir=$tmp/translations cache=(--translation-cache "$dir")
poke 5000
(guest_run first "$quiet $words" --timeout 100 "${cache[@]}"; guest_clean "one machine ends well beside another") &
guest_run second "$quiet $words" --timeout 100 "${cache[@]}"
guest_clean "the other machine ends well"
wait $!
guest_run after "$quiet $words" --timeout 60 --stats "$tmp/stats" "${cache[@]}"
guest_clean "a machine after them ends well"
(($(figure blocks) * 10 < cold)) && ! grep -q -- '--translation-cache' "$tmp/after.log" && [ "$(ls "$dir" | wc -l)" = 2 ]
result $? "it has a whole file again" "$(figure blocks) of $cold, $(ls "$dir")"

# ---- a full disk ----
if unshare -rm true 2>/dev/null; then
	mkdir "$tmp/small"
	# shellcheck disable=SC2016 # expanded within
	PENUMBRA=$PENUMBRA vmlinuz=$vmlinuz initrd=$initrd quiet=$quiet unshare -rm bash -c '
		mount -t tmpfs -o size=1m,mode=700 small "$1"
		"$PENUMBRA" run --accel translate --kernel "$vmlinuz" --initrd "$initrd" --append "$quiet penumbra.exec=true" \
			--timeout 60 --translation-cache "$1" </dev/null 2>&1
		echo "status $? files $(ls "$1" | tr "\n" " ")"' - "$tmp/small" >"$tmp/full.log"
	tail -n 1 "$tmp/full.log" | grep -q '^status 0 files key $' && grep -q 'could not be kept: No space' "$tmp/full.log"
	result $? "a full disk is told, and leaves nothing" "$(tail -n 4 "$tmp/full.log")"
fi

# ---- other code at the same addresses ----
harness=$BUILD/tests/diff/harness
if [ -x "$harness" ]; then
	for round in 1 2 3; do
		XDG_CACHE_HOME=$tmp/xdg "$harness" --penumbra "$PENUMBRA" --guest "$BUILD/tests/diff/guest" --tmp "$tmp" \
			--seed $((seed + round)) --seconds 2 --name "code that is not what the file was made from, round $round" \
			--sequences 60 --random 20 /bin/busybox
	done
fi
