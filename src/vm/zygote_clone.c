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
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "zygote_priv.h"

#define NS_OTHERS                                                                                  \
	(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (unsigned)CLONE_NEWCGROUP)

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

/*
 * A network costs more than all the rest together, so all devices share one that is empty. Root's
 * belongs to the host's user namespace: there nobody in a device has any right over it. Others need
 * a user namespace for it, and lose nothing by living in it.
 */
unsigned zygote_enter_net(void)
{
	unsigned user = geteuid() ? CLONE_NEWUSER : 0;
	unsigned uid = geteuid(), gid = getegid();
	if (unshare((int)(user | CLONE_NEWNET)))
		return 0;
	if (!user)
		return ZYGOTE_NS_NET;
	/* who is nobody here can make no user namespace below; if it fails the clone() tells */
	zygote_write_map("/proc/self/setgroups", "deny");
	zygote_map_id("/proc/self/uid_map", uid);
	zygote_map_id("/proc/self/gid_map", gid);
	return ZYGOTE_NS_NET;
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

pid_t zygote_clone(const struct zygote_config *cfg, struct zygote_child *c)
{
	static const unsigned ladder[] = { ZYGOTE_NS_USER | ZYGOTE_NS_OTHERS, ZYGOTE_NS_OTHERS, 0 };
	static unsigned rung; /* what a host refused once it refuses again */
	bool has_net = c->ns & ZYGOTE_NS_NET;
	for (;; rung++) {
		unsigned ns = cfg->is_jailed ? ladder[rung] : 0;
		unsigned long flags = 0;
		flags |= ns & ZYGOTE_NS_USER ? CLONE_NEWUSER : 0;
		flags |= ns & ZYGOTE_NS_OTHERS ? NS_OTHERS : 0;
		flags |= ns && !has_net ? CLONE_NEWNET : 0;
		c->ns = ns | (ns || has_net ? ZYGOTE_NS_NET : 0);
		pid_t pid = flags ? zygote_fork_in(flags) : fork();
		if (pid >= 0 || !flags)
			return pid < 0 && !flags ? -errno : pid;
		if (!zygote_is_refusal(pid))
			return pid;
	}
}
