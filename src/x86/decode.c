/* SPDX-License-Identifier: MIT
 * Instruction decoder.  The opcode tables say what an instruction is (decode_table.h has their
 * words); this file reads prefixes, opcode, ModRM, displacement and immediate, and turns a row into
 * struct insn.  Freestanding, no state: any thread, no lock.
 *
 * Source: SDM volume 2A, chapter 2 (formats, VEX, EVEX, disp8*N); AMD APM volume 3, chapter 1 (XOP).
 * Prefixes that the two vendors treat differently are read as Intel does: 66 on a near branch in
 * 64-bit mode is ignored. */
#include "x86/decode_table.h"

/* Where reading stands. */
struct cursor {
	const u8 *b;
	unsigned pos, limit;
	enum insn_mode mode;
	unsigned a_evex;         /* third payload byte of EVEX: z L'L b V' aaa */
	u8 vvvv;                 /* of VEX, EVEX and XOP, with nothing masked out */
	bool evex_r2;            /* EVEX.R' set: vector registers 16-31 in ModRM.reg */
};

/* More than limit bytes are needed: either they were not there, or the instruction is too long. */
#define INSN_SHORT(c) ((c)->limit < INSN_MAX ? -1 : -2)

#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u

enum { PFX_NONE, PFX_SEG, PFX_66, PFX_67, PFX_LOCK, PFX_REP, PFX_REX };
static const u8 prefix_kind[256] = {
	[0x26] = PFX_SEG, [0x2e] = PFX_SEG, [0x36] = PFX_SEG, [0x3e] = PFX_SEG, [0x64] = PFX_SEG, [0x65] = PFX_SEG,
	[0x66] = PFX_66, [0x67] = PFX_67, [0xf0] = PFX_LOCK, [0xf2] = PFX_REP, [0xf3] = PFX_REP,
	[0x40 ... 0x4f] = PFX_REX,
};

/* Bytes of the sizes that depend on nothing. */
static const u8 fixed_size[32] = {
	[SZ_B] = 1, [SZ_W] = 2, [SZ_D] = 4, [SZ_Q] = 8, [SZ_DQ] = 16, [SZ_QQ] = 32, [SZ_OQ] = 64, [SZ_T] = 10,
};

static const struct row row_arpl = KR(ARPL, Ew_m | COND | G_r(SZ_W), 0, F_Z, 0, 0);

/* Bytes of a row_size, 0 where not fixed. */
static unsigned size_bytes(unsigned kind, const struct insn *in, enum insn_mode mode)
{
	bool w = in->rex & REX_W;

	switch (kind) {
	case SZ_V: return in->osize;
	case SZ_BT: return in->osize;
	case SZ_Z: return in->osize == 2 ? 2 : 4;
	case SZ_Y: return w && mode == MODE_64 ? 8 : 4;
	case SZ_X: case SZ_CD: case SZ_CB: return 16u << in->vl;
	case SZ_XH: return 8u << in->vl;
	case SZ_XQ: return 4u << in->vl;
	case SZ_XE: return 2u << in->vl;
	case SZ_XHW: return (w ? 16u : 8u) << in->vl;
	case SZ_DUP: return in->vl ? 16u << in->vl : 8;
	case SZ_KW: return w ? 8 : 2;
	case SZ_KB: return w ? 4 : 1;
	case SZ_P: return in->osize + 2u;
	case SZ_S: return mode == MODE_64 ? 10 : 6;
	case SZ_A: return in->osize * 2u;
	case SZ_C: return w ? 16 : 8;
	case SZ_STK: return 2;
	case SZ_VS: return w ? 8 : 4;
	default: return fixed_size[kind];
	}
}

static int decode_invalid(struct insn *in, unsigned len)
{
	in->len = (u8)len;
	in->klass = IC_INVALID;
	in->ends_block = true;
	in->has_mem = in->mem_read = in->mem_write = in->privileged = false;
	in->reg_read = in->reg_touch = 0xffff;
	in->reg_write = 0;
	in->flags_read = FLAGS_STATUS | FLAG_DF;
	in->flags_write = 0;
	return 0;
}

/* Notes the use of general register r in an operand of `size` bytes. */
static inline void use_register(struct insn *in, unsigned r, unsigned size, bool read, bool write)
{
	unsigned bit;

	if (size == 1 && (r & ~3u) == 4 && !in->rex && in->enc == ENC_LEGACY) {
		in->byte_reg_high = true;
		r -= 4;
	}
	bit = 1u << (r & 15);
	in->reg_touch |= bit;
	if (read)
		in->reg_read |= bit;
	if (write && size >= 4)
		in->reg_write |= bit;
}

