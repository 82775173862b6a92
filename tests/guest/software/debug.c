/* SPDX-License-Identifier: MIT
 * Breakpoint registers and single steps as a program sees them; run in a guest and on the host, the output
 * must be the same.  Every line names what was tried and what the processor reported: DR6, and where the
 * traps stood, as labels or offsets that do not depend on where anything was loaded. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

struct buffer { char before[4096]; volatile uint64_t words[512]; char after[4096]; };
struct buffer page __attribute__((aligned(4096)));
static int channel[2];

/* ---- watchpoints and breakpoints, set by a tracer ---- */

static void use_scalar(void) { page.words[2] = 5; }
static void use_byte(void) { ((volatile char *)page.words)[19] = 1; }
static void use_neighbour(void) { page.words[3] = 5; page.words[1] = 6; }
static void use_read(void) { (void)page.words[2]; }
static void use_add(void) { page.words[2] += 3; }
static void use_xchg(void) { __atomic_exchange_n(&page.words[2], 7, __ATOMIC_SEQ_CST); }
static void use_cmpxchg16(void)
{
	__asm__ volatile("lock cmpxchg16b %0" : "+m"(*(__int128 *)&page.words[2])
			 : "a"(0l), "d"(0l), "b"(1l), "c"(2l) : "cc", "memory");
}
static void use_sse(void) { __asm__ volatile("movdqu %%xmm0, %0" : "=m"(*(char(*)[16])&page.words[1])); }
static void use_sse_read(void) { __asm__ volatile("movdqu %0, %%xmm1" : : "m"(*(char(*)[16])&page.words[1]) : "xmm1"); }
static void use_x87(void) { __asm__ volatile("fldpi; fstpt %0" : "=m"(*(char(*)[10])((char *)page.words + 12))); }
static void use_fxsave(void) { __asm__ volatile("fxsave64 %0" : "=m"(*(char(*)[512])(page.words))); }
static void use_unaligned(void) { __asm__ volatile("movq %1, %0" : "=m"(*(uint64_t *)((char *)page.words + 13)) : "r"(1l)); }
static void use_rep(void)
{
	void *to = (void *)page.words;
	const void *from = page.after;
	long n = 5;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static void use_push(void)
{
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push $1; pop %%rax; mov %%rbx, %%rsp"
			 : : "r"(&page.words[3]) : "rax", "rbx", "memory");
}
static void use_kernel(void)
{
	if (write(channel[1], "12345678", 8) != 8 || read(channel[0], (void *)&page.words[2], 8) != 8)
		_exit(9);
}
static void use_kernel_read(void)
{
	char b[8];

	if (write(channel[1], (void *)&page.words[2], 8) != 8 || read(channel[0], b, 8) != 8)
		_exit(9);
}
__attribute__((noinline, noclone)) static void callee(void) { __asm__ volatile(""); }
static void use_call(void) { for (int i = 0; i < 3; i++) callee(); }
static void use_loop(void) { for (volatile int i = 0; i < 100000; i++) ; page.words[2] = 1; }

static const struct { const char *name; void (*run)(void); } uses[] = {
	{ "scalar", use_scalar }, { "byte", use_byte }, { "neighbour", use_neighbour }, { "read", use_read },
	{ "add", use_add }, { "xchg", use_xchg }, { "cmpxchg16b", use_cmpxchg16 }, { "sse", use_sse },
	{ "sse read", use_sse_read }, { "x87", use_x87 }, { "fxsave", use_fxsave }, { "unaligned", use_unaligned },
	{ "rep", use_rep }, { "push", use_push }, { "kernel", use_kernel }, { "kernel read", use_kernel_read },
	{ "call", use_call }, { "loop", use_loop },
};

static void set_dr(pid_t pid, int n, uint64_t value)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[n]), value))
		printf("DR%d: %s\n", n, strerror(errno));
}
static uint64_t get_dr(pid_t pid, int n)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[n]), 0);
}

