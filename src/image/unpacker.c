/* SPDX-License-Identifier: MIT
 * Unpacks layers, each in a process of its own that gave up everything but making files (S4).
 *
 *	P  store_unpack()                              U  unpack_process(), one a layer
 *	----------------------------------------       --------------------------------------
 *	tmp/HEX made
 *	fork --------------------------------------->  chroot, capabilities, limits, filter
 *	                                               files, list; both digests
 *	                                  <- report -  ends
 *	all there: syncfs, rename to layers/HEX */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/syscall_filter.h"
#include "image/store_private.h"
#include "image/unpack.h"

#define AT_ONCE 4
#define UNPACK_MEMORY (2ull << 30) /* of addresses: a zstd window takes 128 MiB */

struct report {
	int code;
	u64 skipped, bytes;
	char text[ERR_TEXT_MAX];
};

struct job {
	pid_t pid;
	int pipe;
	size_t layer;
};

#define PERMIT(name) { .number = SYS_##name, .who = 1 }
static const struct syscall_rule permitted[] = {
	PERMIT(read), PERMIT(pread64), PERMIT(write), PERMIT(close), PERMIT(openat), PERMIT(openat2), PERMIT(mkdirat),
	PERMIT(symlinkat), PERMIT(linkat), PERMIT(unlinkat), PERMIT(fchown), PERMIT(fchownat), PERMIT(fchmod),
	PERMIT(fchmodat), PERMIT(utimensat), PERMIT(fsetxattr), PERMIT(newfstatat), PERMIT(fstat), PERMIT(fcntl),
	PERMIT(getdents64), PERMIT(lseek), PERMIT(dup), PERMIT(mmap), PERMIT(munmap), PERMIT(mremap), PERMIT(mprotect),
	PERMIT(brk), PERMIT(madvise), PERMIT(exit_group), PERMIT(futex), PERMIT(geteuid), PERMIT(rt_sigreturn),
	/* only a FIFO: a device would need a capability that is gone as well */
	{ .number = SYS_mknodat, .who = 1, .check = { ARG_INT(2, S_IFIFO | 0600) } },
};

static int confine(bool owner, int tree, u64 limit)
{
	struct sock_filter code[SYSCALL_FILTER_MAX(ARRAY_SIZE(permitted))];
	struct sock_fprog program = { .filter = code };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { 0 } };
	struct rlimit files = { limit, limit }, memory = { UNPACK_MEMORY, UNPACK_MEMORY };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || setrlimit(RLIMIT_FSIZE, &files) < 0 ||
	    setrlimit(RLIMIT_AS, &memory) < 0)
		return -errno;
	signal(SIGXFSZ, SIG_IGN); /* then write() says EFBIG */
	if (owner) {
		caps[0].permitted = caps[0].effective = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER |
			1u << CAP_FSETID | 1u << CAP_SETFCAP;
		if (fchdir(tree) < 0 || chroot(".") < 0 || chdir("/") < 0)
			return -errno;
	}
	if (syscall(SYS_capset, &header, caps) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	program.len = syscall_filter_build(code, permitted, ARRAY_SIZE(permitted), 1, SECCOMP_RET_ALLOW,
					   SECCOMP_RET_KILL_PROCESS);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}

