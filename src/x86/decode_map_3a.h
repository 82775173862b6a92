/* SPDX-License-Identifier: MIT
 * Three-byte opcodes 0F 3A.  SDM 2D, table A-5; SDM 2C, chapter 5.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
VE(0x00, P66, P(W_r(SZ_X) | Ib | VL1 | VW1 | EL12 | EW1 | MK | BC)) /* VPERMQ */
VE(0x01, P66, P(W_r(SZ_X) | Ib | VL1 | VW1 | EL12 | EW1 | MK | BC)) /* VPERMPD */
V(0x02, P66, P(W_r(SZ_X) | H_ | Ib | VW0)) /* VPBLENDD */
E(0x03, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC)) /* VALIGND VALIGNQ */
VE(0x04, P66, P(W_r(SZ_X) | Ib | VW0 | EW0 | MK | BC)) /* VPERMILPS */
VE(0x05, P66, P(W_r(SZ_X) | Ib | VW0 | EW1 | MK | BC)) /* VPERMILPD */
V(0x06, P66, P(W_r(SZ_X) | H_ | Ib | VL1 | VW0)) /* VPERM2F128 */
E(0x08, NP, P(W_r(SZ_X) | Ib | EW0 | MK | BC2 | RC)) /* VRNDSCALEPH */
LVE(0x08, P66, P(W_r(SZ_X) | Ib | EW0 | MK | BC | RC)) /* ROUNDPS */
LVE(0x09, P66, P(W_r(SZ_X) | Ib | EW1 | MK | BC | RC)) /* ROUNDPD */
E(0x0a, NP, P(W_r(SZ_W) | H_ | Ib | EW0 | MK | RC)) /* VRNDSCALESH */
LVE(0x0a, P66, P(W_r(SZ_D) | H_ | Ib | EW0 | MK | RC)) /* ROUNDSS */
LVE(0x0b, P66, P(W_r(SZ_Q) | H_ | Ib | EW1 | MK | RC)) /* ROUNDSD */
LV(0x0c, P66, P(W_r(SZ_X) | H_ | Ib)) /* BLENDPS */
LV(0x0d, P66, P(W_r(SZ_X) | H_ | Ib)) /* BLENDPD */
LV(0x0e, P66, P(W_r(SZ_X) | H_ | Ib)) /* PBLENDW */
L(0x0f, NP, P(W_r(SZ_Q) | Ib)) /* PALIGNR */
LVE(0x0f, P66, P(W_r(SZ_X) | H_ | Ib | MK)) /* PALIGNR */
LVE(0x14, P66, P(ERM_w(SZ_B) | Ib | VL0 | EL0)) /* PEXTRB */
LVE(0x15, P66, P(ERM_w(SZ_W) | Ib | VL0 | EL0)) /* PEXTRW */
LVE(0x16, P66, P(E_w(SZ_Y) | Ib | VL0 | EL0)) /* PEXTRD PEXTRQ */
LVE(0x17, P66, P(E_w(SZ_D) | Ib | VL0 | EL0)) /* EXTRACTPS */
VE(0x18, P66, P(W_r(SZ_DQ) | H_ | Ib | VL1 | VW0 | EL12 | MK)) /* VINSERTF128 */
VE(0x19, P66, P(W_w(SZ_DQ) | Ib | VL1 | VW0 | EL12 | MK)) /* VEXTRACTF128 */
E(0x1a, P66, P(W_r(SZ_XH) | H_ | Ib | EL2 | MK)) /* VINSERTF32X8 VINSERTF64X4 */
E(0x1b, P66, P(W_w(SZ_XH) | Ib | EL2 | MK)) /* VEXTRACTF32X8 VEXTRACTF64X4 */
VE(0x1d, P66, P(W_w(SZ_XH) | Ib | VW0 | EW0 | MK | RC)) /* VCVTPS2PH */
E(0x1e, P66, P(W_r(SZ_X) | H_ | Ib | GK | MKM | BC)) /* VPCMPUD VPCMPUQ */
E(0x1f, P66, P(W_r(SZ_X) | H_ | Ib | GK | MKM | BC)) /* VPCMPD VPCMPQ */
LVE(0x20, P66, P(ERM_r(SZ_B) | H_ | Ib | VL0 | EL0)) /* PINSRB */
LVE(0x21, P66, P(W_r(SZ_D) | H_ | Ib | VL0 | EL0 | EW0)) /* INSERTPS */
LVE(0x22, P66, P(E_r(SZ_Y) | H_ | Ib | VL0 | EL0)) /* PINSRD PINSRQ */
E(0x23, P66, P(W_r(SZ_X) | H_ | Ib | EL12 | MK | BC)) /* VSHUFF32X4 VSHUFF64X2 */
E(0x25, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC)) /* VPTERNLOGD VPTERNLOGQ */
E(0x26, NP, P(W_r(SZ_X) | Ib | EW0 | MK | BC2 | RC)) /* VGETMANTPH */
E(0x26, P66, P(W_r(SZ_X) | Ib | MK | BC | RC)) /* VGETMANTPS VGETMANTPD */
E(0x27, NP, P(W_r(SZ_W) | H_ | Ib | EW0 | MK | RC)) /* VGETMANTSH */
E(0x27, P66, P(W_r(SZ_VS) | H_ | Ib | MK | RC)) /* VGETMANTSS VGETMANTSD */
V(0x30, P66, P(U_ | Ib | GK | UK | VL0)) /* KSHIFTRB KSHIFTRW */
V(0x31, P66, P(U_ | Ib | GK | UK | VL0)) /* KSHIFTRD KSHIFTRQ */
V(0x32, P66, P(U_ | Ib | GK | UK | VL0)) /* KSHIFTLB KSHIFTLW */
V(0x33, P66, P(U_ | Ib | GK | UK | VL0)) /* KSHIFTLD KSHIFTLQ */
VE(0x38, P66, P(W_r(SZ_DQ) | H_ | Ib | VL1 | VW0 | EL12 | MK)) /* VINSERTI128 */
VE(0x39, P66, P(W_w(SZ_DQ) | Ib | VL1 | VW0 | EL12 | MK)) /* VEXTRACTI128 */
E(0x3a, P66, P(W_r(SZ_XH) | H_ | Ib | EL2 | MK)) /* VINSERTI32X8 VINSERTI64X4 */
E(0x3b, P66, P(W_w(SZ_XH) | Ib | EL2 | MK)) /* VEXTRACTI32X8 VEXTRACTI64X4 */
E(0x3e, P66, P(W_r(SZ_X) | H_ | Ib | GK | MKM)) /* VPCMPUB VPCMPUW */
E(0x3f, P66, P(W_r(SZ_X) | H_ | Ib | GK | MKM)) /* VPCMPB VPCMPW */
LV(0x40, P66, P(W_r(SZ_X) | H_ | Ib)) /* DPPS */
LV(0x41, P66, P(W_r(SZ_X) | H_ | Ib | VL0)) /* DPPD */
LVE(0x42, P66, P(W_r(SZ_X) | H_ | Ib | EW0 | MK)) /* MPSADBW */
E(0x43, P66, P(W_r(SZ_X) | H_ | Ib | EL12 | MK | BC)) /* VSHUFI32X4 VSHUFI64X2 */
LVE(0x44, P66, P(W_r(SZ_X) | H_ | Ib)) /* PCLMULQDQ */
V(0x46, P66, P(W_r(SZ_X) | H_ | Ib | VL1 | VW0)) /* VPERM2I128 */
V(0x48, P66, P(W_r(SZ_X) | H_ | Ib)) /* VPERMIL2PS */
V(0x49, P66, P(W_r(SZ_X) | H_ | Ib)) /* VPERMIL2PD */
V(0x4a, P66, P(W_r(SZ_X) | H_ | Ib | VW0)) /* VBLENDVPS */
V(0x4b, P66, P(W_r(SZ_X) | H_ | Ib | VW0)) /* VBLENDVPD */
V(0x4c, P66, P(W_r(SZ_X) | H_ | Ib | VW0)) /* VPBLENDVB */
E(0x50, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC | RC)) /* VRANGEPS VRANGEPD */
E(0x51, P66, P(W_r(SZ_VS) | H_ | Ib | MK | RC)) /* VRANGESS VRANGESD */
E(0x54, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC | RC)) /* VFIXUPIMMPS VFIXUPIMMPD */
E(0x55, P66, P(W_r(SZ_VS) | H_ | Ib | MK | RC)) /* VFIXUPIMMSS VFIXUPIMMSD */
E(0x56, NP, P(W_r(SZ_X) | Ib | EW0 | MK | BC2 | RC)) /* VREDUCEPH */
E(0x56, P66, P(W_r(SZ_X) | Ib | MK | BC | RC)) /* VREDUCEPS VREDUCEPD */
E(0x57, NP, P(W_r(SZ_W) | H_ | Ib | EW0 | MK | RC)) /* VREDUCESH */
E(0x57, P66, P(W_r(SZ_VS) | H_ | Ib | MK | RC)) /* VREDUCESS VREDUCESD */
V(0x5c, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMADDSUBPS */
V(0x5d, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMADDSUBPD */
V(0x5e, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMSUBADDPS */
V(0x5f, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMSUBADDPD */
LV(0x60, P66, PR(W_r(SZ_X) | Ib | VL0, 0, F_ALL, r_AX | r_DX, 0)) /* PCMPESTRM */
LV(0x61, P66, PR(W_r(SZ_X) | Ib | VL0, 0, F_ALL, r_AX | r_DX, r_CX)) /* PCMPESTRI */
LV(0x62, P66, PF(W_r(SZ_X) | Ib | VL0, 0, F_ALL)) /* PCMPISTRM */
LV(0x63, P66, PR(W_r(SZ_X) | Ib | VL0, 0, F_ALL, 0, r_CX)) /* PCMPISTRI */
E(0x66, NP, P(W_r(SZ_X) | Ib | GK | EW0 | MKM | BC2)) /* VFPCLASSPH */
E(0x66, P66, P(W_r(SZ_X) | Ib | GK | MKM | BC)) /* VFPCLASSPS VFPCLASSPD */
E(0x67, NP, P(W_r(SZ_W) | Ib | GK | EW0 | MKM)) /* VFPCLASSSH */
E(0x67, P66, P(W_r(SZ_VS) | Ib | GK | MKM)) /* VFPCLASSSS VFPCLASSSD */
V(0x68, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMADDPS */
V(0x69, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMADDPD */
V(0x6a, P66, P(W_r(SZ_D) | H_ | Ib)) /* VFMADDSS */
V(0x6b, P66, P(W_r(SZ_Q) | H_ | Ib)) /* VFMADDSD */
V(0x6c, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMSUBPS */
V(0x6d, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFMSUBPD */
V(0x6e, P66, P(W_r(SZ_D) | H_ | Ib)) /* VFMSUBSS */
V(0x6f, P66, P(W_r(SZ_Q) | H_ | Ib)) /* VFMSUBSD */
E(0x70, P66, P(W_r(SZ_X) | H_ | Ib | EW1 | MK)) /* VPSHLDW */
E(0x71, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC)) /* VPSHLDD VPSHLDQ */
E(0x72, P66, P(W_r(SZ_X) | H_ | Ib | EW1 | MK)) /* VPSHRDW */
E(0x73, P66, P(W_r(SZ_X) | H_ | Ib | MK | BC)) /* VPSHRDD VPSHRDQ */
V(0x78, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFNMADDPS */
V(0x79, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFNMADDPD */
V(0x7a, P66, P(W_r(SZ_D) | H_ | Ib)) /* VFNMADDSS */
V(0x7b, P66, P(W_r(SZ_Q) | H_ | Ib)) /* VFNMADDSD */
V(0x7c, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFNMSUBPS */
V(0x7d, P66, P(W_r(SZ_X) | H_ | Ib)) /* VFNMSUBPD */
V(0x7e, P66, P(W_r(SZ_D) | H_ | Ib)) /* VFNMSUBSS */
V(0x7f, P66, P(W_r(SZ_Q) | H_ | Ib)) /* VFNMSUBSD */
E(0xc2, NP, P(W_r(SZ_X) | H_ | Ib | GK | EW0 | MKM | BC2 | RC)) /* VCMPPH */
E(0xc2, PF3, P(W_r(SZ_W) | H_ | Ib | GK | EW0 | MKM | RC)) /* VCMPSH */
L(0xcc, NP, P(W_r(SZ_X) | Ib)) /* SHA1RNDS4 */
LVE(0xce, P66, P(W_r(SZ_X) | H_ | Ib | VW1 | EW1 | MK | BC)) /* GF2P8AFFINEQB */
LVE(0xcf, P66, P(W_r(SZ_X) | H_ | Ib | VW1 | EW1 | MK | BC)) /* GF2P8AFFINEINVQB */
V(0xde, P66, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VSM3RNDS2 */
LV(0xdf, P66, P(W_r(SZ_X) | Ib | VL0)) /* AESKEYGENASSIST */
L(0xf0, PF3, GRP(F0_F3)) /* HRESET */
V(0xf0, PF2, P(E_r(SZ_Y) | G_w(SZ_Y) | Ib | VL0)) /* RORX */
