/* SPDX-License-Identifier: MIT
 * Where the guest's values are while a region is emitted: ir.h has the invariants V1 to V3.
 * Nothing here changes the flags but flags_home().  Freestanding; owner as ir.h. */
#include "optimise/ir.h"

struct val val_of(const struct optimiser *o, int var)
{
	struct val v = o->s.v[var];

	if (v.kind == VAL_HOME) {
		int h = var_home(o, var);

		v = val_expr(h, 0, var < 16 || o->slots[var - 16].size == 8);
	}
	return val_narrow(o, v).kind == VAL_EXPR && v.kind == VAL_EXPR && val_is_reg(v) && (o->s.zx & BIT(v.base)) ?
		val_expr(v.base, 0, true) : v;
}

/* The low half of a value, zero-extended. */
struct val val_narrow(const struct optimiser *o, struct val v)
{
	if (v.kind == VAL_CONST)
		v.disp = (u32)v.disp;
	else if (v.kind == VAL_EXPR)
		v.wide = val_is_reg(v) && (o->s.zx & BIT(v.base));
	return v;
}

bool val_names(struct val v, int host)
{
	return v.kind == VAL_EXPR && (v.base == host || v.index == host);
}

bool val_same(struct val a, struct val b)
{
	if (a.kind != b.kind || a.disp != b.disp)
		return false;
	return a.kind == VAL_CONST || (a.kind == VAL_EXPR && a.base == b.base && a.index == b.index && a.wide == b.wide &&
		(a.index == REG_NONE || a.shift == b.shift));
}

bool val_add(struct val *v, struct val w, bool wide)
{
	if (v->kind == VAL_CONST && w.kind == VAL_CONST) {
		*v = val_const(wide ? (s64)((u64)v->disp + (u64)w.disp) : (s64)(u32)(v->disp + w.disp));
		return true;
	}
	if (v->kind == VAL_CONST) {
		struct val t = *v;

		*v = w;
		w = t;
	}
	if (v->kind != VAL_EXPR || (w.kind != VAL_EXPR && w.kind != VAL_CONST))
		return false;
	if (wide && (!v->wide || (w.kind == VAL_EXPR && !w.wide)))
		return false;
	s64 disp = v->disp + (w.kind == VAL_CONST && !wide ? (s32)w.disp : w.disp);

	if (disp != (s32)disp || w.disp != (wide || w.kind == VAL_EXPR ? (s32)w.disp : w.disp))
		return false;
	if (w.kind == VAL_EXPR) {
		if (w.index != REG_NONE) {
			struct val t = *v;

			*v = w;
			w = t;
		}
		if (w.index != REG_NONE || (v->index != REG_NONE && v->base != REG_NONE))
			return false;
		if (v->base == REG_NONE) {
			v->base = w.base;
		} else {
			v->index = w.base;
			v->shift = 0;
		}
		if (v->index == RSP) {
			v->index = v->base;
			v->base = RSP;
			if (v->index == RSP)
				return false;
		}
	}
	v->disp = disp;
	v->wide = wide;
	return true;
}

/* The host register that is a variable's own, or -1. */
int var_home(const struct optimiser *o, int var)
{
	if (var < 16)
		return var;
	return o->slots[var - 16].home == REG_NONE ? -1 : o->slots[var - 16].home;
}

void forget_extension(struct optimiser *o, int host)
{
	o->s.sx[host] = REG_NONE;
	for (int i = 0; i < 16; i++)
		if (o->s.sx[i] == host)
			o->s.sx[i] = REG_NONE;
}

/* host = v, flags kept. */
void load_val(struct optimiser *o, int host, struct val v)
{
	struct emit *e = &o->hot;
	struct rm rm = { .mem = true, .base = v.base, .index = v.index, .shift = v.shift, .seg = SEG_NONE, .disp = v.disp };

	forget_extension(o, host);
	if (v.kind == VAL_CONST) {
		e_mov_imm(e, host, (u64)v.disp);
	} else if (val_is_reg(v)) {
		struct rm r = rm_reg(host);

		encode_rm(e, 0x89, v.wide ? 8 : 4, v.base, &r, 0);
	} else {
		encode_rm(e, 0x8d, v.wide ? 8 : 4, host, &rm, 0);
	}
	if (v.kind == VAL_CONST ? (u64)v.disp <= 0xffffffff : !v.wide || (val_is_reg(v) && (o->s.zx & BIT(v.base))))
		o->s.zx |= (u16)BIT(host);
	else
		o->s.zx &= (u16)~BIT(host);
}

