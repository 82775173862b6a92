/* SPDX-License-Identifier: MIT
 * Translation blocks and the code cache.
 *
 * A block is a run of guest instructions within one page (the last may end in the next), keyed by
 * (physical address, virtual address, mode).  Its host code is written once and never moves; a block
 * that dies has its entry overwritten with a jump to its own dead stub, so nobody needs to be told.
 * The whole cache is dropped when it is full.
 *
 * Owner: all carriers; changes under the lock of monitor/smp.c, blocks are found and run without it.
 *
 * Invariants:
 *  B1  A direct rel32 link joins two kernel blocks, or two user blocks of one page of which the target
 *      does not span into the next; every other user transfer goes through a per-carrier slot or table.
 *  B2  A frame with a live block is flagged FRAME_CODE and no carrier that runs maps it writable.
 *  B3  Every host instruction that can fault lies in a block's hot part and has an insn record.
 *  B4  With several vCPUs or threads code that can be run is changed only by stores of at most 8 aligned bytes, which replace
 *      either an operand within one instruction or one whole instruction: a block begins with a NOP for that,
 *      its cold part with an instruction as long.  Others run the old code or the new.  A program that has had one
 *      thread only needs no NOP (env_killed_inside()).
 *  B5  A block dies before a processor changes its guest bytes: as long as it is not dead they are what it was
 *      made from. */
#ifndef PENUMBRA_TRANSLATE_BLOCK_H
#define PENUMBRA_TRANSLATE_BLOCK_H

#include "base/types.h"
#include "x86/cpu.h"
#include "x86/layout.h"

#define BLOCK_INSNS 48
#define BLOCK_ALIGN 16 /* host code lies as the guest's, modulo this */
#define ENTRY_BYTES 8  /* at least so long, for the jump that kills it */
#define ENTRY_JUMP 5   /* that jump */

/* Translation mode: part of the key. */
#define TM_USER 1     /* CPL 3 */
#define TM_COMPAT 2   /* 32-bit code segment */
#define TM_STEP 4     /* one instruction, then #DB or a stop; in exec up to the next branch */
#define TM_SEGMENTS 8 /* with TM_COMPAT: a segment other than FS and GS is not flat */
#define TM_APART 8    /* 64-bit kernel code: of a root with another upper half than the kernel's own (monitor/home.c) */
#define TM_FS 16      /* with TM_COMPAT: FS, GS has no segment, or one with a limit below 4 GiB */
#define TM_GS 32
#define TM_PLAIN 64   /* never gives way to a region */
#define TM_GUARDED 128 /* CR0.TS or CR0.EM is set: what needs the x87 or vector units leaves for C */

/* Host registers while 32-bit code runs (translate/compat.c): bases of FS and GS, COMPAT_KEY. */
#define COMPAT_FS R14
#define COMPAT_GS R15
#define COMPAT_KEY_REG R13

/* Registers of 64-bit user code whose values are in the spill page wherever a block begins or ends. */
#define KEPT_USER ((u16)(BIT(R10) | BIT(R11)))

/* Set in the key of an indirect transfer by 32-bit code, so that it never meets a 64-bit block. */
#define COMPAT_KEY (1ull << 62)

enum block_flags { BLOCK_DEAD = 1, BLOCK_SPANS = 2, BLOCK_SWAPGS = 4, BLOCK_FIXED = 8 /* cannot be moved */,
	BLOCK_LEADS = 16 /* an X_SLOT exit of it was taken */, BLOCK_PROBES = 32 /* it has an X_PROBE exit */,
	BLOCK_REGION = 64 /* made by the hot tier */, BLOCK_COVERED = 128 /* its head leads to one */ };

/* What a dead block is besides (store.h). */
enum block_rest { REST_DORMANT = 1 /* may come back */, REST_FRESH = 2 /* from a file, not yet live in this run */ };

struct block {
	u64 pc, pa;
	u64 pa2;          /* BLOCK_SPANS: physical page of the second part */
	u32 host, host_end; /* hot part: offsets from CODE_BASE */
	u32 cold, own_cold_end; /* cold part as translated */
	u32 cold_end;     /* with stubs added since */
	u32 hash_next;    /* block number + 1 */
	u32 records;      /* first of n_records in the record array */
	u16 n_records, guest_len;
	u8 mode, flags;
	u8 entry[ENTRY_JUMP]; /* what the dead jump replaced */
	u32 indirect;     /* offset of the verifying entry stub, 0: none */
	u32 instance, instance_next; /* numbers + 1, user blocks only */
	u32 exits, relocs, moves;/* first of its own */
	u16 n_exits, n_relocs, n_moves;
	u8 rest;          /* REST_* */
	u32 copy;         /* while an instance is copied: the block's copy + 1 */
	u32 origin;       /* offset in cache.sources of the guest bytes that it was made from, 0: they are not kept */
	u32 ring;         /* with `origin`, kernel: the next of the same page, number + 1 */
};

