/* SPDX-License-Identifier: MIT
 * Shadow page tables hosted in the carriers' own host page tables.
 *
 * A carrier is a host process that shadows one guest root (CR3).  Its shadow is what it has mapped;
 * struct space remembers each mapping with the guest entry that permits it.
 *
 * Owner: the running carrier; struct space is private to it.
 *
 * Invariants:
 *  S1  Each host mapping is permitted by a guest entry that was present with its accessed bit (and,
 *      where writable, its dirty bit) at or after the last flush that covered it.
 *  S2  No running carrier maps a frame writable that is flagged FRAME_CODE or FRAME_TABLE.
 *  S3  A page whose guest entry has U clear, or whose address is in the upper half, carries the kernel's key.
 *  S5  While a folded kernel page may lie in a GiB of host addresses, every user page in it, or beside it,
 *      carries a key that kernel code has no access to, and kernel code that is given a user address there
 *      leaves to C: it can neither take a kernel page for the user's nor the user's for its own.
 *  S6  The same as S1 holds for what user code reaches through the software TLB: see soft.c.
 *  S4  Nothing of the guest is mapped at FOLD_OFF - 2 MiB and above within the monitor's ranges. */
#ifndef PENUMBRA_SHADOW_SHADOW_H
#define PENUMBRA_SHADOW_SHADOW_H

#include "base/types.h"
#include "x86/cpu.h"
#include "x86/paging.h"

/* ---- walk.c ---- */
/* Walks the guest's tables for an access: PF_W, PF_U (as user), PF_I.  `implicit`: a supervisor access
 * that AC does not excuse.  Sets accessed and dirty bits on success.  0; or -1 with the page-fault
 * error code in *error. */
int mmu_walk(struct cpu *c, u64 va, u32 access, bool implicit, struct walk *w, u32 *error);
/* Reads the leaf entry for va without side effects: level 1..3 and its value, with the rights and the accessed bit
 * that the levels above leave it; 0 where not present or with a reserved bit set. */
int mmu_peek(struct cpu *c, u64 va, u64 *entry);
/* The page directory entry for va below `root`, with the rights and the accessed bit that the levels above leave it; 0
 * where one of those is absent or large. */
u64 mmu_peek_table(u64 root, u64 va);

/* ---- space.c ---- */
void space_init(void);
/* A checked store to kernel address va was not covered: the run that it lies in is, from now on.  0: none is. */
void space_gate(u64 va);
/* Ends the machine where an invariant does not hold.  `user_flushed`: the guest has flushed its user half just now. */
void space_check(struct cpu *c, bool user_flushed);
/* Whose user half this carrier shadows from now on. */
void space_set_root(u64 root);
/* Maps the page(s) around va as the walk permits.  0; -1 where it cannot be mapped (device memory, a
 * reserved host range): the access must be executed in C. */
int space_fill(struct cpu *c, u64 va, const struct walk *w, bool write);
/* For stores that ask first (X_PROBE): the page of the user address is mapped writable, or is not. */
void space_probe_note(u64 va, bool mapped);
/* Guest invalidated va (INVLPG), or everything that is not global, or everything. */
void space_invalidate(struct cpu *c, u64 va);
void space_flush_user(struct cpu *c);
void space_flush_all(struct cpu *c);
/* Everything of the kernel's half that is not global: another PCID is current, or it was flushed. */
void space_flush_local(struct cpu *c);
/* The rules have changed by which entries permit accesses: nothing stays mapped. */
void space_drop_all(void);
/* The guest kernel uses an address in a GiB of which nothing was mapped yet: makes it the kernel's.  True
 * if that helps: the instruction can be tried again. */
bool space_claim(struct cpu *c, u64 va);
/* Drops the user mappings that S5 does not permit, after another carrier claimed a GiB. */
void space_yield_contested(void);
/* Drops every user mapping, and what else the new root does not permit: the carrier gets another root. */
void space_recycle(struct cpu *c);
/* Code at va was looked up: its entry is watched like a mapping's (space_code_changed()).  False: it is not. */
bool space_note_exec(struct cpu *c, u64 va, const struct walk *w);
/* Frames that were flagged since the carrier last ran are write-protected; `frames` NULL: every flagged one. */
void space_protect_frames(const u32 *frames, size_t n);
/* The carrier has mapped supervisor pages of the lower half, which kernel code can always reach. */
bool space_low_supervisor(void);
/* A user page with code changed since the last call (and forgets it). */
bool space_code_changed(void);
/* Host mappings that the guest's pages take in this carrier, at most. */
u32 space_vmas(void);

/* There was no room for all mappings a short while ago. */
bool space_pressed(void);

/* ---- soft.c ---- */
/* What a miss of the software TLB is: a page met for the first time, or one that was flushed since; an access that the entry
 * does not permit; the last one of those that an entry, or one that leaves the page to the host's mappings, allows.  *left:
 * how many more it does. */
enum soft_miss { SOFT_NEW, SOFT_AGAIN, SOFT_OTHERWISE, SOFT_SPENT, SOFT_SPENT_PLAIN };
enum soft_miss soft_missed(u64 va, s32 *left);
/* The user address is mapped. */
bool soft_mapped(u64 va, bool write);
/* A page beside it is known, and one fill would have mapped both. */
bool soft_beside(u64 va, const struct walk *w);
/* From now on the page is reached through the TLB, in RAM, until C is asked after `left` accesses; or as any other. */
void soft_enter(u64 va, const struct walk *w, bool write, s32 left);
void soft_leave(u64 va, s32 left);
/* Nothing of it is valid. */
void soft_flush(void);

/* ---- tables.c ---- */
/* C code has written n bytes of RAM, within a page, as the guest does. */
void memory_written(struct cpu *c, u64 pa, u64 n);
/* The frame is watched no more: it is written to as tables are not. */
void table_release(u64 frame);
/* This carrier watches no table any more: its notes are about to go. */
void tables_forget(void);

/* ---- hooks, implemented by the monitor ---- */
/* The host failed in a way that leaves no choice: ends the machine with a message. */
_Noreturn void monitor_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Between the two no other vCPU runs guest code. */
void world_stop(void);
void world_go(void);
/* monitor/frames.c: one entry a page of RAM */
#define FRAME_CODE 1  /* has live translations */
#define FRAME_TABLE 2 /* a guest table that somebody watches: what is written to it is in a log (tables.c) */
u8 frame_flags(u64 frame);
u64 frame_flags_of_8(u64 frame); /* those of eight, from a multiple of eight on */
u64 frame_next_flagged(u64 from, u64 to); /* the first of [from, to) that has a flag, `to` where none has */
/* Nobody writes to these frames unnoticed from now on. */
void frames_watch(const u32 *frames, u32 n);
void frame_unwatch(u32 frame);
/* Leaves and upper levels, in all carriers, for which the frame is watched. */
u16 *frame_watchers(u32 frame);
/* How often a watched table was given up because of its writes; the maintainer's. */
u8 *frame_unrest(u32 frame);
void frames_reset(void);
/* A page of RAM is about to be written, or its accessed and dirty bits were: code on it dies. */
void frame_written(u64 pa);
/* The bytes of this page are about to be read for translation: from now on nobody writes to it unnoticed. */
void frame_announce(u64 pa);
/* Write-protects, in this carrier, what became code since the epoch *seen. */
void frames_catch_up(u64 *seen);
/* Kills the translations of a frame that is about to be written. */
void frame_clear_code(u64 frame);

#endif
