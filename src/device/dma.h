/* SPDX-License-Identifier: MIT
 * Guest RAM as a device sees it: the only way by which a device reads or writes it.
 *
 * Belongs to one device's process (worker.h) or thread; no lock.  Whatever a device has written it
 * reports with dma_wrote(); nothing that tells the guest so may be published before dma_settle().
 *
 * Invariants
 *  D1  No pointer that dma_at() returned leads outside of RAM, whatever the guest asked for.
 *  D2  When dma_settle() has returned, every page reported before is marked dirty, and no
 *      translation of what it held before is left in the code cache.
 *
 * D2 across processes: the translator flags a frame as code before it reads the bytes
 * (monitor/frames.c), a device looks at the flag after it wrote.  Either the device sees the flag,
 * and has the translations dropped, or the translator sees the new bytes. */
#ifndef PENUMBRA_DEVICE_DMA_H
#define PENUMBRA_DEVICE_DMA_H

#include <stdatomic.h>

#include "base/types.h"

#define DMA_HIGH 0x100000000ull /* where RAM above the device hole begins for the guest */
#define DMA_TOUCHED_MAX 128

struct dma {
	u8 *ram;                 /* all of RAM, contiguous here */
	u64 size, low;           /* bytes; [low, size) appears at DMA_HIGH */
	const u8 *flags;         /* one byte a page, not 0: the monitor must hear of writes (code, page tables); NULL: it never does */
	_Atomic u64 *dirty;      /* a bit a page; NULL: not recorded */
	u32 touched[DMA_TOUCHED_MAX], n_touched; /* frames that hold code and were written */
	/* Drops the translations of the frames and returns when it is done. */
	void (*clean)(void *opaque, const u32 *frames, u32 n);
	void *opaque;
};

/* Host pointer to guest physical [gpa, gpa + n), NULL where that is not RAM in one piece; n of at least 1. */
static inline void *dma_at(const struct dma *m, u64 gpa, u64 n)
{
	u64 high = m->size - m->low;

	if (gpa < m->low && n <= m->low - gpa)
		return m->ram + gpa;
	if (gpa >= DMA_HIGH && gpa - DMA_HIGH < high && n <= high - (gpa - DMA_HIGH))
		return m->ram + m->low + (gpa - DMA_HIGH);
	return NULL;
}

/* [p, p + n), from dma_at(), has been written. */
void dma_wrote(struct dma *m, const void *p, u64 n);

void dma_settle_slow(struct dma *m);

/* Before the guest can learn of what was written. */
static inline void dma_settle(struct dma *m)
{
	if (m->n_touched)
		dma_settle_slow(m);
}

#endif
