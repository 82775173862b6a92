/* SPDX-License-Identifier: MIT
 * From forms to tests: memory operands are aimed at the window, branches at INT3 landings, everything else is random.
 *
 * A kernel-world test has a native twin that computes with the true kernel addresses: a GS prefix whose base
 * takes KERNEL_BASE back to the user base.  Implicit stack and string operands have no prefix: there
 * the native registers hold the user twin (shift_in, shift_out). */
#include <string.h>

#include "diff/harness.h"

#define REL_NONE 0xffffffffu

static bool stack_class(u8 klass)
{
	return klass == IC_CALL || klass == IC_RET || klass == IC_CALL_IND || klass == IC_PUSH || klass == IC_POP ||
	       klass == IC_PUSHF || klass == IC_LEAVE || klass == IC_ENTER;
}
static bool string_class(u8 klass)
{
	return klass == IC_MOVS || klass == IC_STOS || klass == IC_LODS || klass == IC_CMPS || klass == IC_SCAS;
}
static bool string_source(u8 k) { return k == IC_MOVS || k == IC_LODS || k == IC_CMPS; }
static bool string_target(u8 k) { return string_class(k) && k != IC_LODS; }
static bool relative(u8 k) { return k == IC_JMP || k == IC_JCC || k == IC_LOOP || k == IC_CALL; }
static bool last_only(u8 k)
{
	return k == IC_JMP || k == IC_CALL || k == IC_RET || k == IC_JMP_IND || k == IC_CALL_IND || k == IC_LEAVE ||
	       k == IC_ENTER || k == IC_POPF;
}
static bool is_lea(const struct insn *in) { return in->enc == ENC_LEGACY && in->map == MAP_1B && in->op == 0x8d; }
static bool accesses(const struct insn *in)
{
	return in->has_mem && (in->mem_read || in->mem_write || in->klass != IC_PLAIN || in->vsib) && !is_lea(in);
}
static bool is_bit_string(const struct insn *in)
{
	return in->map == MAP_0F && in->enc == ENC_LEGACY && in->has_mem &&
	       (in->op == 0xa3 || in->op == 0xab || in->op == 0xb3 || in->op == 0xbb);
}
static int general_reg(const struct insn *in) { return (in->modrm >> 3 & 7) | (in->rex & 4) << 1; }
static int general_rm(const struct insn *in) { return (in->modrm & 7) | (in->rex & 1) << 3; }

static bool allowed(const struct test *t, const struct insn *in)
{
	u8 k = in->klass;

	if (in->addrsize_prefix && !harness.low_alias)
		return false;
	if (t->world == WORLD_USER)
		return true;
	if (in->privileged)
		return false;
	if (k != IC_PLAIN && k != IC_XLAT && k != IC_MASKMOV && k != IC_MOFFS && k != IC_JMP_IND && !relative(k) &&
	    !string_class(k) && !stack_class(k))
		return false;
	if ((k == IC_XLAT || k == IC_MASKMOV || k == IC_MOFFS || string_class(k)) && in->seg != SEG_NONE)
		return false;
	if (in->addrsize_prefix && (k == IC_XLAT || k == IC_MASKMOV || (in->has_mem && stack_class(k))))
		return false;
	if ((k == IC_LEAVE || k == IC_ENTER || k == IC_PUSHF) && in->osize == 2)
		return false;
	if ((k == IC_JMP_IND || k == IC_CALL_IND) && !in->has_mem && general_rm(in) == RSP)
		return false;
	/* No kernel does these: they are not translated. */
	if (k == IC_MASKMOV || (in->enc != ENC_LEGACY && (in->reg_touch >> RSP & 1) && !(in->has_mem && in->base == RSP)))
		return false;
	/* Executed in C, which knows the common forms. */
	if (in->seg == SEG_FS && in->has_mem && (in->enc != ENC_LEGACY || in->map != MAP_1B || in->op >= 0xd0))
		return false;
	return in->len < INSN_MAX;
}

