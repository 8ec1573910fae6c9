/*
 * expected_calls.h - what each kind of thread may call, once more: written down apart from the
 * lists of the layers, so that nothing gets onto a list by itself. Who adds a call to a layer adds
 * it here, for each role that gets it, and thinks about each of them.
 */
#ifndef TESTS_EXPECTED_CALLS_H
#define TESTS_EXPECTED_CALLS_H
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include "base/syscalls.h"
#include "src/vm/sandbox.h"

/* Beyond the roles: main with what some options need. */
enum { MAIN_WITH_SOCKETS = SANDBOX_NR_ROLES, MAIN_WITH_CONTROL, NR_SUBJECTS };

#define R_(role) (1u << SANDBOX_##role)
#define SOCKETS  (1u << MAIN_WITH_SOCKETS)
#define CONTROL  (1u << MAIN_WITH_CONTROL)
#define MAINS    (R_(MAIN) | SOCKETS | CONTROL)
#define WORKERS  (R_(BLOCK) | R_(RNG) | R_(CONSOLE))
#define SERVERS  (R_(SERVER) | R_(LISTENER))
#define DEVICES  (WORKERS | SERVERS)
#define ALL      (MAINS | R_(VCPU) | R_(IO) | R_(ZYGOTE) | DEVICES)
#define THREADED (MAINS | R_(ZYGOTE) | WORKERS)
#define RINGS    (MAINS | R_(IO) | R_(ZYGOTE) | WORKERS)
#define QUEUES   (MAINS | R_(VCPU) | R_(ZYGOTE) | DEVICES)
#define VHOST    (MAINS | R_(ZYGOTE) | SERVERS)

static const struct expected_call {
	unsigned who;
	struct syscall_rule rule;
} expected_calls[] = {
	/* memory, without any that runs */
	{ ALL, SYSCALL(brk) },
	{ ALL, SYSCALL_WITHOUT(mmap, 2, PROT_EXEC) },
	{ ALL, SYSCALL_WITHOUT(mprotect, 2, PROT_EXEC) },
	{ ALL, SYSCALL(mremap) },
	{ ALL, SYSCALL(munmap) },
	{ ALL, SYSCALL(madvise) },
	{ ALL, SYSCALL(getrandom) },
	/* descriptors that are there */
	{ ALL, SYSCALL(read) },
	{ ALL, SYSCALL(write) },
	{ ALL, SYSCALL(writev) },
	{ ALL, SYSCALL(close) },
	{ ALL, SYSCALL(preadv2) },
	{ ALL, SYSCALL(ppoll) },
#ifdef SYS_poll
	{ ALL, SYSCALL(poll) },
#endif
	/* time, waiting for each other */
	{ ALL, SYSCALL(clock_gettime) },
	{ ALL, SYSCALL(clock_nanosleep) },
	{ ALL, SYSCALL(nanosleep) },
	{ ALL, SYSCALL(restart_syscall) },
	{ ALL, SYSCALL(futex) },
	{ ALL, SYSCALL(membarrier) },
	{ ALL, SYSCALL(sched_yield) },
	/* signals to oneself, the end */
	{ ALL, SYSCALL(rt_sigreturn) },
	{ ALL, SYSCALL(rt_sigprocmask) },
	{ ALL, SYSCALL(rt_sigaction) },
	{ ALL, SYSCALL(getpid) },
	{ ALL, SYSCALL(gettid) },
	{ ALL, SYSCALL_ON_SELF(tgkill, 0) },
	{ ALL, SYSCALL(exit) },
	{ ALL, SYSCALL(exit_group) },
	/* who shares an eventfd with us does not hold us up */
	{ MAINS | R_(VCPU) | R_(ZYGOTE) | SERVERS, SYSCALL_IF(timer_create, 0, CLOCK_MONOTONIC) },
	{ MAINS | R_(VCPU) | R_(ZYGOTE) | SERVERS, SYSCALL(timer_settime) },
	{ MAINS | R_(VCPU) | R_(ZYGOTE) | SERVERS, SYSCALL(timer_delete) },
	/* threads, but no processes and no namespaces */
	{ THREADED,
	  SYSCALL_MASKED(clone, 0,
			 CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
				 CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
				 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PTRACE |
				 CLONE_VFORK,
			 CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD) },
	{ THREADED, SYSCALL(set_robust_list) },
	{ THREADED, SYSCALL(rseq) },
	{ THREADED | RINGS, SYSCALL(sched_getaffinity) },
	{ THREADED | RINGS, SYSCALL(sched_setaffinity) },
	{ THREADED, SYSCALL_IF(prctl, 0, PR_SET_NAME) },
	{ MAINS, SYSCALL(sched_setscheduler) },
	/* a ring that is there */
	{ RINGS, SYSCALL(io_uring_enter) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_RESTRICTIONS) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_ENABLE_RINGS) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_IOWQ_AFF) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_IOWQ_MAX_WORKERS) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_RING_FDS) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_UNREGISTER_RING_FDS) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_FILES) },
	{ RINGS, SYSCALL_IF(io_uring_register, 1, IORING_UNREGISTER_FILES) },
	{ RINGS | QUEUES, SYSCALL(eventfd2) },
	/* and where there is none */
	{ RINGS, SYSCALL(readv) },
	{ RINGS, SYSCALL(pwritev2) },
	{ RINGS, SYSCALL(fdatasync) },
	{ RINGS, SYSCALL(fallocate) },
	/* queues, messages of vhost-user */
	{ QUEUES, SYSCALL(sysinfo) },
	{ VHOST, SYSCALL(recvmsg) },
	{ VHOST, SYSCALL(sendmsg) },
	{ VHOST, SYSCALL(fstat) },
