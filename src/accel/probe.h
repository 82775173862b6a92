/* SPDX-License-Identifier: MIT
 * What this host offers, and which accelerator that makes best.  Needs no privilege; changes nothing. */
#ifndef PENUMBRA_ACCEL_PROBE_H
#define PENUMBRA_ACCEL_PROBE_H

#include "accel/accel.h"

/* State of /dev/kvm: symbol, name, words. */
#define HOST_KVM_STATES(K)                                                        \
	K(ABSENT, "absent", "no /dev/kvm")                                        \
	K(NO_PERMISSION, "no-permission", "/dev/kvm may not be opened by this user") \
	K(UNUSABLE, "unusable", "/dev/kvm is there but does not work")            \
	K(EMULATED, "emulated", "without processor virtualization: right, but guest kernels run slowly") \
	K(REAL, "real", "processor virtualization")

enum host_kvm {
#define HOST_KVM_ENUM(symbol, name, words) HOST_KVM_##symbol,
	HOST_KVM_STATES(HOST_KVM_ENUM)
#undef HOST_KVM_ENUM
};

/* Every fact once: kind (TEXT, FLAG, NUMBER), field, key in JSON, label in the table. */
#define HOST_FACTS(TEXT, FLAG, NUMBER)                                            \
	TEXT(kernel, "kernel", "kernel")                                          \
	TEXT(cpu_vendor, "cpu_vendor", "processor vendor")                        \
	TEXT(cpu_model, "cpu_model", "processor model")                           \
	NUMBER(cpus, "cpus", "processors for us")                                 \
	TEXT(kvm_words, "kvm", "kvm")                                             \
	FLAG(protection_keys, "protection_keys", "protection keys")               \
	FLAG(fsgsbase, "fsgsbase", "FSGSBASE")                                    \
	FLAG(bmi2, "bmi2", "BMI2")                                                \
	FLAG(avx512, "avx512", "AVX-512")                                         \
	NUMBER(max_map_count, "max_map_count", "vm.max_map_count")                \
	FLAG(userfaultfd, "userfaultfd", "userfaultfd")                           \
	FLAG(user_namespaces, "user_namespaces", "user namespaces")               \
	FLAG(seccomp, "seccomp", "seccomp filters")

struct host_info {
	enum host_kvm kvm;
#define HOST_TEXT(field, key, label) char field[128];
#define HOST_FLAG(field, key, label) bool field;
#define HOST_NUMBER(field, key, label) u64 field;
	HOST_FACTS(HOST_TEXT, HOST_FLAG, HOST_NUMBER)
#undef HOST_TEXT
#undef HOST_FLAG
#undef HOST_NUMBER
};

/* Fills all of `host`. */
void host_probe(struct host_info *host);
const char *host_kvm_name(enum host_kvm kvm);

/* The accelerators of this build, best first; ends with NULL. */
extern const struct accel *const accel_list[];

/* The accelerator called `name`, or the one that `auto` takes on this host; NULL with an error where
 * it is unknown or this host cannot run it.  `why` (may be NULL) gets the reason for the choice. */
const struct accel *accel_select(const struct host_info *host, const char *name,
				 char *why, size_t why_size, struct err *e);

/* What stands between a guest under `accel` and this host, in words. */
const char *accel_boundary(const struct host_info *host, const struct accel *accel);

#endif
