/* SPDX-License-Identifier: MIT
 * A kernel that is entered in 32-bit protected mode: headers of the protocol that PROTOCOL names, entry, interrupt
 * stubs, and the way through real mode. */
#define MULTIBOOT 1
#define MULTIBOOT2 2
#define PVH 3

	.section .headers, "a"
#if PROTOCOL == MULTIBOOT
	.balign 4
	.long 0x1badb002, 3, -(0x1badb002 + 3)
#elif PROTOCOL == MULTIBOOT2
	.balign 8
header:	.long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
	.short 1, 0
	.long 16, 4, 6                  /* asks for memory sizes and the map */
	.short 0, 0
	.long 8
header_end:
#else
	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
#endif

	.text
	.globl start
start:	mov $stack_top, %esp
	push %ebx
	push %eax
	call kernel
1:	hlt
	jmp 1b

	/* Vectors 13, 14, 32 and 0x80: counts, and goes on behind the instruction or where it was. */
	.globl on_gp, on_nm, on_pf, on_timer, on_soft
on_nm:	incl counts + 4 * 0
	clts
	iret
on_gp:	incl counts + 4 * 0
	add $4, %esp
	addl $2, (%esp)                 /* the tests fault with instructions of two bytes */
	iret
on_pf:	incl counts + 4 * 1
	push %eax
	mov %cr2, %eax
	mov %eax, fault_address
	mov fault_entry, %eax           /* makes the page present */
	orl $1, (%eax)
	invlpg fault_page
	pop %eax
	add $4, %esp
	iret
on_timer: incl counts + 4 * 2
	movl $0, 0xfee000b0
	iret
on_soft: incl counts + 4 * 3
	iret

	/* Down to real mode, an interrupt there, and back; returns what the real mode code made. */
	.globl through_real_mode
through_real_mode:
	push %ebx
	push %esi
	push %edi
	mov $real_code, %esi
	mov $0x8000, %edi
	mov $real_end - real_code, %ecx
	rep movsb
	movl $(0x8000 + (real_interrupt - real_code)), 0x40 * 4
	sidt saved_idt
	mov %esp, saved_esp
	ljmp $0x18, $0x8000
back:	mov $0x10, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov saved_esp, %esp
	lidt saved_idt
	movzwl 0x7000, %eax
	pop %edi
	pop %esi
	pop %ebx
	ret

	.code16
real_code:
	mov $0x20, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %cr0, %eax
	and $~1, %eax
	mov %eax, %cr0
	ljmp $0, $(0x8000 + (1f - real_code))
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7ff0, %sp
	lidtl 0x8000 + (real_idt - real_code)
	movw $0, 0x7000
	mov $5, %cx
2:	addw $100, 0x7000
	loop 2b
	int $0x40
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $back
real_interrupt:
	addw $7, 0x7000
	iret
real_idt: .word 0x3ff
	.long 0
real_end:
	.code32

	.bss
	.balign 16
	.skip 8192
stack_top:
saved_idt: .skip 8
saved_esp: .skip 4
	.section .note.GNU-stack, "", @progbits
