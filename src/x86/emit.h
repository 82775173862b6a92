/* SPDX-License-Identifier: MIT
 * Encoder for the host instructions that translations are made of.  None of them but the guest's own
 * touches the status flags.  Freestanding.  Source: Intel SDM volume 2. */
#ifndef PENUMBRA_X86_EMIT_H
#define PENUMBRA_X86_EMIT_H

#include "base/types.h"
#include "x86/decode.h"

struct emit {
	u8 *p, *end; /* the caller keeps at least EMIT_SLACK bytes between them for one guest instruction */
};
#define EMIT_SLACK 512

static inline void e8(struct emit *e, u8 v) { *e->p++ = v; }
static inline void e16(struct emit *e, u16 v) { __builtin_memcpy(e->p, &v, 2); e->p += 2; }
static inline void e32(struct emit *e, u32 v) { __builtin_memcpy(e->p, &v, 4); e->p += 4; }
static inline void e64(struct emit *e, u64 v) { __builtin_memcpy(e->p, &v, 8); e->p += 8; }
static inline void e_bytes(struct emit *e, const u8 *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*e->p++ = b[i];
}

static inline void e_rex(struct emit *e, int w, int reg, int index, int base)
{
	u8 r = 0x40 | w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);

	e8(e, r);
}

/* gs:[disp32]: opcode `op` with ModRM.reg `reg`, 64-bit operand if w */
static inline void e_gs(struct emit *e, int w, u8 op, int reg, s32 disp)
{
	e8(e, 0x65);
	e_rex(e, w, reg, 0, 0);
	e8(e, op);
	e8(e, 0x04 | (reg & 7) << 3);
	e8(e, 0x25);
	e32(e, (u32)disp);
}
static inline void e_gs64(struct emit *e, u8 op, int reg, s32 disp) { e_gs(e, 1, op, reg, disp); }
static inline void e_store_gs(struct emit *e, s32 disp, int reg) { e_gs64(e, 0x89, reg, disp); }
static inline void e_load_gs(struct emit *e, int reg, s32 disp) { e_gs64(e, 0x8b, reg, disp); }
/* mov qword gs:[disp], simm32 */
static inline void e_store_gs_imm(struct emit *e, s32 disp, s32 imm)
{
	e_gs64(e, 0xc7, 0, disp);
	e32(e, (u32)imm);
}
/* mov dword gs:[disp], imm32 */
static inline void e_store_gs_imm32(struct emit *e, s32 disp, u32 imm)
{
	e8(e, 0x65); e8(e, 0xc7); e8(e, 0x04); e8(e, 0x25); e32(e, (u32)disp); e32(e, imm);
}
/* jmp gs:[disp] */
static inline void e_jmp_gs(struct emit *e, s32 disp)
{
	e8(e, 0x65); e8(e, 0xff); e8(e, 0x24); e8(e, 0x25); e32(e, (u32)disp);
}
/* jmp gs:[reg*8 + disp] */
static inline void e_jmp_gs_index(struct emit *e, int reg, s32 disp)
{
	e8(e, 0x65);
	if (reg >= 8)
		e8(e, 0x42);
	e8(e, 0xff); e8(e, 0x24); e8(e, 0xc5 | (reg & 7) << 3); e32(e, (u32)disp);
}
/* mov reg, imm: the shortest form that keeps the flags */
static inline void e_mov_imm(struct emit *e, int reg, u64 imm)
{
	if (imm <= 0xffffffff) {
		if (reg >= 8)
			e8(e, 0x41);
		e8(e, 0xb8 | (reg & 7));
		e32(e, (u32)imm);
	} else if ((s64)imm == (s32)imm) {
		e_rex(e, 1, 0, 0, reg);
		e8(e, 0xc7); e8(e, 0xc0 | (reg & 7)); e32(e, (u32)imm);
	} else {
		e_rex(e, 1, 0, 0, reg);
		e8(e, 0xb8 | (reg & 7));
		e64(e, imm);
	}
}
static inline void e_mov_rr(struct emit *e, int dst, int src)
{
	e_rex(e, 1, src, 0, dst);
	e8(e, 0x89); e8(e, 0xc0 | (src & 7) << 3 | (dst & 7));
}
/* lea dst, [base + index]: one of them may be RSP */
static inline void e_lea_bi(struct emit *e, int dst, int base, int index)
{
	if (index == RSP) {
		index = base;
		base = RSP;
	}
	e_rex(e, 1, dst, index, base);
	e8(e, 0x8d); e8(e, 0x44 | (dst & 7) << 3); e8(e, (index & 7) << 3 | (base & 7)); e8(e, 0);
}
/* lea dst, [base + disp32] */
static inline void e_lea_bd(struct emit *e, int dst, int base, s32 disp)
{
	e_rex(e, 1, dst, 0, base);
	e8(e, 0x8d); e8(e, 0x80 | (dst & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		e8(e, 0x24);
	e32(e, (u32)disp);
}
/* three-byte VEX of map 0F38, no W unless w */
static inline void e_vex38(struct emit *e, int pp, int w, int reg, int vvvv, int rm)
{
	e8(e, 0xc4);
	e8(e, (reg < 8 ? 0x80 : 0) | 0x40 | (rm < 8 ? 0x20 : 0) | 2);
	e8(e, w << 7 | (~vvvv & 15) << 3 | pp);
}
/* sarx dst, src, count */
static inline void e_sarx(struct emit *e, int dst, int src, int count)
{
	e_vex38(e, 2, 1, dst, count, src);
	e8(e, 0xf7); e8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
}
/* shlx dst, src, count */
static inline void e_shlx(struct emit *e, int dst, int src, int count)
{
	e_vex38(e, 1, 1, dst, count, src);
	e8(e, 0xf7); e8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
}
/* pdep (pp 3) or pext (pp 2) dst, src, gs:[disp] */
static inline void e_pdep_gs(struct emit *e, int dst, int src, s32 disp)
{
	e8(e, 0x65);
	e_vex38(e, 3, 1, dst, src, 0);
	e8(e, 0xf5); e8(e, 0x04 | (dst & 7) << 3); e8(e, 0x25); e32(e, (u32)disp);
}
static inline void e_pext_gs(struct emit *e, int dst, int src, s32 disp)
{
	e8(e, 0x65);
	e_vex38(e, 2, 1, dst, src, 0);
	e8(e, 0xf5); e8(e, 0x04 | (dst & 7) << 3); e8(e, 0x25); e32(e, (u32)disp);
}
/* mov reg, gs:[index * 8 + disp]; index is not RSP */
static inline void e_load_gs_index(struct emit *e, int reg, int index, s32 disp)
{
	e8(e, 0x65);
	e_rex(e, 1, reg, index, 0);
	e8(e, 0x8b);
	e8(e, 0x04 | (reg & 7) << 3);
	e8(e, 0xc5 | (index & 7) << 3);
	e32(e, (u32)disp);
}
/* not reg (64 bits) */
static inline void e_not(struct emit *e, int reg)
{
	e_rex(e, 1, 0, 0, reg);
	e8(e, 0xf7);
	e8(e, 0xd0 | (reg & 7));
}
/* crc32 dst, src (64 bits) */
static inline void e_crc32(struct emit *e, int dst, int src)
{
	e8(e, 0xf2);
	e_rex(e, 1, dst, 0, src);
	e8(e, 0x0f); e8(e, 0x38); e8(e, 0xf1); e8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
}
static inline void e_push(struct emit *e, int reg)
{
	if (reg >= 8)
		e8(e, 0x41);
	e8(e, 0x50 | (reg & 7));
}
static inline void e_pop(struct emit *e, int reg)
{
	if (reg >= 8)
		e8(e, 0x41);
	e8(e, 0x58 | (reg & 7));
}
static inline void e_push_imm(struct emit *e, s32 imm) { e8(e, 0x68); e32(e, (u32)imm); }
static inline void e_wrpkru(struct emit *e) { e8(e, 0x0f); e8(e, 0x01); e8(e, 0xef); }
/* jmp rel32 / jcc rel32; return where the displacement lies */
static inline u8 *e_jmp(struct emit *e, const u8 *target)
{
	e8(e, 0xe9);
	e32(e, (u32)(target - (e->p + 4)));
	return e->p - 4;
}
static inline u8 *e_jcc(struct emit *e, int cond, const u8 *target)
{
	e8(e, 0x0f); e8(e, 0x80 | cond);
	e32(e, (u32)(target - (e->p + 4)));
	return e->p - 4;
}
static inline void e_patch(u8 *where, const u8 *target)
{
	s32 d = (s32)(target - (where + 4));

	__builtin_memcpy(where, &d, 4);
}
#endif
