/* SPDX-License-Identifier: MIT
 * process: what a process becomes just before its execve, for create, run and exec alike. */
#ifndef PENUMBRA_CONTAINER_PROCESS_H
#define PENUMBRA_CONTAINER_PROCESS_H

#include <sys/types.h>

#include "container/seccomp.h"
#include "container/spec.h"

struct process_plan {
	const struct oci_process *process;
	const struct oci_spec *spec;            /* hostname and the like are not used here */
	const struct seccomp_program *filter;   /* NULL for none */
	const char *seccomp_state;              /* JSON for the agent; NULL with no agent */
	int agent;                              /* socket of the agent or -1 */
	int listener_to;                        /* hardened run's supervisor or -1 */
	int landlock_ruleset;                   /* -1 for none */
	int console;                            /* slave side that becomes stdio, or -1 */
	u64 preserve_fds;
	bool new_keyring;
	const char *keyring_name;
	bool user_ns;                           /* ids are the container's */
	char *executable;                       /* found by process_prepare() */
};

/* Checked before anything is made: values that no kernel would take. */
int process_check(const struct oci_process *p, struct err *e);
/* rlimits of `pid` (0: self): P sets them, it may have rights that B has given up. */
int process_set_rlimits(pid_t pid, const struct oci_process *p, struct err *e);
/* What needs no privilege afterwards: session, terminal, working directory, executable, scheduler,
 * priorities, personality. */
int process_prepare(struct process_plan *p, struct err *e);
/* Ids, capabilities, no_new_privs, seccomp, execve.  Returns only on failure. */
int process_execute(struct process_plan *p, struct err *e);

#endif
