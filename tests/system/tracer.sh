#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The kernel's function tracers: each one patches all of the kernel's functions, three times each, while they run; on
# one processor and on two, without a stall, and without a change of carrier for each patch.
# TIMEOUT: 300
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh

cat >"$tmp/tracer.sh" <<'END'
#!/bin/sh
mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing || exit 1
for tracer in function nop function_graph nop; do echo $tracer >current_tracer || echo "not ok traced: $tracer"; done
echo function >current_tracer
/bin/true
echo 0 >tracing_on
lines=$(head -n 2000 trace | grep -c '<-')
[ "$lines" -gt 1000 ] && echo "ok traced" || echo "not ok traced: $lines lines"
echo 1 >tracing_on
echo nop >current_tracer
END
guest/build.sh overlay "$initrd" "$tmp/initrd" tracer.sh="$tmp/tracer.sh"
initrd=$tmp/initrd
for cpus in 1 2; do
	guest_run tracer "$quiet penumbra.run=/tracer.sh" --cpus $cpus --timeout 140 --stats "$tmp/stats"
	guest_clean "tracers on $cpus processors"
	guest_results "$cpus processors:" traced
	switches=$(sed -n 's/.*"carrier_switches": *\([0-9]*\).*/\1/p' "$tmp/stats")
	[ "${switches:-999999}" -lt 20000 ]
	result $? "code is written without changing carriers, $cpus processors" "$switches changes"
done
