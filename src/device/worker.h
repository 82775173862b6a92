/* SPDX-License-Identifier: MIT
 * The process in which one device's queues are served, and how front-end and it talk.
 *
 *     front-end                                   worker
 *       registers (virtio_pci.c)                    queues (virtqueue.c), the class's own functions
 *         |--- control: START RESET STOP CONFIG --->|
 *         |<-- control: RESET_DONE STOPPED BROKEN --|
 *         |             FAILED CONFIG DIED          |
 *       bell: eventfd that a notification writes -->|
 *         |<-- call: eventfd; page->irq says which queues have been served
 *
 * The worker is forked before the front-end confines itself and before it has threads.  It keeps guest RAM,
 * its descriptors and the page; everything else is closed to it: namespaces of its own, no capabilities, a
 * list of permitted system calls (worker_calls[] and the class's rows).
 *
 * It is two processes (keeper.c): the keeper sets everything up, sees nothing of the guest's, and waits for its child,
 * which serves.  A child that is killed (SIGKILL: by the host's administrator, or for want of memory) gets a successor, a
 * new fork of the keeper, with the next number of `life`.  The keeper tells of it with DIED; the front-end then sends
 * CONFIG and START with `again` set, and the successor goes on by the rings, the struct worker_record, and what its
 * class makes of them.  A child that ends in another way was wrong or attacked, and has no successor.
 *
 * State of a worker, with the message on each edge:
 *
 *     idle --START--> running --RESET--> resetting --(all requests done: worker_reset_done)--> idle
 *       ^                |--- STOP ---> stopping  --(the same)--> idle, with the queues' state sent
 *
 * Three kinds of trouble: what the guest did wrong is BROKEN, and the device asks for a reset; what the host
 * did wrong is FAILED, and the machine ends with that line; a request that failed is answered as such. */
#ifndef PENUMBRA_DEVICE_WORKER_H
#define PENUMBRA_DEVICE_WORKER_H

#include <poll.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/syscall_filter.h"
#include "device/virtqueue.h"

#define WORKER_QUEUES_MAX 32
#define WORKER_CONFIG_MAX 128
#define WORKER_FDS_MAX 16
#define WORKER_TEXT_MAX 256

struct virtio_device;
struct worker;

/* What a class of device does in its worker.  Functions that are NULL have nothing to do. */
struct worker_class {
	u32 rights;                    /* WORKER_*: what is left open */
	const struct syscall_rule *calls; /* permitted beyond worker_calls[] */
	size_t n_calls;
	/* Queues are not answered in order: requests under way are recorded (struct vq_record). */
	bool unordered;
	/* The machine cannot go on without it: its end, where there is no successor, is the machine's. */
	bool vital;
	/* Once, in the keeper, before the system call filter: descriptors and memory that all lives share.  No threads.  A
	 * failure ends the machine. */
	int (*begin)(struct worker *w, struct err *e);
	/* In each child, before its filter: threads, descriptors of its own. */
	int (*born)(struct worker *w, struct err *e);
	/* After start(), in a child that takes over: w->record->state is what its predecessor left there.  -errno where it
	 * cannot: then there is no successor. */
	int (*again)(struct worker *w);
	/* Queues were set up, w->features holds what was negotiated. */
	void (*start)(struct worker *w);
	/* Queue `q` may have requests. */
	void (*serve)(struct worker *w, u32 q);
	/* No request may be answered any more; those under way are finished or dropped.  Returns true when
	 * none is left, else worker_reset_done() follows later. */
	bool (*reset)(struct worker *w);
	/* The guest wrote w->config. */
	void (*config)(struct worker *w);
	/* Descriptors of its own: fills p[], returns how many (at most `room`); lowers *timeout_ms. */
	int (*fill)(struct worker *w, struct pollfd *p, int room, int *timeout_ms);
	void (*polled)(struct worker *w, const struct pollfd *p, int n);
	/* The machine is over: leaves what it has on the host in order.  A worker without this is killed. */
	void (*end)(struct worker *w);
	/* The device's own state beyond the queues, at most WORKER_STATE_MAX bytes. */
	size_t (*save)(struct worker *w, void *bytes, size_t room);
	int (*load)(struct worker *w, const void *bytes, size_t n);
};
#define WORKER_NETWORK 1 /* keeps the host's network namespace */
#define WORKER_FILES 2   /* keeps the host's file system tree */
#define WORKER_ROOT 4    /* keeps capabilities and namespaces (a shared directory with owners of its own) */

