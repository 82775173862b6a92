/* SPDX-License-Identifier: MIT
 * 32-bit user code: memory operands, and encodings that 64-bit mode reads differently.
 *
 * An address-size prefix makes the host wrap addresses at 4 GiB as the guest does; it is left out where
 * nothing can wrap.  The bases of FS and GS lie in registers of ours, so that a segment override costs
 * one more term of the address.  Source: Intel SDM volume 2, sections 2.1.5, 2.2.1.3, 2.3 and 2.7. */
#include "translate/compat.h"

static int segment_base(const struct insn *in)
{
	return in->seg == SEG_FS ? COMPAT_FS : in->seg == SEG_GS ? COMPAT_GS : REG_NONE;
}

static bool can_wrap(const struct compat_operand *o)
{
	if (o->index != REG_NONE)
		return true;
	return o->base == REG_NONE ? o->disp < 0 : o->disp != 0;
}

static void e_rex32(struct emit *e, int reg, const struct compat_operand *o)
{
	int x = o->index == REG_NONE ? 0 : o->index, b = o->base == REG_NONE ? 0 : o->base;

	if ((reg | x | b) >> 3)
		e_rex(e, 0, reg, x, b);
}

void compat_access(struct emit *e, bool half, u8 op, int reg, const struct compat_operand *o)
{
	if (half)
		e8(e, 0x66);
	if (can_wrap(o))
		e8(e, 0x67);
	e_rex32(e, reg, o);
	e8(e, op);
	tx_operand(e, reg, o->base, o->index, o->scale, o->disp);
}

void compat_lea(struct emit *e, int reg, const struct compat_operand *o)
{
	/* The result is cut to 32 bits whatever the address size. */
	e_rex32(e, reg, o);
	e8(e, 0x8d);
	tx_operand(e, reg, o->base, o->index, o->scale, o->disp);
}

/* o = [CR_ADDRESS (+ segment)], the address cut to 16 bits first where `half`. */
static void through_register(struct emit *e, struct compat_operand *o, int segment, bool half)
{
	compat_lea(e, CR_ADDRESS, o);
	if (half) { /* movzx r8d, r8w */
		e_rex(e, 0, CR_ADDRESS, 0, CR_ADDRESS);
		e8(e, 0x0f); e8(e, 0xb7); e8(e, 0xc0 | (CR_ADDRESS & 7) << 3 | (CR_ADDRESS & 7));
	}
	*o = (struct compat_operand){ .base = CR_ADDRESS, .index = segment, .scale = 1, .borrowed = REG_NONE };
}

static void add_segment(struct emit *e, struct compat_operand *o, int segment)
{
	if (segment == REG_NONE)
		return;
	if (o->base == REG_NONE) {
		o->base = segment;
	} else if (o->index == REG_NONE) {
		o->index = segment;
		o->scale = 1;
	} else {
		through_register(e, o, segment, false);
	}
}

static bool is_ours(int reg) { return reg != REG_NONE && reg >= R8; }

/* AH, CH, DH and BH cannot be named beside a register of ours: the address goes into a register of
 * the guest's that the instruction does not use. */
static void without_rex(struct tx *t, const struct insn *in, struct compat_operand *o)
{
	u16 taken = 0;

	if (!in->byte_reg_high || (!is_ours(o->base) && !is_ours(o->index)))
		return;
	int s = tx_borrow(t, in, &taken);

	compat_lea(&t->hot, s, o);
	*o = (struct compat_operand){ .base = s, .index = REG_NONE, .scale = 1, .borrowed = s };
}

struct compat_operand compat_address(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	int segment = segment_base(in);
	bool absolute = in->off_modrm && (in->modrm & 0xc7) == 5;
	struct compat_operand o = {
		.base = in->base, .index = in->vsib ? REG_NONE : in->index, .scale = in->scale, .disp = (s32)in->disp,
		.borrowed = REG_NONE,
	};

	tx_current(t)->access = AK_IDENT;
	if (!in->off_modrm)
		o.base = o.index = REG_NONE;
	if (in->asize == 2) {
		if (o.base == REG_NONE)
			o.disp = (u16)o.disp;
		else
			through_register(&t->hot, &o, REG_NONE, true);
		add_segment(&t->hot, &o, segment);
	} else if (segment != REG_NONE) {
		/* The index of a gather stays with the instruction; EVEX scales a byte displacement. */
		if (in->vsib || in->enc == ENC_EVEX) {
			add_segment(&t->hot, &o, segment);
			through_register(&t->hot, &o, REG_NONE, false);
		} else {
			add_segment(&t->hot, &o, segment);
		}
	} else {
		o.verbatim = in->off_modrm && !absolute;
	}
	without_rex(t, in, &o);
	return o;
}

void compat_prefixes(struct emit *e, const struct tx_insn *ti, bool address32)
{
	for (int i = 0; i < ti->in.nprefix; i++) {
		u8 p = ti->raw[i];

		if (p == 0x66 || p == 0xf0 || p == 0xf2 || p == 0xf3)
			e8(e, p);
	}
	if (address32)
		e8(e, 0x67);
}

/* VEX and EVEX instructions that move a general register, and treat W as 0 outside 64-bit mode. */
static bool w_is_ignored(const struct insn *in)
{
	u8 op = in->op;

	switch (in->map) {
	case MAP_0F:
		return ((op == 0x6e || op == 0x7e) && in->pp == 1) || ((op == 0x2a || op == 0x2c || op == 0x2d) && in->pp >= 2) ||
		       (in->enc == ENC_VEX && op == 0x93 && in->pp == 3) ||
		       (in->enc == ENC_EVEX && (op == 0x78 || op == 0x79 || op == 0x7b) && in->pp >= 2);
	case MAP_0F38:
		return in->enc == ENC_VEX ? op >= 0xf2 && op <= 0xf7 : op == 0x7c;
	case MAP_0F3A:
		return in->enc == ENC_EVEX ? op == 0x16 || op == 0x22 : op == 0xf0;
	case MAP_XOP9:
		return op == 0x01 || op == 0x02 || op == 0x12;
	case MAP_XOPA:
		return true;
	default:
		return false;
	}
}

