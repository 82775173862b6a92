#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the files of a guest from Debian's own packages, without installing anything on the host:
#
#	guest/build.sh kernel PACKAGE OUT          OUT/vmlinuz and OUT/modules of the kernel that PACKAGE depends on
#	guest/build.sh initrd KERNELS OUT          busybox and guest/init: a system that reaches a shell at once
#	guest/build.sh initrd-test KERNELS OUT     the same with the user land of TEST_PACKAGES
#	guest/build.sh overlay BASE OUT PATH=FILE...  the initrd BASE with FILEs added or replaced at PATHs
#
# KERNELS is a list of directories that `kernel` made, separated by commas.
# Works as an ordinary user as long as apt has package lists; as root it fetches them when there are none.
# The archives are not compressed: unpacking costs the guest more than reading does.
set -euo pipefail
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)

# What tests run in the guest.  The small compiler stands for a large one at a hundredth of its size.
TEST_PACKAGES=(bash dash libc-bin base-passwd hostname diffutils coreutils util-linux findutils grep sed
	gawk gzip xz-utils tar procps psmisc perl-base python3-minimal openssl sqlite3 bc file
	lua5.4 tcc libc6-dev busybox-static kmod iproute2 iputils-ping)
# Drivers that Debian builds as modules and a virtual machine may need before it has a disk.
MODULES=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_balloon virtio-rng
	vmw_vsock_virtio_transport virtiofs 9pnet_virtio 9p squashfs overlay loop)

fail() {
	echo "guest/build.sh: $*" >&2
	exit 1
}

work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
make_work() { # beside the output, because /tmp may be small
	mkdir -p "$(dirname "$1")"
	work=$(mktemp -d "$(dirname "$1")/.work.XXXXXX")
}

need_lists() {
	command -v apt-get >/dev/null || fail "needs apt-get, from Debian or a system that derives from it"
	apt-cache show busybox-static >/dev/null 2>&1 && return
	[ "$(id -u)" = 0 ] || fail "apt has no package lists; as root: apt-get update"
	apt-get -qq update
}

# Downloads packages into the current directory.
download() {
	apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$@" >/dev/null || fail "cannot download $*"
}

# Downloads packages with all that they depend on, as if nothing were installed, into the directory $1.
download_closure() {
	local dir=$1
	shift
	mkdir -p "$dir/partial"
	: >"$dir/status"
	apt-get -qq -y -d --no-install-recommends -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" \
		-o Dir::State::status="$(realpath "$dir/status")" -o Dir::State::extended_states=/dev/null \
		-o Dir::Cache::archives="$(realpath "$dir")" install "$@" >"$dir/log" 2>&1 ||
		{ cat "$dir/log" >&2; fail "cannot download $*"; }
}

make_kernel() { # package out
	local real
	need_lists
	make_work "$2"
	real=$(apt-cache depends "$1" | sed -n 's/^ *Depends: *\(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
	[ -n "$real" ] || fail "$1 does not name a kernel package"
	(cd "$work" && download "$real")
	dpkg-deb -x "$work"/linux-image-*.deb "$work/tree"
	rm -rf "$2"
	mkdir -p "$2"
	if [ -d "$work/tree/usr/lib/modules" ]; then
		mv "$work/tree/usr/lib/modules" "$2/modules"
	else
		mv "$work/tree/lib/modules" "$2/modules"
	fi
	mv "$work"/tree/boot/vmlinuz-* "$2/vmlinuz"
	echo "guest kernel: $real"
}

# Copies one module with its dependencies; the names in a module's own "depends" are enough.
copy_module() { # name from to
	local path dep name=${1//-/_}
	[ ! -e "$3/$name.ko" ] || return 0
	path=$(find "$2" -name "$name.ko*" -o -name "${name//_/-}.ko*" | head -n 1)
	[ -n "$path" ] || return 0
	case $path in
	*.ko) cp "$path" "$3/$name.ko" ;;
	*.xz) xz -dc "$path" >"$3/$name.ko" ;;
	*.zst) zstd -qdc "$path" >"$3/$name.ko" ;;
	esac
	for dep in $(tr '\0' '\n' <"$3/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
		copy_module "$dep" "$2" "$3"
	done
}

