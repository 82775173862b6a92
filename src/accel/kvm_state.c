/* SPDX-License-Identifier: MIT */
#include <signal.h>
#undef REG_RIP /* <ucontext.h> and the decoder both have one */

#include "accel/kvm_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

/* General registers: field of struct kvm_regs, number. */
#define GPRS(G)                                                                   \
	G(rax, RAX) G(rcx, RCX) G(rdx, RDX) G(rbx, RBX) G(rsp, RSP) G(rbp, RBP)   \
	G(rsi, RSI) G(rdi, RDI) G(r8, R8) G(r9, R9) G(r10, R10) G(r11, R11)       \
	G(r12, R12) G(r13, R13) G(r14, R14) G(r15, R15)

/* Control registers that struct kvm_sregs and struct cpu name alike. */
#define CONTROLS(C) C(cr0) C(cr2) C(cr3) C(cr4) C(cr8) C(efer) C(apic_base)

/* MSRs: number (SDM 4; KVM's own: Documentation/virt/kvm/x86/msr.rst), field of struct cpu. */
#define MSRS(M)                                                                   \
	M(0x174, sysenter_cs) M(0x175, sysenter_esp) M(0x176, sysenter_eip)       \
	M(0xc0000081, star) M(0xc0000082, lstar) M(0xc0000083, cstar)             \
	M(0xc0000084, sfmask) M(0xc0000102, kernel_gs_base)                       \
	M(0xc0000103, tsc_aux) M(0x277, pat) M(0x1a0, misc_enable)                \
	M(0x48, spec_ctrl) M(0x1d9, debugctl) M(0xda0, xss)                       \
	M(0x4b564d00, kvm_wall_clock) M(0x4b564d01, kvm_system_time)              \
	M(0x4b564d02, kvm_async_pf) M(0x4b564d03, kvm_steal_time)                 \
	M(0x4b564d04, kvm_pv_eoi) M(0x4b564d05, kvm_poll)                         \
	M(0x2ff, mtrr_def)                                                        \
	M(0x250, mtrr_fix[0]) M(0x258, mtrr_fix[1]) M(0x259, mtrr_fix[2])         \
	M(0x268, mtrr_fix[3]) M(0x269, mtrr_fix[4]) M(0x26a, mtrr_fix[5])         \
	M(0x26b, mtrr_fix[6]) M(0x26c, mtrr_fix[7]) M(0x26d, mtrr_fix[8])         \
	M(0x26e, mtrr_fix[9]) M(0x26f, mtrr_fix[10])                              \
	M(0x200, mtrr_base[0]) M(0x202, mtrr_base[1]) M(0x204, mtrr_base[2])      \
	M(0x206, mtrr_base[3]) M(0x208, mtrr_base[4]) M(0x20a, mtrr_base[5])      \
	M(0x20c, mtrr_base[6]) M(0x20e, mtrr_base[7])                             \
	M(0x201, mtrr_mask[0]) M(0x203, mtrr_mask[1]) M(0x205, mtrr_mask[2])      \
	M(0x207, mtrr_mask[3]) M(0x209, mtrr_mask[4]) M(0x20b, mtrr_mask[5])      \
	M(0x20d, mtrr_mask[6]) M(0x20f, mtrr_mask[7])

#define MSR_TSC 0x10
/* A counter that is further off than this, after it was set, was not set. */
#define TSC_SLACK (1ull << 32)

static const struct {
	u32 number;
	u32 offset;
} msrs[] = {
#define MSR_ROW(number, field) { number, offsetof(struct cpu, field) },
	MSRS(MSR_ROW)
#undef MSR_ROW
};

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* 1 where KVM did it, 0 where it has no such MSR or does not take the value. */
static int msr_get(int fd, u32 number, u64 *value)
{
	struct one_msr m = { .head = { .nmsrs = 1 }, .entry = { .index = number } };
	int n = ioctl(fd, KVM_GET_MSRS, &m);

	*value = n == 1 ? m.entry.data : 0;
	return n == 1;
}

