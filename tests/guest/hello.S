/* SPDX-License-Identifier: MIT
 * The smallest guest: a flat ELF file like a vmlinux, entered at its physical entry in 64-bit mode with
 * RSI = boot_params.  What it does is chosen by the first letter of its command line:
 *
 *	p  prints a line and powers off through the ACPI port (also without a command line)
 *	r  prints a line and resets through port 0xcf9
 *	h  prints a line and halts with interrupts off
 *	t  prints a line and triple-faults
 *	e  echoes the console until a '.', then powers off
 *	i  takes ten interrupts of the interval timer through the 8259, prints a dot at each, powers off
 *	s  the same, spinning instead of HLT
 *	w  the same, with interrupts on only for a short time when one is due
 *	k  prints what a Linux kernel prints when it panics, then halts with interrupts on
 *	c  prints the same, goes on with another line as a dead kernel would not, and powers off
 *	l  loops for ever
 *
 * Links at 16 MiB, as Linux does; runs on the loader's page tables and GDT, which it thereby checks. */
#define COM1 0x3f8
#define PM1A_CONTROL 0x604
#define S5 ((5 << 10) | (1 << 13))
#define BP_CMD_LINE 0x228
#define VECTOR 0x20

	.text
	.globl _start
_start:
	/* The state that the boot protocol promises. */
	mov	%cs, %eax
	cmp	$0x10, %ax
	jne	bad
	mov	%ds, %eax
	cmp	$0x18, %ax
	jne	bad
	mov	%ss, %eax
	cmp	$0x18, %ax
	jne	bad
	cmpl	$0x53726448, 0x202(%rsi)	/* "HdrS" */
	jne	bad
	pushf
	pop	%rax
	test	$0x200, %eax
	jnz	bad
	mov	%cs, %eax			/* reload through the GDT */
	push	%rax
	lea	1f(%rip), %rax
	push	%rax
	lretq
1:	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	BP_CMD_LINE(%rsi), %ebx		/* readable at 32 bits: below 4 GiB */
	lea	text_hello(%rip), %rdi
	call	print
	movzbl	(%rbx), %eax
	cmp	$'r', %al
	je	reset
	cmp	$'h', %al
	je	halt
	cmp	$'t', %al
	je	triple
	cmp	$'e', %al
	je	echo
	cmp	$'i', %al
	je	interrupts
	cmp	$'s', %al
	je	interrupts
	cmp	$'w', %al
	je	interrupts
	cmp	$'k', %al
	je	panic
	cmp	$'c', %al
	je	calm
	cmp	$'l', %al
	je	forever
poweroff:
	mov	$PM1A_CONTROL, %edx
	mov	$S5, %eax
	out	%ax, %dx
halt:	cli
	hlt
	jmp	halt

bad:	lea	text_bad(%rip), %rdi
	call	print
	jmp	halt

reset:	mov	$0xcf9, %edx
	mov	$6, %al
	out	%al, %dx
	jmp	halt

triple:	lidt	no_idt(%rip)
	ud2

forever:
	jmp	forever

calm:	call	print_panic
	lea	text_hello(%rip), %rdi
	call	print
	jmp	poweroff

panic:	call	print_panic
2:	sti
	hlt
	jmp	2b

echo:	mov	$COM1 + 5, %edx
3:	in	%dx, %al
	test	$1, %al
	jz	3b
	mov	$COM1, %edx
	in	%dx, %al
	mov	%eax, %ecx
	call	put
	cmp	$'.', %cl
	jne	echo
	jmp	poweroff

/* Programs the 8259 and channel 0 of the 8254 (100 Hz), with every gate at `tick`. */
interrupts:
	mov	%eax, %ebp
	lea	idt(%rip), %rdi
	lea	tick(%rip), %rax
	mov	$256, %ecx
4:	mov	%ax, (%rdi)
	movw	$0x10, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	mov	%rax, %r8
	shr	$16, %r8
	mov	%r8w, 6(%rdi)
	shr	$16, %r8
	mov	%r8d, 8(%rdi)
	movl	$0, 12(%rdi)
	add	$16, %rdi
	loop	4b
	lea	idt(%rip), %rax
	mov	%rax, idtr + 2(%rip)
	lidt	idtr(%rip)
	lea	pic_words(%rip), %rsi
	mov	$(pic_words_end - pic_words) / 2, %ecx
5:	movzbl	(%rsi), %edx
	mov	1(%rsi), %al
	out	%al, %dx
	add	$2, %rsi
	loop	5b
	xor	%ebx, %ebx
6:	cmp	$'s', %bpl
	je	spin
	cmp	$'w', %bpl
	je	window
	sti
	hlt
	cli
	cmp	$10, %ebx
	jb	6b
taken:
	lea	text_newline(%rip), %rdi
	call	print
	jmp	poweroff

spin:	sti
9:	cmp	$10, %ebx
	jb	9b
	cli
	jmp	taken

/* The request register tells when one is due; it must come before the loop ends.  The loop is that long
 * since an emulator may look for interrupts only every thousand instructions. */
window:	mov	$0x0a, %al
	out	%al, $0x20
10:	in	$0x20, %al
	test	$1, %al
	jz	10b
	mov	%ebx, %r12d
	mov	$1000, %ecx
	sti
11:	dec	%ecx
	jnz	11b
	cli
	cmp	%ebx, %r12d			/* more than one may have been owed */
	je	bad
	cmp	$10, %ebx
	jb	window
	jmp	taken

tick:	push	%rax
	push	%rcx
	push	%rdx
	cmp	$10, %ebx			/* one may come after the last that is counted */
	jae	12f
	mov	$'.', %cl
	call	put
	inc	%ebx
12:	mov	$0x20, %al
	out	%al, $0x20
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

print_panic:
	lea	text_panic(%rip), %rdi
	call	print
	lea	text_panic_end(%rip), %rdi

/* Prints the string at RDI. */
print:	movzbl	(%rdi), %ecx
	test	%cl, %cl
	jz	7f
	call	put
	inc	%rdi
	jmp	print
7:	ret

/* Prints CL, once the transmitter is empty. */
put:	mov	$COM1 + 5, %edx
8:	in	%dx, %al
	test	$0x20, %al
	jz	8b
	mov	$COM1, %edx
	mov	%ecx, %eax
	out	%al, %dx
	ret

	.data
text_hello:	.asciz "hello from the guest\n"
text_bad:	.asciz "the boot state is wrong\n"
text_newline:	.asciz "\n"
text_panic:	.asciz "[    1.0] Kernel panic - not syncing: planted\n[    1.0] CPU: 0\n"
text_panic_end:	.asciz "[    1.0] ---[ end Kernel panic - not syncing: planted ]---\n"
/* Port, value: ICW1-4 of both controllers, only IRQ 0 let through, channel 0 in mode 2. */
pic_words:
	.byte	0x20, 0x11, 0xa0, 0x11, 0x21, VECTOR, 0xa1, VECTOR + 8
	.byte	0x21, 0x04, 0xa1, 0x02, 0x21, 0x01, 0xa1, 0x01
	.byte	0x21, 0xfe, 0xa1, 0xff, 0x43, 0x34, 0x40, 0x9c, 0x40, 0x2e
pic_words_end:
	.balign	8
no_idt:	.word	0
	.quad	0
idtr:	.word	256 * 16 - 1
	.quad	0
	.bss
	.balign	16
idt:	.skip	256 * 16
