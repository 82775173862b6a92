/* SPDX-License-Identifier: MIT
 * Host code for the operations of a node, all but the last one when it branches (flow.c).
 *
 * Each op first brings home what it needs there and evicts what names a register that it writes, then notes a
 * record, then is written with its operands where they are.  Freestanding; owner as ir.h. */
#include "optimise/ir.h"

static unsigned log2_scale(unsigned scale) { return (unsigned)__builtin_ctz(scale | 256); }

/* [base + index * scale + disp] from the values of base and index; false: one of them must be brought home. */
static bool address_of(struct optimiser *o, const struct insn *in, struct rm *rm)
{
	struct val b = in->base < 16 ? val_of(o, in->base) : val_const(0);
	struct val x = in->index < 16 ? val_of(o, in->index) : val_const(0);
	unsigned shift = log2_scale(in->scale);
	s64 disp = in->disp;

	if (!ON(o, address) && ((b.kind == VAL_EXPR && !val_is_reg(b) && b.base != RSP) || (x.kind == VAL_EXPR && !val_is_reg(x))))
		return false;
	*rm = (struct rm){ .mem = true, .base = REG_NONE, .index = REG_NONE, .seg = in->seg };
	if (x.kind == VAL_CONST) {
		disp += (s64)((u64)x.disp << shift);
		if (x.disp != (s32)x.disp)
			return false;
	} else {
		if (x.kind != VAL_EXPR || !x.wide || (x.index != REG_NONE && (x.base != REG_NONE || shift)))
			return false;
		rm->index = x.index == REG_NONE ? x.base : x.index;
		rm->shift = x.index == REG_NONE ? (u8)shift : x.shift;
		disp += (s64)((u64)x.disp << shift);
	}
	if (b.kind == VAL_CONST) {
		disp = (s64)((u64)disp + (u64)b.disp);
	} else {
		if (b.kind != VAL_EXPR || !b.wide || (b.index != REG_NONE && rm->index != REG_NONE && (b.base != REG_NONE || rm->shift)))
			return false;
		/* Two indexes, of which one is not scaled: that one is the base. */
		rm->base = b.base == REG_NONE && rm->index != REG_NONE ? rm->index : b.base;
		disp += b.disp;
		if (b.index != REG_NONE) {
			rm->index = b.index;
			rm->shift = b.shift;
		}
	}
	if (rm->index == RSP) {
		if (rm->shift || rm->base == RSP || rm->base == REG_NONE)
			return false;
		rm->index = rm->base;
		rm->base = RSP;
	}
	rm->disp = disp;
	return disp == (s32)disp;
}

struct rm operand_mem(struct optimiser *o, const struct op *op, int *got)
{
	const struct insn *in = &op->in;
	struct rm rm = { .mem = true, .base = in->base, .index = REG_NONE, .seg = in->seg, .disp = in->disp };

	*got = -1;
	if (in->base == REG_RIP) {
		s64 to = (s64)(op->pc + in->len + (u64)in->disp), away = to - (s64)(uintptr_t)o->hot.p;

		rm.disp = to;
		if (away > -0x7ff00000ll && away < 0x7ff00000ll)
			return rm;
		rm.base = REG_NONE;
		if (to == (s32)to)
			return rm;
		/* DH is DH only without a REX, which R8 and above would need. */
		*got = scratch_get(o, in->reg_touch | op->imp_read | op->imp_write | (in->byte_reg_high ? 0xff00 : 0));
		e_mov_imm(&o->hot, *got, (u64)to);
		rm.base = (u8)*got;
		rm.disp = 0;
		return rm;
	}
	if (address_of(o, in, &rm))
		return rm;
	if (in->base < 16 && in->base != RSP)
		bring_home(o, in->base);
	if (in->index < 16)
		bring_home(o, in->index);
	if (address_of(o, in, &rm))
		return rm;
	bring_home(o, RSP);
	if (!address_of(o, in, &rm))
		o->failed = true;
	return rm;
}

bool val_frame(const struct optimiser *o, struct val v, s32 *off)
{
	s64 at = o->s.rsp_host + v.disp;

	*off = (s32)at;
	return o->s.rsp_known && v.kind == VAL_EXPR && v.wide && v.base == RSP && v.index == REG_NONE && at == (s32)at;
}

/* Where the memory operand lies relative to RSP at entry, by the values as they are. */
static bool rm_frame(const struct optimiser *o, const struct rm *rm, s32 *off)
{
	s64 at = o->s.rsp_host + rm->disp;

	*off = (s32)at;
	return o->s.rsp_known && rm->mem && rm->base == RSP && rm->index == REG_NONE && rm->seg == SEG_NONE && at == (s32)at;
}

/* A host register with the guest register's value, in `size` bytes.  Not the home of a constant (V1): another operand that
 * is brought there would take its place. */
