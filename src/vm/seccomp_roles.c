/* seccomp_roles.c - the roles, each put together of the lists of the layers that it runs. */
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "arch/syscalls.h"
#include "dev/syscalls.h"
#include "iouring/syscalls.h"
#include "seccomp_priv.h"
#include "sync/syscalls.h"
#include "virtio/syscalls.h"

/* --- what src/vm itself does --- */

static const struct syscall_rule main_rules[] = {
	/* the zygote */
	SYSCALL(sendmsg),
	SYSCALL(recvmsg),
	SYSCALL(wait4),
	/* the terminal is given back */
	SYSCALL_IF(ioctl, 1, TCGETS),
	SYSCALL_IF(ioctl, 1, TCSETS),
	SYSCALL_IF(ioctl, 1, TIOCGWINSZ),
	SYSCALL_IF(ioctl, 1, TIOCGPGRP),
	/* rights and lists of threads */
	SYSCALL_IF(prctl, 0, PR_SET_NO_NEW_PRIVS),
	SYSCALL(capset),
	SYSCALL_IF(seccomp, 0, SECCOMP_SET_MODE_FILTER),
};
static const struct syscall_list main_syscalls = SYSCALL_LIST(main_rules);

static const struct syscall_rule fatal_rules[] = {
	/* whichever thread dies gives the terminal back, and libc looks whether it worked */
	SYSCALL_IF(ioctl, 1, TCSETS),
	SYSCALL_IF(ioctl, 1, TCGETS),
	SYSCALL_IF(ioctl, 1, TIOCGPGRP),
};
static const struct syscall_list fatal_syscalls = SYSCALL_LIST(fatal_rules);

static const struct syscall_rule socket_rules[] = {
	SYSCALL_IF(socket, 0, 1 /* AF_UNIX */),
	SYSCALL(connect),
	SYSCALL(sendto),
};
const struct syscall_list seccomp_socket_syscalls = SYSCALL_LIST(socket_rules);

static const struct syscall_rule control_rules[] = {
	SYSCALL(accept4),     SYSCALL(epoll_ctl),
#ifdef SYS_epoll_wait
	SYSCALL(epoll_wait),
#endif
	SYSCALL(epoll_pwait), SYSCALL(recvfrom),  SYSCALL(sendto),
#ifdef SYS_unlink
	SYSCALL(unlink), /* the socket goes away at the end, if it is still ours */
#endif
	SYSCALL(unlinkat),
#ifdef SYS_newfstatat
	SYSCALL(newfstatat),
#endif
};
const struct syscall_list seccomp_control_syscalls = SYSCALL_LIST(control_rules);

static const struct syscall_rule listener_rules[] = {
	SYSCALL(accept4),
};
static const struct syscall_list listener_syscalls = SYSCALL_LIST(listener_rules);

/* The zygote opens images and makes processes, and what it may not do they may not either. */
static const struct syscall_rule zygote_rules[] = {
	SYSCALL(openat),
	SYSCALL(fcntl),
	SYSCALL(fstat),
	SYSCALL(statx),
#ifdef SYS_newfstatat
	SYSCALL(newfstatat),
#endif
	SYSCALL(pread64),
	SYSCALL(lseek),
	SYSCALL(sync_file_range),
	SYSCALL_IF(ioctl, 1, BLKROGET),
	SYSCALL_IF(ioctl, 1, BLKSSZGET),
	SYSCALL_IF(ioctl, 1, BLKPBSZGET),
	SYSCALL_IF(ioctl, 1, BLKGETSIZE64),
	SYSCALL(sendmsg),
	SYSCALL(recvmsg),
	SYSCALL(socketpair),
	SYSCALL(pipe2),
	SYSCALL(clone),
	SYSCALL(kill),
	SYSCALL(tgkill), /* a child has another id, and its own list says which */
	SYSCALL(wait4),
	SYSCALL(close_range),
	SYSCALL(prlimit64),
	SYSCALL(sysinfo), /* qsort() */
	/* the jail */
	SYSCALL(prctl),
	SYSCALL(capset),
	SYSCALL_IF(setns, 1, CLONE_NEWNS), /* into the empty root and back */
	SYSCALL(mount),
	SYSCALL(umount2),
	SYSCALL(pivot_root),
	SYSCALL(chdir),
	SYSCALL_IF(seccomp, 0, SECCOMP_SET_MODE_FILTER),
	SYSCALL(landlock_create_ruleset),
	SYSCALL(landlock_restrict_self),
};
static const struct syscall_list zygote_syscalls = SYSCALL_LIST(zygote_rules);

/*
 * A device's process may become another program before it has a list of its own: a file that is
 * open already, though no filter sees that the path is empty. What follows is how a program begins:
 * the loader maps libraries, which are files, and libnuma looks around.
 */
