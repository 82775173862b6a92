/* SPDX-License-Identifier: MIT
 * 32-bit code of the guest's user programs, run in the host's 64-bit mode.
 *
 * Owner: the running carrier of the vCPU, as all of the translator.
 *
 * Invariants, at every precise point of a block with TM_COMPAT:
 *  C1  The upper halves of RAX..RDI are zero.  Whoever enters 32-bit code clears them; every
 *      instruction that writes 32 bits keeps them clear.  The architecture leaves them undefined.
 *  C2  R8..R15 are the translator's: COMPAT_FS, COMPAT_GS and COMPAT_KEY_REG hold what translate/block.h
 *      says, the others are scratch whose value nobody needs once the expansion is over.  The guest's R8..R15, which 32-bit code
 *      cannot name, stay in struct cpu, where only 64-bit code looks for them.
 *  C3  CS, DS, ES and SS are flat.  Where they are not the mode has TM_SEGMENTS as well: memory is
 *      then accessed in C, with all checks of the segments.  So it is through FS and GS with TM_FS, TM_GS.
 *
 * An instruction that does more than one access writes registers after the last one that can fault (but POPA).
 * Vector registers 8 and up belong to 64-bit code too; instructions that move all of them at once (FXSAVE,
 * XSAVE, VZEROALL) do so here as in 64-bit mode. */
#include "translate/compat.h"

static const struct compat_operand top = { RSP, REG_NONE, 1, 0, false, REG_NONE };

/* lea esp, [rsp + n] */
static void e_move_stack(struct emit *e, s32 n)
{
	struct compat_operand o = top;

	o.disp = n;
	compat_lea(e, RSP, &o);
}

static void e_store_at(struct emit *e, bool half, int reg, s32 offset)
{
	struct compat_operand o = top;

	o.disp = offset;
	compat_access(e, half, 0x89, reg, &o);
}

static void e_load_at(struct emit *e, bool half, int reg, s32 offset)
{
	struct compat_operand o = top;

	o.disp = offset;
	compat_access(e, half, 0x8b, reg, &o);
}

static void push_immediate(struct tx *t, bool half, u32 value)
{
	struct compat_operand o = top;
	struct emit *e = &t->hot;

	o.disp = half ? -2 : -4;
	tx_current(t)->access = AK_IDENT;
	compat_access(e, half, 0xc7, 0, &o);
	if (half)
		e16(e, (u16)value);
	else
		e32(e, value);
	e_move_stack(e, o.disp);
}

static void e_mov32(struct emit *e, int dst, int src)
{
	if ((dst | src) >> 3)
		e_rex(e, 0, src, 0, dst);
	e8(e, 0x89); e8(e, 0xc0 | (src & 7) << 3 | (dst & 7));
}

static void compat_push(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct emit *e = &t->hot;
	bool half = in->osize == 2;
	int size = half ? 2 : 4, reg = in->op & 7;

	tx_current(t)->access = AK_IDENT;
	if (in->op == 0x68 || in->op == 0x6a) {
		push_immediate(t, half, (u32)in->imm);
		return;
	}
	if (in->op == 0xff) {
		reg = in->modrm & 7;
		if (in->has_mem) {
			struct compat_operand o = compat_address(t, ti);

			compat_access(e, half, 0x8b, CR_VALUE, &o);
			reg = CR_VALUE;
		}
	}
	e_store_at(e, half, reg, -size);
	e_move_stack(e, -size);
}

static void compat_pop(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct emit *e = &t->hot;
	bool half = in->osize == 2;
	int size = half ? 2 : 4, reg = in->op & 7;

	tx_current(t)->access = AK_IDENT;
	if (in->op == 0x8f && in->has_mem) {
		/* A destination that is based on ESP is computed after the increment. */
		struct tx_insn after = *ti;

		if (in->base == RSP)
			after.in.disp += size;
		struct compat_operand o = compat_address(t, &after);

		e_load_at(e, half, CR_VALUE, 0);
		compat_access(e, half, 0x89, CR_VALUE, &o);
		e_move_stack(e, size);
		return;
	}
	if (in->op == 0x8f)
		reg = in->modrm & 7;
	if (reg == RSP && half) {
		tx_execute(t, ti);
		return;
	}
	e_load_at(e, half, reg, 0);
	if (reg != RSP)
		e_move_stack(e, size);
}

static void compat_pusha(struct tx *t, bool half)
{
	int size = half ? 2 : 4;

	tx_current(t)->access = AK_IDENT;
	for (int r = RAX; r <= RDI; r++)
		e_store_at(&t->hot, half, r, -size * (r + 1));
	e_move_stack(&t->hot, -8 * size);
}

static void compat_popa(struct tx *t, bool half)
{
	int size = half ? 2 : 4;

	tx_current(t)->access = AK_IDENT;
	/* Where the frame ends on a page that faults, the processor too has loaded what came before. */
	for (int r = RDI; r >= RAX; r--)
		e_load_at(&t->hot, half, r == RSP ? CR_VALUE : r, size * (RDI - r));
	e_move_stack(&t->hot, 8 * size);
}