static int source(struct optimiser *o, int var, unsigned size)
{
	struct val v = val_of(o, var);

	if (val_is_reg(v) && (size < 8 || v.wide) && ON(o, copies) && o->s.v[v.base].kind != VAL_CONST)
		return v.base;
	bring_home(o, var);
	return var;
}

/* A slot whose copy can stand for the memory operand: its value, or VAL_NONE. */
static struct val slot_value(struct optimiser *o, const struct rm *rm, unsigned size, int *slot)
{
	struct val none = { .kind = VAL_NONE };
	s32 off;

	*slot = rm_frame(o, rm, &off) ? slot_find(o, off, size) : -1;
	if (*slot < 0 || !ON(o, slots))
		return none;
	return o->s.v[16 + *slot].kind == VAL_NONE ? none : val_of(o, 16 + *slot);
}

static void slots_forget(struct optimiser *o)
{
	for (u32 i = 0; i < o->n_slots; i++)
		o->s.v[16 + i].kind = VAL_NONE;
}

/* After a load that no slot stood for. */
static void memory_loaded(struct optimiser *o)
{
	if (!o->r->own_memory)
		slots_forget(o);
}

/* The instruction stored to an unknown place: leaves behind it if that was in the frame. */
static void alias_guard(struct optimiser *o, const struct rm *rm, unsigned size)
{
	struct emit *e = &o->hot;
	s32 low = o->frame_low - o->s.rsp_host;
	bool save = !flags_release(o, false);
	struct rm at = *rm, reg;
	int t = scratch_get(o, (u16)((rm->base < 16 ? BIT(rm->base) : 0) | (rm->index < 16 ? BIT(rm->index) : 0) | BIT(RAX)));
	u8 *where;

	at.disp = rm->base == REG_RIP || rm->disp - low + size != (s32)(rm->disp - low + size) ? rm->disp : rm->disp - low + size - 1;
	encode_rm(e, 0x8d, 8, t, &at, 0);
	if (save) {
		o->saves += o->count;
		e_store_gs(e, o->r->spill + 8 * RSP, RAX);
		e8(e, 0x9f);
		e8(e, 0x0f); e8(e, 0x90); e8(e, 0xc0);
	}
	reg = rm_reg(t);
	encode_rm(e, 0x29, 8, RSP, &reg, 0);
	if (at.disp == rm->disp && low - (s32)size + 1)
		encode_alu_imm(e, ALU_SUB, 8, &reg, low - (s32)size + 1);
	encode_alu_imm(e, ALU_CMP, 8, &reg, o->frame_high - o->frame_low + (s32)size - 1);
	where = e_jcc(e, 2, o->cold.p);
	for (int cold = 1; cold >= 0; cold--) {
		struct emit *c = cold ? &o->cold : &o->hot;

		if (save) {
			e8(c, 0x04); e8(c, 0x7f);
			e8(c, 0x9e);
			e_load_gs(c, RAX, o->r->spill + 8 * RSP);
		}
		if (cold) {
			bool spilled = o->spilled & BIT(t);

			if (spilled)
				e_load_gs(c, t, o->r->spill + 8 * t);
			struct state s = o->s;
			u16 busy = o->busy, sp = o->spilled;

			if (spilled)
				o->s.v[t].kind = VAL_HOME;
			o->busy = o->spilled = 0;
			emit_exit(o, o->op->pc + o->op->in.len);
			o->s = s;
			o->busy = busy;
			o->spilled = sp;
		}
	}
	(void)where;
	scratch_put(o, t);
}

/* Memory was written; `keep` is a slot that the caller sets. */
static void stored(struct optimiser *o, const struct rm *rm, unsigned size, int keep)
{
	s32 off;

	if (rm_frame(o, rm, &off) && size) {
		slots_stored(o, true, off, size, keep);
		return;
	}
	if (o->guards && o->s.rsp_known && rm->seg == SEG_NONE && size)
		alias_guard(o, rm, size);
	else
		slots_forget(o);
}

void slots_stored(struct optimiser *o, bool framed, s32 off, unsigned size, int keep)
{
	for (u32 i = 0; i < o->n_slots; i++) {
		const struct slot *s = &o->slots[i];

		if ((int)i != keep && (!framed || (off < s->off + s->size && s->off < off + (s32)size)))
			o->s.v[16 + i].kind = VAL_NONE;
	}
}

/* The slot now has the value. */
static void slot_set(struct optimiser *o, int slot, struct val v)
{
	if (slot < 0)
		return;
	if (!ON(o, slots)) {
		o->s.v[16 + slot].kind = VAL_NONE;
		return;
	}
	if (o->slots[slot].size == 4)
		v = val_narrow(o, v);
	set_val(o, 16 + slot, v, true);
}

