/* SPDX-License-Identifier: MIT
 * Translations that outlive a process of `penumbra exec`: keep.c makes blocks of them, keep_file.c has the files.
 *
 * A *template* is a block without its places: guest bytes, host code, records, and fixes, the four-byte fields that
 * depend on where the block and its guest code lie.  Cold parts are made anew from the fixes.
 *
 *	translate_block() --env_keep()--> template --keep_save(), at the end--> the module's file
 *	the module's file --keep_adopt()--> block, as if translated here
 *
 * Invariants:
 *  K1  A template becomes a block only for guest bytes that are those it was made from, every one, in file-backed
 *      code that cannot be written: neither its place in a file nor the file's name decides.
 *  K2  A template whose seal, by the directory's key, is wrong does not exist.
 *  K3  A file that is cut short while it is mapped has zeroes there (keep_fault()), whose seal is wrong.
 *
 * Everything here needs code_lock. */
#ifndef PENUMBRA_EXEC_KEEP_H
#define PENUMBRA_EXEC_KEEP_H

#include "exec/exec.h"
#include "translate/internal.h"

#define KEEP_PAIRS 1  /* calls and returns are the host's */
#define KEEP_PADDED 2 /* begins with a NOP: env_killed_inside() */

struct template {
	u64 seal, unused; /* seal: of all that follows */
	u64 at;        /* offset of the guest code in its file */
	u64 pc;        /* guest address and offset from CODE_BASE where it was made */
	u32 host, size; /* size: of the whole, a multiple of 16 */
	u16 guest_len, hot_len, n_records, n_fixes;
	u16 n_insns;
	u8 mode, spans, unused2[4];
	/* records, fixes, guest bytes, host bytes */
};
#define TEMPLATE_RECORDS (4 * BLOCK_INSNS)
#define TEMPLATE_HOT (256 * BLOCK_INSNS)
#define TEMPLATE_MAX ALIGN_UP(sizeof(struct template) + TEMPLATE_RECORDS * sizeof(struct insn_record) + FIXES_MAX * sizeof(struct tx_fix) + \
			      BLOCK_INSNS * INSN_MAX + TEMPLATE_HOT, 16)

/* keep.c */
struct keep_stats { u64 adopted, captured, refused; };
extern struct keep_stats keep_stats;
/* The block at pc from what earlier runs left, NULL where they left none. */
struct block *keep_adopt(u64 pc);

/* keep_file.c */
/* Files are kept in that directory; `host` tells processors apart. */
void keep_setup(const char *directory, size_t length, u64 host);
/* Bytes that all files may have; tests. */
void keep_set_room(u64 bytes);
/* Words for the runtime of another program. */
size_t keep_words(char *out, size_t room);
/* Code of the file lies at [begin, end), from that offset on. */
void keep_module(u64 begin, u64 end, s64 fd, u64 offset);
void keep_module_gone(u64 begin, u64 end);
/* Whether code at pc is to be kept, and where it lies in its file. */
bool keep_wanted(u64 pc, u64 *at);
/* The template for the code there, in its file, with a right seal. */
const struct template *keep_find(u64 pc, u8 mode);
/* Room for a template of that size, NULL where there is none; keep_put() puts in what was written there. */
struct template *keep_room(size_t size);
void keep_put(u64 pc, struct template *t);
/* A fault at the address was one in a mapped file: the access will succeed.  Without the lock. */
bool keep_fault(u64 address);
/* The program ends, or another takes its place.  Writes what is worth it. */
void keep_save(void);
/* What there is up to now is the parent's to write. */
void keep_forked(void);

#endif
