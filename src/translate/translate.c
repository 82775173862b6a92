/* SPDX-License-Identifier: MIT
 * From guest code to a translation block: decoding, control flow, and what must not run as it is.
 *
 * A block goes on past conditional branches that are not taken, to BLOCK_INSNS instructions or the end
 * of the page.  Nothing in an expansion changes the status flags but the guest's own instruction. */
#include "translate/internal.h"
#include "translate/store.h"
#include "translate/targets.h"
#include "x86/unit.h"

struct insn_record *tx_current(struct tx *t)
{
	return &t->k->records[t->b->records + t->b->n_records - 1];
}

struct insn_record *tx_record(struct tx *t, u64 pc, u8 access, u8 flags)
{
	struct insn_record *r = &t->k->records[t->b->records + t->b->n_records++];

	*r = (struct insn_record){
		.host = (u16)(t->hot.p - (CODE_BASE + t->b->host)),
		.guest = (u16)(pc - t->b->pc),
		.access = access,
		.flags = flags,
		.borrowed = t->kept & (u16)~t->kept_here,
	};
	return r;
}

/* Whether the instruction may change the register, which it touches. */
static bool kept_written(const struct insn *in, int r)
{
	bool reg = ((in->modrm >> 3 & 7) | (in->rex & 4) << 1) == r, rm = ((in->modrm & 7) | (in->rex & 1) << 3) == r;
	bool one = in->enc == ENC_LEGACY && in->map == MAP_1B;
	u8 op = in->op;

	if (in->klass == IC_PUSH || in->klass == IC_JMP_IND || in->klass == IC_CALL_IND)
		return false;
	if (in->klass != IC_PLAIN || !in->off_modrm || in->enc != ENC_LEGACY)
		return true;
	if (in->has_mem && !reg)
		return false;
	if (one && ((op >= 0x38 && op <= 0x3b) || op == 0x84 || op == 0x85))
		return false;
	if (one && ((op < 0x40 && (op & 7) < 2) || op == 0x88 || op == 0x89)) /* to r/m */
		return !in->has_mem && rm;
	if (one && ((op < 0x40 && (op & 7) < 4) || op == 0x8a || op == 0x8b || op == 0x63 || op == 0x8d)) /* to reg */
		return reg;
	if (in->map == MAP_0F && (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf || op == 0xaf || (op & 0xf0) == 0x40))
		return reg;
	return true;
}

void tx_kept_use(struct tx *t, const struct insn *in)
{
	for (int r = R10; r <= R11; r++) {
		if (!(t->kept & in->reg_touch) || !((t->kept & in->reg_touch) >> r & 1))
			continue;
		if (!(t->kept_here >> r & 1) && ((in->reg_read >> r & 1) || !(in->reg_write >> r & 1)))
			e_load_gs(&t->hot, r, spill_reg(t, r));
		t->kept_here |= (u16)BIT(r);
		if (kept_written(in, r))
			t->kept_dirty |= (u16)BIT(r);
	}
}

void tx_kept_store(struct tx *t)
{
	for (int r = R10; r <= R11; r++)
		if (t->kept_dirty >> r & 1)
			e_store_gs(&t->hot, spill_reg(t, r), r);
	t->kept_dirty = 0;
}

int tx_kept_free(const struct tx *t, const struct insn *in, u16 taken)
{
	int able = t->kept & ~(t->kept_here | in->reg_touch | taken);

	if (!able || in->byte_reg_high)
		return REG_NONE;
	return able >> R11 & 1 ? R11 : R10;
}

void tx_reloc(struct tx *t, enum reloc_kind kind, const u8 *at, const u8 *target, u32 exit)
{
	const u8 *start = CODE_BASE + (kind >= RL_COLD_FAR ? t->b->cold : t->b->host);

	if (t->kernel || EXEC)
		return;
	if (exit - t->b->exits > 255)
		t->b->flags |= BLOCK_FIXED;
	bool move = kind == RL_VA;
	struct reloc *r = move ? &t->k->moves[t->b->moves + t->b->n_moves++] : &t->k->relocs[t->b->relocs + t->b->n_relocs++];

	*r = (struct reloc){
		.at = (u16)(at - start), .kind = (u8)kind, .exit = (u8)(exit - t->b->exits),
		.target = target ? (u16)(target - (CODE_BASE + t->b->cold)) : 0,
	};
}

