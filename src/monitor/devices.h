/* SPDX-License-Identifier: MIT
 * What the monitor and the front-end share about the devices that the front-end has: PCI and its memory.
 *
 * An access that the monitor cannot serve goes into the vCPU's mailbox and waits for the answer.  Writes to a
 * doorbell page do not wait: the monitor writes the device's eventfd, which it has inherited.  The front-end
 * treats everything here as hostile, and so does the monitor what concerns the guest's memory.
 *
 *     mailbox:  EMPTY --device_ask()--> ASKED --front-end: mail_serve()--> ANSWERED --device_ask()--> EMPTY
 *
 * A vCPU that waits for its mail holds no lock. */
#ifndef PENUMBRA_MONITOR_DEVICES_H
#define PENUMBRA_MONITOR_DEVICES_H

#include <stdatomic.h>

#include "base/types.h"

#define DEVICE_VCPUS 32
#define BELLS 32               /* one a PCI slot */
#define FD_BELLS 64            /* their descriptors in the monitor: FD_BELLS + slot; a multiple of BELLS */
#define CLEAN_MAX 128

enum mail_state { MAIL_EMPTY, MAIL_ASKED, MAIL_ANSWERED, MAIL_CLOSED /* by the front-end, at the end */ };
/* Kinds of access: what `address` is. */
enum mail_kind { MAIL_MEMORY /* guest physical */, MAIL_CONFIG /* as in port 0xcf8, low bits of the data port */ };

struct mailbox {
	_Atomic u32 state;     /* futex: enum mail_state */
	u8 kind, size, write, unused;
	u64 address, data;
} __attribute__((aligned(64)));

struct device_area {
	struct mailbox mail[DEVICE_VCPUS];
	_Atomic u64 bell[BELLS]; /* guest physical page whose writes ring; 0: none */
	_Atomic u32 present;   /* there are devices: accesses are worth asking */
	u32 config_address;    /* port 0xcf8 */
	/* Frames that a device wrote while they were flagged as code: their translations are dropped before the
	 * guest can know of the write (device/dma.h). */
	_Atomic u32 clean_asked, clean_done; /* numbers; clean_done is a futex */
	u32 clean_n;
	u32 clean[CLEAN_MAX];
};

#define OFF_DEVICES 0x3f8000   /* in the shared mapping, below OFF_SHADOW */
#define DEVICES ((struct device_area *)HOST(SHARED_DISP + OFF_DEVICES))
_Static_assert(sizeof(struct device_area) <= 0x7000, "device area size");

/* ---- devices.c, in the monitor ---- */

/* Guest physical memory that neither is RAM nor belongs to the monitor's devices, within a page. */
void front_read(u64 pa, void *buffer, size_t n);
void front_write(u64 pa, const void *buffer, size_t n);
/* PCI configuration ports: true where the port is one of theirs. */
bool device_port(u16 port, int size, bool write, u32 *value);
/* At each event: frames to clean. */
void device_events(void);
/* A device waits for them: not even a guest that keeps interrupts off may make it wait. */
bool device_waits(void);

#endif
