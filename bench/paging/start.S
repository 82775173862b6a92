/* SPDX-License-Identifier: MIT
 * The kernel of penumbra bench paging: entry by PVH, the way into long mode, exception vectors, and calls of code in
 * user mode.
 *
 * Linked at the top of the kernel half, loaded at 1 MiB, entered there in 32-bit protected mode with EBX at a
 * hvm_start_info (Xen docs/misc/pvh.pandoc). */
#include "../../guest/vectors.inc"
#define VIRT 0xffffffff80000000
#define PHYS(x) ((x) - VIRT)
#define DIRECT_SLOT 273                 /* of 0xffff888000000000 in the top table */

	.section .note.pvh, "a", @note
	.long	4, 4, 18
	.asciz	"Xen"
	.long	PHYS(_start)

	.section .boot, "ax"
	.code32
	.globl	_start
_start:	cli
	mov	%ebx, %esi
	mov	$0x6b0, %eax            /* CR4: PAE, PGE, OSFXSR, OSXMMEXCPT, and PSE */
	mov	%eax, %cr4
	mov	$PHYS(kernel_root), %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx       /* EFER: SCE, LME, NXE */
	rdmsr
	or	$0x901, %eax
	wrmsr
	mov	$0x80010033, %eax       /* CR0: PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	lgdt	PHYS(boot_gdtr)
	ljmp	$8, $PHYS(long_mode)
	.code64
long_mode:
	mov	$high, %rax
	jmp	*%rax

	.text
high:	mov	$stack_top, %rsp
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	TSS_DESCRIPTOR
	lea	trap_stack_top(%rip), %rax
	mov	%rax, tss + 4(%rip)
	lgdt	gdtr(%rip)
	mov	$0x30, %eax
	ltr	%ax
	EXCEPTION_GATES 8, 0x8e00
	movb	$0xee, idt + 3 * 16 + 5(%rip)
	lidt	idtr(%rip)
	mov	$0xc0000081, %ecx       /* STAR: SYSCALL 8 and 0x10; SYSRET 0x28 and 0x20 */
	xor	%eax, %eax
	mov	$0x00180008, %edx
	wrmsr
	mov	$0xc0000082, %ecx       /* LSTAR */
	lea	back(%rip), %rdx
	mov	%edx, %eax
	shr	$32, %rdx
	wrmsr
	mov	$0xc0000084, %ecx       /* FMASK: all that matters */
	mov	$0x47700, %eax
	xor	%edx, %edx
	wrmsr
	mov	%esi, %edi
	call	kernel_main
1:	cli
	hlt
	jmp	1b

	/* u64 user_call(u64 rip, u64 rsp, u64 argument): runs code in user mode until its SYSCALL; returns its RDI. */
	.globl	user_call
user_call:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_rsp(%rip)
	mov	%rdi, %rcx
	mov	%rsi, %rsp
	mov	%rdx, %rdi
	mov	$2, %r11d
	sysretq
back:	mov	saved_rsp(%rip), %rsp
	mov	%rdi, %rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	EXCEPTION_STUBS trap
trap:	cmpl	$3, (%rsp)              /* INT3 ends user code that may not use SYSCALL */
	je	back
	SAVE_CALLERS
	cld
	mov	72(%rsp), %rdi          /* vector, error code, RIP */
	mov	80(%rsp), %rsi
	mov	88(%rsp), %rdx
	call	kernel_trap
	RESTORE_CALLERS
	add	$16, %rsp
	iretq

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00af9b000000ffff      /* 0x08 kernel code */
	.quad	0x00cf93000000ffff      /* 0x10 kernel data */
	.quad	0
	.quad	0x00cff3000000ffff      /* 0x20 user data */
	.quad	0x00affb000000ffff      /* 0x28 user code */
gdt_tss:
	.quad	0x0000890000000067      /* 0x30 */
	.quad	0
gdt_end:
boot_gdtr:
	.word	gdt_end - gdt - 1
	.long	PHYS(gdt)
gdtr:	.word	gdt_end - gdt - 1
	.quad	gdt
idtr:	.word	32 * 16 - 1
	.quad	idt
	.balign	8
tss:	.skip	102
	.word	104

	/* The first 1 GiB: at 0 until the kernel drops it, in the direct map, and at VIRT. */
	.balign	4096
	.globl	kernel_root
kernel_root:
	.quad	PHYS(low_table) + 3
	.skip	(DIRECT_SLOT - 1) * 8
	.quad	PHYS(low_table) + 3
	.skip	(510 - DIRECT_SLOT) * 8
	.quad	PHYS(high_table) + 3
low_table:
	.quad	PHYS(first_gib) + 3
	.skip	511 * 8
high_table:
	.skip	510 * 8
	.quad	PHYS(first_gib) + 3
	.quad	0
first_gib:
	.set	i, 0
	.rept	512
	.quad	i * 0x200000 + 0x1e3    /* global, large, dirty, accessed, writable, present */
	.set	i, i + 1
	.endr

	.bss
	.balign	4096
	.skip	16384
stack_top:
	.skip	16384
trap_stack_top:
idt:	.skip	32 * 16
saved_rsp:
	.skip	8
	.section .note.GNU-stack, "", @progbits
