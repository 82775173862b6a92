/* SPDX-License-Identifier: MIT
 * Guest page-table walks (Intel SDM 3A, 4.3 to 4.8): long mode with four levels; PAE and 32-bit paging for
 * interpreted code, which is never shadowed. */
#include "shadow/shadow.h"
#include "shadow/state.h"
#include "x86/system.h"

static u64 *entry_at(u64 gpa) { return ram_pointer(gpa & ~7ull); }

static bool canonical(u64 va) { return (s64)(va << 16) >> 16 == (s64)va; }

/* False where the entry is no longer what was walked: another processor has changed it. */
static bool set_bits(u64 *entry, u64 gpa, u64 *value, u64 bits)
{
	u64 seen = *value;

	if ((seen & bits) == bits)
		return true;
	if (!__atomic_compare_exchange_n(entry, &seen, seen | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	*value |= bits;
	frame_written(gpa);
	return true;
}

static bool permitted(struct cpu *c, const struct walk *w, u32 access, bool implicit)
{
	if (access & PF_U) {
		if (!w->user || ((access & PF_W) && !w->write) || ((access & PF_I) && !w->exec))
			return false;
		return true;
	}
	if (access & PF_I)
		return w->exec && !(w->user && (c->cr4 & CR4_SMEP));
	if (w->user && (c->cr4 & CR4_SMAP) && (implicit || !(c->rflags & RF_AC)))
		return false;
	return !(access & PF_W) || w->write || !(c->cr0 & CR0_WP);
}

/* ---- PAE and 32-bit paging ---- */

/* One level of a walk: entries of `bytes`, indexed by the address from bit `shift` on. */
struct level { u8 shift, bits, bytes; };
static const struct level levels_32[] = { { 22, 10, 4 }, { 12, 10, 4 } };
static const struct level levels_pae[] = { { 30, 2, 8 }, { 21, 9, 8 }, { 12, 9, 8 } };

#define PDPTE_RESERVED 0x1e6ull /* and what lies above the physical address */
#define PDE32_PSE36(e) (((e) & 0x1fe000) << 19)
#define PDE32_RESERVED 0x200000ull

struct legacy_entry {
	void *at;
	u64 gpa, value;
};

static bool read_entry(const struct level *l, u64 table, u32 va, struct legacy_entry *e)
{
	u64 index = va >> l->shift & ((1u << l->bits) - 1);

	e->gpa = table + index * l->bytes;
	e->at = ram_pointer(e->gpa);
	if (!e->at)
		return false;
	e->value = l->bytes == 4 ? *(volatile u32 *)e->at : *(volatile u64 *)e->at;
	return e->value & PTE_P;
}

/* The low byte holds all flags that a walk sets. */
static void mark_entry(const struct legacy_entry *e, u8 bits)
{
	if ((e->value & bits) == bits)
		return;
	__atomic_fetch_or((u8 *)e->at, bits, __ATOMIC_SEQ_CST);
	frame_written(e->gpa);
}

static bool reserved_bits(const struct cpu *c, bool pae, int level, bool large, u64 e)
{
	if (!pae)
		return large && (e & PDE32_RESERVED);
	if (level == 0)
		return e & PDPTE_RESERVED;
	return ((e & PTE_NX) && !(c->efer & EFER_NX)) || (e & ~PTE_ADDR & ~PTE_NX & ~0xfffull) ||
	       (large && (e & 0x1fe000));
}

static int walk_legacy(struct cpu *c, u32 va, u32 access, bool implicit, struct walk *w, u32 *error)
{
	bool pae = c->cr4 & CR4_PAE;
	const struct level *l = pae ? levels_pae : levels_32;
	int levels = pae ? 3 : 2;
	u64 table = pae ? c->cr3 & 0xffffffe0 : c->cr3 & 0xfffff000;
	struct legacy_entry e[3];
	u8 dirty;

	for (int i = 0; i < levels; i++) {
		bool large = i == levels - 2 && (pae || (c->cr4 & CR4_PSE));

		if (!read_entry(&l[i], table, va, &e[i]))
			return -1;
		large = large && (e[i].value & PTE_PS);
		if (reserved_bits(c, pae, i, large, e[i].value)) {
			*error |= PF_P | PF_RSVD;
			return -1;
		}
		if (!pae || i) { /* a PDPTE has no rights */
			w->write &= !!(e[i].value & PTE_W);
			w->user &= !!(e[i].value & PTE_U);
			w->exec &= !(pae && (e[i].value & PTE_NX));
		}
		table = pae ? e[i].value & PTE_ADDR : e[i].value & 0xfffff000;
		if (large || i == levels - 1) {
			u64 size = BIT(l[i].shift);

			w->level = levels - i;
			w->entry_gpa = e[i].gpa;
			w->pa = (table & ~(size - 1)) | (va & (size - 1));
			if (large && !pae)
				w->pa |= PDE32_PSE36(e[i].value);
			levels = i + 1;
		}
	}
	*error |= PF_P;
	if (!permitted(c, w, access, implicit))
		return -1;
	for (int i = pae; i < levels - 1; i++)
		mark_entry(&e[i], PTE_A);
	dirty = access & PF_W ? PTE_A | PTE_D : PTE_A;
	mark_entry(&e[levels - 1], dirty);
	w->entry = e[levels - 1].value | dirty;
	return 0;
}

/* An entry as it counts behind one above it: write and user access need both, no-execute one. */
static u64 below(u64 above, u64 e)
{
	u64 both = PTE_W | PTE_U | PTE_A;

	return (e & (above | ~both)) | (above & PTE_NX);
}

#define NOTHING_ABOVE (PTE_W | PTE_U | PTE_A)

#define WALK_AGAIN 1

static u64 unknown_bits(const struct cpu *c)
{
	return (PTE_ADDR & ~(BIT(sys_physical_bits()) - 1)) | (c->efer & EFER_NX ? 0 : PTE_NX);
}

/* Bits of a present entry that must be clear (4.5): of an address that the processor does not have, or within a large
 * page. */
static u64 reserved_in(u64 unknown, int level, u64 e)
{
	if (level == 4)
		return unknown | PTE_PS;
	if (level > 1 && (e & PTE_PS))
		return unknown | (((1ull << (12 + 9 * (level - 1))) - 1) & PTE_ADDR & ~BIT(12)); /* 12: PAT */
	return unknown;
}

static int walk_once(struct cpu *c, u64 va, u32 access, bool implicit, struct walk *w, u32 *error)
{
	u64 unknown = unknown_bits(c), table = c->cr3 & PTE_ADDR, *path[4], gpas[4], entries[4];
	u32 base = access & (PF_W | PF_U);
	int n = 0;

	if ((c->efer & EFER_NX) || (c->cr4 & CR4_SMEP))
		base |= access & PF_I;
	*w = (struct walk){ .write = true, .user = true, .exec = true };
	if (!(c->cr0 & CR0_PG)) {
		w->pa = va;
		w->level = 3;
		w->entry = w->whole = PTE_P | PTE_W | PTE_A | PTE_D;
		return 0;
	}
	*error = base;
	if (!(c->efer & EFER_LMA))
		return walk_legacy(c, (u32)va, access, implicit, w, error);
	if (!canonical(va))
		return -1;
	for (int level = 4;; level--) {
		u64 gpa = table + (va >> (12 + 9 * (level - 1)) & 511) * 8;
		u64 *p = entry_at(gpa), e;

		if (!p)
			return -1;
		e = *(volatile u64 *)p;
		if (!(e & PTE_P))
			return -1;
		if (e & reserved_in(unknown, level, e)) {
			*error = base | PF_P | PF_RSVD;
			return -1;
		}
		w->write &= !!(e & PTE_W);
		w->user &= !!(e & PTE_U);
		w->exec &= !(e & PTE_NX);
		path[n] = p;
		entries[n] = e;
		gpas[n++] = gpa;
		if (level == 1 || (level < 4 && (e & PTE_PS))) {
			u64 size = 1ull << (12 + 9 * (level - 1));

			w->level = level;
			w->entry_gpa = gpa;
			w->entry = e;
			w->pa = (e & PTE_ADDR & ~(size - 1)) | (va & (size - 1));
			break;
		}
		table = e & PTE_ADDR;
	}
	*error = base | PF_P;
	if (!permitted(c, w, access, implicit))
		return -1;
	for (int i = 0; i < n; i++)
		if (!set_bits(path[i], gpas[i], &entries[i], PTE_A | (i == n - 1 && (access & PF_W) ? PTE_D : 0)))
			return WALK_AGAIN;
	w->entry = entries[n - 1];
	w->whole = NOTHING_ABOVE;
	for (int i = 0; i < n; i++) {
		w->whole = below(w->whole, entries[i]);
		if (i == 2)
			w->table = w->whole;
	}
	return 0;
}

int mmu_walk(struct cpu *c, u64 va, u32 access, bool implicit, struct walk *w, u32 *error)
{
	int r;

	do
		r = walk_once(c, va, access, implicit, w, error);
	while (r == WALK_AGAIN);
	return r;
}

u64 mmu_peek_table(u64 root, u64 va)
{
	u64 table = root & PTE_ADDR, above = NOTHING_ABOVE;

	for (int level = 4; level >= 2; level--) {
		u64 *p = entry_at(table + (va >> (12 + 9 * (level - 1)) & 511) * 8);
		u64 e = p ? *(volatile u64 *)p : 0;

		if (!(e & PTE_P) || (level > 2 && (e & PTE_PS))) /* in a PML4E it is reserved */
			return 0;
		above = below(above, e);
		table = e & PTE_ADDR;
	}
	return above;
}

int mmu_peek(struct cpu *c, u64 va, u64 *entry)
{
	u64 table = c->cr3 & PTE_ADDR, above = NOTHING_ABOVE, unknown = unknown_bits(c);

	for (int level = 4; level >= 1; level--) {
		u64 *p = entry_at(table + (va >> (12 + 9 * (level - 1)) & 511) * 8);
		u64 e = p ? *(volatile u64 *)p : 0;

		if (!(e & PTE_P) || (e & reserved_in(unknown, level, e)))
			return 0;
		*entry = above = below(above, e);
		if (level == 1 || (level < 4 && (e & PTE_PS)))
			return level;
		table = e & PTE_ADDR;
	}
	return 0;
}
