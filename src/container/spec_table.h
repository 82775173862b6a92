/* SPDX-License-Identifier: MIT
 * The OCI runtime configuration as one table: each field of config.json is one row, with its name,
 * kind, and bounds.  The C structures, the parser, the error messages that name a field, the
 * hostile-bundle tests and the `features` command are all generated from it.
 *
 * Source: OCI runtime specification 1.2 (config.md, config-linux.md) and of 1.2.1 execCPUAffinity.
 * Owner: whoever parsed the document; the tables themselves are constant.  No lock.
 *
 * A row is F(S, member, "jsonName", KIND, arg, flags, low, high):
 *   STR    text; low..high bound its length          STRS   array of text; high bounds the count
 *   BOOL   false unless given                        TRI    -1 not given, 0, 1
 *   INT    signed number in low..high                UINT   unsigned number in low..high
 *   ENUM   one word of enum `arg`                    FLAGS  array of words of `arg`, or-ed together
 *   OBJ    pointer to object `arg`, NULL if absent   LIST   array of objects; high bounds the count
 *   SMAP   object of text values                     OMAP   object of objects `arg`, key in .key
 */
#ifndef PENUMBRA_CONTAINER_SPEC_TABLE_H
#define PENUMBRA_CONTAINER_SPEC_TABLE_H

#include <stdint.h>

enum oci_field_flag {
	F_REQ = 1,    /* must be present */
	F_ABS = 2,    /* a path that begins with '/' */
	F_ABSLAX = 4, /* the specification wants '/', older tools write it without: accepted */
	F_EACH = 8,   /* bounds apply to the length of each element */
	F_NAME = 16,  /* no '/' and no '.', '..' */
};

#define PATH_LIMIT 4095
#define TEXT_LIMIT 131072
#define LIST_LIMIT 65536
#define ID_LIMIT 4294967294ll
#define S64_MIN INT64_MIN
#define S64_MAX INT64_MAX

#define OCI_BOX(F, S) \
	F(S, height, "height", UINT, none, F_REQ, 0, 65535) \
	F(S, width, "width", UINT, none, F_REQ, 0, 65535)

#define OCI_USER(F, S) \
	F(S, uid, "uid", UINT, none, 0, 0, ID_LIMIT) \
	F(S, gid, "gid", UINT, none, 0, 0, ID_LIMIT) \
	F(S, umask, "umask", UINT, none, 0, 0, 0777) \
	F(S, additional_gids, "additionalGids", UINTS, none, 0, 0, ID_LIMIT) \
	F(S, username, "username", STR, none, 0, 0, TEXT_LIMIT)

#define OCI_CAPABILITIES(F, S) \
	F(S, bounding, "bounding", CAPS, none, 0, 0, LIST_LIMIT) \
	F(S, effective, "effective", CAPS, none, 0, 0, LIST_LIMIT) \
	F(S, inheritable, "inheritable", CAPS, none, 0, 0, LIST_LIMIT) \
	F(S, permitted, "permitted", CAPS, none, 0, 0, LIST_LIMIT) \
	F(S, ambient, "ambient", CAPS, none, 0, 0, LIST_LIMIT)

#define OCI_RLIMIT(F, S) \
	F(S, type, "type", ENUM, rlimit, F_REQ, 0, 0) \
	F(S, hard, "hard", UINT, none, F_REQ, 0, S64_MAX) \
	F(S, soft, "soft", UINT, none, F_REQ, 0, S64_MAX)

#define OCI_SCHEDULER(F, S) \
	F(S, policy, "policy", ENUM, sched_policy, F_REQ, 0, 0) \
	F(S, nice, "nice", INT, none, 0, -20, 19) \
	F(S, priority, "priority", INT, none, 0, 0, 99) \
	F(S, flags, "flags", FLAGS, sched_flag, 0, 0, 64) \
	F(S, runtime, "runtime", UINT, none, 0, 0, S64_MAX) \
	F(S, deadline, "deadline", UINT, none, 0, 0, S64_MAX) \
	F(S, period, "period", UINT, none, 0, 0, S64_MAX)

#define OCI_IO_PRIORITY(F, S) \
	F(S, class, "class", ENUM, ioprio_class, F_REQ, 0, 0) \
	F(S, priority, "priority", INT, none, 0, 0, 7)

