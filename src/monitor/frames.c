/* SPDX-License-Identifier: MIT
 * What is known of each page of guest RAM: whether it holds translated code, and which blocks; whether it is a
 * guest table that is watched.
 *
 * Flags and the log change under the cache's lock. */
#include "base/sys.h"
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "translate/targets.h"

#define MAX_NODES (MAX_BLOCKS * 2)
#define CODE_LOG 16384

struct frames {
	u8 flags[MAX_FRAMES];
	u32 head[MAX_FRAMES];        /* frame node + 1 */
	u32 instances[MAX_FRAMES];
	struct frame_node nodes[MAX_NODES];
	u32 n_nodes, free_nodes;
	u32 log[CODE_LOG];           /* frames in the order in which they were flagged */
	u16 watchers[MAX_FRAMES];
	u8 unrest[MAX_FRAMES];
	u16 filter[TABLES_SIZE];     /* watched tables by the low bits of their numbers */
};
#define FRAMES ((struct frames *)HOST(SHARED_DISP + OFF_FRAMES))
_Static_assert(offsetof(struct frames, flags) == 0, "the front-end lets devices read the flags");
_Static_assert(OFF_FRAMES + sizeof(struct frames) <= OFF_SOURCES, "frames size");

u8 frame_flags(u64 frame) { return frame < MAX_FRAMES ? FRAMES->flags[frame] : 0; }
u64 frame_flags_of_8(u64 frame)
{
	u64 v = 0;

	if (frame + 8 <= MAX_FRAMES)
		__builtin_memcpy(&v, &FRAMES->flags[frame], 8);
	return v;
}

/* Most of memory has no code, and no tables: it is looked at by 64 frames. */
u64 frame_next_flagged(u64 from, u64 to)
{
	const u8 *flags = FRAMES->flags;

	to = MIN(to, (u64)MAX_FRAMES);
	for (u64 i = from; i < to; i++) {
		const u64 *w = (const u64 *)(flags + i);

		while (!(i & 63) && i + 64 <= to && !(w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7])) {
			i += 64;
			w += 8;
		}
		if (i < to && flags[i])
			return i;
	}
	return to;
}

u32 *frame_instances(u64 frame) { return &FRAMES->instances[frame]; }
u64 frame_of(u64 pa) { return ram_offset(pa) >> PAGE_SHIFT; }
u32 frame_blocks(u64 frame) { return FRAMES->head[frame]; }
void frame_set_blocks(u64 frame, u32 head) { FRAMES->head[frame] = head; }
struct frame_node *frame_node(u32 n) { return &FRAMES->nodes[n - 1]; }

void frame_node_free(struct frame_node *node)
{
	node->next = FRAMES->free_nodes;
	FRAMES->free_nodes = (u32)(node - FRAMES->nodes) + 1;
}

u16 *frame_watchers(u32 frame) { return &FRAMES->watchers[frame]; }
u8 *frame_unrest(u32 frame) { return &FRAMES->unrest[frame]; }

/* A checked store, or a write by C, that looked at the flag before may still be under way on another vCPU, which waits for
 * nobody there. */
static void gates_wait(void)
{
	for (u32 n = 0; smp() && n < SH->n_vcpus; n++)
		while (n != VCPU->number && __atomic_load_n(&TABLE_LOG_OF(n)->gate, __ATOMIC_ACQUIRE))
			sys0(__NR_sched_yield);
}

/* Has a frame mapped writable nowhere.  Whoever writes after this has either been seen by the caller, or sees the flag
 * (frame_written(), memory_written(), and device/dma.h, look at it after they wrote), or has the page mapped and is
 * told. */
static void flag(u32 frame, u8 what)
{
	u8 was = __atomic_fetch_or(&FRAMES->flags[frame], what, __ATOMIC_SEQ_CST);
	u64 epoch = SHADOW->code_epoch;

	if (was)
		return;
	FRAMES->log[epoch % CODE_LOG] = frame;
	__atomic_store_n(&SHADOW->code_epoch, epoch + 1, __ATOMIC_SEQ_CST);
	if (my.code_epoch == epoch)
		my.code_epoch++;
	space_protect_frames(&frame, 1);
	world_notice();
	gates_wait();
}

void frame_announce(u64 pa)
{
	u64 frame = ram_offset(pa) >> PAGE_SHIFT;

	if (frame < MAX_FRAMES && !(FRAMES->flags[frame] & FRAME_CODE))
		flag((u32)frame, FRAME_CODE);
}

