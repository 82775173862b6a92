# SPDX-License-Identifier: MIT
# Programs for the guests of tests/system/maintainers.sh.  Built when that test asks for them.

$(BUILD)/shadow/%: tests/guest/shadow/%.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fno-strict-aliasing -static -o $@ $<
