# SPDX-License-Identifier: MIT
# Programs for the guests of tests/system/smp.sh.  Built when that test asks for them.

$(BUILD)/smp/%: tests/guest/smp/%.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fno-strict-aliasing -static -pthread -mcx16 -o $@ $<