/* mov [m], v */
void emit_store_reg(struct optimiser *o, struct rm m, unsigned size, struct val v)
{
	int got = -1, r;
	s64 c = size == 4 ? (s32)v.disp : v.disp;
	u16 avoid = (u16)((m.base < 16 ? BIT(m.base) : 0) | (m.index < 16 ? BIT(m.index) : 0));

	if (v.kind == VAL_CONST && c == (s32)c) {
		record(o);
		encode_rm(&o->hot, 0xc7, size, 0, &m, 4);
		e32(&o->hot, (u32)c);
		return;
	}
	if (val_is_reg(v)) {
		r = v.base;
	} else {
		if (v.kind == VAL_EXPR)
			avoid |= val_mask(v);
		r = got = scratch_get(o, avoid);
		load_val(o, got, v);
	}
	record(o);
	encode_rm(&o->hot, 0x89, size, r, &m, 0);
	if (got >= 0)
		scratch_put(o, got);
}

static void put(struct optimiser *o, int got)
{
	if (got >= 0)
		scratch_put(o, got);
}

static void emit_mov(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	bool to_g = op->g_role & ROLE_WRITE;
	int d = op->has_imm ? in->rm : to_g ? in->reg : in->rm, s = to_g ? in->rm : in->reg;
	struct val v = op->has_imm ? val_const(in->osize == 4 ? (s64)(u32)in->imm : in->imm) : val_of(o, s);

	if (!op->has_imm && in->osize == 4)
		v = val_narrow(o, v);
	set_val(o, d, v, op->has_imm ? ON(o, constants) : ON(o, copies));
}

static void emit_lea(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	struct rm rm;
	int got;

	if (in->base == REG_RIP) {
		s64 to = (s64)(op->pc + in->len + (u64)in->disp);

		set_val(o, in->reg, val_const(in->osize == 4 ? (s64)(u32)to : to), ON(o, constants));
		return;
	}
	rm = operand_mem(o, op, &got);
	if (rm.base == REG_NONE && rm.index == REG_NONE) {
		set_val(o, in->reg, val_const(in->osize == 4 ? (s64)(u32)rm.disp : rm.disp), ON(o, constants));
		return;
	}
	struct val v = val_expr(rm.base, rm.disp, in->osize == 8);

	v.index = rm.index;
	v.shift = rm.shift;
	set_val(o, in->reg, v, ON(o, address));
}

static void emit_load(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	int got, slot, d = in->reg;
	struct rm rm;
	struct val v;

	if (in->base != REG_RIP) {
		rm = operand_mem(o, op, &got);
		v = slot_value(o, &rm, in->osize, &slot);
		if (v.kind != VAL_NONE) {
			set_val(o, d, in->osize == 4 ? val_narrow(o, v) : v, ON(o, copies) || d == RSP);
			return;
		}
		if (slot >= 0 && o->slots[slot].home != REG_NONE && o->slots[slot].size == in->osize && ON(o, slots) && d != RSP) {
			int c = o->slots[slot].home;

			evict(o, c, 16 + slot);
			record(o);
			encode_op(&o->hot, op, c, &rm);
			set_home(o, 16 + slot, in->osize == 4);
			set_val(o, d, val_of(o, 16 + slot), ON(o, copies));
			return;
		}
	}
	if (d == RSP) {
		evict(o, RSP, RSP);
		bring_home(o, RSP);
	} else {
		evict(o, d, d);
	}
	rm = operand_mem(o, op, &got);
	record(o);
	encode_op(&o->hot, op, d, &rm);
	memory_loaded(o);
	/* As its own scratch the register is the guest's again. */
	put(o, got);
	set_home(o, d, in->osize == 4);
	if (d == RSP)
		o->s.rsp_known = false;
	v = slot_value(o, &rm, in->osize, &slot);
	if (slot >= 0 && o->slots[slot].size == in->osize && o->r->own_memory && d != RSP && !val_names(val_expr(rm.base, 0, true), d))
		slot_set(o, slot, val_of(o, d));
}

static void emit_store(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	unsigned size = in->osize;
	int got, slot, r = -1;
	struct val v = val_const(in->imm);
	struct rm rm;

	if (!op->has_imm)
		v = val_of(o, in->reg);
	if (size >= 4 && v.kind == VAL_CONST && (size == 4 || v.disp == (s32)v.disp) && in->base != REG_RIP) {
		rm = operand_mem(o, op, &got);
		emit_store_reg(o, rm, size, v);
	} else {
		if (!op->has_imm) {
			r = source(o, in->reg, size);
			v = val_of(o, in->reg);
		}
		rm = operand_mem(o, op, &got);
		record(o);
		encode_op(&o->hot, op, op->has_imm ? in->reg & 7 : r, &rm);
	}
	slot_value(o, &rm, size, &slot);
	if (slot >= 0 && o->slots[slot].size != size)
		slot = -1;
	put(o, got);
	stored(o, &rm, size, slot);
	slot_set(o, slot, v);
}

