#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# 1000 containers in a row and 200 at once.
# TIMEOUT: 900
set -u
ROW=1000 ATONCE=200
. tests/container/many.sh