#ifdef SYS_newfstatat
	{ VHOST, SYSCALL_MASKED(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH) },
	{ CONTROL | R_(ZYGOTE), SYSCALL(newfstatat) },
#endif
	{ VHOST, SYSCALL_IF(fcntl, 1, F_DUPFD_CLOEXEC) },
	{ VHOST, SYSCALL_IF(fcntl, 1, F_ADD_SEALS) },
	{ MAINS | R_(IO) | R_(CONSOLE), SYSCALL_IF(fcntl, 1, F_GETFL) },
	{ VHOST, SYSCALL(memfd_create) },
	{ VHOST, SYSCALL(ftruncate) },
	{ R_(ZYGOTE) | SERVERS, SYSCALL(dup3) },
	{ R_(ZYGOTE) | SERVERS, SYSCALL_IF(ioctl, 1, BLKGETSIZE64) },
	/* terminals that are there */
	{ ALL & ~(SERVERS | R_(BLOCK) | R_(RNG)), SYSCALL_IF(ioctl, 1, TCGETS) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, TCSETS) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, TIOCGPGRP) },
	{ MAINS, SYSCALL_IF(ioctl, 1, TIOCGWINSZ) },
	/* KVM: the guest runs, nothing is made */
	{ MAINS | R_(VCPU), SYSCALL_IF(ioctl, 1, KVM_RUN) },
	{ MAINS | R_(VCPU), SYSCALL_IF(ioctl, 1, KVM_KVMCLOCK_CTRL) },
	{ MAINS | R_(VCPU), SYSCALL_IF(ioctl, 1, KVM_GET_REGS) },
	{ MAINS | R_(VCPU), SYSCALL_IF(ioctl, 1, KVM_GET_SREGS) },
	{ MAINS | R_(VCPU), SYSCALL_IF(ioctl, 1, KVM_TRANSLATE) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, KVM_IRQ_LINE) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, KVM_IRQFD) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, KVM_IOEVENTFD) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, KVM_SET_GSI_ROUTING) },
	{ MAINS | R_(VCPU) | R_(IO), SYSCALL_IF(ioctl, 1, KVM_SIGNAL_MSI) },
	/* main: its frontends and the zygote, new threads give up what they have */
	{ MAINS, SYSCALL(recvfrom) },
	{ MAINS, SYSCALL(sendto) },
	{ MAINS | R_(ZYGOTE), SYSCALL(socketpair) },
	{ MAINS, SYSCALL(shutdown) },
	{ MAINS | R_(ZYGOTE), SYSCALL(wait4) },
	{ MAINS, SYSCALL_IF(prctl, 0, PR_SET_NO_NEW_PRIVS) },
	{ MAINS | R_(ZYGOTE), SYSCALL(capset) },
	{ MAINS | R_(ZYGOTE), SYSCALL_IF(seccomp, 0, SECCOMP_SET_MODE_FILTER) },
	/* main with options */
	{ SOCKETS, SYSCALL_IF(socket, 0, 1 /* AF_UNIX */) },
	{ SOCKETS, SYSCALL(connect) },
	{ CONTROL | R_(LISTENER), SYSCALL(accept4) },
	{ CONTROL, SYSCALL(epoll_ctl) },
