/* SPDX-License-Identifier: MIT */
#include "accel/probe.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

#define CPUID1_ECX_VMX BIT(5)
#define CPUID81_ECX_SVM BIT(2)

/* The translator may be left out of a build. */
extern const struct accel accel_bt __attribute__((weak));

const struct accel *const accel_list[] = { &accel_kvm, &accel_bt, NULL };

static const struct {
	const char *name, *words;
} kvm_states[] = {
#define HOST_KVM_ROW(symbol, name, words) [HOST_KVM_##symbol] = { name, words },
	HOST_KVM_STATES(HOST_KVM_ROW)
#undef HOST_KVM_ROW
};

const char *host_kvm_name(enum host_kvm kvm)
{
	return kvm_states[kvm].name;
}

static void probe_kernel(struct host_info *h)
{
	struct utsname u;
	char text[32] = "";
	int fd;

	if (!uname(&u))
		snprintf(h->kernel, sizeof h->kernel, "%.*s", (int)sizeof h->kernel - 1, u.release);
	fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, text, sizeof text - 1) > 0)
			h->max_map_count = strtoull(text, NULL, 10);
		close(fd);
	}
}

/* SDM 2A, CPUID leaves 0 and 80000002h-80000004h. */
static void probe_processor(struct host_info *h)
{
	unsigned int r[4], brand[12];
	cpu_set_t set;
	char *start;

	__cpuid(0, r[0], r[1], r[2], r[3]);
	memcpy(h->cpu_vendor, &r[1], 4);
	memcpy(h->cpu_vendor + 4, &r[3], 4);
	memcpy(h->cpu_vendor + 8, &r[2], 4);
	h->cpu_vendor[12] = 0;
	if (__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
		for (unsigned int i = 0; i < 3; i++)
			__cpuid(0x80000002 + i, brand[4 * i], brand[4 * i + 1], brand[4 * i + 2],
				brand[4 * i + 3]);
		memcpy(h->cpu_model, brand, sizeof brand);
		h->cpu_model[sizeof brand] = 0;
		start = h->cpu_model + strspn(h->cpu_model, " ");
		memmove(h->cpu_model, start, strlen(start) + 1);
		for (size_t n = strlen(h->cpu_model); n && h->cpu_model[n - 1] == ' '; n--)
			h->cpu_model[n - 1] = 0;
	}
	h->cpus = sched_getaffinity(0, sizeof set, &set) ? 1 : (u64)CPU_COUNT(&set);
	h->bmi2 = __builtin_cpu_supports("bmi2");
	h->avx512 = __builtin_cpu_supports("avx512f");
	h->fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
}

/* Usable, not only present: a container's filter may refuse the calls. */
static void probe_protection_keys(struct host_info *h)
{
	int key = pkey_alloc(0, 0);

	h->protection_keys = key >= 0;
	if (key >= 0)
		pkey_free(key);
}

static void probe_userfaultfd(struct host_info *h)
{
	struct uffdio_api api = { .api = UFFD_API };
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return;
	h->userfaultfd = ioctl((int)fd, UFFDIO_API, &api) == 0;
	close((int)fd);
}

static void probe_user_namespaces(struct host_info *h)
{
	int status = 1;
	pid_t child = fork();

	if (child == 0)
		_exit(unshare(CLONE_NEWUSER) ? 1 : 0);
	if (child < 0)
		return;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	h->user_namespaces = WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void probe_seccomp(struct host_info *h)
{
	u32 action = SECCOMP_RET_KILL_PROCESS;

	h->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* Hardware KVM needs VMX or SVM; a kernel without them may still have a /dev/kvm whose backend runs
 * guest kernels with shadow paging and an instruction emulator (module kvm_pvm). */
static bool kvm_is_emulated(void)
{
	unsigned int a, b, c1 = 0, c81 = 0, d;

	__get_cpuid(1, &a, &b, &c1, &d);
	__get_cpuid(0x80000001, &a, &b, &c81, &d);
	if (!(c1 & CPUID1_ECX_VMX) && !(c81 & CPUID81_ECX_SVM))
		return true;
	return access("/sys/module/kvm_pvm", F_OK) == 0;
}

static void probe_kvm(struct host_info *h)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		h->kvm = errno == EACCES || errno == EPERM ? HOST_KVM_NO_PERMISSION :
			 errno == ENOENT || errno == ENODEV || errno == ENXIO ? HOST_KVM_ABSENT :
			 HOST_KVM_UNUSABLE;
	else if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		h->kvm = HOST_KVM_UNUSABLE;
	else
		h->kvm = kvm_is_emulated() ? HOST_KVM_EMULATED : HOST_KVM_REAL;
	if (fd >= 0)
		close(fd);
	snprintf(h->kvm_words, sizeof h->kvm_words, "%s: %s", kvm_states[h->kvm].name,
		 kvm_states[h->kvm].words);
}

void host_probe(struct host_info *host)
{
	memset(host, 0, sizeof *host);
	probe_kernel(host);
	probe_processor(host);
	probe_protection_keys(host);
	probe_userfaultfd(host);
	probe_user_namespaces(host);
	probe_seccomp(host);
	probe_kvm(host);
}

static const struct accel *select_auto(const struct host_info *host, char *why, size_t why_size,
				       struct err *e)
{
	struct err kvm = { 0 }, bt = { 0 };

	if (host->kvm == HOST_KVM_REAL && !accel_kvm.probe(host, &kvm)) {
		snprintf(why, why_size, "this host has processor virtualization");
		return &accel_kvm;
	}
	if (!&accel_bt)
		err_set(&bt, -ENOSYS, "left out of this build");
	else if (!accel_bt.probe(host, &bt)) {
		snprintf(why, why_size, "kvm is %s", host->kvm == HOST_KVM_REAL ? kvm.text : host->kvm_words);
		return &accel_bt;
	}
	/* Slow is better than not at all. */
	if (host->kvm == HOST_KVM_EMULATED && !accel_kvm.probe(host, &kvm)) {
		snprintf(why, why_size, "translate: %s", bt.text);
		return &accel_kvm;
	}
	err_set(e, -ENOTSUP, "this host can run no guest: kvm: %s; translate: %s",
		kvm.code ? kvm.text : host->kvm_words, bt.text);
	return NULL;
}

const struct accel *accel_select(const struct host_info *host, const char *name,
				 char *why, size_t why_size, struct err *e)
{
	char unused[1];

	if (!why) {
		why = unused;
		why_size = sizeof unused;
	}
	if (!strcmp(name, "auto"))
		return select_auto(host, why, why_size, e);
	for (size_t i = 0; i + 1 < ARRAY_SIZE(accel_list); i++) {
		if (!accel_list[i] || strcmp(accel_list[i]->name, name))
			continue;
		if (accel_list[i]->probe(host, e)) {
			err_prefix(e, "accelerator %s", name);
			return NULL;
		}
		snprintf(why, why_size, "asked for");
		return accel_list[i];
	}
	err_set(e, -EINVAL, "accelerator %s is not in this build", name);
	return NULL;
}

const char *accel_boundary(const struct host_info *host, const struct accel *accel)
{
	if (accel == &accel_kvm)
		return host->kvm == HOST_KVM_REAL ? "processor virtualization" :
						    "kvm's emulation in the host kernel";
	return host->protection_keys ? "translator with protection keys, and process jail" :
				       "process jail only (this host has no protection keys)";
}
