/* SPDX-License-Identifier: MIT
 * How translations of `penumbra exec` transfer control and call the system.
 *
 * An indirect branch puts its target into R11 (TX_TARGET; the guest's is in the spill page) and jumps through
 * the targets: one word for each byte of guest code in the low 2 GiB.  A word leads to a block or to lookup_miss.
 * A word that was never written is zero: the fault at address 0 finds the target still in R11.  A target outside the table faults at the jump; its site is translated anew to
 * go through far_lookup, which compares the whole address.
 *
 * Returns are indirect branches, in one of two ways:
 *
 *	the table's		call: push the guest's return address, jump     return: pop it, jump through the targets
 *	pairs			call: CALL to the block's tail, which replaces what it pushed by the guest's return address and
 *				jumps     return: pop it, push the target's word, RET
 *
 * A pair takes the processor twice as long, but its returns are foretold however many there are, where indirect jumps are
 * foretold as long as the code that runs is small.  All code is of one kind, since each call needs its return: in programs with
 * much code everything is translated anew, in pairs.  Below the stack pointer, after a return, lies the host's address. */
#include "exec/exec.h"
#include "translate/internal.h"
#include "translate/targets.h"

#define SYSCALL_EXPANSION 19 /* bytes before the SYSCALL instruction */

static void jump_through_targets(struct emit *e)
{
	e_bytes(e, (const u8 *)"\x42\xff\x24\xdd", 4); /* jmp [r11 * 8 + disp32] */
	e32(e, TARGETS_DISP);
}

bool env_is_indirect_jump(const u8 *host)
{
	return host[0] == 0x42 && host[1] == 0xff && (host[2] == 0x24 || host[2] == 0x34) && host[3] == 0xdd;
}

void env_indirect(struct tx *t)
{
	u64 pc = t->b->pc + tx_current(t)->guest;

	if (t->b->mode & TM_STEP)
		e_jmp(&t->hot, lookup_miss);
	else if (site_is_both(t->k, pc)) {
		t->unkept = true;
		e_jmp(&t->hot, far_lookup);
	} else
		jump_through_targets(&t->hot);
}

u64 env_far_stub(u64 pc, u64 host, u64 next)
{
	struct cache *k = CACHE;
	struct emit e = { CODE_BASE + k->cold, NULL };
	const u8 *stub = e.p;

	if (k->cold + 64 > k->limit_cold || !k->n_blocks)
		return 0;
	e_mov_imm(&e, RCX, -pc);
	e_lea_bi(&e, RCX, RCX, R11);
	e_bytes(&e, (const u8 *)"\xe3\x05", 2); /* jrcxz */
	e_jmp(&e, (const u8 *)next);
	e_load_gs(&e, RCX, SPILL_U_DISP + SP_REG + 8 * RCX);
	e_jmp(&e, (const u8 *)host);
	k->cold = k->blocks[k->n_blocks - 1].cold_end = (u32)(e.p - CODE_BASE);
	return (u64)stub;
}

/* Between two looks at how much code the program has mapped. */
#define PAIRS_LOOK 256
/* Bytes of code mapped, blocks translated: from either on calls and returns are the host's. */
#define PAIRS_CODE (12ull << 20)
#define PAIRS_BLOCKS 20000

static bool pairs;

bool env_pairs_due(void)
{
	u64 n = CACHE->stats.translated + CACHE->stats.restored;

	if (pairs || options.returns == 1)
		return false;
	if (options.returns)
		return n + 2 >= options.returns;
	return n >= PAIRS_BLOCKS || (n % PAIRS_LOOK == 0 && memory_code_size() >= PAIRS_CODE);
}

void env_pairs_begin(void) { pairs = true; }

bool env_pairs_on(u64 pc) { return pairs && pc < LOW_END; }

bool env_pairs(const struct tx *t) { return !(t->b->mode & TM_STEP) && env_pairs_on(t->b->pc); }

bool env_returns_here(const struct tx *t)
{
	const struct exec_range *r = memory_find(t->b->pc);

	return !(t->b->mode & TM_STEP) && t->b->pc < LOW_END && r && !(r->prot & PROT_WRITE);
}

bool env_calls(const struct tx *t) { return env_pairs(t) || env_returns_here(t); }

void env_call(struct tx *t, u64 target, u64 back)
{
	t->called = true;
	t->kept_here = 0;
	if (!pairs) {
		e_push_imm(&t->hot, (s32)back);
		tx_fix(t, FIX_ADDRESS, t->hot.p - 4, back);
		if (target)
			tx_branch(t, -1, target);
		else
			env_indirect(t);
		return;
	}
	t->calls[t->n_calls++] = (struct tx_call){ t->hot.p + 1, target, back, tx_current(t)->guest };
	e8(&t->hot, 0xe8);
	e32(&t->hot, 0);
}

