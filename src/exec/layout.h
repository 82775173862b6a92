/* SPDX-License-Identifier: MIT
 * Where everything lies in a process of `penumbra exec`.  Included by assembly.
 *
 *   0x00010000 ..               programs linked at a fixed address
 *   0x10000000 .. 0x50000000    what the runtime places: program, interpreter, libraries, JIT code
 *   0x50000000 .. 0x60000000    code cache, hot half and cold half (x86/layout.h)
 *   0x60000000 ..               the runtime, and behind it the program's brk area
 *   0x80000000 .. 0x300000000   targets: host address for each guest code address below 0x50000000
 *   0x300000000 ..              block records
 *   0x400000000 ..              thread areas
 *
 * Code in the low 2 GiB is what makes translations short: RIP-relative operands stay so, a return address is
 * pushed as an immediate, and an indirect branch is one jump through the targets. */
#ifndef PENUMBRA_EXEC_LAYOUT_H
#define PENUMBRA_EXEC_LAYOUT_H

#include "x86/layout.h"

#define LOW_BEGIN 0x10000000
#define LOW_END 0x50000000
#define RUNTIME_BASE 0x60000000 /* mk/exec.mk links it there */
#define RUNTIME_END 0x64000000
#define TARGETS_DISP 0x7fff0000 /* [8 * guest address + this] */
#define TARGETS_BEGIN 0x80000000
#define TARGETS_END 0x300000000
#define CACHE_BASE 0x300000000
#define AREAS_BASE 0x400000000
#define AREA_SIZE 0x100000
#define AREAS_MAX 32768
/* AREAS_MAX areas */
#define AREAS_END (AREAS_BASE + 0x800000000)

/* A thread's area, at its GS base: the spill page, struct thread, saved vector state, stack of the
 * runtime, alternate signal stack. */
#define AREA_THREAD 0x1000
#define AREA_VECTORS 0x4000
#define AREA_VECTORS_SIZE 0x4000
#define AREA_STACK_TOP 0x20000
#define AREA_ALTSTACK 0x20000
#define AREA_ALTSTACK_SIZE 0x20000
#define AREA_MAPPED 0x40000

/* Offsets in struct thread (checked in exec.h), from GS base. */
#define T_GPR (AREA_THREAD + 0x00)
#define T_RIP (AREA_THREAD + 0x80)
#define T_FLAGS (AREA_THREAD + 0x88)
#define T_STACK (AREA_THREAD + 0x90)
#define T_PENDING (AREA_THREAD + 0x98)
#define T_TARGET (AREA_THREAD + 0xa0)

#define EXIT_RESUME 0xfffffffe /* all registers are the guest's, which goes on at resume_rip */

#define FAR_TARGETS 65536 /* hashed, for code outside the low 2 GiB */

#endif
