/* SPDX-License-Identifier: MIT
 * The host system calls that the monitor makes, without a libc.  Results are the kernel's: negative
 * errno on failure. */
#ifndef PENUMBRA_BASE_SYS_H
#define PENUMBRA_BASE_SYS_H

#include <asm/prctl.h>
#include <asm/unistd.h>

#include "base/types.h"

static inline s64 sys6(u64 n, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	s64 r;

	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}
#define sys0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a) sys6(n, (u64)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys6(n, (u64)(a), (u64)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys6(n, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), 0)

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000
#define MAP_POPULATE 0x8000

static inline s64 host_mmap(u64 address, u64 length, int prot, int flags, int fd, u64 offset)
{
	return sys6(__NR_mmap, address, length, (u64)prot, (u64)flags, (u64)(s64)fd, offset);
}
static inline s64 host_munmap(u64 address, u64 length) { return sys2(__NR_munmap, address, length); }
static inline s64 host_mprotect(u64 address, u64 length, int prot) { return sys3(__NR_mprotect, address, length, prot); }
static inline s64 host_pkey_mprotect(u64 address, u64 length, int prot, int key)
{
	return sys4(__NR_pkey_mprotect, address, length, prot, key);
}

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
struct host_timespec { s64 sec, nsec; };
static inline s64 futex_wait(_Atomic u32 *word, u32 value, const struct host_timespec *timeout)
{
	return sys4(__NR_futex, word, FUTEX_WAIT, value, timeout);
}
static inline s64 futex_wake(_Atomic u32 *word) { return sys3(__NR_futex, word, FUTEX_WAKE, 1); }

static inline u64 host_rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}
static inline void host_wrfsbase(u64 v) { __asm__ volatile("wrfsbase %0" : : "r"(v)); }
static inline u64 host_rdfsbase(void)
{
	u64 v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}
static inline void host_wrgsbase(u64 v) { __asm__ volatile("wrgsbase %0" : : "r"(v)); }

#endif
