/* SPDX-License-Identifier: MIT
 * Calls and returns in every combination that breaks the pairing of the two: what they leave on the stack, and what signals
 * in between see of it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

__asm__(
	/* spin(n): n calls of leaf, directly and through a register */
	".text\n"
	"spin: mov %rsp, base(%rip)\n"
	"	lea leaf(%rip), %r11\n"
	"1:	call leaf\n"
	"after_direct: mov leaf_address(%rip), %r11\n"
	"	call *%r11\n"
	"after_register: dec %rdi\n"
	"	jnz 1b\n"
	"spin_end: ret\n"
	"leaf:	nop\n"
	"leaf_ret: ret\n"
	/* arguments(a, b): a and b on the stack, taken by the callee */
	"arguments: push %rdi\n"
	"	push %rsi\n"
	"	call taker\n"
	"	ret\n"
	"taker:	mov 8(%rsp), %rax\n"
	"	sub 16(%rsp), %rax\n"
	"	ret $16\n"
	/* pushed(f): goes to f by a return */
	"pushed: push %rdi\n"
	"	ret\n"
	/* bent(f): a call whose return address is replaced */
	"bent:	call 2f\n"
	"	ud2\n"
	"2:	mov %rdi, (%rsp)\n"
	"	ret\n"
	/* skipped(): a callee that returns to its caller's caller */
	"skipped: call 3f\n"
	"	ud2\n"
	"3:	lea 8(%rsp), %rsp\n"
	"	mov $77, %eax\n"
	"	ret\n"
	/* here(): its own address by a call that nobody returns from */
	"here:	call 4f\n"
	"4:	pop %rax\n"
	"	ret\n"
	/* kept(): R10, R11 and flags through a call and a return */
	"kept:	mov $0x1122334455667788, %r10\n"
	"	mov $0x8877665544332211, %r11\n"
	"	stc\n"
	"	call leaf\n"
	"	mov $0, %eax\n"
	"	adc %r10, %rax\n"
	"	xor %r11, %rax\n"
	"	ret\n"
	".data\n"
	"leaf_address: .quad leaf\n"
	".text\n");
extern char spin_end[], leaf[], leaf_ret[], after_direct[], after_register[];
void spin(uint64_t n);
long arguments(long a, long b), pushed(long (*f)(void)), bent(long (*f)(void)), skipped(void), here(void), kept(void);
uint64_t base;

static volatile unsigned long ticks, inside, wrong;

static void tick(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], rsp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];

	(void)sig;
	(void)info;
	ticks++;
	if (rip >= (uint64_t)leaf && rip <= (uint64_t)leaf_ret) {
		uint64_t back = *(const uint64_t *)rsp;

		inside++;
		wrong += rsp != base - 8 || (back != (uint64_t)after_direct && back != (uint64_t)after_register);
	} else if (rip > (uint64_t)spin && rip <= (uint64_t)spin_end && base) {
		inside++;
		wrong += rsp != base && rip > (uint64_t)spin + 7;
	}
}

static long seven(void) { return 7; }

static long depth(long n) { return n ? depth(n - 1) * 3 + n : 1; }

static jmp_buf out;
static long dive(long n)
{
	if (n < 0)
		return 1;
	if (!n)
		longjmp(out, 1);
	return dive(n - 1) + 1;
}

/* Code that is written, run and written again: calls from memory that is writable. */
static long written(int rounds)
{
	/* mov eax, imm32;  ret  |  sub rsp, 8;  call 0;  add eax, imm8;  add rsp, 8;  ret */
	static const uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0xc3, 0x90, 0x90, 0x48, 0x83, 0xec, 8, 0xe8, 0xef, 0xff, 0xff, 0xff, 0x83, 0xc0, 1,
					0x48, 0x83, 0xc4, 8, 0xc3 };
	uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long sum = 0;

	memcpy(p, code, sizeof code);
	for (int i = 0; i < rounds; i++) {
		p[1] = (uint8_t)i;
		p[19] = (uint8_t)(i % 3);
		for (int k = 0; k < 5; k++)
			sum = sum * 5 + ((long (*)(void))(p + 8))();
	}
	munmap(p, 4096);
	return sum;
}

/* A call that is the last of its page, and one that runs over it. */
static long edges(void)
{
	uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long sum = 0;

	memset(p, 0x90, 3 * 4096);
	for (int over = 0; over < 5; over++) {
		uint8_t *at = p + 4096 - 5 + over;
		int32_t d = (int32_t)(p + 8000 - (at + 5));

		mprotect(p, 3 * 4096, PROT_READ | PROT_WRITE);
		at[0] = 0xe8;
		memcpy(at + 1, &d, 4);
		memcpy(at + 5, "\xff\xc0\xc3", 3);
		memcpy(p + 8000, "\xb8\x05\x00\x00\x00\xc3", 6);
		mprotect(p, 3 * 4096, PROT_READ | PROT_EXEC);
		for (int i = 0; i < 3; i++)
			sum = sum * 7 + ((long (*)(void))at)();
		mprotect(p, 3 * 4096, PROT_READ | PROT_WRITE);
		memset(p + 4000, 0x90, 200);
	}
	return sum;
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = tick, .sa_flags = SA_SIGINFO };
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
	long far = 0;

	sigaction(SIGVTALRM, &act, NULL);
	setitimer(ITIMER_VIRTUAL, &every, NULL);
	while (inside < 20)
		spin(1000000);
	base = 0;
	for (int i = 0; i < 1000; i++)
		if (!setjmp(out))
			far += dive(i % 40);
		else
			far += depth(i % 60) % 1000;
	printf("%ld %ld %ld %ld %ld %d %lx\n", arguments(50, 8), pushed(seven), bent(seven), skipped(), here() - here(), here() == 0,
	       (unsigned long)kept());
	printf("%ld %ld %ld\n", far, written(200), edges());
	printf("signals: %s, %lu wrong\n", ticks ? "some" : "none", wrong);
	return 0;
}