bool generate_rsp_arithmetic(const struct insn *in)
{
	return in->map == MAP_1B && in->enc == ENC_LEGACY && !in->has_mem && (in->op == 0x81 || in->op == 0x83) && in->rm == RSP;
}

/* Leaves undefined flags as they were, on some processors: then arithmetic on RSP, which does not keep flags that are
 * overwritten, shows. */
static bool undefined_flags(const struct insn *in)
{
	u8 op = in->op;

	if (in->enc != ENC_LEGACY)
		return in->enc == ENC_VEX;
	if (in->map == MAP_1B)
		return op == 0x69 || op == 0x6b || op == 0xc0 || op == 0xc1 || (op >= 0xd0 && op <= 0xd3) || op == 0xf6 || op == 0xf7;
	return in->map == MAP_0F && (op == 0xaf || op == 0xba || (op >= 0xa3 && op <= 0xa5) || (op >= 0xab && op <= 0xad) ||
				     op == 0xb3 || (op >= 0xbb && op <= 0xbd));
}

/* Beyond the rules for one instruction: what keeps a sequence comparable. */
static bool allowed_in_sequence(const struct test *t, const struct insn *in, bool last)
{
	u8 k = in->klass;

	if (last_only(k) && !last)
		return false;
	if (in->seg != SEG_NONE || in->addrsize_prefix)
		return false;
	if (t->world == WORLD_USER)
		return k == IC_PLAIN || string_class(k) || relative(k) || stack_class(k) || k == IC_JMP_IND || k == IC_MOFFS;
	if (string_class(k) || k == IC_LEAVE || k == IC_ENTER || k == IC_LOOP || k == IC_XLAT || k == IC_MASKMOV)
		return false;
	if (is_lea(in) && in->base == REG_RIP)
		return false;
	if (k == IC_RET || k == IC_JMP_IND || k == IC_CALL_IND) /* the target in memory is another address natively */
		return false;
	if (!t->stack_mode)
		return true;
	if ((k == IC_PUSH || k == IC_POP) && (!in->off_modrm || !in->has_mem) && ((in->reg_touch >> RSP) & 1) &&
	    ((in->op & 7) == RSP || general_rm(in) == RSP))
		return false;
	if (in->has_mem && in->base == RSP)
		return !is_lea(in) && general_reg(in) != RSP;
	return k != IC_PLAIN || !(in->reg_touch >> RSP & 1);
}

bool generate_in_user_half(const struct test *t, const struct insn *in)
{
	if (in->addrsize_prefix)
		return true;
	return t->user_half && in->base != RSP && in->base != REG_RIP && in->seg == SEG_NONE;
}

static bool wants_prefix(const struct test *t, const struct insn *in)
{
	bool implicit = in->klass == IC_XLAT || in->klass == IC_MASKMOV;

	if (t->world == WORLD_USER || in->seg != SEG_NONE || generate_in_user_half(t, in))
		return false;
	if (implicit)
		return true;
	return accesses(in) && in->base != REG_RIP && !(t->stack_mode && in->base == RSP);
}

static void put_le(u8 *p, u64 v, int size) { memcpy(p, &v, (size_t)size); }

static u64 guest_base(const struct test *t) { return t->world == WORLD_USER ? harness.user_base : KERNEL_BASE; }
static u64 insn_end(const struct test *t, int i) { return guest_base(t) + t->code + t->at[i + 1]; }

/* An address in the window for `size` bytes, of every kind of page and straddle; as a user address. */
static u64 aim(u32 size, bool aligned)
{
	static const struct { u8 weight, page; s8 straddle; } kinds[] = {
		{ 40, PAGE_A, 0 }, { 20, PAGE_B, 0 }, { 6, PAGE_C, 0 }, { 8, PAGE_B, -1 }, { 5, PAGE_R, 0 },
		{ 4, PAGE_R, -1 }, { 4, PAGE_R + 1, 0 }, { 4, PAGE_R + 1, -1 }, { 3, PAGE_A, -1 }, { 3, PAGE_C + 1, -1 },
	};
	u32 left = rnd_below(97), k = 0, offset;

	while (left >= kinds[k].weight)
		left -= kinds[k++].weight;
	if (size < 1 || size > 64)
		size = 64;
	if (kinds[k].straddle && !aligned)
		offset = kinds[k].page * 4096u - rnd_below(size);
	else
		offset = kinds[k].page * 4096u + rnd_below(4096 - 64 - 512) + 256;
	if (aligned || rnd_below(3))
		offset &= ~(rnd_below(2) || aligned ? 63u : 7u);
	return harness.user_base + WINDOW + offset;
}

