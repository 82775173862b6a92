/* SPDX-License-Identifier: MIT
 * The rule set becomes, per architecture, a map from call number to what happens; equal neighbours
 * are merged into ranges, and the ranges are searched as a balanced tree of comparisons.  So a call
 * is decided in about log2(ranges) steps, and the kernel, which runs a new filter once for every
 * call number to find those that are always allowed, has little to do.
 *
 * Meaning of rules that overlap, the same as libseccomp's: a rule without arguments beats those with
 * arguments; among equals the first wins.  Arguments of one rule that name the same index are
 * alternatives.  Architectures that are not listed are killed.
 *
 * Programs are written from their end: a jump's targets are then known when it is written. */
#include "container/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"

#define X32_BIT 0x40000000u
#define NR_LIMIT 1024 /* beyond every call number of the three architectures */
#define CACHE_FILES 64
#define CACHE_MAGIC 0x31435350u
#define CACHE_REVISION 2 /* to be raised when the same rules compile to another program */

/* Old 32-bit programs make socket and System V calls through one number each; a rule for the call
 * itself covers that way too. */
static const struct multiplexed {
	const char *name;
	u16 number, call;
	u16 direct; /* its own number since Linux 4.3, 0 for none */
} multiplexed[] = {
#define SOCKETCALL 102
#define IPC 117
	{ "socket", SOCKETCALL, 1, 359 }, { "bind", SOCKETCALL, 2, 361 },
	{ "connect", SOCKETCALL, 3, 362 }, { "listen", SOCKETCALL, 4, 363 },
	{ "accept", SOCKETCALL, 5, 0 }, { "getsockname", SOCKETCALL, 6, 367 },
	{ "getpeername", SOCKETCALL, 7, 368 }, { "socketpair", SOCKETCALL, 8, 360 },
	{ "send", SOCKETCALL, 9, 0 }, { "recv", SOCKETCALL, 10, 0 },
	{ "sendto", SOCKETCALL, 11, 369 }, { "recvfrom", SOCKETCALL, 12, 371 },
	{ "shutdown", SOCKETCALL, 13, 373 }, { "setsockopt", SOCKETCALL, 14, 366 },
	{ "getsockopt", SOCKETCALL, 15, 365 }, { "sendmsg", SOCKETCALL, 16, 370 },
	{ "recvmsg", SOCKETCALL, 17, 372 }, { "accept4", SOCKETCALL, 18, 364 },
	{ "recvmmsg", SOCKETCALL, 19, 337 }, { "sendmmsg", SOCKETCALL, 20, 345 },
	{ "semop", IPC, 1, 0 }, { "semget", IPC, 2, 393 }, { "semctl", IPC, 3, 394 },
	{ "semtimedop", IPC, 4, 0 }, { "msgsnd", IPC, 11, 400 }, { "msgrcv", IPC, 12, 401 },
	{ "msgget", IPC, 13, 399 }, { "msgctl", IPC, 14, 402 }, { "shmat", IPC, 21, 397 },
	{ "shmdt", IPC, 22, 398 }, { "shmget", IPC, 23, 395 }, { "shmctl", IPC, 24, 396 },
};

struct rule {
	struct rule *next;
	const struct oci_seccomp_arg *args;
	size_t n;
	u32 action;
	struct oci_seccomp_arg own; /* when made here */
};

/* What happens to one call number. */
struct decision {
	bool plain;          /* decided without arguments */
	u32 action;
	struct rule *first, *last;
};

struct arch_map {
	u32 scmp;            /* libseccomp's token */
	u32 mark;            /* seccomp_data.arch */
	bool narrow;         /* 32-bit arguments */
	bool listed;
	struct decision *d;  /* NR_LIMIT */
};

struct compiler {
	const struct oci_seccomp *s;
	unsigned mode;
	u32 otherwise;       /* the default action */
	struct arch_map arch[3];
	struct sock_filter *buf; /* BPF_MAXINSNS, filled from the end */
	size_t n;
	bool full, memory, notify;
	struct { u32 action; size_t label; } rets[32];
	size_t n_rets;
};

