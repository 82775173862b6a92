#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/system/deaths.sh with many more deaths.
# TIMEOUT: 3000
export DEATHS_KILLS=1500
exec bash tests/system/deaths.sh
