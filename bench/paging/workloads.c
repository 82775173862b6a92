/* SPDX-License-Identifier: MIT
 * The workloads of the kernel with one address space.  Each sets up what it needs, measures, verifies what user mode
 * reads against the tables, and drops it all, so that any of them can run alone or after others. */
#include "workloads.h"

static struct space base, space_a;

/* The space that is current between workloads; user mode sees nothing in it. */
void idle_space(void)
{
	if (!base.root)
		space_new(&base, 0);
	space_load(&base, false);
}

struct space *begin_space(u64 pages)
{
	space_new(&space_a, 1);
	space_load(&space_a, false);
	space_map(&space_a, USER_HEAP, pages);
	return &space_a;
}

void end_space(struct space *s)
{
	idle_space();
	space_drop(s);
}

volatile u64 *heap_entry(u64 page) { return space_entry(current, USER_HEAP + page * PAGE_SIZE, 1, false); }

/* Another frame for a page; the old one goes. */
void repoint(u64 page)
{
	volatile u64 *e = heap_entry(page);
	u64 old = *e & PTE_ADDR, fresh = frame_new();

	entry_set(e, fresh | PTE_RW);
	frame_put(old);
}

/* One update in `every` random accesses, `rounds` times; the updated page is touched. */
static void updates_in_accesses(u64 pages, u64 every, u64 rounds)
{
	struct space *s = begin_space(pages);

	user_pages(USER_HEAP, pages, PAGE_SIZE, WRITE, false);
	workload_begin();
	for (u64 i = 0; i < rounds; i++) {
		u64 page = rnd() % pages;

		user_random(USER_HEAP, pages, every, false);
		repoint(page);
		flush_page(USER_HEAP + page * PAGE_SIZE);
		user_pages(USER_HEAP + page * PAGE_SIZE, 1, PAGE_SIZE, READ, true);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 7);
	workload_end();
	end_space(s);
}

void run_rare(void) { updates_in_accesses(512, 10000, scaled(100, 2)); }
void run_frequent(void) { updates_in_accesses(64, 10, scaled(1500, 20)); }

#define TABLE_PAGES 4096
static u16 chosen[384];

/* Swaps the frames of two pages: two stores, nothing is lost. */
static void swap_pages(u64 a, u64 b)
{
	volatile u64 *x = heap_entry(a), *y = heap_entry(b);
	u64 v = *x & ~(PTE_A | PTE_D), w = *y & ~(PTE_A | PTE_D);

	entry_set(x, w);
	entry_set(y, v);
}

/* Entries are written, then all of them are flushed by one CR3 load, then either all of those pages are used or few. */
static void entries_written(bool random, u64 times, u64 used)
{
	u64 pages = random ? TABLE_PAGES : 512, n = ARRAY_SIZE(chosen), rounds = scaled(8, 1);
	struct space *s = begin_space(pages);

	user_pages(USER_HEAP, pages, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		for (u64 i = 0; i < n; i++)
			chosen[i] = (u16)(random ? rnd() % pages : (i + r * 64) % pages);
		for (u64 t = 0; t < times; t++)
			for (u64 i = 0; i < n; i += 2)
				swap_pages(chosen[i], chosen[i + 1]);
		flush_space();
		user_list(chosen, used, USER_HEAP, READ, true);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * (random ? 61 : 7));
	workload_end();
	end_space(s);
}

void run_seq_used(void) { entries_written(false, 1, ARRAY_SIZE(chosen)); }
void run_seq_unused(void) { entries_written(false, 5, 3); }
void run_random_used(void) { entries_written(true, 1, ARRAY_SIZE(chosen)); }
void run_random_unused(void) { entries_written(true, 5, 3); }