void env_tails(struct tx *t)
{
	struct emit *e = &t->hot;

	for (int i = 0; i < t->n_calls; i++) {
		const struct tx_call *c = &t->calls[i];

		tx_record(t, t->b->pc + c->guest, AK_IDENT, REC_MIDDLE)->borrowed = BIT(R11);
		e_patch(c->at, e->p);
		e_bytes(e, (const u8 *)"\x48\xc7\x04\x24", 4); /* mov qword [rsp], imm32 */
		e32(e, (u32)c->back);
		tx_fix(t, FIX_ADDRESS, e->p - 4, c->back);
		if (c->target)
			tx_branch(t, -1, c->target);
		else
			env_indirect(t);
	}
}

void env_return(struct tx *t)
{
	u64 pc = t->b->pc + tx_current(t)->guest;

	if (!env_pairs(t) || site_is_both(t->k, pc)) {
		env_indirect(t);
		return;
	}
	e_bytes(&t->hot, (const u8 *)"\x42\xff\x34\xdd", 4); /* push [r11 * 8 + disp32] */
	e32(&t->hot, TARGETS_DISP);
	e8(&t->hot, 0xc3);
}

bool env_known(const struct tx *t, u64 pc)
{
	return t->b->mode == TM_USER && code_known(pc);
}

const u8 *env_find(struct tx *t, u64 pc)
{
	u64 at = pc - t->b->pc;

	if (t->b->mode != TM_USER)
		return NULL;
	if (at >= t->b->guest_len)
		return code_find(pc);
	/* In this very block, if it has come so far. */
	for (u32 i = 0; i < t->b->n_records; i++) {
		struct insn_record *r = &t->k->records[t->b->records + i];

		if (r->guest == at && (!at || code_enterable(t->b, r))) {
			if (at)
				r->flags |= REC_ENTRY;
			return CODE_BASE + t->b->host + (at ? r->host : 0);
		}
	}
	return code_find(pc);
}

/* RCX and R11 are the call's to change.  Class 0 goes straight to the kernel, all else to C:
 *
 *	mov ecx, eax;  movzx ecx, cx;  movzx ecx, byte [syscall_class + rcx];  jrcxz over;  jmp stub
 * over: syscall;  rcx = next;  R11 to its place */
static void tx_syscall(struct tx *t, const struct tx_insn *ti)
{
	struct emit *e = &t->hot;
	u8 *start = e->p;

	tx_current(t)->flags |= REC_SYSCALL;
	tx_current(t)->access = AK_IDENT;
	e_bytes(e, (const u8 *)"\x89\xc1\x0f\xb7\xc9\x0f\xb6\x89", 8);
	e32(e, (u32)(u64)syscall_class);
	e_bytes(e, (const u8 *)"\xe3\x05", 2);
	tx_fix(t, FIX_INSN, e_jmp(e, tx_exit(t, X_INSN, ti->pc, 0)), ti->pc);
	if (e->p - start != SYSCALL_EXPANSION)
		__builtin_trap();
	e_bytes(e, (const u8 *)"\x0f\x05", 2);
	e_mov_imm(e, RCX, ti->pc + ti->in.len);
	tx_fix(t, FIX_ADDRESS, e->p - 4, ti->pc + ti->in.len);
	e_store_gs(e, spill_reg(t, R11), R11);
}

bool tx_system(struct tx *t, const struct tx_insn *ti, int index)
{
	const struct insn *in = &ti->in;

	switch (in->klass) {
	case IC_SYSCALL:
		tx_syscall(t, ti);
		return true;
	case IC_INVALID:
		e_bytes(&t->hot, (const u8 *)"\x0f\x0b", 2);
		return true;
	case IC_RDGSBASE: case IC_WRGSBASE: case IC_MOV_TO_SEG: case IC_POP_SEG: case IC_LOAD_FAR:
	case IC_JMP_FAR: case IC_CALL_FAR: case IC_RETF: case IC_IRET: case IC_INT: case IC_XBEGIN:
		return false;
	default:
		/* Unprivileged, or it faults on the host as it would by itself. */
		if (in->has_mem) {
			tx_plain(t, ti, index);
		} else {
			tx_current(t)->access = AK_IDENT;
			e_bytes(&t->hot, ti->raw, in->len);
		}
		return true;
	}
}