void tx_address(struct tx *t, int reg, u64 address)
{
	e_mov_imm(&t->hot, reg, address);
	if (address <= 0xffffffff)
		tx_fix(t, FIX_ADDRESS, t->hot.p - 4, address);
	else
		t->unkept = true;
	if (address <= 0xffffffff || (s64)address == (s32)address)
		t->b->flags |= BLOCK_FIXED;
	else
		tx_reloc(t, RL_VA, t->hot.p - 8, NULL, t->b->exits);
}

u8 *tx_exit(struct tx *t, enum exit_kind kind, u64 target, u32 patch)
{
	u32 n = t->k->n_exits++;
	u8 *stub = t->cold.p;

	t->k->exits[n] = (struct exit_record){
		.target = target, .block = (u32)(t->b - t->k->blocks), .patch = patch, .kind = (u8)kind,
	};
	e_store_gs_imm32(&t->cold, t->spill + SP_EXIT, n);
	tx_reloc(t, RL_COLD_EXIT, t->cold.p - 4, NULL, n);
	e_jmp(&t->cold, t->kernel ? t->k->targets.exit_kernel : t->k->targets.exit_user);
	tx_reloc(t, RL_COLD_FAR, t->cold.p - 4, NULL, n);
	return stub;
}

void tx_execute(struct tx *t, const struct tx_insn *ti)
{
	tx_kept_store(t);

	u8 *stub = tx_exit(t, X_INSN, ti->pc, 0);

	u8 *where = e_jmp(&t->hot, stub);

	tx_reloc(t, RL_HOT_COLD, where, stub, t->b->exits);
	tx_fix(t, FIX_INSN, where, ti->pc);
	t->ended = true;
}

/* The slot of an X_SLOT exit that is about to be made: that of another branch of the page to the same target, else a
 * new one. */
static u32 target_slot(struct tx *t, u64 target)
{
	u32 *known = slot_owner(t->k, t->b, target), n = t->k->n_exits, slot;

	if (*known) {
		slot = t->k->exits[*known - 1].patch;
		tx_exit(t, X_SLOT, target, slot);
		return slot;
	}
	slot = t->k->n_slots++;
	u8 *stub = tx_exit(t, X_SLOT, target, slot);

	*known = n + 1;
	t->k->slot_stub[slot] = (u32)(stub - CODE_BASE);
	SLOTS[slot] = (u64)stub;
	return slot;
}

/* One instruction of n bytes that does nothing. */
static void nop(struct emit *e, u32 n)
{
	static const u8 forms[10][9] = {
		"", "\x90", "\x66\x90", "\x0f\x1f", "\x0f\x1f\x40", "\x0f\x1f\x44", "\x66\x0f\x1f\x44", "\x0f\x1f\x80",
		"\x0f\x1f\x84", "\x66\x0f\x1f\x84",
	};

	e_bytes(e, forms[n], n);
}

/* The next instruction's operand of `size` bytes, which begins `at` bytes into it, will be changed while others
 * run it: it must not lie across a boundary of eight bytes (B4).  The prefix means nothing to it. */
static void align_operand(struct tx *t, int at, int size)
{
	while (cache_shared(t->k) && ((u64)t->hot.p + (u64)at) % 8 > 8u - (u32)size)
		e8(&t->hot, 0x2e);
}

