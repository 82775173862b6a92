/* SPDX-License-Identifier: MIT
 * Shared by the files that translate 32-bit user code, nobody else. */
#ifndef PENUMBRA_TRANSLATE_COMPAT_H
#define PENUMBRA_TRANSLATE_COMPAT_H

#include "translate/internal.h"

/* Scratch registers (invariant C2), beside those that translate/block.h names. */
#define CR_ADDRESS R8 /* an address under construction */
#define CR_VALUE R9

/* Where a memory operand lies in the host: [base + index*scale + disp] with 32-bit wrap-around. */
struct compat_operand {
	int base, index, scale; /* REG_NONE where there is none */
	s32 disp;
	bool verbatim;          /* ModRM, SIB and displacement of the guest's instruction say the same */
	int borrowed;           /* register to give back after the instruction, or REG_NONE */
};

/* Emits what must come before the access and says where the operand is. */
struct compat_operand compat_address(struct tx *t, const struct tx_insn *ti);
/* One instruction of ours: opcode `op` with a register and a memory operand, 32 bits or (half) 16. */
void compat_access(struct emit *e, bool half, u8 op, int reg, const struct compat_operand *o);
/* reg = 32-bit address of the operand. */
void compat_lea(struct emit *e, int reg, const struct compat_operand *o);
/* The guest's instruction, which means the same in 64-bit mode but for its memory operand. */
void compat_copy(struct tx *t, const struct tx_insn *ti);
/* An instruction with an implicit operand at [reg], in DS unless overridden. */
void compat_implicit(struct tx *t, const struct tx_insn *ti, int reg);
/* Legacy prefixes that keep their meaning. */
void compat_prefixes(struct emit *e, const struct tx_insn *ti, bool address32);
void compat_xsave(struct tx *t, const struct tx_insn *ti);

#endif
