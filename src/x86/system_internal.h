/* SPDX-License-Identifier: MIT
 * What the files of the privileged architecture share: the table of instruction classes, operand and
 * stack access, descriptors.  Not for use outside src/x86.
 *
 * Convention: helpers return 0, or -1 with c->exc pending; handlers return enum sys_result. */
#ifndef PENUMBRA_X86_SYSTEM_INTERNAL_H
#define PENUMBRA_X86_SYSTEM_INTERNAL_H

#include "x86/system.h"

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

/* Conditions checked before the handler runs; the first three give #UD, the last #GP(0). */
#define NEED_PROTECTED 1u
#define NEED_64 2u
#define NOT_IN_64 4u
#define NEED_CPL0 8u

/* One row per instruction class that C code executes: class, handler, conditions. */
#define SYS_CLASSES(ROW)                                        \
	ROW(IC_PLAIN, sys_do_decimal, NOT_IN_64)                \
	ROW(IC_JMP, sys_do_jump, 0)                             \
	ROW(IC_JCC, sys_do_jump, 0)                             \
	ROW(IC_LOOP, sys_do_loop, 0)                            \
	ROW(IC_CALL, sys_do_call, 0)                            \
	ROW(IC_RET, sys_do_ret, 0)                              \
	ROW(IC_JMP_IND, sys_do_jump_indirect, 0)                \
	ROW(IC_CALL_IND, sys_do_call, 0)                        \
	ROW(IC_JMP_FAR, sys_do_far, 0)                          \
	ROW(IC_CALL_FAR, sys_do_far, 0)                         \
	ROW(IC_RETF, sys_do_retf, 0)                            \
	ROW(IC_IRET, sys_do_iret, 0)                            \
	ROW(IC_INT, sys_do_int, 0)                              \
	ROW(IC_INT3, sys_do_int, 0)                             \
	ROW(IC_INT1, sys_do_int, 0)                             \
	ROW(IC_INTO, sys_do_int, NOT_IN_64)                     \
	ROW(IC_SYSCALL, sys_do_syscall, 0)                      \
	ROW(IC_SYSRET, sys_do_sysret, 0)                        \
	ROW(IC_SYSENTER, sys_do_sysenter, 0)                    \
	ROW(IC_SYSEXIT, sys_do_sysexit, 0)                      \
	ROW(IC_PUSH, sys_do_push, 0)                            \
	ROW(IC_POP, sys_do_pop, 0)                              \
	ROW(IC_PUSHA, sys_do_pusha, NOT_IN_64)                  \
	ROW(IC_POPA, sys_do_popa, NOT_IN_64)                    \
	ROW(IC_PUSHF, sys_do_pushf, 0)                          \
	ROW(IC_POPF, sys_do_popf, 0)                            \
	ROW(IC_PUSH_SEG, sys_do_push_seg, 0)                    \
	ROW(IC_POP_SEG, sys_do_pop_seg, 0)                      \
	ROW(IC_ENTER, sys_do_enter, 0)                          \
	ROW(IC_LEAVE, sys_do_leave, 0)                          \
	ROW(IC_MOVS, sys_do_memory, 0)                          \
	ROW(IC_STOS, sys_do_memory, 0)                          \
	ROW(IC_LODS, sys_do_memory, 0)                          \
	ROW(IC_CMPS, sys_do_memory, 0)                          \
	ROW(IC_SCAS, sys_do_memory, 0)                          \
	ROW(IC_INS, sys_do_string_io, 0)                        \
	ROW(IC_OUTS, sys_do_string_io, 0)                       \
	ROW(IC_IN, sys_do_in_out, 0)                            \
	ROW(IC_OUT, sys_do_in_out, 0)                           \
	ROW(IC_XLAT, sys_do_memory, 0)                          \
	ROW(IC_CLZERO, sys_do_memory, 0)                        \
	ROW(IC_MOV_FROM_SEG, sys_do_mov_from_seg, 0)            \
	ROW(IC_MOV_TO_SEG, sys_do_mov_to_seg, 0)                \
	ROW(IC_LOAD_FAR, sys_do_load_far, 0)                    \
	ROW(IC_MOFFS, sys_do_memory, 0)                         \
	ROW(IC_CLI, sys_do_cli_sti, 0)                          \
	ROW(IC_STI, sys_do_cli_sti, 0)                          \
	ROW(IC_STAC, sys_do_stac_clac, 0)                       \
	ROW(IC_CLAC, sys_do_stac_clac, 0)                       \
	ROW(IC_HLT, sys_do_hlt, NEED_CPL0)                      \
	ROW(IC_CLTS, sys_do_clts, NEED_CPL0)                    \
	ROW(IC_LMSW, sys_do_lmsw, NEED_CPL0)                    \
	ROW(IC_SMSW, sys_do_store_system, 0)                    \
	ROW(IC_LGDT, sys_do_load_table, NEED_CPL0)              \
	ROW(IC_LIDT, sys_do_load_table, NEED_CPL0)              \
	ROW(IC_SGDT, sys_do_store_table, 0)                     \
	ROW(IC_SIDT, sys_do_store_table, 0)                     \
	ROW(IC_LLDT, sys_do_lldt, NEED_PROTECTED | NEED_CPL0)   \
	ROW(IC_LTR, sys_do_ltr, NEED_PROTECTED | NEED_CPL0)     \
	ROW(IC_SLDT, sys_do_store_system, NEED_PROTECTED)       \
	ROW(IC_STR, sys_do_store_system, NEED_PROTECTED)        \
	ROW(IC_LAR, sys_do_lar_lsl, NEED_PROTECTED)             \
	ROW(IC_LSL, sys_do_lar_lsl, NEED_PROTECTED)             \
	ROW(IC_VERR, sys_do_verify, NEED_PROTECTED)             \
	ROW(IC_VERW, sys_do_verify, NEED_PROTECTED)             \
	ROW(IC_ARPL, sys_do_arpl, NEED_PROTECTED | NOT_IN_64)   \
	ROW(IC_MOV_FROM_CR, sys_do_mov_from_cr, NEED_CPL0)      \
	ROW(IC_MOV_TO_CR, sys_do_mov_to_cr, NEED_CPL0)          \
	ROW(IC_MOV_FROM_DR, sys_do_mov_dr, NEED_CPL0)           \
	ROW(IC_MOV_TO_DR, sys_do_mov_dr, NEED_CPL0)             \
	ROW(IC_RDMSR, sys_do_msr, NEED_CPL0)                    \
	ROW(IC_WRMSR, sys_do_msr, NEED_CPL0)                    \
	ROW(IC_RDPMC, sys_do_rdpmc, 0)                          \
	ROW(IC_RDTSC, sys_do_rdtsc, 0)                          \
	ROW(IC_RDTSCP, sys_do_rdtsc, 0)                         \
	ROW(IC_RDPID, sys_do_rdpid, 0)                          \
	ROW(IC_CPUID, sys_do_cpuid, 0)                          \
	ROW(IC_INVLPG, sys_do_invlpg, NEED_CPL0)                \
	ROW(IC_INVPCID, sys_do_invpcid, NEED_PROTECTED | NEED_CPL0) \
	ROW(IC_INVD, sys_do_nothing, NEED_CPL0)                 \
	ROW(IC_WBINVD, sys_do_nothing, NEED_CPL0)               \
	ROW(IC_SWAPGS, sys_do_swapgs, NEED_64 | NEED_CPL0)      \
	ROW(IC_RDFSBASE, sys_do_fsgsbase, NEED_64)              \
	ROW(IC_RDGSBASE, sys_do_fsgsbase, NEED_64)              \
	ROW(IC_WRFSBASE, sys_do_fsgsbase, NEED_64)              \
	ROW(IC_WRGSBASE, sys_do_fsgsbase, NEED_64)              \
	ROW(IC_XGETBV, sys_do_xgetbv, 0)                        \
	ROW(IC_XSETBV, sys_do_xsetbv, 0)                        \
	ROW(IC_VMCALL, sys_do_vmcall, 0)