void tx_branch(struct tx *t, int cond, u64 target)
{
	bool step = t->b->mode & TM_STEP;

	if (t->b->mode & TM_COMPAT)
		target = (u32)target;

	const u8 *known = EXEC ? env_find(t, target) : NULL;

	/* What is known may become part of a region. */
	if (known)
		align_operand(t, cond < 0 ? 1 : 2, 4);
	if (known) {
		u8 *where = cond < 0 ? e_jmp(&t->hot, known) : e_jcc(&t->hot, cond, known);

		/* Within the block it stays as it is. */
		if (known < CODE_BASE + t->b->host || known >= t->hot.p)
			tx_fix(t, FIX_BRANCH, where, target);
	} else if (step) {
		u8 *stub = tx_exit(t, X_STEPPED, target, 0);

		if (cond < 0)
			e_jmp(&t->hot, stub);
		else
			e_jcc(&t->hot, cond, stub);
	} else if (EXEC || t->kernel || ((target ^ t->b->pc) & PAGE_MASK) == 0) {
		u32 n = t->k->n_exits;

		u8 *stub = tx_exit(t, X_LINK, target, 0);

		align_operand(t, cond < 0 ? 1 : 2, 4);
		u8 *where = cond < 0 ? e_jmp(&t->hot, stub) : e_jcc(&t->hot, cond, stub);

		tx_reloc(t, RL_HOT_COLD, where, stub, t->b->exits);
		tx_fix(t, FIX_BRANCH, where, target);

		t->k->exits[n].patch = (u32)(where - CODE_BASE);
	} else {
		u32 n = t->k->n_exits, slot = target_slot(t, target);

		if (cond < 0) {
			e_jmp_gs(&t->hot, SLOT_DISP + 8 * (s32)slot);
			tx_reloc(t, RL_HOT_SLOT, t->hot.p - 4, NULL, n);
		} else {
			tx_reloc(t, RL_HOT_COLD, e_jcc(&t->hot, cond, t->cold.p), t->cold.p, n);
			e_jmp_gs(&t->cold, SLOT_DISP + 8 * (s32)slot);
			tx_reloc(t, RL_COLD_SLOT, t->cold.p - 4, NULL, n);
		}
	}
}

/* `held`: the target of an indirect call is in its register. */
static void push_return(struct tx *t, u64 address, bool held)
{
	t->unkept = true;
	int scratch = held && t->kernel ? RCX : held ? R10 : R11;

	tx_current(t)->access = t->kernel ? AK_STACK : AK_IDENT;
	if ((s64)address == (s32)address) {
		e_push_imm(&t->hot, (s32)address);
		t->b->flags |= BLOCK_FIXED;
		return;
	}
	if (EXEC && held) {
		e_push_imm(&t->hot, (s32)address);
		tx_record(t, t->b->pc + tx_current(t)->guest, AK_IDENT, REC_MIDDLE)->borrowed = BIT(R11);
		e_bytes(&t->hot, (const u8 *)"\xc7\x44\x24\x04", 4); /* mov dword [rsp + 4], upper half */
		e32(&t->hot, (u32)(address >> 32));
		return;
	}
	/* The spill page has R10 and R11 of user code already, and RCX of the kernel's where the target is held. */
	if (!t->kept && !held)
		e_store_gs(&t->hot, spill_reg(t, scratch), scratch);
	tx_current(t)->borrowed |= (u16)BIT(scratch);
	tx_address(t, scratch, address);
	e_push(&t->hot, scratch);
	if (!held)
		tx_return(t, scratch);
}

#define PREDICT_TRIES 3
#define PREDICT_JRCXZ 2

/* The target is in RDX, guest RCX and RDX in the spill page.
 *
 *	rcx = target - predicted;  jrcxz hit
 *	jmp learn                   (a NOP after PREDICT_TRIES misses)
 *	through the lookup table
 * hit:	straight on
 *
 * The prediction is one of the first PREDICT_TRIES targets that missed.  Nothing here can fault. */
