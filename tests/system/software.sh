#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian's software in the guest: interpreters and their own tests, compilers that write code as they run,
# databases, archives, cryptography, threads, signals, debuggers, a C compiler on this project's own source.
# SOFTWARE_LONG=1 runs more and longer tests.
# TIMEOUT: 280
set -u
. tests/lib/guest.sh
long=${SOFTWARE_LONG:-}
guest_need "$BUILD/guest/initrd-software" "$BUILD/guest/initrd-compiler" "$BUILD"/software/{threads,signals,memory,debug,prog}

names=(bash perl python luajit luajit-interpreter nodejs nodejs-garbage openssl-digests openssl-aes openssl-chacha20 openssl-keys
	openssl-speed openssl-stream sqlite3 sqlite3-transactions round-trip-{gzip-1,gzip-9,xz-0,zstd-1,zstd-9,bzip2-1} threads
	signals memory strace gdb python-tests)
if [ -n "$long" ]; then
	names+=(stress-ng-class-{cpu,vm,scheduler,interrupt,memory,pipe}
		stress-ng-sig{abrt,chld,fd,fpe,io,pending,pipe,q,rt,segv,suspend,trap})
else
	names+=(stress-ng-{cpu,vm,qsort,matrix,futex,switch,sigsegv,sigfpe,itimer,fork,mmap,mremap,memcpy,vecwide,pipe,clone,longjmp,atomic,opcode})
fi
guest/build.sh overlay "$BUILD/guest/initrd-software" "$tmp/software.img" t/run.sh=tests/guest/software/run.sh \
	t/commands.gdb=tests/guest/software/commands.gdb t/{threads="$BUILD/software/threads",signals="$BUILD/software/signals",memory="$BUILD/software/memory",prog="$BUILD/software/prog"}
for options in "" ${long:+pti=on}; do
	guest_run software "$quiet penumbra.exec=bash,/t/run.sh,$long $options" --initrd "$tmp/software.img" --memory 2G \
		--timeout "${long:+3}200" ${long:+--memory 4G}
	guest_results "${options:+$options: }software:" "${names[@]}"
	guest_clean "${options:+$options: }software leaves a clean log"
done

# Breakpoint registers and single steps, against the processor.
guest/build.sh overlay "$initrd" "$tmp/debug.img" "t/debug=$BUILD/software/debug"
"$BUILD/software/debug" >"$tmp/debug.host"
for options in "" pti=on; do
	guest_run debug "$quiet penumbra.exec=/t/debug $options" --initrd "$tmp/debug.img" --timeout 60
	grep -aE '^(step [a-z0-9A-Z ]+:|.*: [0-9]+ hits, dr6)' "$guest_log" >"$tmp/debug.guest"
	difference=$(diff "$tmp/debug.host" "$tmp/debug.guest")
	result $? "breakpoints and single steps are the processor's${options:+, $options}" "$difference"
	guest_clean "debugging leaves a clean log${options:+, $options}"
done

# The compiler: the same version makes the same objects wherever it runs.
cat >"$tmp/compile.sh" <<'X'
cd /t/source || exit 1
make -s -f /t/compile.mk -j2 >log 2>&1 || { echo "not ok compile: $(tail -n 3 log)"; exit 1; }
echo "ok compile"
sha256sum -- *.o | sha256sum
gcc --version | head -n 1
X
cat >"$tmp/compile.mk" <<'X'
objects := $(patsubst src/x86/%.c,%.o,$(wildcard src/x86/*.c))
all: $(objects)
%.o: src/x86/%.c
	gcc -std=gnu11 -O2 -Isrc -c -o $@ $<
X
mkdir -p "$tmp/host/src/x86" "$tmp/host/src/base"
cp src/x86/*.[ch] "$tmp/host/src/x86" && cp src/base/types.h "$tmp/host/src/base"
(cd "$tmp/host" && PATH=$PATH make -s -f "$tmp/compile.mk" -j2 && sha256sum -- *.o | sha256sum && gcc --version | head -n 1) >"$tmp/compile.host"
mapfile -t files < <(cd "$tmp/host" && find src -type f)
(cd "$tmp" && mkdir -p root/t/source && cp -R host/src root/t/source/ && cp compile.sh compile.mk root/t/ && ln -s gcc-12 root/gcc &&
	mkdir -p root/usr/bin && mv root/gcc root/usr/bin/gcc && cd root && find . -mindepth 1 | cpio --quiet -o -H newc -R 0:0) >"$tmp/compile.cpio"
cat "$BUILD/guest/initrd-compiler" "$tmp/compile.cpio" >"$tmp/compile.img"
guest_run compile "$quiet penumbra.exec=bash,/t/compile.sh" --initrd "$tmp/compile.img" --memory 1G --timeout 200
guest_results "compiler:" compile
if grep -qxF "$(tail -n 1 "$tmp/compile.host")" "$guest_log"; then
	grep -qxF "$(head -n 1 "$tmp/compile.host")" "$guest_log"
	result $? "compiler: ${#files[@]} files give the host's objects" "$(head -n 1 "$tmp/compile.host"), $(guest_tail)"
else
	echo "ok - compiler: the host's objects # SKIP the host has another compiler"
fi
guest_clean "compiling leaves a clean log"
