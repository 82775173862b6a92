/* SPDX-License-Identifier: MIT
 * The words in which the opcode tables are written, and the tables themselves.
 *
 * A row is 16 bytes, and the four rows of a two-byte opcode (one for each mandatory prefix) are one
 * cache line.  An operand is written as in the opcode maps of the manual (SDM 2D, appendix A.2):
 * a letter for where it is, a letter for its size, then _r, _w or _m (read and written).
 *
 *   E  ModRM.rm: general register or memory     W  ModRM.rm: vector register or memory
 *   M  ModRM.rm: memory only                    U  ModRM.rm: vector, mask or other register only
 *   R  ModRM.rm: general register only          G  ModRM.reg: general register
 *   B  VEX.vvvv: general register               H  VEX.vvvv: vector or mask register
 *   O  the low three opcode bits                I  immediate      J  relative displacement
 *
 * Vector registers are not tracked, so ModRM.reg has no word where it names one.  Freestanding,
 * constant data: no owner, no lock. */
#ifndef PENUMBRA_X86_DECODE_TABLE_H
#define PENUMBRA_X86_DECODE_TABLE_H

#include "x86/decode.h"

struct row {
	u64 a;            /* operands and conditions: the words below */
	u8 klass;         /* enum insn_class */
	u8 fr, fw;        /* flags read and written: F_* */
	u8 rr, rw;        /* general registers 0-7 implied by the opcode: read, written */
	u8 group;         /* enum row_group: look further in row_groups[] */
	u8 pad[2];
};

/* Operand sizes.  The first eight are also sizes of general registers. */
enum row_size {
	SZ_NONE, SZ_B, SZ_W, SZ_D, SZ_Q, SZ_V /* 2 4 8 */, SZ_Z /* 2 4 4 */, SZ_Y /* 4, 8 with W */,
	SZ_DQ, SZ_QQ, SZ_OQ,    /* 16, 32, 64 */
	SZ_X, SZ_XH, SZ_XQ, SZ_XE, /* the vector length, its half, quarter, eighth */
	SZ_XHW,                 /* half of the vector length, the whole with W */
	SZ_DUP,                 /* MOVDDUP: 8 for 128 bits, else the vector length */
	SZ_KW, SZ_KB,           /* mask moves: 2 or 8, 1 or 4 with W */
	SZ_P,                   /* far pointer: selector and offset */
	SZ_T,                   /* 10 bytes */
	SZ_S,                   /* descriptor table register: 6 or 10 */
	SZ_A,                   /* two words of operand size */
	SZ_C,                   /* 8, 16 with W */
	SZ_STK,                 /* selector pushed or stored: 2 bytes in memory, operand size in a register */
	SZ_ANY,                 /* memory of a length that varies or does not matter */
	SZ_BT,                  /* operand size, but at a bit offset that a register gives: not fixed */
	SZ_CD, SZ_CB,           /* compress, expand: the vector length at most; disp8 scale 4 or 8, 1 or 2 with W */
	SZ_VS,                  /* one element of a vector: 4, 8 with W */
};

/* Immediates. */
enum row_imm {
	IMM_NONE, IMM_IB /* zero-extended */, IMM_IBS /* sign-extended */, IMM_IW, IMM_IZ, IMM_IV,
	IMM_JB, IMM_JZ, IMM_ENTER, IMM_IB2, IMM_AP, IMM_OV, IMM_OBY, IMM_ID,
};

#define WORD(shift, value) ((u64)(value) << (shift))
#define WORD_GET(a, shift, bits) ((unsigned)((a) >> (shift)) & ((1u << (bits)) - 1))