/* 16 pages on demand, then unmapped again one by one. */
void run_mmap(void)
{
	struct space *s = begin_space(16);
	u64 rounds = scaled(200, 20), area = USER_HEAP + (4 << 20), pages = 16;

	s->demand = area;
	s->demand_end = area + (1 << 20);
	*space_entry(s, area, 1, true) = 0;
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		u64 va = area + r % 8 * pages * PAGE_SIZE;

		user_pages(va, pages, PAGE_SIZE, WRITE, true);
		for (u64 i = 0; i < pages; i++) {
			volatile u64 *e = space_entry(s, va + i * PAGE_SIZE, 1, false);
			u64 pa = *e & PTE_ADDR;

			if (!(*e & PTE_P) || !(*e & PTE_D))
				panic("user mode wrote without a fault to page", i);
			entry_set(e, 0);
			flush_page(va + i * PAGE_SIZE);
			frame_put(pa);
		}
	}
	user_verify(USER_HEAP, 16, PAGE_SIZE);
	workload_end();
	end_space(s);
}

/* 32 MiB of which 16 pages change between two flushes. */
void run_heap(void)
{
	u64 pages = scale < 100 ? 512 : 8192, rounds = scaled(30, 2);
	struct space *s = begin_space(pages);

	user_pages(USER_HEAP, pages, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		for (u64 i = 0; i < 16; i++)
			repoint(rnd() % pages);
		flush_space();
		user_random(USER_HEAP, pages, scaled(20000, 200), false);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 61);
	workload_end();
	end_space(s);
}

/* Every page is mapped to one frame, read-only; half of them are written and get frames of their own again. */
void run_ksm(void)
{
	u64 pages = 512, rounds = scaled(4, 1);
	struct space *s = begin_space(pages);

	user_pages(USER_HEAP, pages, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		u64 one = *heap_entry(r) & PTE_ADDR;

		for (u64 i = 0; i < pages; i++) {
			volatile u64 *e = heap_entry(i);
			u64 old = *e & PTE_ADDR;

			if (old == one && !(*e & PTE_W))
				continue;
			frame_get(one);
			entry_set(e, one | PTE_USER | PTE_COW);
			flush_page(USER_HEAP + i * PAGE_SIZE);
			frame_put(old);
		}
		user_pages(USER_HEAP, pages, PAGE_SIZE, READ, true);
		user_pages(USER_HEAP, pages / 2, PAGE_SIZE * 2, WRITE, true);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 7);
	workload_end();
	end_space(s);
}

/* 2 MiB pages: split into entries of 4 KiB, of which some change, and joined again. */
void run_split(void)
{
	enum { REGIONS = 8 };
	struct space *s = begin_space(1);
	u64 area = 0x40000000, rounds = scaled(6, 1), large[REGIONS], table[REGIONS];

	for (u64 i = 0; i < REGIONS; i++) {
		large[i] = frames_large();
		table[i] = frame_zero();
		*space_entry(s, area + i * LARGE_SIZE, 2, true) = large[i] | PTE_RW | PTE_PS;
	}
	user_pages(area, REGIONS * 512, PAGE_SIZE, WRITE, false);
	workload_begin();
	for (u64 n = 0; n < rounds * REGIONS; n++) {
		u64 i = n % REGIONS, va = area + i * LARGE_SIZE, *t = at(table[i]);
		volatile u64 *e = space_entry(s, va, 2, false);

		for (u64 k = 0; k < 512; k++)
			t[k] = (large[i] + k * PAGE_SIZE) | PTE_RW | PTE_A | PTE_D;
		entry_set(e, table[i] | PTE_P | PTE_W | PTE_U | PTE_A);
		flush_page(va);
		user_pages(va, 32, PAGE_SIZE * 16, WRITE, true);
		for (u64 k = 0; k < 16; k += 2) {
			u64 v = t[k];

			entry_set((volatile u64 *)&t[k], t[k + 1]);
			entry_set((volatile u64 *)&t[k + 1], v);
			flush_page(va + k * PAGE_SIZE);
			flush_page(va + (k + 1) * PAGE_SIZE);
		}
		user_pages(va, 16, PAGE_SIZE, READ, true);
		entry_set(e, large[i] | PTE_RW | PTE_PS | PTE_A | PTE_D);
		flush_space(); /* INVLPG would leave what is cached of the other 4 KiB pages */
		user_pages(va, 32, PAGE_SIZE * 16, READ, true);
	}
	user_verify(area, REGIONS * 512 / 37, PAGE_SIZE * 37);
	workload_end();
	for (u64 i = 0; i < REGIONS; i++) {
		*space_entry(s, area + i * LARGE_SIZE, 2, false) = 0;
		frame_put(table[i]);
	}
	end_space(s);
}

