/* SPDX-License-Identifier: MIT
 * Instruction decoder: length, layout, operands and class of one x86 instruction.
 *
 * Table driven and freestanding (no libc, no vector registers, no allocation): it runs inside the
 * monitor on hostile bytes.  It never reads beyond `avail`.  Source: Intel SDM volume 2 (chapters 2
 * and appendix A), AMD APM volume 3. */
#ifndef PENUMBRA_X86_DECODE_H
#define PENUMBRA_X86_DECODE_H

#include "base/types.h"

#define INSN_MAX 15

/* General register numbers are the architecture's: RAX 0, RCX 1, RDX 2, RBX 3, RSP 4, ... R15 15. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
#define REG_RIP 16
#define REG_NONE 0xff

enum insn_mode { MODE_64, MODE_32 /* compatibility mode with 32-bit code segment */, MODE_16 };

enum insn_map { MAP_1B, MAP_0F, MAP_0F38, MAP_0F3A, MAP_5, MAP_6, MAP_XOP8, MAP_XOP9, MAP_XOPA };
enum insn_enc { ENC_LEGACY, ENC_VEX, ENC_EVEX, ENC_XOP };
enum insn_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_NONE = 0xff };

/* What a translator must do with it.  Everything that touches nothing but general, vector, mask and
 * x87 registers, flags, and at most one ModRM memory operand, is IC_PLAIN. */
enum insn_class {
	IC_INVALID,     /* not an instruction in this mode: #UD */
	IC_PLAIN,
	IC_JMP,         /* E9 EB: imm is the displacement */
	IC_JCC,         /* 70-7F, 0F 80-8F: cond in op & 15 */
	IC_LOOP,        /* E0 LOOPNE, E1 LOOPE, E2 LOOP, E3 JRCXZ/JECXZ */
	IC_CALL,        /* E8 */
	IC_RET,         /* C3, C2 (imm = bytes to release) */
	IC_JMP_IND,     /* FF /4 */
	IC_CALL_IND,    /* FF /2 */
	IC_JMP_FAR,     /* EA (32-bit only), FF /5 */
	IC_CALL_FAR,    /* 9A (32-bit only), FF /3 */
	IC_RETF,        /* CA CB */
	IC_IRET,        /* CF */
	IC_INT,         /* CD imm8 */
	IC_INT3, IC_INT1, IC_INTO,
	IC_SYSCALL, IC_SYSRET, /* in every mode: outside 64-bit mode only AMD processors have them */
	IC_SYSENTER, IC_SYSEXIT,
	IC_PUSH,        /* 50-57, FF /6, 68, 6A */
	IC_POP,         /* 58-5F, 8F /0 */
	IC_PUSHA, IC_POPA,
	IC_PUSHF, IC_POPF,
	IC_PUSH_SEG, IC_POP_SEG,
	IC_ENTER, IC_LEAVE,
	IC_MOVS, IC_STOS, IC_LODS, IC_CMPS, IC_SCAS, /* rep/repne in insn.rep */
	IC_INS, IC_OUTS,
	IC_IN, IC_OUT,
	IC_XLAT,
	IC_MASKMOV,     /* MASKMOVQ, (V)MASKMOVDQU: implicit [rDI] */
	IC_MOV_FROM_SEG, /* 8C */
	IC_MOV_TO_SEG,  /* 8E */
	IC_LOAD_FAR,    /* LDS LES LSS LFS LGS */
	IC_MOFFS,       /* A0-A3: address in disp (64 bits in 64-bit mode) */
	IC_CLI, IC_STI, IC_STAC, IC_CLAC,
	IC_HLT, IC_CLTS, IC_LMSW, IC_SMSW,
	IC_LGDT, IC_LIDT, IC_SGDT, IC_SIDT, IC_LLDT, IC_LTR, IC_SLDT, IC_STR,
	IC_LAR, IC_LSL, IC_VERR, IC_VERW, IC_ARPL,
	IC_MOV_FROM_CR, IC_MOV_TO_CR, IC_MOV_FROM_DR, IC_MOV_TO_DR,
	IC_RDMSR, IC_WRMSR, IC_RDPMC, IC_RDTSC, IC_RDTSCP, IC_RDPID, IC_CPUID,
	IC_INVLPG, IC_INVPCID, IC_INVD, IC_WBINVD, IC_INVLPGB, IC_TLBSYNC,
	IC_SWAPGS, IC_RDFSBASE, IC_RDGSBASE, IC_WRFSBASE, IC_WRGSBASE,
	IC_XSAVE,       /* XSAVE, XSAVEC, XSAVEOPT (reg field / op tell which) */
	IC_XSAVES, IC_XRSTOR, IC_XRSTORS, IC_XGETBV, IC_XSETBV,
	IC_RDPKRU, IC_WRPKRU,
	IC_MONITOR, IC_MWAIT, IC_MONITORX, IC_MWAITX,
	IC_XBEGIN, IC_XABORT, IC_XEND, IC_XTEST,
	IC_VMX,         /* VMX, SVM, SMX, SGX, TDX, SEAM, PCONFIG, RSM, UINTR, key locker, ENQCMD(S) ...:
	                 * whatever a guest of ours is never offered: #UD */
	IC_VMCALL,      /* VMCALL, VMMCALL */
	IC_CET,         /* shadow-stack instructions that are not NOPs when CET is off; ENDBR and RDSSP are PLAIN */
	IC_CLZERO,      /* implicit cache line at [rAX], with the segment override */
	IC_MOVDIR64B,   /* reads the ModRM operand; implicit destination ES:[reg] of address size */
	IC_COUNT
};

