/* SPDX-License-Identifier: MIT
 * Ends what decode_select.h began. */
#undef SELECT
#undef SELECT_LEGACY
#undef SELECT_VEX
#undef SELECT_EVEX
#undef SELECT_XOP
#undef SELECT_ROW
#undef L
#undef V
#undef E
#undef X
#undef LV
#undef LE
#undef VE
#undef LVE
