/* SPDX-License-Identifier: MIT */
#include "device/dma.h"

#define FRAME_FLAGGED 3 /* holds translated code, or is a page table whose writes are recorded */

static void touch(struct dma *m, u32 frame)
{
	if (m->n_touched == DMA_TOUCHED_MAX)
		dma_settle_slow(m);
	m->touched[m->n_touched++] = frame;
}

void dma_wrote(struct dma *m, const void *p, u64 n)
{
	u64 offset = (u64)((const u8 *)p - m->ram), first = offset >> PAGE_SHIFT, last;

	if (!n || (!m->dirty && !m->flags))
		return;
	last = (offset + n - 1) >> PAGE_SHIFT;
	/* What was written is visible before either is looked at. */
	atomic_thread_fence(memory_order_seq_cst);
	for (u64 f = first; m->dirty && f <= last; f++)
		if (!(atomic_load_explicit(&m->dirty[f / 64], memory_order_relaxed) >> f % 64 & 1))
			atomic_fetch_or(&m->dirty[f / 64], 1ull << f % 64);
	for (u64 f = first; m->flags && f <= last; f++)
		if (((const volatile u8 *)m->flags)[f] & FRAME_FLAGGED)
			touch(m, (u32)f);
}

void dma_settle_slow(struct dma *m)
{
	u32 n = m->n_touched;

	m->n_touched = 0;
	if (n && m->clean)
		m->clean(m->opaque, m->touched, n);
}
