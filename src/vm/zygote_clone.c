/* zygote_clone.c - see zygote_priv.h: namespaces, and processes made inside them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "jail.h"
#include "zygote_priv.h"

#define NS_ROOMS (CLONE_NEWIPC | CLONE_NEWUTS | (unsigned)CLONE_NEWCGROUP)
#define MOUNT_NS "/proc/self/ns/mnt"

static int zygote_compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b; /* both are small */
}

/* A kernel without the call (before 5.9), or whoever filters it. */
static void zygote_close_range(int first, int last)
{
	if (!close_range((unsigned)first, (unsigned)last, 0))
		return;
	long max = sysconf(_SC_OPEN_MAX);
	int end = max > 0 && max - 1 < last ? (int)max - 1 : last;
	for (int fd = first; fd <= end; fd++)
		(void)close(fd); /* open or not */
}

void zygote_close_others(int *keep, unsigned nr)
{
	int next = 0;
	qsort(keep, nr, sizeof(*keep), zygote_compare_fds);
	for (unsigned i = 0; i < nr; i++) {
		if (keep[i] > next)
			zygote_close_range(next, keep[i] - 1);
		if (keep[i] >= next)
			next = keep[i] + 1;
	}
	zygote_close_range(next, INT_MAX);
}

static void zygote_write_map(const char *path, const char *text)
{
	CLEANUP(fd_cleanup) int fd = open(path, O_WRONLY | O_CLOEXEC);
	ignore(fd < 0 || write(fd, text, strlen(text)) < 0); /* see below */
}

/* The same inside as outside. */
static void zygote_map_id(const char *path, unsigned id)
{
	char line[40];
	(void)snprintf(line, sizeof(line), "%u %u 1", id, id); /* fits */
	zygote_write_map(path, line);
}

/* Who is nobody here can make no user namespace below; if it fails the clone() tells. */
static void zygote_map_ids(unsigned uid, unsigned gid)
{
	zygote_write_map("/proc/self/setgroups", "deny");
	zygote_map_id("/proc/self/uid_map", uid);
	zygote_map_id("/proc/self/gid_map", gid);
}

/*
 * Each of these costs a device more than its clone(), a network more than all the rest together, so
 * all devices share them. Root's belong to the host's user namespace: there nobody in a device has
 * any right over them. Others need a user namespace for it, and lose nothing by living in it; with
 * a mount namespace that belongs to it, so that they may leave it and come back.
 */
static bool zygote_share_rooms(void)
{
	unsigned user = geteuid() ? CLONE_NEWUSER | CLONE_NEWNS : 0;
	unsigned uid = geteuid(), gid = getegid();
	if (unshare((int)(user | CLONE_NEWNET | NS_ROOMS)))
		return false;
	if (user)
		zygote_map_ids(uid, gid);
	return true;
}

static bool zygote_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* One zygote in a process: mount namespaces, of the devices (the empty root) and of its own. */
static int zygote_root_ns = -1, zygote_own_ns = -1;

/* Below chroot() a namespace's root is another than ours: whoever enters it would be outside. */
static bool zygote_make_root(void)
{
	struct stat made, seen;
	if (unshare(CLONE_NEWNS))
		return false;
	zygote_root_ns = open(MOUNT_NS, O_RDONLY | O_CLOEXEC);
	return zygote_root_ns >= 0 && jail_empty_root() && !stat("/", &made) &&
	       !setns(zygote_root_ns, CLONE_NEWNS) && !stat("/", &seen) &&
	       zygote_is_same(&made, &seen);
}

/* setns() made the root of the namespace ours. */
static bool zygote_go_home(int root)
{
	return !setns(zygote_own_ns, CLONE_NEWNS) && !fchdir(root) && !chroot(".");
}

/* The zygote opens images, so it only visits the empty root, while it clones. */
static bool zygote_share_root(void)
{
	CLEANUP(fd_cleanup) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	zygote_own_ns = open(MOUNT_NS, O_RDONLY | O_CLOEXEC);
	/* who lets us leave must let us come back: try that first */
	if (root < 0 || zygote_own_ns < 0 || fchdir(root) || chroot(".") || !zygote_go_home(root))
		return false;
	bool is_made = zygote_make_root();
	if (!zygote_go_home(root))
		_exit(1); /* it worked before */
	return is_made;
}

unsigned zygote_enter_net(void)
{
	if (!zygote_share_rooms())
		return 0;
	return ZYGOTE_NS_NET | (zygote_share_root() ? ZYGOTE_NS_ROOT : 0);
}

/*
 * fork() with namespaces. The thread's idea of its own id lies where the kernel clears it at the
 * end; new namespaces give it a new one.
 */
static pid_t zygote_fork_in(unsigned long flags)
{
	int *tid = NULL;
	if (prctl(PR_GET_TID_ADDRESS, &tid))
		tid = NULL; /* a kernel without: only raise() would miss it */
	flags |= (tid ? CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID : 0) | SIGCHLD;
#if defined(__aarch64__)
	long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, tid);
#else
	long pid = syscall(SYS_clone, flags, NULL, NULL, tid, NULL);
#endif
	return pid < 0 ? -errno : (pid_t)pid;
}

static bool zygote_is_refusal(pid_t err)
{
	return err == -EPERM || err == -ENOSPC || err == -EUSERS || err == -EINVAL ||
	       err == -EACCES;
}

/* What a device that is to have @ns must make: what it does not share (@shared). */
static unsigned long zygote_flags(unsigned ns, unsigned shared)
{
	unsigned long flags = ns & ZYGOTE_NS_USER ? CLONE_NEWUSER : 0;
	if (!(ns & ZYGOTE_NS_OTHERS))
		return flags;
	flags |= CLONE_NEWPID;
	flags |= shared & ZYGOTE_NS_NET ? 0 : NS_ROOMS | CLONE_NEWNET;
	return flags | (shared & ZYGOTE_NS_ROOT ? 0 : CLONE_NEWNS);
}

static pid_t zygote_clone_in(const struct zygote_config *cfg, unsigned shared,
			     struct zygote_child *c)
{
	static const unsigned ladder[] = { ZYGOTE_NS_USER | ZYGOTE_NS_OTHERS, ZYGOTE_NS_OTHERS, 0 };
	static unsigned rung; /* what a host refused once it refuses again */
	for (;; rung++) {
		unsigned ns = cfg->is_jailed ? ladder[rung] : 0;
		unsigned long flags = zygote_flags(ns, shared);
		c->ns = ns | shared | (ns ? ZYGOTE_NS_NET : 0);
		pid_t pid = flags ? zygote_fork_in(flags) : fork();
		if (pid >= 0 || !flags)
			return pid < 0 && !flags ? -errno : pid;
		if (!zygote_is_refusal(pid))
			return pid;
	}
}

pid_t zygote_clone(const struct zygote_config *cfg, struct zygote_child *c)
{
	unsigned shared = c->ns;
	if (c->binary >= 0)
		shared &= ~(unsigned)ZYGOTE_NS_ROOT; /* it needs files to begin */
	bool is_visit = shared & ZYGOTE_NS_ROOT;
	if (is_visit && setns(zygote_root_ns, CLONE_NEWNS))
		return -errno;
	pid_t pid = zygote_clone_in(cfg, shared, c);
	int err = is_visit && pid ? setns(zygote_own_ns, CLONE_NEWNS) : 0;
	BUG_ON(err); /* it could be entered before */
	return pid;
}
