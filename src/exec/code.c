/* SPDX-License-Identifier: MIT
 * From a guest address to a block; the pages that blocks come from; the targets of indirect branches.
 *
 * The translator's "physical address" is the guest address, a frame is a page of it.  Everything here needs
 * code_lock, which the caller holds. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/keep.h"
#include "translate/targets.h"
#include "x86/emit.h"

#define FRAMES 65536
#define FRAME_HASH 32768
#define MADV_DONTNEED 4
#define MADV_POPULATE_WRITE 23 /* refused before Linux 5.14: the faults come one by one */
#define FILL 0x4000ull /* bytes of targets that are filled together */
#define FILL_CACHE 0x10000ull /* bytes of the cache and its records */
#define GRANULE 0x10000ull /* of code, whose targets are mapped together */

_Atomic u32 code_lock;
struct exec_stats stats;

/* Pages with translations, hashed by page number. */
struct code_page {
	u64 page;
	u32 blocks, next;
	bool watched;
	bool far; /* a branch of it goes through far_lookup */
	u8 known[PAGE_SIZE / 8]; /* a bit for each byte: an instruction that can be entered */
};
static struct code_page frames[FRAMES];
static u32 frame_hash[FRAME_HASH], n_frames;
static struct frame_node nodes[1u << 20];
static u32 n_nodes, free_nodes;
static u8 covered[LOW_END / GRANULE];

/* Where far_lookup goes, once there is a site that uses it. */
u64 far_hosts[FAR_TARGETS];
static bool far_used;

void lock_take(_Atomic u32 *lock)
{
	u32 free = 0;

	if (atomic_compare_exchange_strong(lock, &free, 1))
		return;
	while (atomic_exchange(lock, 2))
		futex_wait(lock, 2, NULL);
}

void lock_drop(_Atomic u32 *lock)
{
	if (atomic_exchange(lock, 0) == 2)
		futex_wake(lock);
}

static struct code_page *frame_at(u64 page, bool make)
{
	static u32 last; /* most are asked for many times in a row */
	u32 h = (u32)((page * 0x9e3779b97f4a7c15ull) >> 49), n = frame_hash[h];

	if (last < n_frames && frames[last].page == page)
		return &frames[last];
	for (; n; n = frames[n - 1].next)
		if (frames[n - 1].page == page) {
			last = n - 1;
			return &frames[last];
		}
	if (!make || n_frames == FRAMES)
		return NULL;
	struct code_page *f = &frames[n_frames++];

	*f = (struct code_page){ .page = page, .next = frame_hash[h] };
	frame_hash[h] = n_frames;
	return f;
}

u64 frame_of(u64 pa) { return pa >> PAGE_SHIFT; }

u32 frame_blocks(u64 frame)
{
	struct code_page *f = frame_at(frame, false);

	return f ? f->blocks : 0;
}

void frame_set_blocks(u64 frame, u32 head)
{
	struct code_page *f = frame_at(frame, head != 0);

	if (f)
		f->blocks = head;
}

struct frame_node *frame_node(u32 n) { return &nodes[n - 1]; }

void frame_node_free(struct frame_node *node)
{
	node->next = free_nodes;
	free_nodes = (u32)(node - nodes) + 1;
}

void instance_drop_frame(struct cache *k, u64 frame)
{
	(void)k;
	(void)frame;
}

void frame_add(u64 frame, u32 block)
{
	struct code_page *f = frame_at(frame, true);
	u32 n = free_nodes;

	if (n)
		free_nodes = nodes[n - 1].next;
	else
		n = ++n_nodes;
	nodes[n - 1] = (struct frame_node){ .block = block, .next = f->blocks };
	f->blocks = n;
}

/* Entry in the middle needs R11 in its place, a page that cannot be rewritten block by block, and room for the jump
 * that kills the block. */
static bool record_enterable(const struct insn_record *r)
{
	return (r->borrowed >> R11 & 1) && r->host >= ENTRY_JUMP && !(r->flags & REC_MIDDLE);
}

static bool block_enterable(const struct block *b)
{
	const struct exec_range *range = memory_find(b->pc);

	return range && !(range->prot & PROT_WRITE);
}

