/* SPDX-License-Identifier: MIT
 * struct cpu to and from a KVM vCPU.  Vector and x87 state is not part of it. */
#ifndef PENUMBRA_ACCEL_KVM_STATE_H
#define PENUMBRA_ACCEL_KVM_STATE_H

#include "base/err.h"
#include "x86/cpu.h"

/* `vcpu_fd` is not running (Linux Documentation/virt/kvm/api.rst). */
int kvm_state_get(int vcpu_fd, struct cpu *c, struct err *e);
int kvm_state_set(int vcpu_fd, const struct cpu *c, struct err *e);
/* Guest's time-stamp counter minus the host's; -ENOTSUP where this KVM keeps no offset. */
int kvm_state_set_tsc(int vcpu_fd, u64 offset, struct err *e);

#endif
