# SPDX-License-Identifier: MIT
# Writes results.json, results.md and results.svg of bench/run from bench/measures and the samples
# (round, target, measure, nanoseconds or `failed`).  Exit status 1 if anything failed.

function median(target, name,    n, i, j, v, x) {
	n = count[target, name]
	if (!n || (target, name) in failed)
		return ""
	for (i = 1; i <= n; i++)
		v[i] = sample[target, name, i]
	for (i = 2; i <= n; i++) {
		x = v[i]
		for (j = i - 1; j >= 1 && v[j] > x; j--)
			v[j + 1] = v[j]
		v[j + 1] = x
	}
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function human(ns) {
	if (ns == "") return "-"
	if (ns < 1000) return sprintf("%d ns", ns)
	if (ns < 1e6) return sprintf("%.2f us", ns / 1e3)
	if (ns < 1e9) return sprintf("%.2f ms", ns / 1e6)
	return sprintf("%.2f s", ns / 1e9)
}

function ratio(a, b) { return a == "" || b == "" || b == 0 ? "-" : sprintf("%.2f", a / b) }
function quote(s) { gsub(/[\\"]/, "\\\\&", s); return "\"" s "\"" }
function escape(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); return s }
function log10(x) { return log(x) / log(10) }

FILENAME ~ /measures$/ {
	if ($0 ~ /^[^#]/) {
		name[++measures] = substr($0, 1, index($0, "\t") - 1)
		words[name[measures]] = substr($0, index($0, "\t") + 1)
	}
	next
}
$4 == "failed" {
	bad = 1
	failed[$2, $3] = seen[$3] = 1
	if ($3 == "all")
		for (i = 1; i <= measures; i++)
			if (name[i] !~ /^boot_/) failed[$2, name[i]] = 1
	next
}
{ sample[$2, $3, ++count[$2, $3]] = $4; seen[$3] = 1 }

END {
	targets_count = split(targets, target, ",")
	# What was not asked for is not in the report.
	for (i = 1; i <= measures; i++)
		if (name[i] in seen) row[++rows] = name[i]
	write_json(out "/results.json")
	write_table(out "/results.md")
	write_chart(out "/results.svg")
	exit bad
}

function write_json(file,    i, j, k, m) {
	printf "{\n  \"date\": %s,\n  \"commit\": %s,\n  \"host\": {\"processor\": %s, \"processors\": %d, \"kernel\": %s, \"load\": %s},\n", quote(date), quote(commit), quote(host), processors, quote(release), quote(load) > file
	printf "  \"guest_kernel\": %s,\n  \"qemu\": %s,\n  \"rounds\": %d,\n  \"unit\": \"ns\",\n  \"measures\": {\n", quote(kernel), quote(qemu), rounds > file
	for (i = 1; i <= rows; i++) {
		printf "    %s: {\n", quote(row[i]) > file
		for (j = 1; j <= targets_count; j++) {
			m = median(target[j], row[i])
			printf("      %s: {\"median\": %s, \"samples\": [", quote(target[j]), (m == "" ? "null" : sprintf("%.1f", m))) > file
			for (k = 1; k <= count[target[j], row[i]]; k++)
				printf("%s%s", (k > 1 ? ", " : ""), sample[target[j], row[i], k]) > file
			printf("]}%s\n", (j < targets_count ? "," : "")) > file
		}
		printf("    }%s\n", (i < rows ? "," : "")) > file
	}
	printf "  }\n}\n" > file
	close(file)
}

function write_table(file,    i, n, t, p) {
	printf "%s, %d processors, Linux %s; QEMU %s; %s; commit %s, %s; medians of %d; load %s.\n\n", host, processors, release, qemu, kernel, commit, date, rounds, load > file
	printf "| %-42s | %10s | %10s | %10s | %10s | %12s | %12s |\n", "", "native", "QEMU TCG", "Penumbra", "TCG/native", "Pen./native", "TCG/Pen." > file
	print "|---|--:|--:|--:|--:|--:|--:|" > file
	for (i = 1; i <= rows; i++) {
		n = median("native", row[i]); t = median("tcg", row[i]); p = median("penumbra", row[i])
		printf "| %-42s | %10s | %10s | %10s | %10s | %12s | %12s |\n", words[row[i]], human(n), human(t), human(p), ratio(t, n), ratio(p, n), ratio(t, p) > file
	}
	close(file)
}

# Bars from 1 (native; for the boot, the faster guest) on a logarithmic scale.
function write_chart(file,    i, j, y, base, v, x, left, width, decade, most, decades, colour, label) {
	left = 290; width = 560; most = 10
	colour["tcg"] = "#b0b7c3"; colour["penumbra"] = "#3b6fd4"
	label["tcg"] = "QEMU TCG"; label["penumbra"] = "Penumbra"
	for (i = 1; i <= rows; i++)
		for (j in label)
			if ((v = relative(j, row[i])) != "" && v > most) most = v
	decades = int(log10(most)) + 1
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", left + width + 70, rows * 34 + 80 > file
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" font-size=\"15\">Time relative to native, logarithmic, shorter is better (boot: relative to the fastest)</text>\n" > file
	y = 34
	x = left
	for (j = 1; j <= targets_count; j++)
		if (target[j] in label) {
			printf "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>\n", x, y, colour[target[j]], x + 18, y + 11, label[target[j]] > file
			x += 120
		}
	for (decade = 0; decade <= decades; decade++) {
		x = left + width * decade / decades
		printf "<line x1=\"%d\" y1=\"54\" x2=\"%d\" y2=\"%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x, x, rows * 34 + 58, x, rows * 34 + 72, 10 ^ decade > file
	}
	for (i = 1; i <= rows; i++) {
		y = 58 + (i - 1) * 34
		printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left - 8, y + 18, escape(words[row[i]]) > file
		for (j = 1; j <= targets_count; j++) {
			if (!(target[j] in label)) continue
			v = relative(target[j], row[i])
			if (v != "") {
				x = v > 1 ? width * log10(v) / decades : 1
				printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"11\" fill=\"%s\"/><text x=\"%.1f\" y=\"%d\" font-size=\"10\">%.2f</text>\n", left, y, x, colour[target[j]], left + x + 4, y + 10, v > file
			}
			y += 13
		}
	}
	print "</svg>" > file
	close(file)
}

function relative(t, n,    base, own, a, b) {
	own = median(t, n)
	base = median("native", n)
	if (n ~ /^boot_/) {
		a = median("tcg", n); b = median("penumbra", n)
		base = a == "" || b != "" && b < a ? b : a
	}
	return own == "" || base == "" || base == 0 ? "" : own / base
}
