/* SPDX-License-Identifier: MIT
 * Privileged and sensitive instructions that have an expansion of their own, so that system calls,
 * interrupt flags and access control cost no exit. */
#include "translate/internal.h"

/* The host pushes IF = 1 and AC = 0: bring in the virtual ones.  PUSHFQ comes first, as the only
 * instruction here that can fault. */
static void tx_pushf(struct tx *t)
{
	struct emit *e = &t->hot;

	tx_current(t)->access = AK_STACK;
	e8(e, 0x9c);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	e_pop(e, RCX);
	e_load_gs(e, RDX, t->spill + SP_VIF);
	e_lea_bi(e, RCX, RCX, RDX);
	e_load_gs(e, RDX, t->spill + SP_VAC);
	e_lea_bi(e, RCX, RCX, RDX);
	e_push(e, RCX);
	tx_return(t, RDX);
	tx_return(t, RCX);
}

static void tx_access_control(struct tx *t, bool allow)
{
	struct emit *e = &t->hot;

	e_store_gs_imm(e, t->spill + SP_VAC, allow ? (s32)RF_AC : 0);
	t->user_access = allow;
	if (!t->k->targets.protection_keys)
		return;
	e_store_gs(e, spill_reg(t, RAX), RAX);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	if (allow)
		e_load_gs(e, RAX, CONST_DISP + CN_PKRU_ACCESS);
	else
		e_mov_imm(e, RAX, t->k->targets.pkru_kernel);
	e_mov_imm(e, RCX, 0);
	e_mov_imm(e, RDX, 0);
	e_wrpkru(e);
	tx_return(t, RDX);
	tx_return(t, RCX);
	tx_return(t, RAX);
}

static bool sets_base(const struct insn *in)
{
	return in->klass == IC_SYSRET || in->klass == IC_SWAPGS || in->klass == IC_WRGSBASE;
}

/* Whether a jump within the page leads to an instruction that does.  A write to the page kills this block too. */
static bool jump_sets_base(const struct tx *t, const struct tx_insn *ti)
{
	u64 target = ti->pc + ti->in.len + (u64)ti->in.imm;
	struct insn in;

	if (ti->in.klass != IC_JMP || ((target ^ t->r->pc) & PAGE_MASK) || ((ti->pc ^ t->r->pc) & PAGE_MASK))
		return false;
	return !insn_decode(&in, t->r->bytes + (s64)(target - t->r->pc), MIN(PAGE_SIZE - (target & ~PAGE_MASK), (u64)INSN_MAX),
			    MODE_64) && sets_base(&in);
}

/* Host FS base follows the guest's GS base, except where one of the next instructions sets it again before
 * anything uses it. */
static bool sets_host_base(const struct tx *t, int index)
{
	for (int i = index + 1; i < t->n; i++) {
		const struct insn *in = &t->insns[i].in;

		if (sets_base(in) || jump_sets_base(t, &t->insns[i]))
			return false;
		if (in->klass != IC_PLAIN || in->has_mem)
			break;
	}
	return true;
}

/* Host FS base = what leads to the guest's GS base in `base`; `u` is scratch. */
static void tx_set_host_base(struct tx *t, int base, int u)
{
	tx_fold_select(t, u, base);
	e_lea_bi(&t->hot, RCX, base, u);
	e_bytes(&t->hot, (const u8 *)"\xf3\x48\x0f\xae\xd1", 5); /* wrfsbase rcx */
}

/* Swaps the bases in the kernel's spill page. */
static void tx_swapgs(struct tx *t, int index)
{
	struct emit *e = &t->hot;

	e_store_gs(e, spill_reg(t, RAX), RAX);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_load_gs(e, RAX, t->spill + SP_LIVE_GS);
	e_load_gs(e, RCX, t->spill + SP_LIVE_KGS);
	e_store_gs(e, t->spill + SP_LIVE_GS, RCX);
	e_store_gs(e, t->spill + SP_LIVE_KGS, RAX);
	if (sets_host_base(t, index))
		tx_set_host_base(t, RCX, RAX);
	tx_return(t, RCX);
	tx_return(t, RAX);
	for (int i = 0; i < index; i++)
		if (t->insns[i].in.klass != IC_PLAIN || t->insns[i].in.has_mem)
			return;
	t->b->flags |= BLOCK_SWAPGS;
}

/* reg = selector, as MOV from a segment register leaves it in a register. */
static bool tx_mov_from_seg(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	int seg = in->modrm >> 3 & 7, rm = (in->modrm & 7) | (in->rex & 1) << 3;

	if (in->has_mem || seg > SEG_GS || rm == RSP)
		return false;
	if (in->osize == 2)
		e8(&t->hot, 0x66);
	e_gs(&t->hot, in->osize != 2, 0x8b, rm, t->spill + SP_SEL + 8 * seg);
	return true;
}

/* reg = CR2, which only C changes.  LOCK makes it CR8 on some processors. */
static bool tx_mov_from_cr(struct tx *t, const struct insn *in)
{
	if (in->reg != 2 || in->lock || in->rm == RSP)
		return false;
	e_load_gs(&t->hot, in->rm, t->spill + SP_CR2);
	return true;
}

