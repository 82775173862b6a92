/* SPDX-License-Identifier: MIT
 * Random 32-bit instructions, one at a time, from random registers, flags, x87 and vector state; what they
 * leave is folded into checksums, one line for 64 instructions.  The output on a processor is the reference.
 *
 *	random SEED BLOCKS [FEATURES [BLOCK]]
 *
 * FEATURES: 1 AVX, 2 AVX-512; -1: what the processor has (the first line tells).  BLOCK: show the instructions
 * of that block with what each left.
 *
 * Memory lies at fixed addresses, so that two runs differ in nothing. */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARENA 0x10000000u
#define ARENA_SIZE 0x1f000u /* its end, and what lies near it, is no multiple of 64 KiB: processors differ in the wrap there */
#define HIGH 0xa0000000u /* where a displacement is negative */
#define FS_BASE (ARENA + 0x8000u)
#define FRAME 0x18000000u /* what thunks load and store */
#define CODE 0x20000000u
#define BLOCK 64
#define THUNK 256
#define RF 0x10000u

struct frame {
	uint32_t in[8], in_flags, host_esp;
	uint32_t out[8], out_flags, trap, error, address, eip;
	uint8_t vector_in[4096] __attribute__((aligned(64)));
	uint8_t vector_out[4096] __attribute__((aligned(64)));
};
#define F ((struct frame *)FRAME)
#define AT(field) (FRAME + (uint32_t)offsetof(struct frame, field))

static uint64_t seed;
static int features;
static uint32_t xmask, thunk_insn[BLOCK], thunk_exit[BLOCK];
static uint8_t insns[BLOCK][40];
static int insn_len[BLOCK], modrm_of[BLOCK], current;
static uint32_t undefined_flags[BLOCK];

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}
static uint32_t below(uint32_t n) { return rnd() % n; }
static int one_in(uint32_t n) { return below(n) == 0; }

static uint8_t *p;
static void b(uint32_t v) { *p++ = (uint8_t)v; }
static void d(uint32_t v) { memcpy(p, &v, 4); p += 4; }

/* ---- instructions ---- */

/* Any address but those of the stack, which lies elsewhere in each run. */
static uint32_t anywhere(void)
{
	uint32_t v = rnd();

	return v >= 0xf0000000 && v < 0xfffffe00 ? v & 0x0fffffff : v;
}
static uint32_t near_arena(void)
{
	return one_in(12) ? ARENA + ARENA_SIZE - below(40) : ARENA + 0xc000 + below(0x3f00);
}
static int asize16;
static uint8_t *modrm_at;

static void modrm(int reg, int memory /* 0 register, 1 memory, 2 either */)
{
	int mod = memory == 0 ? 3 : (int)below(memory == 1 ? 3 : 4), rm = (int)below(8);

	if (reg < 0)
		reg = (int)below(8);
	if (memory == 2 && one_in(3))
		mod = 3;
	modrm_at = p;
	b((uint32_t)(mod << 6 | reg << 3 | rm));
	if (mod == 3)
		return;
	if (asize16) {
		if (mod == 1)
			b(rnd());
		else if (mod == 2 || rm == 6) {
			b(rnd());
			b(rnd());
		}
		return;
	}
	int base = rm;

	if (rm == 4) {
		uint32_t sib = rnd();

		if (one_in(2))
			sib = (sib & 7) | 0x20;
		b(sib);
		base = sib & 7;
	}
	if (mod == 1)
		b(rnd());
	else if (mod == 2)
		d(one_in(8) ? rnd() : one_in(5) ? HIGH + 0x800 + below(0x800) : below(0x800) - 0x400);
	else if (base == 5)
		d(one_in(8) ? anywhere() : near_arena());
}

static void prefixes(int want66)
{
	static const uint8_t flat[] = { 0x26, 0x2e, 0x36, 0x3e };

	asize16 = 0;
	if (one_in(16))
		b(flat[below(4)]);
	if (want66 && one_in(4))
		b(0x66);
	if (one_in(8)) {
		asize16 = 1;
		b(0x67);
		if (!one_in(4))
			b(0x64);
	} else if (one_in(6)) {
		b(0x64);
	}
	if (one_in(40))
		b(0xf0);
}

