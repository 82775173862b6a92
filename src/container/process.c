/* SPDX-License-Identifier: MIT
 * The last steps of a process on its way into a container.
 *
 * Order matters: what can be denied by the filter is done before the filter; the filter comes last
 * when no_new_privs allows that, else it is followed by capset and execve only. */
#include "container/process.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/util.h"

#define KEYCTL_JOIN_SESSION_KEYRING 1
#define IOPRIO_WHO_PROCESS 1

struct sched_attributes {
	u32 size, policy;
	u64 flags;
	s32 nice;
	u32 priority;
	u64 runtime, deadline, period;
};

int process_check(const struct oci_process *p, struct err *e)
{
	size_t i, k;

	if (!p->args.n || !p->args.v[0][0])
		return err_set(e, -EINVAL, "config.json: process.args: names no program");
	for (i = 0; i < p->rlimits.n; i++) {
		if (p->rlimits.v[i].soft.v > p->rlimits.v[i].hard.v)
			return err_set(e, -EINVAL, "config.json: process.rlimits[%zu].soft: is above "
				       "hard", i);
		for (k = 0; k < i; k++)
			if (p->rlimits.v[k].type.v == p->rlimits.v[i].type.v)
				return err_set(e, -EINVAL, "config.json: process.rlimits[%zu].type: "
					       "is given twice", i);
	}
	if (p->user && p->user->additional_gids.n > NGROUPS_MAX)
		return err_set(e, -EINVAL, "config.json: process.user.additionalGids: too many");
	return 0;
}

int process_set_rlimits(pid_t pid, const struct oci_process *p, struct err *e)
{
	size_t i;

	for (i = 0; i < p->rlimits.n; i++) {
		const struct oci_rlimit *l = &p->rlimits.v[i];
		struct rlimit v = { (rlim_t)l->soft.v, (rlim_t)l->hard.v };

		if (prlimit(pid, (enum __rlimit_resource)l->type.v, &v, NULL) < 0)
			return err_sys(e, errno, "process.rlimits[%zu]: set to %llu/%llu", i,
				       (unsigned long long)l->soft.v,
				       (unsigned long long)l->hard.v);
	}
	return 0;
}

/* The descriptor's file belongs to the process afterwards, so that it can open /dev/stdout. */
static void give_stdio(uid_t uid)
{
	int fd;

	for (fd = 0; fd <= 2; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0 || st.st_uid == uid)
			continue;
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ||
		    (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(fd, uid, (gid_t)-1) < 0)
			continue; /* not ours to give: the process keeps what it inherited */
	}
}

static int set_scheduler(const struct oci_process *p, struct err *e)
{
	const struct oci_scheduler *s = p->scheduler;
	struct sched_attributes a;

	if (!s)
		return 0;
	a = (struct sched_attributes){ .size = sizeof a, .policy = (u32)s->policy.v,
				       .flags = s->flags.v, .nice = (s32)s->nice.v,
				       .priority = (u32)s->priority.v, .runtime = s->runtime.v,
				       .deadline = s->deadline.v, .period = s->period.v };
	if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		return err_sys(e, errno, "process.scheduler");
	return 0;
}

static int set_priorities(const struct oci_process *p, const struct oci_spec *spec, struct err *e)
{
	const struct oci_personality *k = spec && spec->linux_ ? spec->linux_->personality : NULL;

	if (p->io_priority &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    (int)(p->io_priority->class.v << 13 | p->io_priority->priority.v)) < 0)
		return err_sys(e, errno, "process.ioPriority");
	if (k && personality((unsigned long)k->domain.v) < 0)
		return err_sys(e, errno, "linux.personality");
	return 0;
}

static int take_terminal(int console, struct err *e)
{
	int fd;

	if (setsid() < 0 && errno != EPERM)
		return err_sys(e, errno, "setsid");
	if (console < 0)
		return 0;
	if (ioctl(console, TIOCSCTTY, 0) < 0)
		return err_sys(e, errno, "process.terminal: take it");
	for (fd = 0; fd <= 2; fd++)
		if (dup2(console, fd) < 0)
			return err_sys(e, errno, "process.terminal: use it");
	return 0;
}

