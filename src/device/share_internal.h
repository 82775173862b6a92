/* SPDX-License-Identifier: MIT
 * Parts of the share server (share.h): nodes, handles, one request.  Owner: the worker. */
#ifndef PENUMBRA_DEVICE_SHARE_INTERNAL_H
#define PENUMBRA_DEVICE_SHARE_INTERNAL_H

#include <linux/fuse.h>
#include <limits.h>
#include <sys/stat.h>

#include "device/share.h"

/* Longest header with arguments: a set of attributes of XATTR_SIZE_MAX, or a list of nodes to forget. */
#define SHARE_IN_MAX (128u << 10)
#define SHARE_REPLY_MAX (64u << 10)
#define SHARE_IO_MAX (1u << 20)
#define SHARE_IOV_MAX 288
#define SHARE_SLAB 1024u
#define SHARE_SLABS 4096u
#define SHARE_BUCKETS 65536u

/* A file or directory that the guest knows.  Its identifier on the wire is generation << 32 | slot. */
struct share_node {
	int fd;             /* O_PATH; -1: given back, parent and name find it again */
	mode_t kind;        /* S_IFMT of the host's file; 0: free slot */
	u32 generation, next, parent_generation, parent;
	u64 device, inode, born_ns, lookups;
	char *name;
	bool used, pinned;  /* used since the clock hand passed; has no name any more, the descriptor stays */
};

struct share_handle {
	int fd;             /* -1: free */
	u32 generation, next_free;
	u8 *entries;        /* of a directory: SHARE_ENTRIES bytes of getdents64, [at, end) not yet passed on */
	u32 at, end;
	u64 offset;         /* cookie that continues at `at` */
};

struct share {
	int root, proc;
	u32 first_generation; /* of nodes and handles of this life */
	bool readonly, host_owners;
	uid_t uid;
	gid_t gid;
	struct share_node *slabs[SHARE_SLABS]; /* never move, so that pointers to nodes last */
	struct share_handle *handles;
	u32 slab_count, node_count, node_fds, hand, free_node;
	u32 handle_room, handle_count, free_handle, fds_max;
	u32 buckets[SHARE_BUCKETS];
	_Alignas(8) u8 in[SHARE_IN_MAX];
	_Alignas(8) u8 reply[SHARE_REPLY_MAX];
};

/* The request being served. */
struct share_request {
	struct fuse_in_header head;
	const u8 *args;             /* the fixed arguments, in share->in */
	size_t args_size;           /* everything after the header that was copied */
	const char *name[2];
	struct share_node *node;    /* of head.nodeid; NULL where the request has none */
	const struct iovec *in, *out;
	size_t in_count, out_count;
	size_t room;                /* for the answer without its header */
	bool direct;                /* the answer is in `out` already */
	bool silent;                /* there is none */
};

/* ---- nodes (share_node.c) ---- */
int share_nodes_init(struct share *s);
/* Before any other node or handle is made: identifiers of earlier lives are not used again. */
void share_nodes_life(struct share *s, u32 life);
void share_nodes_free(struct share *s);
/* Between requests: gives descriptors of nodes back until at most half of fds_max are held.  Only here, so that a
 * number obtained from share_node_fd() means the same file until the request ends. */
void share_nodes_trim(struct share *s);
struct share_node *share_node_find(struct share *s, u64 id);
u64 share_node_id(const struct share *s, const struct share_node *n);
/* Descriptor of a node, opened again where it was given back; negative errno. */
int share_node_fd(struct share *s, struct share_node *n);
/* Looks `name` up in `parent` and counts one lookup.  0 with the node, or a negative errno. */
int share_node_lookup(struct share *s, struct share_node *parent, const char *name, struct share_node **out);
void share_node_forget(struct share *s, u64 id, u64 lookups);
/* Before `name` in `parent` goes away: its node, if there is one, keeps its descriptor. */
void share_node_keep(struct share *s, struct share_node *parent, const char *name);
/* After a rename. */
void share_node_moved(struct share *s, struct share_node *parent, const char *name);
/* Opens the node itself with `flags` (O_RDONLY, ...).  S2 is checked. */
int share_node_open(struct share *s, struct share_node *n, int flags);

/* Takes `fd`, also where it fails. */
int share_handle_new(struct share *s, int fd, u64 *fh);
struct share_handle *share_handle_find(struct share *s, u64 fh);
void share_handle_free(struct share *s, struct share_handle *h);

/* ---- attributes (share_attr.c) ---- */
/* What the guest sees of the file at `fd` (O_PATH will do). */
int share_stat(struct share *s, int fd, struct stat *st);
/* Makes owner, group, mode and device number of the file at `fd` what `want` says. */
int share_set_owner(struct share *s, int fd, const struct stat *want);
/* Removes the setuid and setgid bits as a write by somebody else does. */
int share_kill_suid(struct share *s, int fd);
mode_t share_host_mode(const struct share *s, mode_t mode);
void share_fill_attr(const struct stat *st, struct fuse_attr *a);
void share_fill_entry(struct share *s, const struct share_node *n, const struct stat *st, struct fuse_entry_out *o);
/* The path of a descriptor below the working directory. */
struct share_path { char text[12]; };
struct share_path share_path(int fd);