static int has66;
static int imm_size(void) { return has66 ? 2 : 4; }
static void imm(int n)
{
	while (n--)
		b(rnd());
}

static void group_alu(void)
{
	static const uint8_t ops[] = { 0x00, 0x01, 0x02, 0x03, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d,
		0x69, 0x6b, 0x80, 0x81, 0x82, 0x83, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff,
		0xc6, 0xc7, 0x8f, 0x62, 0x00, 0x01, 0x02, 0x03, 0x8d };
	uint8_t op = ops[below(sizeof ops)];

	if (op < 4)
		op |= (uint8_t)(below(8) << 3);
	b(op);
	switch (op) {
	case 0x8d: case 0x62: modrm(-1, 1); break;
	case 0x69: modrm(-1, 2); imm(imm_size()); break;
	case 0x6b: modrm(-1, 2); imm(1); break;
	case 0x80: case 0x82: case 0x83: case 0xc0: case 0xc1: modrm(-1, 2); imm(1); break;
	case 0x81: modrm(-1, 2); imm(imm_size()); break;
	case 0xc6: modrm(0, 2); imm(1); break;
	case 0xc7: modrm(0, 2); imm(imm_size()); break;
	case 0x8f: modrm(0, 2); break;
	case 0xfe: modrm((int)below(2), 2); break;
	case 0xff: modrm(one_in(3) ? 6 : (int)below(2), 2); break;
	case 0xf6: case 0xf7: {
		int reg = (int)below(8);

		modrm(reg, 2);
		if (reg < 2)
			imm(op & 1 ? imm_size() : 1);
		break;
	}
	default: modrm(-1, 2); break;
	}
}

static void moffs(void)
{
	if (asize16)
		imm(2);
	else
		d(near_arena());
}

/* Flags that processors leave differently after decimal adjustment. */
static uint32_t undefined;

static void group_one_byte(void)
{
	switch (below(16)) {
	case 0: b(below(8) << 3 | 4); imm(1); break;
	case 1: b(below(8) << 3 | 5); imm(imm_size()); break;
	case 2: b(0x40 + below(16)); break;
	case 3: b(0x50 + below(16)); break;
	case 4: b(0x68); imm(imm_size()); break;
	case 5: b(0x6a); imm(1); break;
	case 6: b(0x90 + below(10)); break;
	case 7: b(one_in(2) ? 0x9e : 0x9f); break;
	case 8: b(0xa0 + below(4)); moffs(); break;
	case 9: {
		static const uint8_t strings[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };

		if (one_in(2))
			b(one_in(2) ? 0xf2 : 0xf3);
		b(strings[below(sizeof strings)]);
		break;
	}
	case 10: b(0xb0 + below(8)); imm(1); break;
	case 11: b(0xb8 + below(8)); imm(imm_size()); break;
	case 12:
		b(0xc8);
		imm(2);
		b(one_in(2) ? 0 : below(4));
		break;
	case 13: b(one_in(2) ? 0xc9 : 0xd7); break;
	case 14: {
		static const uint8_t ops[] = { 0x27, 0x2f, 0x37, 0x3f, 0xd6, 0x60, 0x61, 0x98, 0x99, 0xce, 0xfa, 0xf4, 0xec, 0x0e,
			0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x9c, 0x06, 0x1e, 0x16, 0x9b, 0xcc, 0xf1, 0x6c, 0x6e };

		int k = (int)below(sizeof ops);

		b(ops[k]);
		undefined = k < 2 ? 0x800 : k < 4 ? 0x8c4 : 0;
		break;
	}
	default: b(one_in(2) ? 0xd4 : 0xd5); imm(1); undefined = 0x811; break;
	}
}

