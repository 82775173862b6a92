/* SPDX-License-Identifier: MIT
 * The kernel of penumbra bench paging: frames, address spaces, page tables, user mode, and what is counted.
 *
 * One processor, no interrupts; page faults are the only exceptions that are answered. */
#ifndef BENCH_PAGING_KERNEL_H
#define BENCH_PAGING_KERNEL_H

#include "base/types.h"
#include "x86/paging.h"

#define DIRECT 0xffff888000000000ull
#define VIRT 0xffffffff80000000ull
#define PTE_COW BIT(9)          /* a bit that is ours: copy on the next write */
#define PTE_USER (PTE_P | PTE_U | PTE_NX)
#define PTE_RW (PTE_USER | PTE_W)
#define LARGE_SIZE (2ull << 20)

#define USER_CODE 0x400000ull
#define USER_DATA 0x600000ull
#define USER_STACK (USER_DATA + PAGE_SIZE)
#define USER_HEAP 0x10000000ull

/* What is counted while a workload is measured. */
struct count { u64 n; s64 cycles; };
struct figures { struct count updates, flushes, touches, accesses, switches; };
extern struct figures F;
extern u64 checksum;            /* over all that user mode read */
extern u64 stale;               /* reads that gave what the page tables do not allow */

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}
/* Ends a stretch that began at `from`.  The clock may tick in steps of more cycles than the stretch takes, so that only the
 * sum means something, from which the mean cost of reading it is taken off. */
extern u64 clock_overhead;
static inline void counted(struct count *c, u64 n, u64 from)
{
	c->n += n;
	c->cycles += (s64)(rdtsc() - from - clock_overhead);
}

static inline void *at(u64 pa) { return (void *)(DIRECT + pa); }
static inline u64 mix(u64 x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185ull;
	x ^= x >> 27;
	return x * 0x81dadef4bc2dd44dull;
}
u64 rnd(void);                  /* the same sequence for each workload */

/* kernel.c: console */
void print(const char *s);
void print_number(u64 v);
_Noreturn void finish(bool good);
_Noreturn void panic(const char *why, u64 value);

/* memory.c: frames of RAM.  A frame is filled with a word that no other frame has. */
void memory_init(u64 start_info);
void memory_restart(void);      /* frames get the same words as after the start */
u64 frame_new(void);            /* physical address */
u64 frame_zero(void);           /* all zero, for tables */
void frame_get(u64 pa);
void frame_put(u64 pa);         /* free with its last user */
u64 frame_users(u64 pa);
u64 frames_large(void);         /* 512 frames at a multiple of 2 MiB, never freed */

/* memory.c: address spaces */
struct space {
	u64 root;
	u64 pcid;               /* 0: none */
	u64 demand, demand_end; /* addresses where a fault makes a page */
};
extern struct space *current;
extern bool has_pcid;
void space_new(struct space *s, u64 pcid);
void space_drop(struct space *s);       /* with its pages; not the current one */
volatile u64 *space_entry(struct space *s, u64 va, int level, bool make); /* 1: 4 KiB, 2: 2 MiB */
void space_map(struct space *s, u64 va, u64 pages); /* fresh frames, readable and writable */
bool page_fault(u64 error, u64 address);

/* A store to a live entry, measured. */
static inline void entry_set(volatile u64 *entry, u64 value)
{
	u64 from = rdtsc();

	*entry = value;
	counted(&F.updates, 1, from);
}
/* INVLPG, measured. */
static inline void flush_page(u64 va)
{
	u64 from = rdtsc();

	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
	counted(&F.flushes, 1, from);
}
void flush_space(void);         /* reloads CR3, measured */
/* Loads CR3; with `keep`, and where there are PCIDs, what is cached stays. */
void space_load(struct space *s, bool keep);

/* user.c: accesses in user mode, ended by SYSCALL.  `touch` decides what they are counted as. */
extern bool leave_by_interrupt;
enum access { READ, WRITE };
void user_pages(u64 va, u64 pages, u64 stride, enum access how, bool touch);
void user_random(u64 va, u64 pages_power_of_two, u64 count, bool touch);
void user_list(const u16 *pages, u64 count, u64 va, enum access how, bool touch); /* at most 384 */
/* Goes to `s` and touches pages there: one switch. */
void user_switch(struct space *s, bool keep, u64 va, u64 pages);
/* Each page is read in user mode and compared with what its entry says. */
void user_verify(u64 va, u64 pages, u64 stride);

/* workloads*.c */
struct workload { const char *name; void (*run)(void); };
extern const struct workload workloads[];
extern const int workload_count;
extern u64 scale;               /* per cent */
u64 scaled(u64 base, u64 least);
void workload_begin(void);      /* begins to measure: after set-up */
void workload_end(void);        /* prints the line */

#endif
