#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/system/kernels.sh with more memory sizes and kernel options.
# TIMEOUT: 900
export KERNELS_LONG=1
exec bash tests/system/kernels.sh