/* The status flags of a op b, where that can be put off; the value of b. */
static bool alu_operands(struct optimiser *o, const struct op *op, struct val *x, struct val *y)
{
	const struct insn *in = &op->in;
	int d = op->alu_g ? in->reg : in->rm, s = op->alu_g ? in->rm : in->reg;

	if (in->has_mem) {
		struct rm rm;
		struct val v;
		int got, slot;

		if (in->base == REG_RIP)
			return false;
		rm = operand_mem(o, op, &got);
		v = slot_value(o, &rm, in->osize, &slot);
		if (v.kind == VAL_NONE)
			return false;
		*x = op->alu_g ? val_of(o, d) : v;
		*y = op->alu_g ? v : op->has_imm ? val_const(in->imm) : val_of(o, s);
	} else {
		*x = val_of(o, d);
		*y = op->has_imm ? val_const(in->imm) : val_of(o, s);
	}
	if (in->osize == 4) {
		*x = val_narrow(o, *x);
		*y = val_narrow(o, *y);
	}
	if (in->osize == 8 && ((x->kind == VAL_EXPR && !x->wide && !val_is_reg(*x)) || (y->kind == VAL_EXPR && !y->wide && !val_is_reg(*y))))
		return false;
	/* The low half of a register that has more is a value of its own only for 32-bit operations. */
	if (in->osize == 8 && ((x->kind == VAL_EXPR && !x->wide) || (y->kind == VAL_EXPR && !y->wide)))
		return false;
	return true;
}

/* CMP and TEST of what is in registers: the flags are put off until something reads them. */
static bool lazy_compare(struct optimiser *o, const struct op *op)
{
	struct flags_val *f = &o->s.fl;
	enum flag_op how = op->alu == ALU_CMP ? FLG_SUB : FLG_AND;
	struct val x, y;

	if (!ON(o, flags) || !alu_operands(o, op, &x, &y))
		return false;
	if (f->kind == FL_HOST && f->op == how && f->size == op->in.osize && val_same(f->x, x) && val_same(f->y, y))
		return true;
	*f = (struct flags_val){ .kind = FL_LAZY, .op = (u8)how, .size = op->in.osize, .x = x, .y = y };
	return true;
}

/* ADD and SUB whose flags nobody reads: a value. */
static bool lazy_add(struct optimiser *o, const struct op *op, int d)
{
	unsigned size = op->in.osize;
	bool sub = op->alu == ALU_SUB;
	struct val x, y, sum, minus;

	if ((op->alu != ALU_ADD && !sub) || (op->in.has_mem && !op->alu_g))
		return false;
	if (d != RSP && (!ON(o, address) || !ON(o, flags) || !op->soft_dead))
		return false;
	if ((d == RSP && !ON(o, stack)) || !alu_operands(o, op, &x, &y))
		return false;
	minus = y;
	if (sub && y.kind != VAL_CONST)
		return false;
	if (sub)
		minus = val_const((s64)-(u64)y.disp);
	sum = x;
	if (!val_add(&sum, minus, size == 8))
		return false;
	if (d == RSP ? sum.kind != VAL_EXPR || sum.base != RSP || sum.index != REG_NONE : val_names(sum, d))
		return false;
	/* By operands where these stay; else by the result. */
	struct flags_val f = { .kind = FL_LAZY, .op = sub ? FLG_SUB : FLG_ADD, .size = (u8)size, .x = x, .y = y };

	if (d != RSP)
		evict(o, d, d);
	set_val(o, d, sum, true);
	o->s.fl = f;
	return true;
}

static bool zero_idiom(struct optimiser *o, const struct op *op, int d)
{
	const struct insn *in = &op->in;
	struct val zero = val_const(0);

	if (in->has_mem || op->has_imm || in->reg != in->rm || (op->alu != ALU_XOR && op->alu != ALU_SUB) || !ON(o, constants) ||
	    !ON(o, flags) || !op->soft_dead || d == RSP)
		return false;
	o->s.fl = (struct flags_val){ .kind = FL_LAZY, .op = FLG_AND, .size = in->osize, .x = zero, .y = zero };
	if (op->alu == ALU_SUB)
		o->s.fl.op = FLG_SUB;
	set_val(o, d, zero, true);
	return true;
}

/* What the flags are after an operation with its result in x. */
static void alu_flags(struct optimiser *o, const struct op *op, struct val x, struct val y)
{
	static const u8 how[] = { FLG_ADDR, FLG_AND, FLG_NONE, FLG_NONE, FLG_AND, FLG_SUBR, FLG_AND, FLG_SUB, FLG_AND };
	enum flag_op f = how[op->alu];

	if (f == FLG_AND && op->alu != ALU_TEST)
		y = x;
	if ((f == FLG_ADDR || f == FLG_SUBR) && y.kind == VAL_EXPR && x.kind == VAL_EXPR && (val_names(y, x.base) || !val_is_reg(y)))
		f = FLG_NONE;
	flags_host(o, ON(o, flags) ? f : FLG_NONE, op->in.osize, x, y);
}

