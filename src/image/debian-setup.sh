#!/bin/sh
# SPDX-License-Identifier: MIT
# Run by mmdebstrap on the new root directory $1, with the image's settings in the environment.
set -eu
root=$1

printf '%s\n' "$IMAGE_HOSTNAME" >"$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$IMAGE_HOSTNAME" >"$root/etc/hosts"
printf 'PARTUUID=%s\t/\text4\trw,relatime,discard,errors=remount-ro\t0\t1\n' "$IMAGE_PARTITION" >"$root/etc/fstab"

# What starts the kernel reads its command line here (kernel-install(8)).
mkdir -p "$root/etc/kernel"
printf 'root=PARTUUID=%s ro console=ttyS0\n' "$IMAGE_PARTITION" >"$root/etc/kernel/cmdline"

mkdir -p "$root/etc/systemd/network"
cat >"$root/etc/systemd/network/20-ethernet.network" <<'X'
[Match]
Type=ether

[Network]
DHCP=yes

[DHCPv4]
UseDomains=yes
X
chroot "$root" systemctl --quiet enable systemd-networkd.service
[ ! -e "$root/usr/lib/systemd/systemd-resolved" ] || {
	chroot "$root" systemctl --quiet enable systemd-resolved.service
	ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
}

# Each copy of the image gets host keys of its own when it first boots.
rm -f "$root"/etc/ssh/ssh_host_*
mkdir -p "$root/etc/systemd/system/ssh.service.d"
cat >"$root/etc/systemd/system/ssh-host-keys.service" <<'X'
[Unit]
Description=Host keys of the secure shell
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
X
printf '[Unit]\nWants=ssh-host-keys.service\nAfter=ssh-host-keys.service\n' >"$root/etc/systemd/system/ssh.service.d/host-keys.conf"

if [ -n "$IMAGE_PASSWORD" ]; then
	printf 'root:%s\n' "$IMAGE_PASSWORD" | chroot "$root" chpasswd
	printf 'PermitRootLogin yes\n' >"$root/etc/ssh/sshd_config.d/root.conf"
else
	# sshd refuses empty passwords: only the console takes it.
	chroot "$root" passwd --quiet --delete root
fi
if [ -n "$IMAGE_SSH_KEY" ]; then
	mkdir -p -m 700 "$root/root/.ssh"
	printf '%s\n' "$IMAGE_SSH_KEY" >"$root/root/.ssh/authorized_keys"
	chmod 600 "$root/root/.ssh/authorized_keys"
fi