static const char *env_value(const struct oci_process *p, const char *name)
{
	size_t n = strlen(name), i;

	for (i = p->env.n; i-- > 0;)
		if (!strncmp(p->env.v[i], name, n) && p->env.v[i][n] == '=')
			return p->env.v[i] + n + 1;
	return NULL;
}

static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -EACCES;
	return 0;
}

static int find_executable(struct process_plan *plan, struct err *e)
{
	const char *name = plan->process->args.v[0];
	const char *path = env_value(plan->process, "PATH"), *p;
	int r = -ENOENT, worst = -ENOENT;

	if (strchr(name, '/')) {
		plan->executable = strdup(name);
		r = plan->executable ? check_executable(name) : -ENOMEM;
		return r ? err_sys(e, -r, "process.args[0]: executable file \"%s\"", name) : 0;
	}
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (p = path; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
		int n = (int)strcspn(p, ":");

		if (!n)
			continue;
		if (asprintf(&plan->executable, "%.*s/%s", n, p, name) < 0) {
			plan->executable = NULL;
			return err_set(e, -ENOMEM, "process.args[0]: out of memory");
		}
		r = check_executable(plan->executable);
		if (!r)
			return 0;
		if (r != -ENOENT && r != -ENOTDIR)
			worst = r;
		free(plan->executable);
		plan->executable = NULL;
	}
	return err_set(e, worst, worst == -ENOENT ?
		       "process.args[0]: executable file \"%s\" not found in $PATH: No such file or "
		       "directory" : "process.args[0]: executable file \"%s\": Permission denied",
		       name);
}

/* Enters process.cwd, making it when missing, and makes sure that it is inside: a working
 * directory that cannot be reached from "/" would be a descriptor into the host. */
static int enter_directory(const struct oci_process *p, struct err *e)
{
	char buf[PATH_MAX];
	const char *cwd = p->cwd ? p->cwd : "/";
	/* the switch of roots, or joining the mount namespace, has left us at "/" */
	int r = strcmp(cwd, "/") && chdir(cwd) < 0 ? -errno : 0;

	if (r == -ENOENT) {
		_cleanup_fd_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

		fd = path_make(root, cwd, false, 0755);
		r = fd < 0 ? fd : fchdir(fd) < 0 ? -errno : 0;
		if (fd >= 0)
			close(fd);
	}
	if (r)
		return err_sys(e, -r, "process.cwd: enter %s", cwd);
	if (syscall(SYS_getcwd, buf, sizeof buf) < 0 || buf[0] != '/')
		return err_set(e, -EXDEV, "process.cwd: %s is outside the container", cwd);
	return 0;
}

static int move_gids(const struct oci_user *u, gid_t **out)
{
	size_t i;

	*out = calloc(u->additional_gids.n + 1, sizeof **out);
	if (!*out)
		return -ENOMEM;
	for (i = 0; i < u->additional_gids.n; i++)
		(*out)[i] = (gid_t)u->additional_gids.v[i];
	return 0;
}

static int set_groups(const struct oci_user *u, bool user_ns, struct err *e)
{
	_cleanup_free_ gid_t *gids = NULL;
	_cleanup_free_ char *allowed = NULL;

	if (move_gids(u, &gids))
		return err_set(e, -ENOMEM, "process.user: out of memory");
	if (!setgroups(u->additional_gids.n, gids))
		return 0;
	/* a user namespace made without privilege may not drop groups: they grant nothing there */
	if (errno == EPERM && user_ns && !u->additional_gids.n &&
	    !file_read_at(AT_FDCWD, "/proc/self/setgroups", 32, &allowed, NULL) &&
	    !strncmp(allowed, "deny", 4))
		return 0;
	if (errno == EPERM && user_ns && !u->additional_gids.n && !allowed)
		return 0;
	return err_sys(e, errno, "process.user.additionalGids");
}