static void indirect_kernel(struct tx *t)
{
	bool guarded = t->b->mode & TM_GUARDED;
	struct emit *e = &t->hot;
	u8 *hit, *imm;
	u32 n;

	if (t->b->mode & (TM_STEP | TM_APART)) {
		e_mov_rr(e, RCX, RDX);
		e_jmp(e, t->k->targets.lookup_miss_kernel);
		return;
	}
	/* With the jump to the learn stub, too, within eight bytes. */
	while (t->k->targets.smp && (((u64)e->p + 3) % 8 < 1 || ((u64)e->p + 3) % 8 > 4))
		e8(e, 0x2e);
	e_lea_bd(e, RCX, RDX, (s32)-PREDICT_NONE);
	imm = e->p - 4;
	e8(e, 0xe3);
	hit = e->p;
	e8(e, 0);
	n = t->k->n_exits;
	e_jmp(e, tx_exit(t, X_PREDICT, 0, (u32)(imm - CODE_BASE)));
	e_mov_rr(e, RCX, RDX);
	e_mov_imm(e, RDX, 0);
	e_crc32(e, RDX, RCX);
	e_pext_gs(e, RDX, RDX, CONST_DISP + (guarded ? CN_GUARDED_MASK : CN_HASH_MASK));
	e_jmp_gs_index(e, RDX, guarded ? KGUARDED_DISP : KLOOKUP_DISP);
	*hit = (u8)(e->p - hit - 1);
	tx_return(t, RDX);
	tx_return(t, RCX);
	u8 *stub = tx_exit(t, X_LINK, PREDICT_NONE, 0);

	align_operand(t, 1, 4);
	t->k->exits[n + 1].patch = (u32)(e_jmp(e, stub) - CODE_BASE);
}

void tx_indirect_user(struct tx *t)
{
	bool guarded = t->b->mode & TM_GUARDED;

	e_mov_rr(&t->hot, R10, RCX);
	if (t->b->mode & TM_STEP) {
		e_jmp(&t->hot, t->k->targets.lookup_miss_user);
		return;
	}
	e_pext_gs(&t->hot, RCX, R11, CONST_DISP + (guarded ? CN_GUARDED_MASK : CN_TARGET_MASK));
	e_jmp_gs_index(&t->hot, RCX, guarded ? UGUARDED_DISP : ULOOKUP_DISP);
}

/* The target is in tx_target(), what spill_target() freed in the spill page. */
static void indirect_tail(struct tx *t)
{
	if (EXEC)
		env_indirect(t);
	else if (t->kernel)
		indirect_kernel(t);
	else
		tx_indirect_user(t);
}

bool predict_missed(struct cache *k, u32 exit, u64 target, bool others)
{
	const struct exit_record *x = &k->exits[exit];
	u8 *learn = CODE_BASE + x->patch + 4 + PREDICT_JRCXZ;
	u64 minus = -target;
	bool fits = (s64)minus == (s32)minus;

	if (k->blocks[x->block].flags & BLOCK_DEAD)
		return false;
	/* The first targets are often those of some initialisation: look again a few times. */
	if (++k->exits[exit].linked > 1 && others)
		fits = false;
	if (k->exits[exit].linked >= PREDICT_TRIES || !fits) {
		if (k->targets.smp)
			e_patch(learn + 1, learn + 5);
		else
			__builtin_memcpy(learn, "\x0f\x1f\x44\x00\x00", 5);
	}
	if (fits)
		k->exits[exit + 1].target = target;
	return fits;
}

void predict_set(struct cache *k, u32 exit, u64 target)
{
	__atomic_store_n((u32 *)(CODE_BASE + k->exits[exit].patch), (u32)-target, __ATOMIC_RELEASE);
}

/* Frees the register for the target, and another; the spill page has those of user code already. */
static void spill_target(struct tx *t, const struct insn *in)
{
	if (!t->kernel) { /* stored before the record began, and about to be taken */
		tx_current(t)->borrowed |= t->kept & (u16)~in->reg_touch;
		return;
	}
	e_store_gs(&t->hot, spill_reg(t, RCX), RCX);
	tx_current(t)->borrowed |= (u16)BIT(RCX);
	e_store_gs(&t->hot, spill_reg(t, RDX), RDX);
	tx_current(t)->borrowed |= (u16)BIT(RDX);
}

static void tx_ret(struct tx *t, const struct tx_insn *ti)
{
	tx_current(t)->access = t->kernel ? AK_STACK : AK_IDENT;
	spill_target(t, &ti->in);
	e_pop(&t->hot, tx_target(t));
	if (ti->in.imm)
		e_lea_bd(&t->hot, RSP, RSP, (u16)ti->in.imm);
	if (EXEC)
		env_return(t);
	else
		indirect_tail(t);
}