static u64 random_value(void)
{
	static const u64 edges[] = { 0, 1, ~0ull, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
				     0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0x3f, 0x40 };

	switch (rnd_below(8)) {
	case 0: case 1: return edges[rnd_below(16)];
	case 2: return rnd_below(256);
	case 3: return (u64)-(s64)rnd_below(256);
	case 4: return (u32)rnd();
	case 5: return aim(8, false);
	default: return rnd() ^ rnd() << 32;
	}
}

/* An INT3 for the branch to end at, as a user address. */
static u64 landing(const struct test *t, bool near)
{
	if (near || rnd_below(2)) {
		if (t->code % 4096 > 4096 - 16) /* before the code that runs into the next page */
			return harness.user_base + t->slot * SLOT_BYTES + SLOT_CODE + rnd_below(64);
		return harness.user_base + (t->slot + 1) * SLOT_BYTES - 1 - rnd_below(12);
	}
	return harness.user_base + rnd_below(SLOTS_PER_BATCH) * SLOT_BYTES + SLOT_LANDING + rnd_below(8);
}

static void patch(struct test *t, u64 user_address, u64 value, bool shift)
{
	u64 offset = user_address - harness.user_base - WINDOW;
	struct diff_case *c = &t->c;

	if (c->n_patch == PATCH_MAX || offset >= WINDOW_PAGES * 4096 || (offset & 7))
		return;
	u64 page = offset >> 12;

	if (page != PAGE_A && page != PAGE_B && page != PAGE_C)
		return;
	for (u32 i = 0; i < c->n_patch; i++)
		if (c->patch[i].offset == offset)
			return;
	if (shift)
		t->patch_shift |= (u8)(1u << c->n_patch);
	c->patch[c->n_patch++] = (struct diff_patch){ (u32)offset, 0, value + (shift ? KOFF : 0) };
}

/* Makes the explicit operand's effective address (without segment base) `ea`. */
static bool aim_registers(struct test *t, const struct insn *in, u64 ea, u16 *fixed)
{
	u64 *g = t->c.gpr, index = 0;
	u64 keep = in->asize == 4 ? ~0xffffffffull : 0;

	if (in->base == REG_RIP)
		return true; /* part of the code */
	if (in->index != REG_NONE && !in->vsib && in->index != in->base) {
		if (!(*fixed >> in->index & 1) && in->base != REG_NONE) {
			g[in->index] = rnd_below(3) ? rnd_below(64) : (u64)-(s64)rnd_below(64);
			*fixed |= (u16)(1u << in->index);
		}
		index = g[in->index] * in->scale;
	}
	if (in->base != REG_NONE) {
		if (*fixed >> in->base & 1)
			return false;
		u64 v = ea - (u64)in->disp - index;

		if (in->base == in->index && !in->vsib)
			v = (u64)((s64)v / (1 + in->scale));
		g[in->base] = keep ? (rnd() & keep) | (u32)v : v;
		*fixed |= (u16)(1u << in->base);
		return in->base != in->index || in->scale == 0;
	}
	if (in->index != REG_NONE && !in->vsib && !(*fixed >> in->index & 1)) {
		g[in->index] = (u64)((s64)(ea - (u64)in->disp) / in->scale);
		*fixed |= (u16)(1u << in->index);
		return false;
	}
	return false;
}

static u64 operand_address(const struct test *t, int i)
{
	const struct insn *in = &t->insn[i].in;

	return insn_end(t, i) + (u64)in->disp;
}

