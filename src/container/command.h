/* SPDX-License-Identifier: MIT
 * The runtime's commands: one row each, with its options; usage text comes from the tables. */
#ifndef PENUMBRA_CONTAINER_COMMAND_H
#define PENUMBRA_CONTAINER_COMMAND_H

#include "container/launch.h"

struct command_line {
	const struct global_options *global;
	const struct command *command;
	const char *invoked; /* argv[0]: after the sealed copy was executed, the only way back */
	int argc; /* operands after the options */
	char **argv;
	/* values of options, by the row's number; NULL when not given ("" for a flag) */
	const char *value[48];
	/* options that may be given many times */
	struct oci_strs many;      /* "number=value" is avoided: see many_of */
	unsigned char many_of[256]; /* row of many.v[i] */
};

struct option_row {
	const char *name;  /* long name */
	char letter;       /* or 0 */
	const char *value; /* placeholder, NULL for a flag */
	const char *help;
	bool many;
};

struct command {
	const char *name, *operands, *help;
	const struct option_row *options; /* ends with a NULL name */
	int min, max;                     /* operands; max -1 for any */
	/* Returns an exit status, or a negative errno with *e. */
	int (*run)(struct command_line *c, struct err *e);
};

/* The value of the option called `name`, or NULL; asserts that the row exists. */
const char *option(const struct command_line *c, const char *name);
bool flag(const struct command_line *c, const char *name);
/* The i-th value of an option that may be given many times, or NULL. */
const char *option_nth(const struct command_line *c, const char *name, size_t i);
int option_u64(const struct command_line *c, const char *name, u64 max, u64 *out, struct err *e);

#define COMMANDS(X) \
	X(create) X(start) X(run) X(exec) X(state) X(kill) X(delete) X(ps) X(list) X(pause) \
	X(resume) X(update) X(events) X(spec) X(features)
#define COMMAND_EXTERN(name) extern const struct command oci_command_##name;
COMMANDS(COMMAND_EXTERN)

/* A container that exists: state, configuration, cgroups. */
struct container {
	struct state_dir dir;
	struct state state;
	struct cgroup cgroup;
	struct spec_document *document; /* may be NULL when the copy was never written */
	struct oci_spec *spec;
	enum container_status status;
};
int container_open(struct container *c, const struct global_options *g, const char *id,
		   bool exclusive, struct err *e);
void container_close(struct container *c);
/* Kills what still runs, runs the poststop hooks, removes cgroups and state. */
int container_destroy(struct container *c, struct err *e);
/* The same for the container that this process has just run, unless somebody has deleted it. */
int launch_destroy(struct launch *l, struct err *e);
/* Lets a created container execute; 0 once it has. */
int container_start(struct container *c, struct err *e);

/* Signal by name ("KILL", "SIGKILL", "9"); negative errno when there is none. */
int signal_number(const char *name);

/* Waits for `pid` (a child), forwards signals to it, carries a terminal; returns its status as a
 * shell would (128 + signal). */
int supervise(pid_t pid, int console, struct err *e);

void log_line(const struct global_options *g, const char *level, const char *text);

#endif