/* Host RSP takes its displacement in; what is reckoned from it follows. */
static void rebase(struct val *v, s64 d)
{
	if (v->kind == VAL_EXPR && v->base == RSP)
		v->disp -= d;
}

static void bring_rsp_home(struct optimiser *o)
{
	struct val v = o->s.v[RSP];

	if (v.base == RSP && v.index == REG_NONE) {
		e_lea_bd(&o->hot, RSP, RSP, (s32)v.disp);
		for (int i = 0; i < VARS; i++)
			rebase(&o->s.v[i], v.disp);
		rebase(&o->s.fl.x, v.disp);
		rebase(&o->s.fl.y, v.disp);
		o->s.rsp_host += (s32)v.disp;
	} else {
		evict(o, RSP, RSP);
		load_val(o, RSP, v);
		o->s.rsp_known = false;
	}
	o->s.v[RSP].kind = VAL_HOME;
}

static void unname_vars(struct optimiser *o, int host, int own);
static void unname_flags(struct optimiser *o, int host);

void bring_home(struct optimiser *o, int var)
{
	struct val v = o->s.v[var];
	int h = var_home(o, var);

	if (v.kind != VAL_EXPR && v.kind != VAL_CONST)
		return;
	if (var == RSP) {
		bring_rsp_home(o);
		return;
	}
	if (h < 0) {
		o->s.v[var].kind = VAL_NONE;
		return;
	}
	if (v.kind == VAL_CONST)
		unname_vars(o, h, var);
	if (o->busy & BIT(h)) { /* a slot's home in use as a scratch: memory has the value */
		if (var < 16)
			o->failed = true;
		o->s.v[var].kind = VAL_NONE;
		return;
	}
	unname_flags(o, h);
	load_val(o, h, v);
	o->s.v[var].kind = VAL_HOME;
}

/* Whether nobody will see the variable's value. */
static bool is_dead(struct optimiser *o, int var)
{
	u32 valid = 0;

	if (var >= 16 || var == RSP || !ON(o, copies) || o->op < o->ops || o->op >= o->ops_end)
		return false;
	for (u32 i = 0; i < o->n_slots; i++)
		valid |= o->s.v[16 + i].kind == VAL_NONE ? 0 : 1u << i;
	return regs_dead(o, o->op, o->ops_end, valid) & BIT(var);
}

/* Brings home the variables that name the register. */
static void unname_vars(struct optimiser *o, int host, int own)
{
	for (int i = 0; i < 16 + (int)o->n_slots; i++) {
		if (i == own || !val_names(o->s.v[i], host))
			continue;
		if (is_dead(o, i))
			o->s.v[i].kind = VAL_NONE;
		else
			bring_home(o, i);
	}
}

/* The register is about to be written: flags that were put off and name it are computed, unless nobody sees them. */
static void unname_flags(struct optimiser *o, int host)
{
	struct flags_val *f = &o->s.fl;

	if (f->op == FLG_NONE || (!val_names(f->x, host) && !val_names(f->y, host)))
		return;
	if (f->kind == FL_LAZY && !o->op->hard_before)
		flags_home(o);
	f->op = FLG_NONE;
}

void evict(struct optimiser *o, int host, int own)
{
	forget_extension(o, host);
	unname_vars(o, host, own);
	unname_flags(o, host);
}

void set_home(struct optimiser *o, int var, bool zero_upper)
{
	int h = var_home(o, var);

	o->s.v[var].kind = VAL_HOME;
	if (zero_upper)
		o->s.zx |= (u16)BIT(h);
	else
		o->s.zx &= (u16)~BIT(h);
}

