/* SPDX-License-Identifier: MIT
 * Privileged architecture in C: exception and interrupt delivery, segment loads, control registers,
 * MSRs, CPUID, far transfers, string I/O.  Freestanding; runs in the monitor on hostile guests, so no
 * input may reach an assert, an endless loop or an out-of-range access.
 *
 * The accelerator provides the hooks at the end of this file. */
#ifndef PENUMBRA_X86_SYSTEM_H
#define PENUMBRA_X86_SYSTEM_H

#include "x86/cpu.h"
#include "x86/decode.h"

enum sys_result {
	SYS_DONE,     /* executed; c->rip is the next instruction */
	SYS_FAULT,    /* c->exc is pending; registers and c->rip are as before the instruction */
	SYS_HALT,     /* HLT executed (c->halted set), rip after it */
	SYS_AGAIN,    /* partly done (rep string I/O): registers advanced, rip still at the instruction */
};

/* Executes the instruction `in`, decoded from c->rip, for every class but IC_MASKMOV, the XSAVE
 * family and IC_PLAIN but for what 64-bit mode lacks (AAA ... BOUND): those have vector state, which does not live
 * here, and get #UD.
 * Checks CPL, mode and operands as the manual says; a fault leaves no partial register change.
 * Handles RF and the interrupt shadow of STI and MOV SS.  The single-step trap is the caller's: #DB (dr6 bit 14)
 * after SYS_DONE where RF_TF was set before the instruction, unless it was INT n, INT3, INTO or a SYSCALL that
 * cleared TF. */
enum sys_result sys_execute(struct cpu *c, const struct insn *in);

/* Executes a plain integer instruction with a memory operand (MOV, MOVZX/SX, MOVBE, ALU, test, xchg,
 * cmpxchg(8b/16b), xadd, bt*, inc/dec/not/neg, setcc, shifts, movnti, push/pop forms) through vmem_*: for MMIO, watchpoints
 * and pages that cannot be mapped.  Also MOVS/STOS/LODS/CMPS/SCAS, one iteration a call (SYS_AGAIN until done).
 * Returns -1 where the form is not covered, else enum sys_result. */
int sys_execute_memory(struct cpu *c, const struct insn *in);

/* Executes any IC_PLAIN instruction on general registers, flags and memory; as above.  The decimal ones are
 * sys_execute()'s. */
int sys_execute_plain(struct cpu *c, const struct insn *in);

/* x87 and SSE control instructions (fpu.c) on the state that is live in the host's registers; -1 for others. */
int sys_execute_fpu(struct cpu *c, const struct insn *in);

/* Fetches, decodes and executes the instruction at rip in whatever mode the processor is in: for the modes that
 * are not translated.  `in` tells what it was (in->len 0: it could not be fetched).  x87 and vector arithmetic and
 * the XSAVE family are not here: -1 with rip at one of them. */
int sys_interpret(struct cpu *c, struct insn *in);

/* INIT: the state after it (SDM 3A table 10-1); the local APIC, MTRRs, time-stamp counter and vector state stay. */
void cpu_init(struct cpu *c);
/* Start-up message: real mode at `vector` << 12. */
void cpu_startup(struct cpu *c, u8 vector);

/* Linear address of the ModRM memory operand, with segment base and address size applied (not canonical-checked). */
gva_t sys_operand_address(const struct cpu *c, const struct insn *in);

/* Records an exception in c->exc; returns SYS_FAULT. */
enum sys_result sys_raise(struct cpu *c, int vector);
enum sys_result sys_raise_error(struct cpu *c, int vector, u32 error);

/* Delivers c->exc through the IDT (64-bit gates, IST, TSS; contributory faults, #DF, shutdown as SDM 3A 6.15).
 * After it, c->rip and the rest stand at the handler, or c->shutdown is set. */
void sys_deliver_exception(struct cpu *c);
/* Delivers external interrupt `vector` / an NMI.  The caller has checked IF and shadows. */
void sys_deliver_interrupt(struct cpu *c, int vector);
void sys_deliver_nmi(struct cpu *c);

/* Loads/stores one MSR.  0, or -1 for #GP. */
int sys_rdmsr(struct cpu *c, u32 msr, u64 *value);
int sys_wrmsr(struct cpu *c, u32 msr, u64 value);
/* Name of an MSR that the guest has, else NULL; and the next such number after `after` (-1: the first), 0 at the end. */
const char *sys_msr_name(u32 msr);
u32 sys_msr_next(u64 after);