/* ModRM.rm */
#define E_SIZE(s) WORD(0, s)
#define ROW_E_SIZE(a) WORD_GET(a, 0, 5)
#define A_ER (1ull << 5)
#define A_EW (1ull << 6)
#define A_EGPR (1ull << 7)     /* the register form is a general register */
#define A_EREG32 (1ull << 8)   /* ... of 32 bits (64 with W), whatever the size of the memory form */
#define A_MEM (1ull << 9)      /* memory form only */
#define A_REG (1ull << 10)     /* register form only */
#define A_MODRM (1ull << 11)
/* ModRM.reg, opcode register, vvvv */
#define G_SIZE(s) WORD(12, s)
#define ROW_G_SIZE(a) WORD_GET(a, 12, 3)
#define A_GR (1ull << 15)
#define A_GW (1ull << 16)
#define A_OB (1ull << 17)
#define A_OR (1ull << 18)
#define A_OW (1ull << 19)
#define A_H (1ull << 20)       /* vvvv names an operand; else it must be 1111 */
#define A_BR (1ull << 21)
#define A_BW (1ull << 22)
/* Immediate, operand size */
#define I_KIND(i) WORD(23, i)
#define ROW_IMM(a) WORD_GET(a, 23, 4)
#define A_OS8 (1ull << 27)     /* byte operation */
#define D64 (1ull << 28)       /* operand size defaults to 64 in 64-bit mode */
#define F64 (1ull << 29)       /* ... and cannot be changed */
/* Conditions */
#define LOCKABLE (1ull << 30)
#define NO64 (1ull << 31)      /* #UD in 64-bit mode */
#define ONLY64 (1ull << 32)    /* #UD outside */
#define PRIV (1ull << 33)
#define FIXV (1ull << 34)      /* the implied register is written in whole only for operand sizes of 32 and 64 */
#define SHIFT (1ull << 35)     /* a count of zero leaves the flags */
#define CRDR (1ull << 36)      /* MOV to or from CR, DR: mod is ignored, registers are of native size */
#define ANY_REG (1ull << 37)   /* reads every general register, as far as is known here */
/* VEX and EVEX */
#define VSIB (1ull << 38)
#define VL0 WORD(39, 1)        /* VEX.L, EVEX.L'L must be 0 ... */
#define VL1 WORD(39, 2)        /* VEX.L = 1 */
#define ROW_VL(a) WORD_GET(a, 39, 2)
#define VW0 WORD(41, 1)
#define VW1 WORD(41, 2)
#define ROW_VW(a) WORD_GET(a, 41, 2)
#define EL0 WORD(43, 1)        /* EVEX: 128 bits only */
#define EL12 WORD(43, 2)       /* 256 and 512 */
#define EL2 WORD(43, 3)        /* 512 only */
#define ROW_EL(a) WORD_GET(a, 43, 2)
#define EW0 WORD(46, 1)
#define EW1 WORD(46, 2)
#define ROW_EW(a) WORD_GET(a, 46, 2)
#define BC (1ull << 48)        /* EVEX.b with memory: broadcast of 4, with W 8 bytes */
#define BC2 (1ull << 49)       /* ... of 2 bytes */
#define BC4 (1ull << 50)       /* ... of 4 bytes whatever W */
#define RC (1ull << 51)        /* EVEX.b with a register: rounding control or suppressed exceptions */
#define MK WORD(52, 1)         /* EVEX mask: merging and zeroing */
#define MKM WORD(52, 2)        /* ... merging only */
#define MKN WORD(52, 3)        /* ... must be given, merging only */
#define ROW_MK(a) WORD_GET(a, 52, 2)
#define GK (1ull << 54)        /* ModRM.reg names a mask register (0-7) */
#define HK (1ull << 55)        /* vvvv does */
#define UK (1ull << 56)        /* ModRM.rm does */
#define DIST (1ull << 57)      /* registers must be distinct (gathers, AMX) */
#define TMM (1ull << 58)       /* AMX tile registers: 0-7 */
#define NOSIB_UD (1ull << 59)  /* #UD without a SIB byte */
#define COND (1ull << 60)      /* the register form of E is written conditionally */
#define UNDEF (1ull << 61)     /* UD0, UD1: has a layout, but is #UD */

#define FIX (1ull << 62)       /* insn_fix_row() has more to say */
#define HREG (1ull << 63)      /* vvvv is an operand of the register form only */