static void tx_indirect(struct tx *t, const struct tx_insn *ti)
{
	bool call = ti->in.klass == IC_CALL_IND;
	u16 held;

	if (!ti->in.has_mem && call && ((ti->in.modrm & 7) | (ti->in.rex & 1) << 3) == RSP && !t->kernel) {
		tx_execute(t, ti);
		return;
	}
	spill_target(t, &ti->in);
	tx_load_operand(t, ti, tx_target(t));
	held = t->kernel ? (u16)(BIT(RDX) | BIT(RCX)) : TX_KEPT;
	if (EXEC && call && env_calls(t)) {
		tx_record(t, ti->pc, AK_IDENT, REC_MIDDLE)->borrowed = held;
		env_call(t, 0, ti->pc + ti->in.len);
		return;
	}
	if (call) {
		tx_record(t, ti->pc, AK_NONE, REC_MIDDLE)->borrowed = held;
		push_return(t, ti->pc + ti->in.len, true);
	}
	indirect_tail(t);
}

void tx_loop(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	u8 *over;

	if (ti->in.asize == 4)
		e8(e, 0x67);
	/* REP and REPNE invert what LOOPE and LOOPNE want, on some processors. */
	if (ti->in.rep)
		e8(e, ti->in.rep);
	e8(e, ti->in.op);
	e8(e, 2);
	e8(e, 0xeb);
	over = e->p;
	e8(e, 0);
	tx_branch(t, -1, ti->pc + ti->in.len + (u64)ti->in.imm);
	*over = (u8)(e->p - over - 1);
}

static void tx_push_pop(struct tx *t, const struct tx_insn *ti, int index)
{
	const struct insn *in = &ti->in;
	int r = (in->op & 7) | (in->rex & 1) << 3;
	bool on_register = in->map == MAP_1B && in->op >= 0x50 && in->op <= 0x5f;

	tx_current(t)->access = t->kernel ? AK_STACK : AK_IDENT;
	if (in->off_modrm) {
		/* POP adds to RSP before it computes an address from it (SDM volume 2, POP): one computed beforehand is
		 * too low. */
		if (in->has_mem && in->klass == IC_POP && in->base_seg_ss && (t->kernel || in->seg == SEG_GS)) {
			tx_execute(t, ti);
			return;
		}
		if (in->has_mem) {
			tx_plain(t, ti, index);
			return;
		}
		r = (in->modrm & 7) | (in->rex & 1) << 3;
		on_register = true;
	}
	if (!t->kernel || !on_register || r != RSP || in->osize == 2) {
		e_bytes(&t->hot, ti->raw, in->len);
		return;
	}
	u16 taken = 0;
	int s = tx_borrow(t, in, &taken);

	if (in->klass == IC_PUSH) {
		e_mov_imm(&t->hot, s, -(u64)FOLD_OFF);
		e_lea_bi(&t->hot, s, s, RSP);
		e_push(&t->hot, s);
	} else {
		e_pop(&t->hot, s);
		e_mov_imm(&t->hot, RSP, FOLD_OFF);
		e_lea_bi(&t->hot, RSP, RSP, s);
	}
	tx_return(t, s);
}

static void tx_leave(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;

	if (!t->kernel) {
		tx_current(t)->access = AK_IDENT;
		e_bytes(e, ti->raw, ti->in.len);
		return;
	}
	if (ti->in.osize == 2) {
		tx_execute(t, ti);
		return;
	}
	tx_current(t)->access = AK_STACK;
	e_store_gs(e, spill_reg(t, RSP), RSP);
	tx_current(t)->borrowed |= (u16)BIT(RSP);
	e_mov_imm(e, RSP, FOLD_OFF);
	e_lea_bi(e, RSP, RSP, RBP);
	e_pop(e, RBP);
}

/* After STI and the instruction behind it: leave if an event waits. */
static void tx_check_event(struct tx *t, u64 pc)
{
	struct emit *e = &t->hot;
	u8 *stub = t->cold.p, *over;

	tx_record(t, pc, AK_NONE, 0);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_load_gs(e, RCX, t->spill + SP_PENDING);
	e8(e, 0xe3);
	over = e->p;
	e8(e, 0);
	e_load_gs(&t->cold, RCX, spill_reg(t, RCX));
	tx_exit(t, X_EVENT, pc, 0);
	e_jmp(e, stub);
	*over = (u8)(e->p - over - 1);
	tx_return(t, RCX);
	t->check_event = false;
}