#define OCI_CPU_AFFINITY(F, S) \
	F(S, initial, "initial", STR, none, 0, 0, TEXT_LIMIT) \
	F(S, final, "final", STR, none, 0, 0, TEXT_LIMIT)

#define OCI_PROCESS(F, S) \
	F(S, terminal, "terminal", BOOL, none, 0, 0, 0) \
	F(S, console_size, "consoleSize", OBJ, box, 0, 0, 0) \
	F(S, user, "user", OBJ, user, 0, 0, 0) \
	F(S, args, "args", STRS, none, 0, 0, LIST_LIMIT) \
	F(S, env, "env", STRS, none, 0, 0, LIST_LIMIT) \
	F(S, cwd, "cwd", STR, none, F_REQ | F_ABS, 1, PATH_LIMIT) \
	F(S, capabilities, "capabilities", OBJ, capabilities, 0, 0, 0) \
	F(S, rlimits, "rlimits", LIST, rlimit, 0, 0, 64) \
	F(S, no_new_privileges, "noNewPrivileges", BOOL, none, 0, 0, 0) \
	F(S, apparmor_profile, "apparmorProfile", STR, none, 0, 0, PATH_LIMIT) \
	F(S, oom_score_adj, "oomScoreAdj", INT, none, 0, -1000, 1000) \
	F(S, scheduler, "scheduler", OBJ, scheduler, 0, 0, 0) \
	F(S, selinux_label, "selinuxLabel", STR, none, 0, 0, PATH_LIMIT) \
	F(S, io_priority, "ioPriority", OBJ, io_priority, 0, 0, 0) \
	F(S, exec_cpu_affinity, "execCPUAffinity", OBJ, cpu_affinity, 0, 0, 0)

#define OCI_ROOT(F, S) \
	F(S, path, "path", STR, none, F_REQ, 1, PATH_LIMIT) \
	F(S, readonly, "readonly", BOOL, none, 0, 0, 0)

#define OCI_ID_MAPPING(F, S) \
	F(S, container_id, "containerID", UINT, none, F_REQ, 0, ID_LIMIT) \
	F(S, host_id, "hostID", UINT, none, F_REQ, 0, ID_LIMIT) \
	F(S, size, "size", UINT, none, F_REQ, 0, 4294967295ll)

#define OCI_MOUNT(F, S) \
	F(S, destination, "destination", STR, none, F_REQ | F_ABSLAX, 1, PATH_LIMIT) \
	F(S, type, "type", STR, none, 0, 0, 255) \
	F(S, source, "source", STR, none, 0, 0, PATH_LIMIT) \
	F(S, options, "options", STRS, none, 0, 0, 4096) \
	F(S, uid_mappings, "uidMappings", LIST, id_mapping, 0, 0, 340) \
	F(S, gid_mappings, "gidMappings", LIST, id_mapping, 0, 0, 340)

#define OCI_HOOK(F, S) \
	F(S, path, "path", STR, none, F_REQ | F_ABS, 1, PATH_LIMIT) \
	F(S, args, "args", STRS, none, 0, 0, LIST_LIMIT) \
	F(S, env, "env", STRS, none, 0, 0, LIST_LIMIT) \
	F(S, timeout, "timeout", INT, none, 0, 1, 2147483647)

#define OCI_HOOKS(F, S) \
	F(S, prestart, "prestart", LIST, hook, 0, 0, 1024) \
	F(S, create_runtime, "createRuntime", LIST, hook, 0, 0, 1024) \
	F(S, create_container, "createContainer", LIST, hook, 0, 0, 1024) \
	F(S, start_container, "startContainer", LIST, hook, 0, 0, 1024) \
	F(S, poststart, "poststart", LIST, hook, 0, 0, 1024) \
	F(S, poststop, "poststop", LIST, hook, 0, 0, 1024)

#define OCI_NAMESPACE(F, S) \
	F(S, type, "type", ENUM, ns, F_REQ, 0, 0) \
	F(S, path, "path", STR, none, F_ABS, 0, PATH_LIMIT)

#define OCI_DEVICE(F, S) \
	F(S, path, "path", STR, none, F_REQ | F_ABS, 1, PATH_LIMIT) \
	F(S, type, "type", ENUM, device_type, F_REQ, 0, 0) \
	F(S, major, "major", INT, none, 0, 0, 4095) \
	F(S, minor, "minor", INT, none, 0, 0, 1048575) \
	F(S, file_mode, "fileMode", UINT, none, 0, 0, 037777777777ll) \
	F(S, uid, "uid", UINT, none, 0, 0, ID_LIMIT) \
	F(S, gid, "gid", UINT, none, 0, 0, ID_LIMIT)

