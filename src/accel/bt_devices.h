/* SPDX-License-Identifier: MIT
 * The front-end's side of monitor/devices.h: a thread for each vCPU's mailbox, doorbells, cleaning.
 *
 * bt_devices_start() and bt_devices_stop() belong to the vCPU thread, all else may be called from any. */
#ifndef PENUMBRA_ACCEL_BT_DEVICES_H
#define PENUMBRA_ACCEL_BT_DEVICES_H

#include <pthread.h>

#include "accel/accel.h"
#include "monitor/devices.h"

struct bt_devices {
	struct vm *vm;
	struct device_area *area;      /* in the shared mapping: hostile */
	void (*kick)(struct vm *vm, u32 vcpu);
	pthread_mutex_t lock;          /* of cleaning: one at a time */
	struct bt_mail { struct bt_devices *owner; struct mailbox *box; pthread_t thread; } mail[DEVICE_VCPUS];
	u32 n;                         /* threads that run */
};

int bt_devices_start(struct bt_devices *b, u32 vcpus, struct err *e);
void bt_devices_stop(struct bt_devices *b);

/* In the child that becomes the monitor: puts the doorbells where it expects them; false on failure. */
bool bt_devices_inherit(const struct vm *vm);

void bt_devices_clean(struct bt_devices *b, const u32 *frames, u32 n);

#endif