add_modules() { # kernels root busybox
	local kernel from version to name
	for kernel in ${1//,/ }; do
		for from in "$kernel"/modules/*; do
			version=${from##*/}
			to=$2/lib/modules/$version
			mkdir -p "$to"
			for name in "${MODULES[@]}"; do copy_module "$name" "$from" "$to"; done
			"$3" depmod -b "$2" "$version"
		done
	done
}

# The root that every initrd shares: busybox under each of its names, guest/init as process 1.
add_base() { # root busybox
	local root=$1 applet
	mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,etc,root,usr/bin,usr/sbin,usr/share}
	chmod 1777 "$root/tmp"
	[ -e "$root/bin/busybox" ] || cp "$2" "$root/bin/busybox"
	for applet in $("$2" --list-full); do
		[ -e "$root/$applet" ] || [ -L "$root/$applet" ] || { mkdir -p "$root/${applet%/*}" && ln -s /bin/busybox "$root/$applet"; }
	done
	install -m 755 "$here/init" "$root/init"
	install -D -m 755 "$here/demo.sh" "$root/usr/share/penumbra/demo.sh"
	install -m 644 "$here/profile" "$root/etc/profile"
	install -m 644 "$here/inittab" "$root/etc/inittab"
	[ -s "$root/etc/passwd" ] || printf 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
	[ -s "$root/etc/group" ] || printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$root/etc/group"
	printf '127.0.0.1 localhost penumbra\n' >"$root/etc/hosts"
}

# A newc archive with nothing in it that differs between two runs.
pack() { # root out
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -mindepth 1 -printf '%P\0' | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible) >"$2.new"
	mv "$2.new" "$2"
}

get_busybox() {
	(cd "$work" && download busybox-static)
	dpkg-deb -x "$work"/busybox-static_*.deb "$work/bb"
	busybox=$work/bb/bin/busybox
	[ -x "$busybox" ] || busybox=$work/bb/usr/bin/busybox
}

make_initrd() { # kernels out
	need_lists
	make_work "$2"
	get_busybox
	mkdir "$work/root"
	add_base "$work/root" "$busybox"
	add_modules "$1" "$work/root" "$busybox"
	pack "$work/root" "$2"
}

make_initrd_test() { # kernels out
	local deb root
	need_lists
	make_work "$2"
	root=$work/root
	mkdir "$root"
	get_busybox
	download_closure "$work/debs" "${TEST_PACKAGES[@]}"
	for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner; done
	# Without maintainer scripts, what they would have made of alternatives and accounts.
	[ -e "$root/usr/bin/awk" ] || ln -s gawk "$root/usr/bin/awk"
	[ -e "$root/usr/bin/python3" ] || ln -s "$(cd "$root/usr/bin" && echo python3.*[0-9])" "$root/usr/bin/python3"
	[ ! -e "$root/usr/share/base-passwd/passwd.master" ] || sed 's/^root:\*:/root::/' "$root/usr/share/base-passwd/passwd.master" >"$root/etc/passwd"
	[ ! -e "$root/usr/share/base-passwd/group.master" ] || cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
	rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bash-completion,zoneinfo,pixmaps,i18n} \
		"$root"/usr/lib/x86_64-linux-gnu/gconv "$root"/var/lib/dpkg
	find "$root/usr/lib/x86_64-linux-gnu" -maxdepth 1 -name '*.a' ! -name libc_nonshared.a -delete
	/sbin/ldconfig -r "$root" 2>/dev/null || true
	add_base "$root" "$busybox"
	add_modules "$1" "$root" "$busybox"
	pack "$root" "$2"
}

# The kernel unpacks archives that follow each other as one.
make_overlay() { # base out path=file...
	local base=$1 out=$2 pair
	shift 2
	make_work "$out"
	for pair; do install -D "${pair#*=}" "$work/root/${pair%%=*}"; done
	pack "$work/root" "$work/cpio"
	cat "$base" "$work/cpio" >"$out.new"
	mv "$out.new" "$out"
}

case ${1-}:$# in
overlay:[4-9] | overlay:[1-9][0-9]) shift && make_overlay "$@" ;;
kernel:3) make_kernel "$2" "$3" ;;
initrd:3) make_initrd "$2" "$3" ;;
initrd-test:3) make_initrd_test "$2" "$3" ;;
*)
	sed -n '3,13s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