#define MAX_USERS 256

/* One page of user code at one virtual address.  The same frame mapped elsewhere (address randomisation,
 * another process) gets the instance moved there if no carrier refers to it any more, else a copy:
 * both only adjust what depends on the address. */
struct instance {
	u64 vp, pa;
	u64 users[MAX_USERS / 64]; /* carriers that may hold its blocks' addresses in slots or tables */
	u32 next;         /* of the same frame, number + 1 */
	u32 blocks;       /* number + 1 */
	u32 incoming;     /* X_SLOT exits that have led here, number + 1 */
	u8 mode;
};
#define MAX_INSTANCES (1u << 17)
static inline bool instance_used_by(const struct instance *i, u32 user) { return i->users[user / 64] >> user % 64 & 1; }
/* Anybody but `user` uses it (~0: anybody at all). */
bool instance_used(const struct instance *i, u32 user);

/* Places in a block's code that depend on where the guest's page, or the block itself, lies. */
enum reloc_kind {
	RL_VA,        /* hot: 64-bit guest address */
	RL_HOT_COLD,  /* hot: rel32 to the block's cold part */
	RL_HOT_FAR,   /* hot: rel32 out of the cache */
	RL_HOT_EXIT,  /* hot: exit number */
	RL_HOT_SLOT,  /* hot: displacement of a slot */
	RL_COLD_FAR, RL_COLD_EXIT, RL_COLD_SLOT,
};
struct reloc {
	u16 at;
	u16 target;       /* RL_HOT_COLD: offset in the cold part */
	u8 kind;
	u8 exit;          /* RL_*_EXIT, RL_*_SLOT: which of the block's exits */
};
#define MAX_RELOCS (1u << 22)
#define MAX_MOVES (1u << 21)

/* How the memory access of an instruction reaches the host. */
enum access_kind { AK_NONE, AK_IDENT, AK_FOLD, AK_BOTH, AK_STRING, AK_STACK };

struct insn_record {
	u16 host;         /* offset from block host at which the expansion begins: the precise point */
	u16 guest;        /* offset from block pc */
	u16 borrowed;     /* registers whose guest value lies in the spill page at a fault inside */
	u8 access;        /* enum access_kind */
	u8 flags;
};
#define REC_STRING 1      /* RSI and RDI are folded by str_src, str_dst */
#define REC_END 2         /* trailing jump: the guest stands at the next instruction */
#define REC_MIDDLE 8      /* not a precise point: goes on with the expansion before it */
#define REC_NO_INTERRUPT 4 /* STI or MOV SS shadow */
#define REC_ENTRY 32       /* exec: other code jumps here, into the middle of the block */
#define REC_RETURN 64      /* exec: where the call before it returns to */
#define REC_SYSCALL 16     /* exec: a system call of the host */

enum exit_kind {
	X_LINK,      /* patch the rel32 at `patch` to the block at `target` */
	X_SLOT,      /* fill slot `patch` */
	X_INSN,      /* execute the instruction at `target` in C */
	X_EVENT,     /* an event is pending; the guest stands at `target` */
	X_DEAD,      /* the block is dead; look up `target` */
	X_STEPPED,   /* single-stepped block is done; the guest stands at `target` */
	X_PREDICT,   /* target of an indirect branch of the kernel, in RDX: predict it at `patch` */
	X_TABLE,     /* a checked store at `target` that the gate leaves to C */
	X_PROBE,     /* the store at `target` is to a page that may not be mapped */
	X_SOFT,      /* the access at `target`, to as many bytes as `patch` says (SOFT_*), misses the software TLB */
	X_PAUSE,     /* PAUSE has been executed many times; the guest stands behind it */
	X_GO,        /* continue at `target` through C: another mode or a page that needs a check */
	X_KINDS
};

struct exit_record {
	u64 target;
	u32 block;
	u32 patch;
	u32 linked;       /* X_LINK: block to which it is patched, number + 1; 0: none.  X_SLOT: to which it led last.
			   * X_PREDICT: misses */
#define LINKED_BY_SLOT 0xffffffffu /* to a jump through a slot, whose exit knows the old address */
	u32 incoming;     /* X_SLOT: next in the list of its target's instance, number + 1 */
	u32 listed;       /* X_SLOT: the instance in whose list it is, number + 1 */
	u8 kind;
};

struct cache_stats { u64 translated, flushes, killed, guest_insns, code_bytes, moved, copied, revived, restored, translate_cycles, revive_cycles; };

