/* SPDX-License-Identifier: MIT
 * The optimising tier's passes: one row each.  A bit in struct opt_request says which are on; all of them can
 * be switched off alone, and any combination gives a correct region.
 *
 * name, default, what it does */
#ifndef PENUMBRA_OPTIMISE_PASSES_H
#define PENUMBRA_OPTIMISE_PASSES_H

#define OPT_PASSES(X) \
	X(calls,    1, "follow direct calls and their returns into the region") \
	X(indirect, 1, "follow indirect jumps and calls to the targets seen, behind a compare") \
	X(returns,  1, "leave out the compare of a return address that is known to be unchanged") \
	X(copies,   1, "moves between registers cost nothing: the copy is read where it came from") \
	X(constants,1, "constants are known, and used as immediates") \
	X(address,  1, "address arithmetic becomes part of memory operands") \
	X(stack,    1, "pushes, pops and frame set-up leave the stack pointer alone") \
	X(slots,    1, "stack slots have a copy in a free register; all stores stay") \
	X(flags,    1, "compares are done where they are used, flags nobody reads are not computed") \
	X(alias,    1, "a store to an unknown address is compared with the frame, so that slots survive it") \
	X(layout,   1, "the likely way falls through") \
	X(align,    1, "heads of loops are aligned")

enum opt_pass_number {
#define OPT_PASS_NUMBER(name, on, text) OPT_##name,
	OPT_PASSES(OPT_PASS_NUMBER)
	OPT_PASS_COUNT
};
#define OPT_BIT(name) (1u << OPT_##name)
#define OPT_ALL ((1u << OPT_PASS_COUNT) - 1)

#endif
