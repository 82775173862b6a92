#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The differential test of the translator for long: DIFF_SECONDS=N seconds a part (default 300).
# TIMEOUT: 4000
DIFF_SECONDS=${DIFF_SECONDS:-300} exec bash tests/system/diff.sh
