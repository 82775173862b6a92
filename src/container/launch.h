/* SPDX-License-Identifier: MIT
 * What the runtime process (P) and the container's first process (B) share while a container is made.
 *
 *   P  launch_create()                          B  init_main()
 *   ---------------------------------------     -----------------------------------------------
 *   parse, claim the state directory
 *   open mount sources, sockets
 *   state.json; cgroups: make, limit
 *   clone3 ------------------------------------> joins its cgroups, joins and unshares namespaces
 *   write id maps                 -- GO -------> (waits here when it has a user namespace)
 *                                                mounts, devices, masks
 *   prestart, createRuntime      <-- HOOKS ----  only when there are such hooks
 *                                 -- GO ------>  createContainer, pivot, console, sysctl
 *   console to its socket        <-- CONSOLE --  only with a terminal
 *   state.json, pid file         <-- CREATED --
 *                                 -- GO ------>  waits on start.sock (create) or goes on (run)
 *                                                startContainer, seccomp, capabilities, execve
 *
 * `run` without a user namespace waits for nobody twice: P has written the state before its first GO,
 * B sets its own limits, and CREATED and the last GO fall away.
 *
 * Invariants
 * L1  B ends when P ends before the last GO: it reads end-of-file, and has a parent-death signal.
 * L2  What P leaves on disk when killed is found by `delete`: the state directory is claimed first,
 *     and state.json names the cgroups before the first of them is made.
 * L3  B is not dumpable until execve, so no process of a joined namespace can trace it or open its
 *     descriptors; every descriptor that is not the container's is close-on-exec.
 * L4  After the clone no path of the container is used except relative to the root descriptor. */
#ifndef PENUMBRA_CONTAINER_LAUNCH_H
#define PENUMBRA_CONTAINER_LAUNCH_H

#include <sys/types.h>

#include "container/cgroup.h"
#include "container/spec.h"
#include "container/state.h"
#include "container/systemd.h"
#include "base/util.h"

struct global_options {
	const char *root;      /* directory of states */
	const char *log;       /* log file or NULL for stderr */
	bool log_json, debug;
	bool systemd_cgroup;
	int rootless;          /* 1 yes, 0 no, -1 decide by privilege */
	bool rootless_now;     /* decided */
};

struct create_options {
	const char *id;
	const char *bundle;
	const char *console_socket;
	const char *pid_file;
	u64 preserve_fds;
	bool no_pivot, no_new_keyring, no_subreaper;
	bool run, detach, keep; /* run = create and start in one */
	/* hardened run */
	const char *config;     /* configuration to use instead of the bundle's, or NULL */
	int listener_to;        /* socket that gets the seccomp listener, -1 for none */
	bool idmap_root;        /* show the root's files under the container's ids */
	const char *root_copy;  /* the root is a copy that is removed with the container, or NULL */
	u64 id_slot;            /* 1 + number of the id range, 0 for none */
};

enum launch_message { MSG_GO = 'g', MSG_HOOKS = 'h', MSG_CONSOLE = 'c', MSG_CREATED = 'd',
		      MSG_PID = 'p', MSG_ERROR = 'e' };

struct launch {
	const struct global_options *global;
	const struct create_options *options;
	struct spec_document *document;
	struct oci_spec *spec;
	struct state_dir dir;
	struct state state;
	struct cgroup cgroup;
	struct scope scope;   /* with --systemd-cgroup */
	int bundle;           /* descriptor of the bundle directory */
	int sync[2];          /* 0: P's end, 1: B's end */
	int start_listen;     /* start.sock, -1 for run */
	int agent;            /* connected to seccomp's listenerPath, or -1 */
	int *mount_source;    /* per mount: detached tree opened by P, or -1 */
	int *device_source;   /* per default and configured device: the same */
	int rootfs_source;    /* detached tree of the root, or -1: B opens it */
	int *ns_fd;           /* per namespace entry with a path */
	u64 new_ns;           /* CLONE_NEW... to make */
	bool user_ns;         /* a user namespace is made or joined */
	bool quick;           /* run without a user namespace: one GO, see below */
	bool joined_before;   /* namespaces with a path were joined before B began */
	struct cgroup_entry entry; /* B joins its cgroups with it */
	struct seccomp_program *filter;
};

/* Fills and checks *l for the bundle; nothing outside memory is changed yet. */
int launch_open(struct launch *l, const struct global_options *g, const struct create_options *o,
		struct err *e);
void launch_close(struct launch *l);
/* Makes the container as the head comment draws it.  For run, the process has been executed when it
 * returns; *master is then the console's master side or -1. */
int launch_create(struct launch *l, int *master, struct err *e);

/* clone3 with fork's meaning; CLONE_PARENT makes a sibling. */
/* `into` is a version 2 cgroup or -1; where the kernel refuses it the child starts in ours. */
pid_t clone_process(u64 flags, int into);
/* Enters the namespaces in the order that privileges allow; at most 64. */
int namespaces_join(const int *fd, const int *type, size_t n, struct err *e);
/* All but the cgroup namespace, which the first process enters only once it is in its cgroup: where a hierarchy's
 * namespaces are boundaries of delegation (nsdelegate), nothing outside of one enters a cgroup inside. */
int namespace_join_cgroup(const int *fd, const int *type, size_t n, struct err *e);
/* Either of the two (`last`: the second) for the namespaces of the configuration. */
int launch_join(struct launch *l, bool last, struct err *e);

/* B's side; never returns. */
void init_main(struct launch *l) __attribute__((noreturn));
/* B waits for P: 0, or -EPIPE when P is gone. */
int init_wait_go(struct launch *l, struct err *e);

/* The Landlock rules of a hardened run (landlock.c); *ruleset is -1 without. */
int hardening_prepare(struct launch *l, int *ruleset, struct err *e);
struct container;
/* The same for a process that joins a container. */
int hardening_join(struct container *k, int *ruleset, struct err *e);
/* The message that goes to seccomp's listenerPath with the descriptor (config-linux.md#seccomp,
 * containerProcessState). */
int seccomp_agent_state(struct launch *l, const char *state_json, const char **out, struct err *e);

/* Runs `hooks` in turn with the state on stdin.  `what` names the list in errors. */
int hooks_run(const struct oci_hook_list *hooks, const char *what, const char *state_json,
	      struct err *e);

#endif
