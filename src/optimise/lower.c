/* SPDX-License-Identifier: MIT
 * From guest bytes to operations of the optimiser: which operands an instruction has, as far as passes want to
 * know.  What is not listed here is copied as it stands, with its registers brought home: an omission costs
 * speed, never correctness.  Freestanding; owner as ir.h. */
#include "optimise/ir.h"

#define RW (ROLE_READ | ROLE_WRITE)
#define R ROLE_READ
#define W ROLE_WRITE

static void roles(struct op *op, u8 e, u8 g)
{
	const struct insn *in = &op->in;

	op->kind = OP_PLAIN;
	op->e_role = in->has_mem ? 0 : e;
	op->g_role = g;
	op->e_size = op->g_size = in->osize;
	/* A part of a register that is written keeps the rest. */
	if (in->osize < 4) {
		if (op->e_role & W)
			op->e_role |= R;
		if (op->g_role & W)
			op->g_role |= R;
	}
}

static void lower_alu(struct op *op, enum alu a, bool g_is_destination, bool imm)
{
	const struct insn *in = &op->in;
	bool keeps = a == ALU_CMP || a == ALU_TEST;

	if (imm)
		roles(op, keeps ? R : RW, 0);
	else if (g_is_destination)
		roles(op, R, keeps ? R : RW);
	else
		roles(op, keeps ? R : RW, R);
	op->alu = (u8)a;
	op->alu_g = g_is_destination;
	op->has_imm = imm;
	if (in->osize >= 4 && !in->lock)
		op->kind = OP_ALU;
}

/* AL, eAX or rAX with an immediate: as the form with ModRM, RAX in it. */
static void lower_alu_acc(struct op *op, enum alu a)
{
	struct insn *in = &op->in;

	if (in->osize < 4) {
		op->kind = OP_OPAQUE;
		return;
	}
	in->mod = 3;
	in->rm = RAX;
	lower_alu(op, a, false, true);
}

/* Shifts and rotations: E is changed, by an immediate, one, or CL. */
static void lower_shift(struct op *op)
{
	roles(op, RW, 0);
	if (op->in.op >= 0xd2)
		op->imp_read = BIT(RCX);
	op->flags_touch = true;
}

static void lower_f6(struct op *op)
{
	const struct insn *in = &op->in;
	bool byte = in->osize == 1;

	switch (in->reg & 7) {
	case 0: case 1:
		lower_alu(op, ALU_TEST, false, true);
		break;
	case 2: case 3:
		roles(op, RW, 0);
		break;
	default:
		roles(op, R, 0);
		op->imp_read = byte ? BIT(RAX) : BIT(RAX) | BIT(RDX);
		op->imp_write = op->imp_read;
	}
}

static void lower_mov_imm(struct op *op)
{
	const struct insn *in = &op->in;

	op->has_imm = true;
	if (in->has_mem) {
		op->kind = OP_STORE;
	} else if (in->osize >= 4) {
		op->kind = OP_MOV;
	} else {
		roles(op, RW, 0);
	}
}

static void lower_mov(struct op *op)
{
	const struct insn *in = &op->in;
	bool to_e = !(in->op & 2);

	roles(op, to_e ? W : R, to_e ? R : W);
	if (in->has_mem && to_e)
		op->kind = OP_STORE;
	else if (in->osize >= 4)
		op->kind = in->has_mem ? OP_LOAD : OP_MOV;
}