/* Status flag bits as they lie in RFLAGS. */
#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_DF 0x400u
#define FLAG_OF 0x800u
#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

struct insn {
	u8 len;                  /* bytes, 1..15 */
	u8 klass;                /* enum insn_class */
	u8 map, enc;
	u8 op;                   /* opcode byte within the map */
	u8 pp;                   /* mandatory prefix of VEX/EVEX/XOP: 0 none, 1 66, 2 F3, 3 F2 */
	u8 vl;                   /* VEX/EVEX: 0 = 128, 1 = 256, 2 = 512 */
	u8 vvvv;                 /* VEX/EVEX: register (0-31, already un-inverted), else 0 */
	u8 off_enc;              /* offset of REX, VEX, EVEX or XOP prefix; where none, of the opcode (or 0F escape) */
	u8 off_opcode;           /* offset of the last opcode byte */
	u8 off_modrm;            /* 0: no ModRM */
	u8 off_sib;              /* 0: no SIB */
	u8 off_disp, disp_size;  /* size 0: none; moffs: 2, 4 or 8 */
	u8 off_imm, imm_size;    /* all immediate bytes together (ENTER: 3; EXTRQ/INSERTQ: 2) */
	u8 modrm, sib;
	u8 rex;                  /* legacy REX byte or 0; for VEX/EVEX/XOP: 0x40|W|R|X|B equivalent */
	u8 osize;                /* operand size 1, 2, 4, 8 of the general-register form (after 66, REX.W, defaults to 64 for stack and near branches) */
	u8 asize;                /* address size 2, 4, 8 */
	u8 seg;                  /* effective segment override prefix present: SEG_* or SEG_NONE.  In 64-bit mode only FS and GS count; others are ignored (but still in the bytes) */
	u8 rep;                  /* 0, 0xF2, 0xF3: last one present, also where it is a mandatory prefix */
	u8 lock;                 /* F0 present */
	u8 opsize_prefix;        /* 66 present */
	u8 addrsize_prefix;      /* 67 present */
	u8 nprefix;              /* legacy prefix bytes before off_enc */
	u8 mod, reg, rm;         /* ModRM fields, reg and rm extended by REX/VEX/EVEX (0-15; vector 0-31 for EVEX) */
	bool has_mem;            /* the ModRM names memory (for LEA and multi-byte NOP too: see mem_*) */
	bool mem_read, mem_write;/* it is really accessed so (LEA, NOP, prefetch, CLFLUSH*, INVLPG: neither... CLFLUSH reads) */
	bool vsib;               /* gather or scatter: index is a vector register */
	u8 mem_size;             /* bytes accessed where fixed and known, else 0 (FXSAVE, XSAVE, gathers, unknown) */
	u8 base, index, scale;   /* of the memory operand: REG_NONE, 0-15, base may be REG_RIP; scale 1, 2, 4, 8 */
	u8 base_seg_ss;          /* 1: default segment is SS (base is RSP or RBP): non-canonical gives #SS */
	s64 disp;                /* sign-extended; EVEX disp8*N already multiplied */
	s64 imm;                 /* sign-extended as the instruction uses it (branches: the displacement); first immediate where there are two, the second in imm2 */
	u8 imm2;
	bool byte_reg_high;      /* an operand is AH, CH, DH or BH (no REX can be added) */
	bool privileged;         /* #GP at CPL 3 whatever the operands */
	/* Conservative sets for liveness: what may be read, what is surely written in whole
	 * (32-bit and 64-bit destinations, unconditionally).  Unknown forms: read everything, write nothing. */
	u16 reg_read, reg_write;
	u16 reg_touch;           /* registers named explicitly or implicitly in any way; a scratch must avoid them */
	u16 flags_read, flags_write; /* FLAG_*; write = surely set or left undefined */
	u16 selector;            /* far pointer (9A, EA): the selector; imm is the offset, zero-extended */
	bool ends_block;         /* control does not always fall through (branches, calls, returns, INT, HLT, SYSCALL, UD ...) */
};

/* Decodes one instruction from at most `avail` bytes (more than 15 are not looked at).
 * Returns 0; -1 where the bytes end before the instruction does (avail < 15: fetch more, or page fault);
 * -2 where it is longer than 15 bytes (#GP).  An undefined opcode returns 0 with klass IC_INVALID, and len
 * is what was consumed. */
int insn_decode(struct insn *in, const u8 *bytes, size_t avail, enum insn_mode mode);

/* Name of an instruction class, for dumps and counters: "plain", "jcc", ... */
const char *insn_class_name(enum insn_class klass);

#endif