#define OCI_DEVICE_RULE(F, S) \
	F(S, allow, "allow", BOOL, none, F_REQ, 0, 0) \
	F(S, type, "type", STR, none, 0, 0, 1) \
	F(S, major, "major", INT, none, 0, -1, 4095) \
	F(S, minor, "minor", INT, none, 0, -1, 1048575) \
	F(S, access, "access", STR, none, 0, 0, 3)

#define OCI_MEMORY(F, S) \
	F(S, limit, "limit", INT, none, 0, -1, S64_MAX) \
	F(S, reservation, "reservation", INT, none, 0, -1, S64_MAX) \
	F(S, swap, "swap", INT, none, 0, -1, S64_MAX) \
	F(S, kernel, "kernel", INT, none, 0, -1, S64_MAX) \
	F(S, kernel_tcp, "kernelTCP", INT, none, 0, -1, S64_MAX) \
	F(S, swappiness, "swappiness", UINT, none, 0, 0, 200) \
	F(S, disable_oom_killer, "disableOOMKiller", TRI, none, 0, 0, 0) \
	F(S, use_hierarchy, "useHierarchy", TRI, none, 0, 0, 0) \
	F(S, check_before_update, "checkBeforeUpdate", TRI, none, 0, 0, 0)

#define OCI_CPU(F, S) \
	F(S, shares, "shares", UINT, none, 0, 0, S64_MAX) \
	F(S, quota, "quota", INT, none, 0, S64_MIN, S64_MAX) \
	F(S, burst, "burst", UINT, none, 0, 0, S64_MAX) \
	F(S, period, "period", UINT, none, 0, 0, S64_MAX) \
	F(S, realtime_runtime, "realtimeRuntime", INT, none, 0, S64_MIN, S64_MAX) \
	F(S, realtime_period, "realtimePeriod", UINT, none, 0, 0, S64_MAX) \
	F(S, cpus, "cpus", STR, none, 0, 0, 65536) \
	F(S, mems, "mems", STR, none, 0, 0, 65536) \
	F(S, idle, "idle", INT, none, 0, 0, 1)

#define OCI_PIDS(F, S) \
	F(S, limit, "limit", INT, none, 0, S64_MIN, S64_MAX)

#define OCI_WEIGHT_DEVICE(F, S) \
	F(S, major, "major", INT, none, F_REQ, 0, 4095) \
	F(S, minor, "minor", INT, none, F_REQ, 0, 1048575) \
	F(S, weight, "weight", UINT, none, 0, 0, 1000) \
	F(S, leaf_weight, "leafWeight", UINT, none, 0, 0, 1000)

#define OCI_THROTTLE_DEVICE(F, S) \
	F(S, major, "major", INT, none, F_REQ, 0, 4095) \
	F(S, minor, "minor", INT, none, F_REQ, 0, 1048575) \
	F(S, rate, "rate", UINT, none, F_REQ, 0, S64_MAX)

#define OCI_BLOCK_IO(F, S) \
	F(S, weight, "weight", UINT, none, 0, 0, 1000) \
	F(S, leaf_weight, "leafWeight", UINT, none, 0, 0, 1000) \
	F(S, weight_device, "weightDevice", LIST, weight_device, 0, 0, 4096) \
	F(S, read_bps, "throttleReadBpsDevice", LIST, throttle_device, 0, 0, 4096) \
	F(S, write_bps, "throttleWriteBpsDevice", LIST, throttle_device, 0, 0, 4096) \
	F(S, read_iops, "throttleReadIOPSDevice", LIST, throttle_device, 0, 0, 4096) \
	F(S, write_iops, "throttleWriteIOPSDevice", LIST, throttle_device, 0, 0, 4096)

#define OCI_HUGEPAGE_LIMIT(F, S) \
	F(S, page_size, "pageSize", STR, none, F_REQ | F_NAME, 1, 32) \
	F(S, limit, "limit", UINT, none, F_REQ, 0, S64_MAX)

#define OCI_INTERFACE_PRIORITY(F, S) \
	F(S, name, "name", STR, none, F_REQ | F_NAME, 1, 15) \
	F(S, priority, "priority", UINT, none, F_REQ, 0, 4294967295ll)

