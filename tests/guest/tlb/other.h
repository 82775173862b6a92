/* SPDX-License-Identifier: MIT
 * The second processor of the TLB test, which carries out what the first one asks it for.
 *
 * Owner: the first processor, but other_main() and other_interrupted(), which are the second one's. */
#ifndef TESTS_GUEST_TLB_OTHER_H
#define TESTS_GUEST_TLB_OTHER_H

#include "world.h"

/* Starts it, with `root` (physical) as its tables.  False: it does not come. */
bool other_begin(u64 root);
/* Asks for one thing, which it finds where it looks for work, or is interrupted for; and waits until it is done.  One of each
 * way may be under way. */
void other_post(enum way way, const struct order *o);
void other_wait(enum way way);
/* Without work it halts, so that each order takes an interrupt; else it looks. */
void other_halts(bool on);

/* Called by start.S. */
_Noreturn void other_main(void);
void other_interrupted(void);

#endif