bool tx_guarded(const struct tx *t, const struct tx_insn *ti)
{
	return !EXEC && (t->b->mode & TM_GUARDED) && insn_unit(&ti->in) != UNIT_NONE;
}

static bool is_pause(const struct insn *in)
{
	return in->map == MAP_1B && in->enc == ENC_LEGACY && in->op == 0x90 && in->rep == 0xf3 && !(in->rex & 1);
}

/* Whoever waits for another vCPU gives it the host's processor now and then. */
static void tx_pause(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	u8 *stub = t->cold.p, *out, *over;

	tx_kept_store(t);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	tx_current(t)->borrowed |= (u16)BIT(RCX);
	e_load_gs(e, RCX, t->spill + SP_PAUSES);
	e_lea_bd(e, RCX, RCX, -1);
	e_store_gs(e, t->spill + SP_PAUSES, RCX);
	e8(e, 0xe3); /* jrcxz */
	out = e->p;
	e8(e, 0);
	tx_return(t, RCX);
	e_bytes(e, ti->raw, ti->in.len);
	e8(e, 0xeb);
	over = e->p;
	e8(e, 0);
	*out = (u8)(e->p - out - 1);
	e_load_gs(&t->cold, RCX, spill_reg(t, RCX));
	tx_exit(t, X_PAUSE, ti->pc + ti->in.len, 0);
	tx_reloc(t, RL_HOT_COLD, e_jmp(e, stub), stub, t->b->exits);
	*over = (u8)(e->p - over - 1);
}

static void tx_insn(struct tx *t, const struct tx_insn *ti, int index)
{
	const struct insn *in = &ti->in;
	u64 next = ti->pc + in->len;

	if (tx_guarded(t, ti)) {
		tx_execute(t, ti);
		return;
	}
	switch (in->klass) {
	case IC_PLAIN:
		if (t->k->targets.smp && is_pause(in))
			tx_pause(t, ti);
		else if (tx_reaches_device(t, ti))
			tx_execute(t, ti);
		else
			tx_plain(t, ti, index);
		break;
	case IC_JMP:
		tx_branch(t, -1, next + (u64)in->imm);
		t->ended = true;
		break;
	case IC_JCC:
		tx_branch(t, in->op & 15, next + (u64)in->imm);
		break;
	case IC_LOOP:
		tx_loop(t, ti);
		break;
	case IC_CALL:
		if (EXEC && env_calls(t)) {
			tx_current(t)->access = AK_IDENT;
			env_call(t, next + (u64)in->imm, next);
			t->ended = !env_returns_here(t);
			break;
		}
		push_return(t, next, false);
		tx_branch(t, -1, next + (u64)in->imm);
		t->ended = true;
		break;
	case IC_RET:
		tx_ret(t, ti);
		t->ended = true;
		break;
	case IC_JMP_IND:
	case IC_CALL_IND:
		tx_indirect(t, ti);
		t->ended = !(EXEC && in->klass == IC_CALL_IND && env_returns_here(t));
		break;
	case IC_PUSH:
	case IC_POP:
		tx_push_pop(t, ti, index);
		break;
	case IC_LEAVE:
		tx_leave(t, ti);
		break;
	case IC_MOFFS:
		tx_moffs(t, ti);
		break;
	case IC_MOVS: case IC_STOS: case IC_LODS: case IC_CMPS: case IC_SCAS:
		tx_string(t, ti);
		break;
	case IC_XSAVE: case IC_XRSTOR:
		if (EXEC)
			tx_plain(t, ti, index);
		else
			tx_xsave(t, ti);
		break;
	case IC_ENTER: case IC_XLAT: case IC_MASKMOV: case IC_CLZERO: case IC_MOVDIR64B:
		/* ENTER knows only the stack segment. */
		if (!t->kernel && (in->seg != SEG_GS || in->klass == IC_ENTER) && in->base != REG_RIP) {
			tx_current(t)->access = AK_IDENT;
			e_bytes(&t->hot, ti->raw, in->len);
		} else {
			tx_execute(t, ti);
		}
		break;
	default:
		if (!tx_system(t, ti, index))
			tx_execute(t, ti);
		break;
	}
}