static u32 action_of(s64 action, const struct oci_uint *errno_ret)
{
	u32 data = errno_ret->set ? (u32)errno_ret->v : EPERM;

	if (action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE)
		return (u32)action | (data & SECCOMP_RET_DATA);
	return (u32)action;
}

static struct rule *new_rule(struct compiler *c)
{
	struct rule *r = calloc(1, sizeof *r);

	if (!r) {
		c->memory = true;
		return NULL;
	}
	return r;
}

static void free_rules(struct compiler *c)
{
	size_t a, i;

	for (a = 0; a < ARRAY_SIZE(c->arch); a++) {
		for (i = 0; c->arch[a].d && i < NR_LIMIT; i++)
			while (c->arch[a].d[i].first) {
				struct rule *r = c->arch[a].d[i].first;

				c->arch[a].d[i].first = r->next;
				free(r);
			}
		free(c->arch[a].d);
	}
}

static void add_rule(struct compiler *c, struct arch_map *a, u32 nr, u32 action,
		     const struct oci_seccomp_arg *args, size_t n)
{
	struct decision *d;
	struct rule *r;

	if (nr >= NR_LIMIT)
		return;
	d = &a->d[nr];
	if ((action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
		c->notify = true;
	if (!n) {
		if (!d->plain) {
			d->plain = true;
			d->action = action;
		}
		return;
	}
	r = new_rule(c);
	if (!r)
		return;
	r->action = action;
	r->n = n;
	r->args = args;
	if (n == 1) {
		r->own = *args;
		r->args = &r->own;
	}
	if (d->last)
		d->last->next = r;
	else
		d->first = r;
	d->last = r;
}

/* The rule for the joint number, when the rule does not look at arguments (there they lie in
 * memory, which no filter can read); returns the call's own number, or -1. */
static int add_multiplexed(struct compiler *c, struct arch_map *a, const char *name, u32 action,
			   bool plain)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(multiplexed); i++) {
		struct oci_seccomp_arg call = { .index = { 0, true },
						.value = { multiplexed[i].call, true },
						.op = { SECCOMP_OP_EQ, true, 'S' } };

		if (strcmp(name, multiplexed[i].name))
			continue;
		if (plain)
			add_rule(c, a, multiplexed[i].number, action, &call, 1);
		return multiplexed[i].direct ? multiplexed[i].direct : -1;
	}
	return -1;
}

static bool repeats_index(const struct oci_seccomp_arg_list *l)
{
	unsigned seen = 0;
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (seen & 1u << l->v[i].index.v)
			return true;
		seen |= 1u << l->v[i].index.v;
	}
	return false;
}

static void add_entry(struct compiler *c, struct arch_map *a, const struct oci_syscall *s,
		      u32 action)
{
	size_t i, k;

	for (i = 0; i < s->names.n; i++) {
		int nr = seccomp_syscall_resolve_name_arch(a->scmp, s->names.v[i]);

		if (a->mark == AUDIT_ARCH_I386 && nr < 0)
			nr = add_multiplexed(c, a, s->names.v[i], action, !s->args.n);
		if (nr < 0)
			continue;
		nr &= ~(int)X32_BIT;
		if (!repeats_index(&s->args)) {
			add_rule(c, a, (u32)nr, action, s->args.v, s->args.n);
			continue;
		}
		for (k = 0; k < s->args.n; k++)
			add_rule(c, a, (u32)nr, action, &s->args.v[k], 1);
	}
}

/* A label is a place, counted in instructions from the end. */
static size_t emit(struct compiler *c, u16 code, u8 jt, u8 jf, u32 k)
{
	if (c->n == BPF_MAXINSNS) {
		c->full = true;
		return c->n;
	}
	c->n++;
	c->buf[BPF_MAXINSNS - c->n] = (struct sock_filter){ code, jt, jf, k };
	return c->n;
}

static bool far(const struct compiler *c, size_t label)
{
	return c->n - label > 255;
}

