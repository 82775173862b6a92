/* SPDX-License-Identifier: MIT
 * The doors between translated code and the monitor.
 *
 * Leaving: the stub in the cache has put the exit's number into its world's spill page.  Three
 * registers are parked there too, the monitor's memory is opened by WRPKRU, the rest is saved.
 * Entering is the reverse.  A signal in enter_begin..enter_end starts the run loop afresh: until the
 * last jump the vCPU's state in shared memory is still the whole truth. */
#include "x86/layout.h"

	.text
	.globl	_start
_start:
	xor	%ebp, %ebp
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	monitor_setup
	movabs	$(FOLD_OFF + STACK_TOP_DISP), %rsp
	call	monitor_main
	ud2

	.globl	monitor_text_begin
monitor_text_begin:

	.macro	LEAVE spill, world
	mov	%rax, %gs:\spill + SP_SAVE
	mov	%rcx, %gs:\spill + SP_SAVE + 8
	mov	%rdx, %gs:\spill + SP_SAVE + 16
	mov	$0, %eax
	mov	$0, %ecx
	mov	$0, %edx
	.globl	wrpkru_leave_\world
wrpkru_leave_\world:
	wrpkru
	mov	%rbx, %gs:VCPU_DISP + VC_GPR + 24
	mov	%rsp, %gs:VCPU_DISP + VC_GPR + 32
	mov	%rbp, %gs:VCPU_DISP + VC_GPR + 40
	mov	%rsi, %gs:VCPU_DISP + VC_GPR + 48
	mov	%rdi, %gs:VCPU_DISP + VC_GPR + 56
	mov	%r8, %gs:VCPU_DISP + VC_GPR + 64
	mov	%r9, %gs:VCPU_DISP + VC_GPR + 72
	mov	%r10, %gs:VCPU_DISP + VC_GPR + 80
	mov	%r11, %gs:VCPU_DISP + VC_GPR + 88
	mov	%r12, %gs:VCPU_DISP + VC_GPR + 96
	mov	%r13, %gs:VCPU_DISP + VC_GPR + 104
	mov	%r14, %gs:VCPU_DISP + VC_GPR + 112
	mov	%r15, %gs:VCPU_DISP + VC_GPR + 120
	movabs	$(FOLD_OFF + STACK_TOP_DISP), %rsp
	pushfq
	popq	%gs:VCPU_DISP + VC_HOST_FLAGS
	cld
	mov	%gs:\spill + SP_SAVE, %rax
	mov	%gs:\spill + SP_SAVE + 8, %rcx
	mov	%gs:\spill + SP_SAVE + 16, %rdx
	mov	%rax, %gs:VCPU_DISP + VC_GPR
	mov	%rcx, %gs:VCPU_DISP + VC_GPR + 8
	mov	%rdx, %gs:VCPU_DISP + VC_GPR + 16
	movl	$\world, %gs:VCPU_DISP + VC_WORLD
	mov	%gs:\spill + SP_EXIT, %edi
	xor	%ebp, %ebp
	call	exit_dispatch
	ud2
	.endm

	.globl	lookup_miss_user, exit_user
lookup_miss_user:
	movl	$EXIT_LOOKUP, %gs:SPILL_U_DISP + SP_EXIT
exit_user:
	LEAVE	SPILL_U_DISP, 1

	.globl	lookup_miss_kernel, exit_kernel
lookup_miss_kernel:
	movl	$EXIT_LOOKUP, %gs:SPILL_K_DISP + SP_EXIT
exit_kernel:
	LEAVE	SPILL_K_DISP, 0

	.macro	ENTER spill, world
	cmpl	$0, signal_noted(%rip)
	jne	run_loop_fresh
	pushq	%gs:VCPU_DISP + VC_HOST_FLAGS
	popfq
	mov	%gs:VCPU_DISP + VC_GPR + 24, %rbx
	mov	%gs:VCPU_DISP + VC_GPR + 40, %rbp
	mov	%gs:VCPU_DISP + VC_GPR + 48, %rsi
	mov	%gs:VCPU_DISP + VC_GPR + 56, %rdi
	mov	%gs:VCPU_DISP + VC_GPR + 64, %r8
	mov	%gs:VCPU_DISP + VC_GPR + 72, %r9
	mov	%gs:VCPU_DISP + VC_GPR + 80, %r10
	mov	%gs:VCPU_DISP + VC_GPR + 88, %r11
	mov	%gs:VCPU_DISP + VC_GPR + 96, %r12
	mov	%gs:VCPU_DISP + VC_GPR + 104, %r13
	mov	%gs:VCPU_DISP + VC_GPR + 112, %r14
	mov	%gs:VCPU_DISP + VC_GPR + 120, %r15
	mov	%gs:VCPU_DISP + VC_PKRU, %eax
	mov	$0, %ecx
	mov	$0, %edx
	mov	%gs:VCPU_DISP + VC_GPR + 32, %rsp
	.globl	wrpkru_enter_\world