/* A fourth register in the high half of an immediate. */
static bool has_is4(const struct insn *in)
{
	u8 op = in->op;

	if (in->enc == ENC_XOP)
		return in->map == MAP_XOP8 && op < 0xc0;
	return in->enc == ENC_VEX && in->map == MAP_0F3A &&
	       ((op >= 0x48 && op <= 0x4c) || (op >= 0x5c && op <= 0x5f) || (op & 0xe8) == 0x68);
}

/* Bits that only 64-bit mode heeds get the value that means a register below 8. */
static void normalize(struct tx_insn *ti)
{
	struct insn *in = &ti->in;
	u8 *p = ti->raw + in->off_enc;

	in->rex = 0;
	if (in->enc == ENC_LEGACY || p[0] == 0xc5)
		return;
	p[1] |= in->enc == ENC_EVEX ? 0xf0 : 0xe0;
	p[2] |= 0x40;
	if (w_is_ignored(in))
		p[2] &= 0x7f;
}

static void e_memory(struct emit *e, const struct tx_insn *ti, const struct compat_operand *o)
{
	const struct insn *in = &ti->in;

	if (o->verbatim) {
		int end = in->off_disp ? in->off_disp + in->disp_size : in->off_sib ? in->off_sib + 1 : in->off_modrm + 1;

		e_bytes(e, ti->raw + in->off_modrm, (size_t)(end - in->off_modrm));
	} else if (in->vsib) { /* [CR_ADDRESS + vector index] */
		e8(e, (u8)((in->modrm & 0x38) | 4));
		e8(e, (u8)((in->sib & 0xf8) | (CR_ADDRESS & 7)));
	} else {
		tx_operand(e, in->modrm >> 3 & 7, o->base, o->index, o->scale, o->disp);
	}
}

/* VPEXTRQ and VPINSRQ: not an instruction outside 64-bit mode. */
static bool is_undefined(const struct insn *in)
{
	return in->enc == ENC_VEX && in->map == MAP_0F3A && (in->op == 0x16 || in->op == 0x22) && (in->rex & 8);
}

void compat_copy(struct tx *t, const struct tx_insn *guest)
{
	struct tx_insn ti = *guest;
	const struct insn *in = &ti.in;
	struct compat_operand o = { .base = REG_NONE, .index = REG_NONE, .borrowed = REG_NONE };
	struct emit *e = &t->hot;

	if (is_undefined(in)) {
		e8(e, 0x0f); e8(e, 0x0b);
		return;
	}
	normalize(&ti);
	if (in->has_mem)
		o = compat_address(t, &ti);
	compat_prefixes(e, &ti, in->has_mem && (can_wrap(&o) || in->vsib || in->klass == IC_MOVDIR64B));
	tx_opcode(e, &ti, 0, o.index == REG_NONE ? 0 : o.index >> 3, o.base == REG_NONE ? 0 : o.base >> 3);
	if (in->has_mem)
		e_memory(e, &ti, &o);
	else if (in->off_modrm)
		e8(e, in->modrm);
	for (int i = 0; i < in->imm_size; i++)
		e8(e, i == 0 && has_is4(in) ? ti.raw[in->off_imm] & 0x7f : ti.raw[in->off_imm + i]);
	if (o.borrowed != REG_NONE)
		tx_return(t, o.borrowed);
}

void compat_implicit(struct tx *t, const struct tx_insn *ti, int reg)
{
	const struct insn *in = &ti->in;
	int segment = segment_base(in);
	bool plain = segment == REG_NONE && in->asize == 4;
	struct compat_operand o = { .base = reg, .index = REG_NONE, .scale = 1 };
	struct emit *e = &t->hot;

	if (!plain) {
		e_store_gs(e, spill_reg(t, reg), reg);
		tx_current(t)->borrowed |= (u16)BIT(reg);
		if (in->asize == 2)
			through_register(e, &o, REG_NONE, true);
		add_segment(e, &o, segment);
		compat_lea(e, reg, &o);
	}
	tx_current(t)->access = AK_IDENT;
	compat_prefixes(e, ti, true);
	e_bytes(e, ti->raw + in->off_enc, (size_t)(in->len - in->off_enc));
	if (!plain)
		tx_return(t, reg);
}

/* The component mask in EDX:EAX is cut to the guest's XCR0, as in 64-bit code. */
void compat_xsave(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	struct compat_operand o = compat_address(t, ti);

	compat_lea(e, CR_ADDRESS, &o);
	e_store_gs(e, spill_reg(t, RAX), RAX);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	tx_current(t)->borrowed |= (u16)(BIT(RAX) | BIT(RDX));
	e_pext_gs(e, RAX, RAX, CONST_DISP + CN_XCR0);
	e_pdep_gs(e, RAX, RAX, CONST_DISP + CN_XCR0);
	e_mov_imm(e, RDX, 0);
	compat_prefixes(e, ti, false);
	tx_opcode(e, ti, 0, 0, CR_ADDRESS >> 3);
	tx_operand(e, ti->in.modrm >> 3 & 7, CR_ADDRESS, REG_NONE, 1, 0);
	tx_return(t, RDX);
	tx_return(t, RAX);
}
