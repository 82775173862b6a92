/* SPDX-License-Identifier: MIT
 * Instructions that 64-bit mode does not have: decimal adjustment, SALC, BOUND.
 *
 * Flags that the manual leaves undefined get the values that AMD processors give them.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2; AMD APM volume 3. */
#include "x86/system_internal.h"

/* ax becomes `result`, flags are SF, ZF and PF of a sum of `size` bytes, and `flags`. */
static enum sys_result finish(struct cpu *c, const struct insn *in, u16 ax, u16 sum, int size, u64 flags)
{
	sum &= (u16)size_mask(size);
	if (sum >> (8 * size - 1))
		flags |= FLAG_SF;
	if (!sum)
		flags |= FLAG_ZF;
	if (!(__builtin_popcount((u8)sum) & 1))
		flags |= FLAG_PF;
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | ax;
	c->rflags = (c->rflags & ~(u64)FLAGS_STATUS) | flags;
	return sys_done(c, in);
}

/* OF of a + b = sum; for a - b the caller gives the complement of b. */
static u64 overflow(u16 a, u16 b, u16 sum, int size)
{
	return ((a ^ sum) & (b ^ sum)) >> (8 * size - 1) & 1 ? FLAG_OF : 0;
}

/* DAA, DAS */
static enum sys_result packed(struct cpu *c, const struct insn *in, bool subtract)
{
	u8 al = (u8)c->gpr[RAX], sum;
	bool low = (al & 15) > 9 || (c->rflags & FLAG_AF), high = al > 0x99 || (c->rflags & FLAG_CF);
	u64 flags = (low ? FLAG_AF : 0) | (high ? FLAG_CF : 0);
	u8 by = (u8)((low ? 6 : 0) + (high ? 0x60 : 0));

	sum = (u8)(subtract ? al - by : al + by);
	if (subtract && low && al < 6)
		flags |= FLAG_CF;
	flags |= overflow(al, subtract ? (u8)~by : by, sum, 1);
	return finish(c, in, (u16)((c->gpr[RAX] & 0xff00) | sum), sum, 1, flags);
}

/* AAA, AAS */
static enum sys_result unpacked(struct cpu *c, const struct insn *in, bool subtract)
{
	u16 ax = (u16)c->gpr[RAX], by = 0, sum;
	u64 flags = 0;

	if ((ax & 15) > 9 || (c->rflags & FLAG_AF)) {
		by = 0x106;
		flags = FLAG_AF | FLAG_CF;
	}
	sum = (u16)(subtract ? ax - by : ax + by);
	flags |= overflow(ax, subtract ? (u16)~by : by, sum, 2);
	return finish(c, in, sum & 0xff0f, sum, 2, flags);
}

static enum sys_result aad(struct cpu *c, const struct insn *in)
{
	u8 al = (u8)c->gpr[RAX], by = (u8)((c->gpr[RAX] >> 8) * (u8)in->imm), sum = (u8)(al + by);
	u64 flags = overflow(al, by, sum, 1) | ((al ^ by ^ sum) & FLAG_AF) | (sum < al ? FLAG_CF : 0);

	return finish(c, in, sum, sum, 1, flags);
}

static enum sys_result bound(struct cpu *c, const struct insn *in)
{
	int size = in->osize == 2 ? 2 : 4, shift = 64 - 8 * size;
	int seg = sys_operand_segment(in);
	u64 at = sys_operand_offset(c, in), bounds[2] = { 0, 0 };
	s64 index = (s64)(c->gpr[in->reg & 7] << shift) >> shift, low, high;

	if (sys_read(c, seg, at, &bounds[0], (size_t)size) ||
	    sys_read(c, seg, (at + (u64)size) & size_mask(in->asize), &bounds[1], (size_t)size))
		return SYS_FAULT;
	low = (s64)(bounds[0] << shift) >> shift;
	high = (s64)(bounds[1] << shift) >> shift;
	if (index < low || index > high)
		return sys_raise(c, VEC_BR);
	return sys_done(c, in);
}

/* What needs vector state comes here where its access is forbidden, which has to be said. */
static enum sys_result refuse(struct cpu *c, const struct insn *in)
{
	u8 bytes[64];

	if (in->has_mem && (in->mem_read || in->mem_write) &&
	    sys_read_for(c, sys_operand_segment(in), sys_operand_offset(c, in), bytes, MIN(MAX(in->mem_size, 1u), sizeof bytes),
			 in->mem_write ? VM_WRITE : VM_READ))
		return SYS_FAULT;
	return sys_raise(c, VEC_UD);
}

enum sys_result sys_do_decimal(struct cpu *c, const struct insn *in)
{
	u8 al = (u8)c->gpr[RAX], base = (u8)in->imm;

	if (in->map != MAP_1B || in->enc != ENC_LEGACY)
		return refuse(c, in);
	switch (in->op) {
	case 0x27: return packed(c, in, false);
	case 0x2f: return packed(c, in, true);
	case 0x37: return unpacked(c, in, false);
	case 0x3f: return unpacked(c, in, true);
	case 0x62: return bound(c, in);
	case 0xd4: /* AAM */
		if (!base)
			return sys_raise(c, VEC_DE);
		return finish(c, in, (u16)((al / base) << 8 | al % base), al % base, 1, 0);
	case 0xd5: return aad(c, in);
	case 0xd6: /* SALC */
		c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | (c->rflags & FLAG_CF ? 0xff : 0);
		return sys_done(c, in);
	default:
		return refuse(c, in);
	}
}