static void aim_explicit(struct test *t, int i, u16 *fixed)
{
	const struct insn *in = &t->insn[i].in;
	bool branch = in->klass == IC_JMP_IND || in->klass == IC_CALL_IND;
	bool kernel = t->world == WORLD_KERNEL, user_half = !kernel || generate_in_user_half(t, in);
	u64 at, ea;

	if (!accesses(in) && !is_lea(in))
		return;
	at = aim(in->mem_size, branch || in->vsib || !rnd_below(3));
	if (is_bit_string(in) && rnd_below(8) && !(*fixed >> general_reg(in) & 1)) {
		t->c.gpr[general_reg(in)] = (u64)(s64)(int)(rnd_below(600) - 100);
		*fixed |= (u16)(1u << general_reg(in));
		if (in->base == general_reg(in) || in->index == general_reg(in))
			t->wild = true;
	} else if (is_bit_string(in) || in->vsib) {
		t->wild = true;
	}
	ea = in->asize == 4 ? at - harness.user_base + LOW_BASE : user_half ? at : at + KOFF;
	if (in->seg == SEG_FS || in->seg == SEG_GS) {
		u64 *base = in->seg == SEG_FS ? &t->c.fs : &t->c.gs;
		u64 small = in->base == REG_RIP ? operand_address(t, i) : rnd_below(512);

		if (in->asize == 4)
			small = (u32)small;
		if (in->base == REG_NONE && in->index == REG_NONE)
			small = (u64)in->disp;
		*base = (kernel ? at + KOFF : at) - small;
		if (kernel && (in->base != REG_RIP || in->asize == 4)) {
			if (in->seg == SEG_FS)
				t->shift_fs = true;
			else
				t->shift_gs = true;
		}
		ea = small;
		if (in->base == REG_NONE && in->index == REG_NONE)
			goto aimed;
	}
	if (!aim_registers(t, in, ea, fixed))
		t->wild = true;
	if (in->base == REG_RIP && in->seg == SEG_NONE)
		at = operand_address(t, i) - (kernel && in->asize == 8 ? KOFF : 0);
aimed:
	if (branch)
		patch(t, at, landing(t, false), kernel);
}

static void aim_string(struct test *t, const struct insn *in, u16 *fixed)
{
	bool low = in->addrsize_prefix;

	for (int way = 0; way < 2; way++) {
		int r = way ? RDI : RSI;
		u64 at = aim(in->osize, false);

		if (!(way ? string_target(in->klass) : string_source(in->klass)))
			continue;
		if (low) {
			t->c.gpr[r] = (rnd() & ~0xffffffffull) | (at - harness.user_base + LOW_BASE);
		} else if (t->world == WORLD_KERNEL && !(t->user_half && rnd_below(2))) {
			t->c.gpr[r] = at + KOFF;
			t->shift_in |= (u16)(1u << r);
			t->shift_out |= (u16)(1u << r);
		} else {
			t->c.gpr[r] = at;
		}
		*fixed |= (u16)(1u << r);
	}
	if (in->rep) {
		t->c.gpr[RCX] = rnd_below(4) ? rnd_below(40) : rnd_below(2) ? 0 : rnd_below(1000);
		if (low)
			t->c.gpr[RCX] |= rnd() & ~0xffffffffull;
		*fixed |= BIT(RCX);
	}
}

static void aim_stack(struct test *t, const struct insn *in, u16 *fixed)
{
	bool kernel = t->world == WORLD_KERNEL;
	u64 at;

	if (*fixed >> RSP & 1)
		return;
	at = aim(8, true) + (rnd_below(4) ? 8 * rnd_below(8) : 0);
	if (!kernel && !rnd_below(4))
		at += rnd_below(8);
	t->c.gpr[RSP] = kernel ? at + KOFF : at;
	*fixed |= BIT(RSP);
	if (kernel) {
		t->shift_in |= BIT(RSP);
		t->shift_out |= BIT(RSP);
	}
	if (in->klass == IC_RET)
		patch(t, at, landing(t, false), kernel);
}

