#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the documents say exists: links, files, headings, make targets, options; and every source file is in the
# table of docs/architecture.md.  Reads TREE (the tree that holds this script if unset), so that it can be tried
# on a copy.
set -u
cd "${TREE:-$(dirname "$0")/../..}" || exit 1
export LC_ALL=C
documents=(README.md docs/*.md)
failed=0

verdict() { # name, findings on standard input
	local found
	found=$(cat)
	if [ -z "$found" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1: $(printf '%s\n' "$found" | head -n 1)"
		printf '%s\n' "$found" | sed 's/^/# /'
		failed=1
	fi
}

# The names under which a document's headings can be linked to, as the usual renderers make them.
anchors() { # document
	awk '/^```/ { code = !code } !code && /^#+ / {
		sub(/^#+ /, ""); s = tolower($0); gsub(/[^a-z0-9 _-]/, "", s); gsub(/ /, "-", s); print s }' "$1"
}

for document in "${documents[@]}"; do
	grep -oE '\]\([^)]+\)' "$document" | sed 's/^](//; s/)$//' | while read -r link; do
		case $link in http://* | https://* | mailto:*) continue ;; esac
		target=${link%%#*}
		path=$document
		[ -z "$target" ] || path=$(dirname "$document")/$target
		if [ ! -e "$path" ]; then
			echo "$document: $link leads nowhere"
		elif [[ $link == *'#'* ]] && ! anchors "$path" | grep -qxF -- "${link#*#}"; then
			echo "$document: $link names no heading"
		fi
	done
done | verdict "each link leads to a file and a heading"

# Paths in code quotes, but for patterns and names that stand for others.
for document in "${documents[@]}"; do
	grep -oE '`(src|tests|docs|bench|guest|mk)/[^` :]*`' "$document" | tr -d '`' | grep -vE '[*{]|NAME' | while read -r path; do
		[ -e "$path" ] || echo "$document: $path does not exist"
	done
done | verdict "each path that a document names exists"

# The tables of docs/architecture.md: "### src/x", then rows whose first column are files.
listed=$(awk '/^### src\// { dir = $2; next } /^##? / { dir = "" }
	dir && /^\| `/ { split($0, column, "|"); n = split(column[2], word, "`"); for (i = 2; i <= n; i += 2) print dir "/" word[i] }' \
	docs/architecture.md | sort)
present=$(find src -type f | sort)
comm -13 <(printf '%s\n' "$listed" | uniq) <(printf '%s\n' "$present") | sed '/^$/d; s/$/ is not in docs\/architecture.md/' |
	verdict "each source file is in the table"
comm -23 <(printf '%s\n' "$listed" | uniq) <(printf '%s\n' "$present") | sed '/^$/d; s/$/ is in docs\/architecture.md only/' |
	verdict "each file in the table exists"
printf '%s\n' "$listed" | uniq -d | verdict "no file is in the table twice"

grep -ohE '(`|^ +)make [a-z][a-z-]*' "${documents[@]}" | awk '{ print $NF }' | sort -u | while read -r target; do
	grep -qE "^([a-z-]+ )*$target( [a-z-]+)*:" Makefile mk/*.mk || echo "make $target"
done | verdict "each make target that a document names exists"

if [ -x "${PENUMBRA:-}" ]; then
	help=$("$PENUMBRA" help run; "$PENUMBRA" help host; "$PENUMBRA" --help)
	grep -ohE '(\./)?penumbra (run|host|help)( [^#`]*)?' "${documents[@]}" | grep -oE -- ' --[a-z-]+' | sort -u | while read -r option; do
		grep -qE -- "^ +$option( |\$)" <<<"$help" || echo "penumbra has no$option"
	done | verdict "each option that a document shows exists"
else
	echo "ok - each option that a document shows exists # SKIP there is no program"
fi

# A document speaks of the project alone, and says what is.
grep -nE '(^|[^[:alnum:]])([Hh]elpers?|[Ss]essions?|TODO|FIXME|XXX)([^[:alnum:]]|$)|(^|[[:space:](])#[0-9]+|[Ii]ssue [0-9#]|(^|[^[:alnum:]])/work(/|[^[:alnum:]]|$)' \
	"${documents[@]}" | verdict "no document speaks of what is not the project"
exit $failed
