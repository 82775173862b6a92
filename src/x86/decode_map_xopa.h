/* SPDX-License-Identifier: MIT
 * XOP map 10.  AMD APM volume 4 and volume 3, appendix A.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX, X XOP.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
X(0x10, NP, PF(E_r(SZ_Y) | G_w(SZ_Y) | Id | VL0, 0, F_ALL)) /* BEXTR */
X(0x12, NP, GRP(XOP_A12)) /* LWPINS LWPVAL */
