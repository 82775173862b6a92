/* SPDX-License-Identifier: MIT
 * Random guest programs for the region checker: loops, branches, calls in several depths, stack traffic, flags. */
#ifndef PENUMBRA_TESTS_OPTIMISE_PROGRAM_H
#define PENUMBRA_TESTS_OPTIMISE_PROGRAM_H

#include "optimise/machine.h"

/* Fills m->code and m->start with a program of the given seed. */
void program_make(struct machine *m, u64 seed);
u64 random64(u64 *state);

#endif