/* All of it lies in shared memory at a fixed address. */
#define MAX_BLOCKS (1u << 19)
#define MAX_RECORDS (1u << 22)
#define MAX_EXITS (1u << 21)
#define HASH_SIZE (1u << 18)
#define SITE_SIZE (1u << 16)
#define SLOT_OWNERS (1u << 15)
#define DORMANT_CHAINS (1u << 16)

/* Entry points outside the cache that translations jump to. */
struct translate_targets {
	const u8 *exit_user, *exit_kernel;               /* exit number in the spill page */
	const u8 *table_open, *table_close;              /* around a checked store */
	const u8 *soft_read, *soft_write, *soft_close;   /* around an access through the software TLB */
	const u8 *lookup_second;                         /* another look for user code, as lookup_miss_user */
	const u8 *lookup_miss_user, *lookup_miss_kernel; /* target in R11, the guest's RCX in R10; in RCX, RCX and RDX spilled */
	u32 pkru_kernel, pkru_access;                    /* kernel world with AC clear, set */
	bool protection_keys;
	bool loop_is_fast;  /* LOOP on this host */
	bool smp;           /* others run the code while it is changed */
};

struct cache {
	struct translate_targets targets;
	u32 n_blocks, n_records, n_exits, n_slots, n_relocs, n_moves, n_instances, free_instances;
	u32 hot, cold;            /* next free offsets from CODE_BASE */
	u32 generation;           /* bumped by each flush */
	u32 limit_hot, limit_cold;/* test knobs: a tiny cache flushes all the time */
	u32 max_insns;
	bool soft_all;            /* test: whatever can goes through the software TLB */
	struct cache_stats stats;
	/* See translate/store.h. */
	u8 *sources;              /* NULL: they are not kept */
	u32 n_sources;
	u32 hash[HASH_SIZE];
	u32 dormant[DORMANT_CHAINS];
	u32 page_last[8192];      /* by page: the newest block of a ring, number + 1 */
	u64 sites[SITE_SIZE];     /* physical addresses of instructions that need AK_BOTH */
	u32 slot_stub[SLOT_MAX];
	u32 slot_owners[SLOT_OWNERS]; /* by a hash: X_SLOT exits whose slots others may use, numbers + 1 */
	struct block blocks[MAX_BLOCKS];
	struct insn_record records[MAX_RECORDS];
	struct exit_record exits[MAX_EXITS];
	struct reloc relocs[MAX_RELOCS]; /* for a copy only */
	struct reloc moves[MAX_MOVES];   /* RL_VA: for a move as well */
	struct instance instances[MAX_INSTANCES];
};

_Static_assert(offsetof(struct cache, stats) + sizeof(struct cache_stats) <= PAGE_SIZE, "the front-end maps the first page");

struct frame_node { u32 block, next; };

struct block *block_find(struct cache *k, u64 pa, u64 pc, u8 mode);
/* Block whose hot or cold part contains the host address, or NULL. */
struct block *block_at_host(struct cache *k, u64 host);
/* Record of the expansion that contains `host`, NULL outside the hot part. */
struct insn_record *block_record(struct cache *k, struct block *b, u64 host);
void block_kill(struct cache *k, struct block *b);
/* Where the X_SLOT exit is noted (number + 1) whose slot a branch of the block to `target` can use; 0 there: none is. */
u32 *slot_owner(struct cache *k, const struct block *b, u64 target);
/* The entry of a dead block leads straight to `to`. */
void block_redirect(struct cache *k, struct block *from, const struct block *to);
/* An instruction at the head of a block that killed its own block has to be finished first: its bytes
 * come back for that long. */
void block_entry_restore(struct cache *k, struct block *b);
void block_entry_kill(struct cache *k, struct block *b);
/* Kills every block with code in the frame; clears FRAME_CODE. */
void block_kill_frame(struct cache *k, u64 frame);
/* Kills the blocks that contain the instruction at physical address pa. */
void block_kill_site(struct cache *k, u64 frame, u64 pa);
void block_kill_page(struct cache *k, u64 frame, u64 page);
/* The indirect entry of a block, which checks the target: host address for the lookup tables.  A block that is made
 * because an indirect branch leads to it has it before its first instruction, others, from their first use, in the
 * cold part. */
u64 block_indirect_entry(struct cache *k, struct block *b);
/* Chooses where the hot part begins, which has the same address modulo BLOCK_ALIGN as `alignment`; `indirect`: with the
 * entry before it. */
void block_place(struct cache *k, struct block *b, u64 alignment, bool indirect);
struct emit;
/* Returns where it is entered. */
u8 *block_emit_entry(const struct cache *k, struct emit *e, const struct block *b);
/* Entries of kernel blocks with one place in the lookup table: `entry` leads to `others` for targets that are not its
 * own.  Returns the first of them. */
