/* SPDX-License-Identifier: MIT
 * 32-bit code of the guest's user programs. */
#include "translate/internal.h"

void compat_emit(struct tx *t)
{
	tx_record(t, t->b->pc, AK_NONE, 0);
	tx_execute(t, &t->insns[0]);
}
