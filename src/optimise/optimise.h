/* SPDX-License-Identifier: MIT
 * The optimising tier: makes one stretch of host code (a region) out of the guest code that was seen to run
 * from a hot address.
 *
 * A region is entered at its head with the guest's registers in the host's, and left the same way, so that
 * plain translations and regions mix freely.  It contains every path that the recorded trace took often
 * enough, through branches, calls, returns and indirect jumps; what it lacks leaves it.  All stores of the
 * guest stay, in order.  At every fault and at every precise point the guest's state can be recovered exactly
 * (region_recover()).
 *
 * What other threads may see: stores are never moved or removed.  A load is left out only where its value is
 * known from an earlier access of the same thread; with `own_memory` false (several threads, or memory shared
 * with another process) only where no other load and no loop head lies between, which is what x86-TSO allows
 * (docs/optimise.md).
 *
 * Freestanding: no libc, no vector registers, no allocation; 64-bit user code with flat addresses that are
 * the guest's own.  Owner: whoever holds the struct optimiser; no lock. */
#ifndef PENUMBRA_OPTIMISE_OPTIMISE_H
#define PENUMBRA_OPTIMISE_OPTIMISE_H

#include "base/types.h"
#include "optimise/passes.h"

/* Registers of the guest, or of the host in a region: RAX 0 ... R15 15. */
struct opt_regs { u64 r[16], rip, rflags; };

struct opt_request {
	u64 head;              /* guest address where the region begins */
	const u64 *trace;      /* addresses of instructions in the order in which they ran, one thread */
	u32 n_trace;
	s64 frame;             /* RBP - RSP when control was at the head */
	u32 passes;            /* OPT_BIT() */
	bool own_memory;       /* no other thread or process can write this process's memory */
	u8 *hot, *hot_end;     /* where the region goes, at its final address, writable: 8 KiB at least; */
	u8 *cold, *cold_end;   /* its exits, within 2 GiB of it */
	s32 spill;             /* gs:[spill + 8 * n], n 0-15: words for this thread that only the region uses */
	u16 kept;              /* registers that are in their spill words whenever control is between blocks */
	u32 max_insns;         /* guest instructions in the region, 0: as many as fit */
	/* Guest code at pc: pointer to at least one byte, *have bytes; NULL: none. */
	const u8 *(*fetch)(void *ctx, u64 pc, size_t *have);
	void *ctx;
};

/* A range of guest code that the region was made of. */
struct opt_source { u64 start, end; };

/* A way out: a jump whose displacement lies at `at`, within one cache line, for the caller to direct to a
 * translation of the code at pc; the guest's state is in the registers.  `plain`: the region cannot be entered
 * with this frame, and pc is its head. */
struct opt_exit { u8 *at; u64 pc; bool plain; };

/* The guest's state at a host address: see recover.c. */
struct opt_record { u32 host; u32 snapshot; u64 pc; };

struct opt_region {
	u64 head;
	u8 *code, *code_end;       /* hot part, with the entry at `code`: 8 bytes that can be replaced at once */
	u8 *cold, *cold_end;       /* exits, constants */
	u8 *loop;                  /* where the head is behind the entry */
	u16 borrowed;              /* registers that the guest's code there does not use: their values are in the spill words */
	const struct opt_record *records;
	const u8 *snapshots;
	u32 n_records, n_snapshot_bytes;
	const struct opt_source *sources;
	const struct opt_exit *exits; /* not kept by region_keep() */
	u32 n_sources, n_insns, n_exits, n_nodes;
	u32 n_calls;               /* calls followed into the region */
	u32 seen, covered;         /* instructions of the trace from the head on, and of those inside the region */
	u64 host_weight, guest_weight; /* bytes of code along the trace: of the region, of the guest */
	u64 host_insns, guest_insns; /* instructions along the trace, ways in and out included: of the region; of a plain translation */
	u64 saves;                 /* times that flags had to be saved over a guard, along the trace */
	u32 entries;               /* times that the trace entered it */
};

struct optimiser;
/* Bytes of memory that an optimiser needs, 64-byte aligned. */
size_t optimiser_size(void);

/* Makes a region.  0, or why there is none: -1 the trace does not reach the head, or runs code that no region may
 * contain right there; -2 no room; -3 nothing would be gained.  The result's tables lie inside the
 * optimiser and are valid until its next use: region_keep() copies them. */
int region_make(struct optimiser *o, const struct opt_request *r, struct opt_region *out);

/* Bytes that region_keep() needs; and the copy (into `memory`, 8-byte aligned). */
size_t region_size(const struct opt_region *r);
void region_keep(struct opt_region *r, void *memory);

/* The guest's state from the host's registers at a host address inside the region: a fault at `regs->rip`, or a
 * precise point.  `spill` are the 16 words.  False where the address is in neither (an exit, the entry, the
 * middle of an expansion): go on, it is a few instructions to the next precise point or out of the region. */
bool region_recover(const struct opt_region *r, struct opt_regs *regs, const u64 *spill, bool fault);

/* Name and purpose of a pass; NULL beyond the last. */
const char *opt_pass_name(unsigned pass);
const char *opt_pass_text(unsigned pass);

#endif