static size_t emit_jump(struct compiler *c, u16 op, u32 k, size_t yes, size_t no)
{
	while (!c->full && (far(c, yes) || far(c, no))) {
		size_t *target = far(c, yes) ? &yes : &no;

		*target = emit(c, BPF_JMP | BPF_JA, 0, 0, (u32)(c->n - *target));
	}
	return emit(c, BPF_JMP | op | BPF_K, (u8)(c->n - yes), (u8)(c->n - no), k);
}

/* `return action`, shared while one is near enough. */
static size_t emit_return(struct compiler *c, u32 action)
{
	size_t i;

	for (i = 0; i < c->n_rets; i++)
		if (c->rets[i].action == action) {
			if (c->n - c->rets[i].label > 200)
				c->rets[i].label = emit(c, BPF_RET | BPF_K, 0, 0, action);
			return c->rets[i].label;
		}
	if (c->n_rets == ARRAY_SIZE(c->rets))
		return emit(c, BPF_RET | BPF_K, 0, 0, action);
	c->rets[c->n_rets].action = action;
	c->rets[c->n_rets].label = emit(c, BPF_RET | BPF_K, 0, 0, action);
	return c->rets[c->n_rets++].label;
}

static size_t emit_load(struct compiler *c, u32 offset)
{
	return emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

static size_t emit_arg(struct compiler *c, const struct oci_seccomp_arg *a, bool narrow, size_t yes,
		       size_t no)
{
	u32 low = (u32)(offsetof(struct seccomp_data, args) + 8 * a->index.v), high = low + 4;
	u64 value = a->value.v, mask = ~0ull;
	size_t swap, test;
	bool above = false, or_equal = false;

	switch (a->op.v) {
	case SECCOMP_OP_MASKED_EQ:
		mask = a->value.v;
		value = a->value_two.v;
		break;
	case SECCOMP_OP_NE:
		swap = yes, yes = no, no = swap;
		break;
	case SECCOMP_OP_GE:
	case SECCOMP_OP_LT:
		or_equal = true;
		/* fall through */
	case SECCOMP_OP_GT:
	case SECCOMP_OP_LE:
		above = true;
		if (a->op.v == SECCOMP_OP_LT || a->op.v == SECCOMP_OP_LE)
			swap = yes, yes = no, no = swap;
		break;
	}
	test = emit_jump(c, above ? or_equal ? BPF_JGE : BPF_JGT : BPF_JEQ, (u32)value, yes, no);
	if ((u32)mask != ~0u)
		test = emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, (u32)mask);
	test = emit_load(c, low);
	if (narrow)
		return test;
	test = emit_jump(c, BPF_JEQ, (u32)(value >> 32), test, no);
	if (above)
		test = emit_jump(c, BPF_JGT, (u32)(value >> 32), yes, test);
	if ((u32)(mask >> 32) != ~0u)
		test = emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, (u32)(mask >> 32));
	(void)test;
	return emit_load(c, high);
}

/* Reverses the list's walk by recursion; a list is at most as long as the configuration. */
static size_t emit_rules(struct compiler *c, const struct rule *r, u32 otherwise, bool narrow)
{
	const struct rule *order[512];
	size_t n = 0, next = emit_return(c, otherwise), i;

	for (; r && n < ARRAY_SIZE(order); r = r->next)
		order[n++] = r;
	if (r)
		c->full = true;
	while (n-- > 0) {
		size_t label = emit_return(c, order[n]->action);

		/* the shared return may have been renewed nearer; `next` stays valid either way */
		for (i = order[n]->n; i-- > 0;)
			label = emit_arg(c, &order[n]->args[i], narrow, label, next);
		next = label;
	}
	return next;
}

struct range {
	u32 start;
	const struct decision *d; /* NULL: the default */
	u32 action;
	bool narrow;
};

/* Whether arguments decide. */
static bool has_chain(const struct compiler *c, const struct decision *d)
{
	return d && d->first && (!d->plain || c->mode & SECCOMP_CONDITIONS_FIRST);
}

static bool same_range(const struct compiler *c, const struct range *r, const struct decision *d,
		       u32 action)
{
	return !has_chain(c, d) && !has_chain(c, r->d) && r->action == action;
}

static size_t emit_leaf(struct compiler *c, const struct range *r)
{
	if (has_chain(c, r->d))
		return emit_rules(c, r->d->first, r->action, r->narrow);
	return emit_return(c, r->action);
}