static void aim_implicit(struct test *t, const struct insn *in, u16 *fixed)
{
	bool kernel = t->world == WORLD_KERNEL;
	u64 half = kernel && !generate_in_user_half(t, in) ? KOFF : 0;

	if (string_class(in->klass))
		aim_string(t, in, fixed);
	if (stack_class(in->klass) && in->klass != IC_LEAVE)
		aim_stack(t, in, fixed);
	switch (in->klass) {
	case IC_XLAT:
		t->c.gpr[RBX] = aim(1, false) + half - (t->c.gpr[RAX] & 0xff);
		break;
	case IC_MASKMOV:
		t->c.gpr[RDI] = aim(16, false) + half;
		break;
	case IC_LEAVE:
		t->c.gpr[RBP] = aim(8, true) + (kernel ? KOFF : 0);
		t->c.gpr[RSP] = aim(8, true) + (kernel ? KOFF : 0);
		if (kernel) {
			t->shift_in = BIT(RBP) | BIT(RSP);
			t->shift_out = BIT(RSP);
		}
		break;
	case IC_ENTER:
		if (kernel)
			t->shift_out |= BIT(RBP);
		else if (rnd_below(4))
			t->c.gpr[RBP] = aim(64, true);
		break;
	case IC_JMP_IND: case IC_CALL_IND:
		if (!in->has_mem) {
			int r = general_rm(in);

			t->c.gpr[r] = landing(t, false) + (kernel ? KOFF : 0);
			if (kernel) {
				t->shift_in |= (u16)(1u << r);
				t->shift_out |= (u16)(1u << r);
			}
		}
		break;
	default:
		break;
	}
}

/* What of a single instruction's results is an address. */
static void address_results(struct test *t, const struct insn *in)
{
	if (t->world != WORLD_KERNEL)
		return;
	if (in->klass == IC_CALL || in->klass == IC_CALL_IND)
		t->shift_pushed = true;
	if (t->n != 1)
		return;
	bool rsp = (!in->off_modrm && ((in->op & 7) | (in->rex & 1) << 3) == RSP && in->op >= 0x50 && in->op <= 0x5f) ||
		   (in->off_modrm && !in->has_mem && general_rm(in) == RSP);

	if (in->klass == IC_PUSH && rsp && in->osize == 8)
		t->shift_pushed = true;
	if (in->klass == IC_POP && rsp && in->osize == 8)
		t->shift_out &= (u16)~BIT(RSP);
	if (is_lea(in) && in->base == REG_RIP && in->osize == 8 && in->asize == 8)
		t->shift_out |= (u16)(1u << general_reg(in));
}

bool generate_state(struct test *t)
{
	struct diff_case *c = &t->c;
	u64 rip = c->rip;
	u32 id = c->id;
	bool pushf = false;
	u16 fixed = 0;

	memset(c, 0, sizeof *c);
	c->rip = rip;
	c->id = id;
	c->world = t->world;
	t->shift_in = t->shift_out = 0;
	t->shift_fs = t->shift_gs = t->shift_pushed = t->wild = false;
	t->patch_shift = 0;
	for (int i = 0; i < 16; i++)
		c->gpr[i] = random_value();
	if (rnd_below(4))
		c->gpr[RSP] = aim(8, true) + (t->world == WORLD_KERNEL ? KOFF : 0);
	c->fs = harness.user_base + WINDOW + 0x1000 * rnd_below(3);
	c->gs = harness.user_base + WINDOW + 0x800 * rnd_below(6);
	c->rflags = RF_FIXED | RF_IF | (rnd() & FLAGS_STATUS) | (rnd_below(7) ? 0 : RF_DF) |
		    (harness.trap_flag || !rnd_below(24) ? RF_TF : 0);
	c->preset = rnd_below(N_PRESETS);
	t->fold_gs = false;
	if (t->stack_mode)
		aim_stack(t, &t->insn[0].in, &fixed);
	for (int i = 0; i < t->n; i++) {
		const struct insn *in = &t->insn[i].in;

		aim_implicit(t, in, &fixed);
		aim_explicit(t, i, &fixed);
		if (wants_prefix(t, in))
			t->fold_gs = true;
		address_results(t, in);
		/* Its image is known where nothing else was pushed. */
		pushf |= in->klass == IC_PUSHF;
		if (in->klass == IC_PUSHF && t->n > 1 && t->user_half)
			return false;
	}
	if (t->fold_gs && t->shift_gs)
		return false;
	if (t->world == WORLD_KERNEL)
		for (int i = 0; i < t->n; i++)
			if (t->user_half || generate_in_user_half(t, &t->insn[i].in))
				c->rflags |= RF_AC;
	/* Natively interrupts are on and alignment is not checked: to_guest() knows. */
	if (t->world == WORLD_KERNEL && (!pushf || t->n == 1)) {
		if (!rnd_below(3))
			c->rflags &= ~RF_IF;
		if (pushf && rnd_below(2))
			c->rflags |= RF_AC;
	}
	return true;
}