static s64 read_signed(const u8 *b, unsigned size)
{
	switch (size) {
	case 1: return (s8)b[0];
	case 2: return (s16)(b[0] | b[1] << 8);
	case 4: return (s32)(b[0] | b[1] << 8 | b[2] << 16 | (u32)b[3] << 24);
	case 8: return (s64)((u64)(u32)read_signed(b, 4) | (u64)read_signed(b + 4, 4) << 32);
	}
	return 0;
}

/* ---- prefixes and opcode ---- */

/* Legacy prefixes and REX.  Leaves c->pos at the first byte that is neither.  0, -1 or -2. */
static int decode_prefixes(struct insn *in, struct cursor *c)
{
	unsigned rex_at = 0;

	for (;; c->pos++) {
		u8 b;

		if (c->pos >= c->limit)
			return INSN_SHORT(c);
		b = c->b[c->pos];
		switch (prefix_kind[b]) {
		case PFX_NONE:
			goto done;
		case PFX_SEG:
			if (b >= 0x64)
				in->seg = b - 0x64 + SEG_FS;
			else if (c->mode != MODE_64)
				in->seg = (b >> 3) & 3;
			break;
		case PFX_66:
			in->opsize_prefix = 1;
			break;
		case PFX_67:
			in->addrsize_prefix = 1;
			break;
		case PFX_LOCK:
			in->lock = 1;
			break;
		case PFX_REP:
			in->rep = b;
			break;
		case PFX_REX:
			if (c->mode != MODE_64)
				goto done;
			in->rex = b;
			rex_at = c->pos;
			continue;
		}
		in->rex = 0; /* a REX counts only just before the opcode */
	}
done:
	in->off_enc = (u8)(in->rex ? rex_at : c->pos);
	/* of several REX bytes in a row the last one counts */
	in->nprefix = in->off_enc;
	return 0;
}

static unsigned mandatory_prefix(const struct insn *in)
{
	if (in->rep)
		return in->rep == 0xf3 ? PF3 : PF2;
	return in->opsize_prefix ? P66 : NP;
}

/* 0F escapes: c->pos is at the byte after 0F. */
static const struct row *decode_escape(struct insn *in, struct cursor *c)
{
	u8 b = c->b[c->pos];
	const struct row (*map)[4] = row_map_0f;

	in->map = MAP_0F;
	if (b == 0x38 || b == 0x3a) {
		if (++c->pos >= c->limit)
			return NULL;
		in->map = b == 0x38 ? MAP_0F38 : MAP_0F3A;
		map = b == 0x38 ? row_map_0f38 : row_map_0f3a;
		b = c->b[c->pos];
	}
	in->op = b;
	return &map[b][mandatory_prefix(in)];
}

static const struct row row_undefined = UD;

/* VEX and XOP.  `at` is the offset of C4, C5 or 8F; all payload bytes are there.  Sets c->pos to the opcode. */
static const struct row *decode_vex(struct insn *in, struct cursor *c, unsigned at)
{
	const u8 *p = c->b + at;
	unsigned map = 1, last = p[1];
	bool clash = in->rex || in->lock || in->rep || in->opsize_prefix;

	in->enc = p[0] == 0x8f ? ENC_XOP : ENC_VEX;
	in->rex = 0x40 | (p[1] & 0x80 ? 0 : REX_R);
	if (p[0] != 0xc5) {
		map = p[1] & 31;
		in->rex |= (p[1] & 0x40 ? 0 : REX_X) | (p[1] & 0x20 ? 0 : REX_B);
		last = p[2];
		in->rex |= last & 0x80 ? REX_W : 0;
	}
	c->pos = at + (p[0] == 0xc5 ? 2 : 3);
	in->op = c->b[c->pos];
	in->pp = last & 3;
	in->vl = (last >> 2) & 1;
	in->vvvv = c->vvvv = (~last >> 3) & 15;
	if (c->mode != MODE_64) {
		in->rex &= ~(REX_R | REX_X | REX_B);
		in->vvvv &= 7;
	}
	if (clash)
		return &row_undefined;
	if (in->enc == ENC_XOP) {
		in->map = (u8)(MAP_XOP8 + map - 8);
		if (in->pp)
			return &row_undefined;
		return map == 8 ? &row_xop_8[in->op] : map == 9 ? &row_xop_9[in->op] : map == 10 ? &row_xop_a[in->op] : &row_undefined;
	}
	in->map = (u8)(MAP_0F + map - 1);
	return map == 1 ? &row_vex_0f[in->op][in->pp] : map == 2 ? &row_vex_0f38[in->op][in->pp] :
		map == 3 ? &row_vex_0f3a[in->op][in->pp] : &row_undefined;
}

