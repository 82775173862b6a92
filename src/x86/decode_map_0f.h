/* SPDX-License-Identifier: MIT
 * Vector, mask and x87-free part of the two-byte opcodes (0F).  SDM 2D, table A-3; SDM 2C, chapter 5.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
L(0x0f, NP, P(W_r(SZ_Q) | Ib | FIX)) /* 3DNow!: the last byte is the opcode */
L(0x0f, P66, P(W_r(SZ_Q) | Ib | FIX))
L(0x0f, PF3, P(W_r(SZ_Q) | Ib | FIX))
L(0x0f, PF2, P(W_r(SZ_Q) | Ib | FIX))
LVE(0x10, NP, P(W_r(SZ_X) | EW0 | MK)) /* MOVUPS */
LVE(0x10, P66, P(W_r(SZ_X) | EW1 | MK)) /* MOVUPD */
LVE(0x10, PF3, P(W_r(SZ_D) | H_ | HREG | EW0 | MK)) /* MOVSS */
LVE(0x10, PF2, P(W_r(SZ_Q) | H_ | HREG | EW1 | MK)) /* MOVSD */
LVE(0x11, NP, P(W_w(SZ_X) | EW0 | MK)) /* MOVUPS */
LVE(0x11, P66, P(W_w(SZ_X) | EW1 | MK)) /* MOVUPD */
LVE(0x11, PF3, P(W_w(SZ_D) | H_ | HREG | EW0 | MK)) /* MOVSS */
LVE(0x11, PF2, P(W_w(SZ_Q) | H_ | HREG | EW1 | MK)) /* MOVSD */
LVE(0x12, NP, P(W_r(SZ_Q) | H_ | VL0 | EL0 | EW0)) /* MOVLPS MOVHLPS */
LVE(0x12, P66, P(M_r(SZ_Q) | H_ | VL0 | EL0 | EW1)) /* MOVLPD */
LVE(0x12, PF3, P(W_r(SZ_X) | EW0 | MK)) /* MOVSLDUP */
LVE(0x12, PF2, P(W_r(SZ_DUP) | EW1 | MK)) /* MOVDDUP */
LVE(0x13, NP, P(M_w(SZ_Q) | VL0 | EL0 | EW0)) /* MOVLPS */
LVE(0x13, P66, P(M_w(SZ_Q) | VL0 | EL0 | EW1)) /* MOVLPD */
LVE(0x14, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* UNPCKLPS */
LVE(0x14, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* UNPCKLPD */
LVE(0x15, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* UNPCKHPS */
LVE(0x15, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* UNPCKHPD */
LVE(0x16, NP, P(W_r(SZ_Q) | H_ | VL0 | EL0 | EW0)) /* MOVHPS MOVLHPS */
LVE(0x16, P66, P(M_r(SZ_Q) | H_ | VL0 | EL0 | EW1)) /* MOVHPD */
LVE(0x16, PF3, P(W_r(SZ_X) | EW0 | MK)) /* MOVSHDUP */
LVE(0x17, NP, P(M_w(SZ_Q) | VL0 | EL0 | EW0)) /* MOVHPS */
LVE(0x17, P66, P(M_w(SZ_Q) | VL0 | EL0 | EW1)) /* MOVHPD */
LVE(0x28, NP, P(W_r(SZ_X) | EW0 | MK)) /* MOVAPS */
LVE(0x28, P66, P(W_r(SZ_X) | EW1 | MK)) /* MOVAPD */
LVE(0x29, NP, P(W_w(SZ_X) | EW0 | MK)) /* MOVAPS */
LVE(0x29, P66, P(W_w(SZ_X) | EW1 | MK)) /* MOVAPD */
L(0x2a, NP, P(W_r(SZ_Q))) /* CVTPI2PS */
L(0x2a, P66, P(W_r(SZ_Q))) /* CVTPI2PD */
LVE(0x2a, PF3, P(E_r(SZ_Y) | H_ | RC)) /* CVTSI2SS */
LVE(0x2a, PF2, P(E_r(SZ_Y) | H_ | RC)) /* CVTSI2SD */
LVE(0x2b, NP, P(M_w(SZ_X) | EW0)) /* MOVNTPS */
LVE(0x2b, P66, P(M_w(SZ_X) | EW1)) /* MOVNTPD */
L(0x2b, PF3, P(M_w(SZ_D))) /* MOVNTSS */
L(0x2b, PF2, P(M_w(SZ_Q))) /* MOVNTSD */
L(0x2c, NP, P(W_r(SZ_Q))) /* CVTTPS2PI */
L(0x2c, P66, P(W_r(SZ_X))) /* CVTTPD2PI */
LVE(0x2c, PF3, P(W_r(SZ_D) | G_w(SZ_Y) | RC)) /* CVTTSS2SI */
LVE(0x2c, PF2, P(W_r(SZ_Q) | G_w(SZ_Y) | RC)) /* CVTTSD2SI */
L(0x2d, NP, P(W_r(SZ_Q))) /* CVTPS2PI */
L(0x2d, P66, P(W_r(SZ_X))) /* CVTPD2PI */
LVE(0x2d, PF3, P(W_r(SZ_D) | G_w(SZ_Y) | RC)) /* CVTSS2SI */
LVE(0x2d, PF2, P(W_r(SZ_Q) | G_w(SZ_Y) | RC)) /* CVTSD2SI */
LVE(0x2e, NP, PF(W_r(SZ_D) | EW0 | RC, 0, F_ALL)) /* UCOMISS */
LVE(0x2e, P66, PF(W_r(SZ_Q) | EW1 | RC, 0, F_ALL)) /* UCOMISD */
LVE(0x2f, NP, PF(W_r(SZ_D) | EW0 | RC, 0, F_ALL)) /* COMISS */
LVE(0x2f, P66, PF(W_r(SZ_Q) | EW1 | RC, 0, F_ALL)) /* COMISD */
V(0x41, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KANDW KANDQ */
V(0x41, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KANDB KANDD */
V(0x42, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KANDNW KANDNQ */
V(0x42, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KANDNB KANDND */
V(0x44, NP, P(U_ | GK | UK | VL0)) /* KNOTW KNOTQ */
V(0x44, P66, P(U_ | GK | UK | VL0)) /* KNOTB KNOTD */
V(0x45, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KORW KORQ */
V(0x45, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KORB KORD */
V(0x46, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KXNORW KXNORQ */
V(0x46, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KXNORB KXNORD */
V(0x47, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KXORW KXORQ */
V(0x47, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KXORB KXORD */
V(0x4a, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KADDW KADDQ */
V(0x4a, P66, P(U_ | H_ | GK | HK | UK | VL1)) /* KADDB KADDD */
V(0x4b, NP, P(U_ | H_ | GK | HK | UK | VL1)) /* KUNPCKWD KUNPCKDQ */
V(0x4b, P66, P(U_ | H_ | GK | HK | UK | VL1 | VW0)) /* KUNPCKBW */
L(0x50, NP, P(U_ | G_w(SZ_Y))) /* MOVMSKPS */
V(0x50, NP, P(U_ | G_w(SZ_D))) /* VMOVMSKPS */
L(0x50, P66, P(U_ | G_w(SZ_Y))) /* MOVMSKPD */
V(0x50, P66, P(U_ | G_w(SZ_D))) /* VMOVMSKPD */
LVE(0x51, NP, P(W_r(SZ_X) | EW0 | MK | BC | RC)) /* SQRTPS */
LVE(0x51, P66, P(W_r(SZ_X) | EW1 | MK | BC | RC)) /* SQRTPD */
LVE(0x51, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* SQRTSS */
LVE(0x51, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* SQRTSD */
LV(0x52, NP, P(W_r(SZ_X))) /* RSQRTPS */
LV(0x52, PF3, P(W_r(SZ_D) | H_)) /* RSQRTSS */
LV(0x53, NP, P(W_r(SZ_X))) /* RCPPS */
LV(0x53, PF3, P(W_r(SZ_D) | H_)) /* RCPSS */
LVE(0x54, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* ANDPS */
LVE(0x54, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* ANDPD */
LVE(0x55, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* ANDNPS */
LVE(0x55, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* ANDNPD */
LVE(0x56, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* ORPS */
LVE(0x56, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* ORPD */
LVE(0x57, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* XORPS */
LVE(0x57, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* XORPD */
LVE(0x58, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* ADDPS */
LVE(0x58, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* ADDPD */
LVE(0x58, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* ADDSS */
LVE(0x58, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* ADDSD */
LVE(0x59, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* MULPS */
LVE(0x59, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* MULPD */
LVE(0x59, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* MULSS */
LVE(0x59, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* MULSD */
LVE(0x5a, NP, P(W_r(SZ_XH) | EW0 | MK | BC | RC)) /* CVTPS2PD */
LVE(0x5a, P66, P(W_r(SZ_X) | EW1 | MK | BC | RC)) /* CVTPD2PS */
LVE(0x5a, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* CVTSS2SD */
LVE(0x5a, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* CVTSD2SS */
LVE(0x5b, NP, P(W_r(SZ_X) | MK | BC | RC)) /* CVTDQ2PS */
LVE(0x5b, P66, P(W_r(SZ_X) | EW0 | MK | BC | RC)) /* CVTPS2DQ */
LVE(0x5b, PF3, P(W_r(SZ_X) | EW0 | MK | BC | RC)) /* CVTTPS2DQ */
LVE(0x5c, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* SUBPS */
LVE(0x5c, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* SUBPD */
LVE(0x5c, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* SUBSS */
LVE(0x5c, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* SUBSD */
LVE(0x5d, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* MINPS */
LVE(0x5d, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* MINPD */
LVE(0x5d, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* MINSS */
LVE(0x5d, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* MINSD */
LVE(0x5e, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* DIVPS */
LVE(0x5e, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* DIVPD */
LVE(0x5e, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* DIVSS */
LVE(0x5e, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* DIVSD */
LVE(0x5f, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC | RC)) /* MAXPS */
LVE(0x5f, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC | RC)) /* MAXPD */
LVE(0x5f, PF3, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* MAXSS */
LVE(0x5f, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* MAXSD */
L(0x60, NP, P(W_r(SZ_D))) /* PUNPCKLBW */
LVE(0x60, P66, P(W_r(SZ_X) | H_ | MK)) /* PUNPCKLBW */
L(0x61, NP, P(W_r(SZ_D))) /* PUNPCKLWD */
LVE(0x61, P66, P(W_r(SZ_X) | H_ | MK)) /* PUNPCKLWD */
L(0x62, NP, P(W_r(SZ_D))) /* PUNPCKLDQ */
LVE(0x62, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PUNPCKLDQ */
L(0x63, NP, P(W_r(SZ_Q))) /* PACKSSWB */
LVE(0x63, P66, P(W_r(SZ_X) | H_ | MK)) /* PACKSSWB */
L(0x64, NP, P(W_r(SZ_Q))) /* PCMPGTB */
LV(0x64, P66, P(W_r(SZ_X) | H_)) /* PCMPGTB */
E(0x64, P66, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPCMPGTB */
L(0x65, NP, P(W_r(SZ_Q))) /* PCMPGTW */
LV(0x65, P66, P(W_r(SZ_X) | H_)) /* PCMPGTW */
E(0x65, P66, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPCMPGTW */
L(0x66, NP, P(W_r(SZ_Q))) /* PCMPGTD */
LV(0x66, P66, P(W_r(SZ_X) | H_)) /* PCMPGTD */
E(0x66, P66, P(W_r(SZ_X) | H_ | GK | EW0 | MKM | BC)) /* VPCMPGTD */
L(0x67, NP, P(W_r(SZ_Q))) /* PACKUSWB */
LVE(0x67, P66, P(W_r(SZ_X) | H_ | MK)) /* PACKUSWB */
L(0x68, NP, P(W_r(SZ_Q))) /* PUNPCKHBW */
LVE(0x68, P66, P(W_r(SZ_X) | H_ | MK)) /* PUNPCKHBW */
L(0x69, NP, P(W_r(SZ_Q))) /* PUNPCKHWD */
LVE(0x69, P66, P(W_r(SZ_X) | H_ | MK)) /* PUNPCKHWD */
L(0x6a, NP, P(W_r(SZ_Q))) /* PUNPCKHDQ */
LVE(0x6a, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PUNPCKHDQ */
L(0x6b, NP, P(W_r(SZ_Q))) /* PACKSSDW */
LVE(0x6b, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PACKSSDW */
LVE(0x6c, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PUNPCKLQDQ */
LVE(0x6d, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PUNPCKHQDQ */
L(0x6e, NP, P(E_r(SZ_Y))) /* MOVD MOVQ */
LVE(0x6e, P66, P(E_r(SZ_Y) | VL0 | EL0)) /* MOVD MOVQ */
L(0x6f, NP, P(W_r(SZ_Q))) /* MOVQ */
LVE(0x6f, P66, P(W_r(SZ_X) | MK)) /* MOVDQA */
LVE(0x6f, PF3, P(W_r(SZ_X) | MK)) /* MOVDQU */
E(0x6f, PF2, P(W_r(SZ_X) | MK)) /* VMOVDQU8 VMOVDQU16 */
L(0x70, NP, P(W_r(SZ_Q) | Ib)) /* PSHUFW */
LVE(0x70, P66, P(W_r(SZ_X) | Ib | EW0 | MK | BC)) /* PSHUFD */
LVE(0x70, PF3, P(W_r(SZ_X) | Ib | MK)) /* PSHUFHW */
LVE(0x70, PF2, P(W_r(SZ_X) | Ib | MK)) /* PSHUFLW */
L(0x71, NP, GRP(12))
L(0x71, P66, GRP(12))
V(0x71, P66, GRP(VEX_12))
E(0x71, P66, GRP(EVEX_12))
L(0x72, NP, GRP(12))
L(0x72, P66, GRP(12))
V(0x72, P66, GRP(VEX_12))
E(0x72, P66, GRP(EVEX_13))
L(0x73, NP, GRP(14))
L(0x73, P66, GRP(14_66))
V(0x73, P66, GRP(VEX_14))
E(0x73, P66, GRP(EVEX_14))
L(0x74, NP, P(W_r(SZ_Q))) /* PCMPEQB */
LV(0x74, P66, P(W_r(SZ_X) | H_)) /* PCMPEQB */
E(0x74, P66, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPCMPEQB */
L(0x75, NP, P(W_r(SZ_Q))) /* PCMPEQW */
LV(0x75, P66, P(W_r(SZ_X) | H_)) /* PCMPEQW */
E(0x75, P66, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPCMPEQW */
L(0x76, NP, P(W_r(SZ_Q))) /* PCMPEQD */
LV(0x76, P66, P(W_r(SZ_X) | H_)) /* PCMPEQD */
E(0x76, P66, P(W_r(SZ_X) | H_ | GK | EW0 | MKM | BC)) /* VPCMPEQD */
LV(0x77, NP, P(0)) /* EMMS */
E(0x78, NP, P(W_r(SZ_X) | MK | BC | RC)) /* VCVTTPS2UDQ VCVTTPD2UDQ */
E(0x78, P66, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTTPS2UQQ VCVTTPD2UQQ */
L(0x78, P66, GRP(17)) /* EXTRQ */
E(0x78, PF3, P(W_r(SZ_D) | G_w(SZ_Y) | RC)) /* VCVTTSS2USI */
L(0x78, PF2, P(U_ | IbIb)) /* INSERTQ */
E(0x78, PF2, P(W_r(SZ_Q) | G_w(SZ_Y) | RC)) /* VCVTTSD2USI */
E(0x79, NP, P(W_r(SZ_X) | MK | BC | RC)) /* VCVTPS2UDQ VCVTPD2UDQ */
L(0x79, P66, P(U_)) /* EXTRQ */
E(0x79, P66, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTPS2UQQ VCVTPD2UQQ */
E(0x79, PF3, P(W_r(SZ_D) | G_w(SZ_Y) | RC)) /* VCVTSS2USI */
L(0x79, PF2, P(U_)) /* INSERTQ */
E(0x79, PF2, P(W_r(SZ_Q) | G_w(SZ_Y) | RC)) /* VCVTSD2USI */
E(0x7a, P66, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTTPS2QQ VCVTTPD2QQ */
E(0x7a, PF3, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTUDQ2PD VCVTUQQ2PD */
E(0x7a, PF2, P(W_r(SZ_X) | MK | BC | RC)) /* VCVTUDQ2PS VCVTUQQ2PS */
E(0x7b, P66, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTPS2QQ VCVTPD2QQ */
E(0x7b, PF3, P(E_r(SZ_Y) | H_ | RC)) /* VCVTUSI2SS */
E(0x7b, PF2, P(E_r(SZ_Y) | H_ | RC)) /* VCVTUSI2SD */
LV(0x7c, P66, P(W_r(SZ_X) | H_)) /* HADDPD */
LV(0x7c, PF2, P(W_r(SZ_X) | H_)) /* HADDPS */
LV(0x7d, P66, P(W_r(SZ_X) | H_)) /* HSUBPD */
LV(0x7d, PF2, P(W_r(SZ_X) | H_)) /* HSUBPS */
L(0x7e, NP, P(E_w(SZ_Y))) /* MOVD MOVQ */
LVE(0x7e, P66, P(E_w(SZ_Y) | VL0 | EL0)) /* MOVD MOVQ */
LVE(0x7e, PF3, P(W_r(SZ_Q) | VL0 | EL0 | EW1)) /* MOVQ */
L(0x7f, NP, P(W_w(SZ_Q))) /* MOVQ */
LVE(0x7f, P66, P(W_w(SZ_X) | MK)) /* MOVDQA */
LVE(0x7f, PF3, P(W_w(SZ_X) | MK)) /* MOVDQU */
E(0x7f, PF2, P(W_w(SZ_X) | MK)) /* VMOVDQU8 VMOVDQU16 */
V(0x90, NP, P(W_r(SZ_KW) | GK | UK | VL0)) /* KMOVW KMOVQ */
V(0x90, P66, P(W_r(SZ_KB) | GK | UK | VL0)) /* KMOVB KMOVD */
V(0x91, NP, P(M_w(SZ_KW) | GK | VL0)) /* KMOVW KMOVQ */
V(0x91, P66, P(M_w(SZ_KB) | GK | VL0)) /* KMOVB KMOVD */
V(0x92, NP, P(R_r(SZ_Y) | GK | VL0 | VW0)) /* KMOVW */
V(0x92, P66, P(R_r(SZ_Y) | GK | VL0 | VW0)) /* KMOVB */
V(0x92, PF2, P(R_r(SZ_Y) | GK | VL0)) /* KMOVD KMOVQ */
V(0x93, NP, P(U_ | G_w(SZ_Y) | UK | VL0 | VW0)) /* KMOVW */
V(0x93, P66, P(U_ | G_w(SZ_Y) | UK | VL0 | VW0)) /* KMOVB */
V(0x93, PF2, P(U_ | G_w(SZ_Y) | UK | VL0)) /* KMOVD KMOVQ */
V(0x98, NP, PF(U_ | GK | UK | VL0, 0, F_ALL)) /* KORTESTW KORTESTQ */
V(0x98, P66, PF(U_ | GK | UK | VL0, 0, F_ALL)) /* KORTESTB KORTESTD */
V(0x99, NP, PF(U_ | GK | UK | VL0, 0, F_ALL)) /* KTESTW KTESTQ */
V(0x99, P66, PF(U_ | GK | UK | VL0, 0, F_ALL)) /* KTESTB KTESTD */
V(0xae, NP, GRP(VEX_15)) /* VLDMXCSR VSTMXCSR */
LV(0xc2, NP, P(W_r(SZ_X) | H_ | Ib)) /* CMPPS */
E(0xc2, NP, P(W_r(SZ_X) | H_ | Ib | GK | EW0 | MKM | BC | RC)) /* VCMPPS */
LV(0xc2, P66, P(W_r(SZ_X) | H_ | Ib)) /* CMPPD */
E(0xc2, P66, P(W_r(SZ_X) | H_ | Ib | GK | EW1 | MKM | BC | RC)) /* VCMPPD */
LV(0xc2, PF3, P(W_r(SZ_D) | H_ | Ib)) /* CMPSS */
E(0xc2, PF3, P(W_r(SZ_D) | H_ | Ib | GK | EW0 | MKM | RC)) /* VCMPSS */
LV(0xc2, PF2, P(W_r(SZ_Q) | H_ | Ib)) /* CMPSD */
E(0xc2, PF2, P(W_r(SZ_Q) | H_ | Ib | GK | EW1 | MKM | RC)) /* VCMPSD */
L(0xc4, NP, P(ERM_r(SZ_W) | Ib)) /* PINSRW */
LVE(0xc4, P66, P(ERM_r(SZ_W) | H_ | Ib | VL0 | EL0)) /* PINSRW */
L(0xc5, NP, P(U_ | G_w(SZ_D) | Ib)) /* PEXTRW */
LVE(0xc5, P66, P(U_ | G_w(SZ_D) | Ib | VL0 | EL0)) /* PEXTRW */
LVE(0xc6, NP, P(W_r(SZ_X) | H_ | Ib | EW0 | MK | BC)) /* SHUFPS */
LVE(0xc6, P66, P(W_r(SZ_X) | H_ | Ib | EW1 | MK | BC)) /* SHUFPD */
LV(0xd0, P66, P(W_r(SZ_X) | H_)) /* ADDSUBPD */
LV(0xd0, PF2, P(W_r(SZ_X) | H_)) /* ADDSUBPS */
L(0xd1, NP, P(W_r(SZ_Q))) /* PSRLW */
LVE(0xd1, P66, P(W_r(SZ_DQ) | H_ | MK)) /* PSRLW */
L(0xd2, NP, P(W_r(SZ_Q))) /* PSRLD */
LVE(0xd2, P66, P(W_r(SZ_DQ) | H_ | EW0 | MK)) /* PSRLD */
L(0xd3, NP, P(W_r(SZ_Q))) /* PSRLQ */
LVE(0xd3, P66, P(W_r(SZ_DQ) | H_ | EW1 | MK)) /* PSRLQ */
L(0xd4, NP, P(W_r(SZ_Q))) /* PADDQ */
LVE(0xd4, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PADDQ */
L(0xd5, NP, P(W_r(SZ_Q))) /* PMULLW */
LVE(0xd5, P66, P(W_r(SZ_X) | H_ | MK)) /* PMULLW */
LVE(0xd6, P66, P(W_w(SZ_Q) | VL0 | EL0 | EW1)) /* MOVQ */
L(0xd6, PF3, P(U_)) /* MOVQ2DQ */
L(0xd6, PF2, P(U_)) /* MOVDQ2Q */
L(0xd7, NP, P(U_ | G_w(SZ_D))) /* PMOVMSKB */
LV(0xd7, P66, P(U_ | G_w(SZ_D))) /* PMOVMSKB */
L(0xd8, NP, P(W_r(SZ_Q))) /* PSUBUSB */
LVE(0xd8, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBUSB */
L(0xd9, NP, P(W_r(SZ_Q))) /* PSUBUSW */
LVE(0xd9, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBUSW */
L(0xda, NP, P(W_r(SZ_Q))) /* PMINUB */
LVE(0xda, P66, P(W_r(SZ_X) | H_ | MK)) /* PMINUB */
L(0xdb, NP, P(W_r(SZ_Q))) /* PAND */
LVE(0xdb, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PAND */
L(0xdc, NP, P(W_r(SZ_Q))) /* PADDUSB */
LVE(0xdc, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDUSB */
L(0xdd, NP, P(W_r(SZ_Q))) /* PADDUSW */
LVE(0xdd, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDUSW */
L(0xde, NP, P(W_r(SZ_Q))) /* PMAXUB */
LVE(0xde, P66, P(W_r(SZ_X) | H_ | MK)) /* PMAXUB */
L(0xdf, NP, P(W_r(SZ_Q))) /* PANDN */
LVE(0xdf, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PANDN */
L(0xe0, NP, P(W_r(SZ_Q))) /* PAVGB */
LVE(0xe0, P66, P(W_r(SZ_X) | H_ | MK)) /* PAVGB */
L(0xe1, NP, P(W_r(SZ_Q))) /* PSRAW */
LVE(0xe1, P66, P(W_r(SZ_DQ) | H_ | MK)) /* PSRAW */
L(0xe2, NP, P(W_r(SZ_Q))) /* PSRAD */
LVE(0xe2, P66, P(W_r(SZ_DQ) | H_ | MK)) /* PSRAD */
L(0xe3, NP, P(W_r(SZ_Q))) /* PAVGW */
LVE(0xe3, P66, P(W_r(SZ_X) | H_ | MK)) /* PAVGW */
L(0xe4, NP, P(W_r(SZ_Q))) /* PMULHUW */
LVE(0xe4, P66, P(W_r(SZ_X) | H_ | MK)) /* PMULHUW */
L(0xe5, NP, P(W_r(SZ_Q))) /* PMULHW */
LVE(0xe5, P66, P(W_r(SZ_X) | H_ | MK)) /* PMULHW */
LVE(0xe6, P66, P(W_r(SZ_X) | EW1 | MK | BC | RC)) /* CVTTPD2DQ */
LV(0xe6, PF3, P(W_r(SZ_XH))) /* CVTDQ2PD */
E(0xe6, PF3, P(W_r(SZ_XHW) | MK | BC | RC)) /* VCVTDQ2PD VCVTQQ2PD */
LVE(0xe6, PF2, P(W_r(SZ_X) | EW1 | MK | BC | RC)) /* CVTPD2DQ */
L(0xe7, NP, P(M_w(SZ_Q))) /* MOVNTQ */
LVE(0xe7, P66, P(M_w(SZ_X) | EW0)) /* MOVNTDQ */
L(0xe8, NP, P(W_r(SZ_Q))) /* PSUBSB */
LVE(0xe8, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBSB */
L(0xe9, NP, P(W_r(SZ_Q))) /* PSUBSW */
LVE(0xe9, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBSW */
L(0xea, NP, P(W_r(SZ_Q))) /* PMINSW */
LVE(0xea, P66, P(W_r(SZ_X) | H_ | MK)) /* PMINSW */
L(0xeb, NP, P(W_r(SZ_Q))) /* POR */
LVE(0xeb, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* POR */
L(0xec, NP, P(W_r(SZ_Q))) /* PADDSB */
LVE(0xec, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDSB */
L(0xed, NP, P(W_r(SZ_Q))) /* PADDSW */
LVE(0xed, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDSW */
L(0xee, NP, P(W_r(SZ_Q))) /* PMAXSW */
LVE(0xee, P66, P(W_r(SZ_X) | H_ | MK)) /* PMAXSW */
L(0xef, NP, P(W_r(SZ_Q))) /* PXOR */
LVE(0xef, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PXOR */
LV(0xf0, PF2, P(M_r(SZ_X))) /* LDDQU */
L(0xf1, NP, P(W_r(SZ_Q))) /* PSLLW */
LVE(0xf1, P66, P(W_r(SZ_DQ) | H_ | MK)) /* PSLLW */
L(0xf2, NP, P(W_r(SZ_Q))) /* PSLLD */
LVE(0xf2, P66, P(W_r(SZ_DQ) | H_ | EW0 | MK)) /* PSLLD */
L(0xf3, NP, P(W_r(SZ_Q))) /* PSLLQ */
LVE(0xf3, P66, P(W_r(SZ_DQ) | H_ | EW1 | MK)) /* PSLLQ */
L(0xf4, NP, P(W_r(SZ_Q))) /* PMULUDQ */
LVE(0xf4, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PMULUDQ */
L(0xf5, NP, P(W_r(SZ_Q))) /* PMADDWD */
LVE(0xf5, P66, P(W_r(SZ_X) | H_ | MK)) /* PMADDWD */
L(0xf6, NP, P(W_r(SZ_Q))) /* PSADBW */
LVE(0xf6, P66, P(W_r(SZ_X) | H_)) /* PSADBW */
L(0xf7, NP, KR(MASKMOV, U_, 0, 0, r_DI, 0)) /* MASKMOVQ */
LV(0xf7, P66, KR(MASKMOV, U_ | VL0, 0, 0, r_DI, 0)) /* MASKMOVDQU */
L(0xf8, NP, P(W_r(SZ_Q))) /* PSUBB */
LVE(0xf8, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBB */
L(0xf9, NP, P(W_r(SZ_Q))) /* PSUBW */
LVE(0xf9, P66, P(W_r(SZ_X) | H_ | MK)) /* PSUBW */
L(0xfa, NP, P(W_r(SZ_Q))) /* PSUBD */
LVE(0xfa, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PSUBD */
L(0xfb, NP, P(W_r(SZ_Q))) /* PSUBQ */
LVE(0xfb, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PSUBQ */
L(0xfc, NP, P(W_r(SZ_Q))) /* PADDB */
LVE(0xfc, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDB */
L(0xfd, NP, P(W_r(SZ_Q))) /* PADDW */
LVE(0xfd, P66, P(W_r(SZ_X) | H_ | MK)) /* PADDW */
L(0xfe, NP, P(W_r(SZ_Q))) /* PADDD */
LVE(0xfe, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PADDD */
