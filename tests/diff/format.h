/* SPDX-License-Identifier: MIT
 * What the differential test's host harness and its guest kernel share: the address layout, the batch
 * that the guest gets as its initial RAM disk, and the final state of a case with its hash.
 *
 * A batch is a struct diff_batch, then cases, vector presets, the base image of the writable pages and the
 * code image, each at the offset that the header names.  Both sides map the same region:
 *
 *   REGION_CODE   code image, 1 MiB, read-only and executable
 *   WINDOW page 0 absent, 1 A and 2 B writable, 3 R read-only, 4 absent, 5 C writable, 6 absent
 *
 * at the user base, at the user base's low 32 bits, and in the guest's kernel half also at KERNEL_BASE.
 * Freestanding. */
#ifndef PENUMBRA_TESTS_DIFF_FORMAT_H
#define PENUMBRA_TESTS_DIFF_FORMAT_H

#include "base/types.h"

#define DIFF_MAGIC 0x31464649444e4550ull
#define USER_BASE_PLAIN 0x123481000000ull
#define USER_BASE_FOLDED 0x7bff81000000ull /* where the translator keeps KERNEL_BASE: both halves want it */
#define KERNEL_BASE 0xffffffff81000000ull
#define LOW_BASE 0x81000000ull
#define CODE_BYTES 0x100000ull
#define WINDOW 0x110000ull
#define WINDOW_PAGES 7
#define PAGE_A 1
#define PAGE_B 2
#define PAGE_R 3
#define PAGE_C 5
#define IMAGE_PAGES 4 /* A B R C in the base image */

#define WORLD_USER 0
#define WORLD_KERNEL 1

#define PATCH_MAX 6
#define DIFF_MAX 64

struct diff_patch { u32 offset, pad; u64 value; }; /* offset from the window, a multiple of 8 */

struct diff_case {
	u64 gpr[16];
	u64 rip, rflags, fs, gs;
	u32 id, preset;
	u32 world, n_patch;
	struct diff_patch patch[PATCH_MAX];
	u64 expect; /* hash of the final state */
};

/* The state after a case; `vec` apart.  Vector VECTOR_NONE: not filled in. */
struct diff_state {
	u32 id, vector, error, n_diff;
	u64 cr2; /* page faults only */
	u64 gpr[16];
	u64 rip, rflags, fs, gs;
	u64 vec_hash;
	u64 rest;  /* hash of the differences beyond DIFF_MAX */
	struct diff_patch diff[DIFF_MAX]; /* quadwords of the window that are not the base image's */
};

/* Vector, mask and x87 state without what differs by design: the x87 instruction and data pointers. */
struct diff_vec {
	u8 zmm[32][64];
	u64 k[8];
	u8 st[8][16]; /* 10 bytes each */
	u16 fcw, fsw, ftw, pad;
	u32 mxcsr, pad2;
};

struct diff_batch {
	u64 magic;
	u64 user_base;
	u64 xcr0;         /* components to load and save */
	u32 off_ymm, off_k, off_zmm_hi, off_hi16; /* in an XSAVE area, 0: absent */
	u32 n_cases, n_presets;
	u64 cases, presets, images, code;
	u64 report_max;   /* full states are printed for so many cases */
};

#define XSAVE_SIZE 4096

static inline u64 diff_mix(u64 h, u64 v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static inline u64 diff_hash_words(u64 h, const void *data, u64 bytes)
{
	const u64 *p = data;

	for (u64 i = 0; i < bytes / 8; i++)
		h = diff_mix(h, p[i]);
	return h;
}

/* All of the state but the identity, which may be another's. */
static inline u64 diff_state_hash(const struct diff_state *s)
{
	u64 h = diff_mix(s->vector, s->error);

	h = diff_mix(h, s->cr2);
	h = diff_hash_words(h, s->gpr, sizeof s->gpr);
	h = diff_mix(h, s->rip);
	h = diff_mix(h, s->rflags);
	h = diff_mix(h, s->fs);
	h = diff_mix(h, s->gs);
	h = diff_mix(h, s->vec_hash);
	h = diff_mix(h, s->rest);
	for (u32 i = 0; i < s->n_diff && i < DIFF_MAX; i++)
		h = diff_mix(diff_mix(h, s->diff[i].offset), s->diff[i].value);
	return diff_mix(h, s->n_diff);
}

static inline void diff_copy(void *to, const void *from, u64 n)
{
	u8 *t = to;
	const u8 *f = from;

	for (u64 i = 0; i < n; i++)
		t[i] = f[i];
}

/* The canonical form of an XSAVE image: components that its header calls initial are zero. */
static inline void diff_vec_from(struct diff_vec *v, const u8 *x, const struct diff_batch *b)
{
	u64 have = *(const u64 *)(const void *)(x + 512);
	u64 *w = (u64 *)(void *)v;

	for (u64 i = 0; i < sizeof *v / 8; i++)
		w[i] = 0;
	v->fcw = 0x37f;
	v->mxcsr = *(const u32 *)(const void *)(x + 24);
	if (have & 1) {
		v->fcw = *(const u16 *)(const void *)x;
		v->fsw = *(const u16 *)(const void *)(x + 2);
		v->ftw = x[4];
		for (int i = 0; i < 8; i++) {
			*(u64 *)(void *)v->st[i] = *(const u64 *)(const void *)(x + 32 + 16 * i);
			*(u16 *)(void *)(v->st[i] + 8) = *(const u16 *)(const void *)(x + 40 + 16 * i);
		}
	}
	for (int i = 0; i < 16; i++) {
		u64 *z = (u64 *)(void *)v->zmm[i];

		if (have & 2)
			for (int j = 0; j < 2; j++)
				z[j] = ((const u64 *)(const void *)(x + 160 + 16 * i))[j];
		if (have & 4 && b->off_ymm)
			for (int j = 0; j < 2; j++)
				z[2 + j] = ((const u64 *)(const void *)(x + b->off_ymm + 16 * i))[j];
		if (have & 0x40 && b->off_zmm_hi)
			for (int j = 0; j < 4; j++)
				z[4 + j] = ((const u64 *)(const void *)(x + b->off_zmm_hi + 32 * i))[j];
		if (have & 0x80 && b->off_hi16)
			for (int j = 0; j < 8; j++)
				((u64 *)(void *)v->zmm[16 + i])[j] = ((const u64 *)(const void *)(x + b->off_hi16 + 64 * i))[j];
	}
	for (int i = 0; i < 8 && have & 0x20 && b->off_k; i++)
		v->k[i] = ((const u64 *)(const void *)(x + b->off_k))[i];
}

/* Notes how the writable pages differ from the base image, and restores them.  `window` and `images`
 * are where this side sees them; page number p of the window is page `image` of the images. */
static inline void diff_memory(struct diff_state *s, u64 *(*page)(int), const u64 *images)
{
	static const u8 window_page[3] = { PAGE_A, PAGE_B, PAGE_C }, image_page[3] = { 0, 1, 3 };

	s->n_diff = 0;
	s->rest = 0;
	for (int p = 0; p < 3; p++) {
		u64 *m = page(window_page[p]);
		const u64 *base = images + 512 * image_page[p];

		for (u32 i = 0; i < 512; i++) {
			if (m[i] == base[i])
				continue;
			u32 offset = window_page[p] * 4096u + i * 8;

			if (s->n_diff < DIFF_MAX)
				s->diff[s->n_diff] = (struct diff_patch){ offset, 0, m[i] };
			else
				s->rest = diff_mix(s->rest ^ offset, m[i]);
			s->n_diff++;
			m[i] = base[i];
		}
	}
}

#endif