/* op [slot], src: the copy follows.  True where done. */
static bool alu_slot(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	unsigned size = in->osize;
	int got, slot, c, t;
	struct rm rm, reg;
	struct val v, y, sum;

	if (in->base == REG_RIP || op->alu == ALU_ADC || op->alu == ALU_SBB)
		return false;
	rm = operand_mem(o, op, &got);
	v = slot_value(o, &rm, size, &slot);
	if (v.kind == VAL_NONE || o->slots[slot].size != size || o->slots[slot].home == REG_NONE)
		return false;
	c = o->slots[slot].home;
	y = op->has_imm ? val_const(in->imm) : val_of(o, in->reg);
	if (size == 4)
		y = val_narrow(o, y);
	if (size == 4 && y.kind == VAL_CONST)
		y.disp = (s32)y.disp;
	if (!(y.kind == VAL_CONST && y.disp == (s32)y.disp) && !(val_is_reg(y) && (size == 4 || y.wide)))
		return false;
	evict(o, c, 16 + slot);
	bring_home(o, 16 + slot);
	sum = val_expr(c, 0, size == 8);
	if (val_names(y, c))
		return false;
	struct val minus = op->alu == ALU_SUB ? val_const((s64)-(u64)y.disp) : y;

	rm = operand_mem(o, op, &got);
	if ((op->alu == ALU_ADD || (op->alu == ALU_SUB && y.kind == VAL_CONST)) && val_add(&sum, minus, size == 8)) {
		u16 avoid = (u16)(BIT(c) | (y.kind == VAL_EXPR ? BIT(y.base) : 0) | (rm.base < 16 ? BIT(rm.base) : 0));

		if (op->soft_dead && ON(o, flags)) {
			/* A fault of the store finds the copy changed, but nobody looks at it then. */
			load_val(o, c, sum);
			record(o);
			encode_rm(&o->hot, 0x89, size, c, &rm, 0);
			set_home(o, 16 + slot, size == 4);
			o->s.fl = (struct flags_val){ .kind = FL_LAZY, .op = op->alu == ALU_ADD ? FLG_ADDR : FLG_SUBR, .size = (u8)size,
				.x = val_of(o, 16 + slot), .y = y };
			stored(o, &rm, size, slot);
			return true;
		}
		if (val_is_reg(y) || y.kind == VAL_CONST) {
			/* The same, where what the flags were before the store can be had again. */
			const struct flags_val *f = &o->s.fl;

			if (f->op != FLG_NONE && !val_names(f->x, c) && !val_names(f->y, c) && flags_release(o, false)) {
				reg = rm_reg(c);
				if (y.kind == VAL_CONST)
					encode_alu_imm(&o->hot, op->alu, size, &reg, (s32)y.disp);
				else
					encode_rm(&o->hot, (unsigned)op->alu * 8 + 1, size, y.base, &reg, 0);
				record(o);
				encode_rm(&o->hot, 0x89, size, c, &rm, 0);
				set_home(o, 16 + slot, size == 4);
				alu_flags(o, op, val_of(o, 16 + slot), y);
				stored(o, &rm, size, slot);
				return true;
			}
		}
		t = scratch_get(o, avoid);
		load_val(o, t, sum);
		record(o);
		encode_rm(&o->hot, 0x89, size, t, &rm, 0);
		scratch_put(o, t);
	} else {
		record(o);
		if (op->has_imm || y.kind == VAL_EXPR)
			encode_op(&o->hot, op, op->has_imm ? in->reg & 7 : y.base, &rm);
		else
			encode_alu_imm(&o->hot, op->alu, size, &rm, (s32)y.disp);
	}
	reg = rm_reg(c);
	if (y.kind == VAL_CONST)
		encode_alu_imm(&o->hot, op->alu, size, &reg, (s32)y.disp);
	else
		encode_rm(&o->hot, (unsigned)op->alu * 8 + 1, size, y.base, &reg, 0);
	set_home(o, 16 + slot, size == 4);
	stored(o, &rm, size, slot);
	alu_flags(o, op, val_of(o, 16 + slot), y);
	return true;
}

static void emit_alu_store(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	int got, g;
	struct rm rm;

	if (alu_slot(o, op))
		return;
	g = op->has_imm ? in->reg & 7 : source(o, in->reg, in->osize);
	rm = operand_mem(o, op, &got);
	record(o);
	encode_op(&o->hot, op, g, &rm);
	put(o, got);
	flags_host(o, FLG_NONE, 0, val_const(0), val_const(0));
	if (!o->r->own_memory)
		slots_forget(o);
	stored(o, &rm, in->osize, -1);
}

/* An operation on a register, which is at home, and one that is known to be a constant. */
static bool alu_constant(struct optimiser *o, const struct op *op, int d, struct val y)
{
	unsigned size = op->in.osize;
	s64 c = size == 4 ? (s32)y.disp : y.disp;
	struct rm rm = rm_reg(d);

	if (y.kind != VAL_CONST || c != (s32)c || d == RSP || op->alu == ALU_CMP || op->alu == ALU_TEST || !ON(o, constants))
		return false;
	record(o);
	encode_alu_imm(&o->hot, op->alu, size, &rm, (s32)c);
	set_home(o, d, size == 4);
	alu_flags(o, op, val_of(o, d), y);
	return true;
}

