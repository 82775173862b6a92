/* SPDX-License-Identifier: MIT
 * The workloads of the kernel with several address spaces, and the list of all. */
#include "workloads.h"

#define SPACES_MAX 64
static struct space spaces[SPACES_MAX];

const struct workload workloads[] = {
#define WORKLOAD_ROW(symbol, name, words) { name, run_##symbol },
	PAGING_KERNEL_WORKLOADS(WORKLOAD_ROW)
#undef WORKLOAD_ROW
#define SWEEP_ROW(n) { PAGING_SWEEP_NAME "/" #n, run_sweep_##n },
	PAGING_SWEEP(SWEEP_ROW)
#undef SWEEP_ROW
};
const int workload_count = ARRAY_SIZE(workloads);

static void spaces_begin(u64 n, u64 pages)
{
	for (u64 i = 0; i < n; i++) {
		space_new(&spaces[i], i + 1);
		space_load(&spaces[i], false);
		space_map(&spaces[i], USER_HEAP, pages);
	}
}

static void spaces_end(u64 n)
{
	idle_space();
	for (u64 i = 0; i < n; i++)
		space_drop(&spaces[i]);
}

/* The address spaces in turn, in each the same 16 pages. */
static void switches(u64 n, bool keep)
{
	u64 pages = 16, rounds = MAX(scaled(1280, 2 * n) / n, 2ull);

	spaces_begin(n, pages);
	for (u64 i = 0; i < n; i++) {
		space_load(&spaces[i], false);
		user_pages(USER_HEAP, pages, PAGE_SIZE, WRITE, false);
	}
	workload_begin();
	for (u64 i = 0; i < n * rounds; i++)
		user_switch(&spaces[i % n], keep, USER_HEAP, pages);
	user_verify(USER_HEAP, pages, PAGE_SIZE);
	workload_end();
	spaces_end(n);
}

void run_switch2(void) { switches(2, false); }
void run_switch8(void) { switches(8, false); }
void run_switch64(void) { switches(64, false); }
void run_pcid2(void) { switches(2, true); }
void run_pcid8(void) { switches(8, true); }
void run_pcid64(void) { switches(64, true); }

/* Writes pages of the current space, each of which has to fault for a copy, or to be taken over. */
static void write_copied(u64 va, u64 pages)
{
	user_pages(va, pages, PAGE_SIZE, WRITE, true);
	for (u64 i = 0; i < pages; i++)
		if (!(*space_entry(current, va + i * PAGE_SIZE, 1, false) & PTE_W))
			panic("user mode wrote without a fault to page", i);
}

/* The child's tables are made, both sides are write-protected, and each writes an eighth of the pages. */
void run_fork(void)
{
	u64 pages = 512, rounds = scaled(8, 1);
	struct space *parent = begin_space(pages), *child = &spaces[0];

	user_pages(USER_HEAP, pages, PAGE_SIZE, WRITE, false);
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		u64 share = pages / 8, from = USER_HEAP + r % 4 * share * PAGE_SIZE;

		space_new(child, 2);
		for (u64 i = 0; i < pages; i++) {
			volatile u64 *e = heap_entry(i);

			frame_get(*e & PTE_ADDR);
			if (*e & PTE_W)
				entry_set(e, (*e & ~PTE_W) | PTE_COW);
			*space_entry(child, USER_HEAP + i * PAGE_SIZE, 1, true) = *e & ~(PTE_A | PTE_D);
		}
		flush_space();
		user_switch(child, false, from, 8);
		write_copied(from, share);
		user_switch(parent, false, from, 8);
		write_copied(from, share);
		space_drop(child);
	}
	user_verify(USER_HEAP, pages, PAGE_SIZE * 7);
	workload_end();
	end_space(parent);
}

/* An address space comes, gets 64 pages on demand, runs a little, and goes. */
void run_exec(void)
{
	u64 rounds = scaled(50, 2), pages = 64;
	struct space *s = &spaces[0];

	idle_space();
	workload_begin();
	for (u64 r = 0; r < rounds; r++) {
		space_new(s, 1 + r % 8);
		s->demand = USER_HEAP;
		s->demand_end = USER_HEAP + pages * PAGE_SIZE;
		user_switch(s, false, USER_CODE, 1);
		user_pages(USER_HEAP, pages, PAGE_SIZE, WRITE, true);
		user_random(USER_HEAP, pages, 5000, false);
		user_verify(USER_HEAP, 2, PAGE_SIZE * 31);
		idle_space();
		space_drop(s);
	}
	workload_end();
}

/* Four processes with heaps that stay, each with a window of 64 pages that changes in each of its slices and is hardly used. */
void run_mixed(void)
{
	u64 n = 4, stable = 256, window = 64, slices = scaled(160, 8);

	spaces_begin(n, stable + window);
	workload_begin();
	for (u64 i = 0; i < slices; i++) {
		u64 at_page = stable + rnd() % (window - 16);

		user_switch(&spaces[i % n], false, USER_HEAP, 16);
		user_random(USER_HEAP, stable, 2000, false);
		for (u64 k = 0; k < 16; k++) {
			repoint(at_page + k);
			flush_page(USER_HEAP + (at_page + k) * PAGE_SIZE);
		}
		user_pages(USER_HEAP + at_page * PAGE_SIZE, 3, PAGE_SIZE * 5, WRITE, true);
	}
	user_verify(USER_HEAP, stable + window, PAGE_SIZE * 7);
	workload_end();
	spaces_end(n);
}
