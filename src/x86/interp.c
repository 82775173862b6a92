/* SPDX-License-Identifier: MIT
 * The interpreter: real mode, protected mode and compatibility-mode kernel code, which translation leaves
 * alone.  Processors start there, and some kernels stay.
 *
 * It is one fetch and one decode in front of the same handlers that execute single instructions for translated
 * code.  Speed does not matter; every instruction pays for the walk to its bytes.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2; volume 3, 21.1 (real mode). */
#include "x86/system_internal.h"

static enum insn_mode mode_of(const struct cpu *c)
{
	if (cpu_is_64(c))
		return MODE_64;
	return c->seg[SEG_CS].attr & ATTR_DB ? MODE_32 : MODE_16;
}

/* Reads as many of the next `want` bytes as lie on the page and within the segment; -1 with an exception. */
static int fetch_part(struct cpu *c, u64 offset, u8 *bytes, size_t want, size_t *got)
{
	const struct cpu_seg *cs = &c->seg[SEG_CS];
	u64 va = cpu_is_64(c) ? offset : (u32)(cs->base + offset);
	size_t n = MIN(want, (size_t)(PAGE_SIZE - (va & ~PAGE_MASK)));

	if (!cpu_is_64(c)) {
		if (offset > cs->limit) {
			sys_raise_error(c, VEC_GP, 0);
			return -1;
		}
		n = (size_t)MIN((u64)n, cs->limit - offset + 1);
	}
	*got = n;
	return vmem_read(c, GVA(va), bytes, n, VM_FETCH);
}

/* The bytes are asked for page by page, so that an instruction that ends before a page that is not there
 * does not fault on it. */
static int fetch(struct cpu *c, struct insn *in)
{
	u8 bytes[INSN_MAX];
	size_t have = 0, got;
	int r;

	in->len = 0;
	do {
		if (fetch_part(c, c->rip + have, bytes + have, sizeof(bytes) - have, &got))
			return -1;
		have += got;
		r = insn_decode(in, bytes, have, mode_of(c));
	} while (r == -1 && have < sizeof(bytes));
	if (!r)
		return 0;
	in->len = 0;
	sys_raise_error(c, VEC_GP, 0);
	return -1;
}

/* x87, MMX and SSE in the one- and two-byte maps. */
static bool uses_fpu(const struct insn *in)
{
	u8 op = in->op;

	if (in->map == MAP_1B)
		return op == 0x9b || (op >= 0xd8 && op <= 0xdf);
	return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f) || (op >= 0x50 && op <= 0x7f) ||
	       op == 0xae || op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || op >= 0xd0;
}

int sys_interpret(struct cpu *c, struct insn *in)
{
	int result;

	if (fetch(c, in))
		return SYS_FAULT;
	result = sys_execute_plain(c, in);
	if (result < 0 && in->klass == IC_PLAIN)
		result = sys_execute_fpu(c, in);
	if (result >= 0)
		return result;
	switch (in->klass) {
	case IC_MASKMOV: case IC_XSAVE: case IC_XRSTOR:
		return -1;
	case IC_PLAIN:
		if (in->enc != ENC_LEGACY || in->map > MAP_0F || uses_fpu(in))
			return -1;
		return (int)sys_execute(c, in);
	default:
		return (int)sys_execute(c, in);
	}
}
