/* SPDX-License-Identifier: MIT */
#include "accel/kvm_cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define ENTRIES_MAX 256

enum { EAX_, EBX_, ECX_, EDX_ };

/* Bits that do not follow from what KVM supports: leaf, register, bits to keep (SDM 2A CPUID; cpuid.rst
 * of KVM). */
static const struct {
	u32 leaf;
	int reg;
	u32 keep;
} cpuid_masks[] = {
	{ 0x00000001, ECX_, ~(u32)BIT(3) },                     /* MONITOR: waits in a way that KVM does not see */
	/* kvmclock, no I/O delay, steal time, PV EOI, PV unhalt, PV flush, PV IPIs, PV yield */
	{ 0x40000001, EAX_, (u32)(BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(9) | BIT(11) | BIT(13) | BIT(24)) },
};

static u32 bits_for(u32 count)
{
	u32 n = 0;

	while ((1u << n) < count)
		n++;
	return n;
}

/* One package with `count` cores (SDM 3A 9.9.3; AMD's leaves: APM 3 E.4). */
static void topology(struct kvm_cpuid_entry2 *t, u32 number, u32 count, bool amd)
{
	u32 bits = bits_for(count);

	switch (t->function) {
	case 0x1:
		t->ebx = (t->ebx & 0xffff) | number << 24 | (count > 1 ? 1u << bits : 1u) << 16;
		t->edx = (t->edx & ~(u32)BIT(28)) | (count > 1 ? (u32)BIT(28) : 0);
		break;
	case 0x4:
	case 0x8000001d:
		if (t->eax & 31)
			t->eax = (t->eax & 0x3fff) | (t->function == 4 ? ((1u << bits) - 1) << 26 : 0) |
				 ((t->eax >> 5 & 7) > 2 ? ((1u << bits) - 1) << 14 : 0);
		break;
	case 0xb:
	case 0x1f:
		t->eax = t->index == 1 ? bits : 0;
		t->ebx = t->index == 1 ? count : t->index == 0;
		t->ecx = t->index | (t->index == 1 ? 2u : t->index == 0) << 8;
		t->edx = number;
		break;
	case 0x80000008:
		if (amd)
			t->ecx = count > 1 ? bits << 12 | (count - 1) : 0;
		break;
	case 0x8000001e:
		t->eax = number;
		t->ebx = number;
		t->ecx = 0;
		break;
	default:
		break;
	}
}

/* Leaf 0xb has to have its two levels, whatever KVM listed of it. */
static void add_levels(struct kvm_cpuid2 *c, u32 leaf)
{
	bool have[2] = { false, false }, any = false;

	for (u32 i = 0; i < c->nent; i++) {
		any |= c->entries[i].function == leaf;
		if (c->entries[i].function == leaf && c->entries[i].index < 2)
			have[c->entries[i].index] = true;
	}
	for (u32 level = 0; any && level < 2; level++)
		if (!have[level] && c->nent < ENTRIES_MAX)
			c->entries[c->nent++] = (struct kvm_cpuid_entry2){
				.function = leaf, .index = level, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			};
}

static void adapt(struct kvm_cpuid2 *c, u32 number, u32 count, bool deadline)
{
	bool amd = false;

	for (u32 i = 0; i < c->nent; i++) /* "AuthenticAMD", "HygonGenuine" */
		amd |= !c->entries[i].function && (c->entries[i].ebx == 0x68747541 || c->entries[i].ebx == 0x6f677948);
	add_levels(c, 0xb);
	add_levels(c, 0x1f);
	for (u32 i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *t = &c->entries[i];
		u32 *reg[] = { &t->eax, &t->ebx, &t->ecx, &t->edx };

		for (size_t m = 0; m < ARRAY_SIZE(cpuid_masks); m++)
			if (cpuid_masks[m].leaf == t->function)
				*reg[cpuid_masks[m].reg] &= cpuid_masks[m].keep;
		if (t->function == 1 && deadline)
			t->ecx |= (u32)BIT(24); /* KVM lists the bit only where it is asked for by itself */
		topology(t, number, count, amd);
	}
}

int kvm_cpuid_set(int kvm_fd, int vcpu_fd, u32 number, u32 count, struct err *e)
{
	size_t size = sizeof(struct kvm_cpuid2) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *c = calloc(1, size);
	int rc = 0;

	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	c->nent = ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c)) {
		rc = err_sys(e, errno, "KVM_GET_SUPPORTED_CPUID");
	} else {
		adapt(c, number, count, ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
		if (ioctl(vcpu_fd, KVM_SET_CPUID2, c))
			rc = err_sys(e, errno, "KVM_SET_CPUID2");
	}
	free(c);
	return rc;
}
