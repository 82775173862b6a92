/* SPDX-License-Identifier: MIT
 * What the file of translations holds, made from a code cache, and brought back into one.
 *
 * A file is made in the process that writes, after the machine's end.  The cache is the monitor's memory: each number
 * in it is checked before it is used, and a block that does not fit is left as one that nothing finds. */
#include "accel/bt_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <nettle/umac.h>

#include "monitor/state.h"
#include "x86/emit.h"


/* Where the arrays lie in the shared memory, and how many elements they have room for. */
static const struct { u64 at; u32 size, room; } arrays[] = {
	[STORE_blocks] = { OFF_CACHE + offsetof(struct cache, blocks), sizeof(struct block), MAX_BLOCKS },
	[STORE_records] = { OFF_CACHE + offsetof(struct cache, records), sizeof(struct insn_record), MAX_RECORDS },
	[STORE_exits] = { OFF_CACHE + offsetof(struct cache, exits), sizeof(struct exit_record), MAX_EXITS },
	[STORE_relocs] = { OFF_CACHE + offsetof(struct cache, relocs), sizeof(struct reloc), MAX_RELOCS },
	[STORE_moves] = { OFF_CACHE + offsetof(struct cache, moves), sizeof(struct reloc), MAX_MOVES },
	[STORE_sources] = { OFF_SOURCES, 1, STORE_SOURCES },
	[STORE_hot] = { OFF_CODE, 1, CODE_SIZE / 2 },
	[STORE_cold] = { OFF_CODE + CODE_SIZE / 2, 1, CODE_SIZE / 2 },
};
_Static_assert(ARRAY_SIZE(arrays) == STORE_COUNT, "arrays");

static u64 bytes_of(const struct store_head *h, int i) { return ALIGN_UP((u64)h->used[i] * arrays[i].size, 8ull); }

u64 bt_store_size(const struct store_head *h)
{
	u64 n = ALIGN_UP(sizeof *h, 8ull);

	for (int i = 0; i < STORE_COUNT; i++) {
		if (h->used[i] > arrays[i].room)
			return 0;
		n += bytes_of(h, i);
	}
	return n;
}

static u8 *array_in(const u8 *file, int which)
{
	const struct store_head *h = (const void *)file;
	u64 at = ALIGN_UP(sizeof *h, 8ull);

	for (int i = 0; i < which; i++)
		at += bytes_of(h, i);
	return (u8 *)(uintptr_t)file + at;
}

/* The arrays of a file in the making. */
struct image {
	const struct store_head *head;
	struct block *blocks;
	struct exit_record *exits;
	const struct reloc *relocs;
	u8 *hot, *cold;
};

static bool within(u64 at, u64 n, u64 used) { return at <= used && n <= used - at; }

static bool sane(const struct image *im, const struct block *b)
{
	const u32 *used = im->head->used;
	u32 cold = b->cold - CODE_SIZE / 2;

	return b->host <= b->host_end && within(b->host, b->host_end - b->host, used[STORE_hot]) &&
	       b->host_end - b->host >= ENTRY_BYTES && b->cold >= CODE_SIZE / 2 && b->cold <= b->own_cold_end &&
	       within(cold, b->own_cold_end - b->cold, used[STORE_cold]) && b->own_cold_end - b->cold >= 12 && b->n_exits &&
	       within(b->exits, b->n_exits, used[STORE_exits]) && within(b->records, b->n_records, used[STORE_records]) &&
	       within(b->relocs, b->n_relocs, used[STORE_relocs]) && within(b->moves, b->n_moves, used[STORE_moves]);
}

static void put32(u8 *p, u32 v) { memcpy(p, &v, sizeof v); }

/* A program's block may come back at another address than its neighbours: its links lead to its stubs again. */
static void unlink_block(struct image *im, struct block *b)
{
	for (u32 i = b->relocs; i < b->relocs + b->n_relocs; i++) {
		const struct reloc *r = &im->relocs[i];

		if (r->kind == RL_HOT_COLD && within(r->at, 4, b->host_end - b->host))
			put32(im->hot + b->host + r->at, b->cold + r->target - (b->host + r->at) - 4);
	}
	for (u32 i = b->exits; i < b->exits + b->n_exits; i++)
		im->exits[i].linked = 0;
}

