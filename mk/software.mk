# SPDX-License-Identifier: MIT
# Guests with Debian's software for the tests of what runs in them.  Built when a test asks for them.

SOFTWARE_PACKAGES := bash perl python3 libpython3.11-testsuite openssl sqlite3 gzip xz-utils zstd bzip2 luajit nodejs \
	gdb strace stress-ng procps netbase coreutils util-linux libc-bin sed grep gawk diffutils findutils tar
COMPILER_PACKAGES := bash gcc-12 make libc6-dev coreutils grep sed gawk diffutils findutils
SOFTWARE_PROGRAMS := $(patsubst %,$(BUILD)/software/%,threads signals memory debug)

$(GUEST)/initrd-software: $(GUEST)/initrd tests/guest/software/build.sh mk/software.mk
	@echo "  GUEST   $@"
	@tests/guest/software/build.sh $< $@ $(SOFTWARE_PACKAGES)
$(GUEST)/initrd-compiler: $(GUEST)/initrd tests/guest/software/build.sh mk/software.mk
	@echo "  GUEST   $@"
	@tests/guest/software/build.sh $< $@ $(COMPILER_PACKAGES)

$(SOFTWARE_PROGRAMS): $(BUILD)/software/%: tests/guest/software/%.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fno-strict-aliasing -static -pthread -o $@ $<
$(BUILD)/software/prog: tests/guest/software/prog.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O1 -g -Wall -Wextra -Werror -o $@ $<

.PHONY: software
software: $(GUEST)/initrd-software $(GUEST)/initrd-compiler $(SOFTWARE_PROGRAMS) $(BUILD)/software/prog