static void group_two_byte(void)
{
	static const uint8_t ops[] = { 0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xaf, 0xb0, 0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xbc,
		0xbd, 0xc0, 0xc1, 0xc3, 0x1f, 0x0d, 0x18, 0xb8 };

	if (one_in(6))
		b(one_in(2) ? 0xf3 : 0xf2);
	b(0x0f);
	switch (below(8)) {
	case 0: b(0x40 + below(16)); modrm(-1, 2); break;
	case 1: b(0x90 + below(16)); modrm(-1, 2); break;
	case 2: b(0xba); modrm((int)(4 + below(4)), 2); imm(1); break;
	case 3: b(one_in(2) ? 0xa4 : 0xac); modrm(-1, 2); imm(1); break;
	case 4: b(0xc8 + below(8)); break;
	case 5: b(0xc7); modrm(1, 1); break;
	case 6: b(0x38); b(one_in(3) ? 0xf6 : 0xf0 + below(2)); modrm(-1, 2); break;
	default: b(ops[below(sizeof ops)]); modrm(-1, 2); break;
	}
}

static void group_x87(void)
{
	uint8_t op = (uint8_t)(0xd8 + below(8));

	b(op);
	modrm(-1, 2);
	/* FNSTENV and FNSAVE would show the address of the last instruction. */
	if ((op == 0xd9 || op == 0xdd) && *modrm_at < 0xc0 && (*modrm_at & 0x38) == 0x30)
		*modrm_at &= 0xc7;
	/* Processors wrap the parts of a ten-byte operand at 64 KiB each for itself. */
	if (asize16 && (op == 0xdb || op == 0xdf) && *modrm_at < 0xc0)
		*modrm_at &= 0xc7;
}

/* Opcodes that read state which differs between machines, or that leave the test. */
static int is_excluded(int map, int op)
{
	if (map == 1)
		return op == 0xae || op == 0xc7 || op == 0x78 || op == 0x79 || op == 0x01 || op == 0x00 || op == 0x30;
	return map == 2 && (op == 0xf8 || op >= 0xf9 || (op >= 0x80 && op <= 0x82));
}

static void group_sse(void)
{
	int op, map = 1;

	if (one_in(2))
		b(0x66);
	else if (one_in(2))
		b(one_in(2) ? 0xf3 : 0xf2);
	b(0x0f);
	if (one_in(3)) {
		map = one_in(2) ? 2 : 3;
		b(map == 2 ? 0x38 : 0x3a);
		op = (int)below(map == 2 ? 0x42 : 0x64);
	} else {
		static const struct { uint8_t from, n; } ranges[] = { { 0x10, 8 }, { 0x28, 8 }, { 0x50, 40 }, { 0xc2, 1 }, { 0xc4, 3 }, { 0xd0, 48 } };
		int r = one_in(8) ? (int)below(6) : one_in(2) ? 5 : 2;

		op = ranges[r].from + (int)below(ranges[r].n);
		if (op == 0x78 || op == 0x79)
			op = 0x7e;
	}
	b((uint32_t)op);
	if (map == 1 && op == 0x77)
		return;
	modrm(-1, 2);
	if (map == 3 || (map == 1 && (op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || (op >= 0x70 && op <= 0x73))))
		imm(1);
}

static void group_vex(void)
{
	int map = 1 + (int)below(3), op;

	do
		op = (int)below(256);
	while (is_excluded(map, op));
	if (one_in(3)) { /* those with general registers */
		static const uint8_t general[3][6] = { { 0x6e, 0x7e, 0x2a, 0x2c, 0x2d, 0x50 },
			{ 0xf2, 0xf3, 0xf5, 0xf6, 0xf7, 0xf7 }, { 0x16, 0x22, 0x14, 0x20, 0xf0, 0x22 } };

		op = general[map - 1][below(6)];
	}
	if (map == 1 && one_in(2)) {
		b(0xc5);
		b(0xc0 | rnd());
	} else {
		b(0xc4);
		b(0xc0 | (rnd() & 0x20) | map);
		b(rnd());
	}
	b((uint32_t)op);
	if (map == 1 && op == 0x77)
		return;
	modrm(-1, 2);
	if (map == 3 || (map == 1 && (op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || (op >= 0x70 && op <= 0x73))))
		imm(1);
}

