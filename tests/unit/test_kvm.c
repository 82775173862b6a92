/* SPDX-License-Identifier: MIT
 * The kvm accelerator below the machine: state in and out, dirty pages. */
/* WITH: base/err.c accel/accel.c accel/probe.c accel/kvm.c accel/kvm_run.c accel/kvm_cpuid.c accel/kvm_stats.c accel/kvm_state.c */
/* WITH: machine/ram.c machine/kernel.c machine/linux_boot.c machine/boot.c machine/pvh.c machine/multiboot.c machine/payload.c */
/* WITH: machine/payload_gzip.c machine/payload_xz.c machine/payload_zstd.c machine/payload_lz4.c */
/* WITH: machine/payload_bzip2.c */
/* LIBS: -lz -llzma -lzstd -llz4 -lbz2 */

#include "accel/accel.h"
#include "accel/probe.h"
#include "machine/linux_boot.h"
#include "machine/ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RAM_SIZE (128ull << 20)
#define CODE 0x1000000ull
#define TARGET 0x3000000ull

static int failures;

static void result(bool good, const char *name, const char *detail)
{
	if (good)
		printf("ok - %s\n", name);
	else
		printf("not ok - %s: %s\n", name, *detail ? detail : "wrong result");
	failures += !good;
}

/* ---- a machine without devices ---- */

static u64 no_advance(struct vm *vm, u64 now_ns)
{
	(void)vm;
	(void)now_ns;
	return UINT64_MAX;
}

static enum vm_end no_power(struct vm *vm)
{
	(void)vm;
	return END_NONE;
}

static const struct vm_ops ops = { .advance = no_advance, .power_state = no_power };

/* rdmsr; mov [TARGET], eax; mov [TARGET + 4], edx; hlt */
static u8 code[] = {
	0x0f, 0x32, 0x89, 0x04, 0x25, 0x00, 0x00, 0x00, 0x03, 0x89, 0x14, 0x25, 0x04, 0x00, 0x00, 0x03, 0xf4,
};

static int make(struct vm *vm, const struct host_info *host, struct err *e)
{
	struct kernel k = {
		.elf = code, .elf_size = sizeof code, .segments = 1, .entry = CODE,
		.segment = { { 0, sizeof code, CODE, sizeof code } }, .start = CODE, .end = CODE + sizeof code,
	};
	struct boot_image boot = { .kernel = &k, .command_line = "" };
	int rc;

	vm->accel = &accel_kvm;
	vm->host = host;
	vm->ops = &ops;
	vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = ram_create(vm, RAM_SIZE, e);
	if (!rc)
		rc = linux64_load(vm, &boot, e);
	return rc ? rc : accel_kvm.create(vm, e);
}

/* ---- state ---- */

/* Fields of struct cpu that must come back as they were set, with a value that is legal but not the
 * boot's: field, value. */
#define FIELDS(F)                                                                 \
	F(gpr[RAX], 0x1111111111111111) F(gpr[RBX], 0x2222222222222222)           \
	F(gpr[RCX], 3) F(gpr[RDX], 4) F(gpr[RSI], 5) F(gpr[RDI], 6)               \
	F(gpr[RSP], 0xffff888000001000) F(gpr[RBP], 8) F(gpr[R8], 9)              \
	F(gpr[R9], 10) F(gpr[R10], 11) F(gpr[R11], 12) F(gpr[R12], 13)            \
	F(gpr[R13], 14) F(gpr[R14], 15) F(gpr[R15], 0xfedcba9876543210)           \
	F(rip, 0xffffffff81000000) F(rflags, 0x246)                               \
	F(seg[SEG_FS].base, 0x7f0000001000) F(seg[SEG_GS].base, 0xffff888012340000) \
	F(seg[SEG_DS].limit, 0xfffff) F(tr.base, 0xfffffe0000003000) F(tr.limit, 0x4087) \
	F(gdt.base, 0xfffffe0000001000) F(gdt.limit, 0x7f)                        \
	F(idt.base, 0xfffffe0000000000) F(idt.limit, 0xfff)                       \
	F(cr2, 0xdeadbeef000) F(cr3, 0x9000) F(cr4, CR4_PAE | CR4_PGE | CR4_OSFXSR) \
	F(efer, EFER_LME | EFER_LMA | EFER_SCE | EFER_NX)                         \
	F(star, 0x0023001000000000) F(lstar, 0xffffffff81800000)                  \
	F(cstar, 0xffffffff81800100) F(sfmask, 0x47700)                           \
	F(kernel_gs_base, 0x7fff00001000) F(sysenter_cs, 0x10)                    \
	F(sysenter_esp, 0xfffffe0000002000) F(sysenter_eip, 0xffffffff81801000)   \
	F(pat, 0x0407050600070106) F(xcr0, 3) F(dr[0], 0x1000) F(dr[3], 0x4000)   \
	F(dr[7], 0x401) F(mtrr_def, 0xc06) F(mtrr_fix[3], 0x0606060606060606)