static size_t emit_tree(struct compiler *c, const struct range *r, size_t n)
{
	size_t right, left, mid = n / 2;

	if (n == 1)
		return emit_leaf(c, r);
	right = emit_tree(c, r + mid, n - mid);
	left = emit_tree(c, r, mid);
	return emit_jump(c, BPF_JGE, r[mid].start, right, left);
}

static size_t make_ranges(const struct compiler *c, const struct arch_map *a, u32 base,
			  struct range *out)
{
	size_t n = 0;
	u32 nr;

	for (nr = 0; nr <= NR_LIMIT; nr++) {
		const struct decision *d = nr < NR_LIMIT ? &a->d[nr] : NULL;
		u32 action = d && d->plain ? d->action : c->otherwise;

		if (!n || !same_range(c, &out[n - 1], d, action))
			out[n++] = (struct range){ base + nr, d, action, a->narrow };
	}
	return n;
}

/* x86-64 and x32 share a mark and differ in the number; -1 is what a tracer leaves behind when it
 * skips a call: it gets the default. */
static size_t emit_wide(struct compiler *c, struct range *room)
{
	size_t n = c->arch[0].listed ? make_ranges(c, &c->arch[0], 0, room) : 0;

	if (!n)
		room[n++] = (struct range){ 0, NULL, SECCOMP_RET_KILL_PROCESS, false };
	if (c->arch[2].listed)
		n += make_ranges(c, &c->arch[2], X32_BIT, room + n);
	else
		room[n++] = (struct range){ X32_BIT, NULL, SECCOMP_RET_KILL_PROCESS,
					      false };
	room[n++] = (struct range){ ~0u, NULL, c->otherwise, false };
	return emit_tree(c, room, n);
}

/* Makes sure that what is emitted next falls through to `label`. */
static void emit_here(struct compiler *c, size_t label)
{
	if (label != c->n)
		emit(c, BPF_JMP | BPF_JA, 0, 0, (u32)(c->n - label));
}

static int emit_all(struct compiler *c, struct err *e)
{
	struct range *room = calloc(2 * NR_LIMIT + 8, sizeof *room);
	size_t kill, narrow = 0, wide;

	if (!room)
		return err_set(e, -ENOMEM, "linux.seccomp: out of memory");
	kill = emit_return(c, SECCOMP_RET_KILL_PROCESS);
	if (c->arch[1].listed) {
		size_t n = make_ranges(c, &c->arch[1], 0, room);

		emit_here(c, emit_tree(c, room, n));
		narrow = emit_load(c, offsetof(struct seccomp_data, nr));
		narrow = emit_jump(c, BPF_JEQ, AUDIT_ARCH_I386, narrow, kill);
	} else {
		narrow = kill;
	}
	emit_here(c, emit_wide(c, room));
	wide = emit_load(c, offsetof(struct seccomp_data, nr));
	emit_jump(c, BPF_JEQ, AUDIT_ARCH_X86_64, wide, narrow);
	emit_load(c, offsetof(struct seccomp_data, arch));
	free(room);
	if (c->full)
		return err_set(e, -E2BIG, "linux.seccomp: the rules need more than %d instructions",
			       BPF_MAXINSNS);
	return 0;
}

