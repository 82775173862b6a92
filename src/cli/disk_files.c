/* SPDX-License-Identifier: MIT */
#include "cli/disk_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "device/block.h"
#include "device/disk.h"

static int read_bytes(void *opaque, u64 offset, void *to, size_t n)
{
	struct iovec iov = { to, n };

	return disk_read(opaque, &iov, 1, offset, n);
}

/* Opens the disk for reading: only its name and format matter here, and its device looks at the rest. */
static int open_disk(const char *description, struct disk **disk, char **path, struct err *e)
{
	struct block_options o;
	int rc = block_options_parse(&o, description, e);

	if (!rc)
		rc = disk_open(disk, o.path, o.format, true, e);
	*path = o.path;
	o.path = NULL;
	block_options_free(&o);
	return rc;
}

static void join_lines(char *to, size_t size, const char *line, const char *append)
{
	bool console = strstr(line, "console=") || strstr(append, "console=");

	snprintf(to, size, "%s%s%s%s", line, *append ? " " : "", append, console ? "" : " console=ttyS0");
}

int disk_files_find(const char *description, const char *append, struct disk_files *files, struct err *e)
{
	struct disk *disk = NULL;
	struct disk_source source = { .read = read_bytes };
	char *path = NULL;
	int rc = open_disk(description, &disk, &path, e);

	if (!rc) {
		source.opaque = disk;
		source.size = disk->size;
		rc = disk_boot_find(&source, path, &files->boot, e);
		disk_close(disk);
	}
	free(path);
	if (rc)
		return rc;
	if (strlen(append) >= DISK_BOOT_LINE_MAX - 16) {
		disk_files_close(files);
		return err_set(e, -E2BIG, "--append: longer than %d bytes", DISK_BOOT_LINE_MAX - 16);
	}
	snprintf(files->kernel, sizeof files->kernel, "/proc/self/fd/%d", files->boot.kernel_fd);
	files->initrd[0] = 0;
	if (files->boot.initrd_fd >= 0)
		snprintf(files->initrd, sizeof files->initrd, "/proc/self/fd/%d", files->boot.initrd_fd);
	join_lines(files->command_line, sizeof files->command_line, files->boot.command_line, append);
	return 0;
}

void disk_files_close(struct disk_files *files)
{
	disk_boot_close(&files->boot);
}
