#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The tiny guest of kvm.sh under the translator.
ACCEL=translate exec "${BASH_SOURCE[0]%/*}/kvm.sh"