u64 block_entry_chain(struct cache *k, u64 entry, u64 others);
void block_link(struct cache *k, u32 exit, struct block *to);
/* The branch of the X_PREDICT exit missed its prediction: whether `target` may become it.  The next exit is then
 * the link to it.  `others`: another vCPU between check and branch may be on its way to an earlier prediction, which
 * therefore stays. */
bool predict_missed(struct cache *k, u32 exit, u64 target, bool others);
void predict_set(struct cache *k, u32 exit, u64 target);
/* The prediction to begin with: no branch goes there. */
#define PREDICT_NONE (~0ull)
/* Whether nothing before a SWAPGS at the head of the block touches memory. */
bool block_begins_with_swapgs(const struct block *b);
/* Makes the dead stub of `from` lead to the block that took its place. */
void block_forward(struct cache *k, struct block *from, struct block *to);
void cache_init(struct cache *k);
void cache_flush(struct cache *k);
bool cache_full(const struct cache *k);
/* instance.c: brings the page's translations from another virtual address, or from none that is in use.
 * True where the instance at pc now exists with blocks. */
bool instance_adopt(struct cache *k, u64 pa, u64 pc, u8 mode);
void instance_add(struct cache *k, struct block *b);
/* Notes that the X_SLOT exit leads to the user block `to`. */
void instance_lead(struct cache *k, u32 exit, const struct block *to);
bool instance_can_move(u64 from, u64 to); /* pages of user code */
/* A user block whose page lies `delta` further on from now on; no carrier refers to it. */
void block_move(struct cache *k, struct block *b, u64 delta);
/* It has slots of its instance from now on, and none from a file. */
void block_own_slots(struct cache *k, struct block *b);
void instance_drop_frame(struct cache *k, u64 frame);
void block_unhash(struct cache *k, struct block *b);
void block_register(struct cache *k, struct block *b);
/* A block that is ready can be found, and belongs to its frames and its instance. */
void block_publish(struct cache *k, struct block *b);
/* Takes back what block_kill() and block_forward() wrote. */
void block_restore(struct cache *k, struct block *b);
static inline u64 block_host(const struct block *b) { return (u64)CODE_BASE + b->host; }

/* Whether threads may run translations while others change them (B4). */
static inline bool cache_shared(const struct cache *k) { return EXEC || k->targets.smp; }

/* Sites that must be translated as both-ways accessors; pa | SITE_DEVICE: those that reach device memory, which C
 * executes without the detour of a fault. */
#define SITE_DEVICE (1ull << 62)
/* pa | SITE_TABLE: stores to watched page tables, which are checked stores from their first trap on. */
#define SITE_TABLE (1ull << 61)
/* The instruction can be made a checked store: its operand can lie at another address. */
bool table_store_fits(const struct insn *in);
/* Stores of user code: seen to fault, to be probed from now on, never to be probed. */
#define SITE_FAULTED (1ull << 60)
#define SITE_PROBED (1ull << 59)
#define SITE_BUSY (1ull << 58)
/* pa | SITE_FOREIGN: string instructions that reached user memory of an address space whose carrier did not run: they
 * leave for C before they fault. */
#define SITE_FOREIGN (1ull << 57)
/* pa | SITE_SOFT: accesses of user code that go through the software TLB. */
#define SITE_SOFT (1ull << 56)
/* The instruction can do so: its only access to memory is the operand, which can lie at another address. */
bool soft_fits(const struct insn *in);
#define SOFT_EXIT_WRITE 0x100 /* in the `patch` of an X_SOFT exit; below it the length, 1 to 64 */
#define SOFT_EXIT_PAGE 0x200  /* ... nothing but its page and its alignment decides whether it faults there */
bool site_is_both(struct cache *k, u64 pa);
void site_clear(struct cache *k, u64 pa);
void site_set_both(struct cache *k, u64 pa);

/* Translates the code at pc, whose bytes at physical address pa are at `bytes` (to the end of the page)
 * and, where the next page is readable, continue at `next` (else NULL; pa2 is its address).
 * Returns NULL where the cache is full (flush and call again).  An instruction that would need `next`
 * and has none ends the block before it; as the first one: *need_next is set and NULL returned. */
struct translate_request {
	u64 pc, pa, pa2;
	const u8 *bytes, *next;
	u8 mode;
	bool need_next;
	bool indirect;     /* an indirect branch leads there */
	bool fsgsbase;     /* CR4.FSGSBASE */
	bool rdtsc_exits;  /* CR4.TSD, or an offset between guest and host TSC */
};
struct block *translate_block(struct cache *k, struct translate_request *r);

#endif
