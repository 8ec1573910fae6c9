/* jail.c - see jail.h. */
#include "jail.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "zygote.h"

/* Any folder will do to put the new root on, and this one is everywhere. */
#define JAIL_MOUNT_POINT "/proc"
#define JAIL_MAX_CAPS    64 /* as many as the kernel's sets can hold */

/* The old root is taken off once it is nobody's; it is the private copy of our mount namespace. */
bool jail_empty_root(void)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("none", JAIL_MOUNT_POINT, "tmpfs", flags, "size=4k,nr_inodes=2,mode=555") &&
	       !chdir(JAIL_MOUNT_POINT) && !syscall(SYS_pivot_root, ".", ".") &&
	       !umount2(".", MNT_DETACH) && !chdir("/") &&
	       !mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL);
}

static bool jail_limit(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit r;
	if (getrlimit(what, &r))
		return false;
	r.rlim_max = r.rlim_max < value ? r.rlim_max : value;
	r.rlim_cur = r.rlim_max;
	return !setrlimit(what, &r);
}

/* The size of files stays free: disks are written to. So does locked memory: rings take some. */
static bool jail_set_limits(const struct jail_config *cfg)
{
	bool ok = jail_limit(RLIMIT_CORE, 0) && jail_limit(RLIMIT_NOFILE, cfg->max_files) &&
		  jail_limit(RLIMIT_MSGQUEUE, 0) && jail_limit(RLIMIT_NICE, 0) &&
		  jail_limit(RLIMIT_RTPRIO, 0) && jail_limit(RLIMIT_SIGPENDING, 64);
	/* counted for the user, and so for all that the user runs, without a namespace of its own
	 */
	if (cfg->ns & ZYGOTE_NS_USER)
		ok = jail_limit(RLIMIT_NPROC, cfg->max_threads) && ok;
	return ok;
}

/* Until there are no more, or there is no right to it. */
static void jail_drop_bounding_set(void)
{
	for (unsigned long cap = 0; cap < JAIL_MAX_CAPS && !prctl(PR_CAPBSET_DROP, cap); cap++)
		;
}

/* Two need the right to: who has not got it has nothing that exec() could raise. */
bool jail_forgo_rights(void)
{
	jail_drop_bounding_set();
	(void)prctl(PR_SET_SECUREBITS,
		    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
			    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
			    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED);
	return !prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || errno == EINVAL;
}

bool jail_give_up_rights(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };
	bool ok = !syscall(SYS_capset, &h, none);
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && ok;
}

bool jail_drop_rights(void)
{
	bool ok = jail_forgo_rights();
	return jail_give_up_rights() && ok;
}

/* What the parent decided and what can be seen from inside. */
static uint32_t jail_missing_ns(unsigned ns)
{
	return (ns & ZYGOTE_NS_USER ? 0 : JAIL_USER_NS) |
	       (ns & ZYGOTE_NS_OTHERS ? 0 : JAIL_OTHER_NS) | (ns & ZYGOTE_NS_NET ? 0 : JAIL_NET_NS);
}

static bool jail_make_root(const struct jail_config *cfg)
{
	if (cfg->ns & ZYGOTE_NS_ROOT)
		return true;
	return cfg->ns & ZYGOTE_NS_OTHERS && (cfg->keeps_root || jail_empty_root());
}

uint32_t jail_enter(const struct jail_config *cfg)
{
	uint32_t lacks = jail_missing_ns(cfg->ns);
	if (!jail_make_root(cfg))
		lacks |= JAIL_ROOT;
	if (!jail_set_limits(cfg))
		lacks |= JAIL_LIMITS;
	if (!jail_drop_rights())
		lacks |= JAIL_RIGHTS;
	if (!cfg->keeps_root && !jail_forbid_files())
		lacks |= lacks & JAIL_ROOT ? JAIL_FILES : 0;
	/* no memory of ours for others, no core; and after all changes of rights, which undo it: */
	if (prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		lacks |= JAIL_RIGHTS;
	return lacks;
}

const char *jail_words(uint32_t lacks, char *buf, size_t size)
{
	static const struct {
		uint32_t part;
		const char *name;
	} names[] = {
		{ JAIL_USER_NS, "user namespaces" },
		{ JAIL_OTHER_NS, "pid, mount, ipc, uts and cgroup namespaces" },
		{ JAIL_NET_NS, "a network namespace" },
		{ JAIL_ROOT, "an empty root" },
		{ JAIL_RIGHTS, "giving up capabilities" },
		{ JAIL_LIMITS, "resource limits" },
		{ JAIL_FILES, "Landlock" },
		{ JAIL_SYSCALLS, "seccomp" },
	};
	size_t at = 0;
	*buf = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && at < size; i++)
		if (lacks & names[i].part)
			at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? ", " : "",
					       names[i].name);
	return buf;
}
