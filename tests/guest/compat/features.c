/* SPDX-License-Identifier: MIT
 * What 32-bit programs do beyond single instructions: control flow of every kind, signals, threads with
 * thread-local storage, system calls by each door, code that changes itself, floating point, segments.
 * Prints the same on every processor and system that is right. */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SAY(...) (printf(__VA_ARGS__), fflush(stdout))

static uint32_t sum(const void *data, size_t n)
{
	const uint8_t *b = data;
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h;
}

void flow(uint32_t *results);

static void test_flow(void)
{
	uint32_t r[64] = { 0 };

	flow(r);
	for (int i = 0; i < 40; i++)
		SAY("%s%x", i % 10 ? " " : "\nflow ", r[i]);
	SAY("\n");
}

/* ---- decimal adjustment, from every AL and flags; the flags that are defined ---- */

#define DECIMAL(name, code, flags)                                                                    \
	do {                                                                                          \
		uint32_t h = 0;                                                                       \
		for (uint32_t i = 0; i < 4096; i++) {                                                 \
			uint32_t ax = i & 0x3ff, f = 2 | (i >> 10 & 1) | (i >> 7 & 0x10);             \
			__asm__ volatile("push %1; popf; " code "; pushf; pop %1" : "+a"(ax), "+r"(f) : : "cc"); \
			h = h * 16777619u + ax + ((f & (flags)) << 16);                               \
		}                                                                                     \
		SAY("%s %08x\n", name, h);                                                            \
	} while (0)

static void test_decimal(void)
{
	DECIMAL("daa", "daa", 0xd5);
	DECIMAL("das", "das", 0xd5);
	DECIMAL("aaa", "aaa", 0x11);
	DECIMAL("aas", "aas", 0x11);
	DECIMAL("aam", "aam", 0xc4);
	DECIMAL("aad", "aad", 0xc4);
	DECIMAL("salc", ".byte 0xd6", 0xd5);
}

/* ---- what compilers make ---- */

static int by_value(const void *a, const void *b) { return memcmp(a, b, 8); }
static double (*volatile functions[])(double) = { sin, cos, exp, log1p, sqrt, atan, cbrt, floor };

static void test_compiled(void)
{
	static uint64_t v[2000];
	uint64_t x = 88172645463325252ull, y = 1;
	double d = 0;
	float f = 0;
	long double l = 1;

	for (unsigned i = 0; i < 2000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		v[i] = x;
		y = y * (x | 1) + x / (i + 3) - x % (i * 7 + 11);
		d += functions[i % 8]((double)(i % 100) / 10);
		f = f * 0.75f + (float)(int32_t)x / 3;
		l = l * 1.0001L + 1 / (1 + l);
		switch (x % 13) {
		case 0: y += 3; break;
		case 1: y ^= 0x5555; break;
		case 2: y -= x; break;
		case 5: y = ~y; break;
		case 7: y <<= 3; break;
		case 9: y = y >> 5 | y << 59; break;
		case 11: y += (uint64_t)(int64_t)(d * 1000); break;
		default: y++;
		}
	}
	qsort(v, 2000, 8, by_value);
	char text[200];
	snprintf(text, sizeof text, "%llx %.12g %.7g %.15Lg", (unsigned long long)y, d, (double)f, l);
	SAY("compiled %08x %s\n", sum(v, sizeof v), text);
}

/* ---- signals ---- */

static sigjmp_buf jump;
static volatile int caught, code;
static volatile uint32_t address, trap, eip, saved[8];
extern uint8_t fault_site[], fault_after[];

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	caught = sig;
	code = info->si_code;
	address = (uint32_t)info->si_addr;
	trap = (uint32_t)(g[REG_TRAPNO] << 8 | g[REG_ERR]);
	eip = (uint32_t)g[REG_EIP];
	for (int i = 0; i < 8; i++)
		saved[i] = (uint32_t)g[REG_EDI + i];
	siglongjmp(jump, 1);
}

#define TRY(name, statement)                                                                          \
	do {                                                                                          \
		caught = 0;                                                                           \
		if (!sigsetjmp(jump, 1)) {                                                            \
			statement;                                                                    \
		}                                                                                     \
		SAY("%s: signal %d code %d trap %x", name, caught, code, trap);                      \
		if (caught == SIGSEGV)                                                                \
			SAY(" address %x", address);                                                  \
		SAY("\n");                                                                           \
	} while (0)

