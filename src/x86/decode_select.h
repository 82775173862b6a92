/* SPDX-License-Identifier: MIT
 * Picks, from an opcode list (decode_map_*.h), the rows of one encoding: define SELECT, include this,
 * include the list as an initialiser, include decode_select_end.h.  No include guard, on purpose. */
#define SELECT_LEGACY 1
#define SELECT_VEX 2
#define SELECT_EVEX 3
#define SELECT_XOP 4
#define SELECT_ROW(op, pp, ...) [op][pp] = __VA_ARGS__,
#if SELECT == SELECT_LEGACY
#define L(...) SELECT_ROW(__VA_ARGS__)
#define LV(...) SELECT_ROW(__VA_ARGS__)
#define LE(...) SELECT_ROW(__VA_ARGS__)
#define LVE(...) SELECT_ROW(__VA_ARGS__)
#define V(...)
#define VE(...)
#define E(...)
#elif SELECT == SELECT_VEX
#define V(...) SELECT_ROW(__VA_ARGS__)
#define LV(...) SELECT_ROW(__VA_ARGS__)
#define VE(...) SELECT_ROW(__VA_ARGS__)
#define LVE(...) SELECT_ROW(__VA_ARGS__)
#define L(...)
#define LE(...)
#define E(...)
#elif SELECT == SELECT_EVEX
#define E(...) SELECT_ROW(__VA_ARGS__)
#define LE(...) SELECT_ROW(__VA_ARGS__)
#define VE(...) SELECT_ROW(__VA_ARGS__)
#define LVE(...) SELECT_ROW(__VA_ARGS__)
#define L(...)
#define V(...)
#define LV(...)
#elif SELECT == SELECT_XOP
#define X(op, pp, ...) [op] = __VA_ARGS__,
#endif
