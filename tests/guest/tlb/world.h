/* SPDX-License-Identifier: MIT
 * The machine under the TLB test: serial port, fixed mappings, control registers, and accesses that may fault.
 *
 * One processor, interrupts off. */
#ifndef TESTS_GUEST_TLB_WORLD_H
#define TESTS_GUEST_TLB_WORLD_H

#include "base/types.h"

#define VIRT 0xfffff00000000000ull      /* the first GiB, in large global pages: everything else lies in it */
#define PHYS(p) ((u64)(p) - VIRT)
#define DIRECT(pa) ((void *)(VIRT + (pa)))

/* The entries of a root for these lie where accesses under test never write: below 0x100 and from 0xf00 to 0xfe0.
 * Where frame 0 begins in the aliases of the frames under test; frame n lies n pages further. */
#define ALIAS_UPPER 0xfffff08000000000ull
#define ALIAS_USER 0x28000000000ull
#define ALIAS_LOWER 0x30000000000ull    /* supervisor's, in the lower half; not in every epoch */
#define USER_CODE (ALIAS_USER + 0x80000)
#define USER_STACK (ALIAS_USER + 0x90000)

/* What the processor has, and what the command line leaves of it. */
struct features { bool pcid, invpcid, smep, smap, pge, nx, gigabyte; u32 physical_bits; };
extern struct features features;

/* ---- output ---- */
void text(const char *s);
void number(u64 v);     /* hexadecimal, without leading zeros */
void decimal(u64 v);
_Noreturn void machine_end(u32 status); /* exit status status * 2 + 1 */

/* ---- accesses ---- */
struct run {
	u64 function, va, operand, expected, rflags;
	u64 user_stack; /* 0: at CPL 0 */
};
u64 run_access(const struct run *r);
extern u64 trapped[4];  /* vector (~0: none), error code, CR2, RIP */
extern u64 access_high; /* RDX at its end */
extern u8 access_begin[], access_user_end[], access_end_of_all[];
#define NO_TRAP (~0ull)
/* Runs one of the access functions. */
u64 access_run(void *function, u64 va, u64 operand, u64 expected, bool user, bool ac);
/* From CPL 3 by UD2 instead of SYSCALL. */
void access_end_by_trap(void);

/* ---- set-up ---- */
void world_begin(void);
/* The fixed part of the root tables, which lie in `roots` frames. */
void world_roots(const u64 *pa, int n, bool lower);

/* ---- control ---- */
void set_cr3(u64 v);
void set_wp(bool on);
void set_cr4(u64 bits, bool on);
void set_nxe(bool on);
void invlpg(u64 va);
void invpcid(u64 type, u64 pcid, u64 va);
u64 timestamp(void);

#endif
