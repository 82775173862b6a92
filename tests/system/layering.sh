#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The shape of the sources: includes point down only, each header compiles alone, no file is too long, each
# names its licence.  Reads TREE (the tree that holds this script if unset), so that it can be tried on a copy.
set -u
cd "${TREE:-$(dirname "$0")/../..}" || exit 1
export LC_ALL=C

# Directory of src/ and its height.  A file includes headers of its own directory and of lower ones.
layers='
cli        8
migrate    7
container  7
image      6
bench      6
machine    5
accel      4
device     4
monitor    3
exec       3
translate  2
shadow     2
optimise   2
x86        1
base       0
'
# The only includes that may point up: the freestanding models of the legacy devices, run by the monitor too.
upward='
monitor machine/legacy.h
monitor machine/apic.h
'
max_lines=1000

verdict() { # name, findings on standard input
	local found
	found=$(cat)
	if [ -z "$found" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1: $(printf '%s\n' "$found" | head -n 1)"
		printf '%s\n' "$found" | sed 's/^/# /'
	fi
}

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	mapfile -t files < <(git ls-files -co --exclude-standard | while read -r f; do [ -f "$f" ] && echo "$f"; done)
else
	mapfile -t files < <(find . -name build -prune -o -name .git -prune -o -type f -printf '%P\n')
fi
sources() { printf '%s\n' "${files[@]}" | grep -E "$1"; }

sources '^src/[^/]+/.*\.[chS]$' | tr '\n' '\0' | xargs -0 -r awk -v layers="$layers" -v upward="$upward" '
	BEGIN {
		n = split(layers, w); for (i = 1; i < n; i += 2) height[w[i]] = w[i + 1]
		n = split(upward, w); for (i = 1; i < n; i += 2) allowed[w[i] " " w[i + 1]] = 1
	}
	FNR == 1 {
		split(FILENAME, part, "/"); from = part[2]
		if (!(from in height)) print FILENAME ": src/" from " has no layer"
	}
	/^[ \t]*#[ \t]*include[ \t]*"/ {
		split($0, quoted, "\""); target = quoted[2]; to = target; sub(/\/.*/, "", to)
		if (target !~ /\// || !(to in height))
			print FILENAME ":" FNR ": \"" target "\" is not a path from src/"
		else if (to != from && height[to] >= height[from] && !((from " " target) in allowed))
			print FILENAME ":" FNR ": " from " includes " target ", which is not below it"
	}' | verdict "includes point down"

# A header without a guard is a list of table rows; it serves one file of its own directory.
mapfile -t headers < <(sources '^src/.*\.h$')
for header in "${headers[@]}"; do
	if ! grep -q '^#ifndef PENUMBRA_' "$header"; then
		users=$(grep -lF "#include \"${header#src/}\"" "${header%/*}"/*.[chS])
		[ -n "$users" ] || echo "$header: no include guard and no user in its directory"
		continue
	fi
	gcc -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE -Isrc -fsyntax-only -x c - 2>&1 <<<"#include \"${header#src/}\"" |
		grep -m 1 -E 'error|warning' | sed "s|^|$header alone: |"
done | verdict "each header compiles alone"

sources '\.([chSly]|sh|awk|mk|py)$' | tr '\n' '\0' | xargs -0 -r wc -l |
	awk -v max=$max_lines '$2 != "total" && $1 > max { print $2 ": " $1 " lines" }' | verdict "no file over $max_lines lines"

sources '(\.([chS]|sh|awk|mk|py|lds|ld)|(^|/)Makefile|^tests/run|^bench/run|^\.ci/run|^guest/[^.]*)$' |
	while read -r file; do head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file: no SPDX line"; done |
	verdict "each file names its licence"
