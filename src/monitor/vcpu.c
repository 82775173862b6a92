/* SPDX-License-Identifier: MIT
 * One vCPU among others: where its state is mapped. */
#include "monitor/private.h"
#include "base/sys.h"

#define MREMAP_MAYMOVE 1
#define MREMAP_FIXED 2

struct constants *vcpu_constants(u32 n)
{
	return (struct constants *)((u8 *)VCPU_AT(n) + VCPU_SPILL + (CONST_DISP - SPILL_DISP));
}

static void protect(s64 disp, enum world_key key)
{
	int k = KEY_OF(SHADOW->keys, key);

	if ((SHADOW->keys & 1) && host_pkey_mprotect((u64)HOST(disp), PAGE_SIZE, PROT_READ | PROT_WRITE, k) < 0)
		monitor_fail("cannot protect the spill pages");
}

void vcpu_protect_spill(void)
{
	protect(SPILL_U_DISP, KEY_SPILL);
	protect(SPILL_K_DISP, KEY_KERNEL);
	protect(CONST_DISP, KEY_TABLE);
}

/* A second mapping of shared memory that is mapped at `from` already: no descriptor of it is left. */
static void alias(s64 to, const void *from, u64 size)
{
	if (sys5(__NR_mremap, from, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, HOST(to)) < 0)
		monitor_fail("cannot map the state of another vCPU");
}

void vcpu_attach(u32 n)
{
	if (!n)
		return; /* the zygote has that one mapped */
	alias(VCPU_DISP, VCPU_AT(n), VCPU_AREA);
	alias(SPILL_DISP, (u8 *)VCPU_AT(n) + VCPU_SPILL, SPILL_PAGES);
	vcpu_protect_spill();
}