#define OCI_NETWORK(F, S) \
	F(S, class_id, "classID", UINT, none, 0, 0, 4294967295ll) \
	F(S, priorities, "priorities", LIST, interface_priority, 0, 0, 4096)

#define OCI_RDMA(F, S) \
	F(S, hca_handles, "hcaHandles", UINT, none, 0, 0, 4294967295ll) \
	F(S, hca_objects, "hcaObjects", UINT, none, 0, 0, 4294967295ll)

#define OCI_RESOURCES(F, S) \
	F(S, devices, "devices", LIST, device_rule, 0, 0, 4096) \
	F(S, memory, "memory", OBJ, memory, 0, 0, 0) \
	F(S, cpu, "cpu", OBJ, cpu, 0, 0, 0) \
	F(S, pids, "pids", OBJ, pids, 0, 0, 0) \
	F(S, block_io, "blockIO", OBJ, block_io, 0, 0, 0) \
	F(S, hugepage_limits, "hugepageLimits", LIST, hugepage_limit, 0, 0, 64) \
	F(S, network, "network", OBJ, network, 0, 0, 0) \
	F(S, rdma, "rdma", OMAP, rdma, F_NAME, 0, 1024) \
	F(S, unified, "unified", SMAP, none, F_NAME, 0, 4096)

#define OCI_SECCOMP_ARG(F, S) \
	F(S, index, "index", UINT, none, F_REQ, 0, 5) \
	F(S, value, "value", UINT, none, F_REQ, 0, S64_MAX) \
	F(S, value_two, "valueTwo", UINT, none, 0, 0, S64_MAX) \
	F(S, op, "op", ENUM, seccomp_op, F_REQ, 0, 0)

#define OCI_SYSCALL(F, S) \
	F(S, names, "names", STRS, none, F_REQ, 1, LIST_LIMIT) \
	F(S, action, "action", ENUM, seccomp_action, F_REQ, 0, 0) \
	F(S, errno_ret, "errnoRet", UINT, none, 0, 0, 4095) \
	F(S, args, "args", LIST, seccomp_arg, 0, 0, 64)

#define OCI_SECCOMP(F, S) \
	F(S, default_action, "defaultAction", ENUM, seccomp_action, F_REQ, 0, 0) \
	F(S, default_errno_ret, "defaultErrnoRet", UINT, none, 0, 0, 4095) \
	F(S, architectures, "architectures", FLAGS, seccomp_arch, 0, 0, 64) \
	F(S, flags, "flags", FLAGS, seccomp_flag, 0, 0, 64) \
	F(S, listener_path, "listenerPath", STR, none, F_ABS, 0, PATH_LIMIT) \
	F(S, listener_metadata, "listenerMetadata", STR, none, 0, 0, TEXT_LIMIT) \
	F(S, syscalls, "syscalls", LIST, syscall, 0, 0, LIST_LIMIT)

#define OCI_INTEL_RDT(F, S) \
	F(S, clos_id, "closID", STR, none, F_NAME, 0, 255) \
	F(S, schemata, "schemata", STRS, none, 0, 0, 1024) \
	F(S, l3_cache_schema, "l3CacheSchema", STR, none, 0, 0, TEXT_LIMIT) \
	F(S, mem_bw_schema, "memBwSchema", STR, none, 0, 0, TEXT_LIMIT) \
	F(S, enable_cmt, "enableCMT", BOOL, none, 0, 0, 0) \
	F(S, enable_mbm, "enableMBM", BOOL, none, 0, 0, 0) \
	F(S, enable_monitoring, "enableMonitoring", BOOL, none, 0, 0, 0)

#define OCI_PERSONALITY(F, S) \
	F(S, domain, "domain", ENUM, personality, F_REQ, 0, 0) \
	F(S, flags, "flags", STRS, none, 0, 0, 0)

#define OCI_TIME_OFFSET(F, S) \
	F(S, secs, "secs", INT, none, 0, S64_MIN, S64_MAX) \
	F(S, nanosecs, "nanosecs", UINT, none, 0, 0, 999999999)

