/* SPDX-License-Identifier: MIT
 * XOP map 8.  AMD APM volume 4 and volume 3, appendix A.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX, X XOP.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
X(0x85, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSSWW */
X(0x86, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSSWD */
X(0x87, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSSDQL */
X(0x8e, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSSDD */
X(0x8f, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSSDQH */
X(0x95, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSWW */
X(0x96, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSWD */
X(0x97, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSDQL */
X(0x9e, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSDD */
X(0x9f, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMACSDQH */
X(0xa2, NP, P(W_r(SZ_X) | H_ | Ib)) /* VPCMOV */
X(0xa3, NP, P(W_r(SZ_X) | H_ | Ib | VL0)) /* VPPERM */
X(0xa6, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMADCSSWD */
X(0xb6, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPMADCSWD */
X(0xc0, NP, P(W_r(SZ_X) | Ib | VL0 | VW0)) /* VPROTB */
X(0xc1, NP, P(W_r(SZ_X) | Ib | VL0 | VW0)) /* VPROTW */
X(0xc2, NP, P(W_r(SZ_X) | Ib | VL0 | VW0)) /* VPROTD */
X(0xc3, NP, P(W_r(SZ_X) | Ib | VL0 | VW0)) /* VPROTQ */
X(0xcc, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMB */
X(0xcd, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMW */
X(0xce, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMD */
X(0xcf, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMQ */
X(0xec, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMUB */
X(0xed, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMUW */
X(0xee, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMUD */
X(0xef, NP, P(W_r(SZ_X) | H_ | Ib | VL0 | VW0)) /* VPCOMUQ */
