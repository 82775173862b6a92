#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a failing case of the TLB test small.

Usage: shrink.py COMMAND [OPTION...]

COMMAND runs the guest with its arguments as the guest's command line (seed=N steps=N ...) and prints what it says.
What two processors do at once fails now and then only: a second try is made where the guest has two (cpus=2).
Steps are left out, in ever smaller pieces, as long as the last one still fails; what is left is printed step by step.
"""
import re
import subprocess
import sys

EPOCH = 4096


def run(options):
    return subprocess.run(sys.argv[1:] + options, capture_output=True, text=True, check=False).stdout


def failed(out):
    m = re.search(r"TLB failed seed \w+ step (\d+)", out)
    return int(m.group(1)) if m else None


def still_fails(options, last):
    tries = 2 if any("cpus=2" in word for word in sys.argv) else 1
    return any(failed(run(options)) == last for _ in range(tries))


def drops(keep, first, last):
    kept = sorted(keep) + [last]
    options, at = [], first
    for step in kept:
        if step > at:
            options.append(f"drop={at}-{step - 1}")
        at = step + 1
    return options


def main():
    last = failed(run([]))
    if last is None:
        sys.exit("shrink: it does not fail")
    first = last // EPOCH * EPOCH
    span = [f"from={first}", f"steps={last + 1}"]
    keep = list(range(first, last))
    size = len(keep) // 2
    while size:
        at, less = 0, False
        while at < len(keep):
            try_keep = keep[:at] + keep[at + size:]
            options = drops(try_keep, first, last)
            if len(options) < 100 and still_fails(span + options, last):
                keep, less = try_keep, True
            else:
                at += size
        print(f"{len(keep)} steps left", file=sys.stderr)
        if size > 1 or not less:
            size //= 2
    options = span + drops(keep, first, last)
    print(run(options + ["verbose=1"]))
    print(" ".join(options))


main()
