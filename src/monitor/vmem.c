/* SPDX-License-Identifier: MIT
 * Guest memory as C code sees it, port I/O and the paravirtual clock: the hooks of x86/system.h. */
#include "monitor/devices.h"
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"
#include "x86/system.h"

typedef u16 __attribute__((may_alias, aligned(1))) u16_any;
typedef u32 __attribute__((may_alias, aligned(1))) u32_any;
typedef u64 __attribute__((may_alias, aligned(1))) u64_any;

static bool canonical(u64 va) { return (s64)(va << 16) >> 16 == (s64)va; }

/* One access where the size has one, as other processors expect of aligned operands. */
static void copy(u8 *to, const u8 *from, size_t n)
{
	switch (n) {
	case 1: *(volatile u8 *)to = *(const volatile u8 *)from; break;
	case 2: *(volatile u16_any *)to = *(const volatile u16_any *)from; break;
	case 4: *(volatile u32_any *)to = *(const volatile u32_any *)from; break;
	case 8: *(volatile u64_any *)to = *(const volatile u64_any *)from; break;
	default: __builtin_memcpy(to, from, n);
	}
}

/* ---- read, modify, write as one ---- */

/* Replaces n bytes if they still are what the instruction read. */
static bool exchange(u8 *at, const u8 *old, const u8 *new, size_t n)
{
#define EXCHANGE(type)                                                                                             \
	{                                                                                                          \
		type was = *(const type *)old;                                                                     \
		return __atomic_compare_exchange_n((type *)at, &was, *(const type *)new, false, __ATOMIC_SEQ_CST,  \
						   __ATOMIC_SEQ_CST);                                              \
	}
	switch (n) {
	case 1: return __atomic_compare_exchange_n(at, &(u8){ *old }, *new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	case 2: EXCHANGE(u16_any)
	case 4: EXCHANGE(u32_any)
	case 8: EXCHANGE(u64_any)
#undef EXCHANGE
	default: {
		const u64_any *o = (const u64_any *)old, *w = (const u64_any *)new;
		u64 low = o[0], high = o[1];
		u8 done;

		__asm__ volatile("lock cmpxchg16b %1\n\tsetz %0"
				 : "=q"(done), "+m"(*(u8 (*)[16])at), "+a"(low), "+d"(high)
				 : "b"(w[0]), "c"(w[1]) : "cc", "memory");
		return done;
	}
	}
}

static bool exchangeable(u64 va, size_t n)
{
	return n == 1 || n == 2 || n == 4 || n == 8 || (n == 16 && !(va & 15));
}

/* An operand on two pages: no processor instruction reaches both through the monitor's mapping. */
static bool exchange_apart(u8 *const at[2], size_t first, const u8 *old, const u8 *new, size_t n)
{
	bool same;

	world_stop();
	same = !__builtin_memcmp(at[0], old, first) && !__builtin_memcmp(at[1], old + first, n - first);
	if (same) {
		__builtin_memcpy(at[0], new, first);
		__builtin_memcpy(at[1], new + first, n - first);
	}
	world_go();
	return same;
}

/* The write of an operand that the same instruction has read.  False where another processor has written to it in
 * between: the instruction starts again. */
static bool write_back(struct cpu *c, u64 va, const u64 pa[2], const u8 *new, size_t n)
{
	size_t first = MIN(n, (size_t)(PAGE_SIZE - (va & ~PAGE_MASK)));
	u8 *at[2] = { ram_pointer(pa[0]), first < n ? ram_pointer(pa[1]) : NULL };
	bool done;

	if (first < n) {
		frame_write_lock(pa[0]); /* B5 */
		frame_written(pa[1]);
		done = exchange_apart(at, first, my.operand, new, n);
		cache_unlock();
	} else {
		bool locked = frame_write_begin(pa[0]); /* B5 */

		done = exchange(at[0], my.operand, new, n);
		frame_write_end(locked);
	}
	if (!done)
		my.operand_lost = true;
	memory_written(c, pa[0], first);
	if (first < n)
		memory_written(c, pa[1], n - first);
	return done;
}

static bool is_operand(u64 va, const u64 pa[2], size_t n)
{
	u64 last = va + n - 1;

	return my.operand_n == n && my.operand_va == va && ram_pointer(pa[0]) && (!((va ^ last) & PAGE_MASK) || ram_pointer(pa[1]));
}

static struct page_entry *ktlb_entry(u64 va) { return &my.ktlb[(va >> PAGE_SHIFT) % KTLB_SIZE]; }

/* Descriptor tables and stacks of the kernel are reached at each exception and return. */
#define KTLB_VALID 1
#define KTLB_WRITE 2

static bool ktlb_find(u64 va, u32 how, u64 *pa)
{
	const struct page_entry *e = ktlb_entry(va);

	if (!is_kernel_half(va) || (how & (PF_U | PF_I)) || (e->key & (PAGE_MASK | KTLB_VALID)) != ((va & PAGE_MASK) | KTLB_VALID) ||
	    ((how & PF_W) && !(e->key & KTLB_WRITE)))
		return false;
	*pa = e->pa | (va & ~PAGE_MASK);
	return true;
}

static void ktlb_enter(const struct cpu *c, u64 va, u32 how, const struct walk *w)
{
	struct page_entry *e = ktlb_entry(va);

	if (!is_kernel_half(va) || w->user || (how & (PF_U | PF_I)) || !(c->efer & EFER_LMA))
		return;
	e->key = (va & PAGE_MASK) | KTLB_VALID | (how & PF_W ? KTLB_WRITE : 0);
	e->pa = w->pa & PAGE_MASK;
	my.ktlb_local |= !(w->entry & PTE_G) || !(c->cr4 & CR4_PGE);
}

static int translate(struct cpu *c, u64 va, size_t n, u32 access, u64 pa[2])
{
	bool implicit = access & VM_SYSTEM;
	u32 how = (access & (PF_W | PF_I)) | (c->cpl == 3 && !implicit ? PF_U : 0), error;
	u64 last = va + n - 1;
	struct walk w;

	if (!canonical(va) || !canonical(last)) {
		c->exc = (struct cpu_exception){ .pending = 1, .vector = VEC_GP, .has_error = 1 };
		return -1;
	}
	for (int i = 0; i < 2; i++) {
		u64 at = i ? last & PAGE_MASK : va;

		if (i && !((va ^ last) & PAGE_MASK))
			break;
		if (ktlb_find(at, how, &pa[i]))
			continue;
		if (mmu_walk(c, at, how, implicit, &w, &error)) {
			c->exc = (struct cpu_exception){
				.pending = 1, .vector = VEC_PF, .has_error = 1, .error = error, .cr2 = at };
			return -1;
		}
		ktlb_enter(c, at, how, &w);
		pa[i] = w.pa;
	}
	return 0;
}

int vmem_read(struct cpu *c, gva_t address, void *buffer, size_t n, u32 access)
{
	u8 *to = buffer;
	u64 va = address.v, pa[2];

	while (n) {
		size_t step = MIN(n, (size_t)PAGE_SIZE), first = MIN(step, (size_t)(PAGE_SIZE - (va & ~PAGE_MASK)));

		if (translate(c, va, step, access, pa))
			return -1;
		if (debug_on(c) && !(access & VM_SYSTEM))
			debug_access(c, va, step, false);
		for (int i = 0; i < 2; i++) {
			size_t part = i ? step - first : first;
			const u8 *from = part ? ram_pointer(pa[i]) : NULL;

			if (part && from)
				copy(to, from, part);
			else if (part)
				device_read(c, pa[i], to, part);
			to += part;
		}
		if (my.operand_watched && !(access & (VM_FETCH | VM_SYSTEM)) && exchangeable(va, step)) {
			my.operand_va = va;
			my.operand_n = step;
			__builtin_memcpy(my.operand, to - step, step);
		}
		va += step;
		n -= step;
	}
	return 0;
}

int vmem_write(struct cpu *c, gva_t address, const void *buffer, size_t n, u32 access)
{
	const u8 *from = buffer;
	u64 va = address.v, pa[2];

	while (n) {
		size_t step = MIN(n, (size_t)PAGE_SIZE), first = MIN(step, (size_t)(PAGE_SIZE - (va & ~PAGE_MASK)));

		if (translate(c, va, step, access | PF_W, pa))
			return -1;
		if (debug_on(c) && !(access & VM_SYSTEM))
			debug_access(c, va, step, true);
		if (my.operand_watched && is_operand(va, pa, step))
			return write_back(c, va, pa, from, step) ? 0 : -1;
		for (int i = 0; i < 2; i++) {
			size_t part = i ? step - first : first;
			u8 *to = part ? ram_pointer(pa[i]) : NULL;

			if (to) {
				bool locked = frame_write_begin(pa[i]); /* B5 */

				copy(to, from, part);
				frame_write_end(locked);
				memory_written(c, pa[i], part);
			} else if (part) {
				device_write(c, pa[i], from, part);
			}
			from += part;
		}
		va += step;
		n -= step;
	}
	return 0;
}

void operand_watch(void)
{
	my.operand_watched = smp();
	my.operand_n = 0;
	my.operand_lost = false;
}

bool operand_lost(void)
{
	bool lost = my.operand_watched && my.operand_lost;

	my.operand_watched = false;
	return lost;
}

u64 host_tsc(void) { return host_rdtsc(); }

u64 ns_at(u64 tsc)
{
	return SH->ns_base + (u64)(((unsigned __int128)(tsc - SH->tsc_base) * SH->tsc_mult) >> 32);
}

u64 now_ns(void) { return ns_at(host_rdtsc()); }

/* Moves what the port sent into the ring, as far as it has room. */
static u32 fill_output(struct ring *r)
{
	u32 head = r->head, tail = r->tail, n = 0;

	while (head - tail < RING_SIZE) {
		u32 at = head % RING_SIZE;
		size_t room = MIN(RING_SIZE - at, RING_SIZE - (head - tail));
		size_t got = legacy_uart_transmit(&SH->legacy, r->bytes + at, room);

		if (!got)
			break;
		head += (u32)got;
		n += (u32)got;
	}
	r->head = head;
	return n;
}

/* What does not fit waits in the port, whose guest may sleep until it is gone: the front-end kicks when there is room. */
static void push_output(void)
{
	struct ring *r = &SH->tx;
	u32 n = fill_output(r);

	if (legacy_uart_sending(&SH->legacy)) {
		SH->tx_waits = 1;
		/* Either the front-end sees that, or this what it has taken. */
		n += fill_output(r);
	}
	if (!n)
		return;
	if (atomic_fetch_add(&SH->output, 1) & 0x80000000u) {
		atomic_fetch_and(&SH->output, 0x7fffffffu);
		futex_wake(&SH->output);
	}
}

void io_poll_output(void)
{
	if (legacy_uart_sending(&SH->legacy))
		push_output();
}

void io_poll_input(void)
{
	struct ring *r = &SH->rx;
	u32 head = r->head, tail = r->tail;

	while (tail != head && legacy_uart_listening(&SH->legacy)) {
		u32 at = tail % RING_SIZE;
		size_t n = legacy_uart_receive(&SH->legacy, r->bytes + at, MIN(head - tail, RING_SIZE - at));

		if (!n)
			break;
		tail += (u32)n;
	}
	r->tail = tail;
}

static void after_io(void)
{
	u32 events = legacy_events(&SH->legacy);

	if (events & LEGACY_TX)
		push_output();
	if (events & LEGACY_POWEROFF)
		monitor_end(MEND_POWEROFF);
	if (events & LEGACY_RESET)
		monitor_end(MEND_RESET);
	if (events & LEGACY_EXIT)
		monitor_end(MEND_EXIT);
}

/* The first vCPU takes the legacy devices' interrupts and keeps their time. */
static void tell_first(void)
{
	if (VCPU->number)
		vcpu_kick(0);
}

u32 io_in(struct cpu *c, u16 port, int size)
{
	u32 v;

	(void)c;
	if (device_port(port, size, false, &v))
		return v;
	device_lock();
	v = legacy_io_read(&SH->legacy, port, size, now_ns());
	io_poll_input();
	after_io();
	device_unlock();
	tell_first();
	SPILL_K->pending = 1;
	return v;
}

void io_out(struct cpu *c, u16 port, int size, u32 value)
{
	(void)c;
	if (device_port(port, size, true, &value))
		return;
	device_lock();
	legacy_io_write(&SH->legacy, port, size, value, now_ns());
	after_io();
	device_unlock();
	tell_first();
	/* A deadline or a line may have changed. */
	SPILL_K->pending = 1;
}

/* struct pvclock_vcpu_time_info and pvclock_wall_clock of the KVM paravirtual interface. */
struct pvclock {
	u32 version, pad;
	u64 tsc_timestamp, system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags, pad2[2];
};
#define PVCLOCK_TSC_STABLE 1
#define PVCLOCK_GUEST_STOPPED 2

void clock_write_system_time(struct cpu *c, gpa_t page)
{
	struct pvclock *p = ram_pointer(page.v & ~3ull);
	u64 tsc = host_rdtsc(), mult = SH->tsc_mult;
	int shift = 0;

	if (!p || !ram_pointer((page.v & ~3ull) + sizeof *p))
		return;
	while (mult > 0xffffffff) {
		mult >>= 1;
		shift++;
	}
	while (!(mult & 0x80000000u) && shift > -31) {
		mult <<= 1;
		shift--;
	}
	p->version |= 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	p->tsc_timestamp = tsc + c->tsc_offset;
	p->system_time = ns_at(tsc);
	p->tsc_to_system_mul = (u32)mult;
	p->tsc_shift = (s8)shift;
	p->flags = PVCLOCK_TSC_STABLE;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	p->version++;
	memory_written(c, page.v & ~3ull, sizeof *p);
}

void clock_note_stopped(struct cpu *c, u64 msr)
{
	u64 page = msr & ~3ull;
	struct pvclock *p = ram_pointer(page);

	if (!(msr & 1) || !p || !ram_pointer(page + sizeof *p))
		return;
	__atomic_fetch_or(&p->flags, PVCLOCK_GUEST_STOPPED, __ATOMIC_SEQ_CST);
	memory_written(c, page, sizeof *p);
}

void clock_write_wall_clock(struct cpu *c, gpa_t page)
{
	u32 *p = ram_pointer(page.v);
	/* Wall-clock time at system_time 0. */
	u64 at = (u64)SH->utc_offset;

	if (!p || !ram_pointer(page.v + 12))
		return;
	p[0] |= 1;
	p[1] = (u32)(at / 1000000000u);
	p[2] = (u32)(at % 1000000000u);
	p[0]++;
	memory_written(c, page.v, 12);
}
