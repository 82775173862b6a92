/* SPDX-License-Identifier: MIT
 * Rewriting of operands: where an instruction's memory operand lies in the host, and what stands for RSP.
 *
 *   user world     as it is; RIP-relative through a borrowed register; GS through its base
 *   kernel world   GS override folds; guest GS becomes FS; RIP-relative becomes gs:[disp32]; RSP is folded
 *                  already; sites that may see either half select the fold by the sign of the address */
#include "translate/internal.h"
#include "translate/targets.h"

/* How the memory operand is written in the host instruction. */
enum form { F_NONE, F_SAME, F_GS, F_FS, F_ABS, F_PAIR, F_RIP };

struct rewrite {
	enum form form;
	int base, index;  /* F_PAIR: [base + index]; index may be REG_NONE */
	s32 disp;         /* F_ABS: gs:[disp] or fs:[disp] */
	bool fs, gs;      /* F_ABS, F_PAIR */
	int reg, rm;      /* replacement for ModRM.reg / a register in rm, or -1 */
};

static const u8 scratch_pool[] = { RAX, RCX, RDX, RBX, RSI, RDI, R8, R9, R10, R11, R14, R15 };

int tx_borrow(struct tx *t, const struct insn *in, u16 *taken)
{
	int kept = tx_kept_free(t, in, *taken);

	if (kept != REG_NONE) {
		*taken |= (u16)BIT(kept);
		return kept;
	}
	for (size_t i = 0; i < ARRAY_SIZE(scratch_pool); i++) {
		int r = scratch_pool[i];

		if (((in->reg_touch | *taken) >> r & 1) || (r >= 8 && in->byte_reg_high) || (t->kept >> r & 1))
			continue;
		*taken |= (u16)BIT(r);
		e_store_gs(&t->hot, spill_reg(t, r), r);
		tx_current(t)->borrowed |= (u16)BIT(r);
		return r;
	}
	__builtin_trap(); /* an instruction touches at most seven registers */
}

void tx_return(struct tx *t, int reg)
{
	if (t->kept >> reg & 1)
		return;
	e_load_gs(&t->hot, reg, spill_reg(t, reg));
}

void tx_operand(struct emit *e, int reg, int base, int index, int scale, s32 disp)
{
	int ss = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
	u8 r = (u8)((reg & 7) << 3);

	if (base == REG_NONE) {
		e8(e, 0x04 | r);
		e8(e, (u8)(ss << 6 | (index == REG_NONE ? 4 : index & 7) << 3 | 5));
		e32(e, (u32)disp);
		return;
	}
	int mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (s8)disp ? 1 : 2;

	if (index != REG_NONE || (base & 7) == RSP) {
		e8(e, (u8)(mod << 6 | r | 4));
		e8(e, (u8)(ss << 6 | (index == REG_NONE ? 4 : index & 7) << 3 | (base & 7)));
	} else {
		e8(e, (u8)(mod << 6 | r | (base & 7)));
	}
	if (mod == 1)
		e8(e, (u8)disp);
	else if (mod == 2)
		e32(e, (u32)disp);
}

/* op reg, [the instruction's own operand], 64-bit, with an optional segment prefix. */
static void e_op_own(struct emit *e, u8 seg, u8 op, int reg, const struct insn *in)
{
	int base = in->base == REG_NONE ? 0 : in->base, index = in->index == REG_NONE ? 0 : in->index;

	if (seg)
		e8(e, seg);
	if (in->addrsize_prefix)
		e8(e, 0x67);
	e_rex(e, 1, reg, index, base);
	e8(e, op);
	tx_operand(e, reg, in->base, in->index, in->scale, (s32)in->disp);
}

static u64 rip_target(const struct tx_insn *ti)
{
	u64 a = ti->pc + ti->in.len + (u64)ti->in.disp;

	return ti->in.addrsize_prefix ? (u32)a : a;
}

static void e_prefixes(struct emit *e, const struct insn *in, const u8 *raw, const struct rewrite *w)
{
	/* Without an index the base is a user-world address of 32 bits, and a bit string's offset wraps there. */
	bool drop67 = (w->form == F_PAIR && w->index != REG_NONE) || w->form == F_ABS;

	if (w->form == F_GS || (w->form == F_ABS && !w->fs) || (w->form == F_PAIR && w->gs))
		e8(e, 0x65);
	else if (w->form == F_FS || ((w->form == F_ABS || w->form == F_PAIR) && w->fs))
		e8(e, 0x64);
	for (int i = 0; i < in->nprefix; i++) {
		u8 p = raw[i];
		bool segment = p == 0x26 || p == 0x2e || p == 0x36 || p == 0x3e || p == 0x64 || p == 0x65;

		/* The user world keeps FS, whose base is the guest's. */
		if (segment && !(p == 0x64 && in->seg == SEG_FS && (w->form == F_SAME || w->form == F_PAIR || w->form == F_RIP)))
			continue;
		/* A REX before other prefixes does nothing; at their end it would. */
		if ((p == 0x67 && drop67) || (p & 0xf0) == 0x40)
			continue;
		e8(e, p);
	}
}