static int msr_set(int fd, u32 number, u64 value)
{
	struct one_msr m = { .head = { .nmsrs = 1 }, .entry = { .index = number, .data = value } };

	return ioctl(fd, KVM_SET_MSRS, &m) == 1;
}

/* The offset itself where KVM tells it, which is exact (devices/vcpu.rst, KVM_VCPU_TSC_CTRL); else from
 * the counter. */
static struct kvm_device_attr tsc_attribute(u64 *offset)
{
	return (struct kvm_device_attr){
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)(uintptr_t)offset,
	};
}

static u64 tsc_get(int fd)
{
	u64 value = 0;
	struct kvm_device_attr a = tsc_attribute(&value);

	if (!ioctl(fd, KVM_GET_DEVICE_ATTR, &a))
		return value;
	return msr_get(fd, MSR_TSC, &value) ? value - __rdtsc() : 0;
}

/* A backend that lets guests read the host's counter as it is may take any value and keep none. */
int kvm_state_set_tsc(int fd, u64 offset, struct err *e)
{
	struct kvm_device_attr a = tsc_attribute(&offset);
	u64 now;

	if (ioctl(fd, KVM_SET_DEVICE_ATTR, &a))
		msr_set(fd, MSR_TSC, __rdtsc() + offset);
	if (!msr_get(fd, MSR_TSC, &now) || now - __rdtsc() - offset + TSC_SLACK > 2 * TSC_SLACK)
		return err_set(e, -ENOTSUP, "this kvm cannot offset the time-stamp counter");
	return 0;
}

static struct kvm_segment segment_to_kvm(const struct cpu_seg *s)
{
	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->sel,
		.type = ATTR_TYPE(s->attr), .s = !!(s->attr & ATTR_S), .dpl = ATTR_DPL(s->attr),
		.present = !!(s->attr & ATTR_P), .avl = !!(s->attr & BIT(12)),
		.l = !!(s->attr & ATTR_L), .db = !!(s->attr & ATTR_DB), .g = !!(s->attr & ATTR_G),
		.unusable = !(s->attr & ATTR_P),
	};
}

static struct cpu_seg segment_from_kvm(const struct kvm_segment *s)
{
	u32 attr = s->type | (u32)s->dpl << 5;

	attr |= (s->s ? ATTR_S : 0u) | (s->present && !s->unusable ? ATTR_P : 0u);
	attr |= (s->avl ? (u32)BIT(12) : 0u) | (s->l ? ATTR_L : 0u);
	attr |= (s->db ? ATTR_DB : 0u) | (s->g ? ATTR_G : 0u);
	return (struct cpu_seg){ .base = s->base, .limit = s->limit, .sel = s->selector, .attr = (u16)attr };
}

static int get_sregs(int fd, struct cpu *c, struct err *e)
{
	struct kvm_sregs s;

	if (ioctl(fd, KVM_GET_SREGS, &s))
		return err_sys(e, errno, "KVM_GET_SREGS");
	c->seg[SEG_ES] = segment_from_kvm(&s.es);
	c->seg[SEG_CS] = segment_from_kvm(&s.cs);
	c->seg[SEG_SS] = segment_from_kvm(&s.ss);
	c->seg[SEG_DS] = segment_from_kvm(&s.ds);
	c->seg[SEG_FS] = segment_from_kvm(&s.fs);
	c->seg[SEG_GS] = segment_from_kvm(&s.gs);
	c->tr = segment_from_kvm(&s.tr);
	c->ldt = segment_from_kvm(&s.ldt);
	c->gdt = (struct cpu_table){ s.gdt.base, s.gdt.limit };
	c->idt = (struct cpu_table){ s.idt.base, s.idt.limit };
#define CONTROL_GET(name) c->name = s.name;
	CONTROLS(CONTROL_GET)
	/* SDM 3A 5.5: CPL is the DPL of SS. */
	c->cpl = s.ss.dpl;
	return 0;
}

