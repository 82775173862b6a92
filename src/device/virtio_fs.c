/* SPDX-License-Identifier: MIT
 * virtio-fs (virtio 1.2 section 5.11): a directory of the host as a file system of the guest, which mounts it
 * with `mount -t virtiofs TAG DIR`.  The messages are served by share.c.
 *
 *     queue 0  requests that must not wait (FORGET, INTERRUPT)
 *     queue 1  all others
 *
 * The worker's file system is the shared directory and nothing else.  Owner: the worker; single thread. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail_enter.h"
#include "base/keys.h"
#include "device/devices.h"
#include "device/share.h"

#define TAG_SIZE 36
#define PARTS 288 /* SHARE_IO_MAX in pages, and the headers */

struct fs_device_config {
	char tag[TAG_SIZE];
	u32 num_request_queues;
} __attribute__((packed));

struct fs {
	struct share *share;
	struct share_config config;
	const char *tag;
	int owners, directory;
	char *store;
};

#define F(f) offsetof(struct fs, f)
static const struct key_row keys[] = {
	{ "tag", KEY_TEXT, F(tag), true, 0, 0, NULL },
	{ "path", KEY_TEXT, F(config.path), true, 0, 0, NULL },
	{ "readonly", KEY_FLAG, F(config.readonly), false, 0, 0, NULL },
	{ "owners", KEY_CHOICE, F(owners), false, 0, 0, "mapped|host" },
};

static void fs_serve(struct worker *w, u32 q)
{
	struct fs *fs = w->state;
	struct virtqueue *vq = &w->queue[q];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			vq_push(vq, &c, share_request(fs->share, iov, c.n_out, iov + c.n_out, c.n_in));
			worker_interrupt(w, q);
		}
	} while (vq_listen(vq));
}

static bool fs_reset(struct worker *w)
{
	struct fs *fs = w->state;

	share_reset(fs->share);
	return true;
}

/* As root the worker keeps what lets it act on files of any owner. */
static int fs_begin(struct worker *w, struct err *e)
{
	static const u8 root_rights[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD };
	struct fs *fs = w->state;
	struct jail_plan jail = {
		.root = fs->directory, .readonly = fs->config.readonly, .keep = root_rights, .n_keep = ARRAY_SIZE(root_rights),
	};
	bool moved;
	int rc = share_prepare(fs->share, fs->directory, e);

	if (!rc)
		rc = jail_enter(&jail, &moved, e);
	if (!rc)
		rc = share_enter(fs->share, moved, 0, e);
	return rc;
}

static int fs_born(struct worker *w, struct err *e)
{
	struct fs *fs = w->state;

	return share_born(fs->share, w->life, e);
}

#define ALLOW(call) { SYS_##call, 1, { } }
static const struct syscall_rule fs_calls[] = {
	ALLOW(openat), ALLOW(newfstatat), ALLOW(fstat), ALLOW(statx), ALLOW(fstatfs), ALLOW(readlinkat), ALLOW(preadv), ALLOW(pwritev),
	ALLOW(pread64), ALLOW(pwrite64), ALLOW(getdents64), ALLOW(lseek), ALLOW(ftruncate), ALLOW(truncate), ALLOW(fallocate),
	ALLOW(fsync), ALLOW(fdatasync), ALLOW(syncfs), ALLOW(copy_file_range), ALLOW(mkdirat), ALLOW(mknodat), ALLOW(symlinkat),
	ALLOW(linkat), ALLOW(unlinkat), ALLOW(renameat2), ALLOW(fchmodat), ALLOW(fchownat), ALLOW(utimensat), ALLOW(getxattr),
	ALLOW(setxattr), ALLOW(listxattr), ALLOW(removexattr), ALLOW(dup), ALLOW(umask),
	ALLOW(open), ALLOW(fcntl),
};

static void fs_destroy(struct virtio_device *d)
{
	struct fs *fs = d->data;

	if (!fs)
		return;
	if (fs->share)
		share_close(fs->share);
	free(fs->store);
	free(fs);
	d->data = NULL;
}

static int fs_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct fs *fs = calloc(1, sizeof *fs);
	struct fs_device_config c = { .num_request_queues = 1 };
	int rc;

	if (!fs)
		return err_set(e, -ENOMEM, "no memory");
	d->data = fs;
	rc = keys_parse("--share", options ? options : "", keys, ARRAY_SIZE(keys), fs, &fs->store, e);
	if (rc)
		return rc;
	if (strlen(fs->tag) > TAG_SIZE)
		return err_set(e, -EINVAL, "--share: tag=%s: longer than %d bytes", fs->tag, TAG_SIZE);
	fs->config.host_owners = fs->owners == 1;
	rc = share_open(&fs->share, &fs->config, &fs->directory, e);
	if (rc)
		return rc;
	memcpy(c.tag, fs->tag, strlen(fs->tag));
	memcpy(d->state.config, &c, sizeof c);
	d->config_size = sizeof c;
	d->n_queues = 2;
	d->queue_size = 1024;
	d->fds[d->n_fds++] = fs->directory;
	return 0;
}

const struct virtio_class virtio_fs = {
	.name = "fs",
	.id = 26,
	.pci_class = 0x018000,
	.create = fs_create,
	.destroy = fs_destroy,
	.worker = {
		.vital = true, .rights = WORKER_ROOT, .calls = fs_calls, .n_calls = ARRAY_SIZE(fs_calls),
		.begin = fs_begin, .born = fs_born, .serve = fs_serve, .reset = fs_reset,
	},
};