/* Displacements of branches, RIP-relative and absolute operands are chosen once for the code. */
static bool fix_code(struct test *t, int i)
{
	struct test_insn *ti = &t->insn[i];
	struct insn *in = &ti->in;
	bool kernel = t->world == WORLD_KERNEL;

	if (relative(in->klass)) {
		u64 to = landing(t, in->imm_size == 1) + (kernel ? KOFF : 0);
		s64 d = (s64)(to - insn_end(t, i));

		if (in->imm_size == 1 && d != (s8)d)
			return false;
		if (in->imm_size != 1 && in->imm_size != 4)
			return false;
		put_le(ti->raw + in->off_imm, (u64)d, in->imm_size);
		t->landing = true;
	} else if (in->klass == IC_MOFFS) {
		u64 at = aim(8, false);

		at = in->asize == 4 ? at - harness.user_base + LOW_BASE : kernel && !generate_in_user_half(t, in) ? at + KOFF : at;
		if (in->seg != SEG_NONE)
			at = rnd_below(4096);
		put_le(ti->raw + in->off_disp, at, in->disp_size);
	} else if (in->klass == IC_ENTER) {
		ti->raw[in->off_imm + 1] = 0;
		ti->raw[in->off_imm + 2] = kernel ? 0 : ti->raw[in->off_imm + 2] & 3;
	} else if (in->has_mem && in->base == REG_RIP && in->disp_size == 4) {
		u64 at = aim(in->mem_size, in->klass != IC_PLAIN) + (kernel ? KOFF : 0);

		/* A kernel's per-CPU variables: small numbers beyond the end of the address space. */
		if (kernel && in->seg != SEG_NONE)
			at = rnd_below(4096);
		put_le(ti->raw + in->off_disp, at - insn_end(t, i), 4);
	} else if (in->has_mem && in->base == REG_NONE && in->index == REG_NONE && in->disp_size == 4 && kernel &&
		   in->seg == SEG_NONE) {
		u64 at = aim(in->mem_size, in->klass != IC_PLAIN);

		put_le(ti->raw + in->off_disp, in->asize == 4 ? at - harness.user_base + LOW_BASE : at + KOFF, 4);
	}
	return insn_decode(in, ti->raw, INSN_MAX, MODE_64) == 0 && in->len == ti->len;
}

static u32 code_offset(const struct test *t, u32 slot, int length)
{
	/* The last slot of a page holds code that runs into the next page. */
	if (slot % 32 == 31 && length > 1 && length <= 15)
		return (slot + 1) * SLOT_BYTES - 1 - (u32)(t->c.id % (u32)(length - 1));
	return slot * SLOT_BYTES + SLOT_CODE + t->c.id % 16;
}

