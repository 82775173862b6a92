/* SPDX-License-Identifier: MIT
 * Charts: a drawing is made in memory, since its height is known only at its end, and then written as one file. */
#pragma once
#include <stdio.h>

#include "base/err.h"

/* Writes what `draw` prints for `what` as an SVG 1.1 file of `width` pixels; `draw` returns the height in pixels.
 * 0, or -1 with `e` where the file cannot be written. */
int svg_write(const char *path, int width, int (*draw)(FILE *f, const void *what), const void *what, struct err *e);
