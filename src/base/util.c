/* SPDX-License-Identifier: MIT */
#include "base/util.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

bool fd_close_later;

int path_open(int root, const char *path, enum path_rule rule, u64 flags, u32 mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
		.resolve = rule == PATH_IN_ROOT ? RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS :
			   rule == PATH_PLAIN ? RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS :
			   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int tries, fd;

	/* EAGAIN: a rename elsewhere raced with ".." resolution; the kernel asks to try again */
	for (tries = 0; tries < 128; tries++) {
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

/* Makes the last component of `prefix`, whose directory exists.  The prefix is resolved again from
 * the root each time, so that symlinks in it stay inside the root. */
static int make_leaf(int root, char *prefix, bool last, bool as_file, u32 mode, bool *plain)
{
	char *slash = strrchr(prefix, '/');
	const char *name = slash ? slash + 1 : prefix;
	_cleanup_fd_ int parent = -1;
	int fd;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return -ENOENT;
	if (slash && slash != prefix) {
		*slash = 0;
		parent = path_open(root, prefix, PATH_PLAIN, O_PATH | O_DIRECTORY, 0);
		if (parent < 0) {
			*plain = false;
			parent = path_open(root, prefix, PATH_IN_ROOT, O_PATH | O_DIRECTORY, 0);
		}
		*slash = '/';
	} else {
		parent = path_open(root, ".", PATH_IN_ROOT, O_PATH | O_DIRECTORY, 0);
	}
	if (parent < 0)
		return parent;
	if (!last || !as_file) {
		if (mkdirat(parent, name, last ? mode : 0755) < 0 && errno != EEXIST)
			return -errno;
		fd = path_open(parent, name, PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
	} else {
		/* not by opening: a file that is open for writing keeps its mount from becoming read-only,
		 * and with fd_close_later it would stay open */
		if (mknodat(parent, name, S_IFREG | mode, 0) < 0 && errno != EEXIST)
			return -errno;
		fd = path_open(parent, name, PATH_BENEATH, O_PATH, 0);
	}
	/* a dangling symlink stands there: it is not ours to replace */
	return fd == -ELOOP ? -ENOENT : fd;
}

static int make_step(int root, char *prefix, bool last, bool as_file, u32 mode)
{
	int fd = path_open(root, prefix, PATH_IN_ROOT, O_PATH, 0);
	bool plain;

	return fd == -ENOENT ? make_leaf(root, prefix, last, as_file, mode, &plain) : fd;
}

int path_make(int root, const char *path, bool as_file, u32 mode)
{
	bool plain;

	return path_make_plain(root, path, as_file, mode, &plain);
}

int path_make_plain(int root, const char *path, bool as_file, u32 mode, bool *plain)
{
	char prefix[PATH_MAX];
	const char *p = path;
	size_t n = 0;
	int fd = path_open(root, path, PATH_PLAIN, O_PATH, 0);

	*plain = true;
	if (fd == -ELOOP) {
		*plain = false;
		fd = path_open(root, path, PATH_IN_ROOT, O_PATH, 0);
	}
	if (fd != -ENOENT)
		return fd;
	/* most often only the last component is missing */
	if (snprintf(prefix, sizeof prefix, "%s", path) < (int)sizeof prefix && *path &&
	    path[strlen(path) - 1] != '/') {
		fd = make_leaf(root, prefix, true, as_file, mode, plain);
		if (fd != -ENOENT)
			return fd;
	}
	*plain = false;
	while (*p) {
		const char *end;

		while (*p == '/')
			p++;
		end = strchrnul(p, '/');
		if (end == p)
			break;
		if (n + (size_t)(end - p) + 2 > sizeof prefix)
			return -ENAMETOOLONG;
		prefix[n++] = '/';
		memcpy(prefix + n, p, (size_t)(end - p));
		n += (size_t)(end - p);
		prefix[n] = 0;
		p = end;
		while (*p == '/')
			p++;
		cleanup_fd(&fd);
		fd = make_step(root, prefix, !*p, as_file, mode);
		if (fd < 0)
			return fd;
	}
	return fd;
}

int path_parent(int root, const char *path, const char **leaf)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	*leaf = slash ? slash + 1 : path;
	if (!**leaf || !strcmp(*leaf, ".") || !strcmp(*leaf, ".."))
		return -EINVAL;
	if (n >= sizeof dir)
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = 0;
	return path_make(root, n ? dir : ".", false, 0755);
}

int fd_reopen(int fd, int flags)
{
	char name[32];
	int r;

	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	r = open(name, flags | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

int fd_read_all(int fd, size_t max, char **out, size_t *length)
{
	size_t size = 65536, n = 0;
	char *buf = malloc(size + 1);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t r = read(fd, buf + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			r = -errno;
			free(buf);
			return (int)r;
		}
		n += (size_t)r;
		if (!r)
			break;
		if (n > max) {
			free(buf);
			return -EFBIG;
		}
		if (n == size) {
			char *bigger = realloc(buf, size * 2 + 1);

			if (!bigger) {
				free(buf);
				return -ENOMEM;
			}
			buf = bigger;
			size *= 2;
		}
	}
	buf[n] = 0;
	*out = buf;
	if (length)
		*length = n;
	return 0;
}

int file_read_at(int dirfd, const char *name, size_t max, char **out, size_t *length)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd_read_all(fd, max, out, length);
}

int fd_write_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length) {
		ssize_t r = write(fd, p, length);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		length -= (size_t)r;
	}
	return 0;
}