void set_val(struct optimiser *o, int var, struct val v, bool lazy)
{
	int h = var_home(o, var);

	v = v.kind == VAL_EXPR && !v.wide ? val_narrow(o, v) : v;
	if (var == RSP && !(v.kind == VAL_EXPR && v.base == RSP && v.index == REG_NONE)) {
		evict(o, RSP, RSP);
		load_val(o, RSP, v);
		o->s.v[RSP].kind = VAL_HOME;
		o->s.rsp_known = false;
		return;
	}
	if (var == RSP) {
		o->s.v[RSP] = v;
		if (!v.disp)
			o->s.v[RSP].kind = VAL_HOME;
		else if (!lazy)
			bring_home(o, RSP);
		return;
	}
	if (h < 0) {
		o->s.v[var] = v;
		return;
	}
	if (val_is_reg(v) && v.base == h && (v.wide || (var >= 16 && o->slots[var - 16].size <= 4))) {
		o->s.v[var].kind = VAL_HOME;
		return;
	}
	if (!lazy || v.kind != VAL_CONST)
		unname_vars(o, h, var);
	if (lazy && !val_names(v, h)) {
		o->s.v[var] = v;
		return;
	}
	unname_flags(o, h);
	load_val(o, h, v);
	o->s.v[var].kind = VAL_HOME;
}

/* ---- scratch registers ---- */

/* Host registers that some value names.  A slot that was spoilt leaves its home to values that copied it. */
static u16 named_anywhere(const struct optimiser *o)
{
	u16 mask = 0;

	for (int i = 0; i < 16 + (int)o->n_slots; i++)
		mask |= val_mask(o->s.v[i]);
	if (o->s.fl.op != FLG_NONE)
		mask |= val_mask(o->s.fl.x) | val_mask(o->s.fl.y);
	return mask;
}

int scratch_get(struct optimiser *o, u16 avoid)
{
	u16 free = o->pool_free;

	avoid |= o->busy | BIT(RSP) | named_anywhere(o);
	for (int i = 0; i < 16; i++)
		if (i != RSP && (o->s.v[i].kind == VAL_EXPR || o->s.v[i].kind == VAL_CONST))
			free |= (u16)BIT(i);
	for (u32 i = 0; i < o->n_slots; i++)
		if (o->slots[i].home != REG_NONE && o->s.v[16 + i].kind != VAL_HOME)
			free |= (u16)BIT(o->slots[i].home);
	free &= (u16)~avoid;
	if (free) {
		int h = __builtin_ctz(free);

		forget_extension(o, h);
		o->busy |= (u16)BIT(h);
		return h;
	}
	for (int i = 15; i >= 0; i--) {
		if ((avoid & BIT(i)) || o->s.v[i].kind != VAL_HOME)
			continue;
		forget_extension(o, i);
		e_store_gs(&o->hot, o->r->spill + 8 * i, i);
		o->s.v[i] = (struct val){ .kind = VAL_SPILL, .disp = i };
		o->busy |= (u16)BIT(i);
		o->spilled |= (u16)BIT(i);
		return i;
	}
	o->failed = true;
	return RAX;
}

void scratch_put(struct optimiser *o, int host)
{
	o->busy &= (u16)~BIT(host);
	o->s.zx &= (u16)~BIT(host);
	if (!(o->spilled & BIT(host)))
		return;
	o->spilled &= (u16)~BIT(host);
	e_load_gs(&o->hot, host, o->r->spill + 8 * host);
	o->s.v[host].kind = VAL_HOME;
}

/* ---- flags ---- */

void flags_host(struct optimiser *o, enum flag_op op, unsigned size, struct val x, struct val y)
{
	bool usable = (x.kind == VAL_EXPR || x.kind == VAL_CONST) && (y.kind == VAL_EXPR || y.kind == VAL_CONST) && size >= 4;

	o->s.fl = (struct flags_val){ .kind = FL_HOST, .op = usable ? (u8)op : FLG_NONE, .size = (u8)size, .x = x, .y = y };
}

bool flags_release(struct optimiser *o, bool hard_dead)
{
	struct flags_val *f = &o->s.fl;

	if (f->kind == FL_HOST && f->op == FLG_NONE && !hard_dead)
		return false;
	f->kind = FL_LAZY;
	return true;
}