void frames_watch(const u32 *frames, u32 n)
{
	cache_lock();
	for (u32 i = 0; i < n; i++) {
		u32 slot = frames[i] % TABLES_SIZE;

		if (FRAMES->flags[frames[i]] & FRAME_TABLE)
			continue;
		SHADOW_COUNT->tables_watched++;
		FRAMES->filter[slot]++;
		TABLES[slot] = 1;
		flag(frames[i], FRAME_TABLE);
	}
	cache_unlock();
}

void frame_unwatch(u32 frame)
{
	u32 slot = frame % TABLES_SIZE;

	cache_lock();
	if (FRAMES->flags[frame] & FRAME_TABLE) {
		SHADOW_COUNT->tables_released++;
		__atomic_fetch_and(&FRAMES->flags[frame], (u8)~FRAME_TABLE, __ATOMIC_SEQ_CST);
		if (--FRAMES->filter[slot] == 0)
			TABLES[slot] = 0;
	}
	cache_unlock();
}

static void add(u64 pa, u32 block)
{
	u64 frame = ram_offset(pa) >> PAGE_SHIFT;
	struct frame_node *node;
	u32 n = FRAMES->free_nodes;

	if (n)
		FRAMES->free_nodes = frame_node(n)->next;
	else
		n = ++FRAMES->n_nodes;
	node = frame_node(n);
	node->block = block;
	node->next = FRAMES->head[frame];
	FRAMES->head[frame] = n;
	frame_announce(pa);
}

void frame_add_block(struct cache *k, struct block *b)
{
	add(b->pa, (u32)(b - k->blocks));
	if (b->flags & BLOCK_SPANS)
		add(b->pa2, (u32)(b - k->blocks));
}

void frames_reset(void)
{
	u64 n = SHADOW->ram_size >> PAGE_SHIFT;

	for (u64 i = 0; i < n; i++)
		FRAMES->flags[i] &= FRAME_TABLE;
	__builtin_memset(FRAMES->head, 0, n * sizeof(u32));
	__builtin_memset(FRAMES->instances, 0, n * sizeof(u32));
	FRAMES->n_nodes = FRAMES->free_nodes = 0;
}

void frame_clear_code(u64 frame)
{
	cache_lock();
	SHADOW_COUNT->invalidations++;
	block_kill_frame(CACHE, frame);
	__atomic_fetch_and(&FRAMES->flags[frame], (u8)~FRAME_CODE, __ATOMIC_SEQ_CST);
	cache_unlock();
}

void frame_written(u64 pa)
{
	u64 off = ram_offset(pa);

	if (smp())
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (off != ~0ull && (FRAMES->flags[off >> PAGE_SHIFT] & FRAME_CODE))
		frame_clear_code(off >> PAGE_SHIFT);
}

/* B5 for writes by C: from the look at the flag to the last byte no page becomes code, either because whoever flags it
 * waits for this gate, or because the page was code already and the lock is held. */
bool frame_write_begin(u64 pa)
{
	u64 off = ram_offset(pa);

	if (!smp() || off == ~0ull)
		return false;
	__atomic_store_n(&TABLE_LOG->gate, 1, __ATOMIC_SEQ_CST);
	if (!(FRAMES->flags[off >> PAGE_SHIFT] & FRAME_CODE))
		return false;
	__atomic_store_n(&TABLE_LOG->gate, 0, __ATOMIC_RELEASE);
	frame_write_lock(pa);
	return true;
}

void frame_write_lock(u64 pa)
{
	cache_lock();
	frame_written(pa);
}

void frame_write_end(bool locked)
{
	if (locked)
		cache_unlock();
	else if (smp())
		__atomic_store_n(&TABLE_LOG->gate, 0, __ATOMIC_RELEASE);
}

/* Write-protects what was flagged since `seen`; the carrier has run with all of it before then. */
void frames_catch_up(u64 *seen)
{
	u64 now = SHADOW->code_epoch;

	if (now - *seen > CODE_LOG) {
		space_protect_frames(NULL, 0);
	} else {
		while (*seen < now) {
			u64 at = *seen % CODE_LOG, n = MIN(now - *seen, CODE_LOG - at);

			space_protect_frames(&FRAMES->log[at], n);
			*seen += n;
		}
	}
	*seen = now;
}
