# SPDX-License-Identifier: MIT
# `make bench` measures; ROUNDS=N sets how often, TARGETS=native,tcg,penumbra what, M='name...' which measures.

GUESTBENCH := $(BUILD)/bench/guestbench

$(GUESTBENCH): bench/guestbench.c $(BUILD)/obj.flags
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) $(COMMON_CFLAGS) -D_GNU_SOURCE -static -o $@ $<

bench:
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all guest-full $(GUESTBENCH)
	@BUILD='$(BUILD)' PENUMBRA='$(abspath $(PENUMBRA))' bench/run $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(TARGETS),--targets $(TARGETS)) $(M)
