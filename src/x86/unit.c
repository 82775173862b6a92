/* SPDX-License-Identifier: MIT
 * Units of the processor by opcode, and their availability.
 *
 * Owner: whoever calls; no state.  Freestanding.  Source: see unit.h; opcodes by SDM volume 2, appendix A. */
#include "x86/unit.h"

#define XCR0_AVX 6u

/* Opcodes of the two-byte map, from..to, that are MMX without a prefix and SSE with one; `sse`: SSE either way. */
static const struct { u8 from, to; bool sse; } rows_0f[] = {
	{ 0x10, 0x17, true }, { 0x28, 0x2f, true }, { 0x50, 0x5f, true },
	{ 0x60, 0x77, false }, { 0x78, 0x79, true }, { 0x7c, 0x7d, true }, { 0x7e, 0x7f, false },
	{ 0xc2, 0xc2, true }, { 0xc4, 0xc5, false }, { 0xc6, 0xc6, true },
	{ 0xd0, 0xd0, true }, { 0xd1, 0xd5, false }, { 0xd6, 0xd6, true }, { 0xd7, 0xe5, false }, { 0xe6, 0xe6, true },
	{ 0xe7, 0xef, false }, { 0xf0, 0xf0, true }, { 0xf1, 0xfe, false },
};

static enum insn_unit unit_0f(const struct insn *in)
{
	bool prefix = in->opsize_prefix || in->rep;

	if (in->op == 0x0f) /* 3DNow! */
		return UNIT_MMX;
	if (in->op == 0x0e)
		return UNIT_MMX; /* FEMMS */
	if (in->op == 0xae && in->has_mem && !prefix) {
		int group = in->modrm >> 3 & 7;

		return group < 2 ? UNIT_FXSAVE : group < 4 ? UNIT_SSE : group < 7 ? UNIT_XSAVE : UNIT_NONE;
	}
	if (in->op == 0xb8 || in->op == 0xae) /* POPCNT, fences, FS and GS bases */
		return UNIT_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(rows_0f); i++)
		if (in->op >= rows_0f[i].from && in->op <= rows_0f[i].to)
			return rows_0f[i].sse || prefix ? UNIT_SSE : UNIT_MMX;
	return UNIT_NONE;
}

static enum insn_unit unit_legacy(const struct insn *in)
{
	bool prefix = in->opsize_prefix || in->rep;

	switch (in->map) {
	case MAP_1B:
		return in->op == 0x9b ? UNIT_WAIT : (in->op & 0xf8) == 0xd8 ? UNIT_X87 : UNIT_NONE;
	case MAP_0F:
		return unit_0f(in);
	case MAP_0F38: /* behind 0x80: invalidation, MOVBE, CRC32, ADX, direct stores; SHA, AES and GF2P8MULB between them */
		if (in->op >= 0x80)
			return in->op >= 0xc8 && in->op <= 0xdf ? UNIT_SSE : UNIT_NONE;
		return prefix ? UNIT_SSE : UNIT_MMX;
	case MAP_0F3A: /* PALIGNR is the only one of MMX */
		return in->op >= 0xf0 ? UNIT_NONE : in->op == 0x0f && !prefix ? UNIT_MMX : UNIT_SSE;
	default:
		return UNIT_NONE;
	}
}

/* BMI1, BMI2 and CMPccXADD under VEX, TBM and LWP under XOP use general registers. */
static bool is_general(const struct insn *in)
{
	switch (in->map) {
	case MAP_0F38: return in->enc == ENC_VEX && in->op >= 0xe0;
	case MAP_0F3A: return in->enc == ENC_VEX && in->op >= 0xf0;
	case MAP_XOP9: return in->op < 0x20;
	case MAP_XOPA: return true;
	default: return false;
	}
}

enum insn_unit insn_unit(const struct insn *in)
{
	switch (in->klass) {
	case IC_XSAVE: case IC_XSAVES: case IC_XRSTOR: case IC_XRSTORS:
		return UNIT_XSAVE;
	case IC_PLAIN: case IC_MASKMOV:
		break;
	default:
		return UNIT_NONE;
	}
	if (in->enc == ENC_LEGACY)
		return unit_legacy(in);
	return is_general(in) ? UNIT_NONE : UNIT_AVX;
}

int unit_fault(const struct cpu *c, const struct insn *in)
{
	enum insn_unit unit = insn_unit(in);
	u64 nm = CR0_TS;

	switch (unit) {
	case UNIT_NONE:
		return -1;
	case UNIT_WAIT: /* heeds TS only together with MP, and EM never */
		return (c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS) ? VEC_NM : -1;
	case UNIT_X87:
	case UNIT_FXSAVE:
		nm |= CR0_EM;
		break;
	case UNIT_MMX:
	case UNIT_SSE:
		if ((c->cr0 & CR0_EM) || (unit == UNIT_SSE && !(c->cr4 & CR4_OSFXSR)))
			return VEC_UD;
		break;
	case UNIT_AVX:
	case UNIT_XSAVE:
		if (!(c->cr4 & CR4_OSXSAVE) || (unit == UNIT_AVX && (c->xcr0 & XCR0_AVX) != XCR0_AVX))
			return VEC_UD;
		break;
	}
	return c->cr0 & nm ? VEC_NM : -1;
}
