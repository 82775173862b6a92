/* SPDX-License-Identifier: MIT
 * Instructions that 64-bit mode does not have: decimal adjustment, SALC, BOUND.
 *
 * Flags that the manual leaves undefined get the values that AMD processors give them.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2; AMD APM volume 3. */
#include "x86/system_internal.h"

static u64 result_flags(u8 al)
{
	u64 f = al & 0x80 ? FLAG_SF : 0;

	if (!al)
		f |= FLAG_ZF;
	if (!(__builtin_popcount(al) & 1))
		f |= FLAG_PF;
	return f;
}

static enum sys_result finish(struct cpu *c, const struct insn *in, u16 ax, u64 flags)
{
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | ax;
	c->rflags = (c->rflags & ~(u64)FLAGS_STATUS) | flags | result_flags((u8)ax);
	return sys_done(c, in);
}

/* DAA, DAS */
static enum sys_result packed(struct cpu *c, const struct insn *in, bool subtract)
{
	u8 al = (u8)c->gpr[RAX], old = al;
	bool low = (al & 15) > 9 || (c->rflags & FLAG_AF), high = al > 0x99 || (c->rflags & FLAG_CF);
	u64 flags = (low ? FLAG_AF : 0) | (high ? FLAG_CF : 0);
	u8 by = (u8)((low ? 6 : 0) + (high ? 0x60 : 0));

	al = (u8)(subtract ? al - by : al + by);
	if (subtract && low && old < 6)
		flags |= FLAG_CF;
	return finish(c, in, (u16)((c->gpr[RAX] & 0xff00) | al), flags);
}

/* AAA, AAS */
static enum sys_result unpacked(struct cpu *c, const struct insn *in, bool subtract)
{
	u16 ax = (u16)c->gpr[RAX];
	u64 flags = 0;

	if ((ax & 15) > 9 || (c->rflags & FLAG_AF)) {
		ax = (u16)(subtract ? ax - 0x106 : ax + 0x106);
		flags = FLAG_AF | FLAG_CF;
	}
	return finish(c, in, ax & 0xff0f, flags);
}

static enum sys_result bound(struct cpu *c, const struct insn *in)
{
	int size = in->osize == 2 ? 2 : 4, shift = 64 - 8 * size;
	u64 pair = 0;
	s64 index = (s64)(c->gpr[in->reg & 7] << shift) >> shift, low, high;

	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), &pair, 2 * (size_t)size))
		return SYS_FAULT;
	low = (s64)(pair << shift) >> shift;
	high = (s64)(pair >> (8 * size) << shift) >> shift;
	if (index < low || index > high)
		return sys_raise(c, VEC_BR);
	return sys_done(c, in);
}

enum sys_result sys_do_decimal(struct cpu *c, const struct insn *in)
{
	u8 al = (u8)c->gpr[RAX], ah = (u8)(c->gpr[RAX] >> 8), base = (u8)in->imm;

	if (in->map != MAP_1B || in->enc != ENC_LEGACY)
		return sys_raise(c, VEC_UD);
	switch (in->op) {
	case 0x27: return packed(c, in, false);
	case 0x2f: return packed(c, in, true);
	case 0x37: return unpacked(c, in, false);
	case 0x3f: return unpacked(c, in, true);
	case 0x62: return bound(c, in);
	case 0xd4: /* AAM */
		if (!base)
			return sys_raise(c, VEC_DE);
		return finish(c, in, (u16)((al / base) << 8 | al % base), 0);
	case 0xd5: /* AAD */
		return finish(c, in, (u8)(al + ah * base), 0);
	case 0xd6: /* SALC */
		c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | (c->rflags & FLAG_CF ? 0xff : 0);
		return sys_done(c, in);
	default:
		return sys_raise(c, VEC_UD);
	}
}