/* ModRM.rm in the manual's words */
#define E_(s, x) (A_MODRM | A_EGPR | E_SIZE(s) | (x))
#define W_(s, x) (A_MODRM | E_SIZE(s) | (x))
#define Eb_r (E_(SZ_B, A_ER) | A_OS8)
#define Eb_w (E_(SZ_B, A_EW) | A_OS8)
#define Eb_m (E_(SZ_B, A_ER | A_EW) | A_OS8)
#define Ev_r E_(SZ_V, A_ER)
#define Ev_w E_(SZ_V, A_EW)
#define Ev_m E_(SZ_V, A_ER | A_EW)
#define Evc_m (Ev_m | COND)
#define Ew_r E_(SZ_W, A_ER)
#define Ew_w E_(SZ_W, A_EW)
#define Ew_m E_(SZ_W, A_ER | A_EW)
#define Ed_r E_(SZ_D, A_ER)
#define Ey_r E_(SZ_Y, A_ER)
#define Ey_w E_(SZ_Y, A_EW)
#define Esel_w E_(SZ_STK, A_EW)
#define Ebt_r E_(SZ_BT, A_ER)
#define Ebt_m E_(SZ_BT, A_ER | A_EW)
#define E_none E_(SZ_ANY, 0)                    /* named, never accessed */
#define M_(s) (W_(s, 0) | A_MEM)
#define M_none (W_(SZ_ANY, 0) | A_MEM)
#define M_r(s) (W_(s, A_ER) | A_MEM)
#define M_w(s) (W_(s, A_EW) | A_MEM)
#define M_m(s) (W_(s, A_ER | A_EW) | A_MEM)
#define W_r(s) W_(s, A_ER)
#define W_w(s) W_(s, A_EW)
#define W_m(s) W_(s, A_ER | A_EW)
#define E_r(s) E_(s, A_ER)
#define E_w(s) E_(s, A_EW)
#define ERM_r(s) (E_(s, A_ER) | A_EREG32)       /* Rd/Mb and the like */
#define ERM_w(s) (E_(s, A_EW) | A_EREG32)
#define U_ (A_MODRM | A_REG)
#define R_r(s) (E_(s, A_ER) | A_REG)
#define R_w(s) (E_(s, A_EW) | A_REG)
#define R_m(s) (E_(s, A_ER | A_EW) | A_REG)
/* ModRM.reg */
#define G_r(s) (A_MODRM | G_SIZE(s) | A_GR)
#define G_w(s) (A_MODRM | G_SIZE(s) | A_GW)
#define G_m(s) (A_MODRM | G_SIZE(s) | A_GR | A_GW)
#define Gb_r G_r(SZ_B)
#define Gb_w G_w(SZ_B)
#define Gb_m G_m(SZ_B)
#define Gv_r G_r(SZ_V)
#define Gv_w G_w(SZ_V)
#define Gv_m G_m(SZ_V)
#define Gc_w (A_MODRM | G_SIZE(SZ_V) | A_GR)    /* conditionally written: kept, so read */
#define Gy_r G_r(SZ_Y)
#define Gy_w G_w(SZ_Y)
#define Gy_m G_m(SZ_Y)
#define Gd_w G_w(SZ_D)
/* vvvv */
#define By_r (A_H | A_BR)
#define By_w (A_H | A_BW)
#define H_ A_H
/* opcode register */
#define Ob_r (A_OB | A_OR | A_OS8)
#define Ob_w (A_OB | A_OW | A_OS8)
#define Ov_r A_OR
#define Ov_w A_OW
#define Ov_m (A_OR | A_OW)
/* immediates */
#define Ib I_KIND(IMM_IB)
#define Ibs I_KIND(IMM_IBS)
#define Iw I_KIND(IMM_IW)
#define Iz I_KIND(IMM_IZ)
#define Iv I_KIND(IMM_IV)
#define Id I_KIND(IMM_ID)
#define IbIb I_KIND(IMM_IB2)
#define IwIb I_KIND(IMM_ENTER)
#define Jb I_KIND(IMM_JB)
#define Jz I_KIND(IMM_JZ)
#define Ap I_KIND(IMM_AP)
#define Moffs_v I_KIND(IMM_OV)
#define Moffs_b (I_KIND(IMM_OBY) | A_OS8)

/* Flags, in one byte: as in RFLAGS, with OF at bit 1 and DF at bit 3. */
#define F_C 0x01
#define F_O 0x02
#define F_P 0x04
#define F_D 0x08
#define F_A 0x10
#define F_Z 0x40
#define F_S 0x80
#define F_ALL (F_C | F_O | F_P | F_A | F_Z | F_S)
#define F_ROW_EXPAND(f) (((f) & 0xd5u) | ((f) & 2u) << 10 | ((f) & 8u) << 7)