static bool rewritable(u64 page)
{
	const struct exec_range *r = memory_find(page);

	return r && (r->prot & PROT_WRITE);
}

/* By another thread, or by a write of its own; else only from C, with all of the program outside. */
bool env_killed_inside(u64 pc)
{
	return threads_shared() || rewritable(pc) || rewritable((pc & PAGE_MASK) + PAGE_SIZE);
}

bool code_enterable(const struct block *b, const struct insn_record *r) { return record_enterable(r) && block_enterable(b); }

static void note_known(struct cache *k, const struct block *b)
{
	struct code_page *f = frame_at(b->pc >> PAGE_SHIFT, true);

	if (b->mode != TM_USER)
		return;

	bool enterable = block_enterable(b);

	for (u32 i = 0; i < b->n_records; i++) {
		struct insn_record *r = &k->records[b->records + i];
		u64 at = (b->pc & ~PAGE_MASK) + r->guest;

		if (at < PAGE_SIZE && r->guest < b->guest_len && (!r->guest || (enterable && record_enterable(r))))
			f->known[at / 8] |= (u8)BIT(at % 8);
		if (!(r->flags & REC_RETURN) || (!(r->flags & REC_END) && !(enterable && record_enterable(r))))
			continue;
		/* The jump at the end is right whatever becomes of the block. */
		if (!(r->flags & REC_END))
			r->flags |= REC_ENTRY;
		code_enter_target(b->pc + r->guest, block_host(b) + r->host);
	}
}

bool code_known(u64 pc)
{
	const struct code_page *f = frame_at(pc >> PAGE_SHIFT, false);
	u64 at = pc & ~PAGE_MASK;

	return f && (f->known[at / 8] >> at % 8 & 1);
}

const u8 *code_find(u64 pc)
{
	struct block *b;

	if (!code_known(pc))
		return NULL;
	b = block_find(CACHE, pc, pc, TM_USER);
	if (b)
		return CODE_BASE + b->host;
	for (u32 n = frame_blocks(pc >> PAGE_SHIFT); n; n = nodes[n - 1].next) {
		b = &CACHE->blocks[nodes[n - 1].block];
		if ((b->flags & BLOCK_DEAD) || b->mode != TM_USER || pc - b->pc >= b->guest_len)
			continue;
		for (u32 i = 0; i < b->n_records; i++) {
			struct insn_record *r = &CACHE->records[b->records + i];

			if (r->guest != pc - b->pc || !code_enterable(b, r))
				continue;
			r->flags |= REC_ENTRY;
			return CODE_BASE + b->host + r->host;
		}
	}
	return NULL;
}

void frame_add_block(struct cache *k, struct block *b)
{
	u32 n = (u32)(b - k->blocks);

	frame_add(b->pa >> PAGE_SHIFT, n);
	if (b->flags & BLOCK_SPANS)
		frame_add(b->pa2 >> PAGE_SHIFT, n);
	note_known(k, b);
}

bool *code_page_watched(u64 page, bool make)
{
	struct code_page *f = frame_at(page >> PAGE_SHIFT, make);

	return f ? &f->watched : NULL;
}

void code_watched_pages(void (*each)(u64 page))
{
	for (u32 i = 0; i < n_frames; i++)
		if (frames[i].watched)
			each(frames[i].page << PAGE_SHIFT);
}