#define OCI_LINUX(F, S) \
	F(S, uid_mappings, "uidMappings", LIST, id_mapping, 0, 0, 340) \
	F(S, gid_mappings, "gidMappings", LIST, id_mapping, 0, 0, 340) \
	F(S, sysctl, "sysctl", SMAP, none, 0, 0, 4096) \
	F(S, resources, "resources", OBJ, resources, 0, 0, 0) \
	F(S, cgroups_path, "cgroupsPath", STR, none, 0, 0, PATH_LIMIT) \
	F(S, namespaces, "namespaces", LIST, namespace, 0, 0, 64) \
	F(S, devices, "devices", LIST, device, 0, 0, 16384) \
	F(S, seccomp, "seccomp", OBJ, seccomp, 0, 0, 0) \
	F(S, rootfs_propagation, "rootfsPropagation", ENUM, propagation, 0, 0, 0) \
	F(S, masked_paths, "maskedPaths", STRS, none, F_ABS, 0, 4096) \
	F(S, readonly_paths, "readonlyPaths", STRS, none, F_ABS, 0, 4096) \
	F(S, mount_label, "mountLabel", STR, none, 0, 0, PATH_LIMIT) \
	F(S, intel_rdt, "intelRdt", OBJ, intel_rdt, 0, 0, 0) \
	F(S, personality, "personality", OBJ, personality, 0, 0, 0) \
	F(S, time_offsets, "timeOffsets", OMAP, time_offset, F_NAME, 0, 8)

#define OCI_SPEC(F, S) \
	F(S, oci_version, "ociVersion", STR, none, F_REQ, 1, 64) \
	F(S, root, "root", OBJ, root, 0, 0, 0) \
	F(S, process, "process", OBJ, process, 0, 0, 0) \
	F(S, hostname, "hostname", STR, none, 0, 0, 64) \
	F(S, domainname, "domainname", STR, none, 0, 0, 64) \
	F(S, mounts, "mounts", LIST, mount, 0, 0, 16384) \
	F(S, hooks, "hooks", OBJ, hooks, 0, 0, 0) \
	F(S, annotations, "annotations", SMAP, none, 0, 0, 16384) \
	F(S, linux_, "linux", OBJ, linux_, 0, 0, 0)

/* Every object, contained ones first. */
#define OCI_OBJECTS(O) \
	O(box, OCI_BOX) \
	O(user, OCI_USER) \
	O(capabilities, OCI_CAPABILITIES) \
	O(rlimit, OCI_RLIMIT) \
	O(scheduler, OCI_SCHEDULER) \
	O(io_priority, OCI_IO_PRIORITY) \
	O(cpu_affinity, OCI_CPU_AFFINITY) \
	O(process, OCI_PROCESS) \
	O(root, OCI_ROOT) \
	O(id_mapping, OCI_ID_MAPPING) \
	O(mount, OCI_MOUNT) \
	O(hook, OCI_HOOK) \
	O(hooks, OCI_HOOKS) \
	O(namespace, OCI_NAMESPACE) \
	O(device, OCI_DEVICE) \
	O(device_rule, OCI_DEVICE_RULE) \
	O(memory, OCI_MEMORY) \
	O(cpu, OCI_CPU) \
	O(pids, OCI_PIDS) \
	O(weight_device, OCI_WEIGHT_DEVICE) \
	O(throttle_device, OCI_THROTTLE_DEVICE) \
	O(block_io, OCI_BLOCK_IO) \
	O(hugepage_limit, OCI_HUGEPAGE_LIMIT) \
	O(interface_priority, OCI_INTERFACE_PRIORITY) \
	O(network, OCI_NETWORK) \
	O(rdma, OCI_RDMA) \
	O(resources, OCI_RESOURCES) \
	O(seccomp_arg, OCI_SECCOMP_ARG) \
	O(syscall, OCI_SYSCALL) \
	O(seccomp, OCI_SECCOMP) \
	O(intel_rdt, OCI_INTEL_RDT) \
	O(personality, OCI_PERSONALITY) \
	O(time_offset, OCI_TIME_OFFSET) \
	O(linux_, OCI_LINUX) \
	O(spec, OCI_SPEC)

/* Words and what they mean to the kernel: E("word", value). */
/* By number, without gaps.  A table and not libcap-ng: that library asks the kernel nine questions
 * before main(), twice for a container's start. */