/* The new top of the stack must be writable too: two NOTs write to it, and leave it and the flags as they were. */
static void compat_enter(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	s32 frame = -4 - (s32)(u16)ti->in.imm;
	struct compat_operand last = top;

	if (ti->in.imm2 & 31) {
		tx_execute(t, ti);
		return;
	}
	tx_current(t)->access = AK_IDENT;
	e_store_at(e, false, RBP, -4);
	last.disp = frame;
	compat_access(e, false, 0xf7, 2, &last);
	compat_access(e, false, 0xf7, 2, &last);
	e_move_stack(e, -4);
	e_mov32(e, RBP, RSP);
	e_move_stack(e, frame + 4);
}

static void compat_leave(struct tx *t)
{
	static const struct compat_operand saved = { RBP, REG_NONE, 1, 0, false, REG_NONE };
	static const struct compat_operand above = { RBP, REG_NONE, 1, 4, false, REG_NONE };
	struct emit *e = &t->hot;

	tx_current(t)->access = AK_IDENT;
	compat_access(e, false, 0x8b, CR_VALUE, &saved);
	compat_lea(e, RSP, &above);
	e_mov32(e, RBP, CR_VALUE);
}

/* The target is in R11; nothing from here on can fault. */
static void indirect_tail(struct tx *t)
{
	e_lea_bi(&t->hot, R11, R11, COMPAT_KEY_REG);
	tx_indirect_user(t);
}

static void compat_ret(struct tx *t, const struct tx_insn *ti)
{
	tx_current(t)->access = AK_IDENT;
	e_load_at(&t->hot, false, R11, 0);
	e_move_stack(&t->hot, 4 + (ti->in.imm_size ? (u16)ti->in.imm : 0));
	indirect_tail(t);
}

static void compat_indirect(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;

	if (in->has_mem) {
		struct compat_operand o = compat_address(t, ti);

		compat_access(&t->hot, false, 0x8b, R11, &o);
	} else {
		e_mov32(&t->hot, R11, in->modrm & 7);
	}
	if (in->klass == IC_CALL_IND)
		push_immediate(t, false, (u32)(ti->pc + in->len));
	indirect_tail(t);
}

/* MOV between AL, AX or EAX and an absolute address. */
static void compat_moffs(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct compat_operand o = compat_address(t, ti);

	compat_access(&t->hot, (in->op & 1) && in->osize == 2, (u8)(0x88 | (in->op & 1) | (in->op & 2 ? 0 : 2)), RAX, &o);
}

static void compat_lea_insn(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct compat_operand o = { in->base, in->index, in->scale, (s32)in->disp, false, REG_NONE };
	struct emit *e = &t->hot;
	int reg = in->modrm >> 3 & 7;

	if (in->asize == 4 && in->osize == 4) {
		compat_lea(e, reg, &o);
		return;
	}
	compat_lea(e, CR_ADDRESS, &o);
	if (in->osize == 2) { /* mov reg16, r8w */
		e8(e, 0x66); e8(e, 0x44); e8(e, 0x89);
	} else {              /* movzx reg, r8w */
		e8(e, 0x41); e8(e, 0x0f); e8(e, 0xb7);
		e8(e, (u8)(0xc0 | reg << 3 | (CR_ADDRESS & 7)));
		return;
	}
	e8(e, (u8)(0xc0 | (CR_ADDRESS & 7) << 3 | reg));
}

/* BT, BTS, BTR, BTC with a bit index in a register, which is part of the effective address. */
static bool is_bit_string(const struct insn *in)
{
	return in->map == MAP_0F && in->enc == ENC_LEGACY && in->has_mem &&
	       (in->op == 0xa3 || in->op == 0xab || in->op == 0xb3 || in->op == 0xbb);
}

/* Instructions that 64-bit mode does not have, or has as something else. */
static bool compat_special(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	struct tx_insn alias = *ti;
	u8 op = ti->in.op;

	if (is_bit_string(&ti->in) && ti->in.asize == 2) {
		tx_execute(t, ti);
		return true;
	}
	if (ti->in.map != MAP_1B || ti->in.enc != ENC_LEGACY)
		return false;
	if (op >= 0x40 && op <= 0x4f) { /* INC, DEC */
		compat_prefixes(e, ti, false);
		e8(e, 0xff);
		e8(e, (u8)(0xc0 | (op & 15)));
		return true;
	}
	switch (op) {
	case 0x27: case 0x2f: case 0x37: case 0x3f: case 0xd4: case 0xd5: case 0xd6: case 0x62:
		tx_execute(t, ti);
		return true;
	case 0x82:
		alias.raw[ti->in.off_opcode] = 0x80;
		compat_copy(t, &alias);
		return true;
	case 0x8d:
		compat_lea_insn(t, ti);
		return true;
	default:
		return false;
	}
}