static int unpack_layer(struct archive *a, const struct image_layer *layer, int dir, u64 limit, struct report *out,
			struct err *e)
{
	const struct digest *stored = layer->stored.hex[0] ? &layer->stored : NULL;
	bool owner = !geteuid();
	int tree = openat(dir, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int list = openat(dir, "list", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct text text = { 0 };
	struct blob *b = NULL;
	int r = tree < 0 || list < 0 ? err_sys(e, errno, "make a directory") : archive_layer(a, layer, limit, &b, e);

	umask(0);
	if (!r && (r = confine(owner, tree, limit)))
		return err_sys(e, -r, "confine the process that unpacks");
	if (!r)
		r = layer_unpack(tree, b, owner, &text, &out->skipped, e);
	if (!r)
		r = blob_finish(b, stored, &layer->diff, e);
	if (!r && (r = fd_write_all(list, text.text, text.length)))
		r = err_sys(e, -r, "write the list");
	out->bytes = b ? blob_position(b) : 0;
	return r;
}

/* U.  Its memory and descriptors go with it. */
static void __attribute__((noreturn)) unpack_process(struct archive *a, const struct image_layer *layer, int dir,
						     u64 limit, int report)
{
	struct report out = { 0 };
	struct err e = { 0 };

	out.code = unpack_layer(a, layer, dir, limit, &out, &e);
	memcpy(out.text, e.text, sizeof out.text);
	fd_write_all(report, &out, sizeof out);
	_exit(0);
}

static int start_job(struct store *s, struct archive *a, struct image *i, size_t layer, u64 limit, struct job *job,
		     struct err *e)
{
	const char *name = i->layer[layer].diff.hex;
	_cleanup_fd_ int dir = -1;
	int ends[2];

	if (mkdirat(s->dir[STORE_TMP], name, 0700) < 0)
		return err_sys(e, errno, "make a layer's directory");
	dir = path_open(s->dir[STORE_TMP], name, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0 || mkdirat(dir, "tree", 0755) < 0 || fchmodat(dir, "tree", 0755, 0) < 0)
		return err_sys(e, errno, "make a layer's directory");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	fflush(NULL);
	job->pid = fork();
	if (!job->pid)
		unpack_process(a, &i->layer[layer], dir, limit, ends[1]);
	close(ends[1]);
	if (job->pid < 0) {
		close(ends[0]);
		return err_sys(e, errno, "fork");
	}
	job->pipe = ends[0];
	job->layer = layer;
	return 0;
}

static int end_job(struct store *s, struct image *i, struct job *job, struct stored_image *out, u64 *bytes, struct err *e)
{
	struct report got = { 0 };
	size_t n = 0;
	ssize_t k = 1;
	int status = 0, r;
	_cleanup_fd_ int fd = -1;
	char path[DIGEST_HEX + 16], text[32];

	while (n < sizeof got && k > 0) {
		k = read(job->pipe, (char *)&got + n, sizeof got - n);
		n += k > 0 ? (size_t)k : 0;
	}
	close(job->pipe);
	while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n < sizeof got)
		return err_set(e, -ECANCELED, "layer %zu: the process that unpacks it was ended by signal %d", job->layer,
			       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	got.text[sizeof got.text - 1] = 0;
	if (got.code)
		return err_set(e, got.code < 0 ? got.code : -EIO, "layer %zu: %s", job->layer, got.text);
	out->skipped += got.skipped;
	out->unpacked++;
	*bytes += got.bytes;
	snprintf(path, sizeof path, "%s/bytes", i->layer[job->layer].diff.hex);
	snprintf(text, sizeof text, "%llu", (unsigned long long)got.bytes);
	fd = openat(s->dir[STORE_TMP], path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	return r ? err_sys(e, -r, "layer %zu", job->layer) : 0;
}

static bool is_there(struct store *s, struct image *i, size_t layer)
{
	size_t k;

	for (k = 0; k < layer; k++) /* the same layer twice: once is enough */
		if (!strcmp(i->layer[k].diff.hex, i->layer[layer].diff.hex))
			return true;
	return !faccessat(s->dir[STORE_LAYERS], i->layer[layer].diff.hex, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* To their places, once they are on disk: S1 must hold after a power failure as well. */
static int settle(struct store *s, struct image *i, const bool *fresh, struct err *e)
{
	size_t k;

	if (syncfs(s->dir[STORE_TMP]) < 0)
		return err_sys(e, errno, "write layers to disk");
	for (k = 0; k < i->layers; k++)
		if (fresh[k] && renameat(s->dir[STORE_TMP], i->layer[k].diff.hex, s->dir[STORE_LAYERS],
					 i->layer[k].diff.hex) < 0)
			return err_sys(e, errno, "keep a layer");
	return 0;
}

int store_unpack(struct store *s, struct archive *a, struct image *i, u64 limit, struct stored_image *out, struct err *e)
{
	_cleanup_free_ bool *fresh = calloc(i->layers + 1, sizeof *fresh);
	struct job job[AT_ONCE];
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t running = 0, next = 0, most = (size_t)MAX(1, MIN(processors, AT_ONCE));
	u64 bytes = 0;
	int r = fresh ? 0 : err_set(e, -ENOMEM, "out of memory"), other;

	while (running || (!r && next < i->layers)) {
		if (!r && running < most && next < i->layers) {
			if (!is_there(s, i, next)) {
				r = start_job(s, a, i, next, limit, &job[running], e);
				running += !r;
				fresh[next] = true;
			}
			next++;
			continue;
		}
		if (r) /* the others' work is in vain */
			kill(job[0].pid, SIGKILL);
		other = end_job(s, i, &job[0], out, &bytes, e);
		r = r ? r : other;
		memmove(job, job + 1, --running * sizeof *job);
		if (!r && bytes > limit)
			r = err_set(e, -EFBIG, "its layers unpack to more than %llu bytes", (unsigned long long)limit);
	}
	return r ? r : out->unpacked ? settle(s, i, fresh, e) : 0;
}