void tx_opcode(struct emit *e, const struct tx_insn *ti, int reg, int x, int b)
{
	const struct insn *in = &ti->in;
	const u8 *raw = ti->raw;
	const u8 *p = raw + in->off_enc;

	switch (in->enc) {
	case ENC_LEGACY: {
		u8 rex = (u8)((in->rex & 0x48) | (reg >> 3 & 1) << 2 | x << 1 | b);

		if (in->rex || (rex & 7))
			e8(e, 0x40 | rex);
		if (in->rex)
			p++;
		break;
	}
	case ENC_VEX:
		if (p[0] == 0xc5 && !x && !b) {
			e_bytes(e, p, 2);
			p += 2;
		} else if (p[0] == 0xc5) {
			e8(e, 0xc4);
			e8(e, (u8)((p[1] & 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | 1));
			e8(e, p[1] & 0x7f);
			p += 2;
		} else {
			e8(e, p[0]);
			e8(e, (u8)((p[1] & 0x9f) | (x ? 0 : 0x40) | (b ? 0 : 0x20)));
			e8(e, p[2]);
			p += 3;
		}
		break;
	case ENC_XOP:
		e8(e, p[0]);
		e8(e, (u8)((p[1] & 0x9f) | (x ? 0 : 0x40) | (b ? 0 : 0x20)));
		e8(e, p[2]);
		p += 3;
		break;
	case ENC_EVEX:
		e8(e, p[0]);
		e8(e, (u8)((p[1] & 0x9f) | (x ? 0 : 0x40) | (b ? 0 : 0x20)));
		e8(e, p[2]);
		e8(e, p[3]);
		p += 4;
		break;
	}
	while (p <= raw + in->off_opcode)
		e8(e, *p++);
}

/* The instruction with its operands rewritten. */
static void e_rewritten(struct tx *t, const struct tx_insn *ti, const struct rewrite *w)
{
	struct emit *e = &t->hot;
	const struct insn *in = &ti->in;
	const u8 *raw = ti->raw;
	int reg = w->reg >= 0 ? w->reg : (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
	int x = in->rex >> 1 & 1, b = in->rex & 1;

	e_prefixes(e, in, raw, w);
	if (!in->has_mem) {
		int rm = w->rm >= 0 ? w->rm : (in->modrm & 7) | b << 3;

		tx_opcode(e, ti, reg, x, rm >> 3);
		e8(e, (u8)(0xc0 | (reg & 7) << 3 | (rm & 7)));
	} else if (w->form == F_PAIR) {
		tx_opcode(e, ti, reg, w->index != REG_NONE ? w->index >> 3 : 0, w->base >> 3);
		tx_operand(e, reg, w->base, w->index, 1, 0);
	} else if (w->form == F_ABS) {
		tx_opcode(e, ti, reg, 0, 0);
		tx_operand(e, reg, REG_NONE, REG_NONE, 1, w->disp);
	} else if (w->form == F_RIP) {
		tx_opcode(e, ti, reg, x, b);
		e8(e, (u8)(0x05 | (reg & 7) << 3));
		e32(e, (u32)(rip_target(ti) - (u64)(e->p + 4 + in->imm_size)));
		tx_fix(t, FIX_NEAR, e->p - 4, rip_target(ti));
	} else {
		tx_opcode(e, ti, reg, x, b);
		e8(e, (u8)((in->modrm & 0xc7) | (reg & 7) << 3));
		for (int i = in->off_modrm + 1; i < in->off_disp + in->disp_size || i == in->off_sib; i++)
			e8(e, raw[i]);
	}
	for (int i = 0; i < in->imm_size; i++)
		e8(e, raw[in->off_imm + i]);
}

/* reg = guest address of the operand, without segment base. */
static void e_address(struct tx *t, const struct tx_insn *ti, int reg)
{
	if (ti->in.base == REG_RIP)
		tx_address(t, reg, rip_target(ti));
	else
		e_op_own(&t->hot, 0, 0x8d, reg, &ti->in);
}

void tx_fold_select(struct tx *t, int u, int a)
{
	e_mov_imm(&t->hot, u, 63);
	e_sarx(&t->hot, u, a, u);
	e_pdep_gs(&t->hot, u, u, CONST_DISP + CN_FOLD);
}

/* u = what leads from address a to its host page.  A user address at which a folded kernel address could
 * lie, and a kernel address of which nothing was mapped yet, become non-canonical: C sorts them out. */
static void fold_lookup(struct tx *t, int u, int a)
{
	e_pext_gs(&t->hot, u, a, CONST_DISP + CN_FOLD_INDEX);
	e_load_gs_index(&t->hot, u, u, FOLDS_DISP);
}

u64 tx_site(const struct tx *t, const struct tx_insn *ti)
{
	u64 page = ((ti->pc ^ t->r->pc) & PAGE_MASK) ? t->r->pa2 : (t->r->pa & PAGE_MASK);

	return page | (ti->pc & ~PAGE_MASK);
}

bool tx_reaches_device(struct tx *t, const struct tx_insn *ti)
{
	return t->kernel && ti->in.has_mem && site_is_both(t->k, tx_site(t, ti) | SITE_DEVICE);
}

/* A store that has faulted before on pages that the guest did not have yet first asks whether its page is mapped: an
 * exit costs a tenth of a fault.
 *
 *	rcx = page number of the address;  rcx = byte of the page;  jrcxz mapped
 *	jmp to the exit
 * mapped:
 *
 * The byte is but a hint: where it is wrong the store faults as any other, or the exit sets it right. */
static void tx_probe(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	u8 *mapped, *stub;

	e_store_gs(e, spill_reg(t, RCX), RCX);
	tx_current(t)->borrowed |= (u16)BIT(RCX);
	if (ti->in.base == REG_RIP)
		tx_address(t, RCX, rip_target(ti));
	else
		e_address(t, ti, RCX);
	e_pext_gs(e, RCX, RCX, CONST_DISP + CN_TABLES);
	e_bytes(e, (const u8 *)"\x65\x0f\xb6\x89", 4); /* movzx ecx, byte gs:[rcx + disp32] */
	e32(e, (u32)PROBE_DISP);
	e8(e, 0xe3); /* jrcxz */
	mapped = e->p;
	e8(e, 0);
	stub = t->cold.p;
	e_load_gs(&t->cold, RCX, spill_reg(t, RCX));
	for (int r = R10; r <= R11; r++)
		if (t->kept_here >> r & 1)
			e_store_gs(&t->cold, spill_reg(t, r), r);
	tx_exit(t, X_PROBE, ti->pc, 0);
	tx_reloc(t, RL_HOT_COLD, e_jmp(e, stub), stub, t->b->exits);
	*mapped = (u8)(e->p - mapped - 1);
	tx_return(t, RCX);
	t->b->flags |= BLOCK_PROBES;
}

/* A store of which nothing but its page decides whether, and where, it faults: not a masked one, a bit string, one
 * of the x87, whose exceptions come first, or POP, which reads the stack first. */
static bool is_simple_store(const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	bool bits = in->map == MAP_0F && (in->op == 0xab || in->op == 0xb3 || in->op == 0xbb);

	if (in->klass != IC_PLAIN || !in->mem_write || !in->mem_size || in->vsib || in->seg != SEG_NONE || in->addrsize_prefix ||
	    (in->reg_write & ~in->reg_read & TX_KEPT))
		return false;
	if (in->enc == ENC_LEGACY)
		return in->map == MAP_1B ? (in->op & 0xf8) != 0xd8 : in->map == MAP_0F && !bits;
	return in->map == MAP_0F && (in->enc == ENC_VEX || (in->enc == ENC_EVEX && !(ti->raw[in->off_enc + 3] & 7)));
}

static bool is_probed(const struct tx *t, const struct tx_insn *ti)
{
	u64 site = tx_site(t, ti);

	return !EXEC && !t->kernel && !(t->b->mode & (TM_COMPAT | TM_STEP)) && is_simple_store(ti) &&
	       site_is_both(t->k, site | SITE_PROBED) && !site_is_both(t->k, site | SITE_BUSY);
}

static bool operand_both(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;

	if (!t->kernel || in->vsib || in->seg != SEG_NONE || (in->base == RSP && !in->addrsize_prefix))
		return false;
	if (in->addrsize_prefix || t->user_access)
		return true;
	if (in->base == REG_RIP && (s64)rip_target(ti) != (s32)rip_target(ti))
		return true;
	return site_is_both(t->k, tx_site(t, ti));
}

/* The general register that a load writes in whole and does not read, so that it can hold the address of its
 * own operand; REG_NONE where there is none, or it cannot be a base without displacement. */
static int sole_destination(const struct insn *in)
{
	int reg = (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
	bool load = in->enc == ENC_LEGACY && in->osize >= 4 &&
		    ((in->map == MAP_1B && (in->op == 0x8b || in->op == 0x63)) ||
		     (in->map == MAP_0F && (in->op & 0xf6) == 0xb6 && !in->rep));

	return load && (reg & 7) != RSP && (reg & 7) != RBP ? reg : REG_NONE;
}

/* Chooses the form of the memory operand and emits what must come before the instruction. */
static void prepare(struct tx *t, const struct tx_insn *ti, struct rewrite *w, u16 *taken)
{
	const struct insn *in = &ti->in;
	struct insn_record *rec = tx_current(t);

	if (!in->has_mem) {
		w->form = F_NONE;
		return;
	}
	if (!t->kernel) {
		rec->access = AK_IDENT;
		if (in->seg == SEG_GS) {
			w->form = F_PAIR;
			w->base = tx_borrow(t, in, taken);
			w->index = tx_borrow(t, in, taken);
			e_address(t, ti, w->base);
			e_load_gs(&t->hot, w->index, t->spill + SP_GS_BASE);
		} else if (in->base == REG_RIP && !in->addrsize_prefix && tx_reaches(t, rip_target(ti))) {
			w->form = F_RIP;
		} else if (in->base == REG_RIP) {
			w->form = F_PAIR;
			w->base = tx_kept_free(t, in, *taken) != REG_NONE ? REG_NONE : sole_destination(in);
			w->index = REG_NONE;
			/* R10 and R11 are where the record says from its precise point on. */
			if (w->base != REG_NONE && (t->kept & ~rec->borrowed) >> w->base & 1)
				w->base = REG_NONE;
			if (w->base == REG_NONE) {
				w->base = tx_borrow(t, in, taken);
			} else { /* spilled for a fault only */
				if (!(t->kept >> w->base & 1))
					e_store_gs(&t->hot, spill_reg(t, w->base), w->base);
				rec->borrowed |= (u16)BIT(w->base);
			}
			tx_address(t, w->base, rip_target(ti));
		} else {
			w->form = F_SAME;
		}
		return;
	}
	rec->access = AK_FOLD;
	if (in->seg == SEG_GS && in->base == RSP) {
		/* Both RSP and the segment's base are folded: take one back. */
		w->fs = true;
		w->form = F_PAIR;
		w->base = tx_borrow(t, in, taken);
		w->index = tx_borrow(t, in, taken);
		e_address(t, ti, w->base);
		e_mov_imm(&t->hot, w->index, in->addrsize_prefix ? 0 : -(u64)FOLD_OFF);
	} else if (in->seg == SEG_GS) {
		w->fs = true;
		w->form = in->base == REG_RIP ? F_ABS : F_FS;
		w->disp = (s32)rip_target(ti);
	} else if (operand_both(t, ti)) {
		rec->access = AK_BOTH;
		w->form = F_PAIR;
		w->base = tx_borrow(t, in, taken);
		w->index = tx_borrow(t, in, taken);
		e_address(t, ti, w->base);
		fold_lookup(t, w->index, w->base);
	} else if (in->base == RSP) {
		rec->access = AK_STACK;
		w->form = F_SAME;
	} else if (in->base == REG_RIP) {
		w->form = F_ABS;
		w->disp = (s32)rip_target(ti);
	} else {
		w->form = F_GS;
	}
}

static void finish(struct tx *t, u16 taken)
{
	for (int r = 0; r < 16; r++)
		if (taken >> r & 1)
			tx_return(t, r);
}

/* One-byte and 0F opcodes whose ModRM.reg is a general register. */
static bool reg_is_general(const struct insn *in)
{
	u8 op = in->op;

	if (in->enc != ENC_LEGACY || !in->off_modrm)
		return false;
	if (in->map == MAP_1B)
		return (op < 0x40 && (op & 7) < 4) || op == 0x63 || op == 0x69 || op == 0x6b ||
		       (op >= 0x84 && op <= 0x8b) || op == 0x8d;
	if (in->map == MAP_0F)
		return (op >= 0x40 && op <= 0x4f) || op == 0xa3 || op == 0xa4 || op == 0xa5 || op == 0xab ||
		       op == 0xac || op == 0xad || op == 0xaf || op == 0xb0 || op == 0xb1 || op == 0xb3 ||
		       op == 0xb6 || op == 0xb7 || op == 0xb8 || (op >= 0xbb && op <= 0xc1) || op == 0xc3 ||
		       op == 0x02 || op == 0x03 || op == 0x50 || op == 0xc5 || op == 0xd7 ||
		       ((op == 0x2c || op == 0x2d) && in->rep);
	return in->map == MAP_0F38 && (op >= 0xf0 && op <= 0xf9);
}

static bool rm_is_general(const struct insn *in)
{
	if (in->has_mem || !in->off_modrm || in->enc != ENC_LEGACY)
		return false;
	if (in->map == MAP_1B)
		return !(in->op >= 0xd8 && in->op <= 0xdf);
	/* MOVMSK, CVT to general, PEXTRW, PMOVMSKB: a vector register; MOVZX, MOVSX without REX: AH. */
	if (in->map == MAP_0F && (in->op == 0x50 || in->op == 0x2c || in->op == 0x2d || in->op == 0xc5 || in->op == 0xd7 ||
				  ((in->op == 0xb6 || in->op == 0xbe) && !in->rex)))
		return false;
	if (in->map == MAP_0F38 && in->op == 0xf0 && !in->rex) /* CRC32 of AH */
		return false;
	return in->reg_touch >> RSP & 1;
}

static bool high_or_byte(const struct insn *in)
{
	/* Without REX, register 4 of a byte operation is AH. */
	return in->osize == 1 && !in->rex;
}

/* rsp = host RSP for the guest value in `from` */
static void e_fold_rsp(struct tx *t, int from)
{
	e_mov_imm(&t->hot, RSP, FOLD_OFF);
	e_lea_bi(&t->hot, RSP, RSP, from);
}

/* to = guest RSP; `to` is not RSP. */
static void e_guest_rsp(struct tx *t, int to)
{
	e_mov_imm(&t->hot, to, -(u64)FOLD_OFF);
	e_lea_bi(&t->hot, to, to, RSP);
}

static void plain_lea(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	int reg = (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
	struct emit *e = &t->hot;
	u16 taken = 0;

	if (in->base == REG_RIP && in->osize != 2) {
		u64 a = rip_target(ti);

		if (in->osize == 4)
			a = (u32)a;
		if (t->kernel && reg == RSP)
			a += FOLD_OFF;
		tx_address(t, reg, a);
		return;
	}
	bool rsp_in = t->kernel && in->base == RSP && in->osize == 8 && !in->addrsize_prefix;
	bool rsp_out = t->kernel && reg == RSP && in->osize != 2;

	if (in->base == REG_RIP) { /* 16-bit destination */
		e8(e, 0x66);
		if (reg >= 8)
			e8(e, 0x41);
		e8(e, 0xb8 | (reg & 7));
		e16(e, (u16)rip_target(ti));
		t->unkept = true;
		t->b->flags |= BLOCK_FIXED;
	} else if (rsp_in && !rsp_out && in->index == REG_NONE) {
		e_mov_imm(e, reg, (u64)in->disp - FOLD_OFF);
		e_lea_bi(e, reg, reg, RSP);
	} else if (rsp_in == rsp_out) {
		e_bytes(e, ti->raw, in->len);
	} else {
		int s = tx_borrow(t, in, &taken);

		/* RSP is written last, by an LEA: no window with a half-made stack pointer matters,
		 * since a signal steps to the end of the expansion. */
		e_bytes(e, ti->raw, in->len);
		e_mov_imm(e, s, rsp_out ? (u64)FOLD_OFF : -(u64)FOLD_OFF);
		e_lea_bi(e, reg, reg, s);
		finish(t, taken);
	}
}

/* An instruction of the kernel world that names RSP as a register operand. */
static void plain_rsp(struct tx *t, const struct tx_insn *ti, bool in_reg, bool in_rm)
{
	const struct insn *in = &ti->in;
	struct rewrite w = { .reg = -1, .rm = -1 };
	u16 taken = 0;
	int s = tx_borrow(t, in, &taken);

	e_guest_rsp(t, s);
	if (in_reg)
		w.reg = s;
	if (in_rm)
		w.rm = s;
	prepare(t, ti, &w, &taken);
	e_rewritten(t, ti, &w);
	/* Comparisons and stores leave it; folding it again is harmless then. */
	if (!(in_reg && !in_rm && in->map == MAP_1B && (in->op == 0x88 || in->op == 0x89)))
		e_fold_rsp(t, s);
	finish(t, taken);
}

bool tx_flags_dead(const struct tx *t, int index)
{
	u16 open = FLAGS_STATUS;

	for (int i = index + 1; i < t->n; i++) {
		const struct insn *in = &t->insns[i].in;

		if (in->flags_read & open)
			return false;
		open &= (u16)~in->flags_write;
		if (!open || in->klass == IC_RET)
			return true;
		if (in->klass != IC_PLAIN && in->klass != IC_PUSH && in->klass != IC_POP &&
		    in->klass != IC_JCC && in->klass != IC_LEAVE)
			return false;
		if (in->klass == IC_JCC)
			return false;
	}
	return false;
}

static bool one_byte_rsp(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	int r = (in->op & 7) | (in->rex & 1) << 3;
	struct emit *e = &t->hot;

	if (in->off_modrm || in->enc != ENC_LEGACY || r != RSP)
		return false;
	if (in->map == MAP_0F && in->op >= 0xc8 && in->op <= 0xcf) { /* bswap rsp */
		struct insn none = { 0 };
		u16 taken = 0;
		int s = tx_borrow(t, &none, &taken);

		e_guest_rsp(t, s);
		if (in->osize == 2)
			e8(e, 0x66);
		e_rex(e, in->osize == 8, 0, 0, s);
		e8(e, 0x0f);
		e8(e, (u8)(0xc8 | (s & 7)));
		e_fold_rsp(t, s);
		finish(t, taken);
		return true;
	}
	if (in->map != MAP_1B)
		return false;
	if (in->op >= 0xb8 && in->op <= 0xbf && in->osize != 2) { /* mov rsp, imm */
		u64 v = in->imm_size == 8 ? (u64)in->imm : (u32)in->imm;

		e_mov_imm(e, RSP, v + FOLD_OFF);
		return true;
	}
	if (in->op >= 0x91 && in->op <= 0x97) { /* xchg rax, rsp */
		struct insn none = { .reg_touch = 1 };
		u16 taken = 0;
		int s = tx_borrow(t, &none, &taken);

		e_guest_rsp(t, s);
		if (in->osize == 2)
			e8(e, 0x66);
		e_rex(e, in->osize == 8, s, 0, RAX);
		e8(e, 0x87);
		e8(e, (u8)(0xc0 | (s & 7) << 3));
		e_fold_rsp(t, s);
		finish(t, taken);
		return true;
	}
	return false;
}

bool table_store_fits(const struct insn *in)
{
	bool bit_string = in->map == MAP_0F && (in->op & 0xe7) == 0xa3; /* BTS, BTR, BTC by a register */

	return in->mem_write && in->enc == ENC_LEGACY && in->seg == SEG_NONE && in->base != RSP && !in->addrsize_prefix &&
	       in->mem_size && in->mem_size <= 8 && !bit_string;
}

/* A store that has met a watched page table, and can be made at another address than its own. */
static bool is_table_store(struct tx *t, const struct tx_insn *ti)
{
	return !EXEC && t->kernel && table_store_fits(&ti->in) && site_is_both(t->k, tx_site(t, ti) | SITE_TABLE) &&
	       !operand_both(t, ti);
}

void tx_to_gate(struct tx *t, const u8 *gate, const u8 *back)
{
	struct emit *e = &t->hot;

	e_store_gs_imm32(e, t->spill + SP_TABLE_RETURN, (u32)(u64)back);
	e_store_gs_imm32(e, t->spill + SP_TABLE_RETURN + 4, (u32)((u64)back >> 32));
	e_jmp(e, gate);
}

void tx_operand_address(struct tx *t, const struct tx_insn *ti, int reg) { e_address(t, ti, reg); }

void tx_on_base(struct tx *t, const struct tx_insn *ti, int base)
{
	e_rewritten(t, ti, &(struct rewrite){ .form = F_PAIR, .base = base, .index = REG_NONE, .reg = -1, .rm = -1 });
}

/* A checked store.  Where no table is watched whose number is like that of the page, it is an ordinary one:
 *
 *	b = address;  rcx = TABLES[index of b];  jrcxz plain
 *	table_open	(b = where it is to be written; on failure to the jump before its return address)
 *	jmp cold
 *	the instruction on [b]
 *	table_close
 *	jmp done
 * plain:	the instruction on gs:[b]
 * done:
 *
 * The monitor's memory is open between the gates, and nothing there can fault. */
static void table_store(struct tx *t, const struct tx_insn *ti)
{
	struct rewrite w = { .form = F_PAIR, .index = REG_NONE, .reg = -1, .rm = -1 };
	struct emit *e = &t->hot;
	u16 taken = BIT(RCX);
	u8 *stub, *plain, *done;

	w.base = tx_borrow(t, &ti->in, &taken);
	tx_current(t)->access = AK_FOLD;
	tx_current(t)->borrowed |= (u16)BIT(RCX);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_address(t, ti, w.base);
	e_pext_gs(e, RCX, w.base, CONST_DISP + CN_TABLES);
	e_bytes(e, (const u8 *)"\x65\x0f\xb6\x89", 4); /* movzx ecx, byte gs:[rcx + TABLES] */
	e32(e, (u32)TABLES_DISP);
	e8(e, 0xe3); /* jrcxz */
	plain = e->p;
	e8(e, 0);
	tx_return(t, RCX);
	e_store_gs(e, SPILL_K_DISP + SP_TABLE, w.base);
	tx_to_gate(t, t->k->targets.table_open, e->p + GATE_BYTES + JMP_BYTES);
	stub = t->cold.p;
	e_load_gs(&t->cold, w.base, spill_reg(t, w.base));
	tx_exit(t, X_TABLE, ti->pc, 0);
	e_jmp(e, stub);
	e_load_gs(e, w.base, SPILL_K_DISP + SP_TABLE);
	e_rewritten(t, ti, &w);
	tx_to_gate(t, t->k->targets.table_close, e->p + GATE_BYTES);
	e8(e, 0xeb);
	done = e->p;
	e8(e, 0);
	*plain = (u8)(e->p - plain - 1);
	tx_return(t, RCX);
	w.gs = true;
	e_rewritten(t, ti, &w);
	*done = (u8)(e->p - done - 1);
	tx_return(t, w.base);
}

void tx_plain(struct tx *t, const struct tx_insn *ti, int index)
{
	const struct insn *in = &ti->in;
	struct rewrite w = { .reg = -1, .rm = -1 };
	struct emit *e = &t->hot;
	u16 taken = 0;

	if (in->enc == ENC_LEGACY && in->map == MAP_1B && in->op == 0x8d) {
		plain_lea(t, ti);
		return;
	}
	if (t->kernel && in->has_mem && in->seg == SEG_FS) {
		tx_execute(t, ti);
		return;
	}
	if (!EXEC && tx_is_soft(t, ti)) {
		tx_soft(t, ti);
		return;
	}
	if (is_probed(t, ti))
		tx_probe(t, ti);
	if (t->kernel) {
		bool r = reg_is_general(in) && ((in->modrm >> 3 & 7) | (in->rex & 4) << 1) == RSP && !high_or_byte(in);
		bool m = rm_is_general(in) && ((in->modrm & 7) | (in->rex & 1) << 3) == RSP && !high_or_byte(in);
		u8 group = in->modrm >> 3 & 7;

		if (m && in->map == MAP_1B && in->osize == 8 && (in->op == 0x81 || in->op == 0x83) &&
		    (group == 0 || group == 5 || group == 4) && tx_flags_dead(t, index)) {
			e_bytes(e, ti->raw, in->len);
			return;
		}
		if (in->map == MAP_1B && in->osize == 8 && (in->op == 0x89 || in->op == 0x8b) && !in->has_mem && r != m) {
			int other = r ? (in->modrm & 7) | (in->rex & 1) << 3 : (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
			bool to_rsp = in->op == 0x89 ? m : r;

			if (to_rsp)
				e_fold_rsp(t, other);
			else
				e_guest_rsp(t, other);
			return;
		}
		if (r || m) {
			plain_rsp(t, ti, r, m);
			return;
		}
		if (one_byte_rsp(t, ti))
			return;
	}
	if (!in->has_mem) {
		e_bytes(e, ti->raw, in->len);
		return;
	}
	if (!in->mem_read && !in->mem_write && in->mem_size == 0 && in->base == REG_RIP) {
		return; /* a prefetch or NOP that would only be turned into something longer */
	}
	if (is_table_store(t, ti)) {
		table_store(t, ti);
		return;
	}
	prepare(t, ti, &w, &taken);
	if (w.form == F_SAME)
		e_bytes(e, ti->raw, in->len);
	else
		e_rewritten(t, ti, &w);
	finish(t, taken);
}

static void load_rip(struct tx *t, int reg, u64 address)
{
	struct emit *e = &t->hot;

	e_rex(e, 1, reg, 0, 0);
	e8(e, 0x8b);
	e8(e, (u8)(0x05 | (reg & 7) << 3));
	e32(e, (u32)(address - (u64)(e->p + 4)));
	tx_fix(t, FIX_NEAR, e->p - 4, address);
}

/* reg must be spilled by the caller, who notes it as borrowed. */
void tx_load_operand(struct tx *t, const struct tx_insn *ti, int reg)
{
	struct tx_insn load = *ti;
	struct rewrite w = { .reg = reg, .rm = -1 };
	u16 taken = (u16)(BIT(reg) | BIT(RDX) | BIT(RCX)), mine;

	load.in.reg_touch |= taken;
	mine = taken;
	/* Same ModRM, opcode 8B with REX.W: rebuilt from its parts. */
	if (!ti->in.has_mem) {
		int rm = (ti->in.modrm & 7) | (ti->in.rex & 1) << 3;

		if (t->kernel && rm == RSP)
			e_guest_rsp(t, reg);
		else
			e_mov_rr(&t->hot, reg, rm);
		return;
	}
	if (!t->kernel && ti->in.base == REG_RIP && ti->in.seg == SEG_NONE) {
		tx_current(t)->access = AK_IDENT;
		if (tx_reaches(t, rip_target(ti))) {
			load_rip(t, reg, rip_target(ti));
			return;
		}
		tx_address(t, reg, rip_target(ti));
		e_rex(&t->hot, 1, reg, 0, reg);
		e8(&t->hot, 0x8b);
		tx_operand(&t->hot, reg, reg, REG_NONE, 1, 0);
		return;
	}
	prepare(t, &load, &w, &taken);
	if (w.form == F_RIP) { /* FS with RIP */
		e8(&t->hot, 0x64);
		load_rip(t, reg, rip_target(ti));
	} else if (w.form == F_PAIR) {
		if (ti->in.seg == SEG_FS || w.fs)
			e8(&t->hot, 0x64);
		e_rex(&t->hot, 1, reg, w.index == REG_NONE ? 0 : w.index, w.base);
		e8(&t->hot, 0x8b);
		tx_operand(&t->hot, reg, w.base, w.index, 1, 0);
	} else if (w.form == F_ABS) {
		e8(&t->hot, w.fs ? 0x64 : 0x65);
		e_rex(&t->hot, 1, reg, 0, 0);
		e8(&t->hot, 0x8b);
		tx_operand(&t->hot, reg, REG_NONE, REG_NONE, 1, w.disp);
	} else {
		u8 seg = w.form == F_GS ? 0x65 : w.form == F_FS ? 0x64 : ti->in.seg == SEG_FS ? 0x64 : 0;

		e_op_own(&t->hot, seg, 0x8b, reg, &ti->in);
	}
	finish(t, (u16)(taken & ~mine));
}

/* MOV between AL/eAX/RAX and an absolute address. */
void tx_moffs(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;

	tx_current(t)->access = t->kernel ? AK_FOLD : AK_IDENT;
	if (!t->kernel && in->seg != SEG_GS) {
		e_bytes(&t->hot, ti->raw, in->len);
		return;
	}
	if (t->kernel && in->seg == SEG_NONE && !is_kernel_half((u64)in->disp)) {
		tx_execute(t, ti);
		return;
	}
	u16 taken = BIT(RAX);
	int s = tx_borrow(t, in, &taken);
	u64 a = (u64)in->disp;

	/* op [s] with the opcode of the ModRM form */
	if (!t->kernel) {
		e_load_gs(&t->hot, s, t->spill + SP_GS_BASE);
		int u = tx_borrow(t, in, &taken);

		e_mov_imm(&t->hot, u, a);
		e_lea_bi(&t->hot, s, s, u);
	} else if (in->seg == SEG_GS) {
		e_mov_imm(&t->hot, s, a);
		e8(&t->hot, 0x64);
	} else {
		e_mov_imm(&t->hot, s, fold(a));
	}
	if (in->opsize_prefix)
		e8(&t->hot, 0x66);
	e_rex(&t->hot, in->osize == 8, RAX, 0, s);
	e8(&t->hot, (u8)(in->op == 0xa0 ? 0x8a : in->op == 0xa1 ? 0x8b : in->op == 0xa2 ? 0x88 : 0x89));
	tx_operand(&t->hot, RAX, s, REG_NONE, 1, 0);
	taken &= (u16)~BIT(RAX);
	finish(t, taken);
}

/* ptr += fold of ptr, and the opposite into the spill page, for the way back. */
static void fold_pointer(struct tx *t, int ptr, int u, s32 undo)
{
	struct emit *e = &t->hot;

	fold_lookup(t, u, ptr);
	e_lea_bi(e, ptr, ptr, u);
	e_not(e, u);
	e_lea_bd(e, u, u, 1);
	e_store_gs(e, undo, u);
}

/* Leaves for C where RDI lies in the user half and that is another carrier's (SP_FOREIGN). */
static void leave_if_foreign(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	u8 *stub = t->cold.p, *over;

	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_mov_imm(e, RCX, 63);
	e_sarx(e, RCX, RDI, RCX);
	e_not(e, RCX);
	e_pext_gs(e, RCX, RCX, t->spill + SP_FOREIGN);
	e8(e, 0xe3); /* jrcxz */
	over = e->p;
	e8(e, 0);
	e_load_gs(&t->cold, RCX, spill_reg(t, RCX));
	tx_exit(t, X_INSN, ti->pc, 0);
	e_jmp(e, stub);
	*over = (u8)(e->p - over - 1);
	tx_return(t, RCX);
	/* From here on a precise point again: nothing is borrowed. */
	tx_record(t, ti->pc, AK_NONE, tx_current(t)->flags);
}

void tx_string(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct emit *e = &t->hot;
	bool src = in->klass == IC_MOVS || in->klass == IC_LODS || in->klass == IC_CMPS;
	bool dst = in->klass != IC_LODS;

	/* Each iteration is a step. */
	if (!EXEC && in->rep && (t->b->mode & TM_STEP)) {
		tx_execute(t, ti);
		return;
	}
	if (!t->kernel && in->seg != SEG_GS) {
		tx_current(t)->access = AK_IDENT;
		e_bytes(e, ti->raw, in->len);
		return;
	}
	if (in->addrsize_prefix || in->seg == SEG_GS || in->seg == SEG_FS) {
		tx_execute(t, ti);
		return;
	}
	if (dst && site_is_both(t->k, tx_site(t, ti) | SITE_FOREIGN))
		leave_if_foreign(t, ti);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	e_store_gs_imm(e, t->spill + SP_STR_SRC, 0);
	e_store_gs_imm(e, t->spill + SP_STR_DST, 0);
	if (src)
		fold_pointer(t, RSI, RDX, t->spill + SP_STR_SRC);
	if (dst)
		fold_pointer(t, RDI, RDX, t->spill + SP_STR_DST);
	tx_return(t, RDX);
	/* A precise point of its own: a signal or a fault here stands at this instruction, with what
	 * has been done so far counted in the registers. */
	tx_record(t, ti->pc, AK_STRING, REC_STRING);
	e_bytes(e, ti->raw, in->len);
	tx_record(t, ti->pc + in->len, AK_NONE, REC_STRING);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	if (src) {
		e_load_gs(e, RDX, t->spill + SP_STR_SRC);
		e_lea_bi(e, RSI, RSI, RDX);
	}
	if (dst) {
		e_load_gs(e, RDX, t->spill + SP_STR_DST);
		e_lea_bi(e, RDI, RDI, RDX);
	}
	tx_return(t, RDX);
}

/* The component mask in EDX:EAX is cut to the guest's XCR0: the host's has more, and would overrun the
 * guest's buffer or reach the protection keys. */
void tx_xsave(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct insn_record *rec = tx_current(t);
	struct rewrite w = { .form = F_PAIR, .reg = -1, .rm = -1 };
	struct insn with = *in;
	u16 taken = 0;
	u16 mask = BIT(RAX) | BIT(RDX);

	with.reg_touch |= mask;
	w.base = tx_borrow(t, &with, &taken);
	w.index = tx_borrow(t, &with, &taken);
	e_address(t, ti, w.base);
	rec->access = t->kernel ? AK_BOTH : AK_IDENT;
	if (t->kernel && in->base == RSP)
		e_mov_imm(&t->hot, w.index, 0);
	else if (t->kernel && in->seg == SEG_NONE)
		fold_lookup(t, w.index, w.base);
	else if (in->seg == SEG_GS)
		e_load_gs(&t->hot, w.index, t->spill + SP_GS_BASE);
	else
		e_mov_imm(&t->hot, w.index, 0);
	e_store_gs(&t->hot, spill_reg(t, RAX), RAX);
	e_store_gs(&t->hot, spill_reg(t, RDX), RDX);
	rec->borrowed |= mask;
	e_pext_gs(&t->hot, RAX, RAX, CONST_DISP + CN_XCR0);
	e_pdep_gs(&t->hot, RAX, RAX, CONST_DISP + CN_XCR0);
	e_mov_imm(&t->hot, RDX, 0);
	e_rewritten(t, ti, &w);
	finish(t, taken | mask);
}
