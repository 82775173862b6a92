/* SPDX-License-Identifier: MIT
 * Where everything lies in a carrier's host address space, and what the spill pages hold.
 *
 * Guest user addresses are mapped at the identical host address; guest kernel addresses are folded:
 * host = guest + FOLD_OFF (mod 2^64).  Host GS base is FOLD_OFF in both worlds, so that a GS override
 * folds a kernel address, and gs:[disp32] reaches the spill area and the monitor from any code.
 * Host FS base is the guest's FS base in user mode and the folded guest GS base in kernel mode.
 *
 *   0 .. 4 TiB                    guest user only
 *   4 TiB .. 124 TiB              guest user, and folded guest kernel (protection keys tell them apart)
 *   FOLD_OFF - 2 MiB              spill area: no Linux maps anything at the last 2 MiB of the kernel half
 *   FOLD_OFF .. + 2 GiB           targets of jumps (guest code reads them), monitor, shared state, code cache
 *                                 (never accessible to guest code)
 *   RAM_BASE                      all of guest RAM, for the monitor
 *
 * Included by assembly. */
#ifndef PENUMBRA_X86_LAYOUT_H
#define PENUMBRA_X86_LAYOUT_H

#define FOLD_OFF 0x7c0000000000 /* unsigned, also in assembly */

/* `penumbra exec` (src/exec, compiled with PENUMBRA_EXEC) has the user world only: GS base is the thread's own
 * area, which begins with its spill page, and the code cache lies near the program (exec/layout.h). */
#ifdef PENUMBRA_EXEC
#define EXEC 1
#define SPILL_DISP 0
#define EXEC_CODE 0x50000000
#else
#define EXEC 0
#define SPILL_DISP (-0x200000)
#endif
#define SPILL_U_DISP SPILL_DISP             /* key S: user world's spill page */
#define SPILL_K_DISP (SPILL_DISP + 0x1000)  /* key K: kernel world's */
#define CONST_DISP (SPILL_DISP + 0x2000)    /* key T: constants that guest code may read, not write */
#define SPILL_PAGES 0x3000
#define KLOOKUP_DISP (SPILL_DISP + 0x150000)
#define KLOOKUP_BITS 15
/* A byte for each table page that may be watched, by the low bits of its number: shared, as KLOOKUP, behind which it lies. */
#define TABLES_DISP (KLOOKUP_DISP + 0x40000)
#define TABLES_SIZE 0x8000
#define TABLES_INDEX_MASK 0x7fff000ull /* of an address */
/* Indirect targets of code that runs while the x87 and vector units are guarded (TM_GUARDED): the kernel's, behind TABLES. */
#define KGUARDED_DISP (TABLES_DISP + TABLES_SIZE)
#define GUARDED_BITS 10
#define SPILL_AREA_SIZE 0x190000
/* One byte for each page of the guest's user half, by the low bits of its number: 0 where a page is mapped
 * writable, as far as is known; key T, per carrier. */
#define PROBE_DISP (SPILL_DISP + 0x1e0000)
#define PROBE_SIZE 0x8000
#define PROBE_MASK TABLES_INDEX_MASK /* of an address: what chooses its byte */
#define UGUARDED_DISP (PROBE_DISP + PROBE_SIZE) /* as KGUARDED for user code, per carrier */
#define PROBE_AREA (PROBE_SIZE + (8 << GUARDED_BITS))

/* Key T, per carrier: targets of cross-page user jumps; indirect targets in user code by the low bits of an address, each a
 * stub that checks it; and by a hash what found no place there (struct second_target). */
#define SLOT_DISP 0x8000000
#define SLOT_MAX 262144
#define ULOOKUP_DISP (SLOT_DISP + 8 * SLOT_MAX)
#define ULOOKUP_BITS 16
#define USECOND_DISP (ULOOKUP_DISP + (8 << ULOOKUP_BITS))
#define USECOND_BITS 14
#define JUMPS_SIZE (USECOND_DISP + (16 << USECOND_BITS) - SLOT_DISP) /* from SLOT_DISP on */

#define MONITOR_DISP 0x10000000
#define VCPU_DISP 0x18000000 /* the area of the carrier's own vCPU: its state, and its spill pages once more */
#define VCPU_AREA 0x3c0000
#define VCPU_LOG 0x3b3000   /* offsets in the area: struct table_log, */
#define VCPU_COUNT 0x3bc000 /* counters of the shadow page tables, */
#define VCPU_SPILL 0x3bd000 /* the spill pages */
#define SHARED_DISP 0x20000000
#define OFF_FRAMES 0x400000   /* in the shared mapping: monitor/frames.c, a byte a page of RAM first */
#define OFF_VCPUS 0x1c000000 /* in the shared mapping: VCPU_AREA for each vCPU */
#define SHARED_MAX 0x20000000
#define CODE_DISP 0x40000000
#define CODE_SIZE 0x10000000 /* hot and cold halves */
#define COLD_DISP (CODE_DISP + CODE_SIZE / 2)
#define PRIVATE_DISP 0x60000000 /* per carrier */
#define PRIVATE_SIZE 0x10000000
/* What to add to an address to reach its host page, one word for each GiB of guest addresses. */
#define FOLDS_DISP 0x70000000 /* key F: guest kernel code may read it, guest user code may not */
#define FOLDS_SIZE 0x200000
#define RAM_DISP 0x1000000000

