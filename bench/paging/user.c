/* SPDX-License-Identifier: MIT
 * Accesses in user mode: what runs there, and the kernel's side.
 *
 * Code marked USER lies on pages of its own, which each address space maps at USER_CODE; it refers to nothing outside.
 * Its orders and its stack are in the page at USER_DATA, which the kernel reaches by the direct map. */
#include "kernel.h"

#define USER __attribute__((section(".user"), noinline))
#define LIST_MAX 384

struct order {
	u64 va, pages, stride, count;
	u64 write, random;
	u64 by_interrupt;       /* leave by INT3 */
	u64 started, ended;     /* time stamps: user code's first and last */
	u64 sum;
	u16 list[LIST_MAX];
};

extern u8 user_start[];
u64 user_call(u64 rip, u64 rsp, u64 argument);
void user_entry(struct order *o);

static inline u64 rotate(u64 v) { return v << 7 | v >> 57; }
/* Different lines of different pages, or all of them would share a few sets of the cache. */
static inline volatile u64 *word_of(u64 page) { return (volatile u64 *)(page + (page >> 12 & 63) * 64); }

USER static u64 run_sequence(struct order *o)
{
	u64 sum = 0, va = o->va;

	for (u64 i = 0; i < o->count; i++, va += o->stride) {
		volatile u64 *p = word_of(va);

		sum = rotate(sum) + *p;
		if (o->write)
			*p = sum ^ i;
	}
	return sum;
}

USER static u64 run_random(struct order *o)
{
	u64 sum = 0, x = o->random;

	for (u64 i = 0; i < o->count; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		sum = rotate(sum) + *word_of(o->va + ((x >> 40) & (o->pages - 1)) * PAGE_SIZE);
	}
	return sum;
}

USER static u64 run_list(struct order *o)
{
	u64 sum = 0;

	for (u64 i = 0; i < o->count; i++) {
		volatile u64 *p = word_of(o->va + (u64)o->list[i] * PAGE_SIZE);

		sum = rotate(sum) + *p;
		if (o->write)
			*p = sum ^ i;
	}
	return sum;
}

__attribute__((section(".user.entry"), noinline)) void user_entry(struct order *o)
{
	o->started = rdtsc();
	if (o->random)
		o->sum = run_random(o);
	else if (o->stride)
		o->sum = run_sequence(o);
	else
		o->sum = run_list(o);
	o->ended = rdtsc();
	if (o->by_interrupt)
		__asm__ volatile("int3" : : "D"(o->sum) : "memory");
	__asm__ volatile("syscall" : : "D"(o->sum) : "rcx", "r11", "memory");
	__builtin_unreachable();
}

static struct order *order(void) { return at(*space_entry(current, USER_DATA, 1, false) & PTE_ADDR); }

/* Runs the order and counts it. */
static u64 obey(struct order *o, u64 count, bool touch)
{
	struct count *c = touch ? &F.touches : &F.accesses;
	u64 sum;

	o->by_interrupt = leave_by_interrupt;
	sum = user_call(USER_CODE + ((u64)user_entry - (u64)user_start), USER_STACK - 8, USER_DATA);

	c->n += count;
	c->cycles += (s64)(o->ended - o->started);
	checksum = rotate(checksum) ^ sum;
	return sum;
}

void user_pages(u64 va, u64 pages, u64 stride, enum access how, bool touch)
{
	struct order *o = order();

	o->va = va;
	o->count = pages;
	o->stride = stride;
	o->write = how == WRITE;
	o->random = 0;
	obey(o, pages, touch);
}

void user_random(u64 va, u64 pages_power_of_two, u64 count, bool touch)
{
	struct order *o = order();

	o->va = va;
	o->pages = pages_power_of_two;
	o->count = count;
	o->random = rnd() | 1;
	obey(o, count, touch);
}

void user_list(const u16 *pages, u64 count, u64 va, enum access how, bool touch)
{
	struct order *o = order();

	o->va = va;
	o->count = MIN(count, (u64)LIST_MAX);
	o->stride = o->random = 0;
	o->write = how == WRITE;
	for (u64 i = 0; i < o->count; i++)
		o->list[i] = pages[i];
	obey(o, o->count, touch);
}

void user_switch(struct space *s, bool keep, u64 va, u64 pages)
{
	u64 from = rdtsc();
	struct order *o;

	space_load(s, keep);
	o = order();
	user_pages(va, pages, PAGE_SIZE, READ, false);
	F.switches.n++;
	F.switches.cycles += (s64)(o->started - from);
}

/* What user mode has to read at `va`, by the tables; 0 where nothing is mapped. */
static u64 expected(u64 va)
{
	volatile u64 *e = space_entry(current, va, 2, false);
	u64 pa;

	if (!e || !(*e & PTE_P))
		return 0;
	if (*e & PTE_PS) {
		pa = (*e & PTE_ADDR) + (va & (LARGE_SIZE - 1));
	} else {
		e = space_entry(current, va, 1, false);
		if (!(*e & PTE_P))
			return 0;
		pa = *e & PTE_ADDR;
	}
	return *(u64 *)at(pa + (va >> 12 & 63) * 64);
}

void user_verify(u64 va, u64 pages, u64 stride)
{
	for (u64 i = 0; i < pages; i++, va += stride) {
		u64 want = expected(va), before = checksum;
		struct figures f = F;
		volatile u64 *e;

		if (!want)
			continue;
		user_pages(va, 1, stride, READ, false);
		F = f;
		checksum = before ^ want;
		e = space_entry(current, va, 2, false);
		if (!(*e & PTE_PS))
			e = space_entry(current, va, 1, false);
		stale += order()->sum != want || !(*e & PTE_A);
	}
}
