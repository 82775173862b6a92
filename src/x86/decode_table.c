/* SPDX-License-Identifier: MIT
 * One-byte opcodes, the integer and system part of the two-byte opcodes, and the opcode groups.
 * Source: SDM volume 2D, appendix A (tables ); AMD APM volume 3, appendix A.
 * The words are explained in decode_table.h.  Constant data: no owner, no lock. */
#include "x86/decode_table.h"

/* The eight arithmetic operations: m is the access to the destination, t that to the accumulator. */
#define ALU(b, fr, m, t, lock) \
	[b] = PF(Eb_##m | Gb_r | (lock), fr, F_ALL), \
	[(b) + 1] = PF(Ev_##m | Gv_r | (lock), fr, F_ALL), \
	[(b) + 2] = PF(Eb_r | Gb_##m, fr, F_ALL), \
	[(b) + 3] = PF(Ev_r | Gv_##m, fr, F_ALL), \
	[(b) + 4] = PR(Ibs | A_OS8 | FIXV, fr, F_ALL, r_AX, t), \
	[(b) + 5] = PR(Iz | FIXV, fr, F_ALL, r_AX, t)
/* One row for each of the sixteen conditions: f(flags read). */
#define CONDITIONS(b, f) \
	[b] = f(F_O), [(b) + 1] = f(F_O), [(b) + 2] = f(F_C), [(b) + 3] = f(F_C), \
	[(b) + 4] = f(F_Z), [(b) + 5] = f(F_Z), [(b) + 6] = f(F_C | F_Z), [(b) + 7] = f(F_C | F_Z), \
	[(b) + 8] = f(F_S), [(b) + 9] = f(F_S), [(b) + 10] = f(F_P), [(b) + 11] = f(F_P), \
	[(b) + 12] = f(F_S | F_O), [(b) + 13] = f(F_S | F_O), \
	[(b) + 14] = f(F_S | F_O | F_Z), [(b) + 15] = f(F_S | F_O | F_Z)
#define EIGHT(b, ...) \
	[b] = __VA_ARGS__, [(b) + 1] = __VA_ARGS__, [(b) + 2] = __VA_ARGS__, [(b) + 3] = __VA_ARGS__, \
	[(b) + 4] = __VA_ARGS__, [(b) + 5] = __VA_ARGS__, [(b) + 6] = __VA_ARGS__, [(b) + 7] = __VA_ARGS__
#define JCC_SHORT(fr) KR(JCC, Jb | F64, fr, 0, 0, 0)
#define JCC_NEAR(fr) ANY(KR(JCC, Jz | F64, fr, 0, 0, 0))
#define SETCC(fr) ANY(PF(Eb_w, fr, 0))
#define CMOVCC(fr) ANY(PF(Ev_r | Gc_w, fr, 0))
#define PUSH_SEG KR(PUSH_SEG, NO64, 0, 0, r_SP, r_SP)
#define POP_SEG KR(POP_SEG, NO64, 0, 0, r_SP, r_SP)
#define STRING(name, fr, fw, rr) KR(name, FIX, (fr) | F_D, fw, rr, 0)
#define STRINGB(name, fr, fw, rr) KR(name, A_OS8 | FIX, (fr) | F_D, fw, rr, 0)
#define F_INC (F_ALL & ~F_C)
#define F_SAHF (F_ALL & ~F_O)

const struct row row_map_1b[256] = {
	ALU(0x00, 0, m, r_AX, LOCKABLE),   /* ADD */
	ALU(0x08, 0, m, r_AX, LOCKABLE),   /* OR */
	ALU(0x10, F_C, m, r_AX, LOCKABLE), /* ADC */
	ALU(0x18, F_C, m, r_AX, LOCKABLE), /* SBB */
	ALU(0x20, 0, m, r_AX, LOCKABLE),   /* AND */
	ALU(0x28, 0, m, r_AX, LOCKABLE),   /* SUB */
	ALU(0x30, 0, m, r_AX, LOCKABLE),   /* XOR */
	ALU(0x38, 0, r, 0, 0),             /* CMP */
	[0x06] = PUSH_SEG, [0x0e] = PUSH_SEG, [0x16] = PUSH_SEG, [0x1e] = PUSH_SEG,
	[0x07] = POP_SEG, [0x17] = POP_SEG, [0x1f] = POP_SEG,
	[0x27] = PR(NO64 | A_OS8, F_C | F_A, F_ALL, r_AX, 0),  /* DAA */
	[0x2f] = PR(NO64 | A_OS8, F_C | F_A, F_ALL, r_AX, 0),  /* DAS */
	[0x37] = PR(NO64 | A_OS8, F_A, F_ALL, r_AX, 0),  /* AAA */
	[0x3f] = PR(NO64 | A_OS8, F_A, F_ALL, r_AX, 0),  /* AAS */
	EIGHT(0x40, PF(Ov_m | NO64, 0, F_INC)),  /* INC */
	EIGHT(0x48, PF(Ov_m | NO64, 0, F_INC)),  /* DEC */
	EIGHT(0x50, KR(PUSH, Ov_r | D64, 0, 0, r_SP, r_SP)),
	EIGHT(0x58, KR(POP, Ov_w | D64, 0, 0, r_SP, r_SP)),
	[0x60] = KR(PUSHA, NO64, 0, 0, 0xff, r_SP),
	[0x61] = KR(POPA, NO64 | FIXV, 0, 0, r_SP, 0xff & ~r_SP),
	[0x62] = P(M_r(SZ_A) | Gv_r | NO64),     /* BOUND */
	[0x63] = P(E_r(SZ_Z) | Gv_w),            /* MOVSXD; ARPL outside 64-bit mode */
	[0x68] = KR(PUSH, Iz | D64, 0, 0, r_SP, r_SP),
	[0x69] = PF(Ev_r | Gv_w | Iz, 0, F_ALL), /* IMUL */
	[0x6a] = KR(PUSH, Ibs | D64, 0, 0, r_SP, r_SP),
	[0x6b] = PF(Ev_r | Gv_w | Ibs, 0, F_ALL),
	[0x6c] = STRINGB(INS, 0, 0, r_DX | r_DI), [0x6d] = STRING(INS, 0, 0, r_DX | r_DI),
	[0x6e] = STRINGB(OUTS, 0, 0, r_DX | r_SI), [0x6f] = STRING(OUTS, 0, 0, r_DX | r_SI),
	CONDITIONS(0x70, JCC_SHORT),
	[0x80] = GRP(1_EB), [0x81] = GRP(1_EV), [0x82] = GRPA(1_EB, A_MODRM | NO64), [0x83] = GRP(1_EBS),
	[0x84] = PF(Eb_r | Gb_r, 0, F_ALL), [0x85] = PF(Ev_r | Gv_r, 0, F_ALL),  /* TEST */
	[0x86] = P(Eb_m | Gb_m | LOCKABLE), [0x87] = P(Ev_m | Gv_m | LOCKABLE),  /* XCHG */
	[0x88] = P(Eb_w | Gb_r), [0x89] = P(Ev_w | Gv_r),  /* MOV */
	[0x8a] = P(Eb_r | Gb_w), [0x8b] = P(Ev_r | Gv_w),
	[0x8c] = K(MOV_FROM_SEG, Esel_w | FIX),
	[0x8d] = P(M_none | Gv_w),               /* LEA */
	[0x8e] = K(MOV_TO_SEG, Ew_r | FIX),
	[0x8f] = GRP(1A),
	[0x90] = P(FIX),                          /* NOP, PAUSE; XCHG where REX.B */
	[0x91] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX), [0x92] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX),
	[0x93] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX), [0x94] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX),
	[0x95] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX), [0x96] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX),
	[0x97] = PR(Ov_m | FIXV, 0, 0, r_AX, r_AX),
	[0x98] = PR(FIXV, 0, 0, r_AX, r_AX),     /* CBW CWDE CDQE */
	[0x99] = PR(FIXV, 0, 0, r_AX, r_DX),     /* CWD CDQ CQO */
	[0x9a] = KR(CALL_FAR, Ap | NO64, 0, 0, r_SP, r_SP),
	[0x9b] = P(0),                           /* FWAIT */
	[0x9c] = KR(PUSHF, D64, F_ALL | F_D, 0, r_SP, r_SP),
	[0x9d] = KR(POPF, D64, 0, F_ALL | F_D, r_SP, r_SP),
	[0x9e] = PR(0, 0, F_SAHF, r_AX, 0),
	[0x9f] = PR(A_OS8 | FIXV, F_SAHF, 0, 0, r_AX),  /* LAHF */
	[0xa0] = KR(MOFFS, Moffs_b | FIXV, 0, 0, 0, r_AX), [0xa1] = KR(MOFFS, Moffs_v | FIXV, 0, 0, 0, r_AX),
	[0xa2] = KR(MOFFS, Moffs_b, 0, 0, r_AX, 0), [0xa3] = KR(MOFFS, Moffs_v, 0, 0, r_AX, 0),
	[0xa4] = STRINGB(MOVS, 0, 0, r_SI | r_DI), [0xa5] = STRING(MOVS, 0, 0, r_SI | r_DI),
	[0xa6] = STRINGB(CMPS, 0, F_ALL, r_SI | r_DI), [0xa7] = STRING(CMPS, 0, F_ALL, r_SI | r_DI),
	[0xa8] = PR(Ibs | A_OS8, 0, F_ALL, r_AX, 0), [0xa9] = PR(Iz, 0, F_ALL, r_AX, 0),  /* TEST */
	[0xaa] = STRINGB(STOS, 0, 0, r_AX | r_DI), [0xab] = STRING(STOS, 0, 0, r_AX | r_DI),
	[0xac] = STRINGB(LODS, 0, 0, r_AX | r_SI), [0xad] = STRING(LODS, 0, 0, r_AX | r_SI),
	[0xae] = STRINGB(SCAS, 0, F_ALL, r_AX | r_DI), [0xaf] = STRING(SCAS, 0, F_ALL, r_AX | r_DI),
	EIGHT(0xb0, P(Ob_w | Ib)), EIGHT(0xb8, P(Ov_w | Iv)),
	[0xc0] = GRP(2_EBIB), [0xc1] = GRP(2_EVIB),
	[0xc2] = KR(RET, Iw | F64, 0, 0, r_SP, r_SP), [0xc3] = KR(RET, F64, 0, 0, r_SP, r_SP),
	[0xc4] = K(LOAD_FAR, M_r(SZ_P) | Gv_w | NO64), [0xc5] = K(LOAD_FAR, M_r(SZ_P) | Gv_w | NO64),
	[0xc6] = GRP(11B), [0xc7] = GRP(11V),
	[0xc8] = KR(ENTER, IwIb | D64 | FIXV, 0, 0, r_SP | r_BP, r_SP | r_BP),
	[0xc9] = KR(LEAVE, D64 | FIXV, 0, 0, r_SP | r_BP, r_SP | r_BP),
	[0xca] = KR(RETF, Iw, 0, 0, r_SP, r_SP), [0xcb] = KR(RETF, 0, 0, 0, r_SP, r_SP),
	[0xcc] = K(INT3, 0), [0xcd] = K(INT, Ib), [0xce] = KR(INTO, NO64, F_O, 0, 0, 0),
	[0xcf] = KR(IRET, 0, 0, F_ALL | F_D, r_SP, r_SP),
	[0xd0] = GRP(2_EB1), [0xd1] = GRP(2_EV1), [0xd2] = GRP(2_EBCL), [0xd3] = GRP(2_EVCL),
	[0xd4] = PR(Ib | NO64 | A_OS8, 0, F_ALL, r_AX, 0), [0xd5] = PR(Ib | NO64 | A_OS8, 0, F_ALL, r_AX, 0),  /* AAM AAD */
	[0xd6] = PR(NO64 | A_OS8 | FIXV, F_C, 0, 0, r_AX),  /* SALC */
	[0xd7] = KR(XLAT, A_OS8, 0, 0, r_AX | r_BX, 0),
	[0xd8] = GRP(D8), [0xd9] = GRP(D9), [0xda] = GRP(DA), [0xdb] = GRP(DB),
	[0xdc] = GRP(DC), [0xdd] = GRP(DD), [0xde] = GRP(DE), [0xdf] = GRP(DF),
	[0xe0] = KR(LOOP, Jb | F64, F_Z, 0, r_CX, 0), [0xe1] = KR(LOOP, Jb | F64, F_Z, 0, r_CX, 0),
	[0xe2] = KR(LOOP, Jb | F64, 0, 0, r_CX, 0), [0xe3] = KR(LOOP, Jb | F64, 0, 0, r_CX, 0),
	[0xe4] = KR(IN, Ib | A_OS8 | FIXV, 0, 0, 0, r_AX), [0xe5] = KR(IN, Ib | FIXV | FIX, 0, 0, 0, r_AX),
	[0xe6] = KR(OUT, Ib | A_OS8, 0, 0, r_AX, 0), [0xe7] = KR(OUT, Ib | FIX, 0, 0, r_AX, 0),
	[0xe8] = KR(CALL, Jz | F64, 0, 0, r_SP, r_SP),
	[0xe9] = K(JMP, Jz | F64), [0xea] = K(JMP_FAR, Ap | NO64), [0xeb] = K(JMP, Jb | F64),
	[0xec] = KR(IN, A_OS8 | FIXV, 0, 0, r_DX, r_AX), [0xed] = KR(IN, FIXV | FIX, 0, 0, r_DX, r_AX),
	[0xee] = KR(OUT, A_OS8, 0, 0, r_AX | r_DX, 0), [0xef] = KR(OUT, FIX, 0, 0, r_AX | r_DX, 0),
	[0xf1] = K(INT1, 0),
	[0xf4] = K(HLT, PRIV),
	[0xf5] = PF(0, F_C, F_C), [0xf8] = PF(0, 0, F_C), [0xf9] = PF(0, 0, F_C),  /* CMC CLC STC */
	[0xf6] = GRP(3B), [0xf7] = GRP(3V),
	[0xfa] = K(CLI, 0), [0xfb] = K(STI, 0),
	[0xfc] = PF(0, 0, F_D), [0xfd] = PF(0, 0, F_D),  /* CLD STD */
	[0xfe] = GRP(4), [0xff] = GRP(5),
};