void targets_cover(u64 begin, u64 end)
{
	end = MIN(end, (u64)LOW_END);
	for (u64 g = begin / GRANULE; g * GRANULE < end; g++) {
		u64 run = g;

		while (run * GRANULE < end && !covered[run])
			covered[run++] = 1;
		if (run == g)
			continue;
		s64 r = host_mmap(TARGETS_DISP + 8 * g * GRANULE, 8 * (run - g) * GRANULE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		if (r < 0)
			fatal("no memory for the targets of branches: error %ld", -r);
		g = run;
	}
}

static u64 *target_word(u64 pc) { return (u64 *)(TARGETS_DISP + 8 * pc); }

static bool has_target(u64 pc) { return pc < LOW_END && covered[pc / GRANULE]; }

void targets_fill(u64 pc)
{
	u64 *at = (u64 *)ALIGN_DOWN((u64)target_word(pc), FILL);

	if (!has_target(pc) || *target_word(pc))
		return;
	/* Code that runs has more that runs around it, and many pages at once cost a fraction of as many faults. */
	sys3(__NR_madvise, at, FILL, MADV_POPULATE_WRITE);
	for (u64 *page = at; page < at + FILL / 8; page += PAGE_SIZE / 8) {
		u64 n = PAGE_SIZE / 8, *to = page;

		if (!*page)
			__asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(lookup_miss) : "memory");
	}
	stats.filled++;
}

static void far_reset(void)
{
	for (u32 i = 0; far_used && i < FAR_TARGETS; i++)
		far_hosts[i] = (u64)far_miss;
}

static u32 far_index(u64 pc)
{
	u64 h = 0;

	__asm__("crc32q %1, %0" : "+r"(h) : "r"(pc));
	return (u32)(h % FAR_TARGETS);
}

bool code_has_far_sites(u64 pc)
{
	const struct code_page *f = far_used ? frame_at(pc >> PAGE_SHIFT, false) : NULL;

	return f && f->far;
}

bool code_is_target(u64 pc)
{
	return has_target(pc) && *target_word(pc) && *target_word(pc) != (u64)lookup_miss;
}

u64 code_landing(u64 pc)
{
	u64 to = code_is_target(pc) ? *target_word(pc) : 0;
	struct block *b = to ? block_at_host(CACHE, to) : NULL;
	const struct insn_record *r = b && !(b->flags & (BLOCK_DEAD | BLOCK_REGION)) ? block_record(CACHE, b, to) : NULL;

	return r && (r->flags & REC_RETURN) && block_host(b) + r->host == to && b->pc + r->guest == pc ? to : 0;
}

void code_enter_target(u64 pc, u64 entry)
{
	if (has_target(pc)) {
		targets_fill(pc);
		__atomic_store_n(target_word(pc), entry, __ATOMIC_RELEASE);
	}
	stats.targets++;
}

void code_enter_far(u64 pc, u64 entry)
{
	u32 i = far_index(pc);
	u64 stub = far_used ? env_far_stub(pc, entry, far_hosts[i]) : 0;

	if (stub)
		__atomic_store_n(&far_hosts[i], stub, __ATOMIC_RELEASE);
}

/* Signal information of a fetch that fails. */
static struct block *no_code(struct siginfo *info, int signo, int code, u64 address)
{
	*info = (struct siginfo){ .signo = signo, .code = code, .address = address };
	return NULL;
}

#define BUS_ADRERR 2

/* Whether the page can be fetched from. */
static bool fetchable(u64 page, struct siginfo *info)
{
	u8 byte;

	if (!memory_find(page)) {
		bool mapped = !guest_copy(&byte, (const void *)page, 1);

		return no_code(info, SIGSEGV, mapped ? SEGV_ACCERR : SEGV_MAPERR, page);
	}
	if (guest_copy(&byte, (const void *)page, 1))
		return no_code(info, SIGBUS, BUS_ADRERR, page);
	return true;
}

/* Of the guest's bytes, to find out whether they came back. */
static u32 checksum(const struct block *b)
{
	const u8 *p = (const u8 *)b->pc;
	u64 h = b->guest_len;

	u32 i = 0;

	for (; i + 8 <= b->guest_len; i += 8)
		__asm__("crc32q %1, %0" : "+r"(h) : "m"(*(const u64 *)(p + i)));
	for (; i < b->guest_len; i++)
		__asm__("crc32b %1, %k0" : "+r"(h) : "rm"(p[i]));
	return (u32)h;
}

bool code_has_room(u32 n) { return n_frames + n < FRAMES && n_nodes + n < ARRAY_SIZE(nodes); }

