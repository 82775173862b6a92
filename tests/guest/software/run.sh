#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs in the guest: Debian's user land at work, each job with a result that is known beforehand.
# Prints `ok NAME` or `not ok NAME: what came instead`.
cd /tmp || exit 1
export LC_ALL=C HOME=/tmp
long=$1
busybox ip link set lo up
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || ln -s fd/0 /dev/stdin

is() { # name wanted got
	if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '${3//$'\n'/ | }' instead of '${2//$'\n'/ | }'"; fi
}
run() { # name command...
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then echo "ok $name"; else echo "not ok $name: status $? ${out: -300}"; fi
}

is bash "15847656 2001000" "$(
	for ((i = 1; i <= 2000; i++)); do x=$((x * 31 + i & 0xffffff)); done
	a=()
	for i in {1..2000}; do a+=("$i"); done
	IFS=+
	echo "$x $((${a[*]}))"
)"
is perl '2121674368 2000 0.625511460558489 1999000' "$(perl -e '
	my $s = 0;
	for my $i (1..300000) { $s = ($s * 31 + unpack("N", pack("N", $i ^ ($s & 0xffff)))) & 0xffffffff; }
	my $t = "abc,def;" x 1000, my $n = 0, my %h;
	$n++ while $t =~ /(\w+)[,;]/g;
	$h{"key$_"} = $_ for 0..1999;
	my $sum = 0;
	$sum += $h{$_} for sort keys %h;
	printf "%d %d %.15g %d", $s, $n, sin(1) ** exp(1), $sum;')"
is python "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0 2568 24133" "$(python3 -c '
import hashlib, math
primes = [n for n in range(2, 24200) if all(n % k for k in range(2, math.isqrt(n) + 1))]
print(hashlib.sha256(b"a" * 1000000).hexdigest(), len(str(math.factorial(1000))), primes[2686] if len(primes) > 2686 else primes[-1])')"
is luajit 549450 "$(luajit -e 'local s = 0 for i = 1, 3e7 do s = (s * 3 + i) % 1000003 end print(s)')"
is luajit-interpreter 409470 "$(luajit -joff -e 'local s = 0 for i = 1, 3e6 do s = (s * 3 + i) % 1000003 end print(s)')"
is nodejs 183180 "$(node -e 'let s = 0; for (let i = 0; i < 3e7; i++) s = (s * 3 + i) % 1000003; console.log(String(s))')"
is nodejs-garbage 499999500000 "$(node -e '
	let sum = 0; for (let r = 0; r < 100; r++) { const a = []; for (let i = 0; i < 10000; i++) a.push({ v: r * 10000 + i, s: "x" + i });
	sum += a.map(o => o.v).reduce((p, q) => p + q, 0); } console.log(String(sum));')"

digests="a9993e364706816aba3e25717850c26c9cd0d89d
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532
508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
is openssl-digests "$digests" "$(for d in sha1 sha256 sha512 sha3-256 blake2s256; do printf abc | openssl dgst -r -$d | cut -d' ' -f1; done)"
is openssl-aes "69c4e0d86a7b0430d8cdb78070b4c55a" "$(printf '\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff' |
	openssl enc -aes-128-ecb -nopad -K 000102030405060708090a0b0c0d0e0f | od -An -tx1 | tr -d ' \n')"
is openssl-chacha20 "76b8e0ada0f13d90405d6ae55386bd28" "$(head -c 16 /dev/zero |
	openssl enc -chacha20 -K $(printf '0%.0s' {1..64}) -iv $(printf '0%.0s' {1..32}) | od -An -tx1 | tr -d ' \n')"
run openssl-keys bash -c 'for k in "RSA -pkeyopt rsa_keygen_bits:2048" "EC -pkeyopt ec_paramgen_curve:P-256" ED25519; do
	openssl genpkey -quiet -algorithm $k -out key && openssl pkey -in key -pubout -out public && echo text >text || exit 1
	openssl pkeyutl -sign -inkey key -rawin -in text -out signature && openssl pkeyutl -verify -pubin -inkey public -rawin -in text -sigfile signature || exit 1
	echo other >text; ! openssl pkeyutl -verify -pubin -inkey public -rawin -in text -sigfile signature || exit 1; done'
