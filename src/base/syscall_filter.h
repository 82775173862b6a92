/* SPDX-License-Identifier: MIT
 * System call filters from a table: one row a permitted form of a call, compiled to classic BPF.
 *
 * A call may have several rows; it is permitted if one of them matches.  Freestanding, no state.
 * Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst of Linux. */
#ifndef PENUMBRA_BASE_SYSCALL_FILTER_H
#define PENUMBRA_BASE_SYSCALL_FILTER_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/types.h"

enum syscall_check_kind {
	CHECK_NONE,
	CHECK_INT,    /* the low 32 bits equal `value` (the kernel takes an int) */
	CHECK_NOT,    /* the low 32 bits differ from `value` */
	CHECK_LONG,   /* all 64 bits equal `value` */
	CHECK_WITHIN, /* no bit outside `mask` is set, high half included */
	CHECK_MASKED, /* the low bits outside `mask` equal `value`; the high half is zero */
};
struct syscall_check { u8 argument, kind; u32 value, mask; };
#define SYSCALL_CHECKS 3
struct syscall_rule {
	u16 number;
	u16 who;      /* which filters have it */
	struct syscall_check check[SYSCALL_CHECKS];
};

#define ARG_INT(n, v) { .argument = (n), .kind = CHECK_INT, .value = (u32)(v) }
#define ARG_NOT(n, v) { .argument = (n), .kind = CHECK_NOT, .value = (u32)(v) }
#define ARG_LONG(n, v) { .argument = (n), .kind = CHECK_LONG, .value = (u32)(v) }
#define ARG_WITHIN(n, m) { .argument = (n), .kind = CHECK_WITHIN, .mask = (u32)(m) }
#define ARG_MASKED(n, v, m) { .argument = (n), .kind = CHECK_MASKED, .value = (u32)(v), .mask = (u32)(m) }

/* Instructions that a filter of n rules takes at most. */
#define SYSCALL_FILTER_MAX(n) (5 + (n) * (3 + 6 * SYSCALL_CHECKS))

#define FILTER_OP(c, j_true, j_false, v) \
	((struct sock_filter){ (u16)(c), (u8)(j_true), (u8)(j_false), (u32)(v) })
#define FILTER_LOAD(offset) FILTER_OP(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)

/* Appends the test of one argument; where it fails, jumps `fail` instructions beyond the end of the row,
 * which has `left` instructions after this test.  Returns the number of instructions. */
static inline u32 syscall_filter_check(struct sock_filter *p, const struct syscall_check *k, u32 left)
{
	u32 at = (u32)offsetof(struct seccomp_data, args) + 8u * k->argument, n = 0;
	bool high = k->kind != CHECK_INT && k->kind != CHECK_NOT, mask = k->kind == CHECK_WITHIN || k->kind == CHECK_MASKED;

	if (high) {
		p[n++] = FILTER_LOAD(at + 4);
		p[n++] = FILTER_OP(BPF_JMP | BPF_JEQ | BPF_K, 0, left + 2 + mask, 0);
	}
	p[n++] = FILTER_LOAD(at);
	if (mask)
		p[n++] = FILTER_OP(BPF_ALU | BPF_AND | BPF_K, 0, 0, ~k->mask);
	if (k->kind == CHECK_NOT)
		p[n++] = FILTER_OP(BPF_JMP | BPF_JEQ | BPF_K, left, 0, k->value);
	else
		p[n++] = FILTER_OP(BPF_JMP | BPF_JEQ | BPF_K, 0, left, k->kind == CHECK_WITHIN ? 0 : k->value);
	return n;
}

static inline u32 syscall_filter_length(const struct syscall_check *k)
{
	return k->kind == CHECK_NONE ? 0 : 2u + (k->kind != CHECK_INT && k->kind != CHECK_NOT ? 2u : 0) +
		(k->kind == CHECK_WITHIN || k->kind == CHECK_MASKED ? 1u : 0);
}

/* Compiles the rules that share a bit with `who`, in their order, into `out` (SYSCALL_FILTER_MAX(n)
 * instructions).  What matches gets `action`, all else `otherwise`, SECCOMP_RET_*.  Returns the length. */
static inline u16 syscall_filter_build(struct sock_filter *out, const struct syscall_rule *rules, size_t count,
				       u16 who, u32 action, u32 otherwise)
{
	u32 n = 0;

	out[n++] = FILTER_LOAD(offsetof(struct seccomp_data, arch));
	out[n++] = FILTER_OP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	out[n++] = FILTER_OP(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	for (size_t i = 0; i < count; i++) {
		const struct syscall_rule *r = &rules[i];
		u32 length = 1;

		if (!(r->who & who))
			continue;
		for (int c = 0; c < SYSCALL_CHECKS; c++)
			length += syscall_filter_length(&r->check[c]);
		out[n++] = FILTER_LOAD(offsetof(struct seccomp_data, nr));
		out[n++] = FILTER_OP(BPF_JMP | BPF_JEQ | BPF_K, 0, length, r->number);
		for (int c = 0; c < SYSCALL_CHECKS && r->check[c].kind; c++) {
			length -= syscall_filter_length(&r->check[c]);
			n += syscall_filter_check(out + n, &r->check[c], length);
		}
		out[n++] = FILTER_OP(BPF_RET | BPF_K, 0, 0, action);
	}
	out[n++] = FILTER_OP(BPF_RET | BPF_K, 0, 0, otherwise);
	return (u16)n;
}

#endif
