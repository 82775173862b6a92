/* SPDX-License-Identifier: MIT */
#include "container/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/mounts.h"
#include "base/util.h"

#define SEAL_NAME "penumbra-oci"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#define STATFS_RDONLY 1
static const char self[] = "/proc/self/exe";

static bool already_sealed(void)
{
	_cleanup_fd_ int exe = -1;
	struct statfs fs;
	int seals;

	if (statfs(self, &fs) < 0)
		return false;
	if (fs.f_flags & STATFS_RDONLY) /* our mount, or a file system that nobody can write to anyway */
		return true;
	if (fs.f_type != TMPFS_MAGIC)
		return false;
	exe = open(self, O_RDONLY | O_CLOEXEC);
	seals = exe < 0 ? -1 : fcntl(exe, F_GET_SEALS);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

/* Needs the right to mount; a copy needs none. */
static int copy_program(struct err *e)
{
	_cleanup_fd_ int exe = open(self, O_RDONLY | O_CLOEXEC), copy = -1;
	struct stat st;
	off_t done = 0;

	if (exe < 0 || fstat(exe, &st) < 0)
		return err_sys(e, errno, "open %s", self);
	copy = memfd_create(SEAL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (copy < 0 && errno == EINVAL) /* kernels before 6.3 do not know MFD_EXEC */
		copy = memfd_create(SEAL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return err_sys(e, errno, "make a sealed copy of the runtime");
	while (done < st.st_size) {
		ssize_t n = sendfile(copy, exe, &done, (size_t)(st.st_size - done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, n ? errno : EIO, "copy the runtime");
	}
	if (fcntl(copy, F_ADD_SEALS, SEALS) < 0)
		return err_sys(e, errno, "seal the copy of the runtime");
	return fd_take(&copy);
}

int seal_reexecute(char **argv, struct err *e)
{
	struct mount_options o = { .attr_set = MOUNT_ATTR_RDONLY };
	int fd;

	if (already_sealed())
		return 0;
	fd = mount_clone(AT_FDCWD, self, false, &o);
	if (fd < 0)
		fd = copy_program(e);
	if (fd < 0)
		return fd;
	fexecve(fd, argv, environ);
	close(fd);
	return err_sys(e, errno, "execute the sealed copy of the runtime");
}

int seal_identity(u64 *device, u64 *inode)
{
	struct stat st;

	if (stat(self, &st) < 0)
		return -errno;
	*device = st.st_dev;
	*inode = st.st_ino;
	return 0;
}

int seal_process_is_ours(pid_t pid, u64 device, u64 inode)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	if (stat(path, &st) < 0)
		return -errno;
	return st.st_dev == device && st.st_ino == inode;
}