#define OCI_ENUM_capability(E) \
	E("CAP_CHOWN", CAP_CHOWN) \
	E("CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE) \
	E("CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH) \
	E("CAP_FOWNER", CAP_FOWNER) \
	E("CAP_FSETID", CAP_FSETID) \
	E("CAP_KILL", CAP_KILL) \
	E("CAP_SETGID", CAP_SETGID) \
	E("CAP_SETUID", CAP_SETUID) \
	E("CAP_SETPCAP", CAP_SETPCAP) \
	E("CAP_LINUX_IMMUTABLE", CAP_LINUX_IMMUTABLE) \
	E("CAP_NET_BIND_SERVICE", CAP_NET_BIND_SERVICE) \
	E("CAP_NET_BROADCAST", CAP_NET_BROADCAST) \
	E("CAP_NET_ADMIN", CAP_NET_ADMIN) \
	E("CAP_NET_RAW", CAP_NET_RAW) \
	E("CAP_IPC_LOCK", CAP_IPC_LOCK) \
	E("CAP_IPC_OWNER", CAP_IPC_OWNER) \
	E("CAP_SYS_MODULE", CAP_SYS_MODULE) \
	E("CAP_SYS_RAWIO", CAP_SYS_RAWIO) \
	E("CAP_SYS_CHROOT", CAP_SYS_CHROOT) \
	E("CAP_SYS_PTRACE", CAP_SYS_PTRACE) \
	E("CAP_SYS_PACCT", CAP_SYS_PACCT) \
	E("CAP_SYS_ADMIN", CAP_SYS_ADMIN) \
	E("CAP_SYS_BOOT", CAP_SYS_BOOT) \
	E("CAP_SYS_NICE", CAP_SYS_NICE) \
	E("CAP_SYS_RESOURCE", CAP_SYS_RESOURCE) \
	E("CAP_SYS_TIME", CAP_SYS_TIME) \
	E("CAP_SYS_TTY_CONFIG", CAP_SYS_TTY_CONFIG) \
	E("CAP_MKNOD", CAP_MKNOD) \
	E("CAP_LEASE", CAP_LEASE) \
	E("CAP_AUDIT_WRITE", CAP_AUDIT_WRITE) \
	E("CAP_AUDIT_CONTROL", CAP_AUDIT_CONTROL) \
	E("CAP_SETFCAP", CAP_SETFCAP) \
	E("CAP_MAC_OVERRIDE", CAP_MAC_OVERRIDE) \
	E("CAP_MAC_ADMIN", CAP_MAC_ADMIN) \
	E("CAP_SYSLOG", CAP_SYSLOG) \
	E("CAP_WAKE_ALARM", CAP_WAKE_ALARM) \
	E("CAP_BLOCK_SUSPEND", CAP_BLOCK_SUSPEND) \
	E("CAP_AUDIT_READ", CAP_AUDIT_READ) \
	E("CAP_PERFMON", CAP_PERFMON) \
	E("CAP_BPF", CAP_BPF) \
	E("CAP_CHECKPOINT_RESTORE", CAP_CHECKPOINT_RESTORE)

#define OCI_ENUM_ns(E) \
	E("cgroup", CLONE_NEWCGROUP) \
	E("ipc", CLONE_NEWIPC) \
	E("mount", CLONE_NEWNS) \
	E("network", CLONE_NEWNET) \
	E("pid", CLONE_NEWPID) \
	E("time", CLONE_NEWTIME) \
	E("user", CLONE_NEWUSER) \
	E("uts", CLONE_NEWUTS)

