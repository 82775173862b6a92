# SPDX-License-Identifier: MIT
# Tests of the isolation of the translating accelerator; with PLANT=1 they also plant holes to be noticed.

.PHONY: check-isolation
check-isolation: all guest
	@BUILD='$(BUILD)' PENUMBRA='$(abspath $(PENUMBRA))' tests/run tests/system/hostile tests/system/confine
