/* SPDX-License-Identifier: MIT
 * EVEX map 6 (half precision).  SDM 2C, chapter 5; AVX512-FP16 specification.
 *
 * The letters before the bracket are the encodings in which the row exists: L legacy, V VEX, E EVEX.
 * The words are explained in decode_table.h, the inclusion in decode_vector.c.  Included several
 * times, once for each encoding: no include guard. */
E(0x13, NP, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VCVTSH2SS */
E(0x13, P66, P(W_r(SZ_XH) | EW0 | MK | BC2 | RC)) /* VCVTPH2PSX */
E(0x2c, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VSCALEFPH */
E(0x2d, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VSCALEFSH */
E(0x42, P66, P(W_r(SZ_X) | EW0 | MK | BC2 | RC)) /* VGETEXPPH */
E(0x43, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VGETEXPSH */
E(0x4c, P66, P(W_r(SZ_X) | EW0 | MK | BC2)) /* VRCPPH */
E(0x4d, P66, P(W_r(SZ_W) | H_ | EW0 | MK)) /* VRCPSH */
E(0x4e, P66, P(W_r(SZ_X) | EW0 | MK | BC2)) /* VRSQRTPH */
E(0x4f, P66, P(W_r(SZ_W) | H_ | EW0 | MK)) /* VRSQRTSH */
E(0x56, PF3, P(W_r(SZ_X) | H_ | DIST | EW0 | MK | BC | RC)) /* VFMADDCPH */
E(0x56, PF2, P(W_r(SZ_X) | H_ | DIST | EW0 | MK | BC | RC)) /* VFCMADDCPH */
E(0x57, PF3, P(W_r(SZ_D) | H_ | DIST | EW0 | MK | RC)) /* VFMADDCSH */
E(0x57, PF2, P(W_r(SZ_D) | H_ | DIST | EW0 | MK | RC)) /* VFCMADDCSH */
E(0x96, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADDSUB132PH */
E(0x97, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUBADD132PH */
E(0x98, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADD132PH */
E(0x99, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMADD132SH */
E(0x9a, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUB132PH */
E(0x9b, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMSUB132SH */
E(0x9c, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMADD132PH */
E(0x9d, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMADD132SH */
E(0x9e, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMSUB132PH */
E(0x9f, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMSUB132SH */
E(0xa6, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADDSUB213PH */
E(0xa7, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUBADD213PH */
E(0xa8, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADD213PH */
E(0xa9, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMADD213SH */
E(0xaa, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUB213PH */
E(0xab, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMSUB213SH */
E(0xac, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMADD213PH */
E(0xad, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMADD213SH */
E(0xae, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMSUB213PH */
E(0xaf, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMSUB213SH */
E(0xb6, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADDSUB231PH */
E(0xb7, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUBADD231PH */
E(0xb8, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMADD231PH */
E(0xb9, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMADD231SH */
E(0xba, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFMSUB231PH */
E(0xbb, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFMSUB231SH */
E(0xbc, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMADD231PH */
E(0xbd, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMADD231SH */
E(0xbe, P66, P(W_r(SZ_X) | H_ | EW0 | MK | BC2 | RC)) /* VFNMSUB231PH */
E(0xbf, P66, P(W_r(SZ_W) | H_ | EW0 | MK | RC)) /* VFNMSUB231SH */
E(0xd6, PF3, P(W_r(SZ_X) | H_ | DIST | EW0 | MK | BC | RC)) /* VFMULCPH */
E(0xd6, PF2, P(W_r(SZ_X) | H_ | DIST | EW0 | MK | BC | RC)) /* VFCMULCPH */
E(0xd7, PF3, P(W_r(SZ_D) | H_ | DIST | EW0 | MK | RC)) /* VFMULCSH */
E(0xd7, PF2, P(W_r(SZ_D) | H_ | DIST | EW0 | MK | RC)) /* VFCMULCSH */
