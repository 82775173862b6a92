/* SPDX-License-Identifier: MIT
 * XOP map 9.  AMD APM volume 4 and volume 3, appendix A.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX, X XOP.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
X(0x01, NP, GRP(XOP_01))
X(0x02, NP, GRP(XOP_02))
X(0x12, NP, GRP(XOP_12)) /* LLWPCB SLWPCB */
X(0x80, NP, P(W_r(SZ_X) | VW0)) /* VFRCZPS */
X(0x81, NP, P(W_r(SZ_X) | VW0)) /* VFRCZPD */
X(0x82, NP, P(W_r(SZ_D) | VL0 | VW0)) /* VFRCZSS */
X(0x83, NP, P(W_r(SZ_Q) | VL0 | VW0)) /* VFRCZSD */
X(0x90, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPROTB */
X(0x91, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPROTW */
X(0x92, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPROTD */
X(0x93, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPROTQ */
X(0x94, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHLB */
X(0x95, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHLW */
X(0x96, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHLD */
X(0x97, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHLQ */
X(0x98, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHAB */
X(0x99, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHAW */
X(0x9a, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHAD */
X(0x9b, NP, P(W_r(SZ_X) | H_ | VL0)) /* VPSHAQ */
X(0xc1, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDBW */
X(0xc2, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDBD */
X(0xc3, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDBQ */
X(0xc6, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDWD */
X(0xc7, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDWQ */
X(0xcb, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDDQ */
X(0xd1, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUBW */
X(0xd2, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUBD */
X(0xd3, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUBQ */
X(0xd6, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUWD */
X(0xd7, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUWQ */
X(0xdb, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHADDUDQ */
X(0xe1, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHSUBBW */
X(0xe2, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHSUBWD */
X(0xe3, NP, P(W_r(SZ_X) | VL0 | VW0)) /* VPHSUBDQ */