bool generate(struct test *t, const struct form *const *forms, int n, u8 world, u32 slot)
{
	u32 id = t->c.id;
	int length = 0;

	memset(t, 0, sizeof *t);
	t->n = n;
	t->world = world;
	t->slot = t->native_slot = slot;
	t->c.id = id;
	for (int i = 0; i < n; i++) {
		struct test_insn *ti = &t->insn[i];

		memset(ti->raw, 0xcc, sizeof ti->raw);
		memcpy(ti->raw, forms[i]->raw, forms[i]->len);
		if (insn_decode(&ti->in, ti->raw, INSN_MAX, MODE_64))
			return false;
		ti->len = ti->in.len;
		if (!allowed(t, &ti->in))
			return false;
		if (world == WORLD_KERNEL && stack_class(ti->in.klass))
			t->stack_mode = true;
		if (ti->in.addrsize_prefix && (ti->in.has_mem || string_class(ti->in.klass) || ti->in.klass == IC_MOFFS))
			t->user_half = world == WORLD_KERNEL;
		t->at[i] = (u16)length;
		length += ti->len;
		t->at[i + 1] = (u16)length;
	}
	for (int i = 0; n > 1 && i < n; i++)
		if (!allowed_in_sequence(t, &t->insn[i].in, i == n - 1))
			return false;
	for (int i = 0; world == WORLD_KERNEL && i < n; i++)
		for (int j = 0; j < i; j++)
			if (generate_rsp_arithmetic(&t->insn[j].in) && undefined_flags(&t->insn[i].in))
				return false;
	if (length > 64)
		return false;
	t->code = code_offset(t, slot, length);
	t->c.rip = guest_base(t) + t->code;
	for (int i = 0; i < n; i++)
		if (!fix_code(t, i))
			return false;
	return generate_state(t);
}

bool generate_other_half(struct test *t, u32 native_slot)
{
	bool any = false;

	if (t->world != WORLD_KERNEL || t->user_half)
		return false;
	t->user_half = true;
	for (int i = 0; i < t->n; i++) {
		const struct insn *in = &t->insn[i].in;

		if (in->klass == IC_MOFFS || in->vsib || (in->has_mem && in->base == REG_NONE && in->index == REG_NONE))
			return false;
		any |= string_class(in->klass) || in->klass == IC_XLAT || in->klass == IC_MASKMOV ||
		       (accesses(in) && generate_in_user_half(t, in));
	}
	t->native_slot = native_slot;
	return any && generate_state(t);
}

static void encode_native(struct test *t, int i)
{
	struct test_insn *ti = &t->insn[i];
	const struct insn *in = &ti->in;
	u64 shift = t->world == WORLD_KERNEL ? KOFF : 0;
	/* How much farther the end of the native instruction is from what it refers to. */
	s64 nearer = (s64)(insn_end(t, i) - shift) - (s64)(harness.user_base + t->native_code + t->native_at[i + 1]);
	u8 *p = ti->native;

	memset(p, 0xcc, sizeof ti->native);
	memcpy(p, ti->raw, in->off_enc);
	if (ti->before)
		p[in->off_enc] = 0x65;
	memcpy(p + in->off_enc + ti->before, ti->raw + in->off_enc, (size_t)(ti->len - in->off_enc));
	p += ti->before;
	if (relative(in->klass))
		put_le(p + in->off_imm, (u64)(in->imm + nearer), in->imm_size);
	else if (in->klass == IC_MOFFS && shift && !generate_in_user_half(t, in))
		put_le(p + in->off_disp, (u64)in->disp - shift, in->disp_size);
	else if (in->has_mem && in->base == REG_RIP && in->disp_size == 4)
		put_le(p + in->off_disp, (u64)(in->disp + nearer), 4);
}

void generate_place(struct test *t, u8 *guest_code, u8 *native_code)
{
	u32 total = 0, at = t->at[t->n];

	for (int i = 0; i < t->n; i++) {
		t->insn[i].before = wants_prefix(t, &t->insn[i].in);
		total += t->insn[i].before;
	}
	/* Both end at the same place of their slots. */
	t->native_code = t->code + (t->native_slot - t->slot) * SLOT_BYTES - total;
	t->native_at[0] = 0;
	for (int i = 0; i < t->n; i++)
		t->native_at[i + 1] = (u16)(t->native_at[i] + t->insn[i].len + t->insn[i].before);
	for (int i = 0; i < t->n; i++) {
		encode_native(t, i);
		memcpy(guest_code + t->code + t->at[i], t->insn[i].raw, t->insn[i].len);
		memcpy(native_code + t->native_code + t->native_at[i], t->insn[i].native,
		       (size_t)(t->insn[i].len + t->insn[i].before));
	}
	memset(guest_code + t->code + at, 0xcc, 1);
}

