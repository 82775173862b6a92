/* SPDX-License-Identifier: MIT
 * The architectural state of one vCPU: one format for every accelerator, for save and restore.
 *
 * Vector and x87 state is kept apart (struct cpu_xstate), since the translator leaves it live in the
 * host's registers.  Freestanding. */
#ifndef PENUMBRA_X86_CPU_H
#define PENUMBRA_X86_CPU_H

#include "base/types.h"
#include "x86/decode.h"

struct cpu_seg {
	u64 base;
	u32 limit;     /* in bytes, granularity applied */
	u16 sel;
	u16 attr;      /* descriptor bits 40-55: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15 */
};
#define ATTR_TYPE(a) ((a) & 15)
#define ATTR_S 0x10
#define ATTR_DPL(a) (((a) >> 5) & 3)
#define ATTR_P 0x80
#define ATTR_L 0x2000
#define ATTR_DB 0x4000
#define ATTR_G 0x8000

struct cpu_table { u64 base; u16 limit; };

/* RFLAGS */
#define RF_CF 0x1ull
#define RF_FIXED 0x2ull
#define RF_TF 0x100ull
#define RF_IF 0x200ull
#define RF_DF 0x400ull
#define RF_IOPL 0x3000ull
#define RF_NT 0x4000ull
#define RF_RF 0x10000ull
#define RF_VM 0x20000ull
#define RF_AC 0x40000ull
#define RF_VIF 0x80000ull
#define RF_VIP 0x100000ull
#define RF_ID 0x200000ull

/* Exception vectors */
enum { VEC_DE, VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD, VEC_NM, VEC_DF, VEC_CSO, VEC_TS, VEC_NP,
       VEC_SS, VEC_GP, VEC_PF, VEC_15, VEC_MF, VEC_AC, VEC_MC, VEC_XM, VEC_VE, VEC_CP };

/* Page-fault error code */
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 16u
#define PF_PK 32u

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCE BIT(8)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_LA57 BIT(12)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE BIT(22)
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NX BIT(11)
#define EFER_AIBRSE BIT(21)

struct cpu_exception {
	u8 pending;    /* 1: deliver `vector` */
	u8 vector;
	u8 has_error;
	u8 soft;       /* INT n, INT3, INTO: DPL check, RIP after the instruction */
	u32 error;
	u64 cr2;       /* VEC_PF only */
	u64 dr6;       /* VEC_DB only: bits to set */
};

struct cpu {
	u64 gpr[16];
	u64 rip;
	u64 rflags;            /* the guest's own: IF, TF, IOPL, NT, AC virtual */
	struct cpu_seg seg[6]; /* indexed by enum insn_seg */
	struct cpu_seg ldt, tr;
	struct cpu_table gdt, idt;
	u64 cr0, cr2, cr3, cr4, cr8;
	u64 xcr0, xss;
	u64 efer, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, misc_enable, tsc_aux, tsc_offset /* guest = host + offset */, spec_ctrl, debugctl;
	u64 apic_base;
	u64 kvm_system_time, kvm_wall_clock, kvm_async_pf, kvm_steal_time, kvm_pv_eoi, kvm_poll;
	u64 mtrr_def, mtrr_fix[11], mtrr_base[8], mtrr_mask[8];
	u64 dr[8];             /* 0-3, 6, 7 */
	struct cpu_exception exc;
	u8 cpl;
	u8 halted;             /* HLT executed; woken by an interrupt */
	u8 sti_shadow;         /* the instruction after STI or MOV SS has not yet completed */
	u8 nmi_masked;         /* between NMI delivery and IRET */
	u8 nmi_pending;
	u8 shutdown;           /* triple fault */
	u8 wait_startup;       /* after INIT: until a start-up message comes */
	u8 pad;
	u64 apic_id;           /* of the local APIC, as CPUID tells it */
	u64 tsc_adjust;        /* IA32_TSC_ADJUST: what writes to it and to the TSC have added to tsc_offset */
};

#endif
