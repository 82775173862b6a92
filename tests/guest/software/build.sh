#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Puts Debian packages, with all that they depend on, over an initial file system:
#
#	tests/guest/software/build.sh BASE OUT PACKAGE...
#
# BASE is an archive that guest/build.sh made.  The kernel unpacks
# archives that follow each other as one.  Nothing is installed on the host.
set -euo pipefail
umask 022
export LC_ALL=C
[ $# -ge 3 ] || { sed -n '5p' "$0" >&2; exit 2; }
base=$1 out=$2
shift 2

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/debs/partial" "$work/root"
: >"$work/status"
apt-get -qq -y -d --no-install-recommends -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" \
	-o Dir::State::status="$(realpath "$work/status")" -o Dir::State::extended_states=/dev/null \
	-o Dir::Cache::archives="$(realpath "$work/debs")" install "$@" >"$work/log" 2>&1 ||
	{ cat "$work/log" >&2; echo "cannot download $*" >&2; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --no-same-owner; done

root=$work/root
rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,zoneinfo,i18n,icons,perl5} "$root"/usr/lib/x86_64-linux-gnu/gconv \
	"$root"/var "$root"/usr/lib/x86_64-linux-gnu/perl/*/auto/Encode/{JP,KR,CN,TW} \
	"$root"/usr/lib/python3*/{idlelib,lib2to3,pydoc_data,ensurepip}
find "$root/usr/lib" \( -name 'lto1' -o -name 'lto-wrapper' -o -name '*san.a' -o -name 'libgomp*' -o -name '__pycache__' \) -prune -exec rm -rf {} +
[ -e "$root/usr/bin/awk" ] || [ ! -e "$root/usr/bin/gawk" ] || ln -s gawk "$root/usr/bin/awk"
/sbin/ldconfig -r "$root" 2>/dev/null || true
find "$root" -exec touch -h -d @1000000000 {} +
(cd "$root" && find . -mindepth 1 -printf '%P\0' | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible) >"$work/cpio"
cat "$base" "$work/cpio" >"$out.new"
mv "$out.new" "$out"