#define OCI_ENUM_rlimit(E) \
	E("RLIMIT_AS", RLIMIT_AS) \
	E("RLIMIT_CORE", RLIMIT_CORE) \
	E("RLIMIT_CPU", RLIMIT_CPU) \
	E("RLIMIT_DATA", RLIMIT_DATA) \
	E("RLIMIT_FSIZE", RLIMIT_FSIZE) \
	E("RLIMIT_LOCKS", RLIMIT_LOCKS) \
	E("RLIMIT_MEMLOCK", RLIMIT_MEMLOCK) \
	E("RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE) \
	E("RLIMIT_NICE", RLIMIT_NICE) \
	E("RLIMIT_NOFILE", RLIMIT_NOFILE) \
	E("RLIMIT_NPROC", RLIMIT_NPROC) \
	E("RLIMIT_RSS", RLIMIT_RSS) \
	E("RLIMIT_RTPRIO", RLIMIT_RTPRIO) \
	E("RLIMIT_RTTIME", RLIMIT_RTTIME) \
	E("RLIMIT_SIGPENDING", RLIMIT_SIGPENDING) \
	E("RLIMIT_STACK", RLIMIT_STACK)

#define OCI_ENUM_sched_policy(E) \
	E("SCHED_OTHER", 0) \
	E("SCHED_FIFO", 1) \
	E("SCHED_RR", 2) \
	E("SCHED_BATCH", 3) \
	E("SCHED_ISO", 4) \
	E("SCHED_IDLE", 5) \
	E("SCHED_DEADLINE", 6)

#define OCI_ENUM_sched_flag(E) \
	E("SCHED_FLAG_RESET_ON_FORK", 0x01) \
	E("SCHED_FLAG_RECLAIM", 0x02) \
	E("SCHED_FLAG_DL_OVERRUN", 0x04) \
	E("SCHED_FLAG_KEEP_POLICY", 0x08) \
	E("SCHED_FLAG_KEEP_PARAMS", 0x10) \
	E("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20) \
	E("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40)

#define OCI_ENUM_ioprio_class(E) \
	E("IOPRIO_CLASS_RT", 1) \
	E("IOPRIO_CLASS_BE", 2) \
	E("IOPRIO_CLASS_IDLE", 3)

#define OCI_ENUM_device_type(E) \
	E("b", S_IFBLK) \
	E("c", S_IFCHR) \
	E("p", S_IFIFO) \
	E("u", S_IFCHR)

#define OCI_ENUM_propagation(E) \
	E("", 0) \
	E("private", MS_PRIVATE) \
	E("rprivate", MS_PRIVATE | MS_REC) \
	E("rshared", MS_SHARED | MS_REC) \
	E("rslave", MS_SLAVE | MS_REC) \
	E("runbindable", MS_UNBINDABLE | MS_REC) \
	E("shared", MS_SHARED) \
	E("slave", MS_SLAVE) \
	E("unbindable", MS_UNBINDABLE)

#define OCI_ENUM_personality(E) \
	E("LINUX", PER_LINUX) \
	E("LINUX32", PER_LINUX32)

#define OCI_ENUM_seccomp_action(E) \
	E("SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW) \
	E("SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO) \
	E("SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD) \
	E("SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS) \
	E("SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD) \
	E("SCMP_ACT_LOG", SECCOMP_RET_LOG) \
	E("SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF) \
	E("SCMP_ACT_TRACE", SECCOMP_RET_TRACE) \
	E("SCMP_ACT_TRAP", SECCOMP_RET_TRAP)

#define OCI_ENUM_seccomp_op(E) \
	E("SCMP_CMP_EQ", SECCOMP_OP_EQ) \
	E("SCMP_CMP_GE", SECCOMP_OP_GE) \
	E("SCMP_CMP_GT", SECCOMP_OP_GT) \
	E("SCMP_CMP_LE", SECCOMP_OP_LE) \
	E("SCMP_CMP_LT", SECCOMP_OP_LT) \
	E("SCMP_CMP_MASKED_EQ", SECCOMP_OP_MASKED_EQ) \
	E("SCMP_CMP_NE", SECCOMP_OP_NE)

/* Only the three that an x86-64 kernel can enter matter; the others are accepted and have no
 * effect, because no system call ever carries their mark here. */
#define OCI_ENUM_seccomp_arch(E) \
	E("SCMP_ARCH_AARCH64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_ARM", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_LOONGARCH64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_M68K", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPS", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPS64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPS64N32", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPSEL", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPSEL64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_MIPSEL64N32", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_PARISC", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_PARISC64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_PPC", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_PPC64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_PPC64LE", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_RISCV64", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_S390", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_S390X", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_SH", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_SHEB", SECCOMP_ARCH_FOREIGN) \
	E("SCMP_ARCH_X32", SECCOMP_ARCH_X32) \
	E("SCMP_ARCH_X86", SECCOMP_ARCH_X86) \
	E("SCMP_ARCH_X86_64", SECCOMP_ARCH_X86_64)

#define OCI_ENUM_seccomp_flag(E) \
	E("SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG) \
	E("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW) \
	E("SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC) \
	E("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", (1u << 5))

#define OCI_ENUMS(X) \
	X(capability) X(ns) X(rlimit) X(sched_policy) X(sched_flag) X(ioprio_class) X(device_type) \
	X(propagation) X(personality) X(seccomp_action) X(seccomp_op) X(seccomp_arch) \
	X(seccomp_flag)

#endif
