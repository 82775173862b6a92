/* SPDX-License-Identifier: MIT
 * struct cpu to and from a KVM vCPU.  Vector and x87 state is not part of it. */
#ifndef PENUMBRA_ACCEL_KVM_STATE_H
#define PENUMBRA_ACCEL_KVM_STATE_H

#include "base/err.h"
#include "x86/cpu.h"

/* `vcpu_fd` is not running.  c->halted is left alone: without an interrupt controller in the kernel
 * it is the caller's (Linux Documentation/virt/kvm/api.rst, KVM_GET_MP_STATE). */
int kvm_state_get(int vcpu_fd, struct cpu *c, struct err *e);
int kvm_state_set(int vcpu_fd, const struct cpu *c, struct err *e);

#endif