/* Offsets in struct spill (checked against the struct in state.h). */
#define SP_REG 0x00
#define SP_EXIT 0x80
#define SP_TARGET 0x88
#define SP_STR_SRC 0x90
#define SP_STR_DST 0x98
#define SP_VIF 0xa0
#define SP_VAC 0xa8
#define SP_PENDING 0xb0
#define SP_GS_BASE 0xb8
#define SP_PAUSES 0xd8 /* PAUSEs until the host may run something else */
#define SP_FOREIGN 0xe0 /* kernel: 1 where the user half is another carrier's, which is not switched to yet */
#define SP_SAVE 0xc0 /* rax, rcx, rdx across WRPKRU */
/* Kernel spill page only: what inline system calls change behind the monitor's back. */
#define SP_LIVE_FS 0x100     /* guest FS base (the user's) */
#define SP_LIVE_GS 0x108     /* current GS base */
#define SP_LIVE_KGS 0x110    /* KERNEL_GS_BASE */
#define SP_CROSSED 0x118     /* SYSCALL or SYSRET ran inline: CS and SS are STAR's */
#define SP_SEL 0x120         /* selectors, 8 bytes each, in the order of enum insn_seg */
#define SP_CR2 0x150
#define SP_TABLE 0x158       /* checked stores: the address, then where it is to be written */
#define SP_TABLE_RETURN 0x160
#define SP_TABLE_FLAGS 0x168
#define SP_TABLE_R8 0x170
/* User's too: SP_TABLE, SP_TABLE_RETURN and SP_TABLE_FLAGS for accesses through the software TLB, and */
#define SP_SOFT_LAST 0x178   /* length of the operand - 1 */
#define SPILL_U_STACK (SPILL_U_DISP + 0xf00) /* a few words for PUSHFQ in the user world */
/* In struct constants. */
#define CN_FOLD 0x00
#define CN_FOLD_INDEX 0x08
#define CN_HASH_MASK 0x10
#define CN_XCR0 0x18
#define CN_TSC_AUX 0x20
#define CN_SYSCALL 0x28  /* where SYSCALL and SYSRET go: the fast gates, or the way through C */
#define CN_SYSRET 0x30
#define CN_IRET 0x48
#define CN_KERNEL_CS 0x50 /* selectors that SYSCALL loads */
#define CN_KERNEL_SS 0x58
#define CN_TARGET_MASK 0x60 /* index bits of ULOOKUP, USECOND */
#define CN_SECOND_MASK 0x68
#define CN_PKRU_ACCESS 0x40 /* what STAC opens */
#define CN_TABLES 0x70   /* mask: the bits of an address that choose its byte in TABLES */
#define CN_GUARDED_MASK 0x78 /* index bits of UGUARDED and KGUARDED */
#define CN_LSTAR 0x38    /* host address of the block at LSTAR */

/* Offsets in a vCPU's state (checked in state.h). */
#define VC_GPR 0x00
#define VC_HOST_FLAGS 0x80
#define VC_PKRU 0x88
#define VC_WORLD 0x8c /* 0 kernel, 1 user: which world was left */
#define STACK_TOP_DISP (PRIVATE_DISP + 0x40000)
#define ALTSTACK_DISP (PRIVATE_DISP + 0x40000)
#define ALTSTACK_SIZE 0x40000
#define CARRIER_DISP (PRIVATE_DISP + 0x80000)
/* The software TLB (shadow/soft.c): SOFT_ENTRY bytes for each place, which the low bits of a page's number choose. */
#define SOFT_DISP (PRIVATE_DISP + 0x8000000)
#define SOFT_BITS 17
#define SOFT_ENTRY 16
#define SOFT_SIZE (SOFT_ENTRY << SOFT_BITS)
/* At the head of struct space: what checked stores need. */
#define SG_VA 0
#define SG_LENGTH 8
#define SG_RAM 16
#define SG_OFFSET 24
#define SG_PKRU 32
#define SG_SOFT 40
/* In struct table_log. */
#define TL_ENTRY 8
#define TL_GATE 0x8008
#define TL_SIZE 4096
#define SC_TABLE_STORES 64   /* in struct shadow_counters */
/* Where an open alternate stack's signal frames move before they are looked at (MON_OPEN_STACK). */
#define FRAME_MOVE 0xf000000
#define UC_FPSTATE 224 /* offset in struct ucontext */

#define EXIT_LOOKUP 0xffffffff /* an indirect branch whose target is in RCX */

#ifndef __ASSEMBLER__
#include "base/types.h"

