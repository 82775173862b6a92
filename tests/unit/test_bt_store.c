/* SPDX-License-Identifier: MIT
 * What becomes a file of translations: a code cache that holds anything at all breaks nothing, and a block that does not
 * fit is one that nothing finds.
 * WITH: accel/bt_store_image.c
 * LIBS: -lnettle */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "accel/accel.h"
#include "accel/bt_store.h"
#include "monitor/state.h"

#define ROUNDS 400
#define BLOCKS 64

static u8 *shared;
static int failed;

static void check(bool good, const char *name)
{
	printf("%s - %s\n", good ? "ok" : "not ok", name);
	failed |= !good;
}

static u32 below(u32 n) { return n ? (u32)random() % n : 0; }

/* A number that is mostly within what is there, and now and then anything. */
static u32 some(u32 n) { return below(8) ? below(n) : (u32)random() * 3u; }

static void scramble(struct cache *k)
{
	k->n_blocks = BLOCKS;
	k->n_records = below(500);
	k->n_exits = below(300);
	k->n_relocs = below(500);
	k->n_moves = below(100);
	k->n_sources = below(4000);
	k->hot = below(9000);
	k->cold = CODE_SIZE / 2 + below(9000);
	for (u32 i = 0; i < BLOCKS; i++) {
		struct block *b = &k->blocks[i];

		for (size_t at = 0; at < sizeof *b; at += 4)
			*(u32 *)(void *)((u8 *)b + at) = (u32)random();
		b->host = some(k->hot);
		b->host_end = b->host + some(200);
		b->cold = CODE_SIZE / 2 + some(k->cold - CODE_SIZE / 2);
		b->own_cold_end = b->cold + some(200);
		b->records = some(k->n_records);
		b->exits = some(k->n_exits);
		b->relocs = some(k->n_relocs);
		b->moves = some(k->n_moves);
		b->n_records = (u16)some(20);
		b->n_exits = (u16)some(20);
		b->n_relocs = (u16)some(20);
		b->n_moves = (u16)some(20);
		b->guest_len = (u16)some(100);
		b->origin = some(k->n_sources);
		b->mode = (u8)below(3);
	}
	for (u32 i = 0; i < k->n_relocs; i++)
		k->relocs[i] = (struct reloc){ .at = (u16)some(300), .target = (u16)random(), .kind = (u8)below(8), .exit = (u8)random() };
}

/* What the monitor will go by. */
static bool sound(const u8 *file, u64 size)
{
	const struct store_head *h = (const void *)file;
	const struct block *blocks = (const void *)(file + ALIGN_UP(sizeof *h, 8ull));

	if (h->size != size || bt_store_size(h) != size)
		return false;
	for (u32 i = 0; i < h->used[STORE_blocks]; i++) {
		const struct block *b = &blocks[i];

		if (!(b->flags & BLOCK_DEAD) || b->rest != REST_FRESH || b->instance)
			return false;
		if (b->origin && (b->host_end > h->used[STORE_hot] || b->own_cold_end - CODE_SIZE / 2 > h->used[STORE_cold] ||
				  b->exits + b->n_exits > h->used[STORE_exits] || b->mode > TM_USER ||
				  b->origin + b->guest_len > h->used[STORE_sources]))
			return false;
	}
	return true;
}

int main(void)
{
	unsigned seed = 0;
	bool good = true;
	u64 size;
	u8 *file;

	if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		return 1;
	if (getenv("SEED"))
		seed = (unsigned)strtoul(getenv("SEED"), NULL, 0);
	printf("# seed %u\n", seed);
	srandom(seed);
	shared = mmap(NULL, SHARED_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	struct cache *k = (void *)(shared + OFF_CACHE);

	check(!bt_store_image(shared, &size), "an empty cache makes no file");
	for (int i = 0; i < ROUNDS && good; i++) {
		scramble(k);
		file = bt_store_image(shared, &size);
		good = file && sound(file, size);
		free(file);
	}
	check(good, "blocks with any numbers make a sound file");
	for (int i = 0; i < ROUNDS && good; i++) {
		u32 *counts[] = { &k->n_blocks, &k->n_records, &k->n_exits, &k->n_relocs, &k->n_moves, &k->n_sources, &k->hot, &k->cold };

		scramble(k);
		*counts[below(ARRAY_SIZE(counts))] = (u32)random() | 0x40000000u;
		file = bt_store_image(shared, &size);
		good = !file;
		free(file);
	}
	check(good, "impossible counts make none");
	return failed;
}
