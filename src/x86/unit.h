/* SPDX-License-Identifier: MIT
 * Which unit of the processor an instruction needs, and whether the guest has it switched off: the availability checks
 * that come before anything else that an x87 or vector instruction does.
 *
 * Freestanding, no state.  Source: Intel SDM volume 3, 2.5 (CR0), tables 2-2, 13-1 and 22-1; volume 1, 13.7 to 13.12. */
#ifndef PENUMBRA_X86_UNIT_H
#define PENUMBRA_X86_UNIT_H

#include "x86/cpu.h"

enum insn_unit {
	UNIT_NONE,   /* general registers, and what looks like a vector instruction but is none: fences, prefetches, CRC32 */
	UNIT_X87,
	UNIT_WAIT,   /* FWAIT */
	UNIT_FXSAVE, /* FXSAVE, FXRSTOR */
	UNIT_MMX,
	UNIT_SSE,
	UNIT_AVX,    /* all of VEX, EVEX and XOP that touches vector or mask registers */
	UNIT_XSAVE,  /* the whole family */
};

enum insn_unit insn_unit(const struct insn *in);

/* CR0.TS or CR0.EM is set: each instruction with a unit has to be looked at before it runs. */
static inline bool unit_guarded(const struct cpu *c) { return c->cr0 & (CR0_TS | CR0_EM); }

/* The exception that the instruction raises because of CR0, CR4 and XCR0, VEC_UD or VEC_NM; -1: none. */
int unit_fault(const struct cpu *c, const struct insn *in);

#endif
