/* SPDX-License-Identifier: MIT
 * The differential test's guest kernel: entry, exception stubs, and the way into and out of a case.
 *
 * Linked in the kernel half, loaded at 16 MiB, entered there in 64-bit mode with RSI = boot_params on the
 * loader's identity mapping; boot tables of its own bring it to where it is linked. */
#include "../../../guest/vectors.inc"
#define VIRT 0xffffffffa0000000
#define PHYS(x) ((x) - VIRT)

	.section .boot, "ax"
	.globl	_start
_start:
	cli
	mov	$PHYS(boot_pml4), %eax
	mov	%rax, %cr3
	mov	$high, %rax
	jmp	*%rax

	.text
high:	mov	$stack_top, %rsp
	mov	%rsi, %rdi
	xor	%ebp, %ebp
	call	diff_main
1:	cli
	hlt
	jmp	1b

	/* void run_case(const struct diff_case *c): enters it; comes back when an exception ends it. */
	.globl	run_case
run_case:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_rsp(%rip)
	mov	%rdi, %rax
	pushq	case_ss(%rip)
	pushq	4*8(%rax)		/* RSP */
	pushq	17*8(%rax)		/* RFLAGS */
	pushq	case_cs(%rip)
	pushq	16*8(%rax)		/* RIP */
	mov	1*8(%rax), %rcx
	mov	2*8(%rax), %rdx
	mov	3*8(%rax), %rbx
	mov	5*8(%rax), %rbp
	mov	6*8(%rax), %rsi
	mov	7*8(%rax), %rdi
	mov	8*8(%rax), %r8
	mov	9*8(%rax), %r9
	mov	10*8(%rax), %r10
	mov	11*8(%rax), %r11
	mov	12*8(%rax), %r12
	mov	13*8(%rax), %r13
	mov	14*8(%rax), %r14
	mov	15*8(%rax), %r15
	mov	(%rax), %rax
	movb	$1, running(%rip)
	iretq

	EXCEPTION_STUBS trap

	/* On the trap stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
trap:	mov	%rax, trapped(%rip)
	mov	%rcx, trapped+8(%rip)
	mov	%rdx, trapped+16(%rip)
	mov	%rbx, trapped+24(%rip)
	mov	%rbp, trapped+40(%rip)
	mov	%rsi, trapped+48(%rip)
	mov	%rdi, trapped+56(%rip)
	mov	%r8, trapped+64(%rip)
	mov	%r9, trapped+72(%rip)
	mov	%r10, trapped+80(%rip)
	mov	%r11, trapped+88(%rip)
	mov	%r12, trapped+96(%rip)
	mov	%r13, trapped+104(%rip)
	mov	%r14, trapped+112(%rip)
	mov	%r15, trapped+120(%rip)
	mov	40(%rsp), %rax
	mov	%rax, trapped+32(%rip)
	mov	16(%rsp), %rax
	mov	%rax, trapped+128(%rip)
	mov	32(%rsp), %rax
	mov	%rax, trapped+136(%rip)
	mov	(%rsp), %rax
	mov	%rax, trapped+144(%rip)
	mov	8(%rsp), %rax
	mov	%rax, trapped+152(%rip)
	mov	24(%rsp), %rax
	mov	%rax, trapped+160(%rip)
	cld
	cmpb	$0, running(%rip)
	je	2f
	movb	$0, running(%rip)
	mov	saved_rsp(%rip), %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
2:	mov	$stack_top, %rsp
	call	diff_panic

	.data
	.balign	4096
boot_pml4:
	.quad	PHYS(boot_low) + 3
	.skip	510 * 8
	.quad	PHYS(boot_high) + 3
boot_low:
	.quad	PHYS(boot_pd) + 3
	.skip	511 * 8
boot_high:
	.skip	510 * 8
	.quad	PHYS(boot_top) + 3
	.quad	0
	/* Identity for the first GiB; and the same at VIRT, half a GiB above its PDPT entry. */
boot_pd:
	.set	i, 0
	.rept	512
	.quad	i * 0x200000 + 0x83
	.set	i, i + 1
	.endr
boot_top:
	.skip	256 * 8
	.set	i, 0
	.rept	256
	.quad	i * 0x200000 + 0x83
	.set	i, i + 1
	.endr
	.globl	saved_rsp, running, trapped, case_cs, case_ss
saved_rsp:	.quad 0
case_cs:	.quad 0
case_ss:	.quad 0
trapped:	.skip 21 * 8
running:	.byte 0

	.bss
	.balign	4096
	.skip	16384
stack_top:
	.globl	trap_stack_top
	.skip	16384
trap_stack_top:
	.section .note.GNU-stack, "", @progbits
