/* SPDX-License-Identifier: MIT */
#include "accel/bt_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CLEAN_LOOK_NS 100000000 /* between two looks at whether the guest still runs */

static long futex(_Atomic u32 *word, int op, u32 value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

/* Serves one access; everything in the box was written by the monitor. */
static void mail_serve(struct bt_devices *b, struct mailbox *m)
{
	u8 kind = m->kind, size = m->size;
	u64 address = m->address, data = m->data;
	bool write = m->write, sound = size == 1 || size == 2 || size == 4 || size == 8;
	u32 word = (u32)data;

	if (!sound) {
		data = ~0ull;
	} else if (kind == MAIL_CONFIG) {
		b->vm->ops->device_config(b->vm, (u32)address, MIN(size, 4), write, &word);
		data = word;
	} else {
		b->vm->ops->device_memory(b->vm, address, size, write, &data);
	}
	m->data = data;
}

static void *mail_thread(void *arg)
{
	struct bt_mail *t = arg;
	struct mailbox *m = t->box;
	u32 s;

	while ((s = atomic_load(&m->state)) != MAIL_CLOSED) {
		u32 asked = MAIL_ASKED;

		if (s != MAIL_ASKED) {
			futex(&m->state, FUTEX_WAIT, s, NULL);
			continue;
		}
		mail_serve(t->owner, m);
		atomic_compare_exchange_strong(&m->state, &asked, MAIL_ANSWERED);
		futex(&m->state, FUTEX_WAKE, 1, NULL);
	}
	return NULL;
}

int bt_devices_start(struct bt_devices *b, u32 vcpus, struct err *e)
{
	int rc;

	if (!b->vm->has_devices)
		return 0;
	atomic_store(&b->area->present, 1);
	for (b->n = 0; b->n < MIN(vcpus, (u32)DEVICE_VCPUS); b->n++) {
		struct bt_mail *t = &b->mail[b->n];

		t->owner = b;
		t->box = &b->area->mail[b->n];
		rc = pthread_create(&t->thread, NULL, mail_thread, t);
		if (rc)
			return err_sys(e, rc, "thread");
	}
	return 0;
}

void bt_devices_stop(struct bt_devices *b)
{
	for (u32 i = 0; i < b->n; i++) {
		atomic_store(&b->mail[i].box->state, MAIL_CLOSED);
		futex(&b->mail[i].box->state, FUTEX_WAKE, 1, NULL);
		pthread_join(b->mail[i].thread, NULL);
	}
	b->n = 0;
}

bool bt_devices_inherit(const struct vm *vm)
{
	int high[VM_BELLS];

	/* Out of the way first: a number of ours may be one that is still to be copied. */
	for (int i = 0; i < VM_BELLS; i++)
		high[i] = vm->bells[i] >= 0 ? fcntl(vm->bells[i], F_DUPFD, FD_BELLS + BELLS) : -1;
	for (int i = 0; i < VM_BELLS; i++)
		if (vm->bells[i] >= 0 && (high[i] < 0 || dup2(high[i], FD_BELLS + i) < 0))
			return false;
	/* What lies between is closed by whoever called. */
	for (int i = 0; i < VM_BELLS; i++)
		if (vm->bells[i] < 0)
			close(FD_BELLS + i);
	return true;
}

/* Waits for the vCPU, which looks at its next event; not beyond the end of the run. */
void bt_devices_clean(struct bt_devices *b, const u32 *frames, u32 n)
{
	struct device_area *a = b->area;
	struct timespec look = { 0, CLEAN_LOOK_NS };
	u32 seq, done;

	pthread_mutex_lock(&b->lock);
	seq = atomic_load(&a->clean_asked) + 1;
	n = MIN(n, (u32)CLEAN_MAX);
	memcpy(a->clean, frames, n * sizeof *frames);
	a->clean_n = n;
	atomic_store(&a->clean_asked, seq);
	b->kick(b->vm, 0);
	while ((done = atomic_load(&a->clean_done)) != seq && b->vm->end == END_NONE) {
		/* It may be waiting for an answer of the very device that has written. */
		futex(&a->mail[0].state, FUTEX_WAKE, 1, NULL);
		futex(&a->clean_done, FUTEX_WAIT, done, &look);
	}
	pthread_mutex_unlock(&b->lock);
}