/* EVEX.  `at` is the offset of 62; all payload bytes are there.  Sets c->pos to the opcode. */
static const struct row *decode_evex(struct insn *in, struct cursor *c, unsigned at)
{
	const u8 *p = c->b + at;
	bool clash = in->rex || in->lock || in->rep || in->opsize_prefix;

	in->enc = ENC_EVEX;
	in->rex = 0x40 | ((~p[1] >> 5) & 7 & REX_B) | (p[1] & 0x40 ? 0 : REX_X) | (p[1] & 0x80 ? 0 : REX_R) |
		(p[2] & 0x80 ? REX_W : 0);
	c->evex_r2 = !(p[1] & 0x10);
	c->a_evex = p[3];
	in->vvvv = c->vvvv = (u8)(((~p[2] >> 3) & 15) | (p[3] & 8 ? 0 : 16));
	in->pp = p[2] & 3;
	in->vl = (p[3] >> 5) & 3;
	c->pos = at + 4;
	in->op = c->b[c->pos];
	if (c->mode != MODE_64) {
		in->rex &= ~(REX_R | REX_X | REX_B);
		in->vvvv &= 7;
		c->evex_r2 = false;
		clash |= !(p[3] & 8);
	}
	if (clash || (p[1] & 8) || !(p[2] & 4))
		return &row_undefined;
	in->map = (u8)(MAP_0F + (p[1] & 7) - 1);
	switch (p[1] & 7) {
	case 1: return &row_evex_0f[in->op][in->pp];
	case 2: return &row_evex_0f38[in->op][in->pp];
	case 3: return &row_evex_0f3a[in->op][in->pp];
	case 5: in->map = MAP_5; return &row_evex_5[in->op][in->pp];
	case 6: in->map = MAP_6; return &row_evex_6[in->op][in->pp];
	default: return &row_undefined;
	}
}

/* Opcode bytes after the prefixes.  NULL: the bytes end. */
static const struct row *decode_opcode(struct insn *in, struct cursor *c)
{
	u8 b = c->b[c->pos];
	unsigned left = c->limit - c->pos, need;

	if (b == 0x0f) {
		if (++c->pos >= c->limit)
			return NULL;
		return decode_escape(in, c);
	}
	in->op = b;
	if (likely(b != 0xc4 && b != 0xc5 && b != 0x62 && b != 0x8f)) {
		if (unlikely(b == 0x63 && c->mode != MODE_64))
			return &row_arpl;
		return &row_map_1b[b];
	}
	if (left < 2)
		return NULL;
	if (b == 0x8f ? (c->b[c->pos + 1] & 0x1f) < 8 : c->mode != MODE_64 && c->b[c->pos + 1] < 0xc0)
		return &row_map_1b[b];
	need = b == 0xc5 ? 3 : b == 0x62 ? 5 : 4;
	if (left < need)
		return NULL;
	in->off_enc = in->nprefix = (u8)c->pos;
	return b == 0x62 ? decode_evex(in, c, c->pos) : decode_vex(in, c, c->pos);
}

/* ---- ModRM ---- */

