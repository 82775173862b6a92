/* SPDX-License-Identifier: MIT
 * Descriptors, small files and processes: what every part of the container runtime needs.
 *
 * Paths are used relative to a descriptor; whatever lies inside a container's root is opened with
 * openat2(RESOLVE_IN_ROOT), so that no symlink or ".." in it can lead outside.  No global state. */
#ifndef PENUMBRA_BASE_UTIL_H
#define PENUMBRA_BASE_UTIL_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/err.h"
#include "base/types.h"

/* While set, descriptors that go out of scope stay open, for their owner to close all at once; beyond
 * the first FD_LATER they are closed all the same, so that no number of mounts exhausts them. */
#define FD_LATER 200
extern bool fd_close_later;
static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0 && !(fd_close_later && *fd < FD_LATER))
		close(*fd);
}
static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
#define _cleanup_fd_ __attribute__((cleanup(cleanup_fd)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

/* Hands a descriptor over: the variable forgets it. */
static inline int fd_take(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* Where a path may lead. */
enum path_rule {
	PATH_IN_ROOT,   /* symlinks and ".." end at the root descriptor; no magic links */
	PATH_PLAIN,     /* as PATH_IN_ROOT, and a symlink on the way is an error */
	PATH_BENEATH,   /* leaving is an error; no symlinks at all */
};

/* openat2() with `rule`; O_CLOEXEC is added.  Returns a descriptor or a negative errno. */
int path_open(int root, const char *path, enum path_rule rule, u64 flags, u32 mode);
/* Opens `path` inside `root`, making what is missing: directories, and at the end a directory or
 * (as_file) an empty file.  Returns an O_PATH descriptor or a negative errno. */
int path_make(int root, const char *path, bool as_file, u32 mode);
/* The same; *plain says that no symlink was on the way: the place is where the text says. */
int path_make_plain(int root, const char *path, bool as_file, u32 mode, bool *plain);
/* Opens the directory that holds the last component of `path` inside `root`, making directories
 * that are missing; *leaf points into `path`.  -EINVAL when there is no last component. */
int path_parent(int root, const char *path, const char **leaf);
/* Opens again, by descriptor, with other flags. */
int fd_reopen(int fd, int flags);

/* Whole small file; NUL-terminated; -EFBIG above max.  *length may be NULL. */
int file_read_at(int dirfd, const char *name, size_t max, char **out, size_t *length);
int fd_read_all(int fd, size_t max, char **out, size_t *length);
/* Writes all to an existing file in one write; 0 or negative errno. */
int file_write_at(int dirfd, const char *name, const char *text, size_t length);
int __attribute__((format(printf, 3, 4)))
file_printf_at(int dirfd, const char *name, const char *format, ...);
/* Replaces `name` atomically: a temporary file, then rename. */
int file_replace_at(int dirfd, const char *name, const char *text, size_t length, u32 mode);
/* The same; `there` is a guess at whether the name exists. */
int file_replace_known(int dirfd, const char *name, const char *text, size_t length, u32 mode, bool there);
int fd_write_all(int fd, const void *data, size_t length);

/* Growing text.  After a failed append .failed stays set and .text is still valid or NULL. */
struct text {
	char *text;
	size_t length, size;
	bool failed;
};
void __attribute__((format(printf, 2, 3))) text_add(struct text *t, const char *format, ...);
void text_add_bytes(struct text *t, const char *data, size_t n);
/* As a JSON string with its quotes. */
void text_add_json(struct text *t, const char *s);
void text_free(struct text *t);
#define _cleanup_text_ __attribute__((cleanup(text_free)))

/* Start time of a process in clock ticks since boot (proc(5) stat field 22), and its state letter.
 * -ESRCH when there is none.  Together with the pid it names a process for good. */
int process_start_time(pid_t pid, u64 *ticks, char *state);

/* One SEQPACKET message with at most one descriptor (-1 for none).  Receive returns the length, 0
 * when the peer is gone. */
int message_send(int sock, const void *data, size_t length, int fd);
ssize_t message_receive(int sock, void *data, size_t size, int *fd);

/* Connects to / listens on the socket `name` in directory `dirfd`: a path of any length.
 * type is SOCK_STREAM or SOCK_SEQPACKET. */
int socket_connect_at(int dirfd, const char *name, int type);
int socket_listen_at(int dirfd, const char *name, int type);

/* Directory for which `path` is absolute or relative to the working directory. */
int dir_open(const char *path);

/* 0, or -EINVAL with the reason; "all decimal digits" within the range. */
int parse_u64(const char *s, u64 max, u64 *out);
/* "65536", "512k", "100M", "2G", "1T". */
int parse_size(const char *s, u64 *out);

#endif