/* Pages that lie three apart, on frames in no order, so that no two of them can be one mapping of the host. */
void run_scattered(void)
{
	enum { POOL = 16384 };
	static u64 pool[POOL];
	u64 pages = scale < 100 ? scaled(100000, 1000) : 100000, n = MIN(pages, (u64)POOL), stride = 3 * PAGE_SIZE;
	struct space *s = begin_space(1);

	for (u64 i = 0; i < n; i++)
		pool[i] = frame_new();
	for (u64 i = 0; i < pages; i++) {
		u64 pa = pool[mix(i) % n];

		frame_get(pa);
		*space_entry(s, 0x40000000 + i * stride, 1, true) = pa | PTE_USER;
	}
	workload_begin();
	user_pages(0x40000000, pages, stride, READ, true);
	user_pages(0x40000000, pages, stride, READ, false);
	user_verify(0x40000000, pages / 997 + 1, stride * 997);
	workload_end();
	end_space(s);
	for (u64 i = 0; i < n; i++)
		frame_put(pool[i]);
}

/* A heap that stays and is used, and a table of which many entries are written and few used, with a flush each time. */
void run_beside(void)
{
	u64 heap = 2048, churn = 512, rounds = scaled(100, 4);
	struct space *s = begin_space(heap + churn);

	user_pages(USER_HEAP, heap + churn, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		for (u64 i = 0; i < 128; i++)
			swap_pages(heap + rnd() % churn, heap + rnd() % churn);
		flush_space();
		user_random(USER_HEAP, heap, 2000, false);
		user_pages(USER_HEAP + (heap + r % 64) * PAGE_SIZE, 3, PAGE_SIZE * 128, READ, true);
	}
	user_verify(USER_HEAP, heap + churn, PAGE_SIZE * 37);
	workload_end();
	end_space(s);
}

/* A storm of updates of which little is used, then many accesses with a flush now and then, in turn. */
void run_phases(void)
{
	u64 pages = 256, rounds = scaled(4, 1);
	struct space *s = begin_space(pages);

	user_pages(USER_HEAP, pages, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		for (u64 i = 0; i < scaled(8, 1); i++) {
			for (u64 k = 0; k < 128; k++)
				swap_pages(rnd() % pages, rnd() % pages);
			flush_space();
			user_random(USER_HEAP, pages, 8, true);
		}
		for (u64 i = 0; i < scaled(40, 2); i++) {
			repoint(rnd() % pages);
			flush_space();
			user_random(USER_HEAP, pages, 2000, false);
		}
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 7);
	workload_end();
	end_space(s);
}

/* Slices of accesses that end with a flush; `each` accesses for each update.  The whole is what is compared. */
static void sweep_point(u64 each)
{
	u64 slices = each < 100 ? scaled(12, 2) : scaled(60, 4), updates = 0, pages = PAGING_SWEEP_PAGES;
	struct space *s = begin_space(pages);

	slices = MAX(slices, each / PAGING_SWEEP_SLICE * 2);
	user_pages(USER_HEAP, pages, PAGE_SIZE, READ, false);
	workload_begin();
	for (u64 i = 1; i <= slices; i++) {
		for (; updates < i * PAGING_SWEEP_SLICE / each; updates += 2)
			swap_pages(rnd() % pages, rnd() % pages);
		flush_space();
		user_random(USER_HEAP, pages, PAGING_SWEEP_SLICE, false);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 7);
	workload_end();
	end_space(s);
}

#define SWEEP_POINT(n) void run_sweep_##n(void) { sweep_point(n); }
PAGING_SWEEP(SWEEP_POINT)
#undef SWEEP_POINT
