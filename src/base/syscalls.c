/* syscalls.c - see base/syscalls.h: what any code of ours and the C library below it may do. */
#include "base/syscalls.h"
#include <sys/mman.h>

static const struct syscall_rule base_rules[] = {
	/* memory: malloc() and mmap() of buffers; never anything that can be run */
	SYSCALL(brk),
	SYSCALL_WITHOUT(mmap, 2, PROT_EXEC),
	SYSCALL_WITHOUT(mprotect, 2, PROT_EXEC),
	SYSCALL(mremap),
	SYSCALL(munmap),
	SYSCALL(madvise),
	SYSCALL(getrandom), /* malloc() wants a secret of its own once */
	/* messages, event descriptors */
	SYSCALL(read),
	SYSCALL(write),
	SYSCALL(writev), /* assert() and others of the C library */
	SYSCALL(close),
	SYSCALL(ppoll), /* whether a message would wait */
	/* where the vDSO does not know the clock */
	SYSCALL(clock_gettime),
	SYSCALL(clock_nanosleep),
	SYSCALL(nanosleep),
	SYSCALL(restart_syscall),
	/* signals of our own, abort() */
	SYSCALL(rt_sigreturn),
	SYSCALL(rt_sigprocmask),
	SYSCALL(rt_sigaction),
	SYSCALL(getpid),
	SYSCALL(gettid),
	SYSCALL_ON_SELF(tgkill, 0),
	/* the end */
	SYSCALL(exit),
	SYSCALL(exit_group),
};

const struct syscall_list base_syscalls = SYSCALL_LIST(base_rules);
