/* SPDX-License-Identifier: MIT
 * Starts the other processors by INIT and start-up messages, has all of them count under a lock, sends interrupts to
 * each by every way of naming it, and halts them.  Its module is how many there are, in one digit.  Prints TAP and ends the run
 * through port 0xf4, or, where an 'h' follows the digit, by halting all processors; where an 's' does, all count for ever in R12,
 * with their number in RBX, the other bits of which spell "5eed". */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define LAPIC(r) (*(volatile u32 *)(0xfee00000ul + (r)))
#define ICR_LOW 0x300
#define ICR_HIGH 0x310
#define VECTOR 0x40
#define ROUNDS 2000u

extern u8 other_code[], other_end[];
void on_ipi(void);

volatile u32 ipis, ready, total, done;
static volatile u32 go, spinlock;
static struct { u16 low, selector, kind, middle; u32 high, zero; } idt[256];
static u32 processors;

static void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void put(const char *s)
{
	while (*s)
		outb(0x3f8, (u8)*s++);
}

static void put_number(u32 v)
{
	char text[12], *p = text + 11;

	*p = 0;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	put(p);
}

static void result(int good, const char *name, u32 got)
{
	put(good ? "ok " : "not ok ");
	put(name);
	if (!good) {
		put(": ");
		put_number(got);
	}
	put("\n");
}

static void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static void load_idt(void)
{
	struct __attribute__((packed)) { u16 limit; u64 base; } p = { sizeof idt - 1, (u64)idt };

	__asm__ volatile("lidt %0" : : "m"(p));
}

static u64 now(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

/* A bound on every wait: some seconds. */
static int wait_for(volatile u32 *what, u32 value)
{
	for (u64 end = now() + 60000000000ull; now() < end && *what != value;)
		__asm__ volatile("pause" : : : "memory");
	return *what == value;
}

static void count_up(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		while (__atomic_exchange_n(&spinlock, 1, __ATOMIC_ACQUIRE))
			__asm__ volatile("pause");
		total++;
		__atomic_store_n(&spinlock, 0, __ATOMIC_RELEASE);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void spin(u64 number)
{
	__asm__ volatile("mov %0, %%rbx; xor %%r12d, %%r12d; 1: inc %%r12; jmp 1b" : : "a"(0x5eed00 + number) : "rbx", "r12");
}

/* Each of the other processors. */
void other(void)
{
	u32 r[4];

	load_idt();
	LAPIC(0xf0) = 0x1ff;
	cpuid(1, 0, r);
	if (r[1] >> 24 != LAPIC(0x20) >> 24)
		result(0, "CPUID and the local APIC name a processor alike", r[1] >> 24);
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	while (!go)
		__asm__ volatile("pause");
	count_up();
	__asm__ volatile("sti");
	while (go < 2)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	if (go == 3)
		spin(r[1] >> 24);
}

static void send(u32 dest, u32 command)
{
	LAPIC(ICR_HIGH) = dest << 24;
	LAPIC(ICR_LOW) = command;
	while (LAPIC(ICR_LOW) & 0x1000)
		;
}

static void messages(void)
{
	u32 others = processors - 1;

	ipis = 0;
	send(0, 0xc4000 | VECTOR); /* all but itself */
	result(wait_for(&ipis, others), "an interrupt to all others", ipis);
	ipis = 0;
	for (u32 i = 1; i < processors; i++) {
		send(i, 0x4000 | VECTOR);
		wait_for(&ipis, i);
	}
	result(ipis == others, "an interrupt to each by its number", ipis);
	__asm__ volatile("sti");
	ipis = 0;
	send(0, 0x84000 | VECTOR); /* all */
	result(wait_for(&ipis, processors), "an interrupt to all", ipis);
	ipis = 0;
	send(0, 0x44000 | VECTOR);
	result(wait_for(&ipis, 1), "an interrupt to itself", ipis);
	__asm__ volatile("cli");
}

/* What leaf 0xb says must fit what started. */
static void topology(void)
{
	u32 r[4], bits;

	cpuid(0, 0, r);
	if (r[0] < 0xb)
		return;
	cpuid(0xb, 0, r);
	result((r[1] & 0xffff) == 1 && (r[2] >> 8 & 255) == 1, "one thread a core", r[1]);
	cpuid(0xb, 1, r);
	bits = r[0] & 31;
	result((r[1] & 0xffff) == processors && (r[2] >> 8 & 255) == 2 && (1u << bits) >= processors, "the cores of the package", r[1]);
}

struct pvh { u32 magic, version, flags, modules; u64 list; };
void kernel_main(const struct pvh *info)
{
	const char *module = info->modules ? (const char *)*(u64 *)info->list : "1";
	volatile u32 *started = (u32 *)0x7000;

	for (u32 i = 0; i < (u32)(other_end - other_code); i++)
		((volatile u8 *)0x8000)[i] = other_code[i];
	*started = 0;
	idt[VECTOR].low = (u16)(u64)on_ipi;
	idt[VECTOR].middle = (u16)((u64)on_ipi >> 16);
	idt[VECTOR].selector = 0x18;
	idt[VECTOR].kind = 0x8e00;
	load_idt();
	outb(0x21, 0xff), outb(0xa1, 0xff);
	LAPIC(0xf0) = 0x1ff;
	send(0, 0xc4500);                     /* INIT to all others */
	for (u64 end = now() + 20000000; now() < end;)
		;
	send(0, 0xc4608);                     /* they start at 0x8000 */
	processors = (u32)(module[0] - '0');
	result(wait_for(&ready, processors - 1), "the others start", ready);
	result(*started == ready, "none starts twice", *started);
	topology();
	go = 1;
	count_up();
	result(wait_for(&done, processors) && total == processors * ROUNDS, "they count together", total);
	messages();
	if (module[0] && module[1] == 'h') {
		put("halting\n");
		go = 2;
		__asm__ volatile("cli; hlt");
	}
	if (module[0] && module[1] == 's') {
		go = 3;
		put("spinning\n");
		spin(0);
	}
	outb(0xf4, 0x15);
}
