/* SPDX-License-Identifier: MIT
 * What both accelerators share: the reasons a run ends. */
#include "accel/accel.h"

#include <unistd.h>

static const struct {
	const char *name, *words;
} ends[END_COUNT] = {
#define VM_END_ROW(symbol, name, words) [END_##symbol] = { name, words },
	VM_ENDS(VM_END_ROW)
#undef VM_END_ROW
};

const char *vm_end_name(enum vm_end end)
{
	return ends[end].name;
}

const char *vm_end_words(enum vm_end end)
{
	return ends[end].words;
}

void vm_request_end(struct vm *vm, enum vm_end why)
{
	int none = END_NONE;
	u64 one = 1;
	ssize_t rc;

	atomic_compare_exchange_strong(&vm->end_request, &none, (int)why);
	rc = write(vm->wake_fd, &one, sizeof one);
	(void)rc; /* a full counter is readable too */
	vm->accel->kick(vm);
}
