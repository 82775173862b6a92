/* SPDX-License-Identifier: MIT
 * The configuration that a hardened run makes, and the table of what loosens it. */
#ifndef PENUMBRA_CONTAINER_HARDEN_CONFIG_H
#define PENUMBRA_CONTAINER_HARDEN_CONFIG_H

#include "container/command.h"
#include "image/store.h"

/* flag, placeholder (or NULL), many, help, what it gives away (NULL: nothing, it only chooses) */
#define HARDEN_OPTIONS(X) \
	X("store", "DIR", false, "where images are kept (default: /var/lib/penumbra/store, or the user's own)", NULL) \
	X("image-size", "SIZE", false, "largest unpacked size of an image (default: 16G)", NULL) \
	X("entrypoint", "PROGRAM", false, "instead of the image's", NULL) \
	X("name", "ID", false, "name of the container (default: made up)", NULL) \
	X("detach", NULL, false, "do not wait", NULL) \
	X("env", "NAME=VALUE", true, "set an environment variable", NULL) \
	X("cwd", "DIR", false, "working directory", NULL) \
	X("user", "UID[:GID]", false, "ids inside the container", NULL) \
	X("tty", NULL, false, "give it a terminal", \
	  "The process can send control sequences to your terminal.") \
	X("memory", "SIZE", false, "memory limit (default: 512M)", NULL) \
	X("pids", "N", false, "limit on processes (default: 128)", NULL) \
	X("cpus", "PERCENT", false, "processor time, 100 is one processor (default: 100)", NULL) \
	X("files", "N", false, "open files of a process (default: 1024)", NULL) \
	X("disk", "SIZE", false, "size of each writable temporary file system (default: 64M)", NULL) \
	X("volume", "SRC:DST[:rw]", true, "show a directory or file of the host", \
	  "The container sees this part of the host's files; with :rw it can change them, fill its " \
	  "disk, and leave files there that others may trust.") \
	X("exec-volume", "SRC:DST", true, "a read-only volume whose files may be executed", \
	  "Programs that are not of the image can run; what the volume holds is as trusted as the " \
	  "image.") \
	X("device", "PATH", true, "a device of the host", \
	  "The container talks to this driver: its bugs, and the hardware's memory where it does " \
	  "DMA, are within reach.") \
	X("network", "host|PATH", false, "join a network (default: none)", \
	  "With host, the host's interfaces, its loopback services and its abstract sockets are " \
	  "within reach; with a namespace, whatever is connected to it.") \
	X("cap", "NAME", true, "a capability, within the container's user namespace", \
	  "Kernel code that only capable processes reach (netfilter, mounts) becomes reachable; " \
	  "most local kernel exploits of recent years needed one of these.") \
	X("allow", "CALL", true, "a system call beyond the list", \
	  "This system call's kernel code is within reach.") \
	X("seccomp", "off", false, "no system call filter", \
	  "All of the kernel's system calls are within reach, and nothing is noticed when they are " \
	  "tried.") \
	X("landlock", "off", false, "no Landlock rules", \
	  "A mistake in mounts or permissions has no second line behind it; abstract sockets and " \
	  "signals are limited only by the namespaces.") \
	X("writable-root", NULL, false, "let the container change its root file system", \
	  "A compromise can persist in the image directory, and can fill the disk that holds it.") \
	X("exec-tmp", NULL, false, "allow running files from /tmp, /run and /var/tmp", \
	  "Programs dropped by an attacker can run.") \
	X("new-privileges", NULL, false, "let setuid and file capabilities work", \
	  "A setuid program in the image with a bug gives root of the container.") \
	X("no-user-namespace", NULL, false, "keep the host's ids", \
	  "Root inside is root outside: only capabilities, mounts and the filter are left between.") \
	X("unmask", NULL, false, "show all of /proc and /sys", \
	  "Facts about the host and its other processes' kernel objects become readable.") \
	X("learn", "FILE", false, "record what the workload uses, write a profile, check it", \
	  "While learning nothing is denied by the filter: use only for a workload that is trusted.") \
	X("profile", "FILE", false, "use a learnt profile", NULL) \
	X("on-violation", "log|kill|freeze", false, "what follows a violation (default: log)", NULL) \
	X("events", "FILE", false, "append events there (default: stderr)", NULL)

struct harden_option {
	const char *name, *gives_away;
};
extern const struct harden_option harden_options[];
extern const size_t harden_options_n;
extern const struct option_row harden_rows[];

struct hardened {
	const struct command_line *c;
	const char *image;           /* as given */
	char root[4096];             /* the root directory on the host */
	struct stored_image stored;  /* .lock is -1 when the image is not of the store */
	bool copied;                 /* root is a private copy */
	struct spec_document *bundle;/* the bundle's own configuration, or NULL */
	u64 uid, gid;                /* of the process, inside */
	u64 first_id, ids;           /* the id range; 0 for none, one id without root */
	bool ask;                    /* there is a supervisor: refused calls are reported to it */
	bool learning;
	struct text landlock;        /* rules; the text of the annotation */
	struct text calls;           /* of a profile: JSON list of names; empty: the default list */
};

/* Finds the image's root and its own configuration; `id` names a writable copy where one is asked for. */
int harden_open_image(struct hardened *h, const char *id, struct err *e);
/* From the options: where the store is and how large an image may be. */
int harden_store_options(const struct command_line *c, struct store_options *o, struct err *e);
/* Writes config.json for the run. */
int harden_write_config(struct hardened *h, struct text *t, struct err *e);
/* The default list of system calls as linux.seccomp. */
void harden_write_seccomp(const struct hardened *h, struct text *t);
/* Fills h->landlock with the default rules for the image. */
int harden_default_landlock(struct hardened *h, struct err *e);

/* learn.c: from the supervisor's record to a profile, and back. */
int profile_write(const char *record, const char *root, const char *file, struct err *e);
int profile_read(struct hardened *h, const char *file, struct err *e);

/* elfscan.c: the system calls that a program and its libraries can reach.  Calls `found` for each
 * number and the file that makes it; `unresolved` counts call sites whose number is not constant. */
int elf_scan(int root, const char *path, void (*found)(int nr, const char *file, void *), void *arg,
	     size_t *unresolved, struct err *e);

#endif
