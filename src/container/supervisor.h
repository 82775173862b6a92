/* SPDX-License-Identifier: MIT
 * The hardened run's supervisor: a process beside the container that is asked about system calls.
 *
 * It only looks.  What is denied is denied by the filter (its answer is a refusal), by read-only
 * mounts and by Landlock; when the supervisor is gone the kernel refuses what it would have been
 * asked.  Everything it reads of the container is hostile: bounded, and used for events only. */
#ifndef PENUMBRA_CONTAINER_SUPERVISOR_H
#define PENUMBRA_CONTAINER_SUPERVISOR_H

#include <sys/types.h>

#include "base/err.h"
#include "container/command.h"

enum violation_answer { ANSWER_LOG, ANSWER_KILL, ANSWER_FREEZE };

struct supervisor {
	const struct global_options *global;
	const char *id;
	enum violation_answer answer;
	const char *events;   /* file that gets one JSON object a line, NULL for stderr */
	const char *learn;    /* file that gets what was used, NULL when not learning */
	pid_t pid;
	int sock;             /* B sends the listener here */
};

/* Starts the process; its end of the socket is s->sock for create_options.listener_to. */
int supervisor_start(struct supervisor *s, struct err *e);
/* Waits until it has ended, which it does after the container's last process. */
void supervisor_wait(struct supervisor *s);

/* Calls that programs probe for and do without: refused as if this kernel did not have them. */
extern const char *const harden_absent_calls[];

#endif