wrpkru_enter_\world:
	wrpkru
	mov	%gs:\spill + SP_SAVE, %rax
	mov	%gs:\spill + SP_SAVE + 8, %rcx
	mov	%gs:\spill + SP_SAVE + 16, %rdx
	jmp	*%gs:\spill + SP_TARGET
	.endm

	.globl	enter_begin, enter_end, enter_user, enter_kernel
enter_begin:
enter_user:
	ENTER	SPILL_U_DISP, 1
enter_kernel:
	ENTER	SPILL_K_DISP, 0
enter_end:

	/* SYSCALL in translated user code: RCX holds the next guest instruction, the exit's number is in
	 * the spill page.  FS base stays the user's until SWAPGS; nothing before it uses GS (checked when
	 * CN_LSTAR was set).  SFMASK clears every status flag (checked too). */
	.globl	syscall_gate
syscall_gate:
	mov	%rsp, %gs:SPILL_U_DISP + SP_REG + 32
	mov	%rax, %gs:SPILL_U_DISP + SP_SAVE
	mov	%rdx, %gs:SPILL_U_DISP + SP_SAVE + 16
	movabs	$(FOLD_OFF + SPILL_U_STACK), %rsp
	pushfq
	pop	%r11
	mov	%rcx, %gs:SPILL_U_DISP + SP_SAVE + 8
	mov	%gs:SPILL_U_DISP + SP_REG + 80, %r10
	mov	$0x55, %eax
	.globl	pkru_syscall
pkru_syscall = . - 4
	xor	%ecx, %ecx
	xor	%edx, %edx
	.globl	wrpkru_syscall
wrpkru_syscall:
	wrpkru
	movq	$-0x200, %gs:SPILL_K_DISP + SP_VIF
	movq	$0, %gs:SPILL_K_DISP + SP_VAC
	movl	$1, %gs:SPILL_K_DISP + SP_CROSSED
	mov	%gs:CONST_DISP + CN_KERNEL_CS, %rax
	mov	%rax, %gs:SPILL_K_DISP + SP_SEL + 8
	mov	%gs:CONST_DISP + CN_KERNEL_SS, %rax
	mov	%rax, %gs:SPILL_K_DISP + SP_SEL + 16
	movabs	$FOLD_OFF, %rsp
	add	%gs:SPILL_U_DISP + SP_REG + 32, %rsp
	mov	%gs:SPILL_U_DISP + SP_SAVE + 16, %rdx
	cld
	mov	$1, %eax
	add	$0, %eax
	mov	%gs:SPILL_U_DISP + SP_SAVE, %rax
	mov	%gs:SPILL_U_DISP + SP_SAVE + 8, %rcx
	jmp	*%gs:CONST_DISP + CN_LSTAR

	/* SYSRET in translated kernel code; the exit's number is in the spill page.  All flags are loaded
	 * from R11, so they are free to use.  What is not ordinary goes through C. */
	/* A signal between the look for events and the jump at the end steps on (signal.c): what was
	 * allowed here may not be put off. */
	.globl	gates_begin, gates_end, sysret_gate
gates_begin:
sysret_gate:
	mov	%rax, %gs:SPILL_U_DISP + SP_SAVE
	mov	%r11, %rax
	and	$-0x8d6, %rax
	cmp	$0x202, %rax
	jne	1f
	cmpl	$0, %gs:SPILL_K_DISP + SP_PENDING
	jne	1f
	mov	%rcx, %rax
	shr	$47, %rax
	jne	1f
	mov	%rdx, %gs:SPILL_U_DISP + SP_REG + 16
	mov	%rcx, %gs:SPILL_U_DISP + SP_REG + 8
	mov	%r10, %gs:SPILL_U_DISP + SP_REG + 80
	mov	%r11, %gs:SPILL_U_DISP + SP_REG + 88
	pext	%gs:CONST_DISP + CN_TARGET_MASK, %rcx, %rdx
	mov	%gs:ULOOKUP_DISP(, %rdx, 8), %rax
	mov	%rax, %gs:SPILL_U_DISP + SP_TARGET
	mov	%gs:SPILL_K_DISP + SP_LIVE_FS, %rax
	wrfsbase %rax
	mov	%gs:SPILL_K_DISP + SP_LIVE_GS, %rax
	mov	%rax, %gs:SPILL_U_DISP + SP_GS_BASE
	movl	$1, %gs:SPILL_K_DISP + SP_CROSSED
	movabs	$-FOLD_OFF, %rax
	add	%rax, %rsp
	mov	$0x55, %eax
	.globl	pkru_sysret