const struct row row_map_0f[256][4] = {
	[0x00] = ANY(GRP(6)),
	[0x01] = { GRP(7), GRP(7_66), GRP(7_F3), GRP(7_F2) },
	[0x02] = ANY(K(LAR, E_(SZ_W, A_ER) | Gc_w)),
	[0x03] = ANY(K(LSL, E_(SZ_W, A_ER) | Gc_w)),
	[0x05] = ANY(KR(SYSCALL, FIX, F_ALL | F_D, 0, 0, 0)),
	[0x06] = ANY(K(CLTS, PRIV)),
	[0x07] = ANY(KR(SYSRET, PRIV | FIX, 0, F_ALL | F_D, r_CX, 0)),
	[0x08] = ANY(K(INVD, PRIV)),
	[0x09] = ANY(K(WBINVD, PRIV)),
	[0x0b] = ANY(K(INVALID, UNDEF)),         /* UD2 */
	[0x0d] = ANY(P(E_none)),                 /* PREFETCHW */
	[0x0e] = ANY(P(0)),                      /* FEMMS */
	[0x18] = ANY(P(E_none)),                 /* PREFETCHh */
	[0x19] = ANY(P(E_none)), [0x1a] = ANY(P(E_none)), [0x1b] = ANY(P(E_none)),  /* NOP; MPX is never there */
	[0x1c] = ANY(P(E_none)), [0x1d] = ANY(P(E_none)), [0x1f] = ANY(P(E_none)),
	[0x1e] = ANY(P(E_none)),                 /* ENDBR; RDSSP, a NOP without CET */
	[0x20] = ANY(K(MOV_FROM_CR, R_w(SZ_Q) | CRDR | PRIV | FIX)),
	[0x21] = ANY(K(MOV_FROM_DR, R_w(SZ_Q) | CRDR | PRIV | FIX)),
	[0x22] = ANY(K(MOV_TO_CR, R_r(SZ_Q) | CRDR | PRIV | FIX)),
	[0x23] = ANY(K(MOV_TO_DR, R_r(SZ_Q) | CRDR | PRIV | FIX)),
	[0x30] = ANY(KR(WRMSR, PRIV, 0, 0, r_AX | r_CX | r_DX, 0)),
	[0x31] = ANY(KR(RDTSC, 0, 0, 0, 0, r_AX | r_DX)),
	[0x32] = ANY(KR(RDMSR, PRIV, 0, 0, r_CX, r_AX | r_DX)),
	[0x33] = ANY(KR(RDPMC, 0, 0, 0, r_CX, r_AX | r_DX)),
	[0x34] = ANY(KR(SYSENTER, 0, F_ALL | F_D, 0, r_SP, 0)),
	[0x35] = ANY(KR(SYSEXIT, PRIV, 0, 0, r_CX | r_DX | r_SP, 0)),
	[0x37] = { K(VMX, ANY_REG) },            /* GETSEC */
	CONDITIONS(0x40, CMOVCC),
	[0x78] = { K(VMX, E_w(SZ_Q) | G_r(SZ_Q)) },        /* VMREAD */
	[0x79] = { K(VMX, E_r(SZ_Q) | G_r(SZ_Q)) },        /* VMWRITE */
	CONDITIONS(0x80, JCC_NEAR),
	CONDITIONS(0x90, SETCC),
	[0xa0] = ANY(KR(PUSH_SEG, D64, 0, 0, r_SP, r_SP)), [0xa1] = ANY(KR(POP_SEG, D64, 0, 0, r_SP, r_SP)),
	[0xa2] = ANY(KR(CPUID, 0, 0, 0, r_AX | r_CX, r_AX | r_CX | r_DX | r_BX)),
	[0xa3] = ANY(PF(Ebt_r | Gv_r, 0, F_ALL & ~F_Z)),  /* BT */
	[0xa4] = ANY(PF(Evc_m | Gv_r | Ib | SHIFT, 0, F_ALL)), [0xa5] = ANY(PR(Evc_m | Gv_r, 0, 0, r_CX, 0)),  /* SHLD */
	[0xa8] = ANY(KR(PUSH_SEG, D64, 0, 0, r_SP, r_SP)), [0xa9] = ANY(KR(POP_SEG, D64, 0, 0, r_SP, r_SP)),
	[0xaa] = ANY(K(VMX, 0)),                 /* RSM */
	[0xab] = ANY(PF(Ebt_m | Gv_r | LOCKABLE, 0, F_ALL & ~F_Z)),  /* BTS */
	[0xac] = ANY(PF(Evc_m | Gv_r | Ib | SHIFT, 0, F_ALL)), [0xad] = ANY(PR(Evc_m | Gv_r, 0, 0, r_CX, 0)),  /* SHRD */
	[0xae] = { GRP(15), GRP(15_66), GRP(15_F3), GRP(15_F2) },
	[0xaf] = ANY(PF(Ev_r | Gv_m, 0, F_ALL)), /* IMUL */
	[0xb0] = ANY(PR(Eb_m | Gb_r | LOCKABLE, 0, F_ALL, r_AX, 0)),   /* CMPXCHG */
	[0xb1] = ANY(PR(Evc_m | Gv_r | LOCKABLE, 0, F_ALL, r_AX, 0)),
	[0xb2] = ANY(K(LOAD_FAR, M_r(SZ_P) | Gv_w)),
	[0xb3] = ANY(PF(Ebt_m | Gv_r | LOCKABLE, 0, F_ALL & ~F_Z)),    /* BTR */
	[0xb4] = ANY(K(LOAD_FAR, M_r(SZ_P) | Gv_w)), [0xb5] = ANY(K(LOAD_FAR, M_r(SZ_P) | Gv_w)),
	[0xb6] = ANY(P(E_r(SZ_B) | Gv_w)), [0xb7] = ANY(P(Ew_r | Gv_w)),  /* MOVZX */
	[0xb8] = { [PF3] = PF(Ev_r | Gv_w, 0, F_ALL) },                /* POPCNT */
	[0xb9] = ANY(K(INVALID, Ev_r | Gv_r | UNDEF)),                 /* UD1 */
	[0xba] = ANY(GRP(8)),
	[0xbb] = ANY(PF(Ebt_m | Gv_r | LOCKABLE, 0, F_ALL & ~F_Z)),    /* BTC */
	[0xbc] = { PF(Ev_r | Gc_w, 0, F_ALL), PF(Ev_r | Gc_w, 0, F_ALL), PF(Ev_r | Gv_w, 0, F_ALL), PF(Ev_r | Gc_w, 0, F_ALL) },
	[0xbd] = { PF(Ev_r | Gc_w, 0, F_ALL), PF(Ev_r | Gc_w, 0, F_ALL), PF(Ev_r | Gv_w, 0, F_ALL), PF(Ev_r | Gc_w, 0, F_ALL) },
	[0xbe] = ANY(P(E_r(SZ_B) | Gv_w)), [0xbf] = ANY(P(Ew_r | Gv_w)),  /* MOVSX */
	[0xc0] = ANY(PF(Eb_m | Gb_m | LOCKABLE, 0, F_ALL)),            /* XADD */
	[0xc1] = ANY(PF(Ev_m | Gv_m | LOCKABLE, 0, F_ALL)),
	[0xc3] = { P(M_w(SZ_Y) | Gy_r) },                              /* MOVNTI */
	[0xc7] = { GRP(9), GRP(9_66), GRP(9_F3), GRP(9_F2) },
	EIGHT(0xc8, ANY(P(Ov_m))),                                     /* BSWAP */
	[0xff] = ANY(K(INVALID, Ev_r | Gv_r | UNDEF)),                 /* UD0 */
#define SELECT SELECT_LEGACY
#include "x86/decode_select.h"
#include "x86/decode_map_0f.h"
#include "x86/decode_select_end.h"
};

