#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Translations of penumbra exec that are kept on disk: later runs of any program use them, and nothing that lies in the
# directory can make a program fail.  Then the programs of exec.sh from a warm cache.
# TIMEOUT: 600
set -u
runtime_words() {
	local limit=${PENUMBRA_TEST_KNOBS:-hot=0}
	echo "tier=1 limit=${limit#hot=} keep=7:${#KEEP}:$KEEP"
}
export KEEP=${TEST_TMP:=$(mktemp -d)}/kept
export TEST_TMP
tmp=$TEST_TMP dir=$tmp/dir seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
echo "# seed $seed"
RANDOM=$((seed & 0x7fff))
front=$PENUMBRA runtime=$(realpath "${BUILD:-build}/penumbra-exec")
figure() { sed -n "s/^ *\"$1\": *\([0-9]*\),*$/\1/p" "$tmp/report"; }
result() { # status, name, what is known
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2: $3"; fi
}
run() { rm -f "$tmp/report"; timeout 60 "$front" exec --translation-cache "$dir" --report "$tmp/report" -- "$@" >"$tmp/out" 2>"$tmp/err" </dev/null; }
files() { ls "$dir"/*.module; }
figures() { echo "$(figure blocks) translated, $(figure kept_used) used, $(figure kept_refused) refused, $(figure kept_new) new; $(head -c 200 "$tmp/err")"; }

# ---- cold and warm ----
work=(perl -e 'my %h; $h{$_ % 97} += $_ for 1 .. 2000; print join(",", map { "$_=$h{$_}" } sort { $a <=> $b } keys %h), "\n"')
"${work[@]}" >"$tmp/native"
umask 022
run "${work[@]}"
[ $? = 0 ] && cmp -s "$tmp/out" "$tmp/native" && (($(figure kept_used) == 0 && $(figure kept_new) > 1000))
result $? "a run without files" "$(figures)"
cold=$(figure blocks)
[ "$(stat -c '%a %u' "$dir" "$dir"/* | sort -u | tr '\n' ' ')" = "600 $(id -u) 700 $(id -u) " ]
result $? "it leaves files that are the user's alone" "$(ls -la "$dir")"
run "${work[@]}"
[ $? = 0 ] && cmp -s "$tmp/out" "$tmp/native" && (($(figure blocks) * 20 < cold && $(figure kept_used) * 10 > cold * 8))
result $? "the next one translates next to nothing" "$cold cold; $(figures)"
run true
[ $? = 0 ] && (($(figure kept_used) > $(figure blocks)))
result $? "another program uses what is known of its libraries" "$(figures)"
before=$(files | xargs sha256sum)
run "${work[@]}"
[ "$(files | xargs sha256sum)" = "$before" ]
result $? "a run that finds all that it needs writes nothing" "$(ls -la --full-time "$dir")"
rm -f "$tmp/report"
"$front" exec --translation-cache off --report "$tmp/report" -- true
(($(figure kept_used) == 0 && $(figure kept_new) == 0))
result $? "off" "$(figures)"

# ---- what changes ----
# A module at another address: a larger program before it.
cat >"$tmp/host.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
static char room[1 << 22] = { 1 };
int main(int n, char **v)
{
	void *h = dlopen(v[1], RTLD_NOW);
	int (*f)(int, const char *) = h ? (int (*)(int, const char *))dlsym(h, "work") : 0;
	return printf("%d %d\n", n, f ? f(n * room[0], "text") : -1) < 0;
}
C
cat >"$tmp/lib.c" <<'C'
#include <stdlib.h>
#include <string.h>
static int table[64], calls;
static int odd(int x) { calls++; return x * 3 + 1; }
static int even(int x) { calls++; return x / 2; }
static int (*const step[])(int) = { even, odd };
__attribute__((noinline)) static int walk(int x)
{
	int n = 0;
	while (x != 1 && n < 1000)
		table[n++ & 63] = x = step[x & 1](x);
	return n;
}
int work(int n, const char *s)
{
	int sum = n + (int)strlen(s) + ADD;
	for (int i = 1; i < 500; i++)
		switch (i % 7) {
		case 0: sum += walk(i); break;
		case 1: sum ^= table[i & 63]; break;
		case 2: sum -= calls; break;
		case 3: sum += atoi("12"); break;
		case 4: sum *= 3; break;
		case 5: sum ^= (int)(long)strchr(s, 'x') - (int)(long)s; break;
		default: sum += i;
		}
	return sum;
}
C
gcc -O1 -o "$tmp/small" "$tmp/host.c" && gcc -O1 -static-pie -o /dev/null "$tmp/host.c" 2>/dev/null
sed 's/1 << 22/1 << 26/' "$tmp/host.c" >"$tmp/large.c" && gcc -O1 -o "$tmp/large" "$tmp/large.c"
library() { gcc -O1 -fPIC -shared -DADD="$1" -o "$tmp/lib.new" "$tmp/lib.c"; }
library 5 && cp "$tmp/lib.new" "$tmp/lib.so"
native=$("$tmp/small" "$tmp/lib.so")
run "$tmp/small" "$tmp/lib.so"
run "$tmp/large" "$tmp/lib.so"
used=$(figure kept_used)
[ "$(cat "$tmp/out")" = "$native" ] && ((used > 200))
result $? "a module at another address" "$native natively, $(cat "$tmp/out"); $(figures)"
# The same file with other contents, and all that names it as it was.
stamp=$(stat -c %y "$tmp/lib.so")
library 6 && cat "$tmp/lib.new" >"$tmp/lib.so" && touch -d "$stamp" "$tmp/lib.so"
native=$("$tmp/small" "$tmp/lib.so")
run "$tmp/small" "$tmp/lib.so"
[ "$(cat "$tmp/out")" = "$native" ] && (($(figure kept_refused) > 0))
result $? "a changed file under an old date" "$native natively, $(cat "$tmp/out"); $(figures)"
touch "$tmp/lib.so"
run "$tmp/small" "$tmp/lib.so"
[ "$(cat "$tmp/out")" = "$native" ] && (($(figure kept_refused) == 0 && $(figure blocks) > 10))
result $? "a changed date" "$native natively, $(cat "$tmp/out"); $(figures)"
for host in 7 8; do
	"$runtime" "tier=1 passes=0 keep=$host:${#dir}:$dir report=$tmp/report" "$(type -P true)" true
	[ $host = 7 ] && continue
	(($(figure kept_used) == 0 && $(figure kept_new) > 100))
	result $? "another processor" "$(figures)"
done
"$runtime" "tier=1 passes=0 keep=7:${#dir}:$dir report=$tmp/report" "$(type -P true)" true
(($(figure kept_used) > 100))
result $? "the same processor again" "$(figures)"

# ---- files that may not be used ----
good=$tmp/good
run "${work[@]}"
rm -rf "$dir"
for _ in 1 2 3; do run "${work[@]}"; done
warm=$(figure kept_used)
cp -a "$dir" "$good"
restore() { chmod -R u+rwX "$dir"; rm -rf "$dir"; cp -a "$good" "$dir"; }
right() { # name, condition
	cmp -s "$tmp/out" "$tmp/native" && [ ! -s "$tmp/err" ] && (($2))
	result $? "$1" "$(figures)"
	restore
}
big=$(ls -S "$dir" | head -n 1)
size=$(stat -c %s "$dir/$big") bad=0 refused=0
put() { dd of="$dir/$big" bs=1 seek="$1" conv=notrunc status=none; }
# Every byte of the head, then anywhere: in the index, and in templates of which this run needs most.
for ((i = 0; i < 60; i++)); do
	case $((i % 3)) in
	0) at=$((RANDOM % 160)) n=1 ;;
	1) at=$(((RANDOM * 32768 + RANDOM) % size)) n=$((1 + RANDOM % 8)) ;;
	*) at=$(((RANDOM * 32768 + RANDOM) % size)) n=$((1 + RANDOM % 20000)) ;;
	esac
	head -c $n /dev/urandom | put $at
	timeout 60 "$front" exec --translation-cache "$dir" --report "$tmp/report" -- "${work[@]}" >"$tmp/out" 2>"$tmp/err"
	[ $? = 0 ] && cmp -s "$tmp/out" "$tmp/native" || { bad=$((bad + 1)); echo "# $n bytes at $at"; }
	(($(figure blocks) > 40)) && refused=$((refused + 1))
	cp -a "$good/$big" "$dir/$big"
done
[ $bad = 0 ] && ((refused > 20))
result $? "60 damaged files" "$bad went wrong, $refused noticed"
restore
for cut in 0 1 100 168 4096 $((size / 2)) $((size - 1)); do
	truncate -s "$cut" "$dir/$big"
	run "${work[@]}"
	cmp -s "$tmp/out" "$tmp/native" || bad=$((bad + 1))
	restore
done
result $((bad != 0)) "files cut short" "$bad went wrong"
# Mapped when it is cut: the file's pages are gone under the runtime's feet.
cat >"$tmp/cut.pl" <<P
truncate("$dir/$big", 4096) or die; my \$n = 0; \$n += length sprintf("%e %s", \$_, join ",", reverse 1 .. \$_) for 1 .. 30; print "\$n\n";
P
native=$(perl "$tmp/cut.pl")
restore
run perl "$tmp/cut.pl"
[ "$? $(cat "$tmp/out")" = "0 $native" ]
result $? "a file cut while it is used" "$(cat "$tmp/out") $(figures)"
restore
chmod 644 "$dir/$big"; run "${work[@]}"; right "a file open to others is not used" "$(figure kept_used) * 10 < warm * 9"
chmod 755 "$dir"; timeout 60 "$front" exec --translation-cache "$dir" --report "$tmp/report" -- "${work[@]}" >"$tmp/out" 2>"$tmp/err"
[ "$(grep -c -- '--translation-cache' "$tmp/err")" = 1 ] && cmp -s "$tmp/out" "$tmp/native" && (($(figure kept_used) == 0))
result $? "a directory open to others is not used, with one line" "$(figures)"
restore
mv "$dir/$big" "$tmp/elsewhere"; ln -s "$tmp/elsewhere" "$dir/$big"; run "${work[@]}"; right "a link is not followed" "$(figure kept_used) * 10 < warm * 9"
head -c 16 /dev/urandom >"$dir/key"; run "${work[@]}"; right "files of another key are not used" "$(figure kept_used) == 0"
rm -f "$dir/$big"; mkdir "$dir/$big"; run "${work[@]}"; right "a directory in a file's place" "1"
rm -f "$dir/$big"; mkfifo -m 600 "$dir/$big"; run "${work[@]}"; right "a pipe in a file's place" "1"

# ---- where nothing can be written ----
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	rm -rf "$dir" && mkdir -m 700 "$dir"
	head -c 16 /dev/urandom >"$dir/key" && chmod 600 "$dir/key"
	export -f figure figures result
	unshare -m bash -c 'mount -t tmpfs -o size=20k,mode=700 none "$0" && head -c 16 /dev/urandom >"$0/key" && chmod 600 "$0/key" && shift && "$@"
		echo "$? $(ls "$0" | grep -c new)" >&2' "$dir" - "$front" exec --translation-cache "$dir" -- "${work[@]}" >"$tmp/out" 2>"$tmp/err"
	cmp -s "$tmp/out" "$tmp/native" && [ "$(cat "$tmp/err")" = "0 0" ]
	result $? "a full disk" "$(cat "$tmp/err")"
	unshare -m bash -c 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && shift && exec "$@"' "$dir" - "$front" exec --translation-cache "$dir" \
		-- "${work[@]}" >"$tmp/out" 2>"$tmp/err"
	cmp -s "$tmp/out" "$tmp/native" && [ ! -s "$tmp/err" ] && [ "$(ls "$dir")" = key ]
	result $? "a file system that is read only" "$(cat "$tmp/err") $(ls "$dir")"
fi
rm -rf "$dir"
mkdir -m 700 "$dir"
head -c 16 /dev/urandom >"$dir/key" && chmod 600 "$dir/key"
(ulimit -f 8; exec "$runtime" "tier=1 keep=7:${#dir}:$dir" "$(type -P bash)" bash -c 'echo $((1 + 1)); exec true') >"$tmp/out" 2>"$tmp/err"
[ "$? $(cat "$tmp/out" "$tmp/err")" = "0 2" ] && ! ls "$dir" | grep -q new
result $? "a limit of the size of files" "$(cat "$tmp/out" "$tmp/err") $(ls -la "$dir")"
rm -rf "$dir"

# ---- several at once, and room ----
for _ in 1 2; do
	pids=()
	for i in 1 2 3 4; do
		"$front" exec --translation-cache "$dir" -- "${work[@]}" >"$tmp/out.$i" 2>&1 &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	for i in 1 2 3 4; do cmp -s "$tmp/out.$i" "$tmp/native" || bad=$((bad + 1)); done
done
run "${work[@]}"
[ $bad = 0 ] && ! ls "$dir" | grep -q new && (($(figure blocks) * 20 < cold))
result $? "four at once" "$bad went wrong; $(ls "$dir") $(figures)"
touch -d '1 hour ago' "$dir/x.module" "$dir/y.module.7.new"
for p in ls date sed; do
	"$runtime" "tier=1 passes=0 room=400000 keep=7:${#dir}:$dir" "$(type -P $p)" $p --version >/dev/null
done
total=$(stat -c %s "$dir"/*.module | awk '{ n += $1 } END { print n }')
((total <= 400000)) && [ ! -e "$dir/x.module" ] && [ ! -e "$dir/y.module.7.new" ]
result $? "room for files is limited, and what was left half written goes" "$total bytes; $(ls "$dir")"

# ---- programs from a warm cache ----
mkdir -m 700 "$KEEP"
head -c 16 /dev/urandom >"$KEEP/key" && chmod 600 "$KEEP/key"
. "$(dirname "$0")/../lib/exec.sh" >"$tmp/cold" # runs them once
sed 's/^\(not ok\|ok\) - /&from an empty cache: /' "$tmp/cold"
. "$here/exec.sh" >"$tmp/warm"
sed 's/^\(not ok\|ok\) - /&from a warm cache: /' "$tmp/warm"
"$RUNTIME" "tier=1 passes=0 keep=7:${#KEEP}:$KEEP report=$tmp/report" "$(type -P perl)" perl -e 1
(($(figure kept_used) > 1000 && $(figure blocks) * 10 < $(figure kept_used)))
result $? "they were warm" "$(figures)"
# Regions over kept blocks.
for words in "count=20" "count=20 returns=2" "count=5 limit=65536"; do
	for name in signals threads returns; do
		"$tmp/$name" >"$tmp/native" 2>&1
		timeout 100 "$RUNTIME" "tier=2 passes=4294967295 $words keep=7:${#KEEP}:$KEEP" "$tmp/$name" "$tmp/$name" >"$tmp/out" 2>&1
		cmp -s "$tmp/out" "$tmp/native"
		result $? "regions, $words, from a warm cache: $name.c" "$(diff "$tmp/native" "$tmp/out" | head -n 3 | tr '\n' '|')"
	done
done