static void group_evex(void)
{
	int map = 1 + (int)below(3), op;

	do
		op = (int)below(256);
	while (is_excluded(map, op));
	b(0x62);
	b(0xd0 | (rnd() & 0x20) | map);
	b((rnd() & 0xfb) | 4 | (one_in(2) ? 0x78 : 0x40));
	b((rnd() & 0x70) | 8 | below(8) | (one_in(4) ? 0x80 : 0));
	b((uint32_t)op);
	modrm(-1, 2);
	if (map == 3 || (map == 1 && (op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || (op >= 0x70 && op <= 0x73))))
		imm(1);
}

/* A branch over an instruction that would be seen. */
static void group_branch(void)
{
	static const uint8_t short_ops[] = { 0xe0, 0xe1, 0xe2, 0xe3, 0xeb };

	if (one_in(2)) {
		b(one_in(2) ? 0x70 + below(16) : short_ops[below(sizeof short_ops)]);
		b(3);
	} else if (one_in(2)) {
		b(0x0f); b(0x80 + below(16)); d(3);
	} else {
		b(one_in(2) ? 0xe8 : 0xe9); d(3);
	}
	b(0x8d); b(0x6d); b(1); /* lea ebp, [ebp + 1] */
}

static void generate(int i)
{
	int kind = (int)below(10);

	if ((kind == 6 && !(features & 1)) || (kind == 7 && !(features & 2)))
		kind = 5;
	p = insns[i];
	modrm_at = NULL;
	undefined = 0;
	has66 = 0;
	if (kind == 6 || kind == 7) { /* VEX, EVEX: a 66 would be undefined */
		prefixes(0);
	} else if (kind == 9) {
		if (one_in(8))
			b(0x67);
		asize16 = 0;
	} else {
		prefixes(kind != 5);
		has66 = memchr(insns[i], 0x66, (size_t)(p - insns[i])) != NULL;
	}
	switch (kind) {
	case 0: case 1: group_alu(); break;
	case 2: case 8: group_one_byte(); break;
	case 3: group_two_byte(); break;
	case 4: group_x87(); break;
	case 5: group_sse(); break;
	case 6: group_vex(); break;
	case 7: group_evex(); break;
	default: group_branch(); break;
	}
	undefined_flags[i] = undefined;
	insn_len[i] = (int)(p - insns[i]);
	modrm_of[i] = modrm_at && !asize16 ? (int)(modrm_at - insns[i]) : 0;
}

/* ---- running one ---- */

static void load_abs(int reg, uint32_t at) { b(0x8b); b((uint32_t)(reg << 3 | 5)); d(at); }
static void store_abs(int reg, uint32_t at) { b(0x89); b((uint32_t)(reg << 3 | 5)); d(at); }
static void x_state(int reg, uint32_t at)
{
	b(0xb8); d(xmask);
	b(0xba); d(0);
	b(0x0f); b(0xae); b((uint32_t)(reg << 3 | 5)); d(at);
}

static void make_thunk(int i)
{
	static const uint8_t order[] = { 1, 2, 3, 5, 6, 7, 0, 4 };

	p = (uint8_t *)(CODE + (uint32_t)i * THUNK);
	b(0x60);
	store_abs(4, AT(host_esp));
	x_state(5, AT(vector_in));
	b(0xff); b(0x35); d(AT(in_flags)); /* push */
	b(0x9d);
	for (int r = 0; r < 8; r++)
		load_abs(order[r], AT(in) + 4u * order[r]);
	thunk_insn[i] = (uint32_t)p;
	memcpy(p, insns[i], (size_t)insn_len[i]);
	p += insn_len[i];
	for (int r = 0; r < 8; r++)
		store_abs(r, AT(out) + 4u * (uint32_t)r);
	load_abs(4, AT(host_esp));
	b(0x9c);
	b(0x8f); b(0x05); d(AT(out_flags)); /* pop */
	thunk_exit[i] = (uint32_t)p;
	load_abs(4, AT(host_esp));
	x_state(4, AT(vector_out));
	b(0xdb); b(0xe3); /* fninit: no exception stays pending */
	b(0xfc);
	b(0x61);
	b(0xc3);
	if (p - (uint8_t *)(CODE + (uint32_t)i * THUNK) > THUNK)
		abort();
}