/* ---- requests ---- */
/* Each returns the number of bytes that it put into s->reply (or into `out`), or a negative errno. */
#define SHARE_TEXT_MAX PATH_MAX
/* opcode, function, bytes of fixed arguments, names that follow them, flags */
#define SHARE_OPS(O)                                                                            \
	O(LOOKUP, lookup, 0, "n", 0)                                                             \
	O(FORGET, forget, sizeof(struct fuse_forget_in), "", OP_NO_NODE)                         \
	O(GETATTR, getattr, sizeof(struct fuse_getattr_in), "", 0)                               \
	O(SETATTR, setattr, sizeof(struct fuse_setattr_in), "", OP_CHANGES)                      \
	O(READLINK, readlink, 0, "", 0)                                                          \
	O(SYMLINK, symlink, 0, "nt", OP_CHANGES)                                                 \
	O(MKNOD, mknod, sizeof(struct fuse_mknod_in), "n", OP_CHANGES)                           \
	O(MKDIR, mkdir, sizeof(struct fuse_mkdir_in), "n", OP_CHANGES)                           \
	O(UNLINK, unlink, 0, "n", OP_CHANGES)                                                    \
	O(RMDIR, rmdir, 0, "n", OP_CHANGES)                                                      \
	O(RENAME, rename, sizeof(struct fuse_rename_in), "nn", OP_CHANGES)                       \
	O(RENAME2, rename2, sizeof(struct fuse_rename2_in), "nn", OP_CHANGES)                    \
	O(LINK, link, sizeof(struct fuse_link_in), "n", OP_CHANGES)                              \
	O(OPEN, open, sizeof(struct fuse_open_in), "", 0)                                        \
	O(CREATE, create, sizeof(struct fuse_create_in), "n", OP_CHANGES)                        \
	O(READ, read, sizeof(struct fuse_read_in), "", 0)                                        \
	O(WRITE, write, sizeof(struct fuse_write_in), "", OP_CHANGES | OP_DATA)                  \
	O(STATFS, statfs, 0, "", 0)                                                              \
	O(RELEASE, release, sizeof(struct fuse_release_in), "", OP_NO_NODE)                      \
	O(RELEASEDIR, release, sizeof(struct fuse_release_in), "", OP_NO_NODE)                   \
	O(FLUSH, flush, sizeof(struct fuse_flush_in), "", OP_NO_NODE)                            \
	O(FSYNC, fsync, sizeof(struct fuse_fsync_in), "", 0)                                     \
	O(FSYNCDIR, fsync, sizeof(struct fuse_fsync_in), "", 0)                                  \
	O(SYNCFS, syncfs, 0, "", 0)                                                              \
	O(SETXATTR, setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, "x", OP_CHANGES)                     \
	O(GETXATTR, getxattr, sizeof(struct fuse_getxattr_in), "x", 0)                           \
	O(LISTXATTR, listxattr, sizeof(struct fuse_getxattr_in), "", 0)                          \
	O(REMOVEXATTR, removexattr, 0, "x", OP_CHANGES)                                          \
	O(OPENDIR, opendir, sizeof(struct fuse_open_in), "", 0)                                  \
	O(READDIR, readdir, sizeof(struct fuse_read_in), "", 0)                                  \
	O(READDIRPLUS, readdirplus, sizeof(struct fuse_read_in), "", 0)                          \
	O(FALLOCATE, fallocate, sizeof(struct fuse_fallocate_in), "", OP_CHANGES)                \
	O(LSEEK, lseek, sizeof(struct fuse_lseek_in), "", 0)                                     \
	O(COPY_FILE_RANGE, copy_file_range, sizeof(struct fuse_copy_file_range_in), "", OP_CHANGES) \
	O(BATCH_FORGET, batch_forget, sizeof(struct fuse_batch_forget_in), "", OP_NO_NODE)       \
	O(INTERRUPT, interrupt, 0, "", OP_NO_NODE)                                               \
	O(INIT, init, 16, "", OP_NO_NODE)                                                        \
	O(DESTROY, destroy, 0, "", OP_NO_NODE)

enum {
	OP_CHANGES = 1, /* refused on a read-only share */
	OP_NO_NODE = 2, /* head.nodeid means nothing */
	OP_DATA = 4,    /* file data follows the arguments; it is not copied */
};

#define SHARE_OP_DECLARE(code, name, size, names, flags) int share_op_##name(struct share *s, struct share_request *r);
SHARE_OPS(SHARE_OP_DECLARE)
#undef SHARE_OP_DECLARE

/* Makes `to` (room for `max` entries) the part [skip, skip + length) of the list; returns its number of entries,
 * `got` the bytes that it covers. */
size_t share_iov_part(const struct iovec *list, size_t count, size_t skip, size_t length, struct iovec *to,
		      size_t max, size_t *got);

#endif
