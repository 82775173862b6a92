# SPDX-License-Identifier: MIT
# The monitor: freestanding, static, at the fixed address FOLD_OFF + MONITOR_DISP of x86/layout.h.

MONITOR_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -fpie -fvisibility=hidden -mgeneral-regs-only -mbmi2 -mpopcnt -mno-red-zone \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
MONITOR_LDFLAGS := -nostdlib -static -no-pie -Wl,-Ttext-segment=0x7c0010000000,--build-id=none,-z,noexecstack,-z,max-page-size=4096
# The post-mortem dump names instruction classes.
FRONTEND_SRCS += $(wildcard src/x86/decode*.c)
