/* SPDX-License-Identifier: MIT
 * EVEX map 5 (half precision).  SDM 2C, chapter 5; AVX512-FP16 specification.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
E(0x10, PF3, P(W_r(SZ_W) | H_ | HREG | EW0 | MK)) /* VMOVSH */
E(0x11, PF3, P(W_w(SZ_W) | H_ | HREG | EW0 | MK)) /* VMOVSH */
E(0x1d, NP, P(W_r(SZ_D) | H_ | EW0 | MK | RC)) /* VCVTSS2SH */
E(0x1d, P66, P(W_r(SZ_X) | EW0 | MK | BC | RC)) /* VCVTPS2PHX */
E(0x2a, PF3, P(E_r(SZ_Y) | H_ | RC)) /* VCVTSI2SH */
E(0x2c, PF3, P(W_r(SZ_W) | G_w(SZ_Y) | RC)) /* VCVTTSH2SI */
E(0x2d, PF3, P(W_r(SZ_W) | G_w(SZ_Y) | RC)) /* VCVTSH2SI */
E(0x2e, NP, PF(W_r(SZ_W) | EW0 | RC, 0, F_ALL)) /* VUCOMISH */
E(0x2f, NP, PF(W_r(SZ_W) | EW0 | RC, 0, F_ALL)) /* VCOMISH */
E(0x51, NP, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VSQRTPH */
E(0x51, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VSQRTSH */
E(0x58, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VADDPH */
E(0x58, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VADDSH */
E(0x59, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VMULPH */
E(0x59, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VMULSH */
E(0x5a, NP, P(W_r(SZ_XQ) | EW0 | MK | BC2 | RC)) /* VCVTPH2PD */
E(0x5a, P66, P(W_r(SZ_X) | EW1 | MK | BC | RC)) /* VCVTPD2PH */
E(0x5a, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VCVTSH2SD */
E(0x5a, PF2, P(W_r(SZ_Q) | H_ | EW1 | MK | RC)) /* VCVTSD2SH */
E(0x5b, NP, P(W_r(SZ_X) | MK | BC | RC)) /* VCVTDQ2PH VCVTQQ2PH */
E(0x5b, P66, P(W_r(SZ_XH) | EW0 | MK | BC2 | RC)) /* VCVTPH2DQ */
E(0x5b, PF3, P(W_r(SZ_XH) | EW0 | MK | BC2 | RC)) /* VCVTTPH2DQ */
E(0x5c, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VSUBPH */
E(0x5c, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VSUBSH */
E(0x5d, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VMINPH */
E(0x5d, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VMINSH */
E(0x5e, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VDIVPH */
E(0x5e, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VDIVSH */
E(0x5f, NP, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VMAXPH */
E(0x5f, PF3, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VMAXSH */
E(0x6e, P66, P(ERM_r(SZ_W) | EL0)) /* VMOVW */
E(0x78, NP, P(W_r(SZ_XH) | EW0 | MK | BC2 | RC)) /* VCVTTPH2UDQ */
E(0x78, P66, P(W_r(SZ_XQ) | EW0 | MK | BC2 | RC)) /* VCVTTPH2UQQ */
E(0x78, PF3, P(W_r(SZ_W) | G_w(SZ_Y) | RC)) /* VCVTTSH2USI */
E(0x79, NP, P(W_r(SZ_XH) | EW0 | MK | BC2 | RC)) /* VCVTPH2UDQ */
E(0x79, P66, P(W_r(SZ_XQ) | EW0 | MK | BC2 | RC)) /* VCVTPH2UQQ */
E(0x79, PF3, P(W_r(SZ_W) | G_w(SZ_Y) | RC)) /* VCVTSH2USI */
E(0x7a, P66, P(W_r(SZ_XQ) | EW0 | MK | BC2 | RC)) /* VCVTTPH2QQ */
E(0x7a, PF2, P(W_r(SZ_X) | MK | BC | RC)) /* VCVTUDQ2PH VCVTUQQ2PH */
E(0x7b, P66, P(W_r(SZ_XQ) | EW0 | MK | BC2 | RC)) /* VCVTPH2QQ */
E(0x7b, PF3, P(E_r(SZ_Y) | H_ | RC)) /* VCVTUSI2SH */
E(0x7c, NP, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTTPH2UW */
E(0x7c, P66, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTTPH2W */
E(0x7d, NP, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTPH2UW */
E(0x7d, P66, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTPH2W */
E(0x7d, PF3, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTW2PH */
E(0x7d, PF2, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VCVTUW2PH */
E(0x7e, P66, P(ERM_w(SZ_W) | EL0)) /* VMOVW */
