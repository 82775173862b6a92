/* SPDX-License-Identifier: MIT
 * Writes a decoded instruction anew with other registers or another memory operand, and the few instructions
 * of the optimiser's own.  Freestanding, no state.  Source: Intel SDM volume 2A, chapter 2. */
#include "optimise/ir.h"

/* ModRM, SIB and displacement; `imm` bytes follow.  EVEX scales a displacement of one byte: `wide` avoids it. */
static void modrm(struct emit *e, int g, const struct rm *m, unsigned imm, bool wide)
{
	unsigned r = (unsigned)(g & 7) << 3, mod;
	bool sib;

	if (!m->mem) {
		e8(e, 0xc0 | r | (m->reg & 7));
		return;
	}
	if (m->base == REG_RIP) {
		e8(e, 0x05 | r);
		e32(e, (u32)(m->disp - (s64)(uintptr_t)(e->p + 4 + imm)));
		return;
	}
	if (m->base == REG_NONE) {
		e8(e, 0x04 | r);
		e8(e, m->index == REG_NONE ? 0x25 : 0x05 | (m->index & 7) << 3 | m->shift << 6);
		e32(e, (u32)m->disp);
		return;
	}
	mod = !m->disp && (m->base & 7) != RBP ? 0 : m->disp == (s8)m->disp && !wide ? 1 : 2;
	sib = m->index != REG_NONE || (m->base & 7) == RSP;
	e8(e, mod << 6 | r | (sib ? 4 : m->base & 7));
	if (sib)
		e8(e, (m->index == REG_NONE ? 4 << 3 : (m->index & 7) << 3 | m->shift << 6) | (m->base & 7));
	if (mod == 1)
		e8(e, (u8)m->disp);
	else if (mod == 2)
		e32(e, (u32)m->disp);
}

static unsigned rex_bits(int g, const struct rm *m)
{
	unsigned x = 0, b = 0;

	if (!m->mem) {
		b = m->reg >> 3;
	} else {
		if (m->base < 16)
			b = m->base >> 3;
		if (m->index < 16)
			x = m->index >> 3;
	}
	return (unsigned)(g >> 3 & 1) << 2 | x << 1 | (b & 1);
}

static void segment(struct emit *e, u8 seg)
{
	if (seg == SEG_FS || seg == SEG_GS)
		e8(e, seg == SEG_FS ? 0x64 : 0x65);
}

static void encode_legacy(struct emit *e, const struct op *op, int g, const struct rm *rm)
{
	const struct insn *in = &op->in;
	unsigned rex = rex_bits(g, rm) | (in->rex & 8);
	/* What is copied as it stands keeps its REX, without which SIL is DH. */
	bool byte = (op->kind == OP_OPAQUE && in->rex) || (op->e_role && op->e_size == 1 && !rm->mem && rm->reg >= 4) ||
		    (op->g_role && op->g_size == 1 && g >= 4);

	segment(e, rm->mem ? rm->seg : SEG_NONE);
	if (in->opsize_prefix)
		e8(e, 0x66);
	if (in->rep)
		e8(e, in->rep);
	if (rex || byte)
		e8(e, (u8)(0x40 | rex));
	if (in->map != MAP_1B)
		e8(e, 0x0f);
	if (in->map == MAP_0F38 || in->map == MAP_0F3A)
		e8(e, in->map == MAP_0F38 ? 0x38 : 0x3a);
	e8(e, in->op);
	modrm(e, g, rm, in->imm_size, false);
	e_bytes(e, op->raw + in->off_imm, in->imm_size);
}

static void encode_vector(struct emit *e, const struct op *op, int g, const struct rm *rm)
{
	const struct insn *in = &op->in;
	const u8 *p = op->raw + in->off_enc;
	unsigned rex = rex_bits(g, rm);
	u8 keep = rm->mem ? 0x60 : 0x40; /* EVEX.X extends a vector register where there is no memory */

	segment(e, rm->mem ? rm->seg : SEG_NONE);
	if (in->enc == ENC_EVEX) {
		e8(e, p[0]);
		e8(e, (u8)((p[1] & ~(rm->mem ? 0x60 : 0)) | (rm->mem ? (rex & 2 ? 0 : 0x40) | (rex & 1 ? 0 : 0x20) : 0)));
		e8(e, p[2]);
		e8(e, p[3]);
	} else {
		u8 first = p[0] == 0xc5 ? 0x61 | (p[1] & 0x80) : p[1];
		u8 second = p[0] == 0xc5 ? p[1] & 0x7f : p[2];

		if (rm->mem)
			first = (u8)((first & ~keep) | (rex & 2 ? 0 : 0x40) | (rex & 1 ? 0 : 0x20));
		e8(e, 0xc4);
		e8(e, first);
		e8(e, second);
	}
	e8(e, in->op);
	modrm(e, g, rm, in->imm_size, in->enc == ENC_EVEX);
	e_bytes(e, op->raw + in->off_imm, in->imm_size);
}

void encode_op(struct emit *e, const struct op *op, int g, const struct rm *rm)
{
	if (op->in.enc == ENC_LEGACY)
		encode_legacy(e, op, g, rm);
	else
		encode_vector(e, op, g, rm);
}

void encode_rm(struct emit *e, unsigned opcode, unsigned size, int g, const struct rm *rm, unsigned imm)
{
	unsigned rex = rex_bits(g, rm) | (size == 8 ? 8 : 0);

	segment(e, rm->mem ? rm->seg : SEG_NONE);
	if (size == 2)
		e8(e, 0x66);
	if (rex || size == 1)
		e8(e, (u8)(0x40 | rex));
	if (opcode > 0xff)
		e8(e, 0x0f);
	e8(e, (u8)opcode);
	modrm(e, g, rm, imm, false);
}

void encode_alu_imm(struct emit *e, enum alu a, unsigned size, const struct rm *rm, s32 imm)
{
	if (a == ALU_TEST) {
		encode_rm(e, size == 1 ? 0xf6 : 0xf7, size, 0, rm, size == 1 ? 1 : size == 2 ? 2 : 4);
		if (size == 1)
			e8(e, (u8)imm);
		else if (size == 2)
			e16(e, (u16)imm);
		else
			e32(e, (u32)imm);
	} else if (imm == (s8)imm) {
		encode_rm(e, size == 1 ? 0x80 : 0x83, size, a, rm, 1);
		e8(e, (u8)imm);
	} else {
		encode_rm(e, 0x81, size, a, rm, 4);
		e32(e, (u32)imm);
	}
}