/* One quadword of vector or memory content that instructions find interesting. */
static u64 content(void)
{
	union { double d; float f[2]; u64 u; u32 w[2]; } v;

	switch (rnd_below(8)) {
	case 0: v.d = (double)(s64)(rnd() >> 20) / 4096.0 * (rnd_below(2) ? 1 : -1); return v.u;
	case 1: v.f[0] = (float)rnd_below(100000) / 7; v.f[1] = -(float)rnd_below(1000); return v.u;
	case 2: return rnd_below(2) ? 0 : ~0ull;
	case 3: return rnd_below(64) | (u64)rnd_below(64) << 32;
	case 4: return 0x7ff0000000000000ull | (rnd_below(2) ? rnd() : 0);
	case 5: return 0x000fffffffffffffull & rnd();
	default: return rnd() ^ rnd() << 31;
	}
}

static void preset(u8 *x, u32 number)
{
	const struct diff_batch *b = &harness.layout;
	bool gather = number % 4 == 3; /* small indices in even registers, masks in odd ones */
	u64 *q = (u64 *)(void *)x;

	memset(x, 0, XSAVE_SIZE);
	for (u32 i = 576 / 8; i < XSAVE_SIZE / 8; i++)
		q[i] = content();
	memset(x + 512, 0, 64);
	*(u64 *)(void *)(x + 512) = b->xcr0;
	*(u16 *)(void *)x = number % 3 ? 0x37f : 0x27f;
	*(u16 *)(void *)(x + 2) = (u16)(rnd_below(8) << 11 | (rnd() & 0x4700 & ~0x3800));
	x[4] = number % 5 ? (u8)rnd() : 0;
	*(u32 *)(void *)(x + 24) = number % 6 == 5 ? 0x1f80 & ~(u32)(rnd() & 0x1f80) : 0x1f80 | (number % 4 == 2 ? 0x8040 : 0) |
				   (number % 7 == 3 ? rnd_below(4) << 13 : 0);
	for (int i = 0; i < 8; i++) {
		u16 e = (u16)(rnd_below(2) << 15 | (0x3fff + rnd_below(40) - 20));

		*(u64 *)(void *)(x + 32 + 16 * i) = rnd() | 1ull << 63;
		*(u16 *)(void *)(x + 40 + 16 * i) = e;
	}
	for (int i = 0; i < 32; i++)
		*(u64 *)(void *)(x + 160 + 8 * i) = content();
	for (int i = 0; gather && i < 16; i++) {
		u64 v = i & 1 ? 0x8000000080000000ull : rnd_below(128);

		for (int j = 0; j < 2; j++)
			*(u64 *)(void *)(x + 160 + 16 * i + 8 * j) = v;
		for (int j = 0; j < 2 && b->off_ymm; j++)
			*(u64 *)(void *)(x + b->off_ymm + 16 * i + 8 * j) = v;
		for (int j = 0; j < 4 && b->off_zmm_hi; j++)
			*(u64 *)(void *)(x + b->off_zmm_hi + 32 * i + 8 * j) = v;
		for (int j = 0; j < 8 && b->off_hi16; j++)
			*(u64 *)(void *)(x + b->off_hi16 + 64 * i + 8 * j) = v;
	}
}

void generate_presets(void)
{
	for (u32 i = 0; i < N_PRESETS; i++)
		preset(harness.presets + i * XSAVE_SIZE, i);
	for (u32 i = 0; i < IMAGE_PAGES * 512; i++)
		harness.images[i] = content();
}
