/* SPDX-License-Identifier: MIT
 * Entry, exception vectors and the attempts of the hostile kernel.  An attempt returns 0, or
 * vector << 8 | 1 if it was stopped. */
#include "../../../guest/vectors.inc"
	.text
	.globl	_start
_start:
	lea	stack_end(%rip), %rsp
	call	kernel_main
	ud2

	.globl	load_tables
load_tables:
	TSS_DESCRIPTOR
	lea	ist_end(%rip), %rax
	mov	%rax, tss + 36(%rip)
	lea	gdt(%rip), %rax
	mov	%rax, gdtr + 2(%rip)
	lgdt	gdtr(%rip)
	mov	$0x20, %eax
	ltr	%ax
	EXCEPTION_GATES 0x10, 0x8e01
	lea	idt(%rip), %rax
	mov	%rax, idtr + 2(%rip)
	lidt	idtr(%rip)
	mov	%cr4, %rax		/* SSE */
	or	$0x600, %eax
	mov	%rax, %cr4
	mov	%cr0, %rax
	and	$~4, %eax
	or	$0x10002, %eax		/* and write protection */
	mov	%rax, %cr0
	ret

	EXCEPTION_STUBS trapped
trapped:
	mov	(%rsp), %rax
	mov	8(%rsp), %rcx
	mov	%rax, trap(%rip)
	mov	%rcx, trap + 8(%rip)
	mov	%cr2, %rcx
	mov	%rcx, trap + 16(%rip)
	shl	$8, %rax
	or	$1, %eax
	mov	trap_stack(%rip), %rsp
	cld
	ret

	.macro	ATTEMPT name
	.globl	\name
	.balign	16
\name:
	mov	%rsp, trap_stack(%rip)
	.endm
	.macro	DONE
	xor	%eax, %eax
	ret
	.endm

	ATTEMPT	try_load
	mov	(%rdi), %rax
	mov	%rax, (%rsi)
	DONE
	ATTEMPT	try_both
	xor	%eax, %eax
	add	(%rdi,%rax,4), %rax
	mov	%rax, (%rsi)
	DONE
	ATTEMPT	try_store
	mov	%rsi, (%rdi)
	DONE
	ATTEMPT	try_string
	mov	%rdx, %rcx
	rep movsb
	DONE
	ATTEMPT	try_wide
	movaps	%xmm0, (%rdi)
	DONE
	ATTEMPT	try_push
	mov	%rdi, %rsp
	push	%rsi
	mov	trap_stack(%rip), %rsp
	DONE
	ATTEMPT	try_call
	call	*%rdi
	DONE
	ATTEMPT	try_wrmsr
	mov	%edi, %ecx
	mov	%esi, %eax
	mov	%rsi, %rdx
	shr	$32, %rdx
	wrmsr
	DONE
	ATTEMPT	try_cr3
	mov	%rdi, %cr3
	DONE
	ATTEMPT	try_gs
	mov	%rdx, %r8
	mov	$0xc0000101, %ecx
	mov	%edi, %eax
	mov	%rdi, %rdx
	shr	$32, %rdx
	wrmsr
	mov	%gs:(%rsi), %rax
	mov	%rax, (%r8)
	DONE

	.data
	.balign	16
gdt:	.quad	0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_tss:
	.quad	0x0000890000000067, 0
gdtr:	.word	. - gdt - 1
	.quad	0
idtr:	.word	32 * 16 - 1
	.quad	0
	.globl	trap, trap_stack
	.balign	8
trap:	.quad	0, 0, 0, 0
trap_stack:
	.quad	0
	.bss
	.balign	16
idt:	.skip	32 * 16
tss:	.skip	104
	.balign	4096
	.skip	16384
stack_end:
	.skip	16384
ist_end:
	.section .note.GNU-stack, "", @progbits