pkru_sysret = . - 4
	xor	%ecx, %ecx
	xor	%edx, %edx
	.globl	wrpkru_sysret
wrpkru_sysret:
	wrpkru
	mov	%r11d, %eax
	mov	%al, %ah
	mov	%r11d, %ecx
	shr	$11, %ecx
	and	$1, %ecx
	mov	%cl, %al
	add	$0x7f, %al	/* overflows where OF is set */
	sahf
	mov	%gs:SPILL_U_DISP + SP_SAVE, %rax
	mov	%gs:SPILL_U_DISP + SP_REG + 16, %rdx
	mov	%gs:SPILL_U_DISP + SP_REG + 8, %r11
	mov	%r11, %r10
	jmp	*%gs:SPILL_U_DISP + SP_TARGET
1:	mov	%gs:SPILL_U_DISP + SP_SAVE, %rax
	jmp	exit_kernel

	/* IRETQ in translated kernel code that returns to kernel code; the exit's number is in the spill
	 * page, and the frame has been touched.  All flags are loaded, so they are free to use. */
	.globl	iret_gate
iret_gate:
	mov	%rax, %gs:SPILL_K_DISP + SP_SAVE
	mov	%rcx, %gs:SPILL_K_DISP + SP_REG + 8
	mov	%rdx, %gs:SPILL_K_DISP + SP_REG + 16
	mov	8(%rsp), %rax
	cmp	%gs:SPILL_K_DISP + SP_SEL + 8, %rax
	jne	3f
	mov	32(%rsp), %rax
	cmp	%gs:SPILL_K_DISP + SP_SEL + 16, %rax
	jne	3f
	mov	16(%rsp), %rcx
	mov	%rcx, %rax
	and	$-0x10ad8, %rax		/* status flags, IF and RF, which holds off no breakpoint here */
	jne	3f
	cmpl	$0, %gs:SPILL_K_DISP + SP_VAC
	jne	3f
	mov	(%rsp), %rdx
	test	%rdx, %rdx
	jns	3f
	test	$0x200, %ecx
	jz	1f
	cmpl	$0, %gs:SPILL_K_DISP + SP_PENDING
	jne	3f
	movq	$0, %gs:SPILL_K_DISP + SP_VIF
	jmp	2f
1:	movq	$-0x200, %gs:SPILL_K_DISP + SP_VIF
2:	movabs	$FOLD_OFF, %rax
	add	24(%rsp), %rax
	mov	%rax, %rsp
	xor	%eax, %eax
	crc32q	%rdx, %rax
	pext	%gs:CONST_DISP + CN_HASH_MASK, %rax, %rax
	mov	%gs:KLOOKUP_DISP(, %rax, 8), %rax
	mov	%rax, %gs:SPILL_K_DISP + SP_TARGET
	mov	%cl, %ah
	shr	$11, %ecx
	and	$1, %ecx
	mov	%cl, %al
	add	$0x7f, %al	/* overflows where OF is set */
	sahf
	mov	%rdx, %rcx
	mov	%gs:SPILL_K_DISP + SP_SAVE, %rax
	jmp	*%gs:SPILL_K_DISP + SP_TARGET
3:	mov	%gs:SPILL_K_DISP + SP_SAVE, %rax
	mov	%gs:SPILL_K_DISP + SP_REG + 8, %rcx
	mov	%gs:SPILL_K_DISP + SP_REG + 16, %rdx
	jmp	exit_kernel

	/* An indirect branch of user code whose target, in R11, is not the one that its place in ULOOKUP leads to.  The
	 * guest's RCX is in R10. */
	.globl	lookup_second
lookup_second:
	mov	%rdx, %gs:SPILL_U_DISP + SP_REG + 16
	mov	$0, %edx
	crc32q	%r11, %rdx
	pext	%gs:CONST_DISP + CN_SECOND_MASK, %rdx, %rdx
	lea	(%rdx, %rdx), %rdx
	mov	%gs:USECOND_DISP(, %rdx, 8), %rcx
	lea	(%rcx, %r11), %rcx
	jrcxz	1f
	mov	%gs:SPILL_U_DISP + SP_REG + 16, %rdx
	jmp	lookup_miss_user
