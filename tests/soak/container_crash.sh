#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kill -9 of the runtime at every system call that it makes.
# TIMEOUT: 1800
set -u
STRIDE=1
. tests/container/crash.sh