int process_prepare(struct process_plan *plan, struct err *e)
{
	const struct oci_process *p = plan->process;
	int r = take_terminal(plan->console, e);

	if (!r && plan->new_keyring &&
	    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, plan->keyring_name, 0, 0, 0) < 0 &&
	    errno != ENOSYS && errno != EPERM && errno != EDQUOT)
		r = err_sys(e, errno, "make a session keyring");
	if (!r)
		r = set_scheduler(p, e);
	if (!r)
		r = set_priorities(p, plan->spec, e);
	if (!r) {
		if (plan->user_ns || (p->user && p->user->uid.v)) /* else the caller is root as well */
			give_stdio(p->user ? (uid_t)p->user->uid.v : 0);
		r = find_executable(plan, e);
	}
	return r;
}

static int set_lsm(const char *field, const char *value, const char *dir, const char *prefix,
		   struct err *e)
{
	char path[128];
	int r;

	if (!value || !*value)
		return 0;
	snprintf(path, sizeof path, "/proc/thread-self/attr/%s%sexec", dir, *dir ? "/" : "");
	r = file_printf_at(AT_FDCWD, path, "%s%s", prefix, value);
	if (r == -ENOENT && *dir) {
		snprintf(path, sizeof path, "/proc/thread-self/attr/exec");
		r = file_printf_at(AT_FDCWD, path, "%s%s", prefix, value);
	}
	return r ? err_sys(e, -r, "process.%s: \"%.100s\"", field, value) : 0;
}

static bool lsm_enabled(const char *file)
{
	_cleanup_free_ char *text = NULL;

	return !file_read_at(AT_FDCWD, file, 64, &text, NULL) && (text[0] == 'Y' || text[0] == '1');
}

static int set_labels(const struct oci_process *p, struct err *e)
{
	int r = 0;

	if (p->apparmor_profile && *p->apparmor_profile &&
	    strcmp(p->apparmor_profile, "unconfined")) {
		if (!lsm_enabled("/sys/module/apparmor/parameters/enabled"))
			return err_set(e, -ENOTSUP, "process.apparmorProfile: this kernel has no "
				       "AppArmor");
		r = set_lsm("apparmorProfile", p->apparmor_profile, "apparmor", "exec ", e);
	}
	if (!r && p->selinux_label && *p->selinux_label) {
		if (access("/sys/fs/selinux/enforce", F_OK))
			return err_set(e, -ENOTSUP, "process.selinuxLabel: this kernel has no "
				       "SELinux");
		r = set_lsm("selinuxLabel", p->selinux_label, "", "", e);
	}
	return r;
}

static int set_caps(u64 effective, u64 permitted, u64 inheritable)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ (u32)effective, (u32)permitted, (u32)inheritable },
		{ (u32)(effective >> 32), (u32)(permitted >> 32), (u32)(inheritable >> 32) },
	};

	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

static int get_permitted(u64 *permitted)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	*permitted = d[0].permitted | (u64)d[1].permitted << 32;
	return 0;
}

