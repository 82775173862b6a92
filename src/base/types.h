/* SPDX-License-Identifier: MIT
 * Fixed-width names and the few macros used everywhere.  Freestanding: usable in the monitor. */
#ifndef PENUMBRA_BASE_TYPES_H
#define PENUMBRA_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* Addresses have types: a guest virtual, a guest physical and a host address never mix. */
typedef struct { u64 v; } gva_t;
typedef struct { u64 v; } gpa_t;
typedef struct { u64 v; } hva_t;
#define GVA(x) ((gva_t){(u64)(x)})
#define GPA(x) ((gpa_t){(u64)(x)})
#define HVA(x) ((hva_t){(u64)(x)})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1ull << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a) - 1))
#define ALIGN_UP(x, a) (((x) + (u64)(a) - 1) & ~((u64)(a) - 1))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ull
#define PAGE_MASK (~(PAGE_SIZE - 1))

#endif
