/* SPDX-License-Identifier: MIT */
#include "device/local_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/* Whether there is a socket at the address that refuses connections. */
static bool abandoned(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool refused = fd >= 0 && connect(fd, (const void *)a, sizeof *a) && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return refused;
}

int local_socket_listen(struct local_socket *s, const char *what, const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t old;
	int rc;

	*s = LOCAL_SOCKET_NONE;
	if (strlen(path) >= sizeof a.sun_path)
		return err_set(e, -ENAMETOOLONG, "%s=%s: longer than %zu bytes", what, path, sizeof a.sun_path - 1);
	strcpy(a.sun_path, path);
	if (!lstat(path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(e, -EEXIST, "%s=%s: there is a file that is not a socket", what, path);
		if (!abandoned(&a))
			return err_set(e, -EADDRINUSE, "%s=%s: somebody listens there", what, path);
		unlink(path);
	}
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	old = umask(0177);
	rc = s->fd < 0 || bind(s->fd, (void *)&a, sizeof a) || listen(s->fd, BACKLOG) || lstat(path, &st) ? errno : 0;
	umask(old);
	if (rc) {
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
		return err_sys(e, rc, "%s=%s", what, path);
	}
	s->path = strdup(path);
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return 0;
}

void local_socket_close(struct local_socket *s)
{
	struct stat st;

	if (s->path && !lstat(s->path, &st) && st.st_dev == s->device && st.st_ino == s->inode)
		unlink(s->path);
	free(s->path);
	*s = LOCAL_SOCKET_NONE;
}