#ifdef SYS_epoll_wait
	{ CONTROL, SYSCALL(epoll_wait) },
#endif
	{ CONTROL, SYSCALL(epoll_pwait) },
#ifdef SYS_unlink
	{ CONTROL, SYSCALL(unlink) },
#endif
	{ CONTROL, SYSCALL(unlinkat) },
	/* the zygote opens images and makes processes in jails */
	{ R_(ZYGOTE), SYSCALL(openat) },
	{ R_(ZYGOTE), SYSCALL(fcntl) },
	{ R_(ZYGOTE), SYSCALL(statx) },
	{ R_(ZYGOTE), SYSCALL(pread64) },
	{ R_(ZYGOTE), SYSCALL(sync_file_range) },
	/* how far the file of a console is */
	{ MAINS | R_(IO) | R_(ZYGOTE) | R_(CONSOLE), SYSCALL(lseek) },
	{ R_(ZYGOTE), SYSCALL_IF(ioctl, 1, BLKROGET) },
	{ R_(ZYGOTE), SYSCALL_IF(ioctl, 1, BLKSSZGET) },
	{ R_(ZYGOTE), SYSCALL_IF(ioctl, 1, BLKPBSZGET) },
	{ R_(ZYGOTE), SYSCALL(pipe2) },
	{ R_(ZYGOTE), SYSCALL(clone) },
	{ R_(ZYGOTE), SYSCALL(kill) },
	{ R_(ZYGOTE), SYSCALL(tgkill) },
	{ R_(ZYGOTE), SYSCALL(close_range) },
	{ R_(ZYGOTE), SYSCALL(prlimit64) },
	{ R_(ZYGOTE), SYSCALL(prctl) },
	{ R_(ZYGOTE), SYSCALL_IF(setns, 1, CLONE_NEWNS) },
	{ R_(ZYGOTE), SYSCALL(mount) },
	{ R_(ZYGOTE), SYSCALL(umount2) },
	{ R_(ZYGOTE), SYSCALL(pivot_root) },
	{ R_(ZYGOTE), SYSCALL(chdir) },
	{ R_(ZYGOTE), SYSCALL(landlock_create_ruleset) },
	{ R_(ZYGOTE), SYSCALL(landlock_restrict_self) },
	/* a device's process becomes another program, which begins: before it has a list itself */
	{ R_(ZYGOTE), SYSCALL_IF(execveat, 4, AT_EMPTY_PATH) },
	{ R_(ZYGOTE), SYSCALL_WITHOUT(mmap, 3, MAP_ANONYMOUS) },
#ifdef SYS_arch_prctl
	{ R_(ZYGOTE), SYSCALL(arch_prctl) },
#endif
#ifdef SYS_access
	{ R_(ZYGOTE), SYSCALL(access) },
#endif
	{ R_(ZYGOTE), SYSCALL(faccessat) },
#ifdef SYS_readlink
	{ R_(ZYGOTE), SYSCALL(readlink) },
#endif
	{ R_(ZYGOTE), SYSCALL(readlinkat) },
	{ R_(ZYGOTE), SYSCALL(set_tid_address) },
	{ R_(ZYGOTE), SYSCALL(getdents64) },
	{ R_(ZYGOTE), SYSCALL(get_mempolicy) },
	{ R_(ZYGOTE), SYSCALL(set_mempolicy) },
	{ R_(ZYGOTE), SYSCALL(capget) },
	/* and the rings of devices */
	{ R_(ZYGOTE), SYSCALL(io_uring_setup) },
	{ R_(ZYGOTE), SYSCALL(io_uring_register) },
};

#endif
