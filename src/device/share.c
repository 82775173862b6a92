/* SPDX-License-Identifier: MIT
 * The share server: life, dispatch and checks that every request goes through. */
#include "device/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "device/share_internal.h"

#define DESCRIPTORS_MAX 65536u /* of what the host permits */
#define DESCRIPTORS_OWN 64u    /* for everything else in the process */

/* ---- life ---- */

int share_open(struct share **out, const struct share_config *config, int *fd, struct err *e)
{
	struct share *s;

	if (config->host_owners && geteuid())
		return err_set(e, -EPERM, "shared directory %s: only root can keep the guest's owners on the host; "
			       "use owners=mapped", config->path);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->root = s->proc = -1;
	s->readonly = config->readonly;
	s->host_owners = config->host_owners;
	*fd = open(config->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0) {
		free(s);
		return err_sys(e, errno, "shared directory %s", config->path);
	}
	*out = s;
	return 0;
}

int share_prepare(struct share *s, int fd, struct err *e)
{
	struct rlimit limit;

	s->root = fd;
	s->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->proc < 0)
		return err_sys(e, errno, "/proc");
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return err_sys(e, errno, "limit of descriptors");
	limit.rlim_cur = MIN(limit.rlim_max, DESCRIPTORS_MAX);
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return err_sys(e, errno, "limit of descriptors");
	s->fds_max = (u32)limit.rlim_cur - MIN((u32)limit.rlim_cur / 2, DESCRIPTORS_OWN);
	return 0;
}

int share_enter(struct share *s, bool moved, u32 descriptors, struct err *e)
{
	int rc;

	if (descriptors)
		s->fds_max = descriptors;
	if (moved) {
		close(s->root);
		s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (s->root < 0)
		return err_sys(e, errno, "shared directory");
	umask(0);
	rc = share_nodes_init(s);
	return rc ? err_sys(e, -rc, "shared directory") : 0;
}

int share_born(struct share *s, u32 life, struct err *e)
{
	int all = s->proc;

	s->proc = openat(all, "self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(all);
	if (s->proc < 0 || fchdir(s->proc))
		return err_sys(e, errno, "/proc/self/fd");
	share_nodes_life(s, life);
	return 0;
}

void share_reset(struct share *s) { share_nodes_free(s); }

void share_close(struct share *s)
{
	share_nodes_free(s);
	for (u32 i = 0; i < s->slab_count; i++) {
		for (u32 j = 0; j < SHARE_SLAB; j++)
			free(s->slabs[i][j].name);
		free(s->slabs[i]);
	}
	free(s->handles);
	if (s->root >= 0)
		close(s->root);
	if (s->proc >= 0)
		close(s->proc);
	free(s);
}

struct share_usage share_usage(const struct share *s)
{
	return (struct share_usage){ s->node_count, s->node_fds, s->handle_count };
}

/* ---- start and end ---- */

/* What the guest's kernel need not do itself, or may do in larger pieces. */
#define INIT_FLAGS (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
	FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2)

int share_op_init(struct share *s, struct share_request *r)
{
	const struct fuse_init_in *in = (const void *)r->args;
	struct fuse_init_out *o = (void *)s->reply;

	if (in->major < FUSE_KERNEL_VERSION)
		return -EPROTO;
	*o = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = in->max_readahead,
		.flags = in->flags & INIT_FLAGS, .max_background = 64, .congestion_threshold = 48,
		.max_write = SHARE_IO_MAX, .time_gran = 1, .max_pages = SHARE_IO_MAX / PAGE_SIZE,
	};
	share_reset(s);
	return sizeof *o;
}

int share_op_destroy(struct share *s, struct share_request *r)
{
	(void)r;
	share_reset(s);
	return 0;
}

/* A request that is being served cannot be taken back. */
int share_op_interrupt(struct share *s, struct share_request *r)
{
	(void)s;
	r->silent = true;
	return 0;
}

/* ---- requests ---- */

size_t share_iov_part(const struct iovec *list, size_t count, size_t skip, size_t length, struct iovec *to,
		      size_t max, size_t *got)
{
	size_t n = 0;

	*got = 0;
	for (size_t i = 0; i < count && n < max && *got < length; i++) {
		size_t piece = list[i].iov_len;

		if (skip >= piece) {
			skip -= piece;
			continue;
		}
		piece = MIN(piece - skip, length - *got);
		to[n++] = (struct iovec){ (u8 *)list[i].iov_base + skip, piece };
		*got += piece;
		skip = 0;
	}
	return n;
}