#define DECLARE_HANDLER(klass, handler, need) \
	enum sys_result handler(struct cpu *c, const struct insn *in);
SYS_CLASSES(DECLARE_HANDLER)
#undef DECLARE_HANDLER

#define SEL_IS_NULL(s) (!((s) & 0xfffc))
#define SEL_RPL(s) ((s) & 3)

/* Descriptor types: with S set (bit 4 of the attributes) code and data, else system. */
#define TYPE_CODE 8
#define TYPE_CONFORMING 4   /* code */
#define TYPE_EXPAND_DOWN 4  /* data */
#define TYPE_READABLE 2     /* code */
#define TYPE_WRITABLE 2     /* data */
#define TYPE_ACCESSED 1
#define TYPE_LDT 2
#define TYPE_TSS 9
#define TYPE_TSS_BUSY 11
#define TYPE_CALL_GATE 12
#define TYPE_INTERRUPT_GATE 14
#define TYPE_TRAP_GATE 15

static inline bool cpu_is_long(const struct cpu *c) { return c->efer & EFER_LMA; }
static inline bool cpu_is_64(const struct cpu *c)
{
	return (c->efer & EFER_LMA) && (c->seg[SEG_CS].attr & ATTR_L);
}
static inline bool cpu_is_protected(const struct cpu *c) { return c->cr0 & CR0_PE; }
static inline bool is_canonical(u64 address) { return (u64)((s64)(address << 16) >> 16) == address; }
static inline bool attr_is_code(u16 attr) { return (attr & (ATTR_S | TYPE_CODE)) == (ATTR_S | TYPE_CODE); }
static inline bool attr_is_conforming(u16 attr)
{
	return attr_is_code(attr) && (attr & TYPE_CONFORMING);
}
static inline bool attr_is_writable_data(u16 attr)
{
	return (attr & (ATTR_S | TYPE_CODE | TYPE_WRITABLE)) == (ATTR_S | TYPE_WRITABLE);
}
static inline u64 size_mask(int size) { return size == 8 ? ~0ull : (1ull << (size * 8)) - 1; }
static inline int cpu_iopl(const struct cpu *c) { return (c->rflags >> 12) & 3; }

