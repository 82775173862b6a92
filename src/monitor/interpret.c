/* SPDX-License-Identifier: MIT
 * Guest code that is not translated, one instruction after the other (x86/interp.c).
 *
 * Owner: the running carrier.  Nothing of the guest is mapped for it: memory is reached through the walker. */
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "x86/system.h"

#define INTERPRET_MAX 256 /* instructions between two looks at what only the run loop sees */

static bool stop(const struct cpu *c)
{
	return c->exc.pending || c->halted || SPILL_K->pending || VCPU->kick != VCPU->kick_seen || signal_noted;
}

void interpret(struct cpu *c)
{
	/* The instruction behind STI, or a load of SS, comes before any interrupt. */
	for (u32 n = 0; n < INTERPRET_MAX || c->sti_shadow; n++) {
		bool tf = c->rflags & RF_TF;
		struct insn in;
		int r;

		if (debug_on(c) && debug_breakpoint(c))
			return;
		my.watch_hits = 0;
		do {
			operand_watch();
			r = sys_interpret(c, &in);
		} while (operand_lost());
		if (r == -1)
			r = (int)sys_raise(c, VEC_UD);
		VCPU->count.classes[in.len && in.klass < IC_COUNT ? in.klass : 0]++;
		if (c->sti_shadow && in.klass != IC_STI)
			tf = false;
		if (r == SYS_DONE || r == SYS_AGAIN)
			debug_trap(c, tf && (!clears_trap(&in) || (c->rflags & RF_TF)));
		if (!is_interpreted(c) || c->exc.pending || c->halted || (!c->sti_shadow && stop(c)))
			return;
	}
}
