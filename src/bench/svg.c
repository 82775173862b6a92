/* SPDX-License-Identifier: MIT */
#include "bench/svg.h"

#include <errno.h>
#include <stdlib.h>

int svg_write(const char *path, int width, int (*draw)(FILE *f, const void *what), const void *what, struct err *e)
{
	char *body = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&body, &size), *out;
	int height, rc = 0;

	if (!f)
		return err_sys(e, errno, "%s", path);
	height = draw(f, what);
	if (fclose(f)) {
		rc = err_sys(e, errno, "%s", path);
		free(body);
		return rc;
	}
	out = fopen(path, "we");
	if (!out || fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
			    "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n", width, height, body) < 0)
		rc = err_sys(e, errno, "%s", path);
	if (out && fclose(out) && !rc)
		rc = err_sys(e, errno, "%s", path);
	free(body);
	return rc;
}