int file_write_at(int dirfd, const char *name, const char *text, size_t length)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t r;

	if (fd < 0)
		return -errno;
	do
		r = write(fd, text, length);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return (size_t)r == length ? 0 : -EIO;
}

int file_printf_at(int dirfd, const char *name, const char *format, ...)
{
	char buf[4096];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(buf, sizeof buf, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof buf)
		return -E2BIG;
	return file_write_at(dirfd, name, buf, (size_t)n);
}

int file_replace_at(int dirfd, const char *name, const char *text, size_t length, u32 mode)
{
	return file_replace_known(dirfd, name, text, length, mode, false);
}

int file_replace_known(int dirfd, const char *name, const char *text, size_t length, u32 mode, bool there)
{
	char temporary[NAME_MAX + 1];
	_cleanup_fd_ int fd = -1;
	int r;

	snprintf(temporary, sizeof temporary, ".%.200s.%d", name, (int)getpid());
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, text, length);
	if (r || (!there && !renameat2(dirfd, temporary, dirfd, name, RENAME_NOREPLACE))) {
		if (r)
			unlinkat(dirfd, temporary, 0);
		return r;
	}
	/* Exchanging the two and removing the old one is as atomic as renaming over it, but does not make
	 * ext4 write the new one out at once, for which whoever removes it soon would wait. */
	if (renameat2(dirfd, temporary, dirfd, name, RENAME_EXCHANGE) < 0 &&
	    renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	unlinkat(dirfd, temporary, 0);
	return r;
}

static bool text_room(struct text *t, size_t more)
{
	size_t want = t->length + more + 1;
	char *p;

	if (t->failed)
		return false;
	if (want <= t->size)
		return true;
	want = MAX(want, t->size * 2 + 256);
	p = realloc(t->text, want);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->text = p;
	t->size = want;
	return true;
}

void text_add_bytes(struct text *t, const char *data, size_t n)
{
	if (!text_room(t, n))
		return;
	memcpy(t->text + t->length, data, n);
	t->length += n;
	t->text[t->length] = 0;
}

void text_add(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0 || !text_room(t, (size_t)n))
		return;
	va_start(ap, format);
	vsnprintf(t->text + t->length, (size_t)n + 1, format, ap);
	va_end(ap);
	t->length += (size_t)n;
}

