/* SPDX-License-Identifier: MIT
 * Several processors without an operating system: a kernel entered by PVH in 32-bit mode, and the code from which
 * the other processors start in real mode.  All go on to 64-bit mode, with an identity map of 4 GiB. */
	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:	mov $stack_top, %esp
	mov %ebx, %ebp
	/* Page directories of 2 MiB pages, then what leads to them. */
	mov $directories, %edi
	mov $0x83, %eax
	mov $2048, %ecx
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $0x200000, %eax
	add $8, %edi
	loop 1b
	mov $pointers, %edi
	mov $directories + 3, %eax
	mov $4, %ecx
2:	mov %eax, (%edi)
	add $0x1000, %eax
	add $8, %edi
	loop 2b
	movl $pointers + 3, top
	lgdt flat_pointer
	xor %ebx, %ebx                  /* the first one */
	jmp to_long_mode

	.code64
first_long:
	mov %ebp, %edi
	call kernel_main
1:	cli
	hlt
	jmp 1b

	.globl on_ipi
on_ipi:	push %rax
	lock incl ipis
	mov $0xfee000b0, %eax
	movl $0, (%rax)
	pop %rax
	iretq

	/* EBX: 0 for the first processor, else its number; the GDT is loaded. */
	.code32
to_long_mode:
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $top, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax
	mov %eax, %cr0
	ljmp $0x18, $1f
	.code64
1:	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	test %ebx, %ebx
	jz first_long
	shl $10, %ebx                   /* a stack of 1 KiB each */
	lea other_stacks(%rbx), %rsp
	call other
2:	hlt
	jmp 2b

	/* Copied to 0x8000.  Each processor takes a number. */
	.globl other_code, other_end
	.code16
other_code:
	xor %ax, %ax
	mov %ax, %ds
	mov $1, %ebx
	lock xaddl %ebx, 0x7000
	inc %ebx
	lgdtl 0x8000 + (gdt_pointer - other_code)
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $other_flat
gdt_pointer: .word 31
	.long flat
other_end:
	.code32
other_flat:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	jmp to_long_mode

	.data
	.balign 8
flat:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
flat_pointer: .word 31
	.long flat

	.bss
	.balign 4096
top:	.skip 4096
pointers: .skip 4096
directories: .skip 4 * 4096
	.skip 8192
stack_top:
other_stacks: .skip 66 * 1024
	.section .note.GNU-stack, "", @progbits