run openssl-speed openssl speed -seconds 1 -bytes 1024 -evp aes-128-gcm

is sqlite3 "ok ok 30000 450015000 20000 ok 300000000" "$(sqlite3 x.db <<'Q' | tr '|\n' '  ' | sed 's/ *$//'
create table t(a integer primary key, b text); create index i on t(b);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 30000) insert into t select x, hex(x * 7919 % 65521) from c;
pragma integrity_check;
begin; delete from t where a % 2; update t set b = b || 'x' where a % 3 = 0; rollback;
pragma integrity_check;
select count(*), sum(a) from t;
begin; delete from t where a % 3 = 0; commit; vacuum;
select count(*) from t;
pragma integrity_check;
select sum(a) from t;
Q
)"
run sqlite3-transactions bash -c 'for i in {1..300}; do echo "begin; insert into n values($i); update m set v = v + $i; commit;"; done |
	cat <(echo "create table n(v); create table m(v); insert into m values(0);") - <(echo "select v, (select sum(v) from n) from m;") |
	sqlite3 y.db | grep -x "45150|45150"'

head -c 8000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >random
is openssl-stream facaeb12cf0038279f4e4fc45377daec7bdff1e79a6bfc835798b4a555342e83 "$(sha256sum <random | cut -d' ' -f1)"
{ head -c 3000000 random; seq 1 300000; head -c 1000000 /dev/zero; } >data
for z in "gzip -1" "gzip -9" "xz -0" "zstd -1" "zstd -9" "bzip2 -1"; do
	run "round-trip-${z/ /}" bash -c "set -o pipefail; $z -c <data | ${z%% *} -dc | cmp - data"
done

for p in threads signals memory; do run $p timeout 100 /t/$p; done
run strace bash -c 'strace -f -o trace bash -c "(exit 3); true; ls / >/dev/null" && grep -q "execve(\"/" trace && grep -q "exited with 3" trace && grep -q "exit_group(0)" trace'
LC_ALL=C.UTF-8 timeout 100 gdb -q -batch -x /t/commands.gdb /t/prog >gdb.out 2>&1
for line in "Breakpoint 1, work" "#1 .*in main" "^Old value = 0" "^New value = 3" "^New value = 12" "Breakpoint 3, leaf (x=x@entry=3)" \
	"#2 .*in main" "Hardware read watchpoint" "Value = 12" "printed 45"; do
	grep -q "$line" gdb.out || { echo "not ok gdb: no line '$line': $(tail -n 5 gdb.out | tr '\n' '|')"; gdb_failed=1; }
done
[ -n "$gdb_failed" ] || echo "ok gdb"

tests="test_struct test_float test_zlib test_re test_thread test_mmap"
seconds=1
[ -z "$long" ] || tests="test_math test_long test_float test_struct test_zlib test_hashlib test_re test_json test_decimal test_signal
	test_threading test_subprocess test_mmap test_socket test_asyncio test_pickle test_unicode test_bytes test_list test_dict test_set
	test_generators test_coroutines test_ssl test_bz2 test_lzma test_gzip test_tarfile test_zipfile test_ctypes test_fork1
	test_wait4 test_faulthandler test_gc test_weakref test_io test_os test_posix test_pty test_select test_epoll test_time"
[ -z "$long" ] || seconds=5
# shellcheck disable=SC2086 # words
run python-tests python3 -m test -i 'test_find_library*' $tests
if [ -z "$long" ]; then
	for s in cpu vm qsort matrix futex switch sigsegv sigfpe itimer fork mmap mremap memcpy vecwide pipe clone longjmp atomic opcode; do
		run "stress-ng-$s" stress-ng --verify --$s 1 -t 1 --vm-bytes 64M
	done
else
	for class in cpu vm scheduler interrupt memory pipe; do
		run "stress-ng-class-$class" stress-ng --seq 1 --class $class --verify -t $seconds --vm-bytes 64M \
			-x mmaphuge,bigheap,brk,stack,swap,oom-pipe,resources
	done
	for s in sigabrt sigchld sigfd sigfpe sigio sigpending sigpipe sigq sigrt sigsegv sigsuspend sigtrap; do
		run "stress-ng-$s" stress-ng --verify --$s 1 -t $seconds
	done
fi