static bool overrides_fs_gs(const struct insn *in) { return in->seg == SEG_FS || in->seg == SEG_GS; }

/* Without ModRM, with [ESI] or [EDI], or [EBX + AL]. */
static void compat_fixed_operand(struct tx *t, const struct tx_insn *ti)
{
	if (ti->in.asize == 2 || overrides_fs_gs(&ti->in)) {
		tx_execute(t, ti);
		return;
	}
	tx_current(t)->access = AK_IDENT;
	compat_prefixes(&t->hot, ti, true);
	e8(&t->hot, ti->in.op);
}

static bool compat_transfer(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	u64 next = ti->pc + in->len;

	switch (in->klass) {
	case IC_JMP:
		tx_branch(t, -1, next + (u64)in->imm);
		t->ended = true;
		return true;
	case IC_JCC:
		tx_branch(t, in->op & 15, next + (u64)in->imm);
		return true;
	case IC_LOOP:
		tx_loop(t, ti);
		return true;
	case IC_CALL:
		push_immediate(t, false, (u32)next);
		tx_branch(t, -1, next + (u64)in->imm);
		t->ended = true;
		return true;
	case IC_RET:
		compat_ret(t, ti);
		t->ended = true;
		return true;
	case IC_JMP_IND: case IC_CALL_IND:
		compat_indirect(t, ti);
		t->ended = true;
		return true;
	default:
		return false;
	}
}

static bool is_transfer(const struct insn *in)
{
	switch (in->klass) {
	case IC_JMP: case IC_JCC: case IC_LOOP: case IC_CALL: case IC_RET: case IC_JMP_IND: case IC_CALL_IND:
		return true;
	default:
		return false;
	}
}

/* C3: what needs no segment but CS may run as it is. */
static bool needs_segments(const struct insn *in)
{
	if (in->klass == IC_PLAIN)
		return in->mem_read || in->mem_write;
	return in->klass != IC_JMP && in->klass != IC_JCC && in->klass != IC_LOOP;
}

static void compat_insn(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	int checks = TM_SEGMENTS | (in->seg == SEG_FS ? TM_FS : in->seg == SEG_GS ? TM_GS : 0);
	bool into_code = in->seg == SEG_CS && in->mem_write; /* #GP */

	if (into_code || tx_guarded(t, ti) || ((t->b->mode & checks) && needs_segments(in))) {
		tx_execute(t, ti);
		return;
	}
	if (is_transfer(in)) {
		/* A 16-bit operand cuts EIP; LOOP with CX has no equal. */
		if (in->opsize_prefix || (in->klass == IC_LOOP && in->asize == 2) || !compat_transfer(t, ti))
			tx_execute(t, ti);
		return;
	}
	switch (in->klass) {
	case IC_PLAIN:
		if (!compat_special(t, ti))
			compat_copy(t, ti);
		break;
	case IC_MOVDIR64B:
		compat_copy(t, ti);
		break;
	case IC_PUSH:
		compat_push(t, ti);
		break;
	case IC_POP:
		compat_pop(t, ti);
		break;
	case IC_MOFFS:
		compat_moffs(t, ti);
		break;
	case IC_MOVS: case IC_STOS: case IC_LODS: case IC_CMPS: case IC_SCAS: case IC_XLAT:
		compat_fixed_operand(t, ti);
		break;
	case IC_MASKMOV:
		if (in->seg == SEG_CS)
			e8(&t->hot, 0xf4); /* HLT: the same fault as a write to a code segment */
		else
			compat_implicit(t, ti, RDI);
		break;
	case IC_CLZERO:
		compat_implicit(t, ti, RAX);
		break;
	case IC_XSAVE: case IC_XRSTOR:
		compat_xsave(t, ti);
		break;
	default:
		if (in->klass == IC_PUSHA)
			compat_pusha(t, in->osize == 2);
		else if (in->klass == IC_POPA)
			compat_popa(t, in->osize == 2);
		else if (in->osize == 4 && in->klass == IC_ENTER)
			compat_enter(t, ti);
		else if (in->osize == 4 && in->klass == IC_LEAVE)
			compat_leave(t);
		else if (in->klass == IC_RDTSC && !t->r->rdtsc_exits)
			e_bytes(&t->hot, ti->raw + in->off_enc, (size_t)(in->len - in->off_enc));
		else
			tx_execute(t, ti);
		break;
	}
}

void compat_emit(struct tx *t)
{
	u64 next = t->b->pc + t->b->guest_len;

	for (int i = 0; i < t->n && !t->ended; i++) {
		tx_record(t, t->insns[i].pc, AK_NONE, 0);
		compat_insn(t, &t->insns[i]);
	}
	if (!t->ended) {
		tx_record(t, next, AK_NONE, REC_END);
		tx_branch(t, -1, next);
	}
}
