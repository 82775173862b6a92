/* SPDX-License-Identifier: MIT
 * What the debugger is tried on: a call in a loop, and a variable to watch. */
#include <stdio.h>
volatile long total;
__attribute__((noinline)) int leaf(int x) { return x * 3; }
__attribute__((noinline)) int work(int n) { int s = 0; for (int i = 0; i < n; i++) { s += leaf(i); total += s; } return s; }
int main(void) { int r = work(10); printf("%d %ld\n", r, total); return 0; }
