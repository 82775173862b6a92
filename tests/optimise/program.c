/* SPDX-License-Identifier: MIT
 * Random guest programs: see program.h.  Registers: RBX points at the data and is never written; a loop counts
 * in a stack slot or in R15; the others are anybody's, a random few of them. */
#include "optimise/program.h"
#include "x86/emit.h"

#include <string.h>

u64 random64(u64 *s)
{
	u64 z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

#define FUNCTIONS 5

struct gen {
	struct machine *m;
	struct emit e;
	u64 seed;
	u8 regs[16], n_regs;
	u8 *functions[FUNCTIONS], *meddler;
	int function;      /* in the making: it may call those with smaller numbers */
	bool frame;        /* RBP is the frame pointer */
	int depth, calls, tables;
	int pushed;        /* bytes below the frame */
};

static u32 rnd(struct gen *g, u32 n) { return (u32)(random64(&g->seed) >> 33) % n; }
static int reg(struct gen *g) { return g->regs[rnd(g, g->n_regs)]; }

static void modrm_reg(struct gen *g, int w, int op, int r, int rm)
{
	if (w || r >= 8 || rm >= 8)
		e_rex(&g->e, w, r, 0, rm);
	if (op > 0xff)
		e8(&g->e, 0x0f);
	e8(&g->e, (u8)op);
	e8(&g->e, (u8)(0xc0 | (r & 7) << 3 | (rm & 7)));
}

/* The frame's memory at that offset, by RBP or by RSP. */
static void modrm_frame(struct gen *g, int w, int op, int r, bool bp, int at)
{
	if (w || r >= 8)
		e_rex(&g->e, w, r, 0, 0);
	if (op > 0xff)
		e8(&g->e, 0x0f);
	e8(&g->e, (u8)op);
	if (bp) {
		e8(&g->e, (u8)(0x45 | (r & 7) << 3));
		e8(&g->e, (u8)(-72 + at));
	} else {
		e8(&g->e, (u8)(0x44 | (r & 7) << 3));
		e8(&g->e, 0x24);
		e8(&g->e, (u8)(at + g->pushed));
	}
}

/* A stack slot of the frame: 8 of them, of which some overlap in halves. */
static void modrm_slot(struct gen *g, int w, int op, int r)
{
	int slot = (int)rnd(g, 8) * 8 + (rnd(g, 4) == 0 ? 4 : 0);

	modrm_frame(g, w, op, r, g->frame && rnd(g, 4), slot);
}

/* [rbx + disp] or [rbx + index * scale + disp], the index bounded before. */
static void modrm_data(struct gen *g, int w, int op, int r)
{
	int disp = (int)rnd(g, 0x1800), index = -1;

	if (rnd(g, 3) == 0) {
		index = reg(g);
		/* and index, 255: changes flags, which is part of the fun */
		e_rex(&g->e, 0, 0, 0, index);
		e8(&g->e, 0x81); e8(&g->e, (u8)(0xe0 | (index & 7))); e32(&g->e, 255);
	}
	if (w || r >= 8 || index >= 8)
		e_rex(&g->e, w, r, index < 0 ? 0 : index, 0);
	if (op > 0xff)
		e8(&g->e, 0x0f);
	e8(&g->e, (u8)op);
	if (index < 0) {
		e8(&g->e, (u8)(0x80 | (r & 7) << 3 | RBX));
	} else {
		e8(&g->e, (u8)(0x84 | (r & 7) << 3));
		e8(&g->e, (u8)(rnd(g, 4) << 6 | (index & 7) << 3 | RBX));
	}
	e32(&g->e, (u32)disp);
}

static void modrm_rip(struct gen *g, int w, int op, int r)
{
	s64 away = (s64)(g->m->data + rnd(g, 0x1000)) - (s64)(g->e.p + 7);

	if (away != (s32)away) {
		modrm_data(g, w, op, r);
		return;
	}
	e_rex(&g->e, w, r, 0, 0);
	e8(&g->e, (u8)op);
	e8(&g->e, (u8)(0x05 | (r & 7) << 3));
	e32(&g->e, (u32)away);
}

static void operand(struct gen *g, int w, int op, int r, bool written)
{
	switch (rnd(g, 8)) {
	case 0: case 1: modrm_reg(g, w, op, r, reg(g)); break;
	case 2: case 3: case 4: modrm_slot(g, w, op, r); break;
	case 5: modrm_rip(g, w, op > 0xff ? 0x3b : op, r); break;
	default: modrm_data(g, w, op, r); break;
	}
	(void)written;
}

static void alu_imm(struct gen *g, int w, int op, int r, s32 imm)
{
	e_rex(&g->e, w, 0, 0, r);
	e8(&g->e, imm == (s8)imm ? 0x83 : 0x81);
	e8(&g->e, (u8)(0xc0 | op << 3 | (r & 7)));
	if (imm == (s8)imm)
		e8(&g->e, (u8)imm);
	else
		e32(&g->e, (u32)imm);
}

/* op [the frame's word + off], r, by either base. */
static void modrm_word(struct gen *g, int w, int op, int r, int off)
{
	modrm_frame(g, w, op, r, g->frame && rnd(g, 2), off);
}

/* A pointer to the frame, and a store through it: an alias of a slot, which may be known before and read behind it. */
static void alias(struct gen *g)
{
	int p = reg(g), v = reg(g), at = (int)rnd(g, 8) * 8;

	if (rnd(g, 2))
		modrm_word(g, 1, 0x8b, v, at);
	if (rnd(g, 6) == 0) { /* stosq, stosb */
		modrm_word(g, 1, 0x8d, RDI, at);
		if (rnd(g, 2))
			e8(&g->e, 0x48), e8(&g->e, 0xab);
		else
			e8(&g->e, 0xaa);
	} else {
		modrm_word(g, 1, 0x8d, p, at + (at && !rnd(g, 4) ? -4 : 0));
		if (rnd(g, 2)) {
			/* or p, 0: not a known distance any more */
			alu_imm(g, 1, 1, p, 0);
		}
		if (p == R12 || p == R13)
			return;
		e_rex(&g->e, (int)rnd(g, 2), v, 0, p);
		e8(&g->e, rnd(g, 2) ? 0x89 : 0x01);
		e8(&g->e, (u8)((v & 7) << 3 | (p & 7)));
	}
	if (rnd(g, 2))
		modrm_word(g, (int)rnd(g, 2), 0x8b, reg(g), at);
}

/* A store of 1 to 16 bytes that covers a part of the word, or reaches into it from a neighbour. */
static void part_store(struct gen *g, int at)
{
	static const u8 sizes[] = { 1, 1, 2, 2, 4, 4, 8, 16, 0 };
	int size = sizes[rnd(g, 9)], off = at - size + 1 + (int)rnd(g, (u32)size + 7), r = (int)rnd(g, 4);

	off = off < 0 ? 0 : off > 56 ? 56 : off;
	if (size == 2)
		e8(&g->e, 0x66);
	switch (size) {
	case 0: e8(&g->e, 0xf0); modrm_word(g, 1, 0x1c1, reg(g), at); break; /* lock xadd [m], r */
	case 16: modrm_word(g, 0, 0x111, 1, off); break;                  /* movups [m], xmm1 */
	case 1:
		switch (rnd(g, 4)) {
		case 0: modrm_word(g, 0, 0xc6, 0, off); e8(&g->e, (u8)rnd(g, 256)); break; /* mov byte [m], imm */
		case 1: modrm_word(g, 0, 0xfe, (int)rnd(g, 2), off); break;         /* inc, dec byte [m] */
		case 2: modrm_word(g, 0, 0x190 + (int)rnd(g, 16), 0, off); break;   /* setcc [m] */
		default: modrm_word(g, 0, 0x88, r, off); break;                     /* mov [m], al, cl, dl, bl */
		}
		break;
	default:
		r = reg(g);
		modrm_word(g, size == 8, rnd(g, 3) ? 0x89 : 0x01 + 8 * (int)rnd(g, 7), r, off); /* mov, add ... xor [m], r */
	}
}

/* A word of the frame that is known when a part of it changes, at once or behind a branch, and is read again. */
static void overlap(struct gen *g)
{
	int at = (int)rnd(g, 8) * 8, w = (int)rnd(g, 2), r = reg(g);
	u8 *over = NULL;

	modrm_word(g, w, rnd(g, 2) ? 0x8b : 0x89, r, at);
	if (rnd(g, 2))
		modrm_reg(g, w, 0x31, reg(g), r);
	if (rnd(g, 2)) {
		modrm_reg(g, 1, 0x85, r, r);
		over = e_jcc(&g->e, (int)rnd(g, 16), g->e.p + 6);
	}
	part_store(g, at);
	if (over)
		e_patch(over, g->e.p);
	modrm_word(g, (int)rnd(g, 2), 0x8b, reg(g), at);
	if (rnd(g, 2))
		modrm_word(g, w, 0x03 + 8 * (int)rnd(g, 7), reg(g), at + (rnd(g, 4) ? 0 : 4));
}

static void shifts(struct gen *g)
{
	int r = reg(g), w = (int)rnd(g, 2);
	static const u8 kinds[] = { 0, 1, 4, 5, 7, 2, 3 };

	e_rex(&g->e, w, 0, 0, r);
	if (rnd(g, 4) == 0) {
		e8(&g->e, 0xd3);
		e8(&g->e, (u8)(0xc0 | kinds[rnd(g, 7)] << 3 | (r & 7)));
	} else {
		e8(&g->e, 0xc1);
		e8(&g->e, (u8)(0xc0 | kinds[rnd(g, 7)] << 3 | (r & 7)));
		e8(&g->e, (u8)rnd(g, 40));
	}
}

static void push_pop(struct gen *g)
{
	int a = reg(g), b = reg(g);

	switch (rnd(g, 3)) {
	case 0: e_push(&g->e, a); break;
	case 1: e_push_imm(&g->e, (s32)random64(&g->seed)); break;
	default:
		e8(&g->e, 0xff); e8(&g->e, 0xb3); e32(&g->e, rnd(g, 0x1000)); /* push [rbx + d] */
		break;
	}
	g->pushed += 8;
	modrm_reg(g, 1, 0x01 + 8 * (int)rnd(g, 8), reg(g), reg(g));
	if (rnd(g, 3) == 0)
		modrm_slot(g, 1, 0x03, reg(g));
	e_pop(&g->e, b);
	g->pushed -= 8;
}

static void odd_one(struct gen *g)
{
	struct emit *e = &g->e;
	int r = reg(g), w = (int)rnd(g, 2);

	switch (rnd(g, 14)) {
	case 0: modrm_reg(g, w, 0xff, 0, r); break;                 /* inc */
	case 1: modrm_reg(g, w, 0xff, 1, r); break;                 /* dec */
	case 2: modrm_reg(g, w, 0xf7, 2 + (int)rnd(g, 2), r); break; /* not, neg */
	case 3: modrm_reg(g, w, 0x87, r, reg(g)); break;            /* xchg */
	case 4: e_rex(e, w, 0, 0, 0); e8(e, 0x98 + (int)rnd(g, 2)); break; /* cdqe, cqo */
	case 5: e_rex(e, 0, 0, 0, r); e8(e, 0x0f); e8(e, (u8)(0x90 + rnd(g, 16))); e8(e, (u8)(0xc0 | (r & 7))); break;
	case 6: operand(g, w, 0x140 + (int)rnd(g, 16), r, false); break; /* cmov */
	case 7: /* bsf, bsr: as after a multiplication, most flags are not defined */
		modrm_reg(g, w, 0x1bc + (int)rnd(g, 2), r, reg(g));
		modrm_reg(g, w, 0x39, r, reg(g));
		break;
	case 8: /* movups xmm1, [rbx + d]; movups [rbx + d], xmm1 */
		e8(e, 0x0f); e8(e, 0x10); e8(e, 0x8b); e32(e, rnd(g, 0x1000));
		e8(e, 0x0f); e8(e, 0x11); e8(e, 0x8b); e32(e, rnd(g, 0x1000));
		break;
	case 9: modrm_slot(g, w, 0xff, (int)rnd(g, 2)); break;      /* inc, dec [slot] */
	case 10: /* movaps-like to a slot: 16 bytes */
		modrm_slot(g, 0, 0x111, 1);
		break;
	case 11: modrm_data(g, w, 0xff, (int)rnd(g, 2)); break;
	case 12:
		modrm_reg(g, w, 0x1af, r, reg(g));
		modrm_reg(g, w, 0x39, r, reg(g));
		break;
	default: /* lock xadd [rbx + d], r */
		e8(e, 0xf0); e_rex(e, w, r, 0, RBX); e8(e, 0x0f); e8(e, 0xc1); e8(e, (u8)(0x83 | (r & 7) << 3)); e32(e, rnd(g, 0x1000));
		break;
	}
}

static void lea(struct gen *g)
{
	int r = reg(g), b = reg(g), x = reg(g);

	e_rex(&g->e, (int)rnd(g, 2), r, x, b);
	e8(&g->e, 0x8d);
	e8(&g->e, (u8)(0x44 | (r & 7) << 3));
	e8(&g->e, (u8)(rnd(g, 4) << 6 | (x & 7) << 3 | (b & 7)));
	e8(&g->e, (u8)rnd(g, 256));
}

static void body(struct gen *g, int n);

static void branch(struct gen *g)
{
	u8 *where;

	switch (rnd(g, 3)) {
	case 0: modrm_reg(g, (int)rnd(g, 2), 0x39, reg(g), reg(g)); break;
	case 1: modrm_reg(g, (int)rnd(g, 2), 0x85, reg(g), reg(g)); break;
	default: break;
	}
	if (rnd(g, 2))
		e_mov_rr(&g->e, reg(g), reg(g));
	where = e_jcc(&g->e, (int)rnd(g, 16), g->e.p + 6);
	body(g, 1 + (int)rnd(g, 4));
	if (rnd(g, 2)) {
		u8 *over = e_jmp(&g->e, g->e.p + 5);

		e_patch(where, g->e.p);
		body(g, 1 + (int)rnd(g, 3));
		e_patch(over, g->e.p);
	} else {
		e_patch(where, g->e.p);
	}
}

/* What a function that changes its return address skips. */
static void returned(struct gen *g) { e_bytes(&g->e, (const u8 *)"\x48\x8d\x49\x01", 4); /* lea rcx, [rcx + 1] */ }

/* test r, 1; jnz over; add qword [rsp], 4 */
static void return_elsewhere(struct gen *g)
{
	struct emit *e = &g->e;
	int r = reg(g);
	u8 *over;

	e_rex(e, 1, 0, 0, r); e8(e, 0xf7); e8(e, (u8)(0xc0 | (r & 7))); e32(e, 1);
	over = e_jcc(e, 5, e->p + 6);
	e_bytes(e, (const u8 *)"\x48\x83\x04\x24\x04", 5);
	e_patch(over, e->p);
}

/* A word of the data that no function writes, and how often the program calls its functions. */
#define ROUNDS_AT 0x3fc0
#define ROUNDS 3
#define TO_RETURN 112 /* from RSP to the return address, in the body of each function */

/* test r, 1; jnz over; add byte, word, dword or qword [rsp + d], 4 */
static void return_moved(struct gen *g, s32 d)
{
	struct emit *e = &g->e;
	int r = reg(g);
	u8 *over;

	e_rex(e, 1, 0, 0, r); e8(e, 0xf7); e8(e, (u8)(0xc0 | (r & 7))); e32(e, 1);
	over = e_jcc(e, 5, e->p + 6);
	switch (rnd(g, 4)) {
	case 0: e8(e, 0x48); e8(e, 0x83); break;
	case 1: e8(e, 0x83); break;
	case 2: e8(e, 0x66); e8(e, 0x83); break;
	default: e8(e, 0x80); break; /* without the carry: where that leads astray the program is not used */
	}
	e8(e, 0x84); e8(e, 0x24); e32(e, (u32)d); e8(e, 4);
	e_patch(over, e->p);
}

/* A function that changes where the one that calls it returns to. */
static void meddler(struct gen *g)
{
	while ((uintptr_t)g->e.p & 15)
		e8(&g->e, 0x90);
	g->meddler = g->e.p;
	return_moved(g, TO_RETURN + 8);
	e8(&g->e, 0xc3);
}

/* In a function's body, outside of loops: its return address changes long before it returns. */
static void meddle(struct gen *g)
{
	int p = RSI;

	switch (rnd(g, 3)) {
	case 0:
		return_moved(g, TO_RETURN);
		return;
	case 1: /* a pointer that lies in the frame and changes there in part: to the return address */
		e_lea_bd(&g->e, p, RSP, TO_RETURN - 8);
		modrm_word(g, 1, 0x89, p, 16);
		modrm_word(g, 0, 0x80, 0, 16); /* add byte [m], 8 */
		e8(&g->e, 8);
		modrm_word(g, 1, 0x8b, p, 16);
		e_bytes(&g->e, (const u8 *)"\x83\x06\x04", 3); /* add dword [rsi], 4 */
		return;
	default:
		break;
	}
	e8(&g->e, 0xe8);
	e32(&g->e, (u32)(g->meddler - (g->e.p + 4)));
}

static void call(struct gen *g)
{
	struct emit *e = &g->e;
	u8 *to;

	if (!g->function || g->calls >= 6)
		return;
	g->calls++;
	to = g->functions[rnd(g, (u32)g->function)];
	switch (rnd(g, 4)) {
	case 0:
		e_mov_imm(e, RAX, (u64)(uintptr_t)to);
		e8(e, 0xff); e8(e, 0xd0);
		break;
	case 1: /* call [rbx + d] through a table at the end of the data */
		for (u32 i = 0; i < FUNCTIONS; i++)
			if (g->functions[i] == to) {
				e8(e, 0xff); e8(e, 0x93); e32(e, 0x3f00 + 8 * i);
			}
		break;
	default:
		e8(e, 0xe8);
		e32(e, (u32)(to - (e->p + 4)));
	}
	returned(g);
}

/* jmp [rbx + r * 8 + table], eight ways. */
static void choice(struct gen *g)
{
	struct emit *e = &g->e;
	int r = reg(g);
	u64 *table;
	u8 *out[8];

	if (g->tables == 16 || g->depth > 1)
		return;
	table = (u64 *)(g->m->data + 0x3800 + 64 * g->tables++);
	/* one of few, mostly: add r, imm; and r, 7 or 3 */
	alu_imm(g, 1, 0, r, (s32)rnd(g, 5));
	alu_imm(g, 0, 4, r, rnd(g, 2) ? 7 : 3);
	if (rnd(g, 2)) {
		e8(e, 0x48 | (r >> 3) << 1); e8(e, 0x8b); e8(e, 0x84); e8(e, (u8)(0xc3 | (r & 7) << 3)); /* mov rax, [...] */
		e32(e, (u32)((u8 *)table - g->m->data));
		e8(e, 0xff); e8(e, 0xe0);
	} else {
		if (r >= 8)
			e8(e, 0x42);
		e8(e, 0xff); e8(e, 0xa4); e8(e, (u8)(0xc3 | (r & 7) << 3));
		e32(e, (u32)((u8 *)table - g->m->data));
	}
	g->depth += 2;
	for (int i = 0; i < 8; i++) {
		table[i] = (u64)(uintptr_t)e->p;
		body(g, 1 + (int)rnd(g, 2));
		out[i] = e_jmp(e, e->p + 5);
	}
	g->depth -= 2;
	for (int i = 0; i < 8; i++)
		e_patch(out[i], e->p);
}

static void loop(struct gen *g)
{
	struct emit *e = &g->e;
	bool in_slot = g->frame && rnd(g, 2);
	u8 *head;
	int turns = 3 + (int)rnd(g, 12);

	if (g->depth >= 2)
		return;
	if (in_slot) { /* mov dword [rbp - 8 * depth - 80], turns */
		e8(e, 0xc7); e8(e, 0x45); e8(e, (u8)(-80 - 8 * g->depth)); e32(e, (u32)turns);
	} else {
		e_push_imm(e, turns);
		g->pushed += 8;
	}
	head = e->p;
	g->depth++;
	body(g, 2 + (int)rnd(g, 6));
	g->depth--;
	if (in_slot) {
		e8(e, 0x83); e8(e, 0x6d); e8(e, (u8)(-80 - 8 * g->depth)); e8(e, 1);
	} else {
		e8(e, 0x83); e8(e, 0x2c); e8(e, 0x24); e8(e, 1);
	}
	e_jcc(e, 5, head);
	if (!in_slot) {
		e_lea_bd(e, RSP, RSP, 8);
		g->pushed -= 8;
	}
}

static void body(struct gen *g, int n)
{
	static const u16 loads[] = { 0x8b, 0x03, 0x2b, 0x33, 0x23, 0x0b, 0x3b, 0x13, 0x1b, 0x85 };
	static const u8 stores[] = { 0x89, 0x01, 0x29, 0x31, 0x21, 0x09, 0x39, 0x11 };

	for (int i = 0; i < n; i++) {
		int w = (int)rnd(g, 2), r = reg(g);

		switch (rnd(g, 28)) {
		case 0: case 1: case 2: operand(g, w, loads[rnd(g, 10)], r, false); break;
		case 3: case 4: case 5: operand(g, w, stores[rnd(g, 8)], r, true); break;
		case 6: modrm_slot(g, w, 0x8b, r); break;
		case 7: modrm_slot(g, w, 0x89, r); break;
		case 8: alu_imm(g, w, (int)rnd(g, 8), r, rnd(g, 3) ? (s32)rnd(g, 100) : (s32)random64(&g->seed)); break;
		case 9: e_mov_rr(&g->e, r, reg(g)); break;
		case 10: e_mov_imm(&g->e, r, rnd(g, 2) ? rnd(g, 1000) : random64(&g->seed)); break;
		case 11: lea(g); break;
		case 12: shifts(g); break;
		case 13: push_pop(g); break;
		case 14: odd_one(g); break;
		case 15: case 16: branch(g); break;
		case 17: call(g); break;
		case 18: loop(g); break;
		case 19: alias(g); break;
		case 20: operand(g, w, 0x163 + (int[]){ 0x53, 0x54, 0x5b, 0x5c }[rnd(g, 4)], r, false); break; /* movzx, movsx */
		case 21: /* and/add dword [slot], imm */
			modrm_slot(g, w, 0x83, (int)rnd(g, 8));
			e8(&g->e, (u8)rnd(g, 256));
			break;
		case 22: modrm_reg(g, w, 0x31, r, r); break;
		case 23: choice(g); break;
		case 24: case 25: case 26: overlap(g); break;
		default: modrm_reg(g, w, 0x01 + 8 * (int)rnd(g, 8), r, reg(g)); break;
		}
	}
}

static void function(struct gen *g, int number)
{
	struct emit *e = &g->e;
	int saved = reg(g), how = (int)rnd(g, 6);

	while ((uintptr_t)e->p & 15)
		e8(e, 0x90);
	g->functions[number] = e->p;
	g->function = number;
	g->frame = rnd(g, 3) != 0;
	g->pushed = 0;
	g->calls = 0;
	g->depth = 0;
	if (g->frame) {
		e_push(e, RBP);
		e_mov_rr(e, RBP, RSP);
	}
	e_rex(e, 1, 0, 0, RSP); e8(e, 0x81); e8(e, 0xec); e32(e, 104);
	if (!g->frame)
		e_push(e, saved), g->pushed = 8;
	if (how == 2)
		meddle(g);
	body(g, 4 + (int)rnd(g, 8));
	if (how == 3)
		meddle(g);
	if (!g->frame)
		e_pop(e, saved);
	if (g->frame && rnd(g, 2)) {
		e8(e, 0xc9);
	} else {
		e_rex(e, 1, 0, 0, RSP); e8(e, 0x81); e8(e, 0xc4); e32(e, 104);
		if (g->frame)
			e_pop(e, RBP);
	}
	if (how < 2)
		return_elsewhere(g);
	e8(e, 0xc3);
}

void program_make(struct machine *m, u64 seed)
{
	struct gen g = { .m = m, .e = { m->code, m->code + CODE_SIZE }, .seed = seed };
	static const u8 all[] = { RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
	u64 *table = (u64 *)(m->data + 0x3f00);
	int skip = (int)rnd(&g, 8);
	u8 *again;

	memset(m->code, 0xcc, CODE_SIZE);
	for (int i = 0; i < (int)sizeof(all); i++)
		if ((int)rnd(&g, 8) >= skip || i < 3)
			g.regs[g.n_regs++] = all[i];
	for (u32 i = 0; i < DATA_PAGES * 4096; i++)
		m->data[i] = (u8)random64(&g.seed);
	for (u32 i = 0; i < STACK_PAGES * 4096; i++)
		m->stack[i] = (u8)random64(&g.seed);
	meddler(&g);
	for (int i = 0; i < FUNCTIONS; i++)
		function(&g, i);
	for (int i = 0; i < FUNCTIONS; i++)
		table[i] = (u64)(uintptr_t)g.functions[i];
	/* the program: the last functions a few times, then the end */
	m->start.rip = (u64)(uintptr_t)g.e.p;
	e8(&g.e, 0xc7); e8(&g.e, 0x83); e32(&g.e, ROUNDS_AT); e32(&g.e, ROUNDS); /* mov dword [rbx + d], imm32 */
	again = g.e.p;
	for (int i = 0; i < 2; i++) {
		e8(&g.e, 0xe8);
		e32(&g.e, (u32)(g.functions[FUNCTIONS - 1 - i] - (g.e.p + 4)));
		returned(&g);
	}
	e8(&g.e, 0xff); e8(&g.e, 0x8b); e32(&g.e, ROUNDS_AT); /* dec dword [rbx + d] */
	e_jcc(&g.e, 5, again);
	e8(&g.e, 0xff); e8(&g.e, 0x25); e32(&g.e, 0);
	e64(&g.e, machine_finish());
	for (int i = 0; i < 16; i++)
		m->start.r[i] = rnd(&g, 2) ? random64(&g.seed) : rnd(&g, 1000);
	m->start.r[RBX] = (u64)(uintptr_t)m->data;
	m->start.r[RSP] = (u64)(uintptr_t)m->stack + STACK_PAGES * 4096 - 0x800;
	m->start.rflags = random64(&g.seed);
}
