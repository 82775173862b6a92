/* SPDX-License-Identifier: MIT
 * One translation in progress: shared by the files of the translator, nobody else. */
#ifndef PENUMBRA_TRANSLATE_INTERNAL_H
#define PENUMBRA_TRANSLATE_INTERNAL_H

#include "x86/layout.h"
#include "translate/block.h"
#include "x86/emit.h"

struct tx_insn {
	struct insn in;
	u64 pc;
	u8 raw[INSN_MAX + 1];
};

/* exec: a call whose second half is still to come. */
struct tx_call {
	u8 *at; /* its displacement */
	u64 target, back;
	u16 guest;
};

/* exec: four bytes of the hot part that depend on where the block and its guest code lie (exec/keep.c). */
enum fix_kind {
	FIX_BRANCH,  /* displacement to a block; `target`, less the block's pc */
	FIX_INSN,    /* displacement to the stub that leaves to have the instruction at `target` executed */
	FIX_NEAR,    /* displacement to what lies as far from the guest code wherever that is */
	FIX_ADDRESS, /* address that moves with the guest code */
	FIX_KINDS
};
struct tx_fix { s32 target; u16 at; u8 kind, unused; };
#define FIXES_MAX (4 * BLOCK_INSNS)

struct tx {
	struct cache *k;
	struct translate_request *r;
	struct block *b;
	struct emit hot, cold;
	s32 spill;          /* displacement of this world's spill page */
	bool kernel, user_access, sti_shadow, check_event, ended;
	bool soft;                  /* some of it goes through the software TLB */
	bool called;                /* exec: the last instruction was a call */
	u16 kept;                   /* registers that live in the spill page: see TX_KEPT */
	u16 kept_here, kept_dirty;  /* those of them that are in their registers, and newer there than in the spill page */
	int n, n_calls;
	bool unkept;                /* exec: contains what no fix describes */
	int n_fixes;
	struct tx_fix fixes[FIXES_MAX];
	struct tx_call calls[BLOCK_INSNS];
	struct tx_insn insns[BLOCK_INSNS];
};

static inline s32 spill_reg(const struct tx *t, int reg) { return t->spill + SP_REG + 8 * reg; }

/* In 64-bit user code the guest's R11, and in a VM its R10, live in the spill page.  A block loads one before its first
 * use and stores it before any branch, so that between blocks, and for control flow in them, the registers are free. */
#define TX_KEPT (EXEC ? BIT(R11) : KEPT_USER)
/* The register that holds the target of an indirect branch. */
static inline int tx_target(const struct tx *t) { return t->kernel ? RDX : R11; }
/* One of them that the instruction does not touch, nor `taken` names, and that is free; REG_NONE: there is none. */
int tx_kept_free(const struct tx *t, const struct insn *in, u16 taken);
void tx_kept_use(struct tx *t, const struct insn *in);
void tx_kept_store(struct tx *t);

/* Whether a RIP-relative operand can stay one. */
static inline bool tx_reaches(const struct tx *t, u64 address)
{
	s64 d = (s64)(address - (u64)t->hot.p);

	return EXEC && d == (s32)d && d + 64 == (s32)(d + 64) && d - 64 == (s32)(d - 64);
}

/* A scratch register that the instruction does not use (nor `avoid`), with its guest value spilled and
 * noted as borrowed in the current record. */
int tx_borrow(struct tx *t, const struct insn *in, u16 *taken);
void tx_return(struct tx *t, int reg);

/* Notes a place to adjust when the block is moved or copied (user blocks). */
void tx_reloc(struct tx *t, enum reloc_kind kind, const u8 *at, const u8 *target, u32 exit);
/* Notes four bytes at `at`; `target` is a guest address. */
static inline void tx_fix(struct tx *t, enum fix_kind kind, const u8 *at, u64 target)
{
	if (!EXEC)
		return;
	if (t->n_fixes == FIXES_MAX) {
		t->unkept = true;
		return;
	}
	t->fixes[t->n_fixes++] = (struct tx_fix){ (s32)(target - t->b->pc), (u16)(at - (CODE_BASE + t->b->host)), (u8)kind, 0 };
}
/* reg = a guest code or data address that moves with the page. */
void tx_address(struct tx *t, int reg, u64 address);
/* Begins the expansion of one instruction; returns its record. */
struct insn_record *tx_record(struct tx *t, u64 pc, u8 access, u8 flags);
struct insn_record *tx_current(struct tx *t);
/* Notes an exit and returns its cold stub. */
u8 *tx_exit(struct tx *t, enum exit_kind kind, u64 target, u32 patch);
/* Leaves through C to execute the instruction there; ends the block. */
void tx_execute(struct tx *t, const struct tx_insn *ti);
/* Kernel code that was seen to use device memory. */
bool tx_reaches_device(struct tx *t, const struct tx_insn *ti);
/* What needs a unit that the guest may have switched off is left to C, which looks. */
bool tx_guarded(const struct tx *t, const struct tx_insn *ti);
/* Jump (cond < 0) or conditional jump to a guest address. */
void tx_branch(struct tx *t, int cond, u64 target);

void tx_loop(struct tx *t, const struct tx_insn *ti);
/* User code: through the lookup table to the address in R11, by way of R10 and RCX.  Nothing of it can fault. */
void tx_indirect_user(struct tx *t);

/* operand.c: instructions whose memory operand, or RSP operand, must be rewritten. */
void tx_plain(struct tx *t, const struct tx_insn *ti, int index);
/* mov reg, [operand] with 64 bits (or `opcode` of the one-byte map) */
/* u = FOLD_OFF where a is a kernel address, else 0. */
void tx_fold_select(struct tx *t, int u, int a);
void tx_load_operand(struct tx *t, const struct tx_insn *ti, int reg);
/* Physical address of the instruction, which sites are known by. */
u64 tx_site(const struct tx *t, const struct tx_insn *ti);
/* reg = guest address of the operand; the instruction with its operand at [base]. */
void tx_operand_address(struct tx *t, const struct tx_insn *ti, int reg);
void tx_on_base(struct tx *t, const struct tx_insn *ti, int base);
/* To a gate of entry.S, which comes back to `back` behind GATE_BYTES of code, or to a jump before that. */
void tx_to_gate(struct tx *t, const u8 *gate, const u8 *back);
#define GATE_BYTES (12 + 12 + 5)
#define JMP_BYTES 5
/* soft.c: accesses of user code through the software TLB. */
bool tx_is_soft(const struct tx *t, const struct tx_insn *ti);
void tx_soft(struct tx *t, const struct tx_insn *ti);
void tx_string(struct tx *t, const struct tx_insn *ti);
void tx_xsave(struct tx *t, const struct tx_insn *ti);
void tx_moffs(struct tx *t, const struct tx_insn *ti);
/* system.c: what of the privileged instructions has an expansion; false: it must go through C. */
bool tx_system(struct tx *t, const struct tx_insn *ti, int index);
/* ModRM, SIB and displacement of [base + index*scale + disp]; base is not RIP. */
void tx_operand(struct emit *e, int reg, int base, int index, int scale, s32 disp);
/* The encoding prefix and opcode with new R, X, B bits. */
void tx_opcode(struct emit *e, const struct tx_insn *ti, int reg, int x, int b);
/* compat.c: all of a block of 32-bit code. */
void compat_emit(struct tx *t);
bool tx_flags_dead(const struct tx *t, int index);

#endif
