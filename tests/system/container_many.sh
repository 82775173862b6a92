#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Many containers, in a row and at once; the soak test has 1000 and 200.
# TIMEOUT: 120
set -u
ROW=60 ATONCE=24
. tests/container/many.sh
