/* SPDX-License-Identifier: MIT
 * The figures of one run as JSON. */
#ifndef PENUMBRA_MACHINE_STATS_H
#define PENUMBRA_MACHINE_STATS_H

#include <stdio.h>

#include "accel/accel.h"

/* Writes name, accelerator, end and every row of VM_STATS to `to`; `object` names it in an error. */
int stats_write(const struct vm *vm, bool panicked, FILE *to, const char *object, struct err *e);

#endif
