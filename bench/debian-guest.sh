#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs inside the Debian system that bench/debian made, in a guest or natively after chroot: each measure named prints
# `bench NAME NANOSECONDS`, the time of one unit of its work.
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
work=/var/tmp/bench
rm -rf $work && mkdir -p $work && cd $work || exit 1

micros() { now=${EPOCHREALTIME/./}; }
# In a guest the kernel's log is the way out: a login prompt hangs up a terminal that is open.
say() { if [ -n "${BENCH_LOG-}" ]; then echo "<1>$*" >/dev/kmsg; else echo "$*"; fi; }
report() { say "bench $1 $2"; }
# Time of a command, in nanoseconds divided by `units`.
timed() { # name units command...
	local name=$1 units=$2 from
	shift 2
	micros; from=$now
	if "$@" >$work/out 2>&1; then
		micros
		report "$name" $(((now - from) * 1000 / units))
	else
		report "$name" failed
		say "$(tail -n 1 $work/out)"
	fi
}
per_second() { # name operations-per-second
	case $2 in '' | *[!0-9.]*) report "$1" failed ;; *) report "$1" "$(awk -v v="$2" 'BEGIN { printf "%d", 1e9 / v }')" ;; esac
}
seconds=5
cpus=$(nproc)

m_openssl() { openssl speed -seconds 2 -bytes 16384 sha256 >$work/out 2>&1; per_second openssl "$(awk '/^sha256/ { sub("k", "", $2); print $2 / 16 }' $work/out)"; }
m_gzip() {
	head -c 64M /usr/lib/x86_64-linux-gnu/libicudata.so.72 /usr/bin/python3.11 /usr/lib/gcc/x86_64-linux-gnu/12/cc1 2>/dev/null >input
	timed gzip 1 gzip -6 -c input
}
m_python() {
	timed python 1 python3 -c 'import hashlib, json, re
words = [str(i * 7919 % 100003) for i in range(100000)]
table = {}
for r in range(8):
    for w in words: table[w] = table.get(w, 0) + len(w)
text = json.dumps(table); json.loads(text); re.findall(r"\d+9", text); sorted(words)'
}
m_gcc() { rm -rf o; mkdir o; timed gcc 1 make -s -C /srv/source -j1 -f /srv/source/bench.mk OUT=$work/o; }
m_parallel() { # the same work by one processor and by all: both are reported
	openssl speed -seconds 3 -bytes 16384 sha256 >$work/out 2>&1
	per_second parallel_one "$(awk '/^sha256/ { sub("k", "", $2); print $2 }' $work/out)"
	# A program for each: with -multi openssl prints what its children say in any order.
	local c
	for ((c = 0; c < cpus; c++)); do taskset -c "$c" openssl speed -seconds 3 -bytes 16384 sha256 >$work/out.$c 2>&1 & done
	wait
	per_second parallel_all "$(awk '/^sha256/ { sub("k", "", $2); v += $2 } END { printf "%.2f", v }' $work/out.*)"
}
# In the manner of UnixBench and lmbench, by bench/classic.c.
m_classic() { while read -r _ name value; do report "$name" "$value"; done < <(/usr/local/bin/classic); }
# UnixBench's script: one at a time, and eight at once (a unit is all eight).
m_scripts() {
	cat >script <<'X'
sort </etc/services >$1.1 && od -x <$1.1 >$1.2 && grep -c the <$1.2 >$1.3
tee $1.4 <$1.1 | wc >/dev/null
rm -f $1.?
X
	scripts() { # at-once times
		local i j
		for ((i = 0; i < $2; i++)); do
			for ((j = 0; j < $1; j++)); do sh ./script s$j & done
			wait
		done
	}
	timed scripts_one 50 scripts 1 50
	timed scripts_eight 10 scripts 8 10
}
m_sqlite() {
	timed sqlite 1 sqlite3 db 'create table t (i integer primary key, v text);
begin; with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) insert into t select i, hex(i * 7919) from n; commit;
create index v on t (v); select count(*), sum(length(v)) from t where v > "3"; select count(*) from t a join t b on a.v = b.v;'
}
postgres() { su postgres -c "PATH=$(echo /usr/lib/postgresql/*/bin):\$PATH; cd /tmp; $*"; }
m_pgbench() {
	mkdir pg && chown postgres pg
	{ postgres initdb -D $work/pg -A trust && postgres pg_ctl -D $work/pg -w -o "'-k /tmp -c listen_addresses='" -l /tmp/pg.log start &&
		postgres pgbench -h /tmp -i -q -s 5 postgres; } >out 2>&1 || { report pgbench_read failed; say "$(tail -n 1 out)"; return; }
	per_second pgbench_read "$(postgres pgbench -h /tmp -S -c 4 -T $seconds postgres 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p')"
	per_second pgbench_write "$(postgres pgbench -h /tmp -N -c 4 -T $seconds postgres 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p')"
	postgres pg_ctl -D $work/pg -w -m fast stop >/dev/null
}
m_redis() {
	redis-server --port 0 --unixsocket $work/redis --save '' --daemonize yes >/dev/null
	until redis-cli -s $work/redis ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
	redis-benchmark -s $work/redis -q --csv -n 200000 -c 20 -t set,get >out 2>&1
	per_second redis_set "$(awk -F'"' '$2 == "SET" { print $4 }' out)"
	per_second redis_get "$(awk -F'"' '$2 == "GET" { print $4 }' out)"
	redis-cli -s $work/redis shutdown nosave >/dev/null 2>&1
}
fio_run() { # name mode: nanoseconds for a MiB
	local rate
	rate=$(fio --name=x --filename=$work/fio --size=512M --bs=1M --rw="$2" --direct=1 --ioengine=psync --end_fsync=1 \
		--output-format=terse 2>/dev/null | awk -F';' -v f="$3" '{ print $f / 1024 }')
	per_second "$1" "$rate"
}
m_fio() {
	fio_run fio_write write 48
	fio_run fio_read read 7
}
m_fork() { timed fork 1000 bash -c 'i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i + 1)); done'; }

# Serves for measures from outside, until somebody connects to port 9.
m_serve() {
	head -c 16384 /dev/zero >/var/www/html/16k
	nginx
	iperf3 -s -D
	say "bench-serving"
	python3 -c 'import socket
s = socket.create_server(("0.0.0.0", 9)); s.accept()'
}

for measure in "$@"; do "m_$measure"; done
cd / && rm -rf $work
