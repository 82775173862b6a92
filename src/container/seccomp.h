/* SPDX-License-Identifier: MIT
 * linux.seccomp compiled to a classic BPF program: merged ranges, searched as a tree. */
#ifndef PENUMBRA_CONTAINER_SECCOMP_H
#define PENUMBRA_CONTAINER_SECCOMP_H

#include <linux/filter.h>

#include "base/err.h"
#include "container/spec.h"

struct seccomp_program {
	struct sock_filter *insns;
	size_t n;
	u32 flags;   /* SECCOMP_FILTER_FLAG_* */
	bool notify; /* some rule asks a supervisor */
};

enum seccomp_mode {
	/* Rules with arguments are asked before a rule without, instead of losing to it: how the
	 * hardened run writes its list. */
	SECCOMP_CONDITIONS_FIRST = 1,
	/* For a process that joins later, whom the supervisor does not see: what it would only look
	 * at is allowed, what it would refuse is refused. */
	SECCOMP_NO_SUPERVISOR = 2,
};

/* Compiles. Names that libseccomp does not know are skipped, as the specification asks.
 * Errors: -EINVAL with the field, -E2BIG above BPF_MAXINSNS, -ENOMEM. */
int seccomp_compile(const struct oci_seccomp *s, unsigned mode, struct seccomp_program *out,
		    struct err *e);
/* The same through the cache in directory `dirfd` (-1: none): looked up by the exact rules. */
int seccomp_compile_cached(const struct oci_seccomp *s, unsigned mode, int dirfd,
			   struct seccomp_program *out, struct err *e);
void seccomp_free(struct seccomp_program *p);
/* Installs on this thread. With .notify, *listener gets the supervisor's descriptor.
 * Needs no_new_privs or CAP_SYS_ADMIN. */
int seccomp_install(const struct seccomp_program *p, int *listener);
/* What the program returns for one call: the reference of tests and of `explain`. */
u32 seccomp_evaluate(const struct seccomp_program *p, u32 arch, u32 nr, const u64 args[6]);

#endif