static int set_sregs(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_sregs s;

	memset(&s, 0, sizeof s);
	s.es = segment_to_kvm(&c->seg[SEG_ES]);
	s.cs = segment_to_kvm(&c->seg[SEG_CS]);
	s.ss = segment_to_kvm(&c->seg[SEG_SS]);
	s.ds = segment_to_kvm(&c->seg[SEG_DS]);
	s.fs = segment_to_kvm(&c->seg[SEG_FS]);
	s.gs = segment_to_kvm(&c->seg[SEG_GS]);
	s.tr = segment_to_kvm(&c->tr);
	s.ldt = segment_to_kvm(&c->ldt);
	s.gdt.base = c->gdt.base;
	s.gdt.limit = c->gdt.limit;
	s.idt.base = c->idt.base;
	s.idt.limit = c->idt.limit;
#define CONTROL_SET(name) s.name = c->name;
	CONTROLS(CONTROL_SET)
	if (ioctl(fd, KVM_SET_SREGS, &s))
		return err_sys(e, errno, "KVM_SET_SREGS");
	return 0;
}

static int get_regs(int fd, struct cpu *c, struct err *e)
{
	struct kvm_regs r;

	if (ioctl(fd, KVM_GET_REGS, &r))
		return err_sys(e, errno, "KVM_GET_REGS");
#define GPR_GET(name, number) c->gpr[number] = r.name;
	GPRS(GPR_GET)
	c->rip = r.rip;
	c->rflags = r.rflags;
	return 0;
}

static int set_regs(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_regs r;

	memset(&r, 0, sizeof r);
#define GPR_SET(name, number) r.name = c->gpr[number];
	GPRS(GPR_SET)
	r.rip = c->rip;
	r.rflags = c->rflags;
	if (ioctl(fd, KVM_SET_REGS, &r))
		return err_sys(e, errno, "KVM_SET_REGS");
	return 0;
}

/* An MSR that KVM lacks reads as 0 here and is left out when it is to be 0 or what KVM has. */
static void get_msrs(int fd, struct cpu *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		msr_get(fd, msrs[i].number, (u64 *)((char *)c + msrs[i].offset));
	c->tsc_offset = tsc_get(fd);
}

static int set_msrs(int fd, const struct cpu *c, struct err *e)
{
	u64 value, now;

	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		memcpy(&value, (const char *)c + msrs[i].offset, sizeof value);
		if (msr_set(fd, msrs[i].number, value) || !value)
			continue;
		if (!msr_get(fd, msrs[i].number, &now) || now != value)
			return err_set(e, -EINVAL, "KVM_SET_MSRS: MSR 0x%x does not take 0x%llx",
				       msrs[i].number, (unsigned long long)value);
	}
	return kvm_state_set_tsc(fd, c->tsc_offset, e);
}

static int get_xcr0(int fd, struct cpu *c, struct err *e)
{
	struct kvm_xcrs x;

	memset(&x, 0, sizeof x);
	if (ioctl(fd, KVM_GET_XCRS, &x))
		return err_sys(e, errno, "KVM_GET_XCRS");
	for (u32 i = 0; i < MIN(x.nr_xcrs, (u32)KVM_MAX_XCRS); i++)
		if (!x.xcrs[i].xcr)
			c->xcr0 = x.xcrs[i].value;
	return 0;
}

static int set_xcr0(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_xcrs x;

	memset(&x, 0, sizeof x);
	x.nr_xcrs = 1;
	x.xcrs[0].value = c->xcr0;
	if (ioctl(fd, KVM_SET_XCRS, &x))
		return err_sys(e, errno, "KVM_SET_XCRS");
	return 0;
}

