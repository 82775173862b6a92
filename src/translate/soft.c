/* SPDX-License-Identifier: MIT
 * Accesses of user code through the software TLB (shadow/soft.c), at sites where mappings of the host do not pay.
 *
 * Owner: who translates, under the cache's lock. */
#include "translate/internal.h"
#include "translate/targets.h"

bool soft_fits(const struct insn *in)
{
	bool bits = in->map == MAP_0F && (in->op & 0xe7) == 0xa3; /* reach beyond the operand by a register */

	if (in->klass != IC_PLAIN || !in->has_mem || (!in->mem_read && !in->mem_write) || !in->mem_size || in->mem_size > 64 ||
	    in->vsib || in->seg != SEG_NONE || in->addrsize_prefix || (in->reg_write & ~in->reg_read & TX_KEPT))
		return false;
	if (in->enc == ENC_LEGACY)
		return in->map == MAP_1B ? (in->op & 0xf8) != 0xd8 && in->op != 0x8d : in->map == MAP_0F && !bits && in->op != 0xae;
	return in->map == MAP_0F && (in->enc == ENC_VEX || in->enc == ENC_EVEX);
}

bool tx_is_soft(const struct tx *t, const struct tx_insn *ti)
{
	bool masked = ti->in.enc == ENC_EVEX && (ti->raw[ti->in.off_enc + 3] & 7);

	return !EXEC && !t->kernel && !(t->b->mode & (TM_COMPAT | TM_STEP)) && soft_fits(&ti->in) && !masked &&
	       (t->k->soft_all || site_is_both(t->k, tx_site(t, ti) | SITE_SOFT));
}

/* An access of user code through the software TLB (shadow/soft.c), at a site where host mappings do not pay:
 *
 *	b = address
 *	soft_read or soft_write		(b = where it lies in RAM)
 *	jmp plain			(what the TLB leaves to the host's mappings goes on here,
 *	jmp cold			 what it does not know here)
 *	the instruction on [b]
 *	soft_close
 *	jmp done
 * plain:	the instruction as it is
 * done:
 *
 * The monitor's memory is open between the gates.  What can fault there is the instruction's own: its operand is misaligned,
 * or its result is no number; it ends in an exception. */
void tx_soft(struct tx *t, const struct tx_insn *ti)
{
	const struct insn *in = &ti->in;
	struct emit *e = &t->hot;
	u16 taken = 0;
	u8 *stub, *plain, *done;
	int base = tx_borrow(t, in, &taken);

	tx_current(t)->access = AK_IDENT;
	tx_operand_address(t, ti, base);
	e_store_gs(e, SPILL_U_DISP + SP_TABLE, base);
	e_store_gs_imm(e, SPILL_U_DISP + SP_SOFT_LAST, in->mem_size - 1);
	tx_to_gate(t, in->mem_write ? t->k->targets.soft_write : t->k->targets.soft_read, e->p + GATE_BYTES + 2 * JMP_BYTES);
	plain = e_jmp(e, e->p);
	stub = t->cold.p;
	if (!(t->kept >> base & 1))
		e_load_gs(&t->cold, base, spill_reg(t, base));
	for (int r = R10; r <= R11; r++)
		if (t->kept_here >> r & 1)
			e_store_gs(&t->cold, spill_reg(t, r), r);
	tx_exit(t, X_SOFT, ti->pc, in->mem_size | (in->mem_write ? SOFT_EXIT_WRITE : 0) |
				   (in->enc == ENC_LEGACY && in->map == MAP_1B ? SOFT_EXIT_PAGE : 0));
	e_jmp(e, stub);
	e_load_gs(e, base, SPILL_U_DISP + SP_TABLE);
	tx_on_base(t, ti, base);
	tx_to_gate(t, t->k->targets.soft_close, e->p + GATE_BYTES);
	done = e_jmp(e, e->p);
	e_patch(plain, e->p);
	if (in->base == REG_RIP)
		tx_on_base(t, ti, base);
	else /* as it is: by its base it decides between #GP and #SS */
		e_bytes(e, ti->raw, in->len);
	e_patch(done, e->p);
	tx_return(t, base);
	t->soft = true;
	/* Its gates lead back to where it lies. */
	t->b->flags |= BLOCK_FIXED;
}
