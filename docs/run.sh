#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Draws docs/run.svg: types into a real machine on a real terminal, and shows what came back.
#
#	PENUMBRA=./penumbra docs/run.sh >docs/run.svg
#
# Needs socat, and the default guest (make guest).
set -eu
cd "$(dirname "$0")/.."
PENUMBRA=${PENUMBRA:-./penumbra}
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT
printf 'exec %q run --append "console=ttyS0 quiet"\n' "$PENUMBRA" >"$work/session"
coproc MACHINE { exec socat STDIO "EXEC:bash $work/session,pty,setsid,ctty,rawer"; }
exec {from}<&"${MACHINE[0]}" {to}>&"${MACHINE[1]}"

# Copies output to the log until it ends with the text; fails after 20 seconds of silence.
await() { # text
	local byte seen=
	while IFS= read -r -t 20 -d '' -N 1 -u "$from" byte; do
		seen+=$byte
		printf %s "$byte" >>"$log"
		[[ $seen != *"$1" ]] || return 0
	done
	echo "docs/run.sh: the guest did not say '$1'" >&2
	return 1
}

for command in 'sh /usr/share/penumbra/demo.sh' 'poweroff'; do
	await 'penumbra:/root# '
	printf '%s\n' "$command" >&"$to"
done
cat <&"$from" >>"$log" || true
# What the terminal shows, without the guest's questions about the size of the screen.
{ printf '$ penumbra run --append "console=ttyS0 quiet"\n'; sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$log"; } |
	tr -d '\r' | awk '
	function escaped(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
	{ line[NR] = $0; if (length($0) > width) width = length($0) }
	END {
		w = width * 8 + 32; h = NR * 18 + 32
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n", w, h, w, h
		print "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>"
		print "<g font-family=\"ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace\" font-size=\"13\" fill=\"#d6d9df\" xml:space=\"preserve\">"
		for (i = 1; i <= NR; i++) {
			if (line[i] == "") continue
			typed = line[i] ~ /^(\$ |penumbra:[^ ]*# )/ ? " fill=\"#8bd49c\"" : ""
			printf "<text x=\"16\" y=\"%d\"%s textLength=\"%d\">%s</text>\n", 16 + i * 18 - 4, typed, length(line[i]) * 8, escaped(line[i])
		}
		print "</g>"
		print "</svg>"
	}'
