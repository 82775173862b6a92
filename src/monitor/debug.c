/* SPDX-License-Identifier: MIT
 * Hardware breakpoints: DR0-3, DR6 and DR7 (SDM 3B 17.2), and the trap after a single step.
 *
 * Data: a page of user addresses with a watched byte is kept closed, so that each access to it comes to C,
 * which executes it through vmem_*; those report here what they touch.  What C cannot execute, such as
 * vector instructions, runs alone while the page is open, after its operand has been looked at.
 * Execution: a page with a breakpoint runs one instruction at a time, in blocks that nothing links to, and
 * the run loop looks at each address.
 *
 * Owner: the running carrier.  Nothing here costs anything while DR7 enables nothing. */
#include "base/sys.h"
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "x86/system.h"

#define DR6_BS BIT(14)
enum { DR_EXECUTE, DR_WRITE, DR_IO, DR_ACCESS };

static int kind(const struct cpu *c, int i) { return (int)(c->dr[7] >> (16 + 4 * i) & 3); }
static bool enabled(const struct cpu *c, int i) { return c->dr[7] >> (2 * i) & 3; }

/* Bytes that a breakpoint covers; its address counts as aligned to that. */
static u64 length(const struct cpu *c, int i)
{
	static const u8 bytes[] = { 1, 2, 8, 4 };

	return bytes[c->dr[7] >> (18 + 4 * i) & 3];
}

static bool is_data(const struct cpu *c, int i)
{
	return enabled(c, i) && (kind(c, i) == DR_WRITE || kind(c, i) == DR_ACCESS) && !is_kernel_half(c->dr[i]);
}

void debug_access(const struct cpu *c, u64 va, u64 n, bool write)
{
	for (int i = 0; i < 4; i++) {
		u64 from = c->dr[i] & ~(length(c, i) - 1);

		if (is_data(c, i) && (write || kind(c, i) == DR_ACCESS) && va < from + length(c, i) && from < va + n)
			my.watch_hits |= BIT(i);
	}
}

bool debug_watched(const struct cpu *c, u64 va)
{
	for (int i = 0; i < 4; i++)
		if (is_data(c, i) && ((c->dr[i] ^ va) & PAGE_MASK) == 0)
			return true;
	return false;
}

void debug_close(const struct cpu *c)
{
	soft_flush();
	for (int i = 0; i < 4; i++)
		if (is_data(c, i))
			host_mprotect(c->dr[i] & PAGE_MASK, PAGE_SIZE, 0);
}

bool debug_code_page(const struct cpu *c, u64 pc)
{
	for (int i = 0; i < 4; i++)
		if (enabled(c, i) && kind(c, i) == DR_EXECUTE && ((c->dr[i] ^ pc) & PAGE_MASK) == 0)
			return true;
	return false;
}

/* A breakpoint is a fault before the instruction; RF holds it off for the one that it was set for. */
bool debug_breakpoint(struct cpu *c)
{
	u64 hits = 0;

	if ((c->rflags & RF_RF) && !my.resume_rip)
		my.resume_rip = c->rip;
	if (c->rip != my.resume_rip) {
		c->rflags &= ~RF_RF;
		my.resume_rip = 0;
	}
	if (c->rflags & RF_RF)
		return false;
	for (int i = 0; i < 4; i++)
		if (enabled(c, i) && kind(c, i) == DR_EXECUTE && c->dr[i] == c->rip)
			hits |= BIT(i);
	if (!hits)
		return false;
	sys_raise(c, VEC_DB);
	c->exc.dr6 = hits;
	return true;
}

void debug_trap(struct cpu *c, bool step)
{
	u64 hits = my.watch_hits | (step ? DR6_BS : 0);

	my.watch_hits = 0;
	my.resume_rip = 0;
	if (!hits || c->exc.pending)
		return;
	sys_raise(c, VEC_DB);
	c->exc.dr6 = hits;
}

void debug_stepped(struct cpu *c)
{
	c->rflags &= ~RF_RF;
	debug_trap(c, c->rflags & RF_TF);
}

void debug_alone(const struct cpu *c, const struct insn *in)
{
	u64 n = in->mem_size ? in->mem_size : 512; /* FXSAVE and its kin */

	my.alone = true;
	if (in->has_mem)
		debug_access(c, sys_operand_address(c, in).v, n, in->mem_write);
}

void debug_changed(struct cpu *c)
{
	bool kernel = false, any = false;

	if (!debug_on(c))
		return;
	for (int i = 0; i < 4; i++)
		if (enabled(c, i) && kind(c, i) == DR_EXECUTE) {
			any = true;
			kernel |= is_kernel_half(c->dr[i]);
		}
	if (kernel)
		translations_flush();
	else if (any)
		code_reset();
	debug_close(c);
}
