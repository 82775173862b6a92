/* SPDX-License-Identifier: MIT
 * A 64-bit program that calls 32-bit code by far transfers and comes back, from several threads at once, with
 * the same bytes also run in 64-bit mode. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Enters 32-bit code at `entry` with eax = value on a stack below 4 GiB; returns its eax.  R8 to R15 and the stack
 * pointer come back from where 64-bit code left them. */
uint32_t enter32(uint32_t entry, uint32_t value, uint64_t stack, uint64_t *lost);
__asm__(
	"	.text\n"
	"enter32:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rcx\n"
	"	mov %rsp, %r12\n"
	"	movabs $0x123456789abcdef0, %r15\n"
	"	mov %r15, %r13\n"
	"	mov %edi, %ebx\n"
	"	mov %esi, %eax\n"
	"	mov %rdx, %rsp\n"
	"	sub $16, %rsp\n"
	"	lea (%rsp,%r15), %rbp\n"   /* upper halves that 32-bit code must not see */
	"	sub %r15d, %ebp\n"
	"	mov %r15, %rdx\n"
	"	shr $32, %rdx\n"
	"	shl $32, %rdx\n"
	"	add %rdx, %rbp\n"
	"	add %rdx, %rax\n"
	"	lea 1f(%rip), %rcx\n"
	"	mov %ecx, 8(%rsp)\n"       /* for the way back: lret of the 32-bit code */
	"	movl $0x33, 12(%rsp)\n"
	"	mov %ebx, (%rsp)\n"
	"	movl $0x23, 4(%rsp)\n"
	"	lretl\n"
	"1:	xor %ecx, %ecx\n"
	"	cmp %r15, %r13\n"
	"	setne %cl\n"
	"	mov %r12, %rsp\n"
	"	pop %rdx\n"
	"	add %rcx, (%rdx)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

#define CODE 0x40000000u
static const uint8_t code[] = {
	/* 0: add of what the mode makes of 48 ff c0: dec eax; inc eax, or inc rax; by an indirect call */
	0x8b, 0x55, 0,          /* mov edx, [ebp] */
	0xb9, 0, 0x10, 0, 0,    /* mov ecx, 4096; loop: time for interrupts */
	0xe2, 0xfe,
	0xb9, 0x40, 0, 0, 0x40, /* mov ecx, CODE + 0x40 */
	0xff, 0xd1,             /* call ecx */
	0x66, 0x8c, 0xd9,       /* mov ecx, ds */
	0x01, 0xc8,             /* add eax, ecx */
	0xcb,                   /* lret */
};
static const uint8_t both[] = { 0x48, 0xff, 0xc0, 0xc3 };

static void *thread(void *arg)
{
	uint64_t lost = 0, sum = (uint64_t)arg;
	uint8_t *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t (*volatile same)(uint64_t);
		uint64_t r;

		sum = sum * 31 + enter32(CODE, (uint32_t)sum, (uint64_t)stack + 65536, &lost);
		/* The same bytes in 64-bit mode. */
		same = (uint64_t (*)(uint64_t))(uint64_t)(CODE + 0x40);
		__asm__ volatile("call *%2" : "=a"(r) : "0"(sum), "r"(same) : "memory", "cc");
		sum += r - sum;
	}
	return (void *)(sum ^ lost << 32);
}

int main(void)
{
	uint8_t *p = mmap((void *)(uint64_t)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	pthread_t t[3];

	memcpy(p, code, sizeof code);
	memcpy(p + 0x40, both, sizeof both);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));
	for (uint64_t i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, thread, (void *)(i + 5));
	for (int i = 0; i < 3; i++) {
		void *r;

		pthread_join(t[i], &r);
		printf("thread %d: %llx\n", i, (unsigned long long)r);
	}
	return 0;
}
