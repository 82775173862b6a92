#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# penumbra exec: programs of the host, translated, against the same programs run natively: output, errors and status.
# TIMEOUT: 280
set -u
tmp=${TEST_TMP:-$(mktemp -d)}

# Runs the words both ways; both leave the same standard output and status.
same() { # name words...
	local name=$1 native translated
	shift
	if ! command -v "$1" >/dev/null; then
		echo "ok - $name # SKIP no $1"
		return
	fi
	timeout 60 "$@" >"$tmp/native" 2>"$tmp/native.err" </dev/null
	native=$?
	timeout 120 "$PENUMBRA" exec -- "$@" >"$tmp/translated" 2>"$tmp/translated.err" </dev/null
	translated=$?
	if [ $native = $translated ] && cmp -s "$tmp/native" "$tmp/translated" && cmp -s "$tmp/native.err" "$tmp/translated.err"; then
		echo "ok - $name"
	else
		echo "not ok - $name: status $native natively, $translated translated; $(diff "$tmp/native" "$tmp/translated" | head -n 3 | tr '\n' '|') $(
			diff "$tmp/native.err" "$tmp/translated.err" | head -n 3 | tr '\n' '|')"
	fi
}

# A program of ours in C.
built() { # name flags...
	local name=$1
	shift
	gcc -O1 -Wall -Werror -pthread -o "$tmp/$name" "tests/exec/$name.c" "$@" && same "$name.c" "$tmp/$name"
}

same "true" true
built signals -lm
built threads
built atomics
built returns
built filter -lseccomp
PENUMBRA_TEST_KNOBS=hot=65536 same "small code cache" bash -c 'for ((i = 0; i < 300; i++)); do s=$((s + i)); x=${x/a/b}a; done; echo $s ${#x}; (exit 3)'
PENUMBRA_TEST_KNOBS=hot=65536 same "small code cache, signals" "$tmp/signals"
PENUMBRA_TEST_KNOBS=hot=65536 same "small code cache, threads" "$tmp/threads"
cat >"$tmp/threads.py" <<'PROGRAM'
import hashlib, json, re, threading, zlib
out = {}
def work(n):
    h = hashlib.sha256()
    for i in range(8):
        s = json.dumps({"a": list(range(n * 10 + i)), "b": "x%d" % i})
        h.update(zlib.compress(s.encode()))
        h.update(re.sub(r"(\d)(\d)", r"\2\1", s).encode())
    out[n] = h.hexdigest()
t = [threading.Thread(target=work, args=(i,)) for i in range(5)]
[x.start() for x in t]; [x.join() for x in t]
print(sorted(out.items()))
PROGRAM
PENUMBRA_TEST_KNOBS=hot=131072 same "small code cache, python's threads" /usr/bin/python3 "$tmp/threads.py"
same "status" sh -c 'exit 7'
same "death by signal" sh -c 'kill -TERM $$'
same "core signal" bash -c 'ulimit -c 0; kill -SEGV $$'
same "no such program" sh -c '/does/not/exist'
same "static busybox" busybox sh -c 'for i in 1 2 3; do echo $i | busybox tr 1 x; done'
same "pipes" bash -c 'seq 100000 | sort -rn | tail -n 3 | while read -r x; do echo "$x"; done'
same "arithmetic" bash -c 'for ((i = 0; i < 20000; i++)); do s=$((s + i * i)); done; echo $s'
same "traps" bash -c 'trap "echo usr1" USR1; kill -USR1 $$; trap "echo bye" EXIT; (exit 3); echo $?'
printf '#!/bin/sh -e\necho script "$0" "$@"\n' >"$tmp/script"
printf '#!%s\nnested\n' "$tmp/script" >"$tmp/nested"
chmod +x "$tmp/script" "$tmp/nested"
same "script" "$tmp/script" a b
same "script of a script" "$tmp/nested" c
same "perl" perl -e 'my %h; $h{$_ % 97} += $_ for 1 .. 100000; print join(",", map { "$_=$h{$_}" } sort { $a <=> $b } keys %h), "\n"'
same "python" /usr/bin/python3 -c 'import json, re, hashlib, threading
t = [threading.Thread(target=lambda: sum(range(10000))) for _ in range(4)]
[x.start() for x in t]; [x.join() for x in t]
print(hashlib.sha256(json.dumps(list(range(1000))).encode()).hexdigest(), re.findall(r"a(b+)c", "abc abbc"))'
same "subprocesses" /usr/bin/python3 -c 'import subprocess
print([subprocess.run(["sh", "-c", f"exit {i}"]).returncode for i in range(8)], subprocess.check_output(["echo", "x"]))'
same "sqlite" sqlite3 :memory: 'create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 5000)
insert into t select x, x * x % 97 from c; select b, count(*), sum(a) from t group by b order by b limit 5'
same "luajit" luajit -e 'local s = 0 for i = 1, 1e7 do s = s + i % 7 end print(s)'
same "node" node -e 'let s = 0; for (let i = 0; i < 3e6; i++) s += i % 7; console.log(s, [3, 1, 2].sort(), JSON.stringify({ a: [1, 2] }))'
same "gzip" sh -c 'seq 50000 | gzip -9 | gzip -d | sha256sum'
same "openssl" sh -c 'seq 50000 | openssl dgst -sha512; seq 5000 | openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -nosalt | sha256sum'
printf 'int printf(const char *, ...);\nint main(void) { return printf("compiled\\n") - 9; }\n' >"$tmp/hello.c"
same "compiler" sh -c "gcc -O2 -o $tmp/hello $tmp/hello.c && $tmp/hello"