#define CONTROL_KINDS(K) \
	K(START) K(RESET) K(STOP) K(CONFIG) /* to the worker */ \
	K(RESET_DONE) K(STOPPED) K(BROKEN) K(FAILED) K(CONFIG_CHANGED) K(DIED) /* from it */
enum control_kind {
#define CONTROL_ENUM(name) CONTROL_##name,
	CONTROL_KINDS(CONTROL_ENUM)
#undef CONTROL_ENUM
};

#define WORKER_STATE_MAX 1024
struct control {
	u32 kind, n;                   /* n: queues, or bytes */
	u32 life;                      /* to the worker: the one that it is for; of DIED: the next one */
	u32 start, again;              /* of START: its number; whether it is repeated for another life */
	u64 features;
	u32 state_bytes;
	union {
		struct virtq_setup queue[WORKER_QUEUES_MAX];
		u8 config[WORKER_CONFIG_MAX];
		char text[WORKER_TEXT_MAX];
	};
	u8 state[WORKER_STATE_MAX];
};

/* Shared by both sides; each treats what the other writes as hostile. */
struct worker_page {
	_Atomic u64 irq;               /* queues with an interrupt due; set by the worker */
	_Atomic u32 clean_asked;       /* number of the last request to drop translations of clean[] */
	_Atomic u32 clean_done;        /* futex */
	u32 clean_n;
	u32 clean[DMA_TOUCHED_MAX];
};

/* What a child leaves for its successor; private to keeper and children. */
#define WORKER_RECORD_STATE 64
struct worker_record {
	_Alignas(8) u8 state[WORKER_RECORD_STATE];   /* the class's own */
	struct vq_record queue[WORKER_QUEUES_MAX];
};

/* Before the fork: what the process will have. */
struct worker_plan {
	const char *name;              /* "blk": its process is called penumbra-blk */
	const struct worker_class *class;
	struct dma dma;
	u32 n_queues;
	const void *config;            /* initial configuration space, may be NULL */
	u32 config_size;
	void *state;                   /* the class's own; the worker gets a copy by fork */
	int fds[WORKER_FDS_MAX];       /* kept open, under their numbers */
	int n_fds;
};

/* The front-end's side. */
struct worker_handle {
	pid_t pid;                     /* the keeper's */
	u32 life, starts;              /* of the child that messages are for; STARTs sent */
	int control, bell, call;       /* descriptors; call is readable when page->irq or clean_asked moved */
	struct worker_page *page;
	bool ends;                     /* by itself, once control is closed */
};

/* Forks it.  The front-end's handle is valid until worker_close(). */
int worker_fork(struct worker_handle *h, const struct worker_plan *plan, struct err *e);
void worker_close(struct worker_handle *h);
/* Sends a message, to the life at hand; -EPIPE and the like where the worker is gone. */
int worker_send(struct worker_handle *h, struct control *c);
/* Takes a message: 1, 0 for none now, negative where the worker is gone. */
int worker_receive(struct worker_handle *h, struct control *c);

/* ---- within the worker ---- */

struct worker {
	const char *name;
	const struct worker_class *class;
	void *state;
	struct dma dma;
	struct virtqueue queue[WORKER_QUEUES_MAX];
	u32 n_queues;
	u64 features;
	u8 config[WORKER_CONFIG_MAX];
	u32 config_size;
	bool running;                  /* between START and RESET */
	u32 leaving;                   /* CONTROL_RESET or CONTROL_STOP under way, else 0 (START) */
	bool told_broken;
	u32 life;                      /* 0: the first child */
	bool again;                    /* start() is for a device that was running in an earlier life */
	struct worker_record *record;
	int control, bell, call;
	struct worker_page *page;
};

/* Interrupts the driver for queue `q`, if it wants that. */
void worker_interrupt(struct worker *w, u32 q);
/* Any queue broken: tells the front-end, once. */
void worker_check_broken(struct worker *w);
/* The host failed: the machine ends with this line.  Does not return. */
_Noreturn void worker_fail(struct worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The last request is done after reset() returned false. */
void worker_reset_done(struct worker *w);
/* w->config was changed by the device: the driver is told. */
void worker_config_changed(struct worker *w);

/* ---- between worker.c and keeper.c ---- */

/* Serves until the end, in a child that has confined itself. */
_Noreturn void worker_loop(struct worker *w);
void worker_tell(struct worker *w, struct control *c, u32 kind);
/* Installs the filter with the rules of every worker, of the class, and `n` more; a failure ends the machine. */
void worker_filter(struct worker *w, const struct syscall_rule *more, size_t n);
/* The keeper's life, from the moment when everything is set up. */
_Noreturn void keeper_run(struct worker *w);

#endif