static int drop_bounding(u64 keep, struct err *e)
{
	int cap, last = CAP_LAST_CAP;

	for (cap = 0; cap < 64; cap++) {
		if (cap <= last && keep & BIT(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* beyond what this kernel knows */
				break;
			return err_sys(e, errno, "process.capabilities.bounding");
		}
	}
	return 0;
}

/* Gives up ids and capabilities.  keep_admin leaves CAP_SYS_ADMIN for the filter that follows. */
static int change_identity(struct process_plan *plan, bool keep_admin, u64 final[3], struct err *e)
{
	static const struct oci_capabilities none;
	static const struct oci_user root;
	const struct oci_process *p = plan->process;
	const struct oci_capabilities *c = p->capabilities ? p->capabilities : &none;
	const struct oci_user *u = p->user ? p->user : &root;
	u64 may = 0, want;
	int r, cap;

	r = drop_bounding(c->bounding.mask, e);
	if (r)
		return r;
	if (u->uid.v && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "keep capabilities");
	r = set_groups(u, plan->user_ns, e);
	if (r)
		return r;
	if (setresgid((gid_t)u->gid.v, (gid_t)u->gid.v, (gid_t)u->gid.v) < 0)
		return err_sys(e, errno, "process.user.gid: become %llu",
			       (unsigned long long)u->gid.v);
	if (setresuid((uid_t)u->uid.v, (uid_t)u->uid.v, (uid_t)u->uid.v) < 0)
		return err_sys(e, errno, "process.user.uid: become %llu",
			       (unsigned long long)u->uid.v);
	/* the change of ids made us dumpable again; nobody may look in before the execve */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (get_permitted(&may))
		return err_sys(e, errno, "read capabilities");
	/* what the runtime itself lacks it cannot give: as the specification asks, left out */
	final[0] = c->effective.mask & may & c->permitted.mask;
	final[1] = c->permitted.mask & may;
	final[2] = c->inheritable.mask & may;
	want = final[1] | (keep_admin ? may & BIT(CAP_SYS_ADMIN) : 0);
	r = set_caps(want & (final[0] | BIT(CAP_SYS_ADMIN)), want, final[2]);
	if (r)
		return err_sys(e, -r, "process.capabilities");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (c->ambient.mask & final[1] & final[2] & BIT(cap) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(e, errno, "process.capabilities.ambient");
	return 0;
}

static int apply_landlock(int ruleset, struct err *e)
{
	if (ruleset < 0)
		return 0;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ?
	       err_sys(e, errno, "Landlock") : 0;
}

/* Sends the supervisor's descriptor on: to the hardened run's own, and to the agent. */
static int send_listener(struct process_plan *plan, int listener, struct err *e)
{
	const char *state = plan->seccomp_state ? plan->seccomp_state : "{}";
	int r = 0;

	if (plan->listener_to >= 0)
		r = message_send(plan->listener_to, "l", 1, listener);
	if (!r && plan->agent >= 0)
		r = message_send(plan->agent, state, strlen(state), listener);
	close(listener);
	return r ? err_sys(e, -r, "linux.seccomp.listenerPath: send the descriptor") : 0;
}

static int install_filter(struct process_plan *plan, struct err *e)
{
	int listener = -1, r;

	if (!plan->filter)
		return 0;
	r = seccomp_install(plan->filter, &listener);
	if (r)
		return err_sys(e, -r, "linux.seccomp: install");
	return listener >= 0 ? send_listener(plan, listener, e) : 0;
}

/* LISTEN_PID must be ours, and the descriptors after stdio stay open. */
static int keep_descriptors(struct process_plan *plan, struct err *e)
{
	unsigned first = 3 + (unsigned)plan->preserve_fds;

	if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return err_sys(e, errno, "close descriptors");
	return 0;
}

int process_execute(struct process_plan *plan, struct err *e)
{
	static char *empty[] = { NULL };
	const struct oci_process *p = plan->process;
	u64 final[3] = { 0 };
	bool nnp = p->no_new_privileges;
	int r;

	umask(p->user && p->user->umask.set ? (mode_t)p->user->umask.v : 022);
	r = set_labels(p, e);
	if (!r)
		r = keep_descriptors(plan, e);
	if (!r)
		r = change_identity(plan, plan->filter && !nnp, final, e);
	if (!r) /* as the user: a directory closed to it is an error */
		r = enter_directory(p, e);
	if (!r && nnp && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, errno, "process.noNewPrivileges");
	if (!r)
		r = apply_landlock(plan->landlock_ruleset, e);
	if (!r)
		r = install_filter(plan, e);
	if (!r && plan->filter && !nnp) {
		r = set_caps(final[0], final[1], final[2]);
		if (r)
			return err_sys(e, -r, "process.capabilities");
	}
	if (r)
		return r;
	execve(plan->executable, p->args.v, p->env.v ? p->env.v : empty);
	return err_sys(e, errno, "process.args[0]: execute %s", plan->executable);
}