#define HOST(disp) ((void *)((u64)FOLD_OFF + (u64)(s64)(disp)))
#ifdef PENUMBRA_EXEC
#define CODE_BASE ((u8 *)EXEC_CODE)
#else
#define CODE_BASE ((u8 *)HOST(CODE_DISP))
#endif
#define RAM_BASE ((u8 *)HOST(RAM_DISP))

struct spill {
	u64 reg[16];      /* a scratch register's guest value, while it is borrowed */
	u64 exit;         /* which exit was taken */
	u64 target;       /* host address at which to resume */
	u64 str_src, str_dst; /* what to add to host RSI, RDI inside a folded string instruction */
	u64 vif;          /* 0: guest IF is set; -0x200: clear */
	u64 vac;          /* guest AC: 0 or 0x40000 */
	u64 pending;      /* non-zero: an event waits for IF */
	u64 gs_base;      /* guest GS base in user mode */
	u64 save[3];
	u64 pauses;
	u64 foreign;
	u64 pad[3];
	u64 live_fs, live_gs, live_kgs, crossed;
	u64 sel[6];
	u64 cr2;
	u64 table, table_return, table_flags, table_r8;
	u64 soft_last;
};
/* The guest address with the opposite sign (0: free), and where its translation is. */
struct second_target { u64 minus, host; };
struct constants {
	u64 fold;           /* mask: FOLD_OFF */
	u64 fold_index;     /* mask: the bits of an address that choose its word in FOLDS */
	u64 hash_mask;      /* index bits of KLOOKUP */
	u64 xcr0;           /* the guest's */
	u64 tsc_aux;
	u64 syscall_gate, sysret_gate, lstar_entry;
	u64 pkru_access;
	u64 iret_gate;
	u64 kernel_cs, kernel_ss;
	u64 target_mask, second_mask;
	u64 tables;
	u64 guarded_mask;
};
_Static_assert(offsetof(struct spill, exit) == SP_EXIT, "spill");
_Static_assert(offsetof(struct spill, vif) == SP_VIF, "spill");
_Static_assert(offsetof(struct spill, gs_base) == SP_GS_BASE, "spill");
_Static_assert(offsetof(struct spill, pauses) == SP_PAUSES, "spill");
_Static_assert(offsetof(struct spill, foreign) == SP_FOREIGN, "spill");
_Static_assert(offsetof(struct spill, live_fs) == SP_LIVE_FS, "spill");
_Static_assert(offsetof(struct spill, sel) == SP_SEL, "spill");
_Static_assert(offsetof(struct spill, cr2) == SP_CR2, "spill");
_Static_assert(offsetof(struct spill, table) == SP_TABLE, "spill");
_Static_assert(offsetof(struct spill, table_r8) == SP_TABLE_R8, "spill");
_Static_assert(offsetof(struct spill, soft_last) == SP_SOFT_LAST, "spill");
_Static_assert(offsetof(struct constants, tables) == CN_TABLES, "constants");
_Static_assert(offsetof(struct constants, guarded_mask) == CN_GUARDED_MASK, "constants");
_Static_assert(offsetof(struct constants, lstar_entry) == CN_LSTAR, "constants");
_Static_assert(offsetof(struct constants, kernel_ss) == CN_KERNEL_SS, "constants");
_Static_assert(offsetof(struct constants, second_mask) == CN_SECOND_MASK, "constants");
_Static_assert(offsetof(struct constants, iret_gate) == CN_IRET, "constants");
_Static_assert(offsetof(struct constants, pkru_access) == CN_PKRU_ACCESS, "constants");
_Static_assert(offsetof(struct constants, xcr0) == CN_XCR0, "constants");
_Static_assert(offsetof(struct spill, save) == SP_SAVE, "spill");

#define SPILL_U ((volatile struct spill *)HOST(SPILL_U_DISP))
#define SPILL_K ((volatile struct spill *)HOST(SPILL_K_DISP))
#define CONSTANTS ((struct constants *)HOST(CONST_DISP))
#define SLOTS ((u64 *)HOST(SLOT_DISP))
#define FOLDS ((u64 *)HOST(FOLDS_DISP))
#define FOLD_BAD (1ull << 62) /* makes any address non-canonical */
#define FOLD_INDEX_MASK 0xffffc0000000ull
#define FOLD_INDEX(a) ((a) >> 30 & 0x3ffff)
#define ULOOKUP ((u64 *)HOST(ULOOKUP_DISP))
#define USECOND ((struct second_target *)HOST(USECOND_DISP))
#define KLOOKUP ((u64 *)HOST(KLOOKUP_DISP))
#define KGUARDED ((u64 *)HOST(KGUARDED_DISP))
#define UGUARDED ((u64 *)HOST(UGUARDED_DISP))
#define TABLES ((u8 *)HOST(TABLES_DISP))
#define PROBES ((u8 *)HOST(PROBE_DISP))
#define PROBE_INDEX(a) (((a) & PROBE_MASK) >> 12)

static inline bool is_kernel_half(u64 a) { return (s64)a < 0; }
static inline u64 fold(u64 a) { return is_kernel_half(a) ? a + FOLD_OFF : a; }
#endif

#endif
