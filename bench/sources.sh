#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds programs from Debian's source packages with -O0 and -O1, for `penumbra bench translation --sets o0,o1`:
#
#	bench/sources.sh OUT      OUT/{lua,sqlite,minigzip,busybox}-{O0,O1}
#
# Needs a source mirror: the host's own, as its package lists name it.
set -eu
out=$(mkdir -p "$1" && realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/penumbra-sources.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p apt/lists/partial apt/cache/archives/partial
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 2>/dev/null | awk -v s="$suite" '$2 == s { print $1; exit }')
echo "deb-src ${uri:-http://deb.debian.org/debian} $suite main" >apt/sources.list
apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/apt/lists"
	-o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)")
"${apt[@]}" update
"${apt[@]}" source lua5.4 sqlite3 zlib busybox >/dev/null
for level in O0 O1; do
	echo "  -$level" >&2
	echo '#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"' >"$(echo lua5.4-*/src)/lua5.4-deb-multiarch.h"
	mapfile -t lua < <(printf '%s\n' lua5.4-*/src/*.c | grep -v /luac.c)
	gcc -$level -w -DLUA_USE_LINUX -o "$out/lua-$level" "${lua[@]}" -lm -ldl
	(cd sqlite3-*/ && { [ -e sqlite3.c ] || { ./configure >/dev/null && make -s sqlite3.c shell.c >/dev/null; }; })
	(cd sqlite3-*/ && gcc -$level -w -o "$out/sqlite-$level" sqlite3.c shell.c -lpthread -ldl -lm)
	(cd zlib-*/ && gcc -$level -w -DHAVE_UNISTD_H -o "$out/minigzip-$level" test/minigzip.c adler32.c crc32.c deflate.c infback.c inffast.c inflate.c \
		inftrees.c trees.c zutil.c compress.c uncompr.c gzclose.c gzlib.c gzread.c gzwrite.c -I.)
	(cd busybox-*/ && make -s mrproper >/dev/null && make -s defconfig >/dev/null 2>&1 &&
		sed -i 's/^CONFIG_TC=y/# CONFIG_TC is not set/; s/^CONFIG_EXTRA_CFLAGS=.*/CONFIG_EXTRA_CFLAGS="-'$level' -w"/' .config &&
		yes '' | make -s oldconfig >/dev/null && make -s -j2 SKIP_STRIP=y busybox >/dev/null 2>&1 && cp busybox_unstripped "$out/busybox-$level")
done