#define M(i, ...) [i] = __VA_ARGS__
#define R(i, ...) [(i) + 8] = __VA_ARGS__
#define MR(i, ...) [i] = __VA_ARGS__, [(i) + 8] = __VA_ARGS__
#define SUB(i, name) [(i) + 8] = GRP(name)
/* Group 1: e, g the destination, i the immediate. */
#define ALU_GROUP(e_m, e_r, i) { \
	MR(0, PF(e_m | i | LOCKABLE, 0, F_ALL)), MR(1, PF(e_m | i | LOCKABLE, 0, F_ALL)), \
	MR(2, PF(e_m | i | LOCKABLE, F_C, F_ALL)), MR(3, PF(e_m | i | LOCKABLE, F_C, F_ALL)), \
	MR(4, PF(e_m | i | LOCKABLE, 0, F_ALL)), MR(5, PF(e_m | i | LOCKABLE, 0, F_ALL)), \
	MR(6, PF(e_m | i | LOCKABLE, 0, F_ALL)), MR(7, PF(e_r | i, 0, F_ALL)) }
/* Group 2: ROL ROR RCL RCR SHL SHR SAL SAR. */
#define SHIFT_GROUP(e, fw_rot, fw_shift, rr) { \
	MR(0, PR(e, 0, fw_rot, rr, 0)), MR(1, PR(e, 0, fw_rot, rr, 0)), \
	MR(2, PR(e, F_C, fw_rot, rr, 0)), MR(3, PR(e, F_C, fw_rot, rr, 0)), \
	MR(4, PR(e, 0, fw_shift, rr, 0)), MR(5, PR(e, 0, fw_shift, rr, 0)), \
	MR(6, PR(e, 0, fw_shift, rr, 0)), MR(7, PR(e, 0, fw_shift, rr, 0)) }