static volatile int zero;
static int *volatile low = (int *)16;
static volatile int steps, last_step;

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	steps++;
	last_step = info->si_code;
	if (steps == 40)
		uc->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}

static void on_count(int sig) { (void)sig; steps++; }

static __attribute__((noinline)) uint32_t spin(void)
{
	uint32_t y = 12345;

	for (int i = 0; i < 100000; i++) {
		y = y * 1664525 + 1013904223;
		__asm__ volatile("push %0; pusha; popa; pop %0" : "+r"(y));
	}
	return y;
}

static void test_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK }, counter = { .sa_handler = on_count };
	uint8_t *page = mmap((void *)0x30000000, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	static uint8_t stack[65536];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof stack };

	sigaltstack(&alt, NULL);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &sa, NULL);
	munmap(page + 4096, 4096);
	TRY("read", *(volatile int *)(page + 4096));
	TRY("write across", *(volatile int *)(page + 4094) = 1);
	TRY("null", *low = 1);
	TRY("kernel", *(volatile int *)0xffffe000);
	TRY("divide", zero = 5 / zero);
	TRY("overflow", __asm__ volatile("mov $0x80000000, %%eax; cltd; mov $-1, %%ecx; idiv %%ecx" ::: "eax", "ecx", "edx"));
	TRY("undefined", __asm__ volatile("ud2"));
	TRY("breakpoint", __asm__ volatile("int3"));
	TRY("icebp", __asm__ volatile(".byte 0xf1"));
	TRY("into", __asm__ volatile("mov $0x7fffffff, %%eax; inc %%eax; into" ::: "eax"));
	TRY("bound", __asm__ volatile("push $5; push $2; mov $6, %%eax; bound %%eax, (%%esp)" ::: "eax"));
	TRY("privileged", __asm__ volatile("hlt"));
	TRY("port", __asm__ volatile("in $0x80, %%al" ::: "eax"));
	TRY("bad selector", __asm__ volatile("mov %0, %%fs" : : "r"(0x1234)));
	TRY("bad gate", __asm__ volatile("int $0x33"));
	TRY("stack", __asm__ volatile("mov $0x20, %%esp; push %%eax" ::: "eax"));
	TRY("jump to nothing", ((void (*)(void))0x31000000)());
	TRY("jump to data", ((void (*)(void))page)());
	TRY("sse alignment", __asm__ volatile("movaps %%xmm0, 4(%0)" : : "r"(page)));
	TRY("fpu", __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"((const short){ 0x37b })));
	__asm__ volatile("fninit");
	TRY("simd", __asm__ volatile("ldmxcsr %0; divss %%xmm1, %%xmm0" : : "m"((const int){ 0x1d00 })));
	__asm__ volatile("ldmxcsr %0" : : "m"((const int){ 0x1f80 }));

	/* All registers at a fault are those of the program. */
	caught = 0;
	if (!sigsetjmp(jump, 1))
		__asm__ volatile("mov $0x11111111, %%ecx; mov $0x22222222, %%edx; mov $0x33333333, %%ebx\n"
				 "	mov $0x30000ff8, %%esi; mov $0x44444444, %%edi; mov $0x30000ffc, %%eax\n"
				 "	mov $3, %%ecx; cld; mov $0x30000f00, %%edi; xchg %%esi, %%edi\n"
				 "	.globl fault_site\n"
				 "fault_site: rep movsl\n" ::: "eax", "ebx", "ecx", "edx", "esi", "edi", "memory");
	SAY("rep movs stopped at %d: edi %x esi %x ebx %x edx %x ecx %x eax %x\n", (int)(eip - (uint32_t)fault_site), saved[0],
	    saved[1], saved[4], saved[5], saved[6], saved[7]);

	/* Single steps through code with calls and returns. */
	sa.sa_sigaction = on_step;
	sigaction(SIGTRAP, &sa, NULL);
	steps = 0;
	__asm__ volatile("pushf; orl $0x100, (%%esp); popf\n"
			 "	mov $30, %%ecx\n"
			 "1:	call 2f\n"
			 "	dec %%ecx\n"
			 "	jnz 1b\n"
			 "	jmp 3f\n"
			 "2:	push %%eax; pop %%eax; ret\n"
			 "3:\n" ::: "ecx", "memory", "cc");
	SAY("steps %d code %d\n", steps, last_step);

	/* Asynchronous signals while registers are in use. */
	sigaction(SIGALRM, &counter, NULL);
	struct timespec start, now;
	uint32_t x = 1, y = spin();
	timer_t timer;
	struct itimerspec often = { { 0, 2000000 }, { 0, 2000000 } };

	steps = 0;
	timer_create(CLOCK_MONOTONIC, NULL, &timer);
	timer_settime(timer, 0, &often, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		x &= spin() == y;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (steps < 50);
	timer_delete(timer);
	SAY("alarms: %s %s\n", steps >= 50 ? "came" : "missing", x ? "unnoticed" : "disturbed");
	signal(SIGALRM, SIG_DFL);
}

/* ---- threads ---- */

static __thread uint32_t mine = 1, other[16];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t shared, atomic;

static void *thread(void *arg)
{
	uint32_t me = (uint32_t)arg;

	for (uint32_t i = 0; i < 5000; i++) {
		mine = mine * 31 + me;
		other[i % 16] += mine;
		__atomic_fetch_add(&atomic, 1, __ATOMIC_SEQ_CST);
		pthread_mutex_lock(&lock);
		shared += i;
		pthread_mutex_unlock(&lock);
		if (i % 500 == 0)
			sched_yield();
	}
	errno = (int)me;
	usleep(1000);
	return (void *)(sum(other, sizeof other) ^ (uint32_t)errno);
}

static void test_threads(void)
{
	pthread_t t[6];
	uint32_t all = 0;

	for (uint32_t i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, thread, (void *)(i + 1));
	for (uint32_t i = 0; i < 6; i++) {
		void *r;

		pthread_join(t[i], &r);
		all = all * 33 + (uint32_t)r;
	}
	SAY("threads %08x shared %u atomic %u mine %u\n", all, shared, atomic, mine);
}

/* ---- system calls ---- */

static uint32_t int80(uint32_t nr, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t r, ecx = b, edx = c;

	__asm__ volatile("int $0x80" : "=a"(r), "+c"(ecx), "+d"(edx) : "0"(nr), "b"(a) : "memory");
	return r ^ (ecx != b) ^ (edx != c);
}

/* Through the kernel's own entry: SYSENTER or SYSCALL, as the processor has it. */
static uint32_t vsyscall(uint32_t nr, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t r;

	__asm__ volatile("call *%%gs:0x10" : "=a"(r) : "0"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}

static void test_calls(void)
{
	struct timespec a, b, c;
	time_t wall = time(NULL);
	int ordered = 1, status;
	pid_t child;

	SAY("int 0x80: %d %d\n", int80(SYS_getpid, 0, 0, 0) == (uint32_t)getpid(), (int)int80(SYS_write, 99, 0, 0));
	SAY("vdso call: %d %d\n", vsyscall(SYS_getpid, 0, 0, 0) == (uint32_t)getpid(), (int)vsyscall(SYS_close, 98, 0, 0));
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 1000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec))
			ordered = 0;
		a = b;
	}
	clock_gettime(CLOCK_REALTIME, &c);
	SAY("clock: %s %s\n", ordered ? "ordered" : "backwards", c.tv_sec - wall < 5 ? "near" : "far");
	child = fork();
	if (!child)
		_exit((int)(mine + 41));
	waitpid(child, &status, 0);
	SAY("child: %d\n", WEXITSTATUS(status));
}