/* Memory operand with 16-bit addressing.  SDM 2A table 2-1. */
static void decode_memory16(struct insn *in)
{
	static const u8 bases[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const u8 indexes[8] = { RSI, RDI, RSI, RDI, REG_NONE, REG_NONE, REG_NONE, REG_NONE };
	unsigned rm = in->modrm & 7;

	in->base = in->mod == 0 && rm == 6 ? REG_NONE : bases[rm];
	in->index = indexes[rm];
	in->disp_size = in->mod == 1 ? 1 : in->mod == 2 || in->base == REG_NONE ? 2 : 0;
	in->base_seg_ss = in->base == RBP;
}

/* Memory operand with 32- or 64-bit addressing.  SDM 2A tables 2-2 and 2-3. */
static int decode_memory(struct insn *in, struct cursor *c)
{
	unsigned low = in->modrm & 7;

	in->base = (u8)(low | (in->rex & REX_B) << 3);
	if (low == 4) {
		u8 sib;

		if (c->pos >= c->limit)
			return INSN_SHORT(c);
		in->off_sib = (u8)c->pos;
		in->sib = sib = c->b[c->pos++];
		low = sib & 7;
		in->base = (u8)(low | (in->rex & REX_B) << 3);
		in->scale = (u8)(1u << (sib >> 6));
		in->index = (u8)(((sib >> 3) & 7) | (in->rex & REX_X) << 2);
		if (in->index == RSP)
			in->index = REG_NONE;
		if (low == 5 && in->mod == 0) {
			in->base = REG_NONE;
			in->disp_size = 4;
		}
	} else if (low == 5 && in->mod == 0) {
		in->base = c->mode == MODE_64 ? REG_RIP : REG_NONE;
		in->disp_size = 4;
	}
	if (in->mod)
		in->disp_size = in->mod == 1 ? 1 : 4;
	in->base_seg_ss = in->base == RSP || in->base == RBP;
	return 0;
}

/* ModRM, SIB and displacement.  The row's group is resolved already.  0, -1 or -2. */
static int decode_modrm(struct insn *in, struct cursor *c)
{
	int rc = 0;

	in->scale = 1;
	if (in->mod == 3)
		return 0;
	in->has_mem = true;
	if (unlikely(in->asize == 2))
		decode_memory16(in);
	else if ((rc = decode_memory(in, c)) != 0)
		return rc;
	if (in->disp_size) {
		if (c->pos + in->disp_size > c->limit)
			return INSN_SHORT(c);
		in->off_disp = (u8)c->pos;
		in->disp = read_signed(c->b + c->pos, in->disp_size);
		c->pos += in->disp_size;
	}
	return 0;
}

static int decode_immediate(struct insn *in, struct cursor *c, unsigned kind)
{
	static const u8 sizes[16] = {
		[IMM_IB] = 1, [IMM_IBS] = 1, [IMM_IW] = 2, [IMM_JB] = 1, [IMM_ENTER] = 3, [IMM_IB2] = 2, [IMM_ID] = 4,
	};
	const u8 *b = c->b + c->pos;
	unsigned n = sizes[kind];

	if (!n) {
		if (kind == IMM_OV || kind == IMM_OBY)
			n = in->asize;
		else if (kind == IMM_IV)
			n = in->osize;
		else
			n = in->osize == 2 ? 2 : 4;
		if (kind == IMM_AP)
			n += 2;
	}
	if (c->pos + n > c->limit)
		return INSN_SHORT(c);
	if (kind == IMM_OV || kind == IMM_OBY) {
		in->off_disp = (u8)c->pos;
		in->disp_size = (u8)n;
		in->disp = n == 8 ? read_signed(b, 8) : n == 4 ? (u32)read_signed(b, 4) : (u16)read_signed(b, 2);
		in->mem_read = !(in->op & 2);
		in->mem_write = in->op & 2;
		in->mem_size = in->osize;
		in->scale = 1;
		c->pos += n;
		return 0;
	}
	in->off_imm = (u8)c->pos;
	in->imm_size = (u8)n;
	c->pos += n;
	switch (kind) {
	case IMM_IB: in->imm = b[0]; break;
	case IMM_IW: in->imm = b[0] | b[1] << 8; break;
	case IMM_ENTER: in->imm = b[0] | b[1] << 8; in->imm2 = b[2]; break;
	case IMM_IB2: in->imm = b[0]; in->imm2 = b[1]; break;
	case IMM_AP:
		in->imm = n == 4 ? (u16)read_signed(b, 2) : (u32)read_signed(b, 4);
		in->selector = (u16)read_signed(b + n - 2, 2);
		break;
	default: in->imm = read_signed(b, n);
	}
	return 0;
}

/* ---- conditions of VEX and EVEX ---- */

static bool vex_allowed(const struct insn *in, const struct cursor *c, u64 a)
{
	bool w = in->rex & REX_W;

	if ((ROW_VL(a) == 1 && in->vl) || (ROW_VL(a) == 2 && !in->vl))
		return false;
	if ((ROW_VW(a) == 1 && w) || (ROW_VW(a) == 2 && !w))
		return false;
	if (c->vvvv && (!(a & A_H) || ((a & HREG) && in->mod != 3)))
		return false;
	if ((a & TMM) && c->mode != MODE_64)
		return false;
	if ((a & (GK | TMM)) && in->reg > 7)
		return false;
	if ((a & HK) && in->vvvv > 7)
		return false;
	if ((a & TMM) && (in->vvvv > 7 || (in->mod == 3 && (a & A_H) && in->rm > 7)))
		return false;
	if ((a & NOSIB_UD) && !in->off_sib)
		return false;
	if ((a & DIST) && (a & TMM) && in->mod == 3 && (in->reg == in->rm || in->reg == in->vvvv || in->rm == in->vvvv))
		return false;
	if ((a & DIST) && (a & VSIB)) {
		unsigned index = ((in->sib >> 3) & 7u) | (in->rex & REX_X) << 2;

		if (index == in->reg || index == in->vvvv || in->reg == in->vvvv)
			return false;
	}
	return true;
}

/* Also settles vector length, register numbers above 15 and disp8*N. */
static bool evex_finish(struct insn *in, const struct cursor *c, u64 a)
{
	bool w = in->rex & REX_W, b = c->a_evex & 0x10, z = c->a_evex & 0x80;
	unsigned aaa = c->a_evex & 7, el = ROW_EL(a), scale;

	if ((ROW_EW(a) == 1 && w) || (ROW_EW(a) == 2 && !w))
		return false;
	if (b && in->mod == 3) {
		if (!(a & RC))
			return false;
		in->vl = 2; /* L'L is the rounding */
	} else if (b && !(a & (BC | BC2 | BC4))) {
		return false;
	} else if (in->vl == 3 || (el == 1 && in->vl) || (el == 2 && !in->vl) || (el == 3 && in->vl != 2)) {
		return false;
	}
	switch (ROW_MK(a)) {
	case 0: if (aaa || z) return false; break;
	case 1: if (z && (!aaa || (in->mod != 3 && (a & A_EW)))) return false; break;
	case 2: if (z) return false; break;
	case 3: if (z || !aaa) return false; break;
	}
	if (a & VSIB) {
		unsigned index = ((in->sib >> 3) & 7u) | (in->rex & REX_X) << 2 | (in->vvvv & 16);

		if ((a & DIST) && index == (unsigned)(in->reg | (c->evex_r2 ? 16 : 0)))
			return false;
		in->index = (u8)index;
		in->vvvv = 0;
	}
	if (a & VSIB ? c->vvvv & 15 : c->vvvv && (!(a & A_H) || ((a & HREG) && in->mod != 3)))
		return false;
	if ((a & GK) && (in->reg > 7 || c->evex_r2))
		return false;
	if (ROW_G_SIZE(a) && c->evex_r2)
		return false;
	if (c->evex_r2)
		in->reg |= 16;
	if (in->mod == 3 && !(a & A_EGPR) && (in->rex & REX_X))
		in->rm |= 16;
	if ((a & DIST) && !(a & VSIB) && (in->reg == in->vvvv || (in->mod == 3 && in->reg == in->rm)))
		return false;
	if (!in->has_mem)
		return true;
	switch (ROW_E_SIZE(a)) {
	case SZ_CD: scale = w ? 8 : 4; break;
	case SZ_CB: scale = w ? 2 : 1; break;
	default: scale = size_bytes(ROW_E_SIZE(a), in, c->mode);
	}
	if (b)
		in->mem_size = scale = a & BC2 ? 2 : (a & BC4) || !w ? 4 : 8;
	if (in->disp_size == 1 && scale)
		in->disp *= scale;
	return true;
}

/* ---- what no column of the table says ---- */

/* Returns false where the form is undefined. */
static bool insn_fix_row(struct insn *in, const struct cursor *c)
{
	switch (in->klass) {
	case IC_INS: case IC_OUTS: case IC_IN: case IC_OUT:
		in->osize = MIN(in->osize, 4);
		break;
	default:
		break;
	}
	switch (in->klass) {
	case IC_CMPS: case IC_SCAS: case IC_MOVS: case IC_STOS: case IC_LODS: case IC_INS: case IC_OUTS:
		if (in->rep) {
			in->reg_read |= 1u << RCX;
			in->reg_touch |= 1u << RCX;
			in->flags_write = 0;
			if (in->klass == IC_CMPS || in->klass == IC_SCAS)
				in->flags_read |= FLAGS_STATUS; /* a count of zero keeps them */
		}
		return true;
	case IC_SYSCALL:
		in->reg_touch |= 1u << RCX | 1u << R11;
		if (c->mode == MODE_64)
			in->reg_write |= 1u << RCX | 1u << R11;
		return true;
	case IC_SYSRET:
		in->reg_read |= 1u << R11;
		in->reg_touch |= 1u << R11;
		return true;
	case IC_MOV_TO_SEG:
		return (in->reg & 7) != 1 && (in->reg & 7) < 6;
	case IC_MOV_FROM_SEG:
		return (in->reg & 7) < 6;
	case IC_MOV_FROM_CR: case IC_MOV_TO_CR:
		return in->reg == 0 || (in->reg >= 2 && in->reg <= 4) || in->reg == 8;
	case IC_MOV_FROM_DR: case IC_MOV_TO_DR:
		return in->reg < 8;
	case IC_MOVDIR64B: case IC_VMX:
		in->reg_read |= in->reg_touch;
		return true;
	case IC_PLAIN:
		if (in->map == MAP_0F) /* 3DNow!: the last byte is the opcode */
			return row_3dnow_valid[in->imm >> 3] >> (in->imm & 7) & 1;
		if (in->rex & REX_B) { /* 90 is XCHG once it names R8 */
			use_register(in, RAX, in->osize, true, true);
			use_register(in, R8, in->osize, true, true);
		}
		return true;
	default:
		return true;
	}
}

/* Register and flag sets, memory access of the row. */
static inline void decode_operands(struct insn *in, const struct row *r, enum insn_mode mode)
{
	u64 a = r->a;
	bool whole = !(a & FIXV) || in->osize >= 4;

	in->reg_read |= r->rr;
	in->reg_touch |= r->rr | r->rw;
	if (whole)
		in->reg_write |= mode == MODE_16 ? r->rw & ~r_SP : r->rw; /* a 16-bit stack moves SP alone */
	in->flags_read = F_ROW_EXPAND(r->fr);
	in->flags_write = F_ROW_EXPAND(r->fw);
	if (a & (A_OR | A_OW))
		use_register(in, (in->op & 7u) | (in->rex & REX_B) << 3, in->osize, a & A_OR, a & A_OW);
	if (!(a & A_MODRM))
		return;
	if (in->has_mem) {
		in->mem_read = a & A_ER;
		in->mem_write = a & A_EW;
		if (!in->mem_size) /* else broadcast */
			in->mem_size = a & (A_ER | A_EW) ? (u8)size_bytes(ROW_E_SIZE(a), in, mode) : 0;
		if (in->base < 16)
			in->reg_read |= 1u << in->base;
		if (in->index < 16 && !in->vsib)
			in->reg_read |= 1u << in->index;
		in->reg_touch |= in->reg_read;
	} else if (a & A_EGPR) {
		unsigned kind = ROW_E_SIZE(a), size;

		size = kind == SZ_STK ? in->osize : a & A_EREG32 ? size_bytes(SZ_Y, in, mode) : size_bytes(kind, in, mode);
		if ((a & CRDR) && mode != MODE_64)
			size = 4;
		use_register(in, in->rm, size, a & A_ER, (a & A_EW) && !(a & COND));
	}
	if (ROW_G_SIZE(a))
		use_register(in, in->reg, size_bytes(ROW_G_SIZE(a), in, mode), a & A_GR, a & A_GW);
	if (a & (A_BR | A_BW))
		use_register(in, in->vvvv, 4, a & A_BR, a & A_BW);
}

static void decode_sizes(struct insn *in, u64 a, enum insn_mode mode)
{
	if (a & A_OS8)
		in->osize = 1;
	else if (mode == MODE_64)
		in->osize = a & F64 ? 8 : in->enc != ENC_LEGACY ? (in->rex & REX_W ? 8 : 4) :
			in->rex & REX_W ? 8 : in->opsize_prefix ? 2 : a & D64 ? 8 : 4;
	else
		in->osize = (mode == MODE_32) != in->opsize_prefix ? 4 : 2;
}

/* Names of the classes, and whether control may go elsewhere than to the next instruction. */
static const struct { char name[15]; bool ends; } classes[IC_COUNT] = {
	[IC_INVALID] = { "invalid", true }, [IC_PLAIN] = { "plain", false }, [IC_JMP] = { "jmp", true },
	[IC_JCC] = { "jcc", true }, [IC_LOOP] = { "loop", true }, [IC_CALL] = { "call", true },
	[IC_RET] = { "ret", true }, [IC_JMP_IND] = { "jmp-ind", true }, [IC_CALL_IND] = { "call-ind", true },
	[IC_JMP_FAR] = { "jmp-far", true }, [IC_CALL_FAR] = { "call-far", true }, [IC_RETF] = { "retf", true },
	[IC_IRET] = { "iret", true }, [IC_INT] = { "int", true }, [IC_INT3] = { "int3", true },
	[IC_INT1] = { "int1", true }, [IC_INTO] = { "into", true }, [IC_SYSCALL] = { "syscall", true },
	[IC_SYSRET] = { "sysret", true }, [IC_SYSENTER] = { "sysenter", true }, [IC_SYSEXIT] = { "sysexit", true },
	[IC_PUSH] = { "push", false }, [IC_POP] = { "pop", false }, [IC_PUSHA] = { "pusha", false },
	[IC_POPA] = { "popa", false }, [IC_PUSHF] = { "pushf", false }, [IC_POPF] = { "popf", false },
	[IC_PUSH_SEG] = { "push-seg", false }, [IC_POP_SEG] = { "pop-seg", false }, [IC_ENTER] = { "enter", false },
	[IC_LEAVE] = { "leave", false }, [IC_MOVS] = { "movs", false }, [IC_STOS] = { "stos", false },
	[IC_LODS] = { "lods", false }, [IC_CMPS] = { "cmps", false }, [IC_SCAS] = { "scas", false },
	[IC_INS] = { "ins", false }, [IC_OUTS] = { "outs", false }, [IC_IN] = { "in", false },
	[IC_OUT] = { "out", false }, [IC_XLAT] = { "xlat", false }, [IC_MASKMOV] = { "maskmov", false },
	[IC_MOV_FROM_SEG] = { "mov-from-seg", false }, [IC_MOV_TO_SEG] = { "mov-to-seg", false },
	[IC_LOAD_FAR] = { "load-far", false }, [IC_MOFFS] = { "moffs", false }, [IC_CLI] = { "cli", false },
	[IC_STI] = { "sti", false }, [IC_STAC] = { "stac", false }, [IC_CLAC] = { "clac", false },
	[IC_HLT] = { "hlt", true }, [IC_CLTS] = { "clts", false }, [IC_LMSW] = { "lmsw", false },
	[IC_SMSW] = { "smsw", false }, [IC_LGDT] = { "lgdt", false }, [IC_LIDT] = { "lidt", false },
	[IC_SGDT] = { "sgdt", false }, [IC_SIDT] = { "sidt", false }, [IC_LLDT] = { "lldt", false },
	[IC_LTR] = { "ltr", false }, [IC_SLDT] = { "sldt", false }, [IC_STR] = { "str", false },
	[IC_LAR] = { "lar", false }, [IC_LSL] = { "lsl", false }, [IC_VERR] = { "verr", false },
	[IC_VERW] = { "verw", false }, [IC_ARPL] = { "arpl", false }, [IC_MOV_FROM_CR] = { "mov-from-cr", false },
	[IC_MOV_TO_CR] = { "mov-to-cr", false }, [IC_MOV_FROM_DR] = { "mov-from-dr", false },
	[IC_MOV_TO_DR] = { "mov-to-dr", false }, [IC_RDMSR] = { "rdmsr", false }, [IC_WRMSR] = { "wrmsr", false },
	[IC_RDPMC] = { "rdpmc", false }, [IC_RDTSC] = { "rdtsc", false }, [IC_RDTSCP] = { "rdtscp", false },
	[IC_RDPID] = { "rdpid", false }, [IC_CPUID] = { "cpuid", false }, [IC_INVLPG] = { "invlpg", false },
	[IC_INVPCID] = { "invpcid", false }, [IC_INVD] = { "invd", false }, [IC_WBINVD] = { "wbinvd", false },
	[IC_INVLPGB] = { "invlpgb", false }, [IC_TLBSYNC] = { "tlbsync", false }, [IC_SWAPGS] = { "swapgs", false },
	[IC_RDFSBASE] = { "rdfsbase", false }, [IC_RDGSBASE] = { "rdgsbase", false },
	[IC_WRFSBASE] = { "wrfsbase", false }, [IC_WRGSBASE] = { "wrgsbase", false }, [IC_XSAVE] = { "xsave", false },
	[IC_XSAVES] = { "xsaves", false }, [IC_XRSTOR] = { "xrstor", false }, [IC_XRSTORS] = { "xrstors", false },
	[IC_XGETBV] = { "xgetbv", false }, [IC_XSETBV] = { "xsetbv", false }, [IC_RDPKRU] = { "rdpkru", false },
	[IC_WRPKRU] = { "wrpkru", false }, [IC_MONITOR] = { "monitor", false }, [IC_MWAIT] = { "mwait", false },
	[IC_MONITORX] = { "monitorx", false }, [IC_MWAITX] = { "mwaitx", false }, [IC_XBEGIN] = { "xbegin", true },
	[IC_XABORT] = { "xabort", true }, [IC_XEND] = { "xend", false }, [IC_XTEST] = { "xtest", false },
	[IC_VMX] = { "vmx", true }, [IC_VMCALL] = { "vmcall", true }, [IC_CET] = { "cet", true },
	[IC_CLZERO] = { "clzero", false }, [IC_MOVDIR64B] = { "movdir64b", false },
};

const char *insn_class_name(enum insn_class klass)
{
	return (unsigned)klass < IC_COUNT ? classes[klass].name : "?";
}

/* What follows the opcode, for a row that may be a group. */
static int decode_rest(struct insn *in, struct cursor *c, const struct row *r)
{
	u64 a;
	int rc;

	if (r->a & A_MODRM) {
		u8 modrm;

		if (c->pos >= c->limit)
			return INSN_SHORT(c);
		in->off_modrm = (u8)c->pos;
		in->modrm = modrm = c->b[c->pos++];
		in->mod = modrm >> 6;
		if (unlikely((r->a & NO64) && c->mode == MODE_64))
			return decode_invalid(in, c->pos);
		while (r->group)
			r = &row_groups[r->group][r->group < GRP_BY_RM ? ((modrm >> 3) & 7) + (in->mod == 3 ? 8 : 0) : modrm & 7];
		in->reg = (u8)(((modrm >> 3) & 7) | (in->rex & REX_R) << 1);
		in->rm = (u8)((modrm & 7) | (in->rex & REX_B) << 3);
		a = r->a;
		if (unlikely(a & CRDR))
			in->mod = 3;
		if (!a || (a & (in->mod == 3 ? A_MEM : A_REG)))
			return decode_invalid(in, c->pos);
		in->vsib = a & VSIB;
		rc = decode_modrm(in, c);
		if (rc)
			return rc;
	}
	a = r->a;
	in->klass = r->klass;
	if ((r->klass == IC_INVALID && !(a & UNDEF)) || (a & (c->mode == MODE_64 ? NO64 : ONLY64)))
		return decode_invalid(in, c->pos);
	if (unlikely(in->lock) && !((a & LOCKABLE) && in->has_mem))
		return decode_invalid(in, c->pos);
	decode_sizes(in, a, c->mode);
	if (ROW_IMM(a)) {
		rc = decode_immediate(in, c, ROW_IMM(a));
		if (rc)
			return rc;
	}
	in->len = (u8)c->pos;
	if (in->enc != ENC_LEGACY) {
		if (a & VSIB) {
			if (!in->off_sib)
				return decode_invalid(in, c->pos);
			in->index = (u8)(((in->sib >> 3) & 7) | (in->rex & REX_X) << 2);
		}
		if (!(in->enc == ENC_EVEX ? evex_finish(in, c, a) : vex_allowed(in, c, a)))
			return decode_invalid(in, c->pos);
	}
	decode_operands(in, r, c->mode);
	in->privileged = a & PRIV;
	in->ends_block = classes[r->klass].ends;
	if ((a & SHIFT) && !(in->imm & (in->osize == 8 ? 63 : 31)))
		in->flags_write = 0;
	if (a & ANY_REG)
		in->reg_read = in->reg_touch = 0xffff;
	if ((a & UNDEF) || ((a & FIX) && !insn_fix_row(in, c)))
		return decode_invalid(in, c->pos);
	return 0;
}

int insn_decode(struct insn *in, const u8 *bytes, size_t avail, enum insn_mode mode)
{
	struct cursor c = { .b = bytes, .limit = avail < INSN_MAX ? (unsigned)avail : INSN_MAX, .mode = mode };
	const struct row *r;
	int rc;

	*in = (struct insn){ .seg = SEG_NONE, .base = REG_NONE, .index = REG_NONE };
	rc = decode_prefixes(in, &c);
	if (rc)
		return rc;
	in->asize = mode == MODE_64 ? (in->addrsize_prefix ? 4 : 8) : (mode == MODE_32) != in->addrsize_prefix ? 4 : 2;
	r = decode_opcode(in, &c);
	if (!r)
		return INSN_SHORT(&c);
	in->off_opcode = (u8)c.pos++;
	return decode_rest(in, &c, r);
}