/* Many pages at once cost a fraction of as many faults: what the next blocks will fill is there. */
static void populate(void)
{
	const struct cache *k = CACHE;
	const u64 ends[] = {
		(u64)&k->blocks[k->n_blocks + 1], (u64)&k->records[k->n_records + 4 * BLOCK_INSNS], (u64)&k->exits[k->n_exits + BLOCK_INSNS],
		(u64)CODE_BASE + k->hot + PAGE_SIZE, (u64)CODE_BASE + k->cold + PAGE_SIZE,
	};
	static u64 ready[ARRAY_SIZE(ends)];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		u64 begin = MAX(ready[i], ALIGN_DOWN(ends[i], FILL_CACHE));

		if (likely(ends[i] <= ready[i]))
			continue;
		ready[i] = ALIGN_UP(ends[i], FILL_CACHE);
		sys3(__NR_madvise, begin, ready[i] - begin, MADV_POPULATE_WRITE);
	}
}

static struct block *translate(u64 pc, u8 mode, struct siginfo *info)
{
	struct translate_request r = { .pc = pc, .pa = pc, .mode = mode, .bytes = (const u8 *)pc };
	u64 page = pc & PAGE_MASK;
	struct block *b;

	if (!fetchable(page, info)) {
		info->address = pc;
		return NULL;
	}
	populate();
	if (mode == TM_USER && unlikely(env_pairs_due())) {
		code_flush();
		env_pairs_begin();
	}
	for (;;) {
		if (n_frames + 2 > FRAMES || n_nodes + 2 > ARRAY_SIZE(nodes))
			code_flush();
		b = mode == TM_USER ? keep_adopt(pc) : NULL;
		if (b)
			break;
		/* Watched before the bytes are read: what is written after this is seen. */
		memory_watch(page);
		b = translate_block(CACHE, &r);
		if (b)
			break;
		if (!r.need_next || r.next) {
			code_flush();
			continue;
		}
		if (!fetchable(page + PAGE_SIZE, info))
			return NULL;
		memory_watch(page + PAGE_SIZE);
		r.next = (const u8 *)(page + PAGE_SIZE);
		r.pa2 = page + PAGE_SIZE;
	}
	b->copy = checksum(b);
	return b;
}

struct block *code_lookup_mode(u64 pc, u8 mode, struct siginfo *info)
{
	struct block *b = block_find(CACHE, pc, pc, mode);

	return b ? b : translate(pc, mode, info);
}

u64 code_lookup(u64 pc, struct siginfo *info)
{
	const u8 *known = code_find(pc);
	struct block *b = known ? NULL : code_lookup_mode(pc, TM_USER, info);

	return known ? (u64)known : b ? block_host(b) : 0;
}

void code_put_head(u32 stub, const u8 *bytes, size_t n)
{
	u64 *word = (u64 *)(CODE_BASE + stub), v = *word;

	__builtin_memcpy(&v, bytes, n);
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
}

void code_patch(u8 *at, const u8 *target)
{
	if (((u64)at & 7) > 4)
		fatal("the branch at %lx in the code cache cannot be changed at once", (u64)at);
	e_patch(at, target);
}

void code_put_jump(u32 stub, const u8 *target)
{
	s32 d = (s32)(target - (CODE_BASE + stub + ENTRY_JUMP));
	u8 jump[ENTRY_JUMP] = { 0xe9 };

	__builtin_memcpy(jump + 1, &d, sizeof d);
	code_put_head(stub, jump, sizeof jump);
}

#define DEAD_STUB_HEAD 4 /* of the store of the exit number: 65 c7 04 25 */

static void revive(struct block *b)
{
	u8 head[8] = "\x65\xc7\x04\x25";
	s32 disp = SPILL_U_DISP + SP_EXIT;

	__builtin_memcpy(head + DEAD_STUB_HEAD, &disp, sizeof disp);
	code_put_head(b->cold, head, sizeof head);
	b->flags &= (u8)~BLOCK_DEAD;
	block_register(CACHE, b);
	block_entry_restore(CACHE, b);
	note_known(CACHE, b);
}

