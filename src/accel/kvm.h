/* SPDX-License-Identifier: MIT
 * What the files of the kvm accelerator share. */
#ifndef PENUMBRA_ACCEL_KVM_H
#define PENUMBRA_ACCEL_KVM_H

#include "accel/accel.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <time.h>

#define KVM_VCPUS 64u

struct kvm_vcpu {
	struct vm *vm;
	u32 number;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	atomic_bool running;       /* `thread` is there to be kicked */
	_Atomic u32 seen_halted;   /* the round of the search for life in which it was found halted for good */
	u64 exits, exit_io, exit_mmio, exit_interrupt;
	struct err error;          /* why its thread ended the run */
};

struct kvm_bell { u64 gpa; u32 n; };

struct kvm {
	int kvm_fd, vm_fd;
	size_t run_size;
	u32 n_vcpus;
	struct kvm_vcpu vcpu[KVM_VCPUS];
	pthread_mutex_t lock;      /* the machine's devices */
	pthread_mutex_t bell_lock; /* `bell`; may be taken with `lock` held */
	struct kvm_bell bell[VM_BELLS];
	timer_t timer;
	bool has_timer, logs_dirty;
	_Atomic u32 round;         /* of the search for life; 0: none */
};

/* ---- kvm_run.c: run() and kick() of the accelerator ---- */
int kvm_run(struct vm *vm, struct err *e);
void kvm_kick(struct vm *vm);

/* ---- kvm.c ---- */
int kvm_get_state(struct vm *vm, u32 n, struct cpu *c, struct err *e);

/* ---- kvm_stats.c ---- */
/* The interrupts that KVM has given to this vCPU (api.rst, KVM_GET_STATS_FD); 0 where it does not say. */
u64 kvm_stats_interrupts(int vcpu_fd);

#endif
