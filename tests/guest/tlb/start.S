/* SPDX-License-Identifier: MIT
 * The guest of the TLB test: entry by PVH, and of the second processor from real mode; exception stubs, the way into an
 * access and out of it again.  Each processor's GS base is its struct processor (world.h).
 *
 * An access is a short function at CPL 0 or 3 that touches memory once, run_access() calls it.  It ends by its
 * return, at CPL 3 by SYSCALL, or by an exception; all three come back to the caller of run_access(). */
#include "../../../guest/vectors.inc"
#define VIRT 0xfffff00000000000
#define PHYS(x) ((x) - VIRT)
#define SEL_KERNEL_CS 0x08
#define SEL_KERNEL_SS 0x10
#define SEL_USER_SS 0x1b
#define SEL_USER_CS 0x23
#define SEL_BOOT_CS 0x48
#define MSR_EFER 0xc0000080
#define MSR_GS_BASE 0xc0000101
/* Offsets in struct processor. */
#define CPU_SAVED_RSP 0
#define CPU_TRAPPED 8
#define CPU_HIGH 40
#define CPU_VALUE 48
#define CPU_SIZE 64

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18
	.asciz	"Xen"
	.quad	PHYS(start32)

	.section .boot, "ax"
	.code32
	.globl	start32
start32:
	cli
	xor	%esi, %esi		/* number of the processor */
enter:	mov	$PHYS(boot_pml4), %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$0x101, %eax		/* LME, SCE */
	wrmsr
	mov	%cr0, %eax
	and	$~0x6000000e, %eax	/* as INIT leaves it, the caches are off */
	or	$0x80010023, %eax	/* PG, WP, NE, MP, PE */
	mov	%eax, %cr0
	lgdt	PHYS(gdtr_low)
	ljmp	$SEL_KERNEL_CS, $PHYS(start64)
	.code64
start64:
	mov	$SEL_KERNEL_SS, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	movabs	$high, %rax
	jmp	*%rax

	.text
high:	lgdt	gdtr(%rip)
	mov	%esi, %eax
	shl	$6, %eax
	lea	processors(%rip), %rdx
	add	%rdx, %rax
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	$MSR_GS_BASE, %ecx
	wrmsr
	xor	%ebp, %ebp
	test	%esi, %esi
	jnz	2f
	lea	stack_top(%rip), %rsp
	mov	%ebx, %edi
	call	tlb_main
1:	cli
	hlt
	jmp	1b
2:	lea	other_stack_top(%rip), %rsp
	call	other_main
	jmp	1b

	/* Copied to 0x8000, where the second processor starts. */
	.code16
	.globl	other_start, other_start_end
other_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	0x8000 + (other_gdtr - other_start)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_BOOT_CS, $PHYS(other32)
other_gdtr:
	.word	10 * 8 - 1
	.long	PHYS(gdt)
other_start_end:
	.code32
other32:
	mov	$SEL_KERNEL_SS, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	mov	$1, %esi
	jmp	enter
	.code64

	/* void run_access(const struct run *r): see world.h */
	.globl	run_access
run_access:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	movq	$-1, %gs:CPU_TRAPPED
	mov	%rsp, %gs:CPU_SAVED_RSP
	mov	%rdi, %r10
	mov	(%r10), %r11		/* function */
	mov	8(%r10), %rdi		/* address */
	mov	16(%r10), %rsi		/* operand */
	mov	24(%r10), %rdx		/* expected by CMPXCHG */
	mov	32(%r10), %r8		/* RFLAGS */
	mov	40(%r10), %r9		/* stack at CPL 3, 0 at CPL 0 */
	test	%r9, %r9
	jnz	1f
	/* Without POPFQ, for which a translator may leave guest code: what another processor has done since then would not
	 * be met here. */
	bt	$18, %r8
	jnc	2f
	stac
2:	bt	$9, %r8
	jnc	3f
	sti
3:	call	*%r11
	jmp	access_end
1:	pushq	$SEL_USER_SS
	push	%r9
	push	%r8
	pushq	$SEL_USER_CS
	push	%r11
	iretq

	.globl	syscall_entry
syscall_entry:
access_end:
	mov	%gs:CPU_SAVED_RSP, %rsp
	movq	$0, %gs:CPU_SAVED_RSP
	cli
	cld
	cmpb	$0, has_smap(%rip)
	je	1f
	clac
1:	mov	%rdx, %gs:CPU_HIGH
	mov	%rax, %gs:CPU_VALUE
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	EXCEPTION_STUBS trap

	/* On the trap stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
trap:	push	%rax
	mov	%cr2, %rax
	mov	%rax, %gs:CPU_TRAPPED+16
	mov	8(%rsp), %rax
	mov	%rax, %gs:CPU_TRAPPED
	mov	16(%rsp), %rax
	mov	%rax, %gs:CPU_TRAPPED+8
	mov	24(%rsp), %rax
	mov	%rax, %gs:CPU_TRAPPED+24
	mov	(%rsp), %rax
	cld
	cmpq	$0, %gs:CPU_SAVED_RSP
	jne	access_end
	call	tlb_panic

	/* The interrupt by which one processor asks the other for something, also within an access. */
	.globl	message_entry
