/* SPDX-License-Identifier: MIT */
#include "container/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

#define SEAL_NAME "penumbra-oci"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static bool already_sealed(int exe)
{
	int seals = fcntl(exe, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

int seal_reexecute(char **argv, struct err *e)
{
	_cleanup_fd_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = -1;
	struct stat st;
	off_t done = 0;

	if (exe < 0)
		return err_sys(e, errno, "open /proc/self/exe");
	if (already_sealed(exe))
		return 0;
	if (fstat(exe, &st) < 0)
		return err_sys(e, errno, "stat /proc/self/exe");
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
	fexecve(copy, argv, environ);
	return err_sys(e, errno, "execute the sealed copy of the runtime");
}

int seal_process_is_ours(pid_t pid)
{
	static const char mark[] = "/memfd:" SEAL_NAME;
	char path[64], target[256];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	return !strncmp(target, mark, sizeof mark - 1);
}
