/* SPDX-License-Identifier: MIT
 * See other.h.  Intel SDM vol. 3A: 9.4 (starting processors), 11.6 (interrupts between them). */
#include "other.h"

#define START 0x8000 /* what lies there is nothing again, once it has started */
#define LAPIC(r) (*(volatile u32 *)(VIRT + 0xfee00000ull + (r)))
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define ICR_LOW 0x300
#define ICR_HIGH 0x310
#define ICR_PENDING 0x1000
#define ICR_FIXED 0x4000u
#define ALL_OTHERS_INIT 0xc4500
#define ALL_OTHERS_START (0xc4600 | START >> 12)
#define INIT_CYCLES 20000000ull     /* 10 ms are asked for */
#define START_CYCLES 20000000000ull /* that a busy host gets to start it */

extern u8 other_start[], other_start_end[];

/* One for each way. */
static struct mail { struct order order; bool full; } mail[WAYS];
static bool halts, started;
static u64 first_root;

static void send(u32 to, u32 command)
{
	LAPIC(ICR_HIGH) = to << 24;
	LAPIC(ICR_LOW) = command;
	while (LAPIC(ICR_LOW) & ICR_PENDING)
		__asm__ volatile("pause");
}

static bool is_full(const struct mail *m) { return __atomic_load_n(&m->full, __ATOMIC_ACQUIRE); }

bool other_begin(u64 root)
{
	u64 end;

	first_root = root;
	__builtin_memcpy(DIRECT(START), other_start, (size_t)(other_start_end - other_start));
	LAPIC(APIC_SPURIOUS) = 0x1ff;
	send(0, ALL_OTHERS_INIT);
	for (end = timestamp() + INIT_CYCLES; timestamp() < end;)
		__asm__ volatile("pause");
	send(0, ALL_OTHERS_START);
	for (end = timestamp() + START_CYCLES; !__atomic_load_n(&started, __ATOMIC_ACQUIRE) && timestamp() < end;)
		__asm__ volatile("pause");
	__builtin_memset(DIRECT(START), 0, (size_t)(other_start_end - other_start));
	return started;
}

void other_post(enum way way, const struct order *o)
{
	mail[way].order = *o;
	__atomic_store_n(&mail[way].full, true, __ATOMIC_SEQ_CST);
	if (way == WAY_INTERRUPT || halts)
		send(1, ICR_FIXED | VEC_MESSAGE);
}

void other_wait(enum way way)
{
	while (is_full(&mail[way]))
		__asm__ volatile("pause");
}

void other_halts(bool on)
{
	__atomic_store_n(&halts, on, __ATOMIC_SEQ_CST);
	send(1, ICR_FIXED | VEC_MESSAGE);
}

/* ---- the second processor ---- */

static void serve(struct mail *m)
{
	if (!is_full(m))
		return;
	order_do(&m->order);
	/* A locked instruction: a store that bypasses the caches comes before it, too. */
	__atomic_store_n(&m->full, false, __ATOMIC_SEQ_CST);
}

void other_interrupted(void)
{
	serve(&mail[WAY_INTERRUPT]);
	LAPIC(APIC_EOI) = 0;
}

_Noreturn void other_main(void)
{
	processor_begin(1);
	order_do(&(struct order){ .kind = ORDER_CR3, .a = first_root });
	LAPIC(APIC_SPURIOUS) = 0x1ff;
	__atomic_store_n(&started, true, __ATOMIC_RELEASE);
	for (;;) {
		__asm__ volatile("sti; pause" : : : "memory");
		serve(&mail[WAY_POLLED]);
		__asm__ volatile("cli" : : : "memory");
		if (__atomic_load_n(&halts, __ATOMIC_ACQUIRE) && !is_full(&mail[WAY_POLLED]))
			__asm__ volatile("sti; hlt" : : : "memory");
	}
}