static void lower_1b(struct op *op)
{
	struct insn *in = &op->in;
	u8 b = in->op;

	if (b < 0x40 && (b & 7) < 4) {
		lower_alu(op, b >> 3, b & 2, false);
		return;
	}
	if (b < 0x40 && (b & 7) < 6) {
		lower_alu_acc(op, b >> 3);
		return;
	}
	switch (b) {
	case 0x63:
		roles(op, R, W);
		op->e_size = 4;
		if (in->osize < 4)
			op->kind = OP_OPAQUE;
		break;
	case 0x69: case 0x6b: roles(op, R, W); break;
	case 0x80: case 0x81: case 0x83: lower_alu(op, in->reg & 7, false, true); break;
	case 0x84: case 0x85: lower_alu(op, ALU_TEST, false, false); break;
	case 0x88: case 0x89: case 0x8a: case 0x8b: lower_mov(op); break;
	case 0x8d:
		if (in->osize >= 4 && in->asize == 8) {
			roles(op, 0, W);
			op->kind = OP_LEA;
		}
		break;
	case 0x90:
		op->kind = (in->rex & 1) || in->rep ? OP_OPAQUE : OP_NOP; /* XCHG R8; PAUSE */
		break;
	case 0x98: case 0x99:
		roles(op, 0, 0);
		op->imp_read = BIT(RAX);
		op->imp_write = b == 0x98 ? BIT(RAX) : BIT(RDX);
		if (in->osize < 4)
			op->imp_read |= op->imp_write;
		break;
	case 0xa8: case 0xa9: lower_alu_acc(op, ALU_TEST); break;
	case 0xb8 ... 0xbf:
		if (in->osize >= 4) {
			in->mod = 3;
			in->rm = (u8)((b & 7) | (in->rex & 1) << 3);
			op->kind = OP_MOV;
			op->has_imm = true;
			op->e_role = W;
			op->e_size = in->osize;
		}
		break;
	case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3: lower_shift(op); break;
	case 0xc6: case 0xc7: lower_mov_imm(op); break;
	case 0xf6: case 0xf7: lower_f6(op); break;
	case 0xfe: case 0xff: roles(op, RW, 0); break;
	default: break;
	}
}

static void lower_0f(struct op *op)
{
	const struct insn *in = &op->in;

	switch (in->op) {
	case 0x1e: case 0x1f:
		op->kind = OP_NOP;
		break;
	case 0x40 ... 0x4f: roles(op, R, RW); break;
	case 0x90 ... 0x9f: roles(op, W, 0); break;
	case 0xa4: case 0xac: roles(op, RW, R); op->flags_touch = true; break;
	case 0xaf: roles(op, R, RW); break;
	case 0xb6: case 0xbe: case 0xb7: case 0xbf:
		roles(op, R, W);
		op->e_size = in->op & 1 ? 2 : 1;
		break;
	case 0xb8: roles(op, R, W); break;
	case 0xba:
		roles(op, (in->reg & 7) == 4 ? R : RW, 0);
		break;
	case 0xbc: case 0xbd: roles(op, R, RW); break;
	default: break;
	}
}

/* An instruction that names general registers in its memory operand at most: nothing but ModRM has to be
 * written anew when those are found elsewhere. */
static bool only_in_memory(const struct insn *in)
{
	u16 memory = 0;
	bool vector = in->enc != ENC_LEGACY || in->map == MAP_0F38 || in->map == MAP_0F3A ||
		(in->map == MAP_0F && ((in->op >= 0x10 && in->op <= 0x17) || (in->op >= 0x28 && in->op <= 0x2f) ||
		(in->op >= 0x50 && in->op <= 0x7f) || in->op == 0xc2 || in->op == 0xc6 || in->op >= 0xd0)) ||
		(in->map == MAP_1B && in->op >= 0xd8 && in->op <= 0xdf);

	if (!vector || in->vsib || in->asize != 8 || in->lock || in->enc == ENC_XOP)
		return false;
	if (in->has_mem) {
		if (in->base < 16)
			memory |= BIT(in->base);
		if (in->index < 16)
			memory |= BIT(in->index);
	}
	if ((in->reg_touch & ~memory) || in->reg_write)
		return false;
	if (in->has_mem && in->reg < 16 && (memory & BIT(in->reg)) && !(in->map == MAP_1B))
		return false;
	return !(in->vvvv < 16 && (memory & BIT(in->vvvv)) && in->enc != ENC_LEGACY);
}

static void lower_plain(struct op *op)
{
	const struct insn *in = &op->in;

	op->kind = OP_OPAQUE;
	if (in->seg == SEG_GS || (in->addrsize_prefix && in->base == REG_RIP)) {
		op->kind = OP_STOP;
		return;
	}
	if (in->addrsize_prefix && in->has_mem)
		return;
	if (only_in_memory(in))
		op->kind = OP_PLAIN;
	else if (in->enc != ENC_LEGACY || in->byte_reg_high || in->lock)
		return;
	else if (in->map == MAP_1B)
		lower_1b(op);
	else if (in->map == MAP_0F)
		lower_0f(op);
}