/* Calls `each` for the frames with blocks in [begin, end). */
static void each_frame(u64 begin, u64 end, void (*each)(struct code_page *f))
{
	begin >>= PAGE_SHIFT;
	end = (end + PAGE_SIZE - 1) >> PAGE_SHIFT;
	if (end - begin >= 1024) {
		for (u32 i = 0; i < n_frames; i++)
			if (frames[i].blocks && frames[i].page >= begin && frames[i].page < end)
				each(&frames[i]);
		return;
	}
	for (u64 p = begin; p < end; p++) {
		struct code_page *f = frame_at(p, false);

		if (f && f->blocks)
			each(f);
	}
}

/* Entries in the middle trap: the handler finds the block dead. */
static void close_entries(const struct block *b)
{
	for (u32 i = 0; i < b->n_records; i++)
		if (CACHE->records[b->records + i].flags & REC_ENTRY)
			*(CODE_BASE + b->host + CACHE->records[b->records + i].host) = 0xcc;
}

static void suspend_frame(struct code_page *f)
{
	for (u32 n = f->blocks; n; n = nodes[n - 1].next) {
		struct block *b = &CACHE->blocks[nodes[n - 1].block];

		block_kill(CACHE, b);
		close_entries(b);
	}
	__builtin_memset(f->known, 0, sizeof f->known);
}

static bool was_entered(const struct block *b)
{
	for (u32 i = 0; i < b->n_records; i++)
		if (CACHE->records[b->records + i].flags & REC_ENTRY)
			return true;
	return false;
}

static void verify_frame(struct code_page *f)
{
	for (u32 n = f->blocks; n; n = nodes[n - 1].next) {
		struct block *b = &CACHE->blocks[nodes[n - 1].block];
		bool same = !(b->flags & BLOCK_REGION) && checksum(b) == b->copy;

		if (!same) {
			block_kill(CACHE, b);
			close_entries(b);
		} else if ((b->flags & BLOCK_DEAD) && !was_entered(b) && !block_find(CACHE, b->pa, b->pc, b->mode)) {
			revive(b);
		}
	}
}

static void kill_frame(struct code_page *f)
{
	suspend_frame(f);
	block_kill_frame(CACHE, f->page);
}

void code_suspend_range(u64 begin, u64 end) { each_frame(begin, end, suspend_frame); }
void code_verify_range(u64 begin, u64 end) { each_frame(begin, end, verify_frame); }
void code_kill_range(u64 begin, u64 end) { each_frame(begin, end, kill_frame); }

void code_far_site(u64 pc)
{
	struct code_page *f = frame_at(pc >> PAGE_SHIFT, false);

	/* All of the page's: others may enter the site's block in the middle. */
	site_set_both(CACHE, pc);
	if (!far_used) {
		far_used = true;
		far_reset();
	}
	if (f) {
		f->far = true;
		kill_frame(f);
	}
}

void code_flush(void)
{
	thread_stop_others();
	/* What is known of watched pages goes too. */
	memory_unwatch_all();
	for (u64 g = 0; g < ARRAY_SIZE(covered); g++)
		if (covered[g])
			sys3(__NR_madvise, TARGETS_DISP + 8 * g * GRANULE, 8 * GRANULE, MADV_DONTNEED);
	far_reset();
	__builtin_memset(frame_hash, 0, sizeof frame_hash);
	n_frames = n_nodes = free_nodes = 0;
	hot_reset();
	cache_flush(CACHE);
}

void code_setup(void)
{
	s64 a = host_mmap(CACHE_BASE, ALIGN_UP(sizeof(struct cache), PAGE_SIZE), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	s64 b = host_mmap((u64)CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (a < 0 || b < 0)
		fatal("no memory for the code cache: error %ld", a < 0 ? -a : -b);
	/* Few blocks touch nearly all of it. */
	sys3(__NR_madvise, ALIGN_DOWN((u64)CACHE->hash, PAGE_SIZE), ALIGN_UP(sizeof CACHE->hash, PAGE_SIZE), MADV_POPULATE_WRITE);
	cache_init(CACHE);
	CACHE->targets = (struct translate_targets){ .exit_user = exit_user, .exit_kernel = exit_user,
						     .lookup_miss_user = lookup_miss, .lookup_miss_kernel = lookup_miss };
}
