/* SPDX-License-Identifier: MIT
 * Hardened by default: `run IMAGE-OR-BUNDLE`, `explain`, profiles learnt from a run, violations. */
#ifndef PENUMBRA_CONTAINER_HARDEN_H
#define PENUMBRA_CONTAINER_HARDEN_H

#include "container/command.h"

#define ANNOTATION_LANDLOCK "org.penumbra.landlock"
#define ANNOTATION_HARDENED "org.penumbra.hardened"

extern const struct command oci_command_hardened_run, oci_command_explain, oci_command_bench, oci_command_load,
	oci_command_images, oci_command_prune;

/* An id range of its own for a container: 65536 ids from *first; `slot` is for the state. */
int harden_take_ids(int root, const char *id, u64 *slot, u64 *first, struct err *e);
void harden_release_ids(int root, u64 slot);

/* The container engines' default list as linux.seccomp. */
int bench_default_profile(struct text *out, struct err *e);

/* 0 when the kernel has no Landlock. */
int landlock_version(void);
/* Makes a rule set from the annotation's text; *ruleset is -1 without Landlock. */
int landlock_make(const char *rules, int *ruleset, struct err *e);

extern const char *const default_masked_paths[], *const default_readonly_paths[];

#endif
