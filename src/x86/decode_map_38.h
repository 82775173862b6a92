/* SPDX-License-Identifier: MIT
 * Three-byte opcodes 0F 38.  SDM 2D, table A-4; SDM 2C, chapter 5.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
L(0x00, NP, P(W_r(SZ_Q))) /* PSHUFB */
LVE(0x00, P66, P(W_r(SZ_X) | H_ | MK)) /* PSHUFB */
L(0x01, NP, P(W_r(SZ_Q))) /* PHADDW */
LV(0x01, P66, P(W_r(SZ_X) | H_)) /* PHADDW */
L(0x02, NP, P(W_r(SZ_Q))) /* PHADDD */
LV(0x02, P66, P(W_r(SZ_X) | H_)) /* PHADDD */
L(0x03, NP, P(W_r(SZ_Q))) /* PHADDSW */
LV(0x03, P66, P(W_r(SZ_X) | H_)) /* PHADDSW */
L(0x04, NP, P(W_r(SZ_Q))) /* PMADDUBSW */
LVE(0x04, P66, P(W_r(SZ_X) | H_ | MK)) /* PMADDUBSW */
L(0x05, NP, P(W_r(SZ_Q))) /* PHSUBW */
LV(0x05, P66, P(W_r(SZ_X) | H_)) /* PHSUBW */
L(0x06, NP, P(W_r(SZ_Q))) /* PHSUBD */
LV(0x06, P66, P(W_r(SZ_X) | H_)) /* PHSUBD */
L(0x07, NP, P(W_r(SZ_Q))) /* PHSUBSW */
LV(0x07, P66, P(W_r(SZ_X) | H_)) /* PHSUBSW */
L(0x08, NP, P(W_r(SZ_Q))) /* PSIGNB */
LV(0x08, P66, P(W_r(SZ_X) | H_)) /* PSIGNB */
L(0x09, NP, P(W_r(SZ_Q))) /* PSIGNW */
LV(0x09, P66, P(W_r(SZ_X) | H_)) /* PSIGNW */
L(0x0a, NP, P(W_r(SZ_Q))) /* PSIGND */
LV(0x0a, P66, P(W_r(SZ_X) | H_)) /* PSIGND */
L(0x0b, NP, P(W_r(SZ_Q))) /* PMULHRSW */
LVE(0x0b, P66, P(W_r(SZ_X) | H_ | MK)) /* PMULHRSW */
VE(0x0c, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK | BC)) /* VPERMILPS */
VE(0x0d, P66, P(W_r(SZ_X) | H_ | VW0 | EW1 | MK | BC)) /* VPERMILPD */
V(0x0e, P66, PF(W_r(SZ_X) | VW0, 0, F_C | F_Z)) /* VTESTPS */
V(0x0f, P66, PF(W_r(SZ_X) | VW0, 0, F_C | F_Z)) /* VTESTPD */
LE(0x10, P66, P(W_r(SZ_X) | H_ | EW1 | MK)) /* PBLENDVB */
E(0x10, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVUSWB */
E(0x11, P66, P(W_r(SZ_X) | H_ | EW1 | MK)) /* VPSRAVW */
E(0x11, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVUSDB */
E(0x12, P66, P(W_r(SZ_X) | H_ | EW1 | MK)) /* VPSLLVW */
E(0x12, PF3, P(W_w(SZ_XE) | EW0 | MK)) /* VPMOVUSQB */
VE(0x13, P66, P(W_r(SZ_XH) | VW0 | EW0 | MK | RC)) /* VCVTPH2PS */
E(0x13, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVUSDW */
LE(0x14, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* BLENDVPS */
E(0x14, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVUSQW */
LE(0x15, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* BLENDVPD */
E(0x15, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVUSQD */
VE(0x16, P66, P(W_r(SZ_X) | H_ | VL1 | VW0 | EL12 | MK | BC)) /* VPERMPS */
L(0x17, P66, PF(W_r(SZ_X), 0, F_ALL)) /* PTEST */
V(0x17, P66, PF(W_r(SZ_X), 0, F_C | F_Z)) /* VPTEST */
VE(0x18, P66, P(W_r(SZ_D) | VW0 | EW0 | MK)) /* VBROADCASTSS */
VE(0x19, P66, P(W_r(SZ_Q) | VL1 | VW0 | EL12 | MK)) /* VBROADCASTSD */
VE(0x1a, P66, P(M_r(SZ_DQ) | VL1 | VW0 | EL12 | MK)) /* VBROADCASTF128 */
E(0x1b, P66, P(M_r(SZ_XH) | EL2 | MK)) /* VBROADCASTF32X8 VBROADCASTF64X4 */
L(0x1c, NP, P(W_r(SZ_Q))) /* PABSB */
LVE(0x1c, P66, P(W_r(SZ_X) | MK)) /* PABSB */
L(0x1d, NP, P(W_r(SZ_Q))) /* PABSW */
LVE(0x1d, P66, P(W_r(SZ_X) | MK)) /* PABSW */
L(0x1e, NP, P(W_r(SZ_Q))) /* PABSD */
LVE(0x1e, P66, P(W_r(SZ_X) | EW0 | MK | BC)) /* PABSD */
E(0x1f, P66, P(W_r(SZ_X) | EW1 | MK | BC)) /* VPABSQ */
LVE(0x20, P66, P(W_r(SZ_XH) | MK)) /* PMOVSXBW */
E(0x20, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVSWB */
LVE(0x21, P66, P(W_r(SZ_XQ) | MK)) /* PMOVSXBD */
E(0x21, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVSDB */
LVE(0x22, P66, P(W_r(SZ_XE) | MK)) /* PMOVSXBQ */
E(0x22, PF3, P(W_w(SZ_XE) | EW0 | MK)) /* VPMOVSQB */
LVE(0x23, P66, P(W_r(SZ_XH) | MK)) /* PMOVSXWD */
E(0x23, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVSDW */
LVE(0x24, P66, P(W_r(SZ_XQ) | MK)) /* PMOVSXWQ */
E(0x24, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVSQW */
LVE(0x25, P66, P(W_r(SZ_XH) | EW0 | MK)) /* PMOVSXDQ */
E(0x25, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVSQD */
E(0x26, P66, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPTESTMB VPTESTMW */
E(0x26, PF3, P(W_r(SZ_X) | H_ | GK | MKM)) /* VPTESTNMB VPTESTNMW */
E(0x27, P66, P(W_r(SZ_X) | H_ | GK | MKM | BC)) /* VPTESTMD VPTESTMQ */
E(0x27, PF3, P(W_r(SZ_X) | H_ | GK | MKM | BC)) /* VPTESTNMD VPTESTNMQ */
LVE(0x28, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* PMULDQ */
E(0x28, PF3, P(U_ | UK)) /* VPMOVM2B VPMOVM2W */
LV(0x29, P66, P(W_r(SZ_X) | H_)) /* PCMPEQQ */
E(0x29, P66, P(W_r(SZ_X) | H_ | GK | EW1 | MKM | BC)) /* VPCMPEQQ */
E(0x29, PF3, P(U_ | GK)) /* VPMOVB2M VPMOVW2M */
LVE(0x2a, P66, P(M_r(SZ_X) | EW0)) /* MOVNTDQA */
E(0x2a, PF3, P(U_ | UK | EW1)) /* VPBROADCASTMB2Q */
LVE(0x2b, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* PACKUSDW */
V(0x2c, P66, P(M_r(SZ_X) | H_ | VW0)) /* VMASKMOVPS */
E(0x2c, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VSCALEFPS VSCALEFPD */
V(0x2d, P66, P(M_r(SZ_X) | H_ | VW0)) /* VMASKMOVPD */
E(0x2d, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VSCALEFSS VSCALEFSD */
V(0x2e, P66, P(M_w(SZ_X) | H_ | VW0)) /* VMASKMOVPS */
V(0x2f, P66, P(M_w(SZ_X) | H_ | VW0)) /* VMASKMOVPD */
LVE(0x30, P66, P(W_r(SZ_XH) | MK)) /* PMOVZXBW */
E(0x30, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVWB */
LVE(0x31, P66, P(W_r(SZ_XQ) | MK)) /* PMOVZXBD */
E(0x31, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVDB */
LVE(0x32, P66, P(W_r(SZ_XE) | MK)) /* PMOVZXBQ */
E(0x32, PF3, P(W_w(SZ_XE) | EW0 | MK)) /* VPMOVQB */
LVE(0x33, P66, P(W_r(SZ_XH) | MK)) /* PMOVZXWD */
E(0x33, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVDW */
LVE(0x34, P66, P(W_r(SZ_XQ) | MK)) /* PMOVZXWQ */
E(0x34, PF3, P(W_w(SZ_XQ) | EW0 | MK)) /* VPMOVQW */
LVE(0x35, P66, P(W_r(SZ_XH) | EW0 | MK)) /* PMOVZXDQ */
E(0x35, PF3, P(W_w(SZ_XH) | EW0 | MK)) /* VPMOVQD */
VE(0x36, P66, P(W_r(SZ_X) | H_ | VL1 | VW0 | EL12 | MK | BC)) /* VPERMD */
LV(0x37, P66, P(W_r(SZ_X) | H_)) /* PCMPGTQ */
E(0x37, P66, P(W_r(SZ_X) | H_ | GK | EW1 | MKM | BC)) /* VPCMPGTQ */
LVE(0x38, P66, P(W_r(SZ_X) | H_ | MK)) /* PMINSB */
E(0x38, PF3, P(U_ | UK)) /* VPMOVM2D VPMOVM2Q */
LVE(0x39, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PMINSD */
E(0x39, PF3, P(U_ | GK)) /* VPMOVD2M VPMOVQ2M */
LVE(0x3a, P66, P(W_r(SZ_X) | H_ | MK)) /* PMINUW */
E(0x3a, PF3, P(U_ | UK | EW0)) /* VPBROADCASTMW2D */
LVE(0x3b, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PMINUD */
LVE(0x3c, P66, P(W_r(SZ_X) | H_ | MK)) /* PMAXSB */
LVE(0x3d, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PMAXSD */
LVE(0x3e, P66, P(W_r(SZ_X) | H_ | MK)) /* PMAXUW */
LVE(0x3f, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PMAXUD */
LVE(0x40, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* PMULLD */
LV(0x41, P66, P(W_r(SZ_X) | VL0)) /* PHMINPOSUW */
E(0x42, P66, P(W_r(SZ_X) | MK | BC | RC)) /* VGETEXPPS VGETEXPPD */
E(0x43, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VGETEXPSS VGETEXPSD */
E(0x44, P66, P(W_r(SZ_X) | MK | BC)) /* VPLZCNTD VPLZCNTQ */
VE(0x45, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPSRLVD VPSRLVQ */
VE(0x46, P66, P(W_r(SZ_X) | H_ | VW0 | MK | BC)) /* VPSRAVD */
VE(0x47, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPSLLVD VPSLLVQ */
V(0x49, NP, GRP(VEX_49)) /* LDTILECFG TILERELEASE */
V(0x49, P66, GRP(VEX_49_66)) /* STTILECFG */
V(0x49, PF2, GRP(VEX_49_F2)) /* TILEZERO */
V(0x4b, P66, P(M_r(SZ_ANY) | TMM | NOSIB_UD | VL0 | VW0)) /* TILELOADDT1 */
V(0x4b, PF3, P(M_w(SZ_ANY) | TMM | NOSIB_UD | VL0 | VW0)) /* TILESTORED */
V(0x4b, PF2, P(M_r(SZ_ANY) | TMM | NOSIB_UD | VL0 | VW0)) /* TILELOADD */
E(0x4c, P66, P(W_r(SZ_X) | MK | BC)) /* VRCP14PS VRCP14PD */
E(0x4d, P66, P(W_r(SZ_VS) | H_ | MK)) /* VRCP14SS VRCP14SD */
E(0x4e, P66, P(W_r(SZ_X) | MK | BC)) /* VRSQRT14PS VRSQRT14PD */
E(0x4f, P66, P(W_r(SZ_VS) | H_ | MK)) /* VRSQRT14SS VRSQRT14SD */
V(0x50, NP, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBUUD */
VE(0x50, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK | BC)) /* VPDPBUSD */
V(0x50, PF3, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBSUD */
V(0x50, PF2, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBSSD */
V(0x51, NP, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBUUDS */
VE(0x51, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK | BC)) /* VPDPBUSDS */
V(0x51, PF3, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBSUDS */
V(0x51, PF2, P(W_r(SZ_X) | H_ | VW0)) /* VPDPBSSDS */
VE(0x52, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK | BC)) /* VPDPWSSD */
E(0x52, PF3, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* VDPBF16PS */
E(0x52, PF2, P(M_r(SZ_XQ) | H_ | EL2 | EW0 | MK)) /* VP4DPWSSD */
VE(0x53, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK | BC)) /* VPDPWSSDS */
E(0x53, PF2, P(M_r(SZ_XQ) | H_ | EL2 | EW0 | MK)) /* VP4DPWSSDS */
E(0x54, P66, P(W_r(SZ_X) | MK)) /* VPOPCNTB VPOPCNTW */
E(0x55, P66, P(W_r(SZ_X) | MK | BC)) /* VPOPCNTD VPOPCNTQ */
VE(0x58, P66, P(W_r(SZ_D) | VW0 | EW0 | MK)) /* VPBROADCASTD */
VE(0x59, P66, P(W_r(SZ_Q) | VW0 | MK)) /* VPBROADCASTQ */
VE(0x5a, P66, P(M_r(SZ_DQ) | VL1 | VW0 | EL12 | MK)) /* VBROADCASTI128 */
E(0x5b, P66, P(M_r(SZ_XH) | EL2 | MK)) /* VBROADCASTI32X8 VBROADCASTI64X4 */
V(0x5c, PF3, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPBF16PS */
V(0x5c, PF2, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPFP16PS */
V(0x5e, NP, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPBUUD */
V(0x5e, P66, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPBUSD */
V(0x5e, PF3, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPBSUD */
V(0x5e, PF2, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TDPBSSD */
E(0x62, P66, P(W_r(SZ_CB) | MK)) /* VPEXPANDB VPEXPANDW */
E(0x63, P66, P(W_w(SZ_CB) | MK)) /* VPCOMPRESSB VPCOMPRESSW */
E(0x64, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPBLENDMD VPBLENDMQ */
E(0x65, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VBLENDMPS VBLENDMPD */
E(0x66, P66, P(W_r(SZ_X) | H_ | MK)) /* VPBLENDMB VPBLENDMW */
E(0x68, PF2, P(W_r(SZ_X) | H_ | GK | BC)) /* VP2INTERSECTD VP2INTERSECTQ */
V(0x6c, NP, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TCMMRLFP16PS */
V(0x6c, P66, P(U_ | H_ | TMM | DIST | VL0 | VW0)) /* TCMMIMFP16PS */
E(0x70, P66, P(W_r(SZ_X) | H_ | EW1 | MK)) /* VPSHLDVW */
E(0x71, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPSHLDVD VPSHLDVQ */
E(0x72, P66, P(W_r(SZ_X) | H_ | EW1 | MK)) /* VPSHRDVW */
E(0x72, PF3, P(W_r(SZ_X) | EW0 | MK | BC)) /* VCVTNEPS2BF16 */
V(0x72, PF3, P(W_r(SZ_X) | VW0)) /* VCVTNEPS2BF16 */
E(0x72, PF2, P(W_r(SZ_X) | H_ | EW0 | MK | BC)) /* VCVTNE2PS2BF16 */
E(0x73, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPSHRDVD VPSHRDVQ */
E(0x75, P66, P(W_r(SZ_X) | H_ | MK)) /* VPERMI2B VPERMI2W */
E(0x76, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPERMI2D VPERMI2Q */
E(0x77, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPERMI2PS VPERMI2PD */
VE(0x78, P66, P(W_r(SZ_B) | VW0 | EW0 | MK)) /* VPBROADCASTB */
VE(0x79, P66, P(W_r(SZ_W) | VW0 | EW0 | MK)) /* VPBROADCASTW */
E(0x7a, P66, P(R_r(SZ_Y) | EW0 | MK)) /* VPBROADCASTB */
E(0x7b, P66, P(R_r(SZ_Y) | EW0 | MK)) /* VPBROADCASTW */
E(0x7c, P66, P(R_r(SZ_Y) | MK)) /* VPBROADCASTD VPBROADCASTQ */
E(0x7d, P66, P(W_r(SZ_X) | H_ | MK)) /* VPERMT2B VPERMT2W */
E(0x7e, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPERMT2D VPERMT2Q */
E(0x7f, P66, P(W_r(SZ_X) | H_ | MK | BC)) /* VPERMT2PS VPERMT2PD */
L(0x80, P66, KR(VMX, M_r(SZ_X) | G_r(SZ_Q), 0, F_ALL, 0, 0)) /* INVEPT */
L(0x81, P66, KR(VMX, M_r(SZ_X) | G_r(SZ_Q), 0, F_ALL, 0, 0)) /* INVVPID */
L(0x82, P66, K(INVPCID, M_r(SZ_X) | G_r(SZ_Q) | PRIV)) /* INVPCID */
E(0x83, P66, P(W_r(SZ_X) | H_ | EW1 | MK | BC)) /* VPMULTISHIFTQB */
E(0x88, P66, P(W_r(SZ_CD) | MK)) /* VEXPANDPS VEXPANDPD */
E(0x89, P66, P(W_r(SZ_CD) | MK)) /* VPEXPANDD VPEXPANDQ */
E(0x8a, P66, P(W_w(SZ_CD) | MK)) /* VCOMPRESSPS VCOMPRESSPD */
E(0x8b, P66, P(W_w(SZ_CD) | MK)) /* VPCOMPRESSD VPCOMPRESSQ */
V(0x8c, P66, P(M_r(SZ_X) | H_)) /* VPMASKMOVD VPMASKMOVQ */
E(0x8d, P66, P(W_r(SZ_X) | H_ | MK)) /* VPERMB VPERMW */
V(0x8e, P66, P(M_w(SZ_X) | H_)) /* VPMASKMOVD VPMASKMOVQ */
E(0x8f, P66, P(W_r(SZ_X) | H_ | GK | EW0 | MKM)) /* VPSHUFBITQMB */
V(0x90, P66, P(M_r(SZ_VS) | H_ | VSIB | DIST)) /* VPGATHERDD VPGATHERDQ */
E(0x90, P66, P(M_r(SZ_VS) | VSIB | DIST | MKN)) /* VPGATHERDD VPGATHERDQ */
V(0x91, P66, P(M_r(SZ_VS) | H_ | VSIB | DIST)) /* VPGATHERQD VPGATHERQQ */
E(0x91, P66, P(M_r(SZ_VS) | VSIB | DIST | MKN)) /* VPGATHERQD VPGATHERQQ */
V(0x92, P66, P(M_r(SZ_VS) | H_ | VSIB | DIST)) /* VGATHERDPS VGATHERDPD */
E(0x92, P66, P(M_r(SZ_VS) | VSIB | DIST | MKN)) /* VGATHERDPS VGATHERDPD */
V(0x93, P66, P(M_r(SZ_VS) | H_ | VSIB | DIST)) /* VGATHERQPS VGATHERQPD */
E(0x93, P66, P(M_r(SZ_VS) | VSIB | DIST | MKN)) /* VGATHERQPS VGATHERQPD */
VE(0x96, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADDSUB132PS VFMADDSUB132PD */
VE(0x97, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUBADD132PS VFMSUBADD132PD */
VE(0x98, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADD132PS VFMADD132PD */
VE(0x99, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMADD132SS VFMADD132SD */
VE(0x9a, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUB132PS VFMSUB132PD */
E(0x9a, PF2, P(M_r(SZ_XQ) | H_ | EL2 | EW0 | MK)) /* V4FMADDPS */
VE(0x9b, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMSUB132SS VFMSUB132SD */
E(0x9b, PF2, P(M_r(SZ_DQ) | H_ | EW0 | MK)) /* V4FMADDSS */
VE(0x9c, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMADD132PS VFNMADD132PD */
VE(0x9d, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMADD132SS VFNMADD132SD */
VE(0x9e, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMSUB132PS VFNMSUB132PD */
VE(0x9f, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMSUB132SS VFNMSUB132SD */
E(0xa0, P66, P(M_w(SZ_VS) | VSIB | MKN)) /* VPSCATTERDD VPSCATTERDQ */
E(0xa1, P66, P(M_w(SZ_VS) | VSIB | MKN)) /* VPSCATTERQD VPSCATTERQQ */
E(0xa2, P66, P(M_w(SZ_VS) | VSIB | MKN)) /* VSCATTERDPS VSCATTERDPD */
E(0xa3, P66, P(M_w(SZ_VS) | VSIB | MKN)) /* VSCATTERQPS VSCATTERQPD */
VE(0xa6, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADDSUB213PS VFMADDSUB213PD */
VE(0xa7, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUBADD213PS VFMSUBADD213PD */
VE(0xa8, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADD213PS VFMADD213PD */
VE(0xa9, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMADD213SS VFMADD213SD */
VE(0xaa, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUB213PS VFMSUB213PD */
E(0xaa, PF2, P(M_r(SZ_XQ) | H_ | EL2 | EW0 | MK)) /* V4FNMADDPS */
VE(0xab, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMSUB213SS VFMSUB213SD */
E(0xab, PF2, P(M_r(SZ_DQ) | H_ | EW0 | MK)) /* V4FNMADDSS */
VE(0xac, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMADD213PS VFNMADD213PD */
VE(0xad, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMADD213SS VFNMADD213SD */
VE(0xae, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMSUB213PS VFNMSUB213PD */
VE(0xaf, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMSUB213SS VFNMSUB213SD */
V(0xb0, NP, P(M_r(SZ_X) | VW0)) /* VCVTNEOPH2PS */
V(0xb0, P66, P(M_r(SZ_X) | VW0)) /* VCVTNEEPH2PS */
V(0xb0, PF3, P(M_r(SZ_X) | VW0)) /* VCVTNEEBF162PS */
V(0xb0, PF2, P(M_r(SZ_X) | VW0)) /* VCVTNEOBF162PS */
V(0xb1, P66, P(M_r(SZ_W) | VW0)) /* VBCSTNESH2PS */
V(0xb1, PF3, P(M_r(SZ_W) | VW0)) /* VBCSTNEBF162PS */
VE(0xb4, P66, P(W_r(SZ_X) | H_ | VW1 | EW1 | MK | BC)) /* VPMADD52LUQ */
VE(0xb5, P66, P(W_r(SZ_X) | H_ | VW1 | EW1 | MK | BC)) /* VPMADD52HUQ */
VE(0xb6, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADDSUB231PS VFMADDSUB231PD */
VE(0xb7, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUBADD231PS VFMSUBADD231PD */
VE(0xb8, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMADD231PS VFMADD231PD */
VE(0xb9, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMADD231SS VFMADD231SD */
VE(0xba, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFMSUB231PS VFMSUB231PD */
VE(0xbb, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFMSUB231SS VFMSUB231SD */
VE(0xbc, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMADD231PS VFNMADD231PD */
VE(0xbd, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMADD231SS VFNMADD231SD */
VE(0xbe, P66, P(W_r(SZ_X) | H_ | MK | BC | RC)) /* VFNMSUB231PS VFNMSUB231PD */
VE(0xbf, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VFNMSUB231SS VFNMSUB231SD */
E(0xc4, P66, P(W_r(SZ_X) | MK | BC)) /* VPCONFLICTD VPCONFLICTQ */
E(0xc6, P66, GRP(EVEX_C6)) /* VGATHERPF0DPS ... */
E(0xc7, P66, GRP(EVEX_C6)) /* VGATHERPF0QPS ... */
L(0xc8, NP, P(W_r(SZ_X))) /* SHA1NEXTE */
E(0xc8, P66, P(W_r(SZ_X) | EL2 | MK | BC | RC)) /* VEXP2PS VEXP2PD */
L(0xc9, NP, P(W_r(SZ_X))) /* SHA1MSG1 */
L(0xca, NP, P(W_r(SZ_X))) /* SHA1MSG2 */
E(0xca, P66, P(W_r(SZ_X) | EL2 | MK | BC | RC)) /* VRCP28PS VRCP28PD */
L(0xcb, NP, P(W_r(SZ_X))) /* SHA256RNDS2 */
E(0xcb, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VRCP28SS VRCP28SD */
V(0xcb, PF2, P(U_ | H_ | VL1 | VW0)) /* VSHA512RNDS2 */
L(0xcc, NP, P(W_r(SZ_X))) /* SHA256MSG1 */
E(0xcc, P66, P(W_r(SZ_X) | EL2 | MK | BC | RC)) /* VRSQRT28PS VRSQRT28PD */
V(0xcc, PF2, P(U_ | VL1 | VW0)) /* VSHA512MSG1 */
L(0xcd, NP, P(W_r(SZ_X))) /* SHA256MSG2 */
E(0xcd, P66, P(W_r(SZ_VS) | H_ | MK | RC)) /* VRSQRT28SS VRSQRT28SD */
V(0xcd, PF2, P(U_ | VL1 | VW0)) /* VSHA512MSG2 */
LVE(0xcf, P66, P(W_r(SZ_X) | H_ | VW0 | EW0 | MK)) /* GF2P8MULB */
V(0xd2, NP, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWUUD */
V(0xd2, P66, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWUSD */
V(0xd2, PF3, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWSUD */
V(0xd3, NP, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWUUDS */
V(0xd3, P66, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWUSDS */
V(0xd3, PF3, P(W_r(SZ_X) | H_ | VW0)) /* VPDPWSUDS */
L(0xd8, PF3, GRP(D8_F3)) /* AESENCWIDE128KL ... */
V(0xda, NP, P(W_r(SZ_X) | H_ | VL0 | VW0)) /* VSM3MSG1 */
V(0xda, P66, P(W_r(SZ_X) | H_ | VL0 | VW0)) /* VSM3MSG2 */
V(0xda, PF3, P(W_r(SZ_X) | H_ | VW0)) /* VSM4KEY4 */
V(0xda, PF2, P(W_r(SZ_X) | H_ | VW0)) /* VSM4RNDS4 */
LV(0xdb, P66, P(W_r(SZ_X) | VL0)) /* AESIMC */
LVE(0xdc, P66, P(W_r(SZ_X) | H_)) /* AESENC */
L(0xdc, PF3, KR(VMX, W_r(SZ_ANY), 0, F_ALL, r_AX, 0)) /* AESENC128KL LOADIWKEY */
LVE(0xdd, P66, P(W_r(SZ_X) | H_)) /* AESENCLAST */
L(0xdd, PF3, KR(VMX, M_r(SZ_ANY), 0, F_ALL, 0, 0)) /* AESDEC128KL */
LVE(0xde, P66, P(W_r(SZ_X) | H_)) /* AESDEC */
L(0xde, PF3, KR(VMX, M_r(SZ_OQ), 0, F_ALL, 0, 0)) /* AESENC256KL */
LVE(0xdf, P66, P(W_r(SZ_X) | H_)) /* AESDECLAST */
L(0xdf, PF3, KR(VMX, M_r(SZ_OQ), 0, F_ALL, 0, 0)) /* AESDEC256KL */
V(0xe0, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPOXADD */
V(0xe1, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNOXADD */
V(0xe2, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPBXADD */
V(0xe3, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNBXADD */
V(0xe4, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPZXADD */
V(0xe5, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNZXADD */
V(0xe6, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPBEXADD */
V(0xe7, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNBEXADD */
V(0xe8, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPSXADD */
V(0xe9, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNSXADD */
V(0xea, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPPXADD */
V(0xeb, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNPXADD */
V(0xec, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPLXADD */
V(0xed, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNLXADD */
V(0xee, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPLEXADD */
V(0xef, P66, PF(M_m(SZ_Y) | Gy_m | By_r | VL0 | ONLY64, 0, F_ALL)) /* CMPNLEXADD */
L(0xf0, NP, P(M_r(SZ_V) | Gv_w)) /* MOVBE */
L(0xf0, P66, P(M_r(SZ_V) | Gv_w)) /* MOVBE */
L(0xf0, PF2, P(E_r(SZ_B) | G_m(SZ_Y))) /* CRC32 */
L(0xf1, NP, P(M_w(SZ_V) | Gv_r)) /* MOVBE */
L(0xf1, P66, P(M_w(SZ_V) | Gv_r)) /* MOVBE */
L(0xf1, PF2, P(Ev_r | G_m(SZ_Y))) /* CRC32 */
V(0xf2, NP, PF(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0, 0, F_ALL)) /* ANDN */
V(0xf3, NP, GRP(VEX_17)) /* BLSR BLSMSK BLSI */
V(0xf5, NP, PF(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0, 0, F_ALL)) /* BZHI */
L(0xf5, P66, K(CET, M_w(SZ_Y) | G_r(SZ_Y))) /* WRUSSD WRUSSQ */
V(0xf5, PF3, P(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0)) /* PEXT */
V(0xf5, PF2, P(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0)) /* PDEP */
L(0xf6, NP, K(CET, M_w(SZ_Y) | G_r(SZ_Y))) /* WRSSD WRSSQ */
L(0xf6, P66, PF(E_r(SZ_Y) | G_m(SZ_Y), F_C, F_C)) /* ADCX */
L(0xf6, PF3, PF(E_r(SZ_Y) | G_m(SZ_Y), F_O, F_O)) /* ADOX */
V(0xf6, PF2, PR(E_r(SZ_Y) | G_w(SZ_Y) | By_w | VL0, 0, 0, r_DX, 0)) /* MULX */
V(0xf7, NP, PF(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0, 0, F_ALL)) /* BEXTR */
V(0xf7, P66, P(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0)) /* SHLX */
V(0xf7, PF3, P(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0)) /* SARX */
V(0xf7, PF2, P(E_r(SZ_Y) | G_w(SZ_Y) | By_r | VL0)) /* SHRX */
L(0xf8, P66, K(MOVDIR64B, M_r(SZ_OQ) | G_r(SZ_Q))) /* MOVDIR64B */
L(0xf8, PF3, KR(VMX, M_r(SZ_OQ) | G_r(SZ_Q), 0, F_ALL, 0, 0)) /* ENQCMDS */
L(0xf8, PF2, KR(VMX, M_r(SZ_OQ) | G_r(SZ_Q), 0, F_ALL, 0, 0)) /* ENQCMD */
L(0xf9, NP, P(M_w(SZ_Y) | G_r(SZ_Y))) /* MOVDIRI */
L(0xfa, PF3, KR(VMX, R_r(SZ_D) | G_w(SZ_D), 0, F_ALL, 0, 0)) /* ENCODEKEY128 */
L(0xfb, PF3, KR(VMX, R_r(SZ_D) | G_w(SZ_D), 0, F_ALL, 0, 0)) /* ENCODEKEY256 */
L(0xfc, NP, P(M_m(SZ_Y) | Gy_r)) /* AADD */
L(0xfc, P66, P(M_m(SZ_Y) | Gy_r)) /* AAND */
L(0xfc, PF3, P(M_m(SZ_Y) | Gy_r)) /* AXOR */
L(0xfc, PF2, P(M_m(SZ_Y) | Gy_r)) /* AOR */
