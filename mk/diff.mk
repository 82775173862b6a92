# SPDX-License-Identifier: MIT
# The differential test of the translator: BUILD/tests/diff/{guest,harness}, run by tests/system/diff.sh.

DIFF_GUEST := $(BUILD)/tests/diff/guest
DIFF_HARNESS := $(BUILD)/tests/diff/harness
DIFF_GUEST_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -mcmodel=kernel -mgeneral-regs-only -mno-red-zone -fno-pic -fno-pie \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
DIFF_GUEST_DEPS := guest/vectors.inc $(wildcard tests/guest/diff/*) tests/diff/format.h src/x86/cpu.h src/x86/paging.h src/base/types.h
DIFF_HARNESS_SRCS := $(wildcard tests/diff/*.c) \
	$(wildcard src/x86/decode*.c) src/base/err.c src/machine/kernel.c src/machine/multiboot.c src/machine/boot.c src/machine/pvh.c src/machine/linux_boot.c src/machine/ram.c $(wildcard src/machine/payload*.c)
# The native runner works in a signal handler with the test's FS base: no stack protector, no sanitizers.
DIFF_HARNESS_CFLAGS := $(COMMON_CFLAGS) -D_GNU_SOURCE -Itests -fno-stack-protector -fcf-protection=none -fpie -pie -mfsgsbase

DEPS_TEST += libzydis-dev python3-minimal perl-base

.PHONY: diff
diff: $(DIFF_GUEST) $(DIFF_HARNESS)
run-tests: diff
soak: diff

$(DIFF_GUEST): mk/diff.mk $(DIFF_GUEST_DEPS)
	@echo "  GUEST   $@"
	@mkdir -p $(@D)
	@$(CC) $(DIFF_GUEST_CFLAGS) -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--no-warn-rwx-segments \
		-T tests/guest/diff/link.ld -o $@ tests/guest/diff/start.S tests/guest/diff/main.c

$(DIFF_HARNESS): mk/diff.mk $(DIFF_HARNESS_SRCS) $(wildcard tests/diff/*.h) $(wildcard src/x86/decode*.h)
	@echo "  LINK    $@"
	@mkdir -p $(@D)
	@$(CC) $(DIFF_HARNESS_CFLAGS) -o $@ $(DIFF_HARNESS_SRCS) -lZydis -lz -llzma -lzstd -llz4 -lbz2