static bool is_call(const struct insn *in) { return in->klass == IC_CALL || in->klass == IC_CALL_IND; }

/* Decodes up to the end of the block; returns false where the first instruction needs the next page. */
static bool decode(struct tx *t)
{
	struct translate_request *r = t->r;
	size_t left = PAGE_SIZE - (r->pc & ~PAGE_MASK), at = 0;
	/* In exec a step goes to the next branch. */
	int max = r->mode & TM_STEP && !EXEC ? 1 : (int)t->k->max_insns;
	enum insn_mode mode = r->mode & TM_COMPAT ? MODE_32 : MODE_64;

	while (t->n < max && at < left) {
		struct tx_insn *ti = &t->insns[t->n];
		size_t have = MIN(left - at, (size_t)INSN_MAX);
		bool spans = false;

		if (EXEC && t->n >= 12 && env_known(t, r->pc + at))
			break;
		__builtin_memcpy(ti->raw, r->bytes + at, have);
		int rc = insn_decode(&ti->in, ti->raw, have, mode);

		if (rc == -1) {
			if (t->n)
				break;
			if (!r->next) {
				r->need_next = true;
				return false;
			}
			__builtin_memcpy(ti->raw + have, r->next, INSN_MAX - have);
			rc = insn_decode(&ti->in, ti->raw, INSN_MAX, mode);
			spans = true;
		}
		if (rc < 0) {
			ti->in.klass = IC_INVALID;
			ti->in.len = INSN_MAX;
			t->unkept = true;
		}
		ti->pc = r->pc + at;
		at += ti->in.len;
		t->n++;
		if (spans) {
			t->b->flags |= BLOCK_SPANS;
			t->b->pa2 = r->pa2;
		}
		bool call = EXEC && is_call(&ti->in), returns = call && env_returns_here(t);

		/* Not twice: one host address for each return address, which the call foretells.  Where blocks cannot be entered
		 * in the middle it has one of its own. */
		if (call && t->n > 1 && env_pairs(t) && (!returns || env_known(t, ti->pc))) {
			t->n--;
			at -= ti->in.len;
			t->b->flags &= (u8)~BLOCK_SPANS;
			break;
		}

		if (spans || (ti->in.ends_block && ti->in.klass != IC_JCC && ti->in.klass != IC_LOOP && !returns) ||
		    ti->in.klass == IC_INVALID || (EXEC && (r->mode & TM_STEP) && ti->in.ends_block))
			break;
	}
	t->b->guest_len = (u16)at;
	return true;
}

static void emit_all(struct tx *t)
{
	for (int i = 0; i < t->n && !t->ended; i++) {
		struct tx_insn *ti = &t->insns[i];
		bool shadow = t->sti_shadow;

		if (shadow && (ti->in.ends_block || ti->in.klass == IC_STI)) {
			/* HLT and the like leave through C, which looks for events itself. */
			if (ti->in.klass == IC_RET || ti->in.klass == IC_JMP || ti->in.klass == IC_CALL ||
			    ti->in.klass == IC_JCC || ti->in.klass == IC_JMP_IND || ti->in.klass == IC_CALL_IND)
				tx_check_event(t, ti->pc);
			shadow = false;
		}
		t->sti_shadow = false;
		if (ti->in.ends_block)
			tx_kept_store(t);
		if (EXEC && is_call(&ti->in)) /* others may enter here */
			t->kept_here = 0;
		tx_record(t, ti->pc, AK_NONE, (shadow ? REC_NO_INTERRUPT : 0) | (t->called ? REC_RETURN : 0));
		t->called = false;
		if (t->kept)
			tx_kept_use(t, &ti->in);
		tx_insn(t, ti, i);
		if (shadow && !t->ended)
			tx_check_event(t, ti->pc + ti->in.len);
	}
	if (!t->ended || t->called) {
		u64 next = t->b->pc + t->b->guest_len;

		if (t->sti_shadow)
			tx_check_event(t, next);
		tx_kept_store(t);
		tx_record(t, next, AK_NONE, REC_END | (t->called ? REC_RETURN : 0));
		tx_branch(t, -1, next);
	}
	if (EXEC)
		env_tails(t);
}

