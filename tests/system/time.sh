#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The guest's clocks against the host's while the host is busy: drift of less than 0.1 %, no lost ticks, no
# soft lockups.  TIME_SECONDS sets how long each clock is watched.
# TIMEOUT: 120
set -u
. tests/lib/guest.sh
seconds=${TIME_SECONDS:-12}

cat >"$tmp/time.sh" <<'X'
# Twenty readings: the one that came through fastest tells the difference between the clocks.
readings() {
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		t=$EPOCHREALTIME
		echo "reading $1 $t"
		sleep 0.06
	done
}
read -r up _ </proc/uptime
echo "uptime begin $up"
readings begin
# Sleeping and computing in turn: ticks must be counted in both.
end=$((${EPOCHREALTIME%.*} + SECONDS_TO_RUN))
while [ ${EPOCHREALTIME%.*} -lt $end ]; do
	sleep 0.5
	i=0
	while [ $i -lt 60000 ]; do i=$((i + 1)); done
done
readings end
read -r up _ </proc/uptime
echo "uptime end $up"
echo "rtc $(cat /sys/class/rtc/rtc0/since_epoch)"
X
sed -i "s/SECONDS_TO_RUN/$seconds/" "$tmp/time.sh"
guest/build.sh overlay "$initrd" "$tmp/time.img" "root/time.sh=$tmp/time.sh"

# Runs the guest and stamps each reading with the host's time as it arrives; prints what was found:
# difference at the beginning and at the end, microseconds between, guest seconds by uptime.
watch_clock() { # append
	local line burst guest host least_begin='' least_end='' first='' last='' up_begin=0 up_end=0 rtc=0 d
	: >"$guest_log"
	while IFS= read -r line; do
		host=${EPOCHREALTIME/./}
		line=${line%$'\r'}
		printf '%s\n' "$line" >>"$guest_log"
		case $line in
		"reading "*)
			burst=${line#reading } guest=${line##* }
			d=$((host - ${guest/./}))
			if [ "${burst%% *}" = begin ]; then
				first=${first:-$host}
				[ -n "$least_begin" ] && [ "$least_begin" -le $d ] || least_begin=$d
			else
				last=$host
				[ -n "$least_end" ] && [ "$least_end" -le $d ] || least_end=$d
			fi
			;;
		"uptime begin "*) up_begin=${line##* } ;;
		"uptime end "*) up_end=${line##* } ;;
		"rtc "*) rtc=$((${line#rtc } - host / 1000000)) ;;
		esac
	done < <("$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$tmp/time.img" --timeout $((seconds * 2 + 60)) \
		--append "$quiet penumbra.exec=sh,/root/time.sh $1" </dev/null 2>&1; echo "status $?")
	echo "${least_begin:-none} ${least_end:-none} $((${last:-0} - ${first:-0})) ${up_begin/./} ${up_end/./} $rtc"
}

# Two processes that only compute, so that the guest has to share its processor.
for i in 1 2; do
	timeout $((seconds * 8 + 100)) bash -c 'while :; do :; done' &
	busy+=($!)
done
trap 'kill "${busy[@]}" 2>/dev/null' EXIT

guest_log=$tmp/time.log
for options in "" "no-kvmclock clocksource=acpi_pm tsc=unstable" "nohz=off highres=off"; do
	name=${options:-default clock}
	read -r begin end passed up_begin up_end rtc < <(watch_clock "$options")
	guest_status=$(sed -n 's/^status //p' "$guest_log")
	guest_clean "$name: no stall and no lockup"
	[ "$begin" != none ] && [ "$end" != none ] || { result 1 "$name: readings" "$(guest_tail)"; continue; }
	drift=$((end - begin))
	# All the readings of a series may still have been held up by the busy host for a time slice.
	result "$([ ${drift#-} -le $((passed / 1000 + 8000)) ]; echo $?)" "$name: drift of less than 0.1 %" \
		"$drift us in $passed us"
	d=$((10#$up_end * 10000 - 10#$up_begin * 10000 - passed))
	result "$([ ${d#-} -le $((passed / 100 + 300000)) ]; echo $?)" "$name: uptime goes as fast" "$d us off in $passed us"
	result "$([ ${begin#-} -le 2000000 ]; echo $?)" "$name: the guest knows the time of day" "$begin us off"
	result "$([ ${rtc#-} -le 2 ]; echo $?)" "$name: the real-time clock agrees" "$rtc s off"
done