static int get_debug(int fd, struct cpu *c, struct err *e)
{
	struct kvm_debugregs d;

	if (ioctl(fd, KVM_GET_DEBUGREGS, &d))
		return err_sys(e, errno, "KVM_GET_DEBUGREGS");
	memcpy(c->dr, d.db, 4 * sizeof c->dr[0]);
	c->dr[6] = d.dr6;
	c->dr[7] = d.dr7;
	return 0;
}

static int set_debug(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_debugregs d;

	memset(&d, 0, sizeof d);
	memcpy(d.db, c->dr, 4 * sizeof c->dr[0]);
	d.dr6 = c->dr[6];
	d.dr7 = c->dr[7];
	if (ioctl(fd, KVM_SET_DEBUGREGS, &d))
		return err_sys(e, errno, "KVM_SET_DEBUGREGS");
	return 0;
}

static int get_events(int fd, struct cpu *c, struct err *e)
{
	struct kvm_vcpu_events v;

	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &v))
		return err_sys(e, errno, "KVM_GET_VCPU_EVENTS");
	memset(&c->exc, 0, sizeof c->exc);
	if (v.exception.injected || v.exception.pending) {
		c->exc.pending = 1;
		c->exc.vector = v.exception.nr;
		c->exc.has_error = v.exception.has_error_code;
		c->exc.error = v.exception.error_code;
		c->exc.cr2 = v.exception.nr == VEC_PF ? c->cr2 : 0;
	}
	c->sti_shadow = v.interrupt.shadow != 0;
	c->nmi_masked = v.nmi.masked;
	c->nmi_pending = v.nmi.pending;
	return 0;
}

static int set_events(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_vcpu_events v;

	memset(&v, 0, sizeof v);
	v.exception.injected = c->exc.pending;
	v.exception.nr = c->exc.vector;
	v.exception.has_error_code = c->exc.has_error;
	v.exception.error_code = c->exc.error;
	v.interrupt.shadow = c->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0;
	v.nmi.masked = c->nmi_masked;
	v.nmi.pending = c->nmi_pending;
	v.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (ioctl(fd, KVM_SET_VCPU_EVENTS, &v))
		return err_sys(e, errno, "KVM_SET_VCPU_EVENTS");
	return 0;
}

static int get_halted(int fd, struct cpu *c, struct err *e)
{
	struct kvm_mp_state m;

	if (ioctl(fd, KVM_GET_MP_STATE, &m))
		return err_sys(e, errno, "KVM_GET_MP_STATE");
	c->halted = m.mp_state == KVM_MP_STATE_HALTED;
	return 0;
}

static int set_halted(int fd, const struct cpu *c, struct err *e)
{
	struct kvm_mp_state m = { c->halted ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE };

	return ioctl(fd, KVM_SET_MP_STATE, &m) ? err_sys(e, errno, "KVM_SET_MP_STATE") : 0;
}

int kvm_state_get(int vcpu_fd, struct cpu *c, struct err *e)
{
	int rc = get_regs(vcpu_fd, c, e);

	if (!rc)
		rc = get_sregs(vcpu_fd, c, e);
	if (!rc)
		rc = get_xcr0(vcpu_fd, c, e);
	if (!rc)
		rc = get_debug(vcpu_fd, c, e);
	if (!rc)
		rc = get_events(vcpu_fd, c, e);
	if (!rc)
		rc = get_halted(vcpu_fd, c, e);
	if (!rc)
		get_msrs(vcpu_fd, c);
	return rc;
}

int kvm_state_set(int vcpu_fd, const struct cpu *c, struct err *e)
{
	int rc = set_sregs(vcpu_fd, c, e);

	if (!rc)
		rc = set_regs(vcpu_fd, c, e);
	if (!rc)
		rc = set_xcr0(vcpu_fd, c, e);
	if (!rc)
		rc = set_msrs(vcpu_fd, c, e);
	if (!rc)
		rc = set_debug(vcpu_fd, c, e);
	if (!rc)
		rc = set_events(vcpu_fd, c, e);
	if (!rc)
		rc = set_halted(vcpu_fd, c, e);
	return rc;
}
