/* SPDX-License-Identifier: MIT
 * Set-up of the runtime, and the program's end. */
#include "exec/exec.h"
#include "exec/keep.h"
#include "optimise/passes.h"

struct options options = { .passes = OPT_ALL };
struct sighand first_sighand;

static u64 now(void)
{
	struct host_timespec t = { 0, 0 };

	sys2(__NR_clock_gettime, 1, &t);
	return (u64)t.sec * 1000000000u + (u64)t.nsec;
}

/* On the kernel's stack; sp is where the kernel put the arguments. */
void exec_main(u64 *sp);
void exec_main(u64 *sp)
{
	struct thread *th;

	(void)sp;
	stats.started = now();
	th = area_make();
	if (!th)
		fatal("no memory for the runtime");
	host_wrgsbase((u64)spill_of(th));
	thread_name(th);
	th->hand = &first_sighand;
	first_sighand.users = 1;
	code_setup();
	syscall_setup();
	signal_setup_thread(th);
	signal_setup_process(th);
}

_Noreturn void exec_end(int status)
{
	if (!here()->vforked) {
		lock_take(&code_lock);
		keep_save();
		lock_drop(&code_lock);
	}
	if (options.report[0] && !here()->vforked) {
		stats.started = now() - stats.started;
		report_write(status);
	}
	for (;;)
		sys1(__NR_exit_group, status);
}
