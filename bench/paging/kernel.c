/* SPDX-License-Identifier: MIT
 * The kernel of penumbra bench paging: console, command line, exceptions.
 *
 * Words on the command line: only=NAME[+NAME...], scale=PER_CENT, int3 (user code ends with
 * INT3 instead of SYSCALL, which one emulating kvm does not execute rightly).  Ends through port 0xf4 (debug exit): 0x10 well, 0x11 not. */
#include "kernel.h"

#include "bench/paging_workloads.h"

struct figures F;
u64 checksum, stale, clock_overhead, scale = 100;
bool leave_by_interrupt;
static u64 began, random_state;
static const char *only, *running;

void kernel_main(u64 start_info);
void kernel_trap(u64 vector, u64 error, u64 rip);

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }

static void print_char(char c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, (u8)c);
}

void print(const char *s)
{
	while (*s)
		print_char(*s++);
}

void print_number(u64 v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		print_char(digits[--n]);
}

void finish(bool good)
{
	outb(0xf4, good ? 0x10 : 0x11);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void panic(const char *why, u64 value)
{
	print("paging failed: ");
	print(why);
	print(" ");
	print_number(value);
	print("\n");
	finish(false);
}

void kernel_trap(u64 vector, u64 error, u64 rip)
{
	u64 address;

	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	if (vector == 14 && page_fault(error, address))
		return;
	print("vector ");
	print_number(vector);
	print(" error ");
	print_number(error);
	print(" address ");
	print_number(address);
	panic(" at", rip);
}

u64 scaled(u64 base, u64 least) { return MAX(base * scale / 100, least); }

u64 rnd(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return random_state >> 33;
}

static void print_count(const char *name, const struct count *c)
{
	print(" ");
	print(name);
	print("=");
	print_number(c->n);
	print(" ");
	print(name);
	print("_cycles=");
	print_number(c->cycles > 0 ? (u64)c->cycles : 0);
}

void workload_begin(void)
{
	F = (struct figures){ 0 };
	began = rdtsc();
}

void workload_end(void)
{
	u64 cycles = rdtsc() - began;

	print("paging ");
	print(running);
	print(" cycles=");
	print_number(cycles);
#define FIGURE_PRINT(symbol, words) print_count(#symbol, &F.symbol);
	PAGING_FIGURES(FIGURE_PRINT)
#undef FIGURE_PRINT
	print(" checksum=");
	print_number(checksum);
	print(" stale=");
	print_number(stale);
	print("\n");
	if (stale)
		panic("user mode read what the tables do not say; pages:", stale);
}

/* The mean of what lies between two readings; those that something came between do not count. */
static void measure_clock(void)
{
	u64 least = ~0ull, sum = 0, n = 0, took[256];

	for (int round = 0; round < 2; round++) { /* the first time the code is new */
		for (size_t i = 0; i < ARRAY_SIZE(took); i++) {
			u64 from = rdtsc();

			took[i] = rdtsc() - from;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(took); i++)
		least = MIN(least, took[i]);
	for (size_t i = 0; i < ARRAY_SIZE(took); i++)
		if (took[i] <= 2 * least + 100) {
			sum += took[i];
			n++;
		}
	clock_overhead = (sum + n / 2) / n;
}

/* Whether `list` (words separated by "+") has `name`. */
static bool listed(const char *list, const char *name)
{
	while (*list && *list != ' ') {
		const char *n = name;

		while (*n && *list == *n)
			list++, n++;
		if (!*n && (!*list || *list == '+' || *list == ' '))
			return true;
		while (*list && *list != ' ' && *list != '+')
			list++;
		list += *list == '+';
	}
	return false;
}

static const char *after(const char *line, const char *word)
{
	for (; *line; line++) {
		const char *l = line, *w = word;

		while (*w && *l == *w)
			l++, w++;
		if (!*w)
			return l;
	}
	return NULL;
}

static void read_command_line(const char *line)
{
	const char *number = after(line, "scale=");

	only = after(line, "only=");
	leave_by_interrupt = after(line, "int3");
	if (!number)
		return;
	scale = 0;
	while (*number >= '0' && *number <= '9')
		scale = scale * 10 + (u64)(*number++ - '0');
}

void kernel_main(u64 start_info)
{
	u32 line = *(const u32 *)at(start_info + 24);

	if (line)
		read_command_line(at(line));
	memory_init(start_info);
	measure_clock();
	for (int i = 0; i < workload_count; i++) {
		running = workloads[i].name;
		if (only && !listed(only, running))
			continue;
		checksum = stale = 0;
		random_state = 1;
		memory_restart();
		workloads[i].run();
	}
	print("paging end\n");
	finish(true);
}
