/* SPDX-License-Identifier: MIT
 * The first menu entry of a GRUB configuration, as far as it says what Linux to boot (GRUB manual, "Writing full
 * configuration files directly"). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image/disk_boot.h"

#define SPACE " \t\r"

/* The next word of a line, with quotes and backslashes taken away; NULL at its end.  `*at` moves behind it. */
static const char *next_word(const char **at, char *word, size_t size)
{
	const char *p = *at + strspn(*at, SPACE);
	char quote = 0;
	size_t n = 0;

	if (!*p || *p == '\n' || *p == '#' || (*p == '\\' && p[1] == '\n'))
		return NULL;
	for (; *p && *p != '\n' && (quote || !strchr(SPACE, *p)); p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"') {
			quote = quote ? 0 : *p;
			continue;
		}
		if (*p == '\\' && quote != '\'') {
			if (!p[1] || p[1] == '\n')
				break;
			p++;
		}
		if (n < size - 1)
			word[n++] = *p;
	}
	word[n] = 0;
	*at = p;
	return word;
}

/* The rest of the words, one space between them; what GRUB's own variables would give is left out. */
static void join_words(const char *at, char *to)
{
	char word[DISK_BOOT_LINE_MAX];
	size_t n = 0;

	to[0] = 0;
	while (next_word(&at, word, sizeof word)) {
		if (strchr(word, '$') || n + strlen(word) + 2 > DISK_BOOT_LINE_MAX)
			continue;
		n += (size_t)snprintf(to + n, DISK_BOOT_LINE_MAX - n, "%s%s", n ? " " : "", word);
	}
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
	return !strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c);
}

int grub_first_entry(const char *config, char *kernel, char *initrd, char *options)
{
	char word[DISK_BOOT_LINE_MAX];
	bool entry = false;

	kernel[0] = initrd[0] = options[0] = 0;
	for (const char *line = config; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		const char *at = line;

		if (!next_word(&at, word, sizeof word))
			continue;
		if (!strcmp(word, "menuentry"))
			entry = true;
		else if (entry && is_one_of(word, "linux", "linux16", "linuxefi") &&
			 next_word(&at, kernel, DISK_BOOT_LINE_MAX))
			join_words(at, options);
		else if (entry && is_one_of(word, "initrd", "initrd16", "initrdefi"))
			next_word(&at, initrd, DISK_BOOT_LINE_MAX);
		else if (entry && !strcmp(word, "}") && *kernel)
			return 0;
	}
	return *kernel ? 0 : -ENOENT;
}
