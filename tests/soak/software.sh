#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/system/software.sh with whole classes of stress-ng and far more of Python's own tests, with and without
# page table isolation.
# TIMEOUT: 7200
export SOFTWARE_LONG=1
exec bash tests/system/software.sh
