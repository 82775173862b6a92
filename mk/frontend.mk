# SPDX-License-Identifier: MIT
# The front-end: which sources and libraries make up the program, and its manual page.

FRONTEND_SRCS := $(wildcard src/base/*.c src/device/*.c src/accel/*.c src/machine/*.c src/bench/*.c src/cli/*.c)
FRONTEND_LIBS += -lm -ljson-c -lz -llzma -lzstd -llz4 -lbz2 -lslirp

DEPS_BUILD += libbz2-dev libslirp-dev
DEPS_TEST += groff-base man-db

ifneq ($(wildcard src/cli/*.c),)
MAN_PAGE := $(BUILD)/penumbra.1
all: $(MAN_PAGE)
$(MAN_PAGE): $(PENUMBRA)
	@echo "  MAN     $@"
	@$(abspath $<) --man > $@
.PHONY: install-man
install: install-man
install-man: $(MAN_PAGE)
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(MAN_PAGE) $(DESTDIR)$(PREFIX)/share/man/man1/
endif