/* CPUID as the guest sees it: regs[0..3] = eax, ebx, ecx, edx, filtered from the host's by a table of
 * what the accelerator can virtualise. */
void sys_cpuid(const struct cpu *c, u32 leaf, u32 subleaf, u32 regs[4]);
/* Executes the host's CPUID for every leaf once (slow where the host itself is virtual); call before the first sys_cpuid(). */
void sys_cpuid_init(bool has_local_apic);
/* Frequency of the guest's time stamp counter, for CPUID leaves 0x15, 0x16 and 0x40000010; 0: not stated. */
void sys_cpuid_set_tsc_khz(u32 khz);
/* What the host's IA32_ARCH_CAPABILITIES says, as far as the caller could learn it (user mode cannot read the MSR;
 * the kernel's vulnerability files tell); Intel only.  Call before sys_cpuid_init(). */
void sys_cpuid_set_arch_capabilities(u64 host);
/* Offers AMX where the host has it (off at first: the process must hold the kernel's permission for it).
 * Call before sys_cpuid_init(). */
void sys_cpuid_offer_amx(bool offer);

/* How many vCPUs the machine has, for the topology leaves.  Call before sys_cpuid_init(). */
void sys_cpuid_set_cpus(u32 count);
/* Width of physical addresses: the processor knows no higher bits. */
int sys_physical_bits(void);

/* State after RESET (MTRRs as firmware leaves them).  Call after sys_cpuid_init(). */
void cpu_reset(struct cpu *c);
/* State at the 64-bit Linux boot entry: paging on through `page_table`, flat segments 0x10 and 0x18 of the four
 * descriptors that cpu_linux64_gdt() gives and that the caller has put at `gdt`; both identity-mapped. */
void cpu_enter_linux64(struct cpu *c, u64 entry, gpa_t boot_params, gpa_t page_table, gpa_t gdt);
void cpu_linux64_gdt(u64 gdt[4]);

/* ---- hooks, implemented by the accelerator (or by a test) ---- */
#define VM_READ 0u
/* vmem_read() with VM_WRITE: the bytes must be writable as well (a port is read only once its value has a place). */
#define VM_WRITE PF_W
#define VM_FETCH PF_I
#define VM_SYSTEM 0x100u /* implicit supervisor access (GDT, IDT, TSS, stack push at CPL 0): not subject to CPL 3 or AC */
/* Access guest virtual memory with the privileges of c->cpl (and SMAP/AC), or as supervisor with
 * VM_SYSTEM.  All or nothing for n <= 64: both pages are checked first.  0, or -1 with c->exc = #PF (or #GP/#SS where not canonical). */
int vmem_read(struct cpu *c, gva_t address, void *buffer, size_t n, u32 access);
int vmem_write(struct cpu *c, gva_t address, const void *buffer, size_t n, u32 access);
u32 io_in(struct cpu *c, u16 port, int size);
void io_out(struct cpu *c, u16 port, int size, u32 value);
u64 host_tsc(void);
/* Called after c->cr0/cr3/cr4/efer hold the new value, with the old one. */
void mmu_cr3_written(struct cpu *c, u64 old, u64 value_written /* bit 63: no flush */);
void mmu_control_changed(struct cpu *c, u64 old_cr0, u64 old_cr4, u64 old_efer);
void mmu_invlpg(struct cpu *c, gva_t address);
void mmu_invpcid(struct cpu *c, u64 type, u64 pcid, gva_t address);
/* The local APIC's MSRs: IA32_APIC_BASE, IA32_TSC_DEADLINE, 0x800-0x8ff.  0, or -1 for #GP. */
int apic_msr_read(struct cpu *c, u32 msr, u64 *value);
int apic_msr_write(struct cpu *c, u32 msr, u64 value);
/* Called when the MSRs or instructions change what translated code has baked in: lstar, sfmask, star,
 * FS/GS bases, debug registers, rflags.IF: `what` is the MSR number, or one of SYS_CHANGED_*. */
#define SYS_CHANGED_DR 0x10000u
#define SYS_CHANGED_XCR0 0x10001u
#define SYS_CHANGED_CR8 0x10002u
void mmu_msr_changed(struct cpu *c, u32 what);
/* kvmclock: (re)writes the pvclock page at guest physical `gpa` and wall clock; the accelerator has the clock. */
void clock_write_system_time(struct cpu *c, gpa_t page);
void clock_write_wall_clock(struct cpu *c, gpa_t page);

#endif
