/* syscalls.c - see sync/syscalls.h. */
#include "sync/syscalls.h"
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

static const struct syscall_rule sync_rules[] = {
	SYSCALL(futex),       SYSCALL(membarrier), /* liburcu */
	SYSCALL(sched_yield), SYSCALL(preadv2),    /* what an eventfd counts, without waiting */
#ifdef SYS_poll
	SYSCALL(poll),
#endif
	SYSCALL(ppoll),
};
const struct syscall_list sync_syscalls = SYSCALL_LIST(sync_rules);

static const struct syscall_rule shared_rules[] = {
	SYSCALL_IF(timer_create, 0, CLOCK_MONOTONIC),
	SYSCALL(timer_settime),
	SYSCALL(timer_delete),
};
const struct syscall_list sync_shared_syscalls = SYSCALL_LIST(shared_rules);

/* clone3() hides its flags from a filter: src/vm/seccomp.c says ENOSYS, and libc uses clone(). */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define THREAD_NEVER                                                                               \
	(CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
	 CLONE_NEWCGROUP | CLONE_PTRACE | CLONE_VFORK)

static const struct syscall_rule thread_rules[] = {
	SYSCALL_MASKED(clone, 0, THREAD_FLAGS | THREAD_NEVER, THREAD_FLAGS),
	SYSCALL(set_robust_list),
	SYSCALL(rseq),
	SYSCALL(sched_getaffinity),
	SYSCALL(sched_setaffinity),
	SYSCALL_IF(prctl, 0, PR_SET_NAME),
};
const struct syscall_list sync_thread_syscalls = SYSCALL_LIST(thread_rules);

static const struct syscall_rule priority_rules[] = {
	SYSCALL(sched_setscheduler),
};
const struct syscall_list sync_priority_syscalls = SYSCALL_LIST(priority_rules);
