#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kill -9 of the runtime at a share of its steps; the soak test takes them all.
# TIMEOUT: 200
set -u
STRIDE=11
. tests/container/crash.sh
