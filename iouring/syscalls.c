/* syscalls.c - see iouring/syscalls.h. */
#include "iouring/syscalls.h"
#include <liburing.h>

static const struct syscall_rule reactor_rules[] = {
	SYSCALL(io_uring_enter),
	/* once, when its thread takes the ring over, and when it leaves */
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_RESTRICTIONS),
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_ENABLE_RINGS),
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_IOWQ_AFF),
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_IOWQ_MAX_WORKERS),
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_RING_FDS),
	SYSCALL_IF(io_uring_register, 1, IORING_UNREGISTER_RING_FDS),
	SYSCALL_IF(io_uring_register, 1, IORING_REGISTER_FILES),
	SYSCALL_IF(io_uring_register, 1, IORING_UNREGISTER_FILES),
	SYSCALL(sched_getaffinity),
	/* looking out for work, and what a wake-up costs */
	SYSCALL(sched_yield),
	SYSCALL(sched_setaffinity),
	SYSCALL(eventfd2),
	/* where there is no io_uring */
	SYSCALL(readv),
	SYSCALL(preadv2),
	SYSCALL(pwritev2),
	SYSCALL(fdatasync),
	SYSCALL(fallocate),
};
const struct syscall_list reactor_syscalls = SYSCALL_LIST(reactor_rules);

static const struct syscall_rule create_rules[] = {
	SYSCALL(io_uring_setup),
	SYSCALL(io_uring_register),
	SYSCALL(eventfd2),
};
const struct syscall_list reactor_create_syscalls = SYSCALL_LIST(create_rules);
