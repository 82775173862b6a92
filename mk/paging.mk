# SPDX-License-Identifier: MIT
# What `penumbra bench paging` runs, embedded in the front-end: a kernel of its own and a program for Linux.

PAGING_KERNEL := $(BUILD)/bench/paging-kernel
PAGING_PROGRAM := $(BUILD)/bench/paging-linux
PAGING_BLOB := $(BUILD)/obj/bench/paging-images.o
PAGING_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -mgeneral-regs-only -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -nostdlib -static -no-pie \
	-Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--no-warn-rwx-segments
PAGING_HEADERS := $(wildcard bench/paging/*.h) guest/vectors.inc src/bench/paging_workloads.h src/base/types.h src/base/sys.h src/x86/paging.h

DEPS_TEST += libxml2-utils

FRONTEND_EXTRA_OBJS += $(PAGING_BLOB)

$(PAGING_KERNEL): mk/paging.mk $(wildcard bench/paging/*) $(PAGING_HEADERS)
	@echo "  GUEST   $@"
	@mkdir -p $(@D)
	@$(CC) $(PAGING_CFLAGS) -mcmodel=kernel -mno-red-zone -T bench/paging/link.ld -o $@ $(wildcard bench/paging/*.S) \
		$(filter-out bench/paging/linux%,$(wildcard bench/paging/*.c))

$(PAGING_PROGRAM): mk/paging.mk bench/paging/linux.c src/base/bare/memory.c $(PAGING_HEADERS)
	@echo "  GUEST   $@"
	@mkdir -p $(@D)
	@$(CC) $(PAGING_CFLAGS) -o $@ bench/paging/linux.c src/base/bare/memory.c

# Each between two symbols, as the monitor's image is.
$(PAGING_BLOB): $(PAGING_KERNEL) $(PAGING_PROGRAM)
	@echo "  EMBED   $(notdir $^)"
	@mkdir -p $(@D)
	@for name in kernel linux; do strip -o $(BUILD)/bench/paging-$$name.stripped $(BUILD)/bench/paging-$$name && \
		printf '%s\n' ".globl paging_$$name, paging_$${name}_end" ".hidden paging_$$name, paging_$${name}_end" '.balign 16' \
		"paging_$$name: .incbin \"$(BUILD)/bench/paging-$$name.stripped\"" "paging_$${name}_end:"; done > $(@:.o=.list)
	@printf '%s\n' '.section .rodata' ".include \"$(@:.o=.list)\"" '.section .note.GNU-stack,"",@progbits' > $(@:.o=.S)
	@$(CC) -c -o $@ $(@:.o=.S)