#define F_ROT (F_C | F_O)
#define X87_REG_ALL R(0, P(A_MODRM)), R(1, P(A_MODRM)), R(2, P(A_MODRM)), R(3, P(A_MODRM)), \
	R(4, P(A_MODRM)), R(5, P(A_MODRM)), R(6, P(A_MODRM)), R(7, P(A_MODRM))
#define X87_MEM_ALL(s) M(0, P(M_r(s))), M(1, P(M_r(s))), M(2, P(M_r(s))), M(3, P(M_r(s))), \
	M(4, P(M_r(s))), M(5, P(M_r(s))), M(6, P(M_r(s))), M(7, P(M_r(s)))
#define MEM_7 /* Group 7, memory forms: the same whatever the prefix */ \
	M(0, K(SGDT, M_w(SZ_S))), M(1, K(SIDT, M_w(SZ_S))), \
	M(2, K(LGDT, M_r(SZ_S) | PRIV)), M(3, K(LIDT, M_r(SZ_S) | PRIV)), \
	MR(4, K(SMSW, Esel_w)), MR(6, K(LMSW, Ew_r | PRIV)), M(7, K(INVLPG, M_none | PRIV))
#define VMX_ROW K(VMX, A_MODRM | ANY_REG)
#define VMX64_ROW K(VMX, A_MODRM | ANY_REG | ONLY64)
#define CET_ROW K(CET, A_MODRM | ANY_REG)