static void watch(size_t use, const char *how, uint64_t address, uint64_t dr7)
{
	pid_t pid = fork();
	int status, hits = 0;
	uint64_t dr6 = 0;

	if (!pid) {
		memset((void *)page.words, 0, sizeof page.words);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		uses[use].run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	set_dr(pid, 0, address);
	set_dr(pid, 7, dr7);
	set_dr(pid, 6, 0);
	for (;;) {
		ptrace(PTRACE_CONT, pid, 0, 0);
		if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) != SIGTRAP) {
			printf("signal %d ", WSTOPSIG(status));
			kill(pid, SIGKILL);
			continue;
		}
		hits++;
		dr6 |= get_dr(pid, 6) & 0xf;
		set_dr(pid, 6, 0);
	}
	printf("%s %s: %d hits, dr6 %llx, end %x\n", uses[use].name, how, hits, (unsigned long long)dr6, status);
}

/* ---- single steps that a program makes of itself ---- */

static uint64_t stops[256];
static int n_stops;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	if (n_stops < 256)
		stops[n_stops++] = (uint64_t)u->uc_mcontext.gregs[REG_RIP] | (uint64_t)(info->si_code & 0xff) << 56;
}

#define STEP(name, code, ...)                                                                                     \
	do {                                                                                                      \
		uint64_t from;                                                                                    \
		n_stops = 0;                                                                                      \
		__asm__ volatile("lea 1f(%%rip), %0; sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; 1: " code \
				 "; 2: pushfq; andq $~0x100, (%%rsp); popfq; nop; add $128, %%rsp"                \
				 : "=&r"(from) : : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r11", "cc", "memory"); \
		printf("step %s:", name);                                                                         \
		for (int i = 0; i < n_stops; i++)                                                                 \
			printf(" %d/%d", (int)((stops[i] << 8 >> 8) - from), (int)(stops[i] >> 56));              \
		printf("\n");                                                                                     \
	} while (0)

static void steps(void)
{
	struct sigaction a = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &a, NULL);
	STEP("plain", "nop; inc %%eax; lea 8(%%rax), %%rbx; test %%eax, %%eax; jz 3f; nop; 3:");
	STEP("branches", "mov $3, %%ecx; 3: loop 3b; call 4f; jmp 5f; 4: ret; 5: jmp 6f; nop; 6:");
	STEP("indirect", "lea 3f(%%rip), %%rax; jmp *%%rax; nop; 3: lea 4f(%%rip), %%rax; call *%%rax; jmp 5f; 4: ret; 5:");
	STEP("system call", "mov $39, %%eax; syscall; nop; nop");
	STEP("rep", "lea page(%%rip), %%rdi; mov $4, %%ecx; rep stosb; nop");
	STEP("rep of nothing", "lea page(%%rip), %%rdi; xor %%ecx, %%ecx; rep stosb; nop");
	STEP("load of SS", "mov %%ss, %%eax; mov %%eax, %%ss; nop; nop");
	STEP("popf", "pushfq; popfq; nop");
	STEP("pushf shows TF", "pushfq; pop %%rax; and $0x100, %%eax; jz 3f; nop; nop; 3:");
	STEP("int3", "int3; nop");
	STEP("icebp", ".byte 0xf1; nop");
	STEP("cpuid and rdtsc", "xor %%eax, %%eax; cpuid; rdtsc; nop");
	STEP("vector", "pxor %%xmm0, %%xmm0; movdqu %%xmm0, page(%%rip); nop");
	STEP("touches a fresh page", "mov $9, %%eax; xor %%edi, %%edi; mov $4096, %%esi; mov $3, %%edx; mov $0x22, %%r10d;"
				     "mov $-1, %%r8; xor %%r9d, %%r9d; syscall; movl $1, (%%rax); nop");
}

int main(void)
{
	uint64_t word = (uint64_t)&page.words[2];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pipe(channel))
		return 1;
	for (size_t u = 0; u < sizeof uses / sizeof uses[0]; u++) {
		if (u == 0 || strcmp(uses[u].name, "call")) {
			watch(u, "write 8", word, 1 | 9ull << 16);
			watch(u, "access 8", word, 1 | 11ull << 16);
			watch(u, "write 1", word + 3, 1 | 1ull << 16);
			watch(u, "access 2", word + 2, 1 | 7ull << 16);
			watch(u, "write 4", word + 4, 1 | 13ull << 16);
		}
	}
	for (size_t u = 0; u < sizeof uses / sizeof uses[0]; u++)
		watch(u, "execute", (uint64_t)(strcmp(uses[u].name, "call") ? uses[u].run : callee), 1);
	steps();
	return 0;
}
