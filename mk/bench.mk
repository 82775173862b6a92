# SPDX-License-Identifier: MIT
# `make bench` measures; ROUNDS=N sets how often, TARGETS=native,tcg,penumbra what, M='name...' which measures.

DEPS_TEST += bc jq gzip sed

GUESTBENCH := $(BUILD)/bench/guestbench

$(GUESTBENCH): bench/guestbench.c $(BUILD)/obj.flags
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) $(COMMON_CFLAGS) -D_GNU_SOURCE -static -o $@ $<

bench:
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all guest-full $(GUESTBENCH)
	@BUILD='$(BUILD)' PENUMBRA='$(abspath $(PENUMBRA))' bench/run $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(TARGETS),--targets $(TARGETS)) $(M)

# Programs of `penumbra bench translation` that Debian does not ship.
BENCH_PROGRAMS := $(BUILD)/bench/programs

$(BENCH_PROGRAMS)/micro: bench/micro.c
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) -O2 -o $@ $<
$(BENCH_PROGRAMS)/lua-O0: bench/sources.sh
	@echo "  SOURCES $(BENCH_PROGRAMS)"
	@bench/sources.sh $(BENCH_PROGRAMS)
.PHONY: bench-programs
bench-programs: $(BENCH_PROGRAMS)/micro $(BENCH_PROGRAMS)/lua-O0
