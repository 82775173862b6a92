#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/system/time.sh for half an hour, ten minutes a clock.
# TIMEOUT: 2400
export TIME_SECONDS=600
exec bash tests/system/time.sh