const struct row row_groups[GRP_COUNT][16] = {
	[GRP_1_EB] = ALU_GROUP(Eb_m, Eb_r, Ibs),
	[GRP_1_EV] = ALU_GROUP(Ev_m, Ev_r, Iz),
	[GRP_1_EBS] = ALU_GROUP(Ev_m, Ev_r, Ibs),
	[GRP_1A] = { MR(0, KR(POP, Ev_w | D64, 0, 0, r_SP, r_SP)) },
	[GRP_2_EBIB] = SHIFT_GROUP(Eb_m | Ib | SHIFT, F_ROT, F_ALL, 0),
	[GRP_2_EVIB] = SHIFT_GROUP(Ev_m | Ib | SHIFT, F_ROT, F_ALL, 0),
	[GRP_2_EB1] = SHIFT_GROUP(Eb_m, F_ROT, F_ALL, 0),
	[GRP_2_EV1] = SHIFT_GROUP(Ev_m, F_ROT, F_ALL, 0),
	[GRP_2_EBCL] = SHIFT_GROUP(Eb_m, 0, 0, r_CX),
	[GRP_2_EVCL] = SHIFT_GROUP(Ev_m, 0, 0, r_CX),
	[GRP_3B] = { MR(0, PF(Eb_r | Ibs, 0, F_ALL)), MR(1, PF(Eb_r | Ibs, 0, F_ALL)),
		MR(2, P(Eb_m | LOCKABLE)), MR(3, PF(Eb_m | LOCKABLE, 0, F_ALL)),
		MR(4, PR(Eb_r, 0, F_ALL, r_AX, 0)), MR(5, PR(Eb_r, 0, F_ALL, r_AX, 0)),
		MR(6, PR(Eb_r, 0, F_ALL, r_AX, 0)), MR(7, PR(Eb_r, 0, F_ALL, r_AX, 0)) },
	[GRP_3V] = { MR(0, PF(Ev_r | Iz, 0, F_ALL)), MR(1, PF(Ev_r | Iz, 0, F_ALL)),
		MR(2, P(Ev_m | LOCKABLE)), MR(3, PF(Ev_m | LOCKABLE, 0, F_ALL)),
		MR(4, PR(Ev_r | FIXV, 0, F_ALL, r_AX, r_AX | r_DX)), MR(5, PR(Ev_r | FIXV, 0, F_ALL, r_AX, r_AX | r_DX)),
		MR(6, PR(Ev_r | FIXV, 0, F_ALL, r_AX | r_DX, r_AX | r_DX)),
		MR(7, PR(Ev_r | FIXV, 0, F_ALL, r_AX | r_DX, r_AX | r_DX)) },
	[GRP_4] = { MR(0, PF(Eb_m | LOCKABLE, 0, F_INC)), MR(1, PF(Eb_m | LOCKABLE, 0, F_INC)) },
	[GRP_5] = { MR(0, PF(Ev_m | LOCKABLE, 0, F_INC)), MR(1, PF(Ev_m | LOCKABLE, 0, F_INC)),
		MR(2, KR(CALL_IND, Ev_r | F64, 0, 0, r_SP, r_SP)),
		M(3, KR(CALL_FAR, M_r(SZ_P), 0, 0, r_SP, r_SP)),
		MR(4, K(JMP_IND, Ev_r | F64)), M(5, K(JMP_FAR, M_r(SZ_P))),
		MR(6, KR(PUSH, Ev_r | D64, 0, 0, r_SP, r_SP)) },
	[GRP_11B] = { MR(0, P(Eb_w | Ibs)), SUB(7, 11B_7) },
	[GRP_11V] = { MR(0, P(Ev_w | Iz)), SUB(7, 11V_7) },
	[GRP_11B_7] = { K(XABORT, A_MODRM | Ib | ANY_REG) },
	[GRP_11V_7] = { KR(XBEGIN, A_MODRM | Jz | ANY_REG, 0, 0, r_AX, 0) },

	/* x87: SDM 2D, tables, with the undocumented aliases */
	[GRP_D8] = { X87_MEM_ALL(SZ_D), X87_REG_ALL },
	[GRP_D9] = { M(0, P(M_r(SZ_D))), M(2, P(M_w(SZ_D))), M(3, P(M_w(SZ_D))), M(4, P(M_r(SZ_ANY))),
		M(5, P(M_r(SZ_W))), M(6, P(M_w(SZ_ANY))), M(7, P(M_w(SZ_W))),
		R(0, P(A_MODRM)), R(1, P(A_MODRM)), SUB(2, D9_2), R(3, P(A_MODRM)), SUB(4, D9_4), SUB(5, D9_5),
		R(6, P(A_MODRM)), R(7, P(A_MODRM)) },
	[GRP_D9_2] = { P(A_MODRM) },
	[GRP_D9_4] = { [0] = P(A_MODRM), [1] = P(A_MODRM), [4] = P(A_MODRM), [5] = P(A_MODRM) },
	[GRP_D9_5] = { P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM) },
	[GRP_DA] = { X87_MEM_ALL(SZ_D), R(0, PF(A_MODRM, F_C, 0)), R(1, PF(A_MODRM, F_Z, 0)),
		R(2, PF(A_MODRM, F_C | F_Z, 0)), R(3, PF(A_MODRM, F_P, 0)), SUB(5, DA_5) },
	[GRP_DA_5] = { [1] = P(A_MODRM) },
	[GRP_DB] = { M(0, P(M_r(SZ_D))), M(1, P(M_w(SZ_D))), M(2, P(M_w(SZ_D))), M(3, P(M_w(SZ_D))),
		M(5, P(M_r(SZ_T))), M(7, P(M_w(SZ_T))),
		R(0, PF(A_MODRM, F_C, 0)), R(1, PF(A_MODRM, F_Z, 0)), R(2, PF(A_MODRM, F_C | F_Z, 0)),
		R(3, PF(A_MODRM, F_P, 0)), SUB(4, DB_4),
		R(5, PF(A_MODRM, 0, F_Z | F_P | F_C)), R(6, PF(A_MODRM, 0, F_Z | F_P | F_C)) },
	[GRP_DB_4] = { P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM), P(A_MODRM) },
	[GRP_DC] = { X87_MEM_ALL(SZ_Q), X87_REG_ALL },
	[GRP_DD] = { M(0, P(M_r(SZ_Q))), M(1, P(M_w(SZ_Q))), M(2, P(M_w(SZ_Q))), M(3, P(M_w(SZ_Q))),
		M(4, P(M_r(SZ_ANY))), M(6, P(M_w(SZ_ANY))), M(7, P(M_w(SZ_W))),
		R(0, P(A_MODRM)), R(1, P(A_MODRM)), R(2, P(A_MODRM)), R(3, P(A_MODRM)), R(4, P(A_MODRM)), R(5, P(A_MODRM)) },
	[GRP_DE] = { X87_MEM_ALL(SZ_W), R(0, P(A_MODRM)), R(1, P(A_MODRM)), R(2, P(A_MODRM)), SUB(3, DE_3),
		R(4, P(A_MODRM)), R(5, P(A_MODRM)), R(6, P(A_MODRM)), R(7, P(A_MODRM)) },
	[GRP_DE_3] = { [1] = P(A_MODRM) },
	[GRP_DF] = { M(0, P(M_r(SZ_W))), M(1, P(M_w(SZ_W))), M(2, P(M_w(SZ_W))), M(3, P(M_w(SZ_W))),
		M(4, P(M_r(SZ_T))), M(5, P(M_r(SZ_Q))), M(6, P(M_w(SZ_T))), M(7, P(M_w(SZ_Q))),
		R(0, P(A_MODRM)), R(1, P(A_MODRM)), R(2, P(A_MODRM)), R(3, P(A_MODRM)), SUB(4, DF_4),
		R(5, PF(A_MODRM, 0, F_Z | F_P | F_C)), R(6, PF(A_MODRM, 0, F_Z | F_P | F_C)) },
	[GRP_DF_4] = { PR(A_MODRM | FIXV | A_OS8, 0, 0, 0, r_AX) },  /* FNSTSW AX */

	[GRP_6] = { MR(0, K(SLDT, Esel_w)), MR(1, K(STR, Esel_w)), MR(2, K(LLDT, Ew_r | PRIV)), MR(3, K(LTR, Ew_r | PRIV)),
		MR(4, KR(VERR, Ew_r, 0, F_Z, 0, 0)), MR(5, KR(VERW, Ew_r, 0, F_Z, 0, 0)) },
	[GRP_7] = { MEM_7, SUB(0, 7_0), SUB(1, 7_1), SUB(2, 7_2), SUB(3, 7_3), SUB(5, 7_5), SUB(7, 7_7) },
	[GRP_7_66] = { MEM_7, SUB(1, 7_66_1), SUB(3, 7_3), SUB(7, 7_66_7) },
	[GRP_7_F3] = { MEM_7, M(5, K(CET, M_m(SZ_Q))), SUB(3, 7_3), SUB(5, 7_F3_5), SUB(7, 7_F3_7) },
	[GRP_7_F2] = { MEM_7, SUB(3, 7_3), SUB(5, 7_F2_5), SUB(7, 7_F2_7) },
	[GRP_7_0] = { VMX_ROW, K(VMCALL, A_MODRM | ANY_REG), VMX_ROW, VMX_ROW, VMX_ROW, VMX_ROW, VMX_ROW /* WRMSRNS */ },
	[GRP_7_1] = { KR(MONITOR, A_MODRM | PRIV, 0, 0, r_AX | r_CX | r_DX, 0), KR(MWAIT, A_MODRM | PRIV, 0, 0, r_AX | r_CX, 0),
		K(CLAC, A_MODRM | PRIV), K(STAC, A_MODRM | PRIV), [7] = VMX_ROW },
	[GRP_7_66_1] = { [4] = VMX_ROW, VMX64_ROW, VMX64_ROW, VMX64_ROW },
	[GRP_7_2] = { KR(XGETBV, A_MODRM, 0, 0, r_CX, r_AX | r_DX), KR(XSETBV, A_MODRM | PRIV, 0, 0, r_AX | r_CX | r_DX, 0),
		[4] = VMX_ROW, KR(XEND, A_MODRM, 0, 0, 0, 0), KR(XTEST, A_MODRM, 0, F_ALL, 0, 0), VMX_ROW },
	[GRP_7_3] = { VMX_ROW, K(VMCALL, A_MODRM | ANY_REG), VMX_ROW, VMX_ROW, VMX_ROW, VMX_ROW, VMX_ROW, VMX_ROW },
	[GRP_7_5] = { [0] = P(A_MODRM) /* SERIALIZE */,
		[6] = KR(RDPKRU, A_MODRM, 0, 0, r_CX, r_AX | r_DX), KR(WRPKRU, A_MODRM, 0, 0, r_AX | r_CX | r_DX, 0) },
	[GRP_7_F3_5] = { [0] = CET_ROW, [2] = CET_ROW, [4] = VMX64_ROW, VMX64_ROW, VMX64_ROW, VMX64_ROW },
	[GRP_7_F2_5] = { VMX_ROW, VMX_ROW },     /* XSUSLDTRK XRESLDTRK */
	[GRP_7_7] = { K(SWAPGS, A_MODRM | ONLY64 | PRIV), KR(RDTSCP, A_MODRM, 0, 0, 0, r_AX | r_CX | r_DX),
		KR(MONITORX, A_MODRM, 0, 0, r_AX | r_CX | r_DX, 0), KR(MWAITX, A_MODRM, 0, 0, r_AX | r_BX | r_CX, 0),
		KR(CLZERO, A_MODRM, 0, 0, r_AX, 0), VMX_ROW /* RDPRU */,
		KR(INVLPGB, A_MODRM | PRIV, 0, 0, r_AX | r_CX | r_DX, 0), K(TLBSYNC, A_MODRM | PRIV) },
	[GRP_7_66_7] = { K(SWAPGS, A_MODRM | ONLY64 | PRIV), KR(RDTSCP, A_MODRM, 0, 0, 0, r_AX | r_CX | r_DX),
		[4] = KR(CLZERO, A_MODRM, 0, 0, r_AX, 0), VMX_ROW },
	[GRP_7_F3_7] = { K(SWAPGS, A_MODRM | ONLY64 | PRIV), KR(RDTSCP, A_MODRM, 0, 0, 0, r_AX | r_CX | r_DX),
		VMX_ROW, [4] = KR(CLZERO, A_MODRM, 0, 0, r_AX, 0), VMX_ROW, VMX64_ROW, VMX64_ROW },
	[GRP_7_F2_7] = { K(SWAPGS, A_MODRM | ONLY64 | PRIV), KR(RDTSCP, A_MODRM, 0, 0, 0, r_AX | r_CX | r_DX),
		[4] = KR(CLZERO, A_MODRM, 0, 0, r_AX, 0), VMX_ROW, VMX64_ROW, VMX_ROW },
	[GRP_8] = { MR(4, PF(Ev_r | Ib, 0, F_ALL & ~F_Z)), MR(5, PF(Ev_m | Ib | LOCKABLE, 0, F_ALL & ~F_Z)),
		MR(6, PF(Ev_m | Ib | LOCKABLE, 0, F_ALL & ~F_Z)), MR(7, PF(Ev_m | Ib | LOCKABLE, 0, F_ALL & ~F_Z)) },
