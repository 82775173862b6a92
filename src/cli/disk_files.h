/* SPDX-License-Identifier: MIT
 * Booting from a disk: its kernel, initial RAM disk and command line, as image/disk_boot.h finds them. */
#ifndef PENUMBRA_CLI_DISK_FILES_H
#define PENUMBRA_CLI_DISK_FILES_H

#include "base/err.h"
#include "image/disk_boot.h"

struct disk_files {
	struct disk_boot boot;
	char kernel[32], initrd[32];                     /* paths; initrd is empty where there is none */
	char command_line[2 * DISK_BOOT_LINE_MAX];
};

/* `disk` is the argument of --disk, `append` is added to the disk's command line; a serial console is too where
 * neither names a console.  On success disk_files_close() is the caller's. */
int disk_files_find(const char *disk, const char *append, struct disk_files *files, struct err *e);
void disk_files_close(struct disk_files *files);

#endif