static size_t copy_from(const struct iovec *list, size_t count, u8 *to, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < count && n < max; i++) {
		size_t piece = MIN(list[i].iov_len, max - n);

		if (piece)
			memcpy(to + n, list[i].iov_base, piece);
		n += piece;
	}
	return n;
}

static void copy_to(const struct iovec *list, size_t count, size_t skip, const void *from, size_t size)
{
	struct iovec part[SHARE_IOV_MAX];
	size_t got, n = share_iov_part(list, count, skip, size, part, ARRAY_SIZE(part), &got);

	for (size_t i = 0; i < n; i++) {
		memcpy(part[i].iov_base, from, part[i].iov_len);
		from = (const u8 *)from + part[i].iov_len;
	}
}

static size_t total(const struct iovec *list, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += MIN(list[i].iov_len, (size_t)1 << 30);
	return n;
}

struct op {
	const char *names;
	int (*serve)(struct share *s, struct share_request *r);
	size_t size;
	unsigned flags;
};

static const struct op ops[] = {
#define OP_ROW(code, name, size, names, flags) [FUSE_##code] = { names, share_op_##name, size, flags },
	SHARE_OPS(OP_ROW)
#undef OP_ROW
};

/* S1: one component of a path.  S4 for the others: text of bounded length. */
static int check_name(char kind, const char *name, size_t length)
{
	if (kind == 't')
		return length >= SHARE_TEXT_MAX ? -ENAMETOOLONG : length ? 0 : -EINVAL;
	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	if (!length || (kind == 'n' && (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))))
		return -EINVAL;
	return 0;
}

static int take_names(struct share_request *r, const struct op *op)
{
	const char *at = (const char *)r->args + op->size, *end = (const char *)r->args + r->args_size;

	for (int i = 0; op->names[i]; i++) {
		const char *stop = memchr(at, 0, (size_t)(end - at));
		int rc = stop ? check_name(op->names[i], at, (size_t)(stop - at)) : -EINVAL;

		if (rc)
			return rc;
		r->name[i] = at;
		at = stop + 1;
	}
	return 0;
}

static int serve(struct share *s, struct share_request *r)
{
	const struct op *op = r->head.opcode < ARRAY_SIZE(ops) ? &ops[r->head.opcode] : NULL;
	int rc;

	if (!op || !op->serve)
		return -ENOSYS;
	if (r->args_size < op->size)
		return -EINVAL;
	if (op->flags & OP_CHANGES && s->readonly)
		return -EROFS;
	rc = take_names(r, op);
	if (rc)
		return rc;
	if (!(op->flags & OP_NO_NODE)) {
		r->node = share_node_find(s, r->head.nodeid);
		if (!r->node)
			return -ESTALE;
	}
	return op->serve(s, r);
}

size_t share_request(struct share *s, const struct iovec *in, size_t in_count, const struct iovec *out,
		     size_t out_count)
{
	struct share_request r = { .in = in, .in_count = in_count, .out = out, .out_count = out_count };
	struct fuse_out_header answer;
	size_t size, room = total(out, out_count), limit = sizeof s->in;
	int rc;

	size = copy_from(in, in_count, s->in, sizeof r.head);
	if (size < sizeof r.head)
		return 0;
	memcpy(&r.head, s->in, sizeof r.head);
	if (r.head.opcode == FUSE_WRITE)
		limit = sizeof r.head + sizeof(struct fuse_write_in);
	size = copy_from(in, in_count, s->in, limit);
	r.args = s->in + sizeof r.head;
	r.args_size = size - sizeof r.head;
	r.room = room > sizeof answer ? room - sizeof answer : 0;
	rc = size == sizeof s->in && total(in, in_count) > size ? -E2BIG : serve(s, &r);
	share_nodes_trim(s);
	if (r.silent || room < sizeof answer)
		return 0;
	if (rc > 0 && (size_t)rc > r.room)
		rc = -ERANGE;
	answer = (struct fuse_out_header){
		.len = (u32)sizeof answer + (rc > 0 ? (u32)rc : 0), .error = MIN(rc, 0), .unique = r.head.unique,
	};
	if (rc > 0 && !r.direct)
		copy_to(out, out_count, sizeof answer, s->reply, (size_t)rc);
	copy_to(out, out_count, 0, &answer, sizeof answer);
	return answer.len;
}
