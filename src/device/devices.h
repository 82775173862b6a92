/* SPDX-License-Identifier: MIT
 * All devices of a machine: from descriptions to processes, and the thread that hears them.
 *
 * Made by the machine's thread before any other exists (workers are forked); devices_start() adds one thread,
 * which takes the workers' messages and turns them into interrupts under the bus's lock. */
#ifndef PENUMBRA_DEVICE_DEVICES_H
#define PENUMBRA_DEVICE_DEVICES_H

#include "device/virtio.h"

/* Every class: the symbol of its struct virtio_class. */
#define VIRTIO_CLASSES(C) \
	C(virtio_blk) \
	C(virtio_console) \
	C(virtio_net) \
	C(virtio_fs) \
	C(virtio_vsock) \
	C(virtio_balloon) \
	C(virtio_rng)
#define VIRTIO_CLASS_DECLARE(symbol) extern const struct virtio_class symbol;
VIRTIO_CLASSES(VIRTIO_CLASS_DECLARE)

struct device_spec {
	const char *class;   /* name of a virtio_class */
	const char *options; /* may be NULL */
};

/* What the machine gives. */
struct device_environment {
	struct pci_host host;
	struct dma dma;                /* RAM, code flags, dirty bits */
	/* Drops translations of frames; returns when done.  May be NULL where dma.flags is. */
	void (*clean)(void *opaque, const u32 *frames, u32 n);
	/* The host failed: devices_error() says how. */
	void (*failed)(void *opaque);
	void *opaque;
};

int devices_create(struct device_set **out, const struct device_spec *specs, size_t n,
		   const struct device_environment *env, struct err *e);
int devices_start(struct device_set *set, struct err *e);
/* Ends the thread and all workers; NULL is permitted. */
void devices_destroy(struct device_set *set);

/* Stops all devices: afterwards no worker touches guest memory, and nothing is under way.  The vCPUs do not run.
 * Only after devices_start(). */
void devices_pause(struct device_set *set);
/* Lets them go on. */
void devices_resume(struct device_set *set);
/* The state of all devices while they are paused, for free(): records of virtio_save_locked(), each after its length
 * in 4 bytes. */
int devices_save(struct device_set *set, u8 **bytes, size_t *n, struct err *e);
/* Takes it over: the set has the same devices in the same order, and has not run yet; devices_resume() starts them. */
int devices_load(struct device_set *set, const u8 *bytes, size_t n, struct err *e);

struct pci_bus *devices_bus(struct device_set *set);
/* The doorbell's descriptor of the device in a slot, -1 where there is none. */
int devices_bell(const struct device_set *set, unsigned slot);
/* The machine's end of the connection with the first worker of a class that has one, now the caller's; -1: none. */
int devices_take_machine_fd(struct device_set *set, const char *class);
/* Code 0 where no device has failed; to be read after devices_destroy() is no longer possible, so copy it
 * once the run has ended. */
const struct err *devices_error(const struct device_set *set);

#endif
