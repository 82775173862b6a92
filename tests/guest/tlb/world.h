/* SPDX-License-Identifier: MIT
 * The machine under the TLB test: serial port, fixed mappings, control registers, and accesses that may fault.
 *
 * The first processor runs the test, with interrupts off.  What is done to control registers and the TLB, and accesses,
 * are orders that it carries out itself or has the second processor carry out (other.h), as `acting` says. */
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

/* ---- processors ---- */
#define PROCESSORS 2
/* Offsets are start.S's. */
struct processor {
	u64 saved_rsp;  /* 0: no access is under way */
	u64 trapped[4]; /* vector (~0: none), error code, CR2, RIP */
	u64 high;       /* RDX at its end */
	u64 value;      /* RAX */
	u64 unused;
};
extern struct processor processors[PROCESSORS];
extern bool serializing; /* there are several, so that code runs after a serializing instruction */
extern int acting;      /* who carries out what follows */
enum way { WAY_POLLED, WAY_INTERRUPT, WAYS };
extern enum way acting_way; /* how the second one is asked */

/* ---- orders ---- */
struct run {
	u64 function, va, operand, expected, rflags;
	u64 user_stack; /* 0: at CPL 0 */
};
enum order_kind { ORDER_RUN, ORDER_CR3, ORDER_WP, ORDER_CR4, ORDER_NXE, ORDER_INVLPG, ORDER_INVPCID };
struct order { enum order_kind kind; u64 a, b, c; struct run run; };
/* By the processor that calls. */
void order_do(const struct order *o);
/* Orders are noted, not carried out, until n of them (at most ORDERS) are given back. */
#define ORDERS 8
void orders_note(void);
u32 orders_noted(struct order list[ORDERS]);

/* ---- accesses ---- */
/* Its results are left in the struct processor. */
void run_access(const struct run *r);
extern u64 trapped[4], access_high; /* of the access whose result was taken last */
extern u8 access_begin[], access_user_end[], access_end_of_all[];
#define NO_TRAP (~0ull)
/* Runs one of the access functions. */
u64 access_run(void *function, u64 va, u64 operand, u64 expected, bool user, bool ac);
/* The same in two steps. */
struct order access_order(int processor, void *function, u64 va, u64 operand, u64 expected, bool user, bool ac);
u64 access_result(int processor);
/* From CPL 3 by UD2 instead of SYSCALL. */
void access_end_by_trap(void);

/* ---- set-up ---- */
void world_begin(void);
/* What each processor has of its own: descriptors, system calls. */
void processor_begin(int number);
#define VEC_MESSAGE 0x40
/* The fixed part of the root tables, which lie in `roots` frames. */
void world_roots(const u64 *pa, int n, bool lower);

/* ---- control, by the processor that acts ---- */
void set_cr3(u64 v);
void set_wp(bool on);
void set_cr4(u64 bits, bool on);
void set_nxe(bool on);
void invlpg(u64 va);
void invpcid(u64 type, u64 pcid, u64 va);
u64 timestamp(void);

#endif
