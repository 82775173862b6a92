/* SPDX-License-Identifier: MIT
 * What to boot from a disk: finds the kernel, its initial RAM disk and command line in the file system on it,
 * as a boot loader would.
 *
 * Looked at: a GUID or MBR partition table or none, and each ext2, ext3 or ext4 file system on it. The first of
 * these counts: the first menu entry of /boot/grub/grub.cfg; /vmlinuz, /initrd.img and /etc/kernel/cmdline
 * (kernel-install(8)); the same two files in /boot. A separate /boot partition is found as well.
 *
 * The disk is hostile: it is read in a process that can only read it and answer. */
#ifndef PENUMBRA_IMAGE_DISK_BOOT_H
#define PENUMBRA_IMAGE_DISK_BOOT_H

#include "base/err.h"
#include "base/types.h"

struct disk_source {
	/* Reads exactly n bytes at `offset`; 0 or a negative errno. Called in a forked child. */
	int (*read)(void *opaque, u64 offset, void *to, size_t n);
	void *opaque;
	u64 size;                /* bytes */
};

#define DISK_BOOT_LINE_MAX 2048
#define DISK_BOOT_FILE_MAX (512ull << 20)

struct disk_boot {
	int kernel_fd, initrd_fd; /* memfds, at offset 0; initrd_fd is -1 where there is none */
	char command_line[DISK_BOOT_LINE_MAX];
};

/* On success disk_boot_close() is the caller's.  -ENOENT where nothing that can be booted was found, -EINVAL for
 * a file system that cannot be read, -EIO. `name` is the disk's, for errors. */
int disk_boot_find(const struct disk_source *disk, const char *name, struct disk_boot *boot, struct err *e);
void disk_boot_close(struct disk_boot *boot);

/* From the text of a grub.cfg: paths of kernel and initial RAM disk (empty where there is none) and the options
 * of its first menu entry, each in a buffer of DISK_BOOT_LINE_MAX bytes.  -ENOENT where it has no such entry. */
int grub_first_entry(const char *config, char *kernel, char *initrd, char *options);

#endif
