/* SPDX-License-Identifier: MIT
 * Virtio 1.x devices over PCI (virtio 1.2 section 4.1): registers in the front-end, queues in a worker.
 *
 * A device is one file with a struct virtio_class, and one row in VIRTIO_CLASSES (devices.h).  How the two
 * halves talk is in worker.h.
 *
 * Status of a device (section 2.1), with who moves it on:
 *
 *     reset --driver: FEATURES_OK--> negotiated --driver: DRIVER_OK, START--> running
 *       ^                                                          | worker: BROKEN, or it died
 *       |                                                          v
 *       +---- worker: RESET_DONE <---- resetting <--driver: 0-- needs reset (or running)
 *
 * Until RESET_DONE the status reads as it was: the driver waits (section 4.1.4.3.1). */
#ifndef PENUMBRA_DEVICE_VIRTIO_H
#define PENUMBRA_DEVICE_VIRTIO_H

#include <stdio.h>

#include "device/pci.h"
#include "device/worker.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE_BASE 0x1040
#define VIRTIO_NO_VECTOR 0xffff

#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128

struct virtio_device;
struct device_set;

/* One kind of device. */
struct virtio_class {
	const char *name;              /* "rng", as the command line and its process's name have it */
	u16 id;                        /* section 5 */
	u32 pci_class;                 /* base class, subclass, interface */
	/* Reads the options, opens what is needed and fills in the description below; errors name the option. */
	int (*create)(struct virtio_device *d, const char *options, struct err *e);
	/* Frees d->state; may be NULL. */
	void (*destroy)(struct virtio_device *d);
	struct worker_class worker;
};

/* Registers that are saved; the queues' addresses are struct virtq_setup. */
#define VIRTIO_FIELDS(S, A) \
	S(64, driver_features) \
	S(32, device_select) S(32, driver_select) /* halves of the features */ \
	S(16, queue_select) \
	S(16, config_vector) \
	A(16, queue_vector, WORKER_QUEUES_MAX) \
	S(8, status) \
	S(8, generation) \
	S(8, isr) \
	A(8, config, WORKER_CONFIG_MAX)
struct virtio_state { VIRTIO_FIELDS(VIRTQ_VALUE, VIRTQ_ARRAY) };

struct virtio_device {
	/* Description, by the class's create(). */
	u64 features;                  /* offered, beyond what every device has */
	u32 n_queues;
	u16 queue_size;                /* at most; power of two */
	u32 config_size;               /* bytes of state.config that there are */
	u8 config_writable[WORKER_CONFIG_MAX]; /* bits that the driver may change */
	void *data;                    /* the class's own; the worker has a copy as w->state */
	int fds[WORKER_FDS_MAX], n_fds; /* what the worker keeps open; devices.c closes them, destroy() must not */
	int machine_fd;                /* the machine's end of a connection with the worker; -1: none */
	const struct worker_class *worker_class; /* where it depends on the options; NULL: the class's */
	/* The rest is the transport's. */
	struct pci_device pci;
	const struct virtio_class *class;
	struct device_set *set;
	struct virtio_state state;
	struct virtq_setup queue[WORKER_QUEUES_MAX];
	struct worker_handle worker;
	u8 window_cap;                 /* VIRTIO_PCI_CAP_PCI_CFG */
	u8 class_state[WORKER_STATE_MAX]; /* of the class, while the worker is stopped */
	u32 class_state_size;
	bool stopping, stopped;        /* the worker has answered virtio_stop_locked() */
	bool running, resetting, gone; /* gone: the worker died */
};

/* Completes a device that create() described, and puts it on the bus. */
int virtio_pci_attach(struct virtio_device *d, struct pci_bus *bus, struct err *e);

/* ---- with bus->lock held ---- */

/* A message of the worker's; a failure of the host is copied to `failed`. */
void virtio_control_locked(struct virtio_device *d, const struct control *c, struct err *failed);
/* Queues whose bits are set have been served. */
void virtio_interrupt_locked(struct virtio_device *d, u64 queues);
/* The worker died. */
void virtio_gone_locked(struct virtio_device *d);

/* ---- pause and state ---- */

/* Has the worker finish what is under way and tell where it stands; `stopped` is set when it has, at once where
 * there is nothing to stop. */
void virtio_stop_locked(struct virtio_device *d);
/* Goes on from there. */
void virtio_resume_locked(struct virtio_device *d);

#define VIRTIO_RECORD_MAX 8192
/* The state of a stopped device, in at most VIRTIO_RECORD_MAX bytes; returns how many. */
size_t virtio_save_locked(const struct virtio_device *d, u8 *bytes);
/* Takes it over, before the machine runs; -EINVAL where it is not of a device like this one, with the field. */
int virtio_load_locked(struct virtio_device *d, const u8 *bytes, size_t n, struct err *e);
/* Prints it. */
void virtio_dump_locked(const struct virtio_device *d, FILE *to);

#endif