static int gather(struct compiler *c, struct err *e)
{
	u64 listed = c->s->architectures.v;
	size_t a, i;

	c->arch[0] = (struct arch_map){ SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, false, true, NULL };
	c->arch[1] = (struct arch_map){ SCMP_ARCH_X86, AUDIT_ARCH_I386, true,
					listed & SECCOMP_ARCH_X86, NULL };
	/* x32 arguments are 32 bits wide by its convention, and to libseccomp */
	c->arch[2] = (struct arch_map){ SCMP_ARCH_X32, AUDIT_ARCH_X86_64, true,
					listed & SECCOMP_ARCH_X32, NULL };
	for (a = 0; a < ARRAY_SIZE(c->arch); a++) {
		if (!c->arch[a].listed)
			continue;
		c->arch[a].d = calloc(NR_LIMIT, sizeof *c->arch[a].d);
		if (!c->arch[a].d)
			return err_set(e, -ENOMEM, "linux.seccomp: out of memory");
		for (i = 0; i < c->s->syscalls.n; i++) {
			const struct oci_syscall *s = &c->s->syscalls.v[i];
			u32 action = action_of(s->action.v, &s->errno_ret);

			if (c->mode & SECCOMP_NO_SUPERVISOR && action == SECCOMP_RET_USER_NOTIF) {
				if (s->args.n)
					continue;
				action = SECCOMP_RET_ALLOW;
			}
			if (action != c->otherwise || c->mode & SECCOMP_CONDITIONS_FIRST)
				add_entry(c, &c->arch[a], s, action);
		}
	}
	return c->memory ? err_set(e, -ENOMEM, "linux.seccomp: out of memory") : 0;
}

/* The runtime itself sends the supervisor's descriptor after the filter is in place: a rule that
 * stops that call until the supervisor answers would wait for ever. */
static int check_notify(struct compiler *c, struct err *e)
{
	const struct decision *d = &c->arch[0].d[SYS_sendmsg];
	const struct rule *r;
	bool asks = d->plain ? d->action == SECCOMP_RET_USER_NOTIF :
		    c->otherwise == SECCOMP_RET_USER_NOTIF;

	for (r = has_chain(c, d) ? d->first : NULL; r; r = r->next)
		asks |= r->action == SECCOMP_RET_USER_NOTIF;
	return asks ? err_set(e, -EINVAL, "config.json: linux.seccomp: SCMP_ACT_NOTIFY cannot cover "
			      "sendmsg, which hands the listener over") : 0;
}

int seccomp_compile(const struct oci_seccomp *s, unsigned mode, struct seccomp_program *out,
		    struct err *e)
{
	struct compiler c = { .s = s, .mode = mode };
	int r;

	memset(out, 0, sizeof *out);
	c.otherwise = action_of(s->default_action.v, &s->default_errno_ret);
	if (mode & SECCOMP_NO_SUPERVISOR && c.otherwise == SECCOMP_RET_USER_NOTIF)
		c.otherwise = SECCOMP_RET_ERRNO | EPERM;
	c.notify = c.otherwise == SECCOMP_RET_USER_NOTIF;
	c.buf = calloc(BPF_MAXINSNS, sizeof *c.buf);
	if (!c.buf)
		return err_set(e, -ENOMEM, "linux.seccomp: out of memory");
	r = gather(&c, e);
	if (!r && c.notify)
		r = check_notify(&c, e);
	if (!r)
		r = emit_all(&c, e);
	if (!r) {
		out->insns = malloc(c.n * sizeof *out->insns);
		if (out->insns)
			memcpy(out->insns, c.buf + BPF_MAXINSNS - c.n, c.n * sizeof *out->insns);
		else
			r = err_set(e, -ENOMEM, "linux.seccomp: out of memory");
		out->n = c.n;
		out->flags = (u32)s->flags.v;
		out->notify = c.notify;
	}
	free_rules(&c);
	free(c.buf);
	return r;
}

void seccomp_free(struct seccomp_program *p)
{
	free(p->insns);
	p->insns = NULL;
	p->n = 0;
}

/* The rules as bytes: two rule sets are the same filter when these are equal. */
static void describe(const struct oci_seccomp *s, unsigned mode, struct text *t)
{
	size_t i, k;

	text_add(t, "%u %lld %d %llu %llu %llu\n", mode, (long long)s->default_action.v,
		 s->default_errno_ret.set, (unsigned long long)s->default_errno_ret.v,
		 (unsigned long long)s->architectures.v, (unsigned long long)s->flags.v);
	for (i = 0; i < s->syscalls.n; i++) {
		const struct oci_syscall *y = &s->syscalls.v[i];

		text_add(t, "%lld %d %llu", (long long)y->action.v, y->errno_ret.set,
			 (unsigned long long)y->errno_ret.v);
		for (k = 0; k < y->args.n; k++)
			text_add(t, " %llu,%llu,%llu,%lld", (unsigned long long)y->args.v[k].index.v,
				 (unsigned long long)y->args.v[k].value.v,
				 (unsigned long long)y->args.v[k].value_two.v,
				 (long long)y->args.v[k].op.v);
		for (k = 0; k < y->names.n; k++) {
			text_add_bytes(t, "\1", 1);
			text_add_bytes(t, y->names.v[k], strlen(y->names.v[k]));
		}
		text_add_bytes(t, "\n", 1);
	}
}

