# SPDX-License-Identifier: MIT
# The guest of the TLB test: BUILD/tests/tlb/guest, run by tests/system/tlb_model.sh.

TLB_GUEST := $(BUILD)/tests/tlb/guest
TLB_GUEST_SRCS := $(wildcard tests/guest/tlb/*.[cS]) src/base/bare/memory.c
TLB_GUEST_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -fpie -fvisibility=hidden -mgeneral-regs-only -mno-red-zone \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns

.PHONY: tlb
tlb: $(TLB_GUEST)
run-tests: tlb
soak: tlb

$(TLB_GUEST): mk/tlb.mk guest/vectors.inc $(TLB_GUEST_SRCS) $(wildcard tests/guest/tlb/*.h tests/guest/tlb/*.ld) src/x86/cpu.h src/x86/paging.h src/base/types.h
	@echo "  GUEST   $@"
	@mkdir -p $(@D)
	@$(CC) $(TLB_GUEST_CFLAGS) -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--no-warn-rwx-segments \
		-T tests/guest/tlb/link.ld -o $@ $(TLB_GUEST_SRCS)