/* ---- system.c: operands and stack ---- */
u64 sys_next_rip(const struct cpu *c, const struct insn *in);
/* Ends an instruction that falls through. */
enum sys_result sys_done(struct cpu *c, const struct insn *in);
u64 sys_reg_read(const struct cpu *c, const struct insn *in, int reg, int size);
void sys_reg_write(struct cpu *c, const struct insn *in, int reg, int size, u64 value);
/* Segment (SEG_*) and offset within it of the ModRM memory operand. */
int sys_operand_segment(const struct insn *in);
u64 sys_operand_offset(const struct cpu *c, const struct insn *in);
/* Checks `size` bytes at seg:offset for `access` (limit, type, canonical form) and gives the linear address. */
int sys_linear(struct cpu *c, int seg, u64 offset, size_t size, u32 access, gva_t *linear);
/* Reads what is about to be written (access VM_WRITE): a fault says so. */
int sys_read_for(struct cpu *c, int seg, u64 offset, void *buffer, size_t size, u32 access);
int sys_read(struct cpu *c, int seg, u64 offset, void *buffer, size_t size);
int sys_write(struct cpu *c, int seg, u64 offset, const void *buffer, size_t size);
/* The ModRM operand, register or memory, `size` 1, 2, 4 or 8. */
int sys_rm_read(struct cpu *c, const struct insn *in, int size, u64 *value);
int sys_rm_write(struct cpu *c, const struct insn *in, int size, u64 value);
/* Stack access through a copy of RSP, so that nothing changes before everything has been checked. */
u64 sys_stack_mask(const struct cpu *c);
int sys_push(struct cpu *c, u64 *rsp, u64 value, int size);
int sys_pop(struct cpu *c, u64 *rsp, u64 *value, int size);
void sys_set_rsp(struct cpu *c, u64 rsp);
/* Operand size of far transfers, which do not default to 64 bits. */
int sys_far_size(const struct cpu *c, const struct insn *in);
bool sys_condition(const struct cpu *c, int cond);
/* #GP(0) unless `rip` can be fetched through code segment attributes `attr` and `limit`. */
int sys_check_rip(struct cpu *c, u64 rip, u16 attr, u32 limit);

/* ---- segment.c ---- */
struct descriptor {
	u64 raw, raw_high; /* the second half only of 16-byte system descriptors */
	struct cpu_seg seg;
	gva_t at;
};
/* Reads the descriptor of `sel` (not null).  Outside its table: `vector` with error sel | ext. */
int sys_descriptor_read(struct cpu *c, u16 sel, struct descriptor *d, int vector, u32 ext);
/* As above for system descriptors, which are 16 bytes in long mode. */
int sys_descriptor_read_system(struct cpu *c, u16 sel, struct descriptor *d, int vector, u32 ext);
/* Sets the accessed bit of a code or data descriptor in memory and in d->seg. */
int sys_descriptor_mark(struct cpu *c, struct descriptor *d);
struct cpu_seg sys_flat_code(u16 sel, int dpl, bool is_64);
struct cpu_seg sys_flat_stack(u16 sel, int dpl);
struct cpu_seg sys_null_stack(int cpl);
int sys_load_segment(struct cpu *c, int seg, u16 sel);
/* Returns to an outer or the same privilege level: checks CS and SS as RETF and IRET do. */
int sys_return_code(struct cpu *c, u16 sel, u64 rip, struct descriptor *d);
int sys_return_stack(struct cpu *c, u16 sel, int cpl, bool to_64, struct descriptor *d);
void sys_return_data_segments(struct cpu *c);

/* ---- interrupt.c ---- */
/* Stack pointer of privilege level `cpl`, or of the interrupt stack `ist` where not 0, from the 64-bit TSS. */
int sys_tss_stack(struct cpu *c, int cpl, int ist, u32 ext, u64 *rsp);

/* ---- cpuid.c ---- */
/* CPUID of the host; weak, so that a test can stand for another one. */
void sys_host_cpuid(u32 leaf, u32 subleaf, u32 r[4]);
bool sys_host_is_amd(void);
bool sys_has_local_apic(void);
/* One feature bit of the guest's CPUID; reg 0..3 = eax..edx. */
bool sys_cpuid_has(u32 leaf, u32 subleaf, int reg, int bit);
u64 sys_cr4_valid(void);
u64 sys_xcr0_valid(void);
u64 sys_efer_valid(void);
u64 sys_arch_capabilities(void);

/* ---- msr.c ---- */
/* Gives every MSR that lives in *c its reset value. */
void sys_msr_reset(struct cpu *c);

/* MSRs that code names. */
#define MSR_TSC 0x10u
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u

#endif
