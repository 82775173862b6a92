/* SPDX-License-Identifier: MIT
 * What of the program's memory is executable, where its modules are placed, and the pages that are
 * write-protected because there are translations of them.
 *
 * The host never maps the program's code executable.  code_lock covers all state here. */
#include "exec/exec.h"
#include "exec/keep.h"

#define RANGES_MAX 16384
#define MAP_32BIT 0x40
#define MAP_FIXED_NOREPLACE 0x100000
#define MAP_GROWSDOWN 0x100
#define MREMAP_FIXED 2
#define LOW_MAX 0x30000000 /* larger mappings go where the kernel puts them */

static struct exec_range ranges[RANGES_MAX];
static u32 n_ranges, n_watched;
static u64 low_next = LOW_BEGIN;

/* First range that ends above the address. */
static u32 range_after(u64 address)
{
	u32 lo = 0, hi = n_ranges;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (ranges[mid].end <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct exec_range *memory_find(u64 address)
{
	static u32 last; /* most are asked for many times in a row */

	if (last >= n_ranges || address < ranges[last].begin || address >= ranges[last].end)
		last = range_after(address);
	return last < n_ranges && ranges[last].begin <= address ? &ranges[last] : NULL;
}

u64 memory_code_size(void)
{
	u64 n = 0;

	for (u32 i = 0; i < n_ranges; i++)
		n += ranges[i].prot & PROT_WRITE ? 0 : ranges[i].end - ranges[i].begin;
	return n;
}

static void insert(u32 at, struct exec_range r)
{
	if (n_ranges == RANGES_MAX)
		fatal("the program has more than %d executable mappings", RANGES_MAX);
	for (u32 i = n_ranges++; i > at; i--)
		ranges[i] = ranges[i - 1];
	ranges[at] = r;
}

void memory_forget(u64 begin, u64 end)
{
	u32 i = range_after(begin);

	while (i < n_ranges && ranges[i].begin < end) {
		struct exec_range r = ranges[i];

		if (r.begin < begin && r.end > end) {
			ranges[i].end = begin;
			r.begin = end;
			insert(i + 1, r);
			return;
		}
		if (r.begin < begin) {
			ranges[i++].end = begin;
		} else if (r.end > end) {
			ranges[i].begin = end;
			return;
		} else {
			n_ranges--;
			for (u32 k = i; k < n_ranges; k++)
				ranges[k] = ranges[k + 1];
		}
	}
}

void memory_note(u64 begin, u64 end, u32 prot, bool shared)
{
	u32 i;

	memory_forget(begin, end);
	i = range_after(begin);
	if (i && ranges[i - 1].end == begin && ranges[i - 1].prot == prot && ranges[i - 1].shared == shared)
		ranges[i - 1].end = end;
	else
		insert(i, (struct exec_range){ begin, end, prot, shared });
	targets_cover(begin, end);
}

static u64 host_prot(u64 prot) { return prot & PROT_EXEC ? (prot & ~(u64)PROT_EXEC) | PROT_READ : prot; }

/* Pages in [begin, end) got a new protection from the program. */
static void forget_watches(u64 begin, u64 end)
{
	for (u64 p = begin; n_watched && p < end; p += PAGE_SIZE) {
		bool *w = code_page_watched(p, false);

		if (w && *w) {
			*w = false;
			n_watched--;
		}
	}
	if (!n_watched)
		syscall_watch(false);
}

void memory_watch(u64 page)
{
	const struct exec_range *r = memory_find(page);
	bool *w;

	if (!r || !(r->prot & PROT_WRITE))
		return;
	w = code_page_watched(page, true);
	if (!w || *w)
		return;
	if (host_mprotect(page, PAGE_SIZE, PROT_READ) < 0)
		return;
	*w = true;
	if (!n_watched++)
		syscall_watch(true);
}

static void unwatch(u64 page)
{
	const struct exec_range *r = memory_find(page);

	code_kill_range(page, page + PAGE_SIZE);
	if (r)
		host_mprotect(page, PAGE_SIZE, (int)host_prot(r->prot));
	*code_page_watched(page, false) = false;
	n_watched--;
}

bool memory_write_fault(u64 address)
{
	u64 page = address & PAGE_MASK;
	const struct exec_range *r = memory_find(page);
	bool *w = code_page_watched(page, false);

	if (w && *w) {
		unwatch(page);
		if (!n_watched)
			syscall_watch(false);
		stats.writes++;
		return true;
	}
	/* Another thread was quicker. */
	return r && (r->prot & PROT_WRITE);
}

bool memory_unwatch_all(void)
{
	if (!n_watched)
		return false;
	code_watched_pages(unwatch);
	syscall_watch(false);
	return true;
}

static bool overlaps(u64 begin, u64 end, u64 a, u64 b) { return begin < b && end > a; }

bool is_reserved(u64 begin, u64 end)
{
	return overlaps(begin, end, EXEC_CODE, RUNTIME_END) || overlaps(begin, end, TARGETS_BEGIN, AREAS_END) || end < begin;
}

s64 memory_place(u64 size, u64 prot, u64 flags, s64 fd, u64 offset)
{
	u64 from = low_next;

	size = ALIGN_UP(size, PAGE_SIZE);
	while (size && size <= LOW_MAX) {
		if (low_next + size > LOW_END) {
			if (from == LOW_BEGIN)
				break;
			from = low_next = LOW_BEGIN;
		}
		s64 r = GUEST_CALL(__NR_mmap, low_next, size, prot, flags | MAP_FIXED_NOREPLACE, (u64)fd, offset);

		if (r != -EEXIST) {
			if (r >= 0)
				low_next = ALIGN_UP(low_next + size + PAGE_SIZE, 0x10000);
			return r;
		}
		low_next += 0x100000;
	}
	return GUEST_CALL(__NR_mmap, 0, size, prot, flags, (u64)fd, offset);
}

static bool is_program_file(s64 fd)
{
	u32 magic = 0;

	return sys4(__NR_pread64, fd, &magic, sizeof magic, 0) == sizeof magic && magic == 0x464c457f;
}

static s64 do_mmap(u64 *a)
{
	u64 size = ALIGN_UP(a[1], PAGE_SIZE), prot = a[2], flags = a[3];
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE), exec = prot & PROT_EXEC;
	s64 r;

	if (fixed && is_reserved(a[0], a[0] + size))
		return flags & MAP_FIXED_NOREPLACE ? -EEXIST : -ENOMEM;
	bool hint = a[0] && !is_reserved(a[0], a[0] + size);
	/* Near the program's code, where a JIT compiler wants its own: there, or as near. */
	bool near = hint && !fixed && a[0] >= LOW_BEGIN && a[0] < LOW_END;
	bool module = !a[0] && !(flags & MAP_ANONYMOUS) && (flags & 15) == MAP_PRIVATE;

	if (!exec && !fixed && !module && !near)
		return GUEST_CALL(__NR_mmap, hint ? a[0] : 0, a[1], prot, flags, a[4], a[5]);
	if (module && !exec && !is_program_file((s32)a[4]))
		return GUEST_CALL(__NR_mmap, 0, a[1], prot, flags, a[4], a[5]);
	lock_take(&code_lock);
	if (near) {
		r = GUEST_CALL(__NR_mmap, a[0], a[1], host_prot(prot), (flags | MAP_FIXED_NOREPLACE), a[4], a[5]);
		if (r < 0)
			r = memory_place(a[1], host_prot(prot), flags, (s32)a[4], a[5]);
	} else if (!fixed && !hint && !(flags & (MAP_32BIT | MAP_GROWSDOWN)) && a[1])
		r = memory_place(a[1], host_prot(prot), flags, (s32)a[4], a[5]);
	else
		r = GUEST_CALL(__NR_mmap, hint || fixed ? a[0] : 0, a[1], host_prot(prot), flags, a[4], a[5]);
	if (r >= 0) {
		forget_watches((u64)r, (u64)r + size);
		code_kill_range((u64)r, (u64)r + size);
		memory_forget((u64)r, (u64)r + size);
		keep_module_gone((u64)r, (u64)r + size);
		if (exec)
			memory_note((u64)r, (u64)r + size, (u32)prot, (flags & 15) != MAP_PRIVATE);
		if (exec && !(prot & PROT_WRITE) && !(flags & MAP_ANONYMOUS) && (flags & 15) == MAP_PRIVATE)
			keep_module((u64)r, (u64)r + size, (s32)a[4], a[5]);
	}
	lock_drop(&code_lock);
	return r;
}

static s64 do_munmap(u64 *a)
{
	u64 end = a[0] + ALIGN_UP(a[1], PAGE_SIZE);
	s64 r;

	if (is_reserved(a[0], end))
		return -EINVAL;
	lock_take(&code_lock);
	r = GUEST_CALL(__NR_munmap, a[0], a[1]);
	if (r >= 0) {
		forget_watches(a[0], end);
		code_kill_range(a[0], end);
		memory_forget(a[0], end);
		keep_module_gone(a[0], end);
	}
	lock_drop(&code_lock);
	return r;
}

/* The protection of [begin, end) is as the program asked: what does that do to translations? */
static void reprotected(u64 begin, u64 end, u32 prot, bool shared)
{
	forget_watches(begin, end);
	if (prot & PROT_EXEC) {
		memory_note(begin, end, prot, shared);
		if (prot & PROT_WRITE) /* nothing watches it yet, and what was translated is not fit for that */
			code_kill_range(begin, end);
		else
			code_verify_range(begin, end);
		return;
	}
	memory_forget(begin, end);
	code_suspend_range(begin, end);
}

static s64 do_mprotect(u64 nr, u64 *a)
{
	u64 end = a[0] + ALIGN_UP(a[1], PAGE_SIZE);
	u64 prot = host_prot(a[2]);
	u32 i;
	s64 r;

	if (is_reserved(a[0], end))
		return -ENOMEM;
	lock_take(&code_lock);
	i = range_after(a[0]);
	bool was = i < n_ranges && ranges[i].begin < end;
	bool shared = was && ranges[i].shared;

	r = GUEST_CALL(nr, a[0], a[1], prot, a[3]);
	if (r >= 0 && (was || (a[2] & PROT_EXEC)))
		reprotected(a[0], end, (u32)a[2], shared);
	lock_drop(&code_lock);
	return r;
}

static s64 do_mremap(u64 *a)
{
	u64 old = ALIGN_UP(a[1], PAGE_SIZE), size = ALIGN_UP(a[2], PAGE_SIZE);
	const struct exec_range *f;
	s64 r;

	if (is_reserved(a[0], a[0] + old) || ((a[3] & MREMAP_FIXED) && is_reserved(a[4], a[4] + size)))
		return -EFAULT;
	lock_take(&code_lock);
	f = memory_find(a[0]);
	u32 prot = f ? f->prot : 0;
	bool shared = f && f->shared;

	r = GUEST_CALL(__NR_mremap, a[0], a[1], a[2], a[3], a[4]);
	if (r >= 0 && (f || memory_find((u64)r))) {
		forget_watches(a[0], a[0] + old);
		code_kill_range(a[0], a[0] + old);
		memory_forget(a[0], a[0] + old);
		code_kill_range((u64)r, (u64)r + size);
		memory_forget((u64)r, (u64)r + size);
		keep_module_gone(a[0], a[0] + old);
		keep_module_gone((u64)r, (u64)r + size);
		if (prot) {
			host_mprotect((u64)r, size, (int)host_prot(prot));
			memory_note((u64)r, (u64)r + size, prot, shared);
		}
	}
	lock_drop(&code_lock);
	return r;
}

s64 memory_call(struct thread *th, u64 nr, u64 *a)
{
	(void)th;
	switch (nr) {
	case __NR_mmap: return do_mmap(a);
	case __NR_munmap: return do_munmap(a);
	case __NR_mprotect:
	case __NR_pkey_mprotect: return do_mprotect(nr, a);
	default: return do_mremap(a);
	}
}
