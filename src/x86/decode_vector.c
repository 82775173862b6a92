/* SPDX-License-Identifier: MIT
 * The opcode tables of VEX, EVEX and XOP, and of the legacy three-byte opcodes: each is the list of its
 * map (decode_map_*.h) seen through one encoding.  Constant data: no owner, no lock. */
#include "x86/decode_table.h"

#define SELECT SELECT_LEGACY
#include "x86/decode_select.h"
const struct row row_map_0f38[256][4] = {
#include "x86/decode_map_38.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_LEGACY
#include "x86/decode_select.h"
const struct row row_map_0f3a[256][4] = {
#include "x86/decode_map_3a.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_VEX
#include "x86/decode_select.h"
const struct row row_vex_0f[256][4] = {
#include "x86/decode_map_0f.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_VEX
#include "x86/decode_select.h"
const struct row row_vex_0f38[256][4] = {
#include "x86/decode_map_38.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_VEX
#include "x86/decode_select.h"
const struct row row_vex_0f3a[256][4] = {
#include "x86/decode_map_3a.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_EVEX
#include "x86/decode_select.h"
const struct row row_evex_0f[256][4] = {
#include "x86/decode_map_0f.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_EVEX
#include "x86/decode_select.h"
const struct row row_evex_0f38[256][4] = {
#include "x86/decode_map_38.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_EVEX
#include "x86/decode_select.h"
const struct row row_evex_0f3a[256][4] = {
#include "x86/decode_map_3a.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_EVEX
#include "x86/decode_select.h"
const struct row row_evex_5[256][4] = {
#include "x86/decode_map_5.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_EVEX
#include "x86/decode_select.h"
const struct row row_evex_6[256][4] = {
#include "x86/decode_map_6.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_XOP
#include "x86/decode_select.h"
const struct row row_xop_8[256] = {
#include "x86/decode_map_xop8.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_XOP
#include "x86/decode_select.h"
const struct row row_xop_9[256] = {
#include "x86/decode_map_xop9.h"
};
#include "x86/decode_select_end.h"

#define SELECT SELECT_XOP
#include "x86/decode_select.h"
const struct row row_xop_a[256] = {
#include "x86/decode_map_xopa.h"
};
#include "x86/decode_select_end.h"

/* 3DNow! opcodes.  AMD APM volume 3, appendix A, table A-13. */
#define S(x) (u8)(1u << ((x) & 7))
const u8 row_3dnow_valid[32] = {
	[0x0c >> 3] = S(0x0c) | S(0x0d), [0x1c >> 3] = S(0x1c) | S(0x1d), [0x8a >> 3] = S(0x8a) | S(0x8e),
	[0x90 >> 3] = S(0x90) | S(0x94) | S(0x96) | S(0x97), [0x9a >> 3] = S(0x9a) | S(0x9e),
	[0xa0 >> 3] = S(0xa0) | S(0xa4) | S(0xa6) | S(0xa7), [0xaa >> 3] = S(0xaa) | S(0xae),
	[0xb0 >> 3] = S(0xb0) | S(0xb4) | S(0xb6) | S(0xb7), [0xbb >> 3] = S(0xbb) | S(0xbf),
};
