/* SPDX-License-Identifier: MIT
 * Doors between translated code and C.  GS base is the thread's area throughout. */
#include <asm/unistd.h>

#include "exec/layout.h"

	/* A program that sets AC to try it out must not make the runtime's accesses fault. */
	.macro	NO_ALIGNMENT_CHECK flags:vararg
	testl	$0x40000, \flags
	jz	9f
	pushq	$0x202
	popfq
9:
	.endm

	.text
	.globl	_start
_start:
	xor	%ebp, %ebp
	mov	%rsp, %rdi
	and	$-16, %rsp
	push	%rdi
	push	%rdi
	call	exec_main
	pop	%rdi
	mov	%gs:T_STACK, %rsp
	xor	%ebp, %ebp
	call	load_program
	ud2

	/* An indirect branch that found no target, which is in R11.  The guest's R11 is in the spill page. */
	.globl	lookup_miss, exit_user, exits_begin, exits_end
exits_begin:
lookup_miss:
	movl	$EXIT_LOOKUP, %gs:SP_EXIT
	mov	%r11, %gs:T_TARGET
exit_user:
	mov	%rax, %gs:T_GPR
	mov	%rcx, %gs:T_GPR + 8
	mov	%rdx, %gs:T_GPR + 16
	mov	%rbx, %gs:T_GPR + 24
	mov	%rsp, %gs:T_GPR + 32
	mov	%rbp, %gs:T_GPR + 40
	mov	%rsi, %gs:T_GPR + 48
	mov	%rdi, %gs:T_GPR + 56
	mov	%r8, %gs:T_GPR + 64
	mov	%r9, %gs:T_GPR + 72
	mov	%r10, %gs:T_GPR + 80
	mov	%gs:SP_REG + 88, %r11
	mov	%r11, %gs:T_GPR + 88
	mov	%r12, %gs:T_GPR + 96
	mov	%r13, %gs:T_GPR + 104
	mov	%r14, %gs:T_GPR + 112
	mov	%r15, %gs:T_GPR + 120
	mov	%gs:T_STACK, %rsp
	pushfq
	popq	%gs:T_FLAGS
	cld
	NO_ALIGNMENT_CHECK %gs:T_FLAGS
	mov	%gs:SP_EXIT, %edi
	xor	%ebp, %ebp
	call	exec_exit
	ud2
exits_end:

	/* From a signal frame that the runtime wrote: goes on at T_RIP with the registers as they are. */
	.globl	resume_entry
resume_entry:
	mov	%r11, %gs:SP_REG + 88
	movl	$EXIT_RESUME, %gs:SP_EXIT
	jmp	exit_user

	/* A branch to code above the low 2 GiB, or from a site that has seen one.  Touches no flag. */
	.globl	far_lookup, far_miss, far_end
far_lookup:
	mov	%rcx, %gs:SP_REG + 8
	mov	$0, %ecx
	crc32q	%r11, %rcx
	movzwl	%cx, %ecx
	jmp	*far_hosts(, %rcx, 8)
far_miss:
	mov	%gs:SP_REG + 8, %rcx
	jmp	lookup_miss
far_end:

	/* Into translated code at SP_TARGET, with the state in struct thread, which stays the truth until
	 * the last jump: a signal here starts the run loop afresh. */
	.globl	enter, enter_end
enter:
	cmpq	$0, %gs:T_PENDING	/* or T_KICKED behind it */
	jne	run_fresh
	pushq	%gs:T_FLAGS
	popfq
	mov	%gs:T_GPR, %rax
	mov	%gs:T_GPR + 8, %rcx
	mov	%gs:T_GPR + 16, %rdx
	mov	%gs:T_GPR + 24, %rbx
	mov	%gs:T_GPR + 40, %rbp
	mov	%gs:T_GPR + 48, %rsi
	mov	%gs:T_GPR + 56, %rdi
	mov	%gs:T_GPR + 64, %r8
	mov	%gs:T_GPR + 72, %r9
	mov	%gs:T_GPR + 80, %r10
	mov	%gs:T_GPR + 88, %r11
	mov	%r11, %gs:SP_REG + 88
	mov	%gs:T_GPR + 96, %r12
	mov	%gs:T_GPR + 104, %r13
	mov	%gs:T_GPR + 112, %r14
	mov	%gs:T_GPR + 120, %r15
	mov	%gs:T_GPR + 32, %rsp
	jmp	*%gs:SP_TARGET
enter_end:

	.globl	run_fresh
run_fresh:
	mov	%gs:T_STACK, %rsp
	xor	%ebp, %ebp
	cld
	call	run_loop
	ud2

	/* A system call on the program's behalf: number, pointer to six arguments.  A signal before the
	 * SYSCALL instruction is delivered at once, with the guest still at its own. */
	.macro	LOAD_ARGUMENTS
	mov	%rdi, %rax
	mov	%rsi, %r11
	mov	(%r11), %rdi
	mov	8(%r11), %rsi
	mov	16(%r11), %rdx
	mov	24(%r11), %r10
	mov	32(%r11), %r8
	mov	40(%r11), %r9
	.endm
	.globl	door_call, door_insn, door_after
door_call:
	LOAD_ARGUMENTS
door_insn:
	syscall
door_after:
	ret

	/* The same for calls that do not wait, where a signal waits for the end of the C code.  The program's
	 * seccomp filters see what comes from here, from the door and from clone_call. */
	.globl	guest_call, guest_after
guest_call:
	LOAD_ARGUMENTS
	syscall
guest_after:
	ret

	/* s64 guest_copy(void *to, const void *from, size_t n): 0, or -EFAULT where a page is not there. */
	.globl	guest_copy, guest_copy_fault, guest_copy_end
guest_copy:
	mov	%rdx, %rcx
	rep movsb
	xor	%eax, %eax
	ret
guest_copy_fault:
	mov	$-14, %rax
	ret
guest_copy_end:

	/* s64 clone_call(nr, a, b, c, d, e, area): in a child that shares memory, goes on in thread_begin on
	 * the stack of its own area; in one that does not, returns 0 as well. */
	.globl	clone_call
clone_call:
	push	%rbx
	push	%r12
	mov	24(%rsp), %r12
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	syscall
	.globl	clone_after
clone_after:
	test	%rax, %rax
	jnz	1f
	test	%r12, %r12
	jz	1f
	wrgsbase %r12
	mov	%gs:T_STACK, %rsp
	xor	%ebp, %ebp
	call	thread_begin
	ud2
1:	pop	%r12
	pop	%rbx
	ret

	/* thread_leave(status, u32 *free): gives up the area and ends the thread. */
	.globl	thread_leave
thread_leave:
	movl	$0, (%rsi)
	mov	$__NR_exit, %eax
	syscall
	ud2

	/* sigreturn_enter(frame): the kernel loads everything from the frame, vector state included. */
	.globl	sigreturn_enter
sigreturn_enter:
	lea	8(%rdi), %rsp
	mov	$__NR_rt_sigreturn, %eax
	syscall
	ud2

	.globl	signal_entry, signal_restorer
signal_entry:
	cld
	pushfq
	NO_ALIGNMENT_CHECK (%rsp)
	lea	8(%rsp), %rsp
	jmp	signal_handler
signal_restorer:
	mov	$__NR_rt_sigreturn, %eax
	syscall
	ud2

	.section .note.GNU-stack, "", @progbits