1:	mov	%gs:USECOND_DISP + 8(, %rdx, 8), %rcx
	mov	%rcx, %gs:SPILL_U_DISP + SP_TARGET
	mov	%gs:SPILL_U_DISP + SP_REG + 16, %rdx
	mov	%r10, %rcx
	jmp	*%gs:SPILL_U_DISP + SP_TARGET

	/* A checked store (translate/operand.c): guest address in SP_TABLE, where to go on in SP_TABLE_RETURN, both
	 * written just before.  table_open opens the monitor's memory and puts into SP_TABLE where RAM lies there; what
	 * it does not cover goes on at the jump before the return address.  table_close notes the write for the
	 * carriers that watch the table, and closes the monitor's memory.  Registers and flags stay. */
	.set	spill_K, SPILL_K_DISP
	.set	spill_U, SPILL_U_DISP
	.macro	GATE_RESTORE world
	mov	%gs:spill_\world + SP_SAVE, %rax
	mov	%gs:spill_\world + SP_SAVE + 8, %rcx
	mov	%gs:spill_\world + SP_SAVE + 16, %rdx
	jmp	*%gs:spill_\world + SP_TABLE_RETURN
	.endm
	.macro	GATE_SAVE world
	mov	%rax, %gs:spill_\world + SP_SAVE
	mov	%rcx, %gs:spill_\world + SP_SAVE + 8
	mov	%rdx, %gs:spill_\world + SP_SAVE + 16
	.endm
	.macro	GATE_SAVE_FLAGS world
	lahf
	seto	%al
	mov	%rax, %gs:spill_\world + SP_TABLE_FLAGS
	.endm
	.macro	GATE_RETURN world
	mov	%gs:spill_\world + SP_TABLE_FLAGS, %rax
	add	$0x7f, %al	/* overflows where OF is set */
	sahf
	GATE_RESTORE \world
	.endm

	.globl	table_open, rdpkru_table, wrpkru_table_open
table_open:
	GATE_SAVE K
	GATE_SAVE_FLAGS K
	mov	%r8, %gs:SPILL_K_DISP + SP_TABLE_R8
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
rdpkru_table:
	rdpkru
	mov	%eax, %r8d
	xor	%eax, %eax
wrpkru_table_open:
	wrpkru
	mov	%r8d, %gs:CARRIER_DISP + SG_PKRU
	mov	%gs:SPILL_K_DISP + SP_TABLE_R8, %r8
	mov	%gs:SPILL_K_DISP + SP_TABLE, %rcx
	test	$7, %cl
	jne	4f
	sub	%gs:CARRIER_DISP + SG_VA, %rcx
	cmp	%gs:CARRIER_DISP + SG_LENGTH, %rcx
	jae	4f
	add	%gs:CARRIER_DISP + SG_RAM, %rcx
	movl	$1, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	mov	%rcx, %rdx
	shr	$12, %rdx
	testb	$1, %gs:SHARED_DISP + OFF_FRAMES(%rdx)	/* FRAME_CODE */
	jne	4f
	mov	%rcx, %gs:CARRIER_DISP + SG_OFFSET
	movabs	$(FOLD_OFF + RAM_DISP), %rax
	add	%rcx, %rax
	mov	%rax, %gs:SPILL_K_DISP + SP_TABLE
	GATE_RETURN K
4:	movl	$0, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	subq	$5, %gs:SPILL_K_DISP + SP_TABLE_RETURN
	GATE_RETURN K

	.globl	table_close, wrpkru_table_close
table_close:
	GATE_SAVE K
	GATE_SAVE_FLAGS K
	mov	%gs:CARRIER_DISP + SG_OFFSET, %rcx
	mov	%rcx, %rdx
	shr	$12, %rdx
	testb	$2, %gs:SHARED_DISP + OFF_FRAMES(%rdx)	/* FRAME_TABLE */
	je	5f
	mov	%gs:VCPU_DISP + VCPU_LOG, %rdx
	mov	%edx, %eax
	and	$(TL_SIZE - 1), %eax
	mov	%rcx, %gs:VCPU_DISP + VCPU_LOG + TL_ENTRY(, %rax, 8)
	inc	%rdx
	mov	%rdx, %gs:VCPU_DISP + VCPU_LOG
	incq	%gs:VCPU_DISP + VCPU_COUNT + SC_TABLE_STORES