static void fault(int sig, siginfo_t *info, void *context)
{
	static const int order[] = { REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_ESP, REG_EBP, REG_ESI, REG_EDI };
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	for (int r = 0; r < 8; r++)
		F->out[r] = (uint32_t)g[order[r]];
	F->out_flags = (uint32_t)g[REG_EFL];
	F->trap = (uint32_t)(g[REG_TRAPNO] << 16 | sig << 8 | (info->si_code & 0xff)) + 1;
	F->error = (uint32_t)g[REG_ERR];
	F->address = g[REG_TRAPNO] == 14 ? (uint32_t)info->si_addr : 0;
	F->eip = (uint32_t)g[REG_EIP] - thunk_insn[current];
	g[REG_EIP] = (greg_t)thunk_exit[current];
	g[REG_EFL] &= ~0x500;
}

static void random_state(void)
{
	uint16_t *fx = (uint16_t *)F->vector_in;

	for (int r = 0; r < 8; r++)
		switch (below(6)) {
		case 0: F->in[r] = below(64); break;
		case 1: F->in[r] = anywhere(); break;
		default: F->in[r] = near_arena(); break;
		}
	if (one_in(2))
		F->in[1] = below(20); /* string counts */
	if (!one_in(8))
		F->in[4] = near_arena() & ~3u;
	F->in_flags = 0x202 | (rnd() & (one_in(4) ? 0xcd5 : 0x8d5));
	for (unsigned i = 32; i < 288; i += 4)
		*(uint32_t *)(F->vector_in + i) = one_in(3) ? rnd() : one_in(2) ? 0x3f800000 + below(0x1000000) : 0;
	for (unsigned i = 32; i < 160; i += 16) {
		*(uint16_t *)(F->vector_in + i + 8) = (uint16_t)(0x3ff0 + below(32));
		F->vector_in[i + 7] |= 0x80;
		memset(F->vector_in + i + 10, 0, 6);
	}
	if (xmask & 4)
		for (unsigned i = 576; i < 576 + 128; i += 4)
			*(uint32_t *)(F->vector_in + i) = one_in(2) ? rnd() : 0x3f800000;
	fx[0] = 0x37f;
	fx[1] = (uint16_t)(below(8) << 11);
	fx[2] = (uint16_t)below(256);
	*(uint32_t *)(F->vector_in + 24) = 0x1f80;
	memset(F->vector_in + 512, 0, 64);
	F->vector_in[512] = (uint8_t)(3 | (xmask & 4));
	F->trap = F->error = F->address = F->eip = 0;
}

/* Offset of a 32-bit ModRM operand within its segment. */
static uint32_t offset_of(int i)
{
	const uint8_t *m = insns[i] + modrm_of[i];
	int mod = *m >> 6, base = *m & 7;
	uint32_t at = 0, disp;

	m++;
	if (base == 4) {
		int index = *m >> 3 & 7;

		base = *m & 7;
		if (index != 4)
			at = F->in[index] << (*m >> 6);
		m++;
	}
	if (mod == 0 && base == 5)
		mod = 2;
	else
		at += F->in[base];
	memcpy(&disp, m, 4);
	return at + (mod == 1 ? (uint32_t)(int8_t)disp : mod == 2 ? disp : 0);
}

/* An access that begins below the limit of FS and ends beyond it is a fault that translated code leaves
 * out: a NOP takes its place. */
static void avoid_limit(int i)
{
	if (modrm_of[i] && insns[i][modrm_of[i]] < 0xc0 && memchr(insns[i], 0x64, (size_t)modrm_of[i]) &&
	    offset_of(i) >= 0xffffff00)
		memset((void *)thunk_insn[i], 0x90, (size_t)insn_len[i]);
}

static uint64_t hash;
static void fold(const void *data, size_t n)
{
	const uint32_t *w = data;

	for (; n >= 4; n -= 4)
		hash = (hash ^ *w++) * 0x100000001b3ull + (hash >> 29);
}

