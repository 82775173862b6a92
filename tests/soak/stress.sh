#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian on two processors under all classes of stress-ng, with --verify, for an hour, while its own code is traced, patched
# and loaded: no oops, no stall, no lockup, no drift of its clocks against the host's, no growth of what the host
# spends on it.  SOAK_SECONDS, SOAK_CPUS, SOAK_MEMORY and SOAK_STRESSORS (a comma before each) make other runs; SOAK_LOG keeps the console.
# TIMEOUT: 10000
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
export PATH=$PATH:/usr/sbin:/sbin
seconds=${SOAK_SECONDS:-3600} cpus=${SOAK_CPUS:-2} memory=${SOAK_MEMORY:-2G} turns=3
log=${SOAK_LOG:-$tmp/soak.log}

cat >"$tmp/setup" <<'END'
set -e
chmod 755 /usr/local/bin/soak
# Nobody but the soak has the serial terminal.
systemctl mask --quiet serial-getty@ttyS0.service
cat >/etc/systemd/system/soak.service <<'U'
[Unit]
Description=Soak
ConditionKernelCommandLine=penumbra.soak
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/local/bin/soak
ExecStopPost=/usr/bin/systemctl --no-block poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
# Nobody but the clocks under test sets the time.
CapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_BOOT
TasksMax=infinity
LimitNOFILE=65536
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
U
systemctl enable --quiet soak.service
systemctl mask --quiet systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer
END
"$PENUMBRA" image debian --size 6G --packages stress-ng --setup "$tmp/setup" --copy /usr/local/bin/soak=tests/guest/soak/stress.sh \
	"$tmp/disk" >"$tmp/image.out" 2>&1 </dev/null
result $? "a Debian disk with stress-ng is built" "$(tail -n 3 "$tmp/image.out")"

# What the host spends on the processes of a session, in KiB: proportional memory, page tables, guest RAM within the first.
spent() { # session
	local pid pids
	pids=$(pgrep -s "$1")
	for pid in $pids; do cat "/proc/$pid/smaps_rollup" "/proc/$pid/status"; done 2>/dev/null |
		awk '$1 == "Pss:" || $1 == "VmPTE:" { sum += $2 } END { printf "%d ", sum }'
	for pid in $pids; do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = penumbra ] || continue
		stat -L -c '%n %b' /proc/"$pid"/fd/* 2>/dev/null | while read -r fd blocks; do
			[[ $(readlink "$fd") != *memfd:penumbra-ram* ]] || echo $((blocks / 2))
		done
		return
	done
}

# The console, each line after the host's time when it came; `spent` at each mark.
watch() {
	local line mark
	while IFS= read -r line; do
		line=${line%$'\r'}
		printf '%s %s\n' "$EPOCHREALTIME" "$line" >>"$log"
		case $line in
		"mark "*)
			mark=${line#mark }
			echo "$mark $(spent "$(cat "$tmp/session")")" >>"$tmp/spent"
			;;
		esac
	done
}
: >"$log"
: >"$tmp/spent"
mkfifo "$tmp/console"
# shellcheck disable=SC2016
setsid bash -c 'echo $$ >"$0"; exec "$@"' "$tmp/session" "$PENUMBRA" run --accel "$ACCEL" --cpus "$cpus" --memory "$memory" --disk "$tmp/disk" \
	--timeout $((seconds * 2 + 1200)) --append "quiet loglevel=5 penumbra.soak=$seconds,$turns${SOAK_STRESSORS:-}" </dev/null >"$tmp/console" 2>&1 &
machine=$!
watch <"$tmp/console"
wait $machine
status=$?

text() { sed 's/^[0-9.]* //' "$log"; }
trouble=$(text | grep -aE -m 3 "$guest_trouble")
[ $status = 0 ] && text | grep -aqx done && [ -z "$trouble" ]
result $? "the guest lasts and its log is clean" "status $status, ${trouble:-$(text | tail -n 3)}"
failed=$(text | grep -a -A 3 '^not ok ')
passed=$(text | grep -ac '^ok ')
[ -z "$failed" ] && [ "$passed" -ge $((turns * 5)) ]
result $? "no stressor fails" "$passed passed; $failed"

# Of the readings at the beginning and at the end those that came through fastest tell the difference of the clocks:
# time of day in microseconds, time since the start (hundredths of a second) in 10 ms.
drift=$(grep -a ' clock ' "$log" | awk '
	function us(t) { sub(/\./, "", t); return t + 0 }
	{ sub(/\r/, ""); at[NR] = us($1); day[NR] = at[NR] - us($3); up[NR] = at[NR] - us($4) * 10000 }
	END {
		n = NR < 160 ? int(NR / 2) : 80
		for (i = 1; i <= n; i++) { if (i == 1 || day[i] < d0) d0 = day[i]; if (i == 1 || up[i] < u0) u0 = up[i] }
		for (i = NR - n + 1; i <= NR; i++) { if (i == NR - n + 1 || day[i] < d1) d1 = day[i]; if (i == NR - n + 1 || up[i] < u1) u1 = up[i] }
		printf "%d %d %d", d1 - d0, u1 - u0, at[NR] - at[1]
	}')
read -r day up passed_us <<<"$drift"
# A time slice on a busy host, and a hundredth of a second for the second one.
limit=$((passed_us / 20000 + 20000))
[ "${passed_us:-0}" -gt 0 ] && [ ${day#-} -le $limit ] && [ ${up#-} -le $((limit + 10000)) ]
result $? "the clocks do not drift" "time of day $day us, time since the start $up us in $passed_us us"

# After each turn the guest has done the same; the first ones fill caches and find how many processes there are.  Its RAM
# is what it was given; the rest must not grow.
read -r _ first first_ram < <(tail -n 2 "$tmp/spent" | head -n 1)
read -r _ last last_ram < <(tail -n 1 "$tmp/spent")
[ "$(wc -l <"$tmp/spent")" = $turns ] && [ $((last - last_ram)) -le $(((first - first_ram) * 11 / 10 + 32768)) ]
result $? "the host's memory does not grow" "beyond RAM: $((first - first_ram)) KiB after the last but one, $((last - last_ram)) after the last"
echo "# $passed stressors, drift $day us of $passed_us us, beyond RAM $((first - first_ram)) then $((last - last_ram)) KiB, RAM $last_ram KiB"