message_entry:
	SAVE_CALLERS
	cld
	call	other_interrupted
	RESTORE_CALLERS
	iretq

	/* ---- the accesses: RDI address, RSI operand, RDX what CMPXCHG expects; result in RAX, its upper half in
	 * RDX.  Copied to a user page as they are. */
	.macro	ACCESS name
	.balign	16
	.globl	access_\name
access_\name:
	.endm
	.globl	access_begin, access_end_of_all
	.balign	64
access_begin:
	ACCESS	load1
	movzbl	(%rdi), %eax
	ret
	ACCESS	load2
	movzwl	(%rdi), %eax
	ret
	ACCESS	load4
	mov	(%rdi), %eax
	ret
	ACCESS	load8
	mov	(%rdi), %rax
	ret
	ACCESS	load16
	movups	(%rdi), %xmm0
	movq	%xmm0, %rax
	psrldq	$8, %xmm0
	movq	%xmm0, %rdx
	ret
	ACCESS	load_push
	pushq	(%rdi)
	pop	%rax
	ret
	ACCESS	load_string
	mov	%rdi, %rsi
	lodsq
	ret
	ACCESS	load_moves
	push	%rax
	mov	%rdi, %rsi
	mov	%rsp, %rdi
	mov	$8, %ecx
	rep movsb
	pop	%rax
	ret
	ACCESS	load_compare
	mov	(%rdi,%rdx,1), %rax
	cmp	%rsi, (%rdi,%rdx,1)
	ret
	ACCESS	store1
	mov	%sil, (%rdi)
	ret
	ACCESS	store2
	mov	%si, (%rdi)
	ret
	ACCESS	store4
	mov	%esi, (%rdi)
	ret
	ACCESS	store8
	mov	%rsi, (%rdi)
	ret
	ACCESS	store16			/* the operand twice */
	movq	%rsi, %xmm0
	punpcklqdq %xmm0, %xmm0
	movups	%xmm0, (%rdi)
	ret
	ACCESS	store_push
	mov	%rsp, %rax
	lea	8(%rdi), %rsp
	push	%rsi
	mov	%rax, %rsp
	ret
	ACCESS	store_string
	mov	%rsi, %rax
	stosq
	ret
	ACCESS	store_nt
	movnti	%rsi, (%rdi)
	ret
	ACCESS	store_moves		/* byte by byte */
	push	%rsi
	mov	%rsp, %rsi
	mov	$8, %ecx
	rep movsb
	pop	%rsi
	ret
	ACCESS	xchg
	mov	%rsi, %rax
	xchg	%rax, (%rdi)
	ret
	ACCESS	xadd
	mov	%rsi, %rax
	lock xadd %rax, (%rdi)
	ret
	ACCESS	add
	add	%rsi, (%rdi)
	ret
	ACCESS	or
	lock or	%rsi, (%rdi)
	ret
	ACCESS	and
	lock and %rsi, (%rdi)
	ret
	ACCESS	or1
	or	%sil, (%rdi)
	ret
	ACCESS	and1
	and	%sil, (%rdi)
	ret
	ACCESS	bts
	lock bts %rsi, (%rdi)
	ret
	ACCESS	btr
	lock btr %rsi, (%rdi)
	ret
	ACCESS	cmpxchg
	mov	%rdx, %rax
	lock cmpxchg %rsi, (%rdi)
	ret
	ACCESS	cmpxchg16		/* the operand twice where it is what is expected, twice */
	push	%rbx
	mov	%rdx, %rax
	mov	%rsi, %rbx
	mov	%rsi, %rcx
	lock cmpxchg16b (%rdi)
	pop	%rbx
	ret
	ACCESS	call
	call	*%rdi
	ret
	ACCESS	fill8			/* eight words from there on */
	mov	%rsi, %rax
	mov	$8, %ecx
	rep stosq
	ret
	ACCESS	user_end
	syscall
	.balign	16
access_end_of_all:

	.data
	.globl	has_smap
has_smap: .byte	0
	.balign	16
	.globl	gdt
gdt:	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00cff3000000ffff
	.quad	0x00affb000000ffff
	.quad	0, 0, 0, 0
	.quad	0x00cf9b000000ffff
gdtr_low:
	.word	10 * 8 - 1
	.long	PHYS(gdt)
gdtr:	.word	10 * 8 - 1
	.quad	gdt
	.balign	4096
boot_pml4:
	.quad	PHYS(boot_low) + 3
	.skip	479 * 8
	.quad	PHYS(boot_low) + 3
	.skip	31 * 8
boot_low:
	.quad	PHYS(boot_pd) + 3
	.skip	511 * 8
boot_pd:
	.set	i, 0
	.rept	512
	.quad	i * 0x200000 + 0x83
	.set	i, i + 1
	.endr

	.bss
	.globl	processors
	.balign	64
processors:
	.skip	2 * CPU_SIZE
	.balign	4096
	.skip	32768
stack_top:
	.skip	32768
other_stack_top:
	.section .note.GNU-stack, "", @progbits
