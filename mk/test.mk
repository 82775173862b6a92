# SPDX-License-Identifier: MIT
# Unit tests: tests/unit/test_NAME.c becomes BUILD/tests/unit/test_NAME by a rule that mk/unit-tests.awk
# writes from the comments at the head of the file:
#
#	/* LIBS: -lcmocka */           link flags
#	/* WITH: base/err.c x86/a.c */ sources under src/ that it links with
#	/* FLAGS: -DX=1 */             compiler flags, for the test and its WITH sources
#	/* NOSAN */                    without the address and undefined behaviour sanitizers
#
# each on a line of its own, in a comment of its own or as a line ` * LIBS: ...` of the head comment; a list
# may be given in several such lines.
#
# `make check T=pattern` runs only tests whose path matches the shell pattern *pattern*.

TEST_CFLAGS := $(COMMON_CFLAGS) -D_GNU_SOURCE -Itests -fno-omit-frame-pointer
TEST_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_SRCS := $(wildcard tests/unit/test_*.c)
UNIT_TESTS := $(UNIT_SRCS:%.c=$(BUILD)/%)

.PHONY: unit-tests run-tests
unit-tests: $(UNIT_TESTS)

ifeq ($(filter clean deps deps-run install,$(MAKECMDGOALS)),)
ifneq ($(UNIT_SRCS),)
include $(BUILD)/tests/unit.mk
endif
endif

$(BUILD)/tests/unit.mk: mk/unit-tests.awk $(UNIT_SRCS)
	@mkdir -p $(@D)
	@awk -v B=$(BUILD) -f mk/unit-tests.awk $(UNIT_SRCS) > $@.new && mv $@.new $@

$(BUILD)/tests/test.flags: FORCE
	$(call flags-file,$(CC) $(TEST_CFLAGS) $(TEST_SAN))

# A unit test that does not build is a failed test, not the end of the run.
check:
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all guest
	@+$(MAKE) --no-print-directory run-tests
run-tests:
	@+broken=; $(MAKE) --no-print-directory -k unit-tests || broken=--rebuild; \
	BUILD='$(BUILD)' PENUMBRA='$(PENUMBRA)' MAKE='$(MAKE)' tests/run $$broken $(T)

soak:
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all guest
	@BUILD='$(BUILD)' PENUMBRA='$(PENUMBRA)' tests/run --soak $(T)
