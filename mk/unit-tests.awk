# SPDX-License-Identifier: MIT
# Writes the make rules of the unit tests from the comments at the head of each (see mk/test.mk).
# Tests without flags of their own share the objects of their WITH sources.

function value(line, key) {
	sub(".*\\* *" key ": *", "", line)
	sub(" *\\*/.*", "", line)
	return line
}

function object_rule(object, source, flags) {
	if (object in seen)
		return
	seen[object] = 1
	printf "%s: %s $(BUILD)/tests/test.flags\n", object, source
	printf "\t@echo \"  CC [T]  %s\"\n\t@mkdir -p $(@D)\n", source
	printf "\t@$(CC) $(TEST_CFLAGS) %s -MMD -MP -c -o $@ $<\n", flags
	printf "-include %s\n", substr(object, 1, length(object) - 1) "d"
}

function finish(    name, dir, all, objects, n, i, w, object) {
	if (file == "")
		return
	name = file
	sub(/.*\//, "", name)
	sub(/\.c$/, "", name)
	dir = B "/tests/obj/" (flags != "" ? name : nosan ? "plain" : "sanitized") "/"
	all = (nosan ? "" : "$(TEST_SAN) ") flags
	objects = B "/tests/obj/" name ".o"
	object_rule(objects, file, all)
	n = split(with, w, " ")
	for (i = 1; i <= n; i++) {
		object = dir w[i]
		sub(/\.[cS]$/, ".o", object)
		object_rule(object, "src/" w[i], all)
		objects = objects " " object
	}
	printf "%s/tests/unit/%s: %s $(BUILD)/tests/unit.mk\n", B, name, objects
	printf "\t@echo \"  LINK    $@\"\n\t@mkdir -p $(@D)\n"
	printf "\t@$(CC) $(TEST_CFLAGS) %s -o $@ %s %s\n\n", all, objects, libs
}

FNR == 1 { finish(); file = FILENAME; with = libs = flags = ""; nosan = 0 }
FNR > 30 { next }
/\* *WITH:/ { with = with " " value($0, "WITH") }
/\* *LIBS:/ { libs = libs " " value($0, "LIBS") }
/\* *FLAGS:/ { flags = flags " " value($0, "FLAGS") }
/\* *NOSAN *(\*\/)?$/ { nosan = 1 }
END { finish() }
