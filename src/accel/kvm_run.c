/* SPDX-License-Identifier: MIT
 * Running a machine under KVM: one thread a vCPU.
 *
 * The first vCPU's thread is the caller of run().  It alone moves the devices' time on, and ends the run.  All
 * threads serve their own exits; the devices' lock is k->lock.
 *
 *	thread of another vCPU:  run --kick, end set--> out, joined by the first
 *
 * HLT is KVM's affair, so a guest in which every processor has halted with interrupts off is found by looking:
 * every TICK_NS, if the first one is so, a round begins in which each thread notes whether its own is. */
#include "accel/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KICK_SIGNAL SIGRTMIN
/* A deadline that has passed gives the guest at least this much time. */
#define SLICE_NS 50000ull
#define TICK_NS 100000000ull
#define ROUNDS 2u /* a processor may start another between being looked at and the other's turn */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- kick and deadline ---- */

static void kick(struct kvm_vcpu *v)
{
	v->run->immediate_exit = 1;
	if (atomic_load(&v->running))
		pthread_kill(v->thread, KICK_SIGNAL);
}

void kvm_kick(struct vm *vm)
{
	struct kvm *k = vm->accel_state;

	kick(&k->vcpu[0]);
}

/* From the timer: the pointer is the run page.  From kick(): the signal alone does it. */
static void on_kick(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_code == SI_TIMER)
		((struct kvm_run *)info->si_value.sival_ptr)->immediate_exit = 1;
}

static int start_timer(struct kvm *k, struct err *e)
{
	struct sigaction action = { .sa_sigaction = on_kick, .sa_flags = SA_SIGINFO };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL,
		.sigev_value.sival_ptr = k->vcpu[0].run,
	};

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (sigaction(KICK_SIGNAL, &action, NULL))
		return err_sys(e, errno, "kvm: sigaction");
	if (timer_create(CLOCK_MONOTONIC, &event, &k->timer))
		return err_sys(e, errno, "kvm: timer");
	k->has_timer = true;
	return 0;
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

/* `deadline` is absolute. */
static void arm_timer(struct kvm *k, u64 now, u64 deadline)
{
	u64 at = MAX(deadline, now + SLICE_NS);
	struct itimerspec when = { .it_value = { (time_t)(at / 1000000000u), (long)(at % 1000000000u) } };

	timer_settime(k->timer, TIMER_ABSTIME, &when, NULL);
}

/* ---- halted for good ---- */

static bool is_dead(const struct kvm_vcpu *v)
{
	struct kvm_mp_state m;
	struct kvm_regs r;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &m))
		return false;
	if (m.mp_state == KVM_MP_STATE_UNINITIALIZED || m.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		return true;
	return m.mp_state == KVM_MP_STATE_HALTED && !ioctl(v->fd, KVM_GET_REGS, &r) && !(r.rflags & RF_IF);
}

/* Each thread, when it comes out of KVM for whatever reason. */
static void note_halted(struct kvm *k, struct kvm_vcpu *v)
{
	u32 round = atomic_load(&k->round);

	if (round && is_dead(v))
		atomic_store(&v->seen_halted, round);
}

/* The first vCPU's thread, when a tick is over. */
static bool everyone_dead(struct kvm *k)
{
	u32 round = atomic_load(&k->round), dead = 0;

	if (!is_dead(&k->vcpu[0])) {
		atomic_store(&k->round, 0);
		return false;
	}
	for (u32 i = 1; i < k->n_vcpus; i++)
		dead += round && atomic_load(&k->vcpu[i].seen_halted) == round;
	if (dead == k->n_vcpus - 1 && (round >= ROUNDS || k->n_vcpus == 1))
		return true;
	for (u32 i = 1; i < k->n_vcpus; i++)
		atomic_store(&k->vcpu[i].seen_halted, 0);
	atomic_store(&k->round, dead == k->n_vcpus - 1 ? round + 1 : 1);
	for (u32 i = 1; i < k->n_vcpus; i++)
		kick(&k->vcpu[i]);
	return false;
}

/* ---- exits ---- */

static void handle_io(struct kvm_vcpu *v)
{
	struct vm *vm = v->vm;
	struct kvm *k = vm->accel_state;
	u8 *data = (u8 *)v->run + v->run->io.data_offset;
	u32 value;

	pthread_mutex_lock(&k->lock);
	for (u32 i = 0; i < v->run->io.count; i++, data += v->run->io.size) {
		value = 0;
		if (v->run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, v->run->io.size);
			vm->ops->io_out(vm, v->run->io.port, v->run->io.size, value);
		} else {
			value = vm->ops->io_in(vm, v->run->io.port, v->run->io.size);
			memcpy(data, &value, v->run->io.size);
		}
	}
	pthread_mutex_unlock(&k->lock);
	if (v->number)
		kick(&k->vcpu[0]); /* the devices' deadline may be another, or the guest has powered off */
}

static void handle_mmio(struct kvm_vcpu *v)
{
	struct vm *vm = v->vm;
	u64 value = ~0ull;

	if (v->run->mmio.is_write)
		memcpy(&value, v->run->mmio.data, sizeof value);
	if (vm->has_devices)
		vm->ops->device_memory(vm, v->run->mmio.phys_addr, (int)v->run->mmio.len, v->run->mmio.is_write, &value);
	if (!v->run->mmio.is_write)
		memcpy(v->run->mmio.data, &value, sizeof value);
}