#define CMPXCHG8B M(1, PR(M_m(SZ_C) | LOCKABLE, 0, F_Z, r_AX | r_BX | r_CX | r_DX, 0))
#define XSAVES_ROWS M(3, KR(XRSTORS, M_r(SZ_ANY) | PRIV, 0, 0, r_AX | r_DX, 0)), \
	M(4, KR(XSAVE, M_w(SZ_ANY), 0, 0, r_AX | r_DX, 0)), M(5, KR(XSAVES, M_w(SZ_ANY) | PRIV, 0, 0, r_AX | r_DX, 0))
#define RDRAND_ROWS R(6, PF(R_w(SZ_V), 0, F_ALL)), R(7, PF(R_w(SZ_V), 0, F_ALL))
	[GRP_9] = { CMPXCHG8B, XSAVES_ROWS, M(6, K(VMX, M_r(SZ_Q))), M(7, K(VMX, M_w(SZ_Q))), RDRAND_ROWS },
	[GRP_9_66] = { CMPXCHG8B, M(6, K(VMX, M_r(SZ_Q))), RDRAND_ROWS },
	[GRP_9_F3] = { CMPXCHG8B, M(6, K(VMX, M_r(SZ_Q))), R(6, VMX64_ROW), R(7, K(RDPID, R_w(SZ_Q))) },
	[GRP_9_F2] = { CMPXCHG8B },
	[GRP_15] = { M(0, P(M_w(SZ_ANY))), M(1, P(M_r(SZ_ANY))), M(2, P(M_r(SZ_D))), M(3, P(M_w(SZ_D))),
		M(4, KR(XSAVE, M_m(SZ_ANY), 0, 0, r_AX | r_DX, 0)), M(5, KR(XRSTOR, M_r(SZ_ANY), 0, 0, r_AX | r_DX, 0)),
		M(6, KR(XSAVE, M_m(SZ_ANY), 0, 0, r_AX | r_DX, 0)), M(7, P(M_r(SZ_B))) /* CLFLUSH */,
		R(5, P(A_MODRM)), R(6, P(A_MODRM)), R(7, P(A_MODRM)) },
	[GRP_15_66] = { M(6, P(M_r(SZ_B))), M(7, P(M_r(SZ_B))) /* CLWB CLFLUSHOPT */, R(6, K(VMX, A_MODRM | ANY_REG)) },
	[GRP_15_F3] = { R(0, K(RDFSBASE, R_w(SZ_Y) | ONLY64)), R(1, K(RDGSBASE, R_w(SZ_Y) | ONLY64)),
		R(2, K(WRFSBASE, R_r(SZ_Y) | ONLY64)), R(3, K(WRGSBASE, R_r(SZ_Y) | ONLY64)),
		MR(4, K(VMX, Ey_r)) /* PTWRITE */, R(5, K(CET, R_r(SZ_Y))), M(6, K(CET, M_m(SZ_Q))), R(6, K(VMX, A_MODRM | ANY_REG)) },
	[GRP_15_F2] = { R(6, K(VMX, A_MODRM | ANY_REG)) },

	/* vector shifts by an immediate; EXTRQ; key locker; HRESET */
	[GRP_12] = { R(2, P(U_ | Ib)), R(4, P(U_ | Ib)), R(6, P(U_ | Ib)) },
	[GRP_14] = { R(2, P(U_ | Ib)), R(6, P(U_ | Ib)) },
	[GRP_14_66] = { R(2, P(U_ | Ib)), R(3, P(U_ | Ib)), R(6, P(U_ | Ib)), R(7, P(U_ | Ib)) },
	[GRP_17] = { R(0, P(U_ | IbIb)) },
	[GRP_D8_F3] = { M(0, K(VMX, M_none)), M(1, K(VMX, M_none)), M(2, K(VMX, M_none)), M(3, K(VMX, M_none)) },
	[GRP_F0_F3] = { SUB(0, F0_F3_0) },
	[GRP_F0_F3_0] = { K(VMX, U_ | Ib | ANY_REG) },
	[GRP_VEX_12] = { R(2, P(U_ | H_ | Ib)), R(4, P(U_ | H_ | Ib)), R(6, P(U_ | H_ | Ib)) },
	[GRP_VEX_14] = { R(2, P(U_ | H_ | Ib)), R(3, P(U_ | H_ | Ib)), R(6, P(U_ | H_ | Ib)), R(7, P(U_ | H_ | Ib)) },
	[GRP_VEX_15] = { M(2, P(M_r(SZ_D) | VL0)), M(3, P(M_w(SZ_D) | VL0)) },
