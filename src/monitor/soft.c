/* SPDX-License-Identifier: MIT
 * Which sites of user code go through the software TLB (shadow/soft.c), and what happens where it misses.
 *
 *   plain --(soft_fill: it has had many pages mapped)--> soft --(its balance is spent: soft_exit)--> plain
 *
 * A site that has had TRIAL_FILLS pages mapped, or few while there is no room for mappings, is tried.  From then on its balance
 * says, in cycles, what that has saved so far: a page that is met for the first time saves the host's fault and its mmap(), each
 * access costs the gates.  A page that is accessed often is mapped after all: where there is room after as many accesses as
 * cost a tenth of mapping it, else as many as cost as much.  When the balance is spent the site is translated as before, and
 * has to have twice as many pages mapped before it is tried again.  So a trial that was wrong costs a few per cent of the
 * faults that led to it.
 *
 * Owner: the running carrier; what is known of sites is private to it, the sites are everybody's. */
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "x86/system.h"

/* Cycles. */
#define FAULT 9000    /* host fault, walk, mmap() */
#define MAP 5000      /* the latter two */
#define EXIT 700      /* a miss of the TLB */
#define GATES 120     /* a hit, or an access left to the host's mappings */
#define TRIAL (4 * FAULT)
#define BALANCE_MAX (64 * FAULT)
#define TRIAL_FILLS 256
#define TRIAL_FILLS_PRESSED 8
#define PATIENCE_MAX 12
#define LEFT 8          /* accesses until a page is mapped where there is room, */
#define LEFT_PRESSED 64 /* where there is none, */
#define LEFT_PLAIN 32   /* and until a site is asked about a page that is */

static struct soft_site {
	u64 pa;
	u32 fills;
	s32 balance;
	u8 patience;    /* twice as many fills so often */
} sites[64];

static struct soft_site *site_at(u64 pa)
{
	struct soft_site *s = &sites[(pa * 0x9e3779b97f4a7c15ull) >> 58];

	if (s->pa != pa)
		*s = (struct soft_site){ .pa = pa, .balance = TRIAL };
	return s;
}

static bool forced(void) { return SH->knobs.soft; }

/* Has the code at physical address pa translated anew. */
static void site_turn(u64 pa, bool soft)
{
	cache_lock();
	if (soft)
		site_set_both(CACHE, pa | SITE_SOFT);
	else
		site_clear(CACHE, pa | SITE_SOFT);
	block_kill_site(CACHE, ram_offset(pa) >> PAGE_SHIFT, pa);
	my.left_killed = true;
	cache_unlock();
}

bool soft_due(u64 pa, u64 va)
{
	struct soft_site *s = site_at(pa);
	u32 enough = space_pressed() ? TRIAL_FILLS_PRESSED : TRIAL_FILLS;

	if (soft_mapped(va, false) || (++s->fills < enough << s->patience))
		return false;
	s->fills = 0;
	return !site_is_both(CACHE, pa | SITE_SOFT);
}

void soft_try(u64 pa)
{
	site_at(pa)->balance = TRIAL;
	site_turn(pa, true);
	SHADOW_COUNT->soft_sites++;
}

static void spend(struct soft_site *s, s32 cycles)
{
	s->balance = MIN(s->balance - cycles, BALANCE_MAX);
	if (s->balance >= 0 || forced())
		return;
	site_turn(s->pa, false);
	s->patience = (u8)MIN(s->patience + 1, PATIENCE_MAX);
	s->fills = 0;
	s->balance = TRIAL;
}

/* How often a page that is met for the first time may be accessed before it is mapped. */
static s32 allowance(void)
{
	return forced() ? (s32)SH->knobs.soft : space_pressed() ? LEFT_PRESSED : LEFT;
}

/* The page is, or will be, reached as any other: what is not plain memory of a program has its ways in the fault handler, and
 * a large page is mapped at once. */
static bool leaves(struct cpu *c, u64 va, const struct walk *w, bool write)
{
	u64 off = ram_offset(w->pa);

	return debug_on(c) || test_unmapped(va) || is_kernel_half(va) || w->level > 1 || off == ~0ull ||
	       (write && frame_flags(off >> PAGE_SHIFT));
}

void soft_exit(struct cpu *c, u64 site, u64 va, u32 what)
{
	bool write = what & SOFT_EXIT_WRITE, mapped = soft_mapped(va, write);
	struct soft_site *s = site_at(site);
	s32 left, cost = EXIT;
	enum soft_miss miss = soft_missed(va, &left);
	struct walk w;
	u32 error;

	SHADOW_COUNT->soft_misses++;
	if ((s64)(va << 16) >> 16 != (s64)va) {
		soft_leave(va, LEFT_PLAIN); /* it faults as it does */
		return;
	}
	if (mmu_walk(c, va, (write ? PF_W : 0) | PF_U, false, &w, &error)) {
		if (!(what & SOFT_EXIT_PAGE) || (va & ((what & 0xff) - 1))) { /* another exception may come first */
			soft_leave(va, LEFT_PLAIN);
			return;
		}
		c->exc = (struct cpu_exception){ .pending = 1, .vector = VEC_PF, .has_error = 1, .error = error, .cr2 = va };
		return;
	}
	if (miss == SOFT_SPENT_PLAIN)
		cost += LEFT_PLAIN * GATES;
	else if (miss == SOFT_NEW && !mapped && !soft_beside(va, &w))
		cost -= FAULT;
	if (miss == SOFT_NEW)
		left = allowance();
	else if (miss == SOFT_AGAIN)
		left -= EXIT / GATES;
	if (leaves(c, va, &w, write)) {
		soft_leave(va, LEFT_PLAIN);
	} else if (mapped || left < 0) {
		if (!mapped && !space_fill(c, va, &w, write))
			cost += MAP + allowance() * GATES;
		soft_leave(va, LEFT_PLAIN);
	} else {
		soft_enter(va, &w, write, left);
	}
	if (space_code_changed())
		code_reset();
	spend(s, cost);
}