/* A register that holds the value: its own, or a scratch, to be put back if `*got`. */
static int val_register(struct optimiser *o, struct val v, u16 avoid, bool copy, int *got)
{
	if (!copy && val_is_reg(v))
		return v.base;
	*got = scratch_get(o, avoid);
	load_val(o, *got, v);
	return *got;
}

/* op reg, y */
static void alu_val(struct optimiser *o, enum alu a, unsigned size, int reg, struct val y, u16 avoid)
{
	static const u8 opcodes[] = { 0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85 };
	struct rm rm = rm_reg(reg);
	s64 c = size == 4 ? (s32)y.disp : y.disp;
	int got = -1, r;

	if (y.kind == VAL_CONST && c == (s32)c) {
		encode_alu_imm(&o->hot, a, size, &rm, (s32)c);
		return;
	}
	r = val_register(o, y, avoid, false, &got);
	encode_rm(&o->hot, opcodes[a], size, r, &rm, 0);
	if (got >= 0)
		scratch_put(o, got);
}

/* Computes flags that were put off. */
void flags_home(struct optimiser *o)
{
	struct flags_val f = o->s.fl;
	u16 avoid = val_mask(f.x) | val_mask(f.y);
	int got = -1, r;

	if (f.kind == FL_HOST)
		return;
	o->s.fl.kind = FL_HOST;
	if (f.op == FLG_NONE)
		return;
	r = val_register(o, f.x, avoid, f.op != FLG_SUB && f.op != FLG_AND, &got);
	switch (f.op) {
	case FLG_SUB: alu_val(o, ALU_CMP, f.size, r, f.y, avoid); break;
	case FLG_AND: alu_val(o, ALU_TEST, f.size, r, f.y, avoid); break;
	case FLG_ADD: alu_val(o, ALU_ADD, f.size, r, f.y, avoid); break;
	case FLG_ADDR:
		alu_val(o, ALU_SUB, f.size, r, f.y, avoid);
		alu_val(o, ALU_ADD, f.size, r, f.y, avoid);
		break;
	case FLG_SUBR:
		alu_val(o, ALU_ADD, f.size, r, f.y, avoid);
		alu_val(o, ALU_SUB, f.size, r, f.y, avoid);
		break;
	}
	if (got >= 0)
		scratch_put(o, got);
}

/* ---- records ---- */

static void snapshot_byte(struct optimiser *o, const void *p, unsigned n)
{
	if (o->n_snapshot_bytes + n + 64 > SNAPSHOT_BYTES) {
		o->failed = true;
		return;
	}
	__builtin_memcpy(o->snapshots + o->n_snapshot_bytes, p, n);
	o->n_snapshot_bytes += n;
}

/* The values that are not in their homes, one after the other: number, value; 16 and the flags; 255. */
void snapshot_write(struct optimiser *o)
{
	u32 start = o->n_snapshot_bytes, size, last;
	u8 end = 0xff;

	for (u8 i = 0; i < 16; i++) {
		if (o->s.v[i].kind == VAL_HOME || (o->pool & BIT(i)))
			continue;
		snapshot_byte(o, &i, 1);
		snapshot_byte(o, &o->s.v[i], sizeof(struct val));
	}
	if (o->s.fl.kind == FL_LAZY) {
		u8 n = 16;

		snapshot_byte(o, &n, 1);
		snapshot_byte(o, &o->s.fl, sizeof(o->s.fl));
	}
	snapshot_byte(o, &end, 1);
	size = o->n_snapshot_bytes - start;
	last = o->last_snapshot;
	if (o->n_records && start - last == size && !__builtin_memcmp(o->snapshots + last, o->snapshots + start, size))
		o->n_snapshot_bytes = start;
	else
		o->last_snapshot = start;
}

void record(struct optimiser *o)
{
	u32 host = (u32)(o->hot.p - o->r->hot);

	if (o->n_records && o->records[o->n_records - 1].host == host)
		o->n_records--;
	if (o->n_records >= MAX_RECORDS - 1) {
		o->failed = true;
		return;
	}
	snapshot_write(o);
	o->records[o->n_records++] = (struct opt_record){ host, o->last_snapshot, o->op->pc };
}
