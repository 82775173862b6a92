/* SPDX-License-Identifier: MIT
 * `penumbra container`: the container runtime, whose verbs and options are its own. */
#include "cli/commands.h"
#include "container/container.h"

const struct command command_container = {
	.name = "container",
	.summary = "run and inspect containers",
	.description = "The container runtime. `penumbra container --help` lists its verbs, and each verb has its own. "
		       "`run` starts a bundle or a root directory hardened by default; `explain` tells what that means.",
	.operands = "VERB [ARGUMENT...]",
	.run_words = container_main,
};