/* Implied registers */
#define r_AX 1
#define r_CX 2
#define r_DX 4
#define r_BX 8
#define r_SP 16
#define r_BP 32
#define r_SI 64
#define r_DI 128

/* Rows: plain; plain with flags; plain with flags and registers; of a class. */
#define P(words) { (words), IC_PLAIN, 0, 0, 0, 0, 0, {0} }
#define PF(words, fr, fw) { (words), IC_PLAIN, fr, fw, 0, 0, 0, {0} }
#define PR(words, fr, fw, rr, rw) { (words), IC_PLAIN, fr, fw, rr, rw, 0, {0} }
#define K(name, words) { (words), IC_##name, 0, 0, 0, 0, 0, {0} }
#define KR(name, words, fr, fw, rr, rw) { (words), IC_##name, fr, fw, rr, rw, 0, {0} }
#define UD { 0, 0, 0, 0, 0, 0, 0, {0} }
#define GRP(name) GRPA(name, A_MODRM)
#define GRPA(name, words) { (words), IC_INVALID, 0, 0, 0, 0, GRP_##name, {0} }
/* The same row whatever the prefix; for none and 66 only; for none only. */
#define ANY(...) { __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__ }

/* Columns of a two-byte opcode: the mandatory prefix, as in VEX.pp. */
enum { NP, P66, PF3, PF2 };

/* Groups: rows by ModRM.reg, first the memory forms, then the register forms.  Those above
 * GRP_BY_RM are eight rows by ModRM.rm (register forms only). */
#define ROW_GROUPS(X) \
	X(1_EB) X(1_EV) X(1_EBS) X(1A) X(2_EBIB) X(2_EVIB) X(2_EB1) X(2_EV1) X(2_EBCL) X(2_EVCL) \
	X(3B) X(3V) X(4) X(5) X(11B) X(11V) X(D8) X(D9) X(DA) X(DB) X(DC) X(DD) X(DE) X(DF) \
	X(6) X(7) X(7_66) X(7_F3) X(7_F2) X(8) X(9) X(9_66) X(9_F3) X(9_F2) X(12) X(14) X(14_66) \
	X(15) X(15_66) X(15_F3) X(15_F2) X(17) X(D8_F3) X(F0_F3) \
	X(VEX_12) X(VEX_14) X(VEX_15) X(VEX_17) X(VEX_49) X(VEX_49_66) X(VEX_49_F2) \
	X(EVEX_12) X(EVEX_13) X(EVEX_14) X(EVEX_C6) X(XOP_01) X(XOP_02) X(XOP_12) X(XOP_A12)
#define ROW_RM_GROUPS(X) \
	X(11B_7) X(11V_7) X(D9_2) X(D9_4) X(D9_5) X(DA_5) X(DB_4) X(DE_3) X(DF_4) \
	X(7_0) X(7_1) X(7_2) X(7_3) X(7_5) X(7_7) X(7_66_1) X(7_66_7) X(7_F3_5) X(7_F3_7) X(7_F2_5) X(7_F2_7) \
	X(F0_F3_0) X(VEX_49_0) X(VEX_49_F2_0)
#define ROW_GROUP_ID(name) GRP_##name,
enum row_group { GRP_NONE, ROW_GROUPS(ROW_GROUP_ID) GRP_BY_RM, ROW_RM_GROUPS(ROW_GROUP_ID) GRP_COUNT };

extern const struct row row_map_1b[256];
extern const struct row row_map_0f[256][4], row_map_0f38[256][4], row_map_0f3a[256][4];
extern const struct row row_vex_0f[256][4], row_vex_0f38[256][4], row_vex_0f3a[256][4];
extern const struct row row_evex_0f[256][4], row_evex_0f38[256][4], row_evex_0f3a[256][4];
extern const struct row row_evex_5[256][4], row_evex_6[256][4];
extern const struct row row_xop_8[256], row_xop_9[256], row_xop_a[256];
extern const struct row row_groups[GRP_COUNT][16];
extern const u8 row_3dnow_valid[32];

#endif