/* Length of the UTF-8 character at `s`, 0 when it is none: names of files are any bytes. */
static size_t utf8_length(const char *s)
{
	unsigned char c = (unsigned char)*s;
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 :
		   c >= 0xf0 && c < 0xf5 ? 4 : 0, i;

	for (i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void text_add_json(struct text *t, const char *s)
{
	size_t n;

	text_add_bytes(t, "\"", 1);
	for (; *s; s += n ? n : 1) {
		unsigned char c = (unsigned char)*s;

		n = utf8_length(s);
		if (c == '"' || c == '\\')
			text_add(t, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			text_add(t, "\\u%04x", c);
		else if (!n)
			text_add(t, "\\ufffd");
		else
			text_add_bytes(t, s, n);
	}
	text_add_bytes(t, "\"", 1);
}

void text_free(struct text *t)
{
	free(t->text);
	*t = (struct text){ 0 };
}

int process_start_time(pid_t pid, u64 *ticks, char *state)
{
	char path[64], buf[2048], *p;
	_cleanup_fd_ int fd = -1;
	unsigned long long start;
	ssize_t n;
	int i;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, sizeof buf - 1);
	if (n <= 0)
		return n ? -errno : -ESRCH;
	buf[n] = 0;
	p = strrchr(buf, ')'); /* the name may contain anything, also ") " */
	if (!p || p[1] != ' ')
		return -EINVAL;
	p += 2;
	if (state)
		*state = *p;
	for (i = 0; i < 19 && p; i++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p || sscanf(p, "%llu", &start) != 1)
		return -EINVAL;
	*ticks = start;
	return 0;
}

int message_send(int sock, const void *data, size_t length, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { (void *)data, length };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t r;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control.room;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	do
		r = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

ssize_t message_receive(int sock, void *data, size_t size, int *fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c;
	int reset = 0;
	ssize_t r;

	if (fd)
		*fd = -1;
	/* ECONNRESET: the peer ended without reading all that we sent; it is told once, and what the peer had sent before
	 * comes after it */
	do
		r = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (r < 0 && (errno == EINTR || (errno == ECONNRESET && !reset++)));
	if (r < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int))) {
		int got;

		memcpy(&got, CMSG_DATA(c), sizeof got);
		if (fd)
			*fd = got;
		else
			close(got);
	}
	return r;
}

static int socket_name(int dirfd, const char *name, struct sockaddr_un *a)
{
	int n;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (dirfd == AT_FDCWD)
		n = snprintf(a->sun_path, sizeof a->sun_path, "%s", name);
	else
		n = snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dirfd, name);
	return n < (int)sizeof a->sun_path ? 0 : -ENAMETOOLONG;
}

int socket_connect_at(int dirfd, const char *name, int type)
{
	_cleanup_fd_ int fd = -1, dir = -1;
	struct sockaddr_un a;
	int r = socket_name(dirfd, name, &a);

	if (r == -ENAMETOOLONG && dirfd == AT_FDCWD && strrchr(name, '/')) {
		/* longer than sun_path: go through a descriptor of its directory */
		_cleanup_free_ char *head = strndup(name, (size_t)(strrchr(name, '/') - name));

		dir = head ? dir_open(*head ? head : "/") : -ENOMEM;
		if (dir < 0)
			return dir;
		r = socket_name(dir, strrchr(name, '/') + 1, &a);
	}
	if (r)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -errno;
	return fd_take(&fd);
}

int socket_listen_at(int dirfd, const char *name, int type)
{
	_cleanup_fd_ int fd = -1;
	struct sockaddr_un a;
	int r = socket_name(dirfd, name, &a);

	if (r)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0)
		return -errno;
	return fd_take(&fd);
}

int dir_open(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int parse_u64(const char *s, u64 max, u64 *out)
{
	u64 v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if ((u64)(*s - '0') > max || v > (max - (u64)(*s - '0')) / 10)
			return -EINVAL;
		v = v * 10 + (u64)(*s - '0');
	}
	*out = v;
	return 0;
}

int parse_size(const char *s, u64 *out)
{
	static const char suffix[] = "kmgt";
	size_t n = strlen(s);
	char digits[32];
	const char *p;
	u64 v;

	if (!n || n >= sizeof digits)
		return -EINVAL;
	memcpy(digits, s, n + 1);
	p = strchr(suffix, digits[n - 1] | 0x20);
	if (digits[n - 1] > '9' && p && *p)
		digits[n - 1] = 0;
	else
		p = NULL;
	if (parse_u64(digits, 1ull << 60, &v))
		return -EINVAL;
	if (p) {
		unsigned shift = 10 * (unsigned)(p - suffix + 1);

		if (v >> (63 - shift))
			return -EINVAL;
		v <<= shift;
	}
	*out = v;
	return 0;
}