5:	movl	$0, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	mov	%gs:CARRIER_DISP + SG_PKRU, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
wrpkru_table_close:
	wrpkru
	GATE_RETURN K

	/* An access of user code through the software TLB (translate/soft.c): guest address in SP_TABLE, SP_SOFT_LAST, and
	 * where to go on in SP_TABLE_RETURN, all written just before.  soft_read and soft_write open the monitor's memory and
	 * put into SP_TABLE where the operand lies in RAM; an access that the TLB does not know goes on at the jump before
	 * the return address, one that is to be made as it stands at the jump before that.  soft_close closes the monitor's
	 * memory.  Registers and flags stay. */
	.macro	SOFT_OPEN how
	GATE_SAVE U
	GATE_SAVE_FLAGS U
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	.globl	wrpkru_soft_\how
wrpkru_soft_\how:
	wrpkru
	mov	%gs:SPILL_U_DISP + SP_TABLE, %rcx
	mov	%gs:SPILL_U_DISP + SP_SOFT_LAST, %rax
	add	%rcx, %rax
	xor	%rcx, %rax
	test	$-0x1000, %rax
	jne	7f		/* on two pages */
	mov	%rcx, %rdx
	shr	$8, %rdx
	and	$(SOFT_SIZE - SOFT_ENTRY), %edx
	mov	%rcx, %rax
	and	$-0x1000, %rax
	or	%gs:CARRIER_DISP + SG_SOFT, %rax
	cmp	%rax, %gs:SOFT_DISP(%rdx)
	jne	6f
	subl	$1, %gs:SOFT_DISP + 12(%rdx)
	js	6f
	mov	%gs:SOFT_DISP + 8(%rdx), %eax
	test	%eax, %eax
	js	7f		/* SOFT_PLAIN */
	btr	$30, %eax	/* SOFT_WRITE */
	.ifc	\how, write
	jnc	6f
	movl	$1, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	cmpb	$0, %gs:SHARED_DISP + OFF_FRAMES(%rax)
	jne	6f
	.endif
	shl	$12, %rax
	and	$0xfff, %ecx
	or	%rcx, %rax
	movabs	$(FOLD_OFF + RAM_DISP), %rcx
	add	%rcx, %rax
	mov	%rax, %gs:SPILL_U_DISP + SP_TABLE
	GATE_RETURN U
	.endm

	.globl	soft_read, soft_write, soft_close
soft_read:
	SOFT_OPEN read
soft_write:
	SOFT_OPEN write
7:	subq	$5, %gs:SPILL_U_DISP + SP_TABLE_RETURN
6:	subq	$5, %gs:SPILL_U_DISP + SP_TABLE_RETURN
	movl	$0, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	.globl	pkru_soft, wrpkru_soft
	mov	$0x55, %eax
pkru_soft = . - 4
	xor	%ecx, %ecx
	xor	%edx, %edx
wrpkru_soft:
	wrpkru
	GATE_RETURN U
soft_close:
	GATE_SAVE U
	movl	$0, %gs:VCPU_DISP + VCPU_LOG + TL_GATE
	.globl	pkru_soft_close, wrpkru_soft_close
	mov	$0x55, %eax
pkru_soft_close = . - 4
	mov	$0, %ecx
	mov	$0, %edx
wrpkru_soft_close:
	wrpkru
	GATE_RESTORE U
gates_end:

	.globl	run_loop_fresh
run_loop_fresh:
	movabs	$(FOLD_OFF + STACK_TOP_DISP), %rsp
	xor	%ebp, %ebp
	call	run_loop
	ud2

	/* The kernel enters with all keys but 0 denied, so nothing touches the stack before WRPKRU. */
	.globl	signal_entry, signal_restorer
signal_entry:
	mov	%rdx, %r8
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	.globl	wrpkru_signal
wrpkru_signal:
	wrpkru
	mov	%r8, %rdx
	cmpb	$0, signal_stack_open(%rip)
	jne	1f
	jmp	signal_handler
	/* Guest code can reach this stack: take the frame, which may hold another world's registers, out of it. */
1:	mov	%edi, %r9d
	movabs	$(FOLD_OFF + ALTSTACK_DISP + ALTSTACK_SIZE), %r10
	sub	%rsp, %r10
	mov	%rsp, %rsi
	lea	FRAME_MOVE(%rsp), %rdi
	mov	%r10, %rcx
	rep movsb
	mov	%rsp, %rdi
	mov	%r10, %rcx
	xor	%eax, %eax
	rep stosb
	lea	FRAME_MOVE(%r8), %rdx
	addq	$FRAME_MOVE, UC_FPSTATE(%rdx)
	lea	FRAME_MOVE(%rsp), %rsp
	xor	%esi, %esi
	mov	%r9d, %edi
	jmp	signal_handler
signal_restorer:
	mov	$15, %eax
	syscall
	ud2
	.globl	monitor_text_end
monitor_text_end:

	.section .note.GNU-stack, "", @progbits