static void test_state(struct vm *vm)
{
	struct cpu want = vm->cpu, got;
	struct err e = { 0 };
	char name[80];
	int rc;

#define SET(field, value) want.field = value;
	FIELDS(SET)
	want.tsc_offset = 0;
	rc = accel_kvm.set_state(vm, 0, &want, &e);
	if (!rc)
		rc = accel_kvm.get_state(vm, 0, &got, &e);
	result(!rc, "state is set and read", e.text);
	if (rc)
		return;
#define COMPARE(field, value)                                                             \
	snprintf(e.text, sizeof e.text, "0x%llx, not 0x%llx", (unsigned long long)got.field, \
		 (unsigned long long)want.field);                                          \
	snprintf(name, sizeof name, "state keeps %s", #field);                             \
	result(got.field == want.field, name, e.text);
	FIELDS(COMPARE)
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof name, "state keeps segment %d", i);
		snprintf(e.text, sizeof e.text, "attributes 0x%x, not 0x%x", got.seg[i].attr, want.seg[i].attr);
		result(got.seg[i].sel == want.seg[i].sel && got.seg[i].attr == want.seg[i].attr, name, e.text);
	}
	result(got.cpl == 0 && !got.exc.pending && !got.halted, "state has no exception and runs", "");
}

/* The guest itself reads what was set: number (SDM 4), field, value. */
#define GUEST_MSRS(M)                                                             \
	M(0xc0000081, star, 0x0023001000000000) M(0xc0000082, lstar, 0xffffffff81800000) \
	M(0xc0000083, cstar, 0xffffffff81800100) M(0xc0000084, sfmask, 0x47700)   \
	M(0xc0000102, kernel_gs_base, 0x7fff00001000) M(0x277, pat, 0x0407050600070106) \
	M(0x174, sysenter_cs, 0x10) M(0x175, sysenter_esp, 0xfffffe0000002000)    \
	M(0x176, sysenter_eip, 0xffffffff81801000) M(0xc0000101, seg[SEG_GS].base, 0xffff888012340000)

static void test_guest_msrs(struct vm *vm, const struct cpu *boot)
{
	static const struct { u32 number; size_t offset; u64 value; const char *name; } rows[] = {
#define GUEST_MSR_ROW(number, field, value) { number, offsetof(struct cpu, field), value, #field },
		GUEST_MSRS(GUEST_MSR_ROW)
	};
	struct cpu c = *boot;
	char name[80], got[80];
	u64 value;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		memcpy((char *)&c + rows[i].offset, &rows[i].value, sizeof(u64));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { 0 };
		int rc;

		c.gpr[RCX] = rows[i].number;
		vm->end = END_NONE;
		rc = accel_kvm.set_state(vm, 0, &c, &e);
		if (!rc)
			rc = accel_kvm.run(vm, &e);
		memcpy(&value, vm->ram + TARGET, sizeof value);
		snprintf(got, sizeof got, "%.40s 0x%llx", e.text, (unsigned long long)value);
		snprintf(name, sizeof name, "the guest reads %s", rows[i].name);
		result(!rc && vm->end == END_HALTED && value == rows[i].value, name, got);
	}
	vm->end = END_NONE;
}

