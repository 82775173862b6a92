/* SPDX-License-Identifier: MIT
 * Signals of all kinds with outcomes that do not depend on time: the same text natively and translated. */
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t count;
static sigjmp_buf back;
static volatile uintptr_t fault_at;
static volatile int fault_code;

static void install(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = { .sa_sigaction = f, .sa_flags = SA_SIGINFO | flags };

	sigaction(sig, &a, NULL);
}

static void on_fault(int sig, siginfo_t *info, void *u)
{
	(void)sig, (void)u;
	fault_at = (uintptr_t)info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

static void faults(void)
{
	volatile int *bad = (int *)16, zero = 0;
	char *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	install(SIGSEGV, on_fault, 0);
	install(SIGFPE, on_fault, 0);
	install(SIGILL, on_fault, 0);
	install(SIGTRAP, on_fault, 0);
	if (!sigsetjmp(back, 1))
		*bad = 1;
	printf("null write %lx %d\n", fault_at, fault_code);
	if (!sigsetjmp(back, 1))
		ro[5] = 1;
	printf("read-only %d %d\n", fault_at == (uintptr_t)ro + 5, fault_code);
	if (!sigsetjmp(back, 1))
		printf("%d\n", 1 / zero);
	printf("division %d\n", fault_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("ud2");
	printf("ud2 %d\n", fault_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("int3");
	printf("int3 %d\n", fault_code);
	if (!sigsetjmp(back, 1))
		((void (*)(void))ro)();
	printf("jump to data %d %d\n", fault_at == (uintptr_t)ro, fault_code);
	if (!sigsetjmp(back, 1))
		((void (*)(void))0)();
	printf("jump to null %lx %d\n", fault_at, fault_code);
	if (!sigsetjmp(back, 1))
		((void (*)(void))0x123456789000)();
	printf("jump far %lx %d\n", fault_at, fault_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("mov $0x8000000000000000, %%rax; mov (%%rax), %%rax" ::: "rax");
	printf("not canonical %lx %d\n", fault_at, fault_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("hlt");
	printf("hlt %lx %d\n", fault_at, fault_code);
}

/* Every register, at a fault in the middle of a sequence that uses them all. */
static greg_t seen[NGREG];
static void on_registers(int sig, siginfo_t *info, void *u)
{
	ucontext_t *uc = u;

	(void)sig, (void)info;
	memcpy(seen, uc->uc_mcontext.gregs, sizeof seen);
	uc->uc_mcontext.gregs[REG_RIP] += 5; /* the MOVB with its address prefix */
	uc->uc_mcontext.gregs[REG_R11] = 0x1111;
	uc->uc_mcontext.gregs[REG_RAX] = 0x2222;
}

static void registers(void)
{
	uint64_t rax, flags;

	install(SIGSEGV, on_registers, 0);
	__asm__ volatile(
		"push %%rbp; push %%rbx\n"
		"mov $1, %%rax; mov $2, %%rbx; mov $3, %%rcx; mov $4, %%rdx; mov $5, %%rsi; mov $6, %%rdi\n"
		"mov $8, %%r8; mov $9, %%r9; mov $10, %%r10; mov $11, %%r11; mov $12, %%r12; mov $13, %%r13\n"
		"mov $14, %%r14; mov $15, %%r15; mov $32, %%rbp\n"
		"cmp $2, %%rax; stc\n"
		"movb $0, 0(%%ebp)\n"
		"pushfq; pop %%rcx\n"
		"pop %%rbx; pop %%rbp\n"
		: "=a"(rax), "=c"(flags) : : "rdx", "rsi", "rdi", "r8", "r9", "r10", "r12", "r13", "r14", "r15", "memory", "r11");
	for (int i = REG_R8; i <= REG_RCX; i++)
		if (i != REG_RSP)
			printf("%lld ", seen[i]);
	printf("| flags %llx %lx rax %lx trap %lld err %lld cr2 %lld\n", seen[REG_EFL] & 0x8d5, flags & 0x8d5, rax,
	       seen[REG_TRAPNO], seen[REG_ERR], seen[REG_CR2]);
}

static void on_alarm(int sig, siginfo_t *info, void *u)
{
	(void)sig, (void)info, (void)u;
	count++;
	feclearexcept(FE_ALL_EXCEPT);
	volatile double d = 1.0;
	for (int i = 0; i < 10; i++)
		d = d * 1.5 + 0.25;
}

/* A timer that interrupts everywhere: sums must come out right, vector and x87 state must survive. */
static void storm(void)
{
	struct itimerval t = { { 0, 300 }, { 0, 300 } }, off = { 0 };
	uint64_t sum = 0;
	double d = 0, x[64];
	long double l = 0;

	install(SIGALRM, on_alarm, SA_RESTART);
	setitimer(ITIMER_REAL, &t, NULL);
	while (count < 400) {
		sum = 0, d = 0, l = 0;
		for (int i = 0; i < 64; i++)
			x[i] = i;
		for (int i = 0; i < 20000; i++) {
			sum = sum * 31 + (uint64_t)i;
			d += x[i & 63] * 0.5;
			l += (long double)i / 3;
			if (!(i & 1023)) {
				char buffer[64];

				snprintf(buffer, sizeof buffer, "%f %d", d, i);
				sum += strlen(buffer);
			}
		}
	}
	setitimer(ITIMER_REAL, &off, NULL);
	printf("storm %lu %.3f %.3Lf\n", sum, d, l);
}

static void interrupted_calls(void)
{
	struct itimerval t = { { 0, 0 }, { 0, 20000 } };
	int fd[2];
	char c;

	if (pipe(fd))
		exit(1);
	count = 0;
	install(SIGALRM, on_alarm, 0);
	setitimer(ITIMER_REAL, &t, NULL);
	ssize_t r = read(fd[0], &c, 1);
	printf("read %zd %d count %d\n", r, errno == EINTR, count);
	setitimer(ITIMER_REAL, &t, NULL);
	struct timespec s = { 5, 0 }, left = { 0 };
	int n = nanosleep(&s, &left);
	printf("nanosleep %d %d %d\n", n, errno == EINTR, left.tv_sec == 4);
	setitimer(ITIMER_REAL, &t, NULL);
	struct pollfd p = { fd[0], POLLIN, 0 };
	n = poll(&p, 1, 5000);
	printf("poll %d %d\n", n, errno == EINTR);
	sigset_t all, none, old;
	sigfillset(&all);
	sigemptyset(&none);
	sigprocmask(SIG_BLOCK, &all, &old);
	setitimer(ITIMER_REAL, &t, NULL);
	usleep(40000);
	printf("blocked %d ", count);
	n = sigsuspend(&none);
	printf("sigsuspend %d %d count %d\n", n, errno == EINTR, count);
	setitimer(ITIMER_REAL, &t, NULL);
	int sig = 0;
	sigwait(&all, &sig);
	printf("sigwait %d count %d\n", sig, count);
	setitimer(ITIMER_REAL, &t, NULL);
	n = ppoll(&p, 1, NULL, &none);
	printf("ppoll %d %d count %d\n", n, errno == EINTR, count);
	sigprocmask(SIG_SETMASK, &old, NULL);
	install(SIGALRM, on_alarm, SA_RESTART);
	if (!fork()) {
		usleep(60000);
		_exit(write(fd[1], "x", 1) != 1);
	}
	setitimer(ITIMER_REAL, &t, NULL);
	r = read(fd[0], &c, 1);
	printf("restarted read %zd %c count %d\n", r, c, count);
	wait(NULL);
}

/* A signal that a change of the mask lets through: its handler uses vector registers, which must come back. */
static void vectors(void)
{
	const uint64_t in = 0x123456789abcdef;
	uint64_t out;
	sigset_t s;

	install(SIGUSR1, on_alarm, 0);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	raise(SIGUSR1);
	count = 0;
	__asm__ volatile("movq %1, %%xmm7; mov $14, %%eax; mov $1, %%edi; mov %2, %%rsi; xor %%edx, %%edx; mov $8, %%r10d\n"
			 "syscall; movq %%xmm7, %0"
			 : "=r"(out) : "r"(in), "r"(&s) : "rax", "rdi", "rsi", "rdx", "r10", "rcx", "r11", "xmm7", "memory");
	printf("vectors %lx count %d\n", out, count);
}

static volatile int depth, order[8], ordered;
static void on_nested(int sig, siginfo_t *info, void *u)
{
	stack_t s;

	(void)u;
	order[ordered++] = sig;
	sigaltstack(NULL, &s);
	printf("handler %d depth %d code %d altstack %d value %d\n", sig, depth, info->si_code, s.ss_flags, info->si_value.sival_int);
	depth++;
	if (sig == SIGUSR1) {
		raise(SIGUSR2);
		raise(SIGUSR1); /* blocked: after this one */
	}
	depth--;
	if (ordered > 5)
		signal(SIGUSR1, SIG_IGN);
}

static void nested(void)
{
	static char stack[65536];
	stack_t s = { .ss_sp = stack, .ss_size = sizeof stack };
	union sigval v = { .sival_int = 42 };

	sigaltstack(&s, NULL);
	install(SIGUSR1, on_nested, SA_ONSTACK);
	install(SIGUSR2, on_nested, SA_ONSTACK);
	raise(SIGUSR1);
	sigqueue(getpid(), SIGUSR2, v);
	install(SIGUSR2, on_nested, SA_RESETHAND | SA_NODEFER);
	raise(SIGUSR2);
	struct sigaction old;
	sigaction(SIGUSR2, NULL, &old);
	printf("reset %d\n", old.sa_handler == SIG_DFL);
	/* Overflow of the stack, handled on the other. */
	install(SIGSEGV, on_fault, SA_ONSTACK);
	if (!sigsetjmp(back, 1)) {
		__asm__ volatile("1: push %rax; jmp 1b");
	}
	printf("stack overflow %d\n", fault_code);
}

static int died(void (*f)(void))
{
	int status;
	pid_t p;

	fflush(stdout);
	p = fork();
	if (!p) {
		f();
		_exit(0);
	}
	waitpid(p, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}
static void die_null(void) { signal(SIGSEGV, SIG_DFL); *(volatile int *)0 = 1; }
static void die_abort(void) { abort(); }
static void die_ignored(void) { signal(SIGSEGV, SIG_IGN); *(volatile int *)0 = 1; }
static void die_blocked(void)
{
	sigset_t s;
	sigfillset(&s);
	install(SIGSEGV, on_fault, 0);
	sigprocmask(SIG_BLOCK, &s, NULL);
	*(volatile int *)0 = 1;
}
static void ignored_kill(void) { signal(SIGSEGV, SIG_IGN); raise(SIGSEGV); _exit(9); }
static void blocked_kill(void)
{
	sigset_t s;
	count = 0;
	install(SIGSEGV, on_alarm, 0);
	sigemptyset(&s);
	sigaddset(&s, SIGSEGV);
	sigprocmask(SIG_BLOCK, &s, NULL);
	raise(SIGSEGV);
	int before = count;
	sigprocmask(SIG_UNBLOCK, &s, NULL);
	_exit(before * 10 + count);
}
static void die_fpe(void) { signal(SIGFPE, SIG_DFL); volatile int z = 0; _exit(1 / z); }
static void die_trap(void) { signal(SIGTRAP, SIG_DFL); __asm__ volatile("int3"); }

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	faults();
	registers();
	vectors();
	nested();
	interrupted_calls();
	printf("deaths %d %d %d %d %d %d %d %d\n", died(die_null), died(die_abort), died(die_ignored), died(die_blocked),
	       died(ignored_kill), died(blocked_kill), died(die_fpe), died(die_trap));
	storm();
	return 0;
}