#define BLS PF(E_r(SZ_Y) | By_w | VL0, 0, F_ALL)
	[GRP_VEX_17] = { MR(1, BLS), MR(2, BLS), MR(3, BLS) },
	[GRP_VEX_49] = { M(0, P(M_r(SZ_OQ) | VL0 | VW0 | ONLY64)), SUB(0, VEX_49_0) },
	[GRP_VEX_49_0] = { P(U_ | VL0 | VW0 | ONLY64) },
	[GRP_VEX_49_66] = { M(0, P(M_w(SZ_OQ) | VL0 | VW0 | ONLY64)) },
	[GRP_VEX_49_F2] = { SUB(0, VEX_49_F2_0), SUB(1, VEX_49_F2_0), SUB(2, VEX_49_F2_0), SUB(3, VEX_49_F2_0),
		SUB(4, VEX_49_F2_0), SUB(5, VEX_49_F2_0), SUB(6, VEX_49_F2_0), SUB(7, VEX_49_F2_0) },
	[GRP_VEX_49_F2_0] = { P(U_ | TMM | VL0 | VW0) },
#define SHIFT_W P(W_r(SZ_X) | H_ | Ib | MK)
#define SHIFT_D P(W_r(SZ_X) | H_ | Ib | MK | BC | EW0)
#define SHIFT_Q P(W_r(SZ_X) | H_ | Ib | MK | BC | EW1)
#define SHIFT_DQ P(W_r(SZ_X) | H_ | Ib | MK | BC)
#define SHIFT_BYTES P(W_r(SZ_X) | H_ | Ib)
	[GRP_EVEX_12] = { MR(2, SHIFT_W), MR(4, SHIFT_W), MR(6, SHIFT_W) },
	[GRP_EVEX_13] = { MR(0, SHIFT_DQ), MR(1, SHIFT_DQ), MR(2, SHIFT_D), MR(4, SHIFT_DQ), MR(6, SHIFT_D) },
	[GRP_EVEX_14] = { MR(2, SHIFT_Q), MR(3, SHIFT_BYTES), MR(6, SHIFT_Q), MR(7, SHIFT_BYTES) },
#define PREFETCH_VSIB P(M_(SZ_VS) | VSIB | EL2 | MKN)
	[GRP_EVEX_C6] = { M(1, PREFETCH_VSIB), M(2, PREFETCH_VSIB), M(5, PREFETCH_VSIB), M(6, PREFETCH_VSIB) },
#define TBM PF(E_r(SZ_Y) | By_w | VL0, 0, F_ALL)
	[GRP_XOP_01] = { MR(1, TBM), MR(2, TBM), MR(3, TBM), MR(4, TBM), MR(5, TBM), MR(6, TBM), MR(7, TBM) },
	[GRP_XOP_02] = { MR(1, TBM), MR(6, TBM) },
	[GRP_XOP_12] = { R(0, K(VMX, R_r(SZ_Y) | VL0)), R(1, K(VMX, R_w(SZ_Y) | VL0)) },
	[GRP_XOP_A12] = { MR(0, K(VMX, E_r(SZ_D) | By_r | Id | VL0)), MR(1, K(VMX, E_r(SZ_D) | By_r | Id | VL0)) },
};