/* An operation with a register as destination, or none (CMP, TEST). */
static void emit_alu(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	bool keeps = op->alu == ALU_CMP || op->alu == ALU_TEST, wide = in->osize == 8;
	int d = op->alu_g ? in->reg : in->rm, s = op->alu_g ? in->rm : in->reg, got = -1, slot = -1, g;
	struct val y = op->has_imm ? val_const(in->imm) : val_const(0), v;
	struct rm rm;

	if (op->flags_read)
		flags_home(o);
	if (in->has_mem && !op->alu_g && !keeps) {
		emit_alu_store(o, op);
		return;
	}
	if (keeps ? lazy_compare(o, op) : zero_idiom(o, op, d) || lazy_add(o, op, d))
		return;
	if (!keeps) {
		bring_home(o, d);
		evict(o, d, d);
	}
	if (!in->has_mem && !op->has_imm && alu_constant(o, op, d, val_of(o, s)))
		return;
	if (!in->has_mem) {
		rm = rm_reg(op->alu_g ? source(o, s, in->osize) : keeps ? source(o, d, in->osize) : d);
		g = op->has_imm ? in->reg & 7 : op->alu_g ? (keeps ? source(o, d, in->osize) : d) : source(o, s, in->osize);
		if (!op->has_imm)
			y = val_of(o, s);
	} else {
		g = op->has_imm ? in->reg & 7 : source(o, in->reg, in->osize);
		rm = operand_mem(o, op, &got);
		v = slot_value(o, &rm, in->osize, &slot);
		if (val_is_reg(v) && (!wide || v.wide)) {
			rm = rm_reg(v.base);
			y = v;
		} else {
			y.kind = VAL_NONE;
		}
	}
	record(o);
	/* The accumulator's short form has no ModRM. */
	if (!in->off_modrm)
		encode_alu_imm(&o->hot, op->alu, in->osize, &rm, (s32)in->imm);
	else
		encode_op(&o->hot, op, g, &rm);
	if (rm.mem)
		memory_loaded(o);
	put(o, got);
	if (d == RSP && !keeps) {
		if (op->has_imm && wide && op->alu == ALU_ADD)
			o->s.rsp_host += (s32)in->imm;
		else if (op->has_imm && wide && op->alu == ALU_SUB)
			o->s.rsp_host -= (s32)in->imm;
		else
			o->s.rsp_known = false;
		set_home(o, d, !wide);
		flags_host(o, FLG_NONE, 0, y, y);
		return;
	}
	if (keeps || (!op->has_imm && !in->has_mem && s == d)) {
		flags_host(o, FLG_NONE, 0, y, y);
		if (!keeps)
			set_home(o, d, !wide);
		return;
	}
	set_home(o, d, !wide);
	alu_flags(o, op, val_of(o, d), y);
}

static void emit_push(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	struct rm at = { .mem = true, .base = RSP, .index = REG_NONE, .seg = SEG_NONE };
	struct val v;
	int got = -1, t = -1, slot;

	if (in->has_mem) {
		struct rm rm = operand_mem(o, op, &got);

		v = slot_value(o, &rm, 8, &slot);
		if (v.kind == VAL_NONE || !v.wide) {
			t = got >= 0 ? got : scratch_get(o, in->reg_touch);
			record(o);
			encode_rm(&o->hot, 0x8b, 8, t, &rm, 0);
			memory_loaded(o);
			v = val_expr(t, 0, true);
		}
	} else {
		v = op->has_imm ? val_const(in->imm) : val_of(o, in->rm);
		if (v.kind == VAL_EXPR && !v.wide) {
			bring_home(o, in->rm);
			v = val_of(o, in->rm);
		}
	}
	if (!ON(o, stack))
		bring_home(o, RSP);
	struct val sp = val_of(o, RSP);

	if (v.kind == VAL_EXPR && !op->has_imm && !in->has_mem)
		v = val_of(o, in->rm);
	at.base = sp.base;
	at.disp = sp.disp - 8;
	emit_store_reg(o, at, 8, v);
	slot_value(o, &at, 8, &slot);
	if (t >= 0)
		scratch_put(o, t);
	stored(o, &at, 8, slot);
	sp.disp -= 8;
	set_val(o, RSP, sp, ON(o, stack));
	if (t >= 0)
		v.kind = VAL_NONE;
	if (slot >= 0 && v.kind != VAL_NONE && (in->has_mem || op->has_imm))
		slot_set(o, slot, v);
	else if (slot >= 0 && t < 0 && in->rm != RSP)
		slot_set(o, slot, val_of(o, in->rm));
	else if (slot >= 0)
		o->s.v[16 + slot].kind = VAL_NONE;
}

