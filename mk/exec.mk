# SPDX-License-Identifier: MIT
# The runtime of `penumbra exec`: freestanding, static, at RUNTIME_BASE of src/exec/layout.h, and embedded in
# the front-end like the monitor.

EXEC_SRCS := $(wildcard src/base/bare/*.c src/exec/*.c src/exec/*.S) \
	$(addprefix src/translate/,block.c translate.c operand.c) $(wildcard src/optimise/*.c) $(addprefix src/x86/,decode.c decode_table.c decode_vector.c)
EXEC_OBJS := $(patsubst src/%,$(BUILD)/exec/%.o,$(basename $(EXEC_SRCS)))
EXEC_CFLAGS = $(COMMON_CFLAGS) -DPENUMBRA_EXEC -ffreestanding -fno-pie -fvisibility=hidden -mgeneral-regs-only -mbmi2 -mpopcnt \
	-mcrc32 -mno-red-zone -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
	-fno-tree-loop-distribute-patterns -mfsgsbase -mmemset-strategy=unrolled_loop:128:noalign,rep_8byte:-1:noalign
EXEC_LDFLAGS := -nostdlib -static -no-pie -Wl,-Ttext-segment=0x60000000,--build-id=sha1,-z,noexecstack,-z,max-page-size=4096
EXEC_RUNTIME := $(BUILD)/penumbra-exec
EXEC_BLOB := $(BUILD)/obj/exec-image.o

PROGRAMS += $(EXEC_RUNTIME)
$(PENUMBRA): $(EXEC_BLOB)
FRONTEND_LIBS += $(EXEC_BLOB)

$(EXEC_RUNTIME): $(EXEC_OBJS) $(BUILD)/exec.flags
	@echo "  LINK    $@"
	@$(CC) $(EXEC_CFLAGS) $(EXEC_LDFLAGS) -o $@ $(EXEC_OBJS)

$(EXEC_BLOB): $(EXEC_RUNTIME)
	@echo "  EMBED   $<"
	@mkdir -p $(@D)
	@printf '%s\n' '.section .rodata' '.balign 4096' '.globl exec_image, exec_image_end' \
		'.hidden exec_image, exec_image_end' 'exec_image: .incbin "$(BUILD)/exec-stripped"' \
		'exec_image_end:' '.section .note.GNU-stack,"",@progbits' > $(BUILD)/obj/exec-image.S
	@strip -o $(BUILD)/exec-stripped $(EXEC_RUNTIME)
	@$(CC) -c -o $@ $(BUILD)/obj/exec-image.S

$(BUILD)/exec/%.o: src/%.c $(BUILD)/exec.flags
	@echo "  CC [E]  $<"
	@mkdir -p $(@D)
	@$(CC) $(EXEC_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/exec/%.o: src/%.S $(BUILD)/exec.flags
	@echo "  AS [E]  $<"
	@mkdir -p $(@D)
	@$(CC) $(EXEC_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/exec.flags: FORCE
	$(call flags-file,$(CC) $(EXEC_CFLAGS) $(EXEC_LDFLAGS) $(EXEC_OBJS))

-include $(EXEC_OBJS:.o=.d)

# What tests/system/exec*.sh run besides what other tests need.
DEPS_TEST += lua5.4 mawk perl gzip coreutils