/* Makes a block as block_kill() leaves it, before anything was forwarded. */
static void settle_block(struct image *im, struct block *b)
{
	u8 *hot = im->hot + b->host;
	struct emit e = { .p = im->cold + (b->cold - CODE_SIZE / 2) };

	if (b->flags & BLOCK_DEAD)
		memcpy(hot, b->entry, sizeof b->entry);
	if (b->mode & TM_USER)
		unlink_block(im, b);
	memcpy(b->entry, hot, sizeof b->entry);
	hot[0] = 0xe9;
	put32(hot + 1, b->cold - (b->host + ENTRY_JUMP));
	e_store_gs_imm32(&e, (b->mode & TM_USER ? SPILL_U_DISP : SPILL_K_DISP) + SP_EXIT, b->exits);
	for (u32 i = b->exits; i < b->exits + b->n_exits; i++) {
		im->exits[i].incoming = 0;
		im->exits[i].listed = 0;
	}
}

static void settle(struct image *im)
{
	for (u32 n = 0; n < im->head->used[STORE_blocks]; n++) {
		struct block *b = &im->blocks[n];
		bool good = sane(im, b);

		if (good)
			settle_block(im, b);
		if (!good || !store_mode(b->mode) || !within(b->origin, b->guest_len, im->head->used[STORE_sources]) || !b->guest_len)
			b->origin = 0;
		b->flags = (u8)((b->flags & ~BLOCK_LEADS) | BLOCK_DEAD);
		b->rest = REST_FRESH;
		b->instance = b->instance_next = b->hash_next = b->copy = b->ring = 0;
	}
}

u8 *bt_store_image(const u8 *shared, u64 *size)
{
	const struct cache *k = (const void *)(shared + OFF_CACHE);
	struct store_head h = {
		.magic = STORE_MAGIC, .version = STORE_VERSION, .targets = k->targets, .max_insns = k->max_insns,
		.used = {
			[STORE_blocks] = k->n_blocks, [STORE_records] = k->n_records, [STORE_exits] = k->n_exits,
			[STORE_relocs] = k->n_relocs, [STORE_moves] = k->n_moves,
			[STORE_sources] = k->n_sources, [STORE_hot] = k->hot, [STORE_cold] = k->cold - CODE_SIZE / 2,
		},
	};
	struct image im;
	u8 *out;

	h.size = *size = bt_store_size(&h);
	if (!h.size || h.size > STORE_MAX || !h.used[STORE_blocks])
		return NULL;
	out = calloc(1, h.size);
	if (!out)
		return NULL;
	memcpy(out, &h, sizeof h);
	for (int i = 0; i < STORE_COUNT; i++)
		memcpy(array_in(out, i), shared + arrays[i].at, (u64)h.used[i] * arrays[i].size);
	im = (struct image){
		.head = (const void *)out, .blocks = (void *)array_in(out, STORE_blocks), .exits = (void *)array_in(out, STORE_exits),
		.relocs = (const void *)array_in(out, STORE_relocs), .hot = array_in(out, STORE_hot), .cold = array_in(out, STORE_cold),
	};
	settle(&im);
	return out;
}

int bt_store_restore(const struct store_head *h, int shared)
{
	for (int i = 0; i < STORE_COUNT; i++) {
		const u8 *from = array_in((const void *)h, i);
		u64 n = (u64)h->used[i] * arrays[i].size;

		for (u64 done = 0; done < n;) {
			ssize_t w = pwrite(shared, from + done, n - done, (off_t)(arrays[i].at + done));

			if (w <= 0)
				return w ? -errno : -ENOSPC;
			done += (u64)w;
		}
	}
	return 0;
}

void bt_store_mac(const struct store_head *h, const u8 key[16], u8 mac[16])
{
	static const u8 zero[16];
	const size_t at = offsetof(struct store_head, mac), behind = at + sizeof zero;
	struct umac128_ctx c;

	umac128_set_key(&c, key);
	umac128_set_nonce(&c, sizeof h->nonce, h->nonce);
	umac128_update(&c, at, (const u8 *)h);
	umac128_update(&c, sizeof zero, zero);
	umac128_update(&c, h->size - behind, (const u8 *)h + behind);
	umac128_digest(&c, 16, mac);
}
