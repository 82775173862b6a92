/* SPDX-License-Identifier: MIT
 * What a guest under KVM sees of its processors. */
#ifndef PENUMBRA_ACCEL_KVM_CPUID_H
#define PENUMBRA_ACCEL_KVM_CPUID_H

#include "base/err.h"
#include "base/types.h"

/* Gives vCPU `number` of `count` what KVM supports, with APIC ids and a topology of one package with one thread
 * a core.  Once for each vCPU, before it runs. */
int kvm_cpuid_set(int kvm_fd, int vcpu_fd, u32 number, u32 count, struct err *e);

#endif