struct cache_head {
	u32 magic, key_length, n, flags, notify, version;
};

static u64 hash(const char *p, size_t n)
{
	u64 h = 0xcbf29ce484222325ull;

	while (n--)
		h = (h ^ (u8)*p++) * 0x100000001b3ull;
	return h;
}

static bool cache_read(int dirfd, const char *name, const struct text *key,
		       struct seccomp_program *out)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *data = NULL;
	struct cache_head h;
	struct stat st;
	size_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022) || fd_read_all(fd, 1 << 20, &data, &n) || n < sizeof h)
		return false;
	memcpy(&h, data, sizeof h);
	if (h.magic != CACHE_MAGIC || h.version != CACHE_REVISION || !h.n ||
	    h.n > BPF_MAXINSNS || h.key_length != key->length ||
	    n != sizeof h + h.key_length + h.n * sizeof *out->insns ||
	    memcmp(data + sizeof h, key->text, key->length))
		return false;
	out->insns = malloc(h.n * sizeof *out->insns);
	if (!out->insns)
		return false;
	memcpy(out->insns, data + sizeof h + h.key_length, h.n * sizeof *out->insns);
	out->n = h.n;
	out->flags = h.flags;
	out->notify = h.notify;
	return true;
}

int seccomp_compile_cached(const struct oci_seccomp *s, unsigned mode, int dirfd,
			   struct seccomp_program *out, struct err *e)
{
	_cleanup_text_ struct text key = { 0 }, file = { 0 };
	struct cache_head h = { .magic = CACHE_MAGIC, .version = CACHE_REVISION };
	char name[32];
	int r;

	memset(out, 0, sizeof *out);
	if (dirfd < 0)
		return seccomp_compile(s, mode, out, e);
	describe(s, mode, &key);
	if (key.failed || !key.text)
		return seccomp_compile(s, mode, out, e);
	snprintf(name, sizeof name, "%llu",
		 (unsigned long long)(hash(key.text, key.length) % CACHE_FILES));
	if (cache_read(dirfd, name, &key, out))
		return 0;
	r = seccomp_compile(s, mode, out, e);
	if (r)
		return r;
	h.key_length = (u32)key.length;
	h.n = (u32)out->n;
	h.flags = out->flags;
	h.notify = out->notify;
	text_add_bytes(&file, (const char *)&h, sizeof h);
	text_add_bytes(&file, key.text, key.length);
	text_add_bytes(&file, (const char *)out->insns, out->n * sizeof *out->insns);
	if (!file.failed) /* a cache that cannot be written costs time, nothing else */
		file_replace_at(dirfd, name, file.text, file.length, 0600);
	return 0;
}

int seccomp_install(const struct seccomp_program *p, int *listener)
{
	struct sock_fprog program = { (unsigned short)p->n, p->insns };
	/* one thread: there is nobody to synchronise with */
	u32 flags = p->flags & ~(u32)SECCOMP_FILTER_FLAG_TSYNC;
	long r;

	*listener = -1;
	if (p->notify)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	else
		flags &= ~(u32)(1u << 5); /* WAIT_KILLABLE_RECV is refused without a listener */
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r < 0)
		return -errno;
	if (p->notify)
		*listener = (int)r;
	return 0;
}

u32 seccomp_evaluate(const struct seccomp_program *p, u32 arch, u32 nr, const u64 args[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = arch };
	u32 a = 0, word;
	size_t pc;

	memcpy(d.args, args, sizeof d.args);
	for (pc = 0; pc < p->n; pc++) {
		const struct sock_filter *i = &p->insns[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&word, (const char *)&d + i->k, sizeof word);
			a = word;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			return SECCOMP_RET_KILL_PROCESS;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}