static void lower_stack(struct op *op, u8 kind)
{
	struct insn *in = &op->in;

	op->kind = kind;
	if (in->osize != 8 || in->seg == SEG_GS || (in->addrsize_prefix && in->has_mem)) {
		op->kind = OP_STOP;
		return;
	}
	if (in->map == MAP_1B && in->op >= 0x50 && in->op <= 0x5f) {
		in->mod = 3;
		in->rm = (u8)((in->op & 7) | (in->rex & 1) << 3);
		op->e_role = kind == OP_PUSH ? R : W;
	} else if (in->map == MAP_1B && (in->op == 0x68 || in->op == 0x6a)) {
		op->has_imm = true;
	} else if (in->has_mem) {
		/* POP to memory: rare, and its address is computed after RSP has grown */
		if (kind == OP_POP)
			op->kind = OP_STOP;
	} else {
		op->kind = OP_STOP;
	}
	op->e_size = 8;
}

static bool fetch_insn(struct optimiser *o, struct op *op, u64 pc)
{
	size_t have = 0, n = 0;

	__builtin_memset(op->raw, 0, sizeof(op->raw));
	while (n < INSN_MAX) {
		const u8 *p = o->r->fetch(o->r->ctx, pc + n, &have);

		if (!p || !have)
			break;
		for (size_t i = 0; i < have && n < INSN_MAX; i++)
			op->raw[n++] = p[i];
	}
	return n && insn_decode(&op->in, op->raw, n, MODE_64) == 0;
}

static void lower_branch(struct op *op)
{
	const struct insn *in = &op->in;

	switch (in->klass) {
	case IC_JMP: op->kind = OP_JMP; break;
	case IC_JCC: op->kind = OP_JCC; break;
	case IC_CALL: op->kind = OP_CALL; break;
	case IC_RET: op->kind = OP_RET; break;
	case IC_JMP_IND: op->kind = OP_IJMP; break;
	case IC_CALL_IND: op->kind = OP_ICALL; break;
	default: break;
	}
	if (in->klass == IC_JMP_IND || in->klass == IC_CALL_IND) {
		if (in->seg == SEG_GS || in->addrsize_prefix)
			op->kind = OP_STOP;
		op->e_role = in->has_mem ? 0 : R;
		op->e_size = 8;
	}
	if (in->opsize_prefix && in->klass != IC_JCC && in->klass != IC_JMP && in->klass != IC_CALL)
		op->kind = OP_STOP;
}

bool op_lower(struct optimiser *o, struct op *op, u64 pc)
{
	struct insn *in = &op->in;

	*op = (struct op){ .pc = pc };
	if (!fetch_insn(o, op, pc)) {
		op->kind = OP_STOP;
		return false;
	}
	op->kind = OP_STOP;
	switch (in->klass) {
	case IC_PLAIN: lower_plain(op); break;
	case IC_PUSH: lower_stack(op, OP_PUSH); break;
	case IC_POP: lower_stack(op, OP_POP); break;
	case IC_LEAVE:
		if (in->osize == 8)
			op->kind = OP_LEAVE;
		break;
	case IC_MOVS: case IC_STOS: case IC_LODS: case IC_CMPS: case IC_SCAS:
		op->kind = in->seg == SEG_GS ? OP_STOP : OP_OPAQUE;
		break;
	default:
		lower_branch(op);
		break;
	}
	op->flags_read = in->flags_read & FLAGS_STATUS;
	op->flags_write = in->flags_write & FLAGS_STATUS;
	if (op->flags_write || op->kind == OP_OPAQUE)
		op->flags_touch = true;
	if (op->kind == OP_OPAQUE)
		op->flags_write = in->klass == IC_PLAIN ? op->flags_write : 0;
	return true;
}

bool op_faults(const struct op *op)
{
	switch (op->kind) {
	case OP_NOP: case OP_MOV: case OP_LEA: case OP_JMP: case OP_JCC:
		return false;
	case OP_ALU:
		return op->in.has_mem;
	case OP_PLAIN:
		/* division; vector and x87 exceptions */
		return op->in.has_mem || op->in.map != MAP_1B || (op->in.op & 0xfe) == 0xf6 || op->in.op >= 0xd8 || op->in.enc != ENC_LEGACY;
	default:
		return true;
	}
}