static const struct syscall_rule begin_rules[] = {
	SYSCALL_IF(execveat, 4, AT_EMPTY_PATH),
	SYSCALL_WITHOUT(mmap, 3, MAP_ANONYMOUS),
#ifdef SYS_arch_prctl
	SYSCALL(arch_prctl),
#endif
#ifdef SYS_access
	SYSCALL(access),
#endif
	SYSCALL(faccessat),
#ifdef SYS_readlink
	SYSCALL(readlink),
#endif
	SYSCALL(readlinkat),
	SYSCALL(set_tid_address),
	SYSCALL(getdents64),
	SYSCALL(get_mempolicy),
	SYSCALL(set_mempolicy),
	SYSCALL(capget), /* what the new program may keep of its rights */
};
static const struct syscall_list begin_syscalls = SYSCALL_LIST(begin_rules);

/* --- sanitizers: only in builds that have them --- */

#if defined(COMPILER_ASAN) || defined(COMPILER_TSAN)
static const struct syscall_rule sanitizer_rules[] = {
	/* stacks of threads, shadow memory, reports, the leak check at the end */
	SYSCALL(sigaltstack),
	SYSCALL(fcntl),
	SYSCALL(prlimit64),
	SYSCALL(openat),
	SYSCALL(readlinkat),
	SYSCALL(readlink),
	SYSCALL(getdents64),
	SYSCALL(sched_getaffinity),
	SYSCALL(clone),
	SYSCALL(ptrace),
	SYSCALL(wait4),
	SYSCALL(prctl),
	SYSCALL(tgkill),
	SYSCALL(getuid),
	SYSCALL(geteuid),
	SYSCALL(getppid),
	SYSCALL(uname),
	SYSCALL(ioctl),
	SYSCALL(fstat),
	SYSCALL(newfstatat),
	SYSCALL(stat),
	SYSCALL(lseek),
	SYSCALL(process_vm_readv),
	SYSCALL(mmap),
	SYSCALL(mprotect),
	SYSCALL(pipe2),
	SYSCALL(getcwd),
	SYSCALL(mincore),
	SYSCALL(pipe),
#ifdef SYS_open /* it makes the old calls itself where there are any */
	SYSCALL(open),
	SYSCALL(getdents),
	SYSCALL(lstat),
	SYSCALL(dup2),
	SYSCALL(access),
#endif
};
static const struct syscall_list sanitizer_syscalls = SYSCALL_LIST(sanitizer_rules);
#define SANITIZER &sanitizer_syscalls,
#else
#define SANITIZER
#endif

/* --- the roles --- */

#define EVERYBODY SANITIZER &base_syscalls, &sync_syscalls
/* A worker whose reactor spins measures the host with a thread of its own. */
#define WORKER EVERYBODY, &reactor_syscalls, &sync_thread_syscalls, &virtio_queue_syscalls

const struct seccomp_role seccomp_roles[SANDBOX_NR_ROLES] = {
	[SANDBOX_MAIN] = { "main",
			   { EVERYBODY, &sync_shared_syscalls, &sync_thread_syscalls,
			     &sync_priority_syscalls, &reactor_syscalls, &virtio_queue_syscalls,
			     &vhost_front_syscalls, &port_syscalls, &hv_vcpu_syscalls,
			     &hv_irq_syscalls, &main_syscalls } },
	[SANDBOX_VCPU] = { "vcpu",
			   { EVERYBODY, &sync_shared_syscalls, &hv_vcpu_syscalls, &hv_irq_syscalls,
			     &virtio_queue_syscalls, &fatal_syscalls } },
	[SANDBOX_IO] = { "io",
			 { EVERYBODY, &reactor_syscalls, &port_syscalls, &hv_irq_syscalls,
			   &fatal_syscalls } },
	[SANDBOX_ZYGOTE] = { "zygote",
			     { EVERYBODY, &sync_shared_syscalls, &sync_thread_syscalls,
			       &reactor_create_syscalls, &reactor_syscalls, &virtio_queue_syscalls,
			       &vhost_server_syscalls, &blk_syscalls, &port_syscalls,
			       &zygote_syscalls, &begin_syscalls } },
	[SANDBOX_SERVER] = { "server",
			     { EVERYBODY, &sync_shared_syscalls, &vhost_server_syscalls,
			       &virtio_queue_syscalls, &blk_syscalls } },
	[SANDBOX_LISTENER] = { "listener",
			       { EVERYBODY, &sync_shared_syscalls, &vhost_server_syscalls,
				 &virtio_queue_syscalls, &blk_syscalls, &listener_syscalls } },
	[SANDBOX_BLOCK] = { "block", { WORKER } },
	[SANDBOX_RNG] = { "rng", { WORKER } },
	[SANDBOX_CONSOLE] = { "console", { WORKER, &port_syscalls } },
};
