# SPDX-License-Identifier: MIT
# Disk images: the script that sets up a new root directory lies inside the program.

IMAGE_SRCS := $(wildcard src/image/*.c)
IMAGE_SETUP := $(BUILD)/obj/image/debian-setup.o
FRONTEND_SRCS += $(IMAGE_SRCS)
FRONTEND_LIBS += -lext2fs -lcom_err
FRONTEND_EXTRA_OBJS += $(IMAGE_SETUP)

DEPS_BUILD += libext2fs-dev
DEPS_TEST += mmdebstrap fdisk e2fsprogs uidmap openssh-client

$(IMAGE_SETUP): src/image/debian-setup.sh
	@echo "  EMBED   $<"
	@mkdir -p $(@D)
	@printf '%s\n' '.section .rodata' '.globl debian_setup, debian_setup_end' \
		'.hidden debian_setup, debian_setup_end' 'debian_setup: .incbin "$<"' 'debian_setup_end:' \
		'.section .note.GNU-stack,"",@progbits' > $(@:.o=.S)
	@$(CC) -c -o $@ $(@:.o=.S)