/* FS or GS base = reg; an address that is not canonical is left to C. */
static bool tx_write_base(struct tx *t, const struct tx_insn *ti, int index)
{
	bool gs = ti->in.klass == IC_WRGSBASE;
	struct emit *e = &t->hot;
	u8 *canonical, *stub;

	if (ti->in.osize != 8 || ti->in.rm == RSP || !t->r->fsgsbase || (t->b->mode & TM_STEP))
		return false;
	stub = tx_exit(t, X_INSN, ti->pc, 0);
	e_store_gs(e, spill_reg(t, RAX), RAX);
	e_store_gs(e, spill_reg(t, RCX), RCX);
	e_store_gs(e, spill_reg(t, RDX), RDX);
	e_mov_rr(e, RAX, ti->in.rm);
	e_mov_imm(e, RDX, 16);
	e_shlx(e, RCX, RAX, RDX);
	e_sarx(e, RCX, RCX, RDX);
	e_not(e, RCX);
	e_lea_bi(e, RCX, RCX, RAX);
	e_lea_bd(e, RCX, RCX, 1);
	e8(e, 0xe3); /* jrcxz */
	canonical = e->p;
	e8(e, 0);
	tx_return(t, RDX);
	tx_return(t, RCX);
	tx_return(t, RAX);
	e_jmp(e, stub);
	*canonical = (u8)(e->p - canonical - 1);
	e_store_gs(e, t->spill + (gs ? SP_LIVE_GS : SP_LIVE_FS), RAX);
	if (gs && sets_host_base(t, index))
		tx_set_host_base(t, RAX, RDX);
	tx_return(t, RDX);
	tx_return(t, RCX);
	tx_return(t, RAX);
	return true;
}

static bool tx_read_base(struct tx *t, const struct tx_insn *ti, s32 disp)
{
	int rm = (ti->in.modrm & 7) | (ti->in.rex & 1) << 3;

	if (ti->in.osize != 8 || rm == RSP || !t->r->fsgsbase)
		return false;
	e_load_gs(&t->hot, rm, t->spill + disp);
	return true;
}

/* The gates and the exit that they fall back on share the exit number in the spill page. */
static void tx_gate(struct tx *t, const struct tx_insn *ti, s32 gate)
{
	u32 n = t->k->n_exits;

	tx_exit(t, X_INSN, ti->pc, 0);
	e_store_gs_imm32(&t->hot, t->spill + SP_EXIT, n);
	tx_reloc(t, RL_HOT_EXIT, t->hot.p - 4, NULL, n);
	e_jmp_gs(&t->hot, CONST_DISP + gate);
	t->ended = true;
}

/* The gate reads the five words of IRET's frame where a fault has no record: faults come here. */
static void tx_touch_frame(struct tx *t)
{
	struct emit *e = &t->hot;

	tx_current(t)->access = AK_STACK;
	tx_current(t)->borrowed |= (u16)BIT(RAX);
	e_store_gs(e, spill_reg(t, RAX), RAX);
	e_bytes(e, (const u8 *)"\x48\x8b\x44\x24\x20", 5); /* mov rax, [rsp + 32] */
	e_bytes(e, (const u8 *)"\x48\x8b\x04\x24", 4);      /* mov rax, [rsp] */
	tx_return(t, RAX);
}

static bool tx_kernel(struct tx *t, const struct tx_insn *ti, int index)
{
	switch (ti->in.klass) {
	case IC_CLI:
		e_store_gs_imm(&t->hot, t->spill + SP_VIF, -0x200);
		return true;
	case IC_STI:
		e_store_gs_imm(&t->hot, t->spill + SP_VIF, 0);
		t->sti_shadow = true;
		return true;
	case IC_PUSHF:
		/* The guest's trap flag is not the host's. */
		if (ti->in.osize != 8 || (t->b->mode & TM_STEP))
			return false;
		tx_pushf(t);
		return true;
	case IC_STAC:
	case IC_CLAC:
		tx_access_control(t, ti->in.klass == IC_STAC);
		return true;
	case IC_SWAPGS:
		tx_swapgs(t, index);
		return true;
	case IC_SYSRET:
		if (ti->in.osize != 8 || (t->b->mode & TM_STEP))
			return false;
		tx_gate(t, ti, CN_SYSRET);
		return true;
	case IC_IRET:
		if (ti->in.osize != 8 || (t->b->mode & TM_STEP))
			return false;
		tx_touch_frame(t);
		tx_gate(t, ti, CN_IRET);
		return true;
	case IC_MOV_FROM_SEG:
		return tx_mov_from_seg(t, ti);
	case IC_MOV_FROM_CR:
		return tx_mov_from_cr(t, &ti->in);
	case IC_WRFSBASE:
	case IC_WRGSBASE:
		return tx_write_base(t, ti, index);
	case IC_RDFSBASE:
		return tx_read_base(t, ti, SP_LIVE_FS);
	case IC_RDGSBASE:
		return tx_read_base(t, ti, SP_LIVE_GS);
	default:
		return false;
	}
}

bool tx_system(struct tx *t, const struct tx_insn *ti, int index)
{
	struct emit *e = &t->hot;

	switch (ti->in.klass) {
	case IC_RDTSC:
	case IC_RDTSCP:
		if (t->r->rdtsc_exits)
			return false;
		e_bytes(e, ti->raw, ti->in.len);
		if (ti->in.klass == IC_RDTSCP)
			e_load_gs(e, RCX, CONST_DISP + CN_TSC_AUX);
		return true;
	case IC_RDPID: {
		int rm = (ti->in.modrm & 7) | (ti->in.rex & 1) << 3;

		if (rm == RSP)
			return false;
		e_load_gs(e, rm, CONST_DISP + CN_TSC_AUX);
		return true;
	}
	case IC_SYSCALL:
		if (t->kernel || (t->b->mode & (TM_STEP | TM_COMPAT)))
			return false;
		tx_address(t, RCX, ti->pc + ti->in.len);
		tx_gate(t, ti, CN_SYSCALL);
		return true;
	default:
		return t->kernel && tx_kernel(t, ti, index);
	}
}