/* ---- code that changes ---- */

static void test_changing(void)
{
	uint8_t *code_page = mmap((void *)0x32000000, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	uint32_t total = 0;
	/* mov eax, imm; add [esp+4]; ret */
	static const uint8_t body[] = { 0xb8, 0, 0, 0, 0, 0x03, 0x44, 0x24, 0x04, 0xc3 };
	/* movb $imm, (next+1); mov $0, %al -> the instruction behind is changed; ret */
	static const uint8_t self[] = { 0x8a, 0x44, 0x24, 0x04, 0xa2, 0x0a, 0x11, 0, 0x32, 0xb0, 0, 0x0f, 0xb6, 0xc0, 0xc3 };

	/* Across the border of two pages, too. */
	for (uint32_t at = 0; at < 8192 - sizeof body; at += 4090) {
		memcpy(code_page + at, body, sizeof body);
		for (uint32_t i = 0; i < 300; i++) {
			memcpy(code_page + at + 1, &i, 4);
			total += ((uint32_t (*)(uint32_t))(code_page + at))(i * 3);
		}
	}
	memcpy(code_page + 0x1100, self, sizeof self);
	for (uint32_t i = 0; i < 300; i++)
		total = total * 5 + ((uint32_t (*)(uint32_t))(code_page + 0x1100))(i);
	SAY("changing code %u\n", total);
}

/* ---- segments ---- */

static void set_area(unsigned *entry, uint32_t base, uint32_t limit, int pages)
{
	struct user_desc u = { .entry_number = *entry, .base_addr = base, .limit = limit, .seg_32bit = 1,
		.limit_in_pages = (unsigned)pages, .useable = 1 };

	if (syscall(SYS_set_thread_area, &u))
		SAY("set_thread_area: %s\n", strerror(errno));
	*entry = u.entry_number;
}

static void test_segments(void)
{
	static uint32_t data[64];
	unsigned entry = (unsigned)-1;
	uint32_t a, b, c, d;
	uint16_t cs, ds, old_ds;

	for (int i = 0; i < 64; i++)
		data[i] = (uint32_t)i * 0x01010101;
	set_area(&entry, (uint32_t)&data[16], 0xfffff, 1);
	__asm__ volatile("mov %%cs, %0; mov %%ds, %1" : "=r"(cs), "=r"(ds));
	__asm__ volatile("mov %4, %%fs\n"
			 "	mov %%fs:8, %0\n"
			 "	mov $-4, %%ecx\n"
			 "	mov %%fs:(%%ecx), %1\n"        /* wraps below the base */
			 "	mov $3, %%ecx\n"
			 "	mov %%fs:4(%%ecx,%%ecx,8), %2\n"
			 "	addl $1, %%fs:(,%%ecx,4)\n"
			 "	mov $8, %%ecx\n"
			 "	mov %%fs:(%%ecx), %%ah\n"
			 "	movzbl %%ah, %3\n"
			 : "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d) : "r"((uint16_t)(entry * 8 + 3)) : "eax", "ecx", "memory");
	SAY("segments: cs %x ds %x fs %x: %x %x %x %x, %x\n", cs, ds, entry * 8 + 3, a, b, c, d, data[19]);

	/* DS with a base: every access of compiled code would move, so only these do. */
	set_area(&entry, (uint32_t)data, 0xff, 0);
	__asm__ volatile("mov %%ds, %3\n"
			 "	mov %4, %%ds\n"
			 "	mov $8, %%ecx\n"
			 "	mov (%%ecx), %0\n"
			 "	addl $5, 4(%%ecx)\n"
			 "	mov 4(%%ecx), %1\n"
			 "	push %%eax\n"
			 "	mov $0x77, %%eax\n"
			 "	mov %%eax, 0x20\n"
			 "	pop %%eax\n"
			 "	lea 1(%%ecx), %2\n"
			 "	mov %3, %%ds\n"
			 : "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(old_ds) : "r"((uint16_t)(entry * 8 + 3)) : "eax", "ecx", "memory");
	SAY("ds with a base: %x %x %x %x\n", a, b, c, data[8]);
	caught = 0;
	if (!sigsetjmp(jump, 1))
		__asm__ volatile("mov %0, %%fs; mov %%fs:0xfe, %%eax" : : "r"((uint16_t)(entry * 8 + 3)) : "eax");
	SAY("beyond the limit: signal %d\n", caught);
	__asm__ volatile("mov %0, %%es; mov %0, %%ds" : : "r"(ds));
}

int main(void)
{
	test_flow();
	test_decimal();
	test_compiled();
	test_signals();
	test_threads();
	test_calls();
	test_changing();
	test_segments();
	SAY("done\n");
	return 0;
}