/* An offset is kept, or refused aloud. */
static void test_tsc(struct vm *vm, const struct cpu *boot, bool emulated)
{
	struct cpu want = *boot, got = *boot;
	struct err e = { 0 };
	int rc;

	want.tsc_offset = (u64)-1000000000000;
	rc = accel_kvm.set_state(vm, 0, &want, &e);
	if (rc && emulated) {
		result(strstr(e.text, "time-stamp counter"), "an impossible time-stamp offset is refused", e.text);
		return;
	}
	if (!rc)
		rc = accel_kvm.get_state(vm, 0, &got, &e);
	if (!rc)
		snprintf(e.text, sizeof e.text, "off by %lld", (long long)(got.tsc_offset - want.tsc_offset));
	result(!rc && got.tsc_offset - want.tsc_offset + 100000000 < 200000000,
	       "state keeps the time-stamp offset", e.text);
}

/* ---- dirty pages ---- */

static u64 count_bits(const u64 *bitmap)
{
	u64 n = 0;

	for (u64 i = 0; i < RAM_SIZE / PAGE_SIZE / 64; i++)
		n += (u64)__builtin_popcountll(bitmap[i]);
	return n;
}

static void test_run_and_dirty(struct vm *vm, const struct cpu *boot)
{
	static u64 bitmap[RAM_SIZE / PAGE_SIZE / 64];
	struct err e = { 0 };
	struct cpu c = *boot;
	char got[80];
	u64 value;
	int rc;

	c.gpr[RCX] = 0x277;
	memset(vm->ram + TARGET, 0, sizeof value);
	rc = accel_kvm.set_state(vm, 0, &c, &e);
	if (!rc)
		rc = accel_kvm.read_dirty(vm, bitmap, &e);
	result(!rc && count_bits(bitmap) == RAM_SIZE / PAGE_SIZE, "the first call reports every page", e.text);
	memset(bitmap, 0, sizeof bitmap);
	rc = accel_kvm.read_dirty(vm, bitmap, &e);
	snprintf(got, sizeof got, "%llu", (unsigned long long)count_bits(bitmap));
	result(!rc && !count_bits(bitmap), "nothing is dirty before the guest runs", got);
	rc = accel_kvm.run(vm, &e);
	result(!rc && vm->end == END_HALTED, "the guest runs to its HLT", e.text);
	memcpy(&value, vm->ram + TARGET, sizeof value);
	result(value == boot->pat, "the guest has written", "");
	result(vm->cpu.rip == CODE + sizeof code && vm->cpu.halted, "the state stands behind HLT", "");
	rc = accel_kvm.read_dirty(vm, bitmap, &e);
	snprintf(got, sizeof got, "%llu pages", (unsigned long long)count_bits(bitmap));
	result(!rc && bitmap[TARGET / PAGE_SIZE / 64] >> (TARGET / PAGE_SIZE % 64) & 1 && count_bits(bitmap) < 16,
	       "its page is dirty, and few others", got);
	memset(bitmap, 0, sizeof bitmap);
	rc = accel_kvm.read_dirty(vm, bitmap, &e);
	result(!rc && !count_bits(bitmap), "reading clears", e.text);
}

int main(void)
{
	struct host_info host;
	struct vm vm = { .ram_fd = -1 };
	struct err e = { 0 };
	struct cpu boot;

	setvbuf(stdout, NULL, _IOLBF, 0);
	host_probe(&host);
	if (accel_kvm.probe(&host, &e)) {
		printf("1..0 # SKIP %s\n", e.text);
		return 0;
	}
	if (make(&vm, &host, &e)) {
		printf("not ok - the machine is made: %s\n", e.text);
		return 1;
	}
	boot = vm.cpu;
	test_state(&vm);
	test_guest_msrs(&vm, &boot);
	test_tsc(&vm, &boot, host.kvm == HOST_KVM_EMULATED);
	test_run_and_dirty(&vm, &boot);
	accel_kvm.destroy(&vm);
	ram_destroy(&vm);
	close(vm.wake_fd);
	return failures != 0;
}