/* d = the word at RSP; RSP grows by 8.  The value of RSP is its old one while the load may fault. */
static void pop_to(struct optimiser *o, int d)
{
	struct val sp = val_of(o, RSP), v;
	struct rm at = { .mem = true, .base = sp.base, .index = REG_NONE, .seg = SEG_NONE, .disp = sp.disp };
	int slot;

	v = slot_value(o, &at, 8, &slot);
	if (v.kind != VAL_NONE && (v.kind == VAL_CONST || v.wide) && d != RSP) {
		set_val(o, d, v, ON(o, copies));
	} else if (d == RSP) {
		bring_home(o, RSP);
		evict(o, RSP, RSP);
		record(o);
		e8(&o->hot, 0x5c);
		o->s.rsp_known = false;
		memory_loaded(o);
		return;
	} else {
		evict(o, d, d);
		record(o);
		encode_rm(&o->hot, 0x8b, 8, d, &at, 0);
		memory_loaded(o);
		set_home(o, d, false);
		if (slot >= 0 && o->slots[slot].home == REG_NONE && o->r->own_memory)
			slot_set(o, slot, val_of(o, d));
	}
	sp = val_of(o, RSP);
	sp.disp += 8;
	set_val(o, RSP, sp, ON(o, stack));
}

static void emit_leave(struct optimiser *o)
{
	struct val bp = val_of(o, RBP), sp = val_of(o, RSP), v;
	struct rm at = { .mem = true, .index = REG_NONE, .seg = SEG_NONE };
	bool framed = bp.kind == VAL_EXPR && bp.base == RSP && bp.index == REG_NONE && bp.wide;
	int slot = -1;

	if (!framed) {
		bring_home(o, RSP);
		bring_home(o, RBP);
		evict(o, RBP, RBP);
		evict(o, RSP, RSP);
		record(o);
		e8(&o->hot, 0xc9);
		memory_loaded(o);
		o->s.rsp_known = false;
		set_home(o, RBP, false);
		return;
	}
	at.base = RSP;
	at.disp = bp.disp;
	v = slot_value(o, &at, 8, &slot);
	if (v.kind != VAL_NONE && (v.kind == VAL_CONST || v.wide)) {
		set_val(o, RBP, v, ON(o, copies));
	} else {
		evict(o, RBP, RBP);
		record(o);
		encode_rm(&o->hot, 0x8b, 8, RBP, &at, 0);
		memory_loaded(o);
		set_home(o, RBP, false);
	}
	sp = val_expr(RSP, bp.disp + 8, true);
	set_val(o, RSP, sp, ON(o, stack));
}

/* Registers that an op writes: what names them comes home first; those that it reads as well are brought home. */
static void prepare_write(struct optimiser *o, int r, bool read)
{
	if (read || r == RSP)
		bring_home(o, r);
	evict(o, r, r);
}

static void written(struct optimiser *o, int r, unsigned size)
{
	set_home(o, r, size == 4 || (size < 4 && (o->s.zx & BIT(r))));
	if (r == RSP)
		o->s.rsp_known = false;
}

/* CDQE, MOVSXD, MOVZX and the like of a slot's copy, or the memory. */
static struct rm plain_operand(struct optimiser *o, const struct op *op, struct op *as, int *got)
{
	const struct insn *in = &op->in;
	struct rm rm;
	struct val v;
	int slot;

	*as = *op;
	if (!in->has_mem)
		return rm_reg(op->e_role == ROLE_READ ? source(o, in->rm, op->e_size) : in->rm);
	rm = operand_mem(o, op, got);
	if (in->enc != ENC_LEGACY || !op->g_role || in->mem_write || !in->mem_read || in->base == REG_RIP)
		return rm;
	v = slot_value(o, &rm, in->mem_size, &slot);
	if (!val_is_reg(v) || (in->mem_size == 8 && !v.wide))
		return rm;
	as->e_role = ROLE_READ;
	return rm_reg(v.base);
}

/* CDQE and MOVSXD between registers: the result may be there already. */
static bool sign_extension(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	bool cdqe = in->map == MAP_1B && in->op == 0x98, movsxd = in->map == MAP_1B && in->op == 0x63 && !in->has_mem;
	int d = cdqe ? RAX : in->reg, s = cdqe ? RAX : in->rm, b;
	struct val v;
	struct rm rm;

	if (in->osize != 8 || !(cdqe || movsxd) || !ON(o, copies))
		return false;
	v = val_of(o, s);
	if (!val_is_reg(v) || v.base == d)
		return false;
	b = v.base;
	for (int h = 0; h < 16; h++)
		if (o->s.sx[h] == b && h == d) {
			/* Its home has held it all along. */
			evict(o, d, d);
			o->s.sx[d] = (u8)b;
			set_home(o, d, false);
			return true;
		}
	evict(o, d, d);
	rm = rm_reg(b);
	encode_rm(&o->hot, 0x63, 8, d, &rm, 0);
	set_home(o, d, false);
	o->s.sx[d] = (u8)b;
	return true;
}

