/* SPDX-License-Identifier: MIT
 * Frames of RAM, address spaces, and what the kernel does at a page fault. */
#include "kernel.h"

#define FRAMES_MAX (1u << 18)   /* 1 GiB: what the direct map covers */

extern u8 kernel_end[], user_start[], user_end[];
extern u64 kernel_root[512];

struct space *current;
bool has_pcid;
static u16 users[FRAMES_MAX];
static u32 free_frames[FRAMES_MAX], n_free;
static u64 next_frame, ram_end, sequence;

static void fill(u64 pa, u64 word)
{
	u64 n = PAGE_SIZE / 8;
	void *to = at(pa);

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(word) : "memory");
}

static void copy(u64 to_pa, u64 from_pa)
{
	u64 n = PAGE_SIZE / 8;
	void *to = at(to_pa), *from = at(from_pa);

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* RAM from 2 MiB on, up to the end of the range that holds it (hvm_memmap_table_entry). */
void memory_init(u64 start_info)
{
	const u64 *map = at(*(const u64 *)at(start_info + 40));
	u32 n = *(const u32 *)at(start_info + 48), a, b, c, d;

	next_frame = ALIGN_UP((u64)kernel_end - VIRT, LARGE_SIZE);
	for (u32 i = 0; i < n; i++, map += 3)
		if ((u32)map[2] == 1 && map[0] <= next_frame && map[0] + map[1] > next_frame)
			ram_end = MIN(map[0] + map[1], FRAMES_MAX * PAGE_SIZE);
	ram_end = ALIGN_DOWN(ram_end, LARGE_SIZE);
	if (ram_end <= next_frame)
		panic("no memory above", next_frame);
	kernel_root[0] = 0;
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
	has_pcid = c >> 17 & 1;
	if (has_pcid) {
		u64 cr4;

		/* CR3 holds no PCID yet, as it must. */
		__asm__ volatile("mov %%cr4, %0; or $0x20000, %0; mov %0, %%cr4" : "=&r"(cr4) : : "memory");
	}
}

void memory_restart(void) { sequence = 0; }

static u64 frame_take(void)
{
	u64 pa;

	if (n_free) {
		pa = (u64)free_frames[--n_free] << PAGE_SHIFT;
	} else {
		if (next_frame >= ram_end)
			panic("out of memory", next_frame);
		pa = next_frame;
		next_frame += PAGE_SIZE;
	}
	users[pa >> PAGE_SHIFT] = 1;
	return pa;
}

u64 frame_new(void)
{
	u64 pa = frame_take();

	fill(pa, mix(++sequence));
	return pa;
}

u64 frame_zero(void)
{
	u64 pa = frame_take();

	fill(pa, 0);
	return pa;
}

u64 frames_large(void)
{
	if (ram_end - LARGE_SIZE <= next_frame)
		panic("out of memory", ram_end);
	ram_end -= LARGE_SIZE;
	for (u64 pa = ram_end; pa < ram_end + LARGE_SIZE; pa += PAGE_SIZE) {
		users[pa >> PAGE_SHIFT] = 1;
		fill(pa, mix(++sequence));
	}
	return ram_end;
}

void frame_get(u64 pa) { users[pa >> PAGE_SHIFT]++; }
u64 frame_users(u64 pa) { return users[pa >> PAGE_SHIFT]; }
void frame_put(u64 pa)
{
	if (--users[pa >> PAGE_SHIFT] == 0)
		free_frames[n_free++] = (u32)(pa >> PAGE_SHIFT);
}

volatile u64 *space_entry(struct space *s, u64 va, int level, bool make)
{
	volatile u64 *table = at(s->root);

	for (int l = 4; l > level; l--) {
		volatile u64 *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (!(*e & PTE_P)) {
			if (!make)
				return NULL;
			*e = frame_zero() | PTE_P | PTE_W | PTE_U | PTE_A;
		}
		table = at(*e & PTE_ADDR);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

void space_new(struct space *s, u64 pcid)
{
	u64 *root;

	*s = (struct space){ .root = frame_zero(), .pcid = has_pcid ? pcid : 0 };
	root = at(s->root);
	for (int i = 256; i < 512; i++)
		root[i] = kernel_root[i];
	for (u64 pa = (u64)user_start - VIRT, va = USER_CODE; pa < (u64)user_end - VIRT; pa += PAGE_SIZE, va += PAGE_SIZE) {
		users[pa >> PAGE_SHIFT]++;
		*space_entry(s, va, 1, true) = pa | PTE_P | PTE_U;
	}
	*space_entry(s, USER_DATA, 1, true) = frame_zero() | PTE_RW;
}

void space_map(struct space *s, u64 va, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		*space_entry(s, va + i * PAGE_SIZE, 1, true) = frame_new() | PTE_RW;
}

static void drop_table(u64 table, int level, int entries)
{
	u64 *e = at(table);

	for (int i = 0; i < entries; i++) {
		u64 v = e[i];

		if (!(v & PTE_P))
			continue;
		if (level > 1 && !(v & PTE_PS))
			drop_table(v & PTE_ADDR, level - 1, 512);
		else if (level == 1)
			frame_put(v & PTE_ADDR);
	}
	frame_put(table);
}

void space_drop(struct space *s)
{
	if (s == current)
		panic("the current space is dropped", s->root);
	drop_table(s->root, 4, 256);
}

void space_load(struct space *s, bool keep)
{
	u64 v = s->root | s->pcid;

	if (keep && s->pcid)
		v |= BIT(63);
	current = s;
	__asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}

void flush_space(void)
{
	u64 from = rdtsc();

	space_load(current, false);
	counted(&F.flushes, 1, from);
}

/* A page on demand, or a copy of one; false: nobody expects this fault. */
bool page_fault(u64 error, u64 address)
{
	struct space *s = current;
	u64 page = address & PAGE_MASK, old, fresh;
	volatile u64 *entry;

	if (!s || address >= BIT(47))
		return false;
	entry = space_entry(s, page, 1, false);
	old = entry ? *entry : 0;
	if (!(error & 1) && !(old & PTE_P) && address >= s->demand && address < s->demand_end) {
		fresh = frame_new();
		entry_set(space_entry(s, page, 1, true), fresh | PTE_RW);
		return true;
	}
	if ((error & 3) != 3 || !(old & PTE_COW) || (old & PTE_W))
		return false;
	fresh = old & PTE_ADDR;
	if (frame_users(fresh) > 1) {
		u64 copied = frame_take();

		copy(copied, fresh);
		frame_put(fresh);
		fresh = copied;
	}
	entry_set(entry, fresh | PTE_RW | PTE_A | PTE_D);
	flush_page(page);
	return true;
}