/* One return of KVM_RUN. */
static int handle_exit(struct kvm_vcpu *v, struct err *e)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		v->exit_io++;
		handle_io(v);
		return 0;
	case KVM_EXIT_MMIO:
		v->exit_mmio++;
		handle_mmio(v);
		return 0;
	case KVM_EXIT_INTR:
		v->exit_interrupt++;
		return 0;
	case KVM_EXIT_SHUTDOWN:
		vm_request_end(v->vm, END_TRIPLE_FAULT);
		return 0;
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(e, -EIO, "kvm: the processor refused the guest's state (0x%llx)",
			       (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return err_set(e, -EIO, "kvm: internal error %u", v->run->internal.suberror);
	default:
		return err_set(e, -EIO, "kvm: unknown exit %u", v->run->exit_reason);
	}
}

static int enter(struct kvm_vcpu *v, struct err *e)
{
	int rc = ioctl(v->fd, KVM_RUN, 0);

	v->exits++;
	if (!rc)
		return handle_exit(v, e);
	if (errno != EINTR && errno != EAGAIN)
		return err_sys(e, errno, "KVM_RUN");
	v->exit_interrupt++;
	return 0;
}

/* Lets KVM finish the instruction whose port access was served last, so that the state is precise. */
static void complete_io(struct kvm_vcpu *v)
{
	v->run->immediate_exit = 1;
	ioctl(v->fd, KVM_RUN, 0);
}

/* ---- threads ---- */

static void *other_vcpu(void *arg)
{
	struct kvm_vcpu *v = arg;
	struct kvm *k = v->vm->accel_state;

	while (!v->error.code) {
		v->run->immediate_exit = 0;
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&v->vm->end_request) != END_NONE)
			break;
		note_halted(k, v);
		enter(v, &v->error);
	}
	if (v->error.code)
		vm_request_end(v->vm, END_ERROR);
	complete_io(v);
	return NULL;
}

static int start_others(struct kvm *k, struct err *e)
{
	sigset_t only_kicks, before;
	int rc = 0;

	sigfillset(&only_kicks);
	sigdelset(&only_kicks, KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &only_kicks, &before);
	for (u32 i = 1; !rc && i < k->n_vcpus; i++) {
		struct kvm_vcpu *v = &k->vcpu[i];

		v->error.code = 0;
		rc = pthread_create(&v->thread, NULL, other_vcpu, v);
		if (!rc)
			atomic_store(&v->running, true);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? err_sys(e, rc, "thread") : 0;
}

static void stop_others(struct vm *vm, struct kvm *k)
{
	/* Whatever ended the run is a request by now, as far as the other threads can tell. */
	vm_request_end(vm, vm->end == END_NONE ? END_ERROR : vm->end);
	for (u32 i = 1; i < k->n_vcpus; i++) {
		struct kvm_vcpu *v = &k->vcpu[i];

		if (!atomic_load(&v->running))
			continue;
		kick(v);
		pthread_join(v->thread, NULL);
		atomic_store(&v->running, false);
	}
}

static int run_loop(struct vm *vm, struct kvm *k, struct err *e)
{
	struct kvm_vcpu *v = &k->vcpu[0];
	u64 now = now_ns(), tick = now + TICK_NS, deadline;
	int rc = 0;

	while (!rc && vm->end == END_NONE) {
		/* Before end_request and input are looked at: a kick after this is not lost. */
		v->run->immediate_exit = 0;
		atomic_thread_fence(memory_order_seq_cst);
		vm->end = (enum vm_end)atomic_load(&vm->end_request);
		now = now_ns();
		pthread_mutex_lock(&k->lock);
		deadline = vm->ops->advance(vm, now);
		if (vm->end == END_NONE)
			vm->end = vm->ops->power_state(vm);
		pthread_mutex_unlock(&k->lock);
		if (vm->end == END_NONE && now >= tick) {
			tick = now + TICK_NS;
			if (everyone_dead(k))
				vm->end = END_HALTED;
		}
		if (vm->end != END_NONE)
			break;
		arm_timer(k, now, MIN(deadline, tick));
		rc = enter(v, e);
	}
	complete_io(v);
	return rc;
}

static void add_stats(struct vm_stats *stats, struct kvm *k)
{
	for (u32 i = 0; i < k->n_vcpus; i++) {
		struct kvm_vcpu *v = &k->vcpu[i];

		stats->exits += v->exits;
		stats->exit_io += v->exit_io;
		stats->exit_mmio += v->exit_mmio;
		stats->exit_interrupt += v->exit_interrupt;
		v->exits = v->exit_io = v->exit_mmio = v->exit_interrupt = 0;
		stats->interrupts += kvm_stats_interrupts(v->fd);
	}
}

int kvm_run(struct vm *vm, struct err *e)
{
	struct kvm *k = vm->accel_state;
	struct err state = { 0 };
	int rc;

	k->vcpu[0].thread = pthread_self();
	atomic_store(&k->round, 0);
	rc = start_timer(k, e);
	if (!rc)
		rc = start_others(k, e);
	if (!rc) {
		atomic_store(&k->vcpu[0].running, true);
		rc = run_loop(vm, k, e);
		atomic_store(&k->vcpu[0].running, false);
	}
	if (k->n_vcpus > 1)
		stop_others(vm, k);
	if (k->has_timer)
		timer_delete(k->timer);
	k->has_timer = false;
	for (u32 i = 1; !rc && i < k->n_vcpus; i++)
		if (k->vcpu[i].error.code)
			rc = err_set(e, k->vcpu[i].error.code, "%s", k->vcpu[i].error.text);
	if (rc)
		vm->end = END_ERROR;
	if (kvm_get_state(vm, 0, &vm->cpu, &state) && !rc) {
		vm->end = END_ERROR;
		rc = err_set(e, state.code, "%s", state.text);
	}
	add_stats(&vm->stats, k);
	vm->cpu.shutdown = vm->end == END_TRIPLE_FAULT;
	return rc;
}