static uint64_t one; /* hash of what one instruction left */
static void fold_result(void)
{
	uint64_t sum = hash;

	hash = 0;
	F->out_flags &= ~undefined_flags[current];
	/* x87 pointers hold host addresses under translation: the last instruction is not compared. */
	memset(F->vector_out + 6, 0, 18);
	for (unsigned i = 32; i < 160; i += 16)
		memset(F->vector_out + i + 10, 0, 6);
	fold(F->out, offsetof(struct frame, vector_in) - offsetof(struct frame, out));
	fold(F->vector_out, 288);
	if (xmask & 4)
		fold(F->vector_out + 576, 128);
	one = hash;
	hash = sum;
	fold(&one, sizeof one);
}

static void show(int i)
{
	printf("%2d:", i);
	for (int k = 0; k < insn_len[i]; k++)
		printf(" %02x", insns[i][k]);
	printf("\n    in ");
	for (int r = 0; r < 8; r++)
		printf(" %08x", F->in[r]);
	printf(" %x\n    out", F->in_flags);
	for (int r = 0; r < 8; r++)
		printf(" %08x", F->out[r]);
	printf(" %x trap %x error %x address %x eip %x\n   ", F->out_flags, F->trap, F->error, F->address, F->eip);
	printf(" x87 %04x %04x", *(uint16_t *)(F->vector_out + 2), *(uint16_t *)(F->vector_out + 4));
	printf(" vector %016llx\n", (unsigned long long)one);
}

static void setup(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct user_desc u = { .entry_number = (unsigned)-1, .base_addr = FS_BASE, .limit = 0xfffff, .seg_32bit = 1,
		.limit_in_pages = 1, .useable = 1 };
	static uint8_t stack[65536];
	struct rlimit small = { 65536, 65536 }; /* a wild access must not make the stack grow */
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof stack };
	int rw = PROT_READ | PROT_WRITE, fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	if (mmap((void *)ARENA, ARENA_SIZE, rw, fixed, -1, 0) == MAP_FAILED ||
	    mmap((void *)HIGH, 0x2000, rw, fixed, -1, 0) == MAP_FAILED ||
	    mmap((void *)FRAME, 0x4000, rw, fixed, -1, 0) == MAP_FAILED ||
	    mmap((void *)CODE, BLOCK * THUNK, rw | PROT_EXEC, fixed, -1, 0) == MAP_FAILED ||
	    syscall(SYS_set_thread_area, &u)) {
		perror("random: setup");
		exit(2);
	}
	__asm__ volatile("mov %w0, %%fs" : : "r"(u.entry_number * 8 + 3));
	setrlimit(RLIMIT_STACK, &small);
	sigaltstack(&alt, NULL);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &sa, NULL);
	__builtin_cpu_init();
	if (features < 0)
		features = (__builtin_cpu_supports("avx2") ? 1 : 0) | (__builtin_cpu_supports("avx512vl") ? 2 : 0);
	xmask = features & 1 ? 7 : 3;
	printf("features %d\n", features);
}

int main(int argc, char **argv)
{
	int blocks = argc > 2 ? atoi(argv[2]) : 16, shown = argc > 4 ? atoi(argv[4]) : -1;

	/* The heap at one place in every run: a wild access may meet it. */
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE) && personality(ADDR_NO_RANDOMIZE) >= 0)
		execv("/proc/self/exe", argv);
	features = argc > 3 ? atoi(argv[3]) : -1;
	setup();
	seed = 0x9e3779b97f4a7c15ull * (unsigned)(1 + (argc > 1 ? atoi(argv[1]) : 0));
	for (int k = 0; k < 16; k++)
		rnd();
	for (uint32_t *w = (uint32_t *)ARENA; (uint32_t)w < ARENA + ARENA_SIZE; w++)
		*w = rnd();
	for (int block = 0; block < blocks; block++) {
		for (int i = 0; i < BLOCK; i++) {
			generate(i);
			make_thunk(i);
		}
		hash = 0;
		for (current = 0; current < BLOCK; current++) {
			random_state();
			avoid_limit(current);
			((void (*)(void))(CODE + (uint32_t)current * THUNK))();
			fold_result();
			if (block == shown)
				show(current);
		}
		fold((void *)ARENA, ARENA_SIZE);
		printf("block %d: %016llx\n", block, (unsigned long long)hash);
	}
	return 0;
}
