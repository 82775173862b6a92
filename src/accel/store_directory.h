/* SPDX-License-Identifier: MIT
 * The directory in which translations outlive a run: a machine's (bt_store.h) and a program's (exec/keep.h).  Both seal
 * their files with the key in it.  Implemented in bt_store.c. */
#ifndef PENUMBRA_ACCEL_STORE_DIRECTORY_H
#define PENUMBRA_ACCEL_STORE_DIRECTORY_H

#include <limits.h>

#include "base/types.h"

#define STORE_NOTE_MAX 256

/* `directory` as bt_store_open() has it: its path, with a key in it.  False: there is none, and why is in `note`. */
bool bt_store_directory(const char *directory, char path[PATH_MAX], char note[STORE_NOTE_MAX]);
/* A number for this kind of processor. */
u64 bt_store_processor(void);

#endif
