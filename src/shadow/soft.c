/* SPDX-License-Identifier: MIT
 * The software TLB: pages of user code that are reached without a mapping of the host.
 *
 * A mapping costs a host fault and an mmap(), and where there is no room for more of them the munmap() of another.  Where
 * that does not pay, accesses are translated so that they look here first (translate/soft.c, the gates in
 * monitor/entry.S): what is found goes through the monitor's mapping of guest RAM.  Which sites do so is decided in
 * monitor/soft.c.
 *
 * A table of entries, one for each place, chosen by the low bits of the page's number.  The tag is the page with the table's
 * age in its low bits, so that a flush is one addition.
 *
 * Each entry also counts its accesses down (`left`); the last one asks whether the page had better be mapped.
 *
 * Owner: the running carrier; the table is private to it.
 *
 * Invariant:
 *  S6  An entry of the table's age that is not SOFT_PLAIN is permitted to user code by a guest entry that was present with its
 *      accessed bit (and, with SOFT_WRITE, writable with its dirty bit) at or after the last flush that covered it.
 *      A store through it looks at the frame's flags first (S2). */
#include "shadow/internal.h"

struct soft_entry {
	u64 tag;
	u32 frame;      /* of RAM, or SOFT_PLAIN: left to the host's mappings */
	s32 left;       /* accesses until C is asked */
};
#define SOFT ((struct soft_entry *)HOST(SOFT_DISP))
#define SOFT_PLAIN BIT(31)
#define SOFT_WRITE BIT(30)
#define SOFT_AGES PAGE_SIZE
#define NOWHERE (~0ull) /* no page's tag */
_Static_assert(sizeof(struct soft_entry) == SOFT_ENTRY, "soft entry");
_Static_assert(offsetof(struct soft_entry, frame) == 8 && offsetof(struct soft_entry, left) == 12, "soft entry");
_Static_assert(CARRIER_DISP + sizeof(struct space) <= SOFT_DISP && SOFT_DISP + SOFT_SIZE <= ALTSTACK_DISP + FRAME_MOVE, "layout");
_Static_assert(MAX_FRAMES <= SOFT_WRITE, "frames");

static struct soft_entry *entry_of(u64 va) { return &SOFT[(va >> PAGE_SHIFT) & ((1u << SOFT_BITS) - 1)]; }

static bool is_page(const struct soft_entry *e, u64 va) { return e->tag != NOWHERE && !((e->tag ^ va) & PAGE_MASK); }

void soft_flush(void)
{
	if (!S->soft_used)
		return;
	S->soft_used = false;
	if (++S->soft_age < SOFT_AGES)
		return;
	for (u32 i = 0; i < 1u << SOFT_BITS; i++)
		SOFT[i].tag = NOWHERE;
	S->soft_age = 1;
}

void soft_invalidate(u64 va)
{
	struct soft_entry *e = entry_of(va);

	if (!S->soft_used)
		return;
	if (is_page(e, va))
		e->tag &= PAGE_MASK;
}

/* [va, va + length) of the user's half is mapped no more. */
void soft_unmapped(u64 va, u64 length)
{
	if (!S->soft_used || is_kernel_half(va))
		return;
	if (length > LEAF_SIZE) {
		soft_flush();
		return;
	}
	for (u64 at = va; at - va < length; at += PAGE_SIZE) {
		struct soft_entry *e = entry_of(at);

		if ((e->frame & SOFT_PLAIN) && is_page(e, at))
			e->tag = NOWHERE;
	}
}

enum soft_miss soft_missed(u64 va, s32 *left)
{
	const struct soft_entry *e = entry_of(va);

	*left = e->left;
	if (!e->tag || !is_page(e, va))
		return SOFT_NEW;
	if ((e->tag & ~PAGE_MASK) != S->soft_age)
		return e->frame & SOFT_PLAIN ? SOFT_NEW : SOFT_AGAIN;
	if (e->left >= 0)
		return SOFT_OTHERWISE;
	return e->frame & SOFT_PLAIN ? SOFT_SPENT_PLAIN : SOFT_SPENT;
}

bool soft_mapped(u64 va, bool write)
{
	const struct leaf *l = leaf_find(va);
	int i = l && l->large ? 0 : (int)(va >> PAGE_SHIFT & 511);

	return l && BITTEST(l->mapped, i) && (!write || BITTEST(l->writable, i));
}

static void enter(u64 va, u32 frame, s32 left)
{
	*entry_of(va) = (struct soft_entry){ (va & PAGE_MASK) | S->soft_age, frame, left };
	S->soft_used = true;
}

bool soft_beside(u64 va, const struct walk *w)
{
	u32 frame = (u32)(ram_offset(w->pa) >> PAGE_SHIFT);
	const struct soft_entry *before = entry_of(va - PAGE_SIZE), *behind = entry_of(va + PAGE_SIZE);
	u64 window = ~(WINDOW * PAGE_SIZE - 1);

	return (is_page(before, va - PAGE_SIZE) && !((va ^ (va - PAGE_SIZE)) & window) && (before->frame & ~SOFT_WRITE) + 1 == frame) ||
	       (is_page(behind, va + PAGE_SIZE) && !((va ^ (va + PAGE_SIZE)) & window) && (behind->frame & ~SOFT_WRITE) - 1 == frame);
}

void soft_enter(u64 va, const struct walk *w, bool write, s32 left)
{
	u32 frame = (u32)(ram_offset(w->pa) >> PAGE_SHIFT);

	enter(va, write ? frame | SOFT_WRITE : frame, left);
}

void soft_leave(u64 va, s32 left) { enter(va, SOFT_PLAIN, left); }

/* For space_check(), after a flush: S6. */
void soft_check(void)
{
	for (u32 i = 0; S->soft_used && i < 1u << SOFT_BITS; i++) {
		const struct soft_entry *s = &SOFT[i];
		u64 va = s->tag & PAGE_MASK, need = PTE_P | PTE_U | PTE_A, dirty = s->frame & SOFT_WRITE ? PTE_W : 0, pde, e;
		const u64 *table;

		if (!s->tag || s->tag == NOWHERE || (s->tag & ~PAGE_MASK) != S->soft_age || (s->frame & SOFT_PLAIN))
			continue;
		pde = mmu_peek_table(S->root, va);
		table = pde & PTE_PS ? NULL : ram_pointer(pde & PTE_ADDR);
		e = table ? table[va >> PAGE_SHIFT & 511] : 0;
		if ((~pde & (need | dirty)) || (~e & (need | dirty | (dirty ? PTE_D : 0))) ||
		    ram_offset(e & PTE_ADDR) >> PAGE_SHIFT != (s->frame & ~SOFT_WRITE))
			monitor_fail("invariant S6 does not hold: page %lx, frame %x, entry %lx", va, s->frame, e);
	}
}
