/* syscalls.c - see dev/syscalls.h. */
#include "dev/syscalls.h"
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>

static const struct syscall_rule blk_rules[] = {
	SYSCALL(fstat),
#ifdef SYS_newfstatat
	SYSCALL_MASKED(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH),
#endif
	SYSCALL_IF(ioctl, 1, BLKGETSIZE64),
};
const struct syscall_list blk_syscalls = SYSCALL_LIST(blk_rules);

static const struct syscall_rule port_rules[] = {
	SYSCALL_IF(fcntl, 1, F_GETFL),
	SYSCALL_IF(ioctl, 1, TCGETS),
	/* how far the file of a console is, for its successor */
	SYSCALL(lseek),
};
const struct syscall_list port_syscalls = SYSCALL_LIST(port_rules);
