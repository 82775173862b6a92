/* SPDX-License-Identifier: MIT
 * What the translator needs from the program around it. */
#ifndef PENUMBRA_TRANSLATE_TARGETS_H
#define PENUMBRA_TRANSLATE_TARGETS_H

#include "translate/block.h"

/* Lists of the blocks with code in a frame (an index of RAM pages). */
u32 frame_blocks(u64 frame);
void frame_set_blocks(u64 frame, u32 head);
struct frame_node *frame_node(u32 n);
void frame_node_free(struct frame_node *node);
/* Head of the list of a frame's instances (number + 1). */
u32 *frame_instances(u64 frame);
u64 frame_of(u64 pa);
/* Enters the block into its frames' lists and marks them as code (invariant B2). */
void frame_add_block(struct cache *k, struct block *b);

/* Indirect branches led to the block in an earlier run, and will. */
void block_known(const struct block *b);

/* exec only: what its environment does otherwise (exec/flow.c). */
struct tx;
/* The transfer to the address in tx_target(), whose own value is in the spill page. */
void env_indirect(struct tx *t);
/* Whether the block goes on behind a call, which returns into its middle. */
bool env_returns_here(const struct tx *t);
/* Whether a block at pc may be killed while control is inside of its first bytes, which then have to be one instruction. */
bool env_killed_inside(u64 pc);
/* Whether calls and returns of the block's are the host's too. */
bool env_pairs(const struct tx *t);
/* Whether env_call() makes the block's calls. */
bool env_calls(const struct tx *t);
/* The call to `target`, or to the address in tx_target() (0); its second half comes with env_tails(), behind the block. */
void env_call(struct tx *t, u64 target, u64 back);
void env_tails(struct tx *t);
/* Behind the pop of the return address into tx_target(). */
void env_return(struct tx *t);
/* Whether there is a translation of the instruction at pc to go on with; its host address, else NULL. */
bool env_known(const struct tx *t, u64 pc);
const u8 *env_find(struct tx *t, u64 pc);

/* The block is ready, and nothing has been linked to or from it yet. */
void env_keep(const struct tx *t);

/* Of guest code: seldom more than some dozen, and seldom different. */
static inline bool same_bytes(const u8 *a, const u8 *b, u32 n)
{
	u64 x, y;

	for (; n >= sizeof x; n -= (u32)sizeof x, a += sizeof x, b += sizeof x) {
		__builtin_memcpy(&x, a, sizeof x);
		__builtin_memcpy(&y, b, sizeof y);
		if (x != y)
			return false;
	}
	while (n--)
		if (*a++ != *b++)
			return false;
	return true;
}

#endif
