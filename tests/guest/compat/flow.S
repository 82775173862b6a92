/* SPDX-License-Identifier: MIT
 * 32-bit control flow of every form.  flow(results): each step stores a word that shows which way it went;
 * a wrong turn ends at UD2. */
	.text
	.macro	note value
	movl	\value, (%edi)
	add	$4, %edi
	.endm

	.globl	flow
flow:
	pusha
	mov	36(%esp), %edi
	/* CALL pushes the address behind it. */
	call	1f
0:	ud2
1:	pop	%eax
	sub	$0b, %eax
	note	%eax
	/* RET n to a pushed address. */
	mov	%esp, %ebp
	push	$1
	push	$2
	push	$2f
	ret	$8
	ud2
2:	sub	%esp, %ebp
	note	%ebp
	/* Through a register, memory, a table; the stack pointer as base and as target. */
	mov	$3f, %ecx
	jmp	*%ecx
	ud2
3:	mov	$seven, %ecx
	call	*%ecx
	note	%eax
	mov	$seven, %edx
	push	%edx
	call	*(%esp)
	note	%eax
	call	*flow_table+4
	note	%eax
	mov	$2, %eax
	call	*flow_table(,%eax,4)
	note	%eax
	pop	%edx
	mov	$1, %edx
	jmp	*flow_jumps(,%edx,4)
	ud2
4:	/* LOOP, LOOPNE, LOOPE, JECXZ and their 16-bit counters. */
	xor	%eax, %eax
	mov	$0x10005, %ecx
5:	inc	%eax
	addr16 loop 5b
	note	%eax
	note	%ecx
	xor	%eax, %eax
	mov	$9, %ecx
6:	inc	%eax
	cmp	$4, %eax
	loopne	6b
	note	%eax
	note	%ecx
	xor	%eax, %eax
	mov	$9, %ecx
7:	inc	%eax
	test	$8, %al
	loope	7b
	note	%eax
	note	%ecx
	mov	$0x10000, %ecx
	jecxz	8f
	addr16 jecxz 9f
8:	ud2
9:	note	%ecx
	/* Every condition, taken and not, from each of 32 sets of flags. */
	xor	%ebx, %ebx
	xor	%ecx, %ecx
10:	mov	%ecx, %eax
	and	$1, %eax
	lea	(%eax,%ecx,2), %edx
	and	$0x3c, %edx
	shl	$2, %edx
	or	%edx, %eax
	push	%ecx
	and	$16, %ecx
	shl	$7, %ecx
	or	%ecx, %eax
	or	$0x202, %eax
	pop	%ecx
	.irp	cc, o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g
	push	%eax
	popf
	j\cc	11f
	lea	1(%ebx), %ebx
11:	j\cc	12f
	lea	(%ebx,%ebx), %ebx
12:	rol	$1, %ebx
	.endr
	inc	%ecx
	cmp	$32, %ecx
	jne	10b
	note	%ebx
	/* ENTER with nested frames, LEAVE. */
	mov	%esp, %edx
	mov	$0x1234, %ebp
	push	%ebp
	mov	%esp, %ebp
	enter	$24, $3
	mov	%edx, %eax
	sub	%esp, %eax
	note	%eax
	mov	%edx, %eax
	sub	%ebp, %eax
	note	%eax
	leave
	mov	%edx, %eax
	sub	%esp, %eax
	note	%eax
	mov	%edx, %esp
	/* 16-bit stack slots; ESP itself. */
	mov	%esp, %edx
	pushw	$0x1122
	pushw	$0x3344
	pop	%eax
	note	%eax
	push	%esp
	pop	%eax
	sub	%edx, %eax
	note	%eax
	mov	%esp, %eax
	push	%eax
	pop	%esp
	sub	%esp, %eax
	note	%eax
	push	$1			/* the address of POP is that after it */
	push	$2
	push	$0x55
	pop	4(%esp)
	pop	%eax
	note	%eax
	pop	%eax
	note	%eax
	/* PUSHF shows the interrupt flag; the ID flag can be toggled. */
	pushf
	pop	%eax
	mov	%eax, %ecx
	and	$0xffdfff2a, %ecx
	note	%ecx
	xor	$0x200000, %eax
	push	%eax
	popf
	pushf
	pop	%ecx
	xor	%ecx, %eax
	and	$0x200000, %eax
	note	%eax
	/* A call and a jump with a 16-bit operand would cut EIP: only through the target 0..ffff, so not here.
	 * Far jump and far call to the own code segment, far return. */
	mov	%cs, %ax
	mov	%ax, flow_far+4
	ljmp	*flow_far
	ud2
flow_landed:
	push	%cs
	push	$13f
	lret
	ud2
13:	movl	$flow_far_function, flow_far
	lcall	*flow_far
	note	%eax
	movl	$flow_landed, flow_far
	pushf
	push	%cs
	push	$14f
	iret
	ud2
14:	note	$0x600d
	popa
	ret

seven:	mov	$7, %eax
	ret
eight:	mov	$8, %eax
	ret
nine:	mov	$9, %eax
	ret
flow_far_function:
	mov	$0xfa, %eax
	lret

	.data
	.balign	4
flow_table:
	.long	seven, eight, nine
flow_jumps:
	.long	seven, 4b
flow_far:
	.long	flow_landed
	.word	0

	.section .note.GNU-stack, "", @progbits