void block_place(struct cache *k, struct block *b, u64 alignment, bool indirect)
{
	u8 entry[64];
	struct emit e = { entry, NULL };

	if (indirect)
		block_emit_entry(k, &e, b);
	u32 n = (u32)(e.p - entry);

	k->hot += n;
	k->hot += (u32)((alignment - k->hot) & (BLOCK_ALIGN - 1));
	b->host = k->hot;
	if (!indirect)
		return;
	e.p = CODE_BASE + k->hot - n;
	b->indirect = (u32)(block_emit_entry(k, &e, b) - CODE_BASE);
}

/* As they were decoded: what lies in memory may be others' next bytes already. */
static void keep_source(const struct tx *t)
{
	u8 *at = store_note(t->k, t->b, t->r);

	for (int i = 0; at && i < t->n; at += t->insns[i++].in.len)
		__builtin_memcpy(at, t->insns[i].raw, t->insns[i].in.len);
}

void block_publish(struct cache *k, struct block *b)
{
	block_register(k, b);
	frame_add_block(k, b);
	if (!EXEC && b->mode == TM_USER)
		instance_add(k, b);
}

struct block *translate_block(struct cache *k, struct translate_request *r)
{
	struct block *b = &k->blocks[k->n_blocks];
	static struct tx t;
	u32 pad = 0;

	if (cache_full(k))
		return NULL;
	/* The same alignment as the guest's keeps what its compiler arranged. */
	if (cache_shared(k)) {
		if (!EXEC || env_killed_inside(r->pc))
			pad = (r->pc - 5) % 8 <= 3 ? 5 : 9;
		/* The dead stub's head is replaced while others may be about to run it. */
		k->cold = ALIGN_UP(k->cold, 8u);
	}
	*b = (struct block){
		.pc = r->pc, .pa = r->pa, .cold = k->cold, .mode = r->mode,
		.records = k->n_records, .exits = k->n_exits, .relocs = k->n_relocs,
		.moves = k->n_moves,
	};
	block_place(k, b, r->pc - pad, !EXEC && r->indirect);
	t.k = k;
	t.r = r;
	t.b = b;
	t.hot.p = CODE_BASE + b->host;
	t.cold.p = CODE_BASE + k->cold;
	t.kernel = !(r->mode & TM_USER);
	t.spill = t.kernel ? SPILL_K_DISP : SPILL_U_DISP;
	t.kept = t.kernel || (r->mode & TM_COMPAT) ? 0 : TX_KEPT;
	t.kept_here = t.kept_dirty = 0;
	t.called = t.soft = false;
	t.user_access = t.sti_shadow = t.check_event = t.ended = false;
	t.n = t.n_calls = t.n_fixes = 0;
	t.unkept = false;
	if (!decode(&t))
		return NULL;
	tx_exit(&t, X_DEAD, r->pc, 0);
	/* What block_kill() replaces (B4): five bytes of it within eight aligned ones. */
	nop(&t.hot, pad);
	if (!EXEC && (r->mode & TM_COMPAT))
		compat_emit(&t);
	else
		emit_all(&t);
	while (t.hot.p < CODE_BASE + b->host + ENTRY_BYTES)
		e8(&t.hot, 0x90);
	k->n_records += b->n_records;
	k->n_relocs += b->n_relocs;
	k->n_moves += b->n_moves;
	b->n_exits = (u16)(k->n_exits - b->exits);
	b->host_end = k->hot = (u32)(t.hot.p - CODE_BASE);
	b->cold_end = b->own_cold_end = k->cold = (u32)(t.cold.p - CODE_BASE);
	/* Others may now look for it by its host addresses. */
	__atomic_store_n(&k->n_blocks, k->n_blocks + 1, __ATOMIC_RELEASE);
	if (!EXEC && k->sources && !t.soft)
		keep_source(&t);
	if (EXEC)
		env_keep(&t);
	k->stats.translated++;
	k->stats.guest_insns += (u64)t.n;
	k->stats.code_bytes += b->host_end - b->host + b->cold_end - b->cold;
	block_publish(k, b);
	return b;
}