/* SHL by 1 to 3 whose flags nobody sees: a value. */
static bool lazy_shift(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	struct val v;

	if (in->enc != ENC_LEGACY || in->map != MAP_1B || (in->op != 0xc1 && in->op != 0xd1) || (in->reg & 7) != 4 || in->has_mem ||
	    in->rm == RSP || in->osize < 4 || !op->hard_dead || !ON(o, address) || !ON(o, flags))
		return false;
	v = val_of(o, in->rm);
	if (!val_is_reg(v) || v.base == RSP || v.base == in->rm || (in->osize == 8 && !v.wide) ||
	    (in->op == 0xc1 && (!in->imm || in->imm > 3)))
		return false;
	v.index = v.base;
	v.base = REG_NONE;
	v.shift = in->op == 0xd1 ? 1 : (u8)in->imm;
	v.wide = in->osize == 8;
	set_val(o, in->rm, v, true);
	o->s.fl = (struct flags_val){ .kind = FL_LAZY };
	return true;
}

static void emit_plain(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	bool reg_e = op->e_role & ROLE_WRITE, reg_g = op->g_role & ROLE_WRITE;
	int got = -1, g = in->reg;
	struct op as;
	struct rm rm;

	if (lazy_shift(o, op))
		return;
	if (op->flags_read || (op->flags_touch && op->flags_write != FLAGS_STATUS))
		flags_home(o);
	if (sign_extension(o, op))
		return;
	for (int r = 0; r < 16; r++) {
		if (op->imp_read & BIT(r))
			bring_home(o, r);
		if (op->imp_write & BIT(r))
			prepare_write(o, r, op->imp_read & BIT(r));
	}
	if (reg_e)
		prepare_write(o, in->rm, op->e_role & ROLE_READ);
	if (reg_g)
		prepare_write(o, in->reg, op->g_role & ROLE_READ);
	if (op->g_role == ROLE_READ)
		g = source(o, in->reg, op->g_size);
	rm = (struct rm){ 0 };
	if (in->off_modrm)
		rm = plain_operand(o, op, &as, &got);
	record(o);
	if (in->off_modrm)
		encode_op(&o->hot, &as, g, &rm);
	else
		e_bytes(&o->hot, op->raw, in->len);
	if (rm.mem && in->mem_read)
		memory_loaded(o);
	put(o, got);
	if (op->flags_touch)
		flags_host(o, FLG_NONE, 0, val_const(0), val_const(0));
	for (int r = 0; r < 16; r++)
		if (op->imp_write & BIT(r))
			written(o, r, in->osize == 1 ? 2 : in->osize);
	if (reg_e)
		written(o, in->rm, op->e_size);
	if (reg_g)
		written(o, in->reg, op->g_size);
	if (rm.mem && in->mem_write)
		stored(o, &rm, in->mem_size, -1);
}

/* Everything it names is at home; what it may write is named by nobody. */
static void emit_opaque(struct optimiser *o, const struct op *op)
{
	const struct insn *in = &op->in;
	u8 k = in->klass;
	bool memory = in->has_mem || k != IC_PLAIN || in->lock || in->map == MAP_0F;

	flags_home(o);
	for (int r = 0; r < 16; r++)
		if (in->reg_touch & BIT(r)) {
			bring_home(o, r);
			evict(o, r, r);
			o->s.zx &= (u16)~BIT(r);
		}
	if (in->reg_touch & in->reg_write & BIT(RSP))
		o->s.rsp_known = false;
	if (in->has_mem && in->base == REG_RIP) {
		int got, g = in->reg;
		struct rm rm = operand_mem(o, op, &got);

		/* A digit of the opcode, or a register at home: as it stands either way. */
		record(o);
		if (in->lock)
			e8(&o->hot, 0xf0);
		encode_op(&o->hot, op, g, &rm);
		put(o, got);
	} else {
		record(o);
		e_bytes(&o->hot, op->raw, in->len);
	}
	if (memory)
		slots_forget(o);
	flags_host(o, FLG_NONE, 0, val_const(0), val_const(0));
}

void emit_op(struct optimiser *o, struct op *op)
{
	o->op = op;
	record(o);
	switch (op->kind) {
	case OP_NOP: break;
	case OP_MOV: emit_mov(o, op); break;
	case OP_LOAD: emit_load(o, op); break;
	case OP_STORE: emit_store(o, op); break;
	case OP_LEA: emit_lea(o, op); break;
	case OP_ALU: emit_alu(o, op); break;
	case OP_PUSH: emit_push(o, op); break;
	case OP_POP: pop_to(o, op->in.rm); break;
	case OP_LEAVE: emit_leave(o); break;
	case OP_PLAIN: emit_plain(o, op); break;
	default: emit_opaque(o, op); break;
	}
}
