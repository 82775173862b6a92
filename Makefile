# SPDX-License-Identifier: MIT
# Builds ./penumbra: the front-end with the freestanding monitor embedded in it, so that it is one file.
#
# Variables are set first, then mk/*.mk add to them and bring the rules of their part, then come the
# generic rules.  `make BUILD=/some/dir` builds elsewhere and leaves ./penumbra alone.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BUILD ?= build
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif
# Programs lie at the top of the tree, or all inside BUILD when that is set to something else.
BIN := $(if $(filter build,$(BUILD)),,$(BUILD)/)
PENUMBRA := $(BIN)penumbra
MONITOR := $(BUILD)/penumbra-monitor

WARNINGS := -Wall -Wextra -Werror -Wundef -Wvla -Wpointer-arith -Wwrite-strings -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition
COMMON_CFLAGS := -std=gnu11 -O2 -g $(WARNINGS) -Isrc -fno-strict-aliasing -fno-common
FRONTEND_CFLAGS := $(COMMON_CFLAGS) -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -fPIE -fstack-protector-strong \
	-fstack-clash-protection -fcf-protection
FRONTEND_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
FRONTEND_LIBS :=
MONITOR_EXTRA_SRCS := $(wildcard $(patsubst %,src/machine/%.c,i8259 i8254 mc146818 uart16550 pm i8042 ports ioapic lapic apic))

# What `make` builds; each part appends its programs.
PROGRAMS :=

include $(sort $(wildcard mk/*.mk))

FRONTEND_SRCS ?= $(wildcard src/base/*.c src/accel/*.c src/cli/*.c src/machine/*.c src/x86/*.c)
FRONTEND_OBJS := $(FRONTEND_SRCS:src/%.c=$(BUILD)/obj/%.o)

MONITOR_SRCS ?= $(wildcard src/base/bare/*.c src/monitor/*.c src/monitor/*.S src/translate/*.c src/shadow/*.c src/x86/*.c) \
	$(MONITOR_EXTRA_SRCS)
MONITOR_CFLAGS ?= $(COMMON_CFLAGS) -ffreestanding -fno-pic -fno-pie -mcmodel=large -mgeneral-regs-only \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
MONITOR_LDFLAGS ?= -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack
MONITOR_OBJS := $(patsubst src/%,$(BUILD)/monitor/%.o,$(basename $(MONITOR_SRCS)))

# The monitor becomes a read-only blob between the symbols monitor_image and monitor_image_end.
ifneq ($(wildcard src/monitor/*.[cS]),)
MONITOR_BLOB := $(BUILD)/obj/monitor-image.o
PROGRAMS += $(MONITOR)
endif
ifneq ($(wildcard src/cli/*.c),)
PROGRAMS += $(PENUMBRA)
endif

.PHONY: all run check soak guest guest-full deps bench clean install FORCE
all: $(PROGRAMS)

$(PENUMBRA): $(FRONTEND_OBJS) $(FRONTEND_EXTRA_OBJS) $(MONITOR_BLOB) $(BUILD)/link.flags
	@echo "  LINK    $@"
	@$(CC) $(FRONTEND_CFLAGS) $(FRONTEND_LDFLAGS) -o $@ $(FRONTEND_OBJS) $(FRONTEND_EXTRA_OBJS) $(MONITOR_BLOB) $(FRONTEND_LIBS)

$(MONITOR): $(MONITOR_OBJS) $(MONITOR_SCRIPT) $(BUILD)/link.flags
	@echo "  LINK    $@"
	@$(CC) $(MONITOR_CFLAGS) $(MONITOR_LDFLAGS) -o $@ $(MONITOR_OBJS) $(MONITOR_LIBS)

$(BUILD)/obj/monitor-image.o: $(MONITOR)
	@echo "  EMBED   $<"
	@mkdir -p $(@D)
	@printf '%s\n' '.section .rodata' '.balign 4096' '.globl monitor_image, monitor_image_end' \
		'.hidden monitor_image, monitor_image_end' 'monitor_image: .incbin "$(BUILD)/monitor-stripped"' \
		'monitor_image_end:' '.section .note.GNU-stack,"",@progbits' > $(BUILD)/obj/monitor-image.S
	@strip -o $(BUILD)/monitor-stripped $(MONITOR)
	@$(CC) -c -o $@ $(BUILD)/obj/monitor-image.S

$(BUILD)/obj/%.o: src/%.c $(BUILD)/obj.flags
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) $(FRONTEND_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/monitor/%.o: src/%.c $(BUILD)/monitor.flags
	@echo "  CC [M]  $<"
	@mkdir -p $(@D)
	@$(CC) $(MONITOR_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/monitor/%.o: src/%.S $(BUILD)/monitor.flags
	@echo "  AS [M]  $<"
	@mkdir -p $(@D)
	@$(CC) $(MONITOR_CFLAGS) -MMD -MP -c -o $@ $<

# Files that change only when the flags that they hold change, so that new flags rebuild what used the old.
flags-file = @mkdir -p $(@D); printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' > $@
$(BUILD)/obj.flags: FORCE
	$(call flags-file,$(CC) $(FRONTEND_CFLAGS))
$(BUILD)/monitor.flags: FORCE
	$(call flags-file,$(CC) $(MONITOR_CFLAGS))
$(BUILD)/link.flags: FORCE
	$(call flags-file,$(FRONTEND_LDFLAGS) $(FRONTEND_LIBS) $(FRONTEND_OBJS) $(MONITOR_LDFLAGS) $(MONITOR_LIBS) $(MONITOR_OBJS))

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(filter-out $(MONITOR),$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin/
	if [ -e $(GUEST)/initrd ]; then install -d $(DESTDIR)$(PREFIX)/share/penumbra && \
		install -m 644 $(GUEST)/vmlinuz $(GUEST)/initrd $(DESTDIR)$(PREFIX)/share/penumbra/; fi

clean:
	rm -rf $(BUILD) $(PENUMBRA) $(filter-out $(MONITOR),$(PROGRAMS))

-include $(FRONTEND_OBJS:.o=.d) $(MONITOR_OBJS:.o=.d)
