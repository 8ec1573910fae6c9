/* syscalls.c - see virtio/syscalls.h. */
#include "virtio/syscalls.h"
#include <fcntl.h>

static const struct syscall_rule queue_rules[] = {
	SYSCALL(eventfd2), SYSCALL(futex),
	SYSCALL(sysinfo), /* qsort() of more than a kilobyte: what a predecessor left in flight */
};
const struct syscall_list virtio_queue_syscalls = SYSCALL_LIST(queue_rules);

static const struct syscall_rule server_rules[] = {
	SYSCALL(recvmsg),
	SYSCALL(sendmsg),
	/* what comes with a message: memory, the log, event descriptors */
	SYSCALL(fstat),
#ifdef SYS_newfstatat
	SYSCALL_MASKED(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH), /* fstat() of newer libcs */
#endif
	SYSCALL_IF(fcntl, 1, F_DUPFD_CLOEXEC),
	SYSCALL_IF(fcntl, 1, F_ADD_SEALS),
	SYSCALL(dup3),
	SYSCALL(memfd_create), /* the log that it gives */
	SYSCALL(ftruncate),
	SYSCALL(eventfd2),
};
const struct syscall_list vhost_server_syscalls = SYSCALL_LIST(server_rules);

static const struct syscall_rule front_rules[] = {
	SYSCALL(recvmsg),
	SYSCALL(sendmsg),
	SYSCALL(recvfrom),
	SYSCALL(sendto),
	SYSCALL(socketpair), /* for what the server has to say */
	SYSCALL(shutdown),
	SYSCALL(fstat),
#ifdef SYS_newfstatat
	SYSCALL_MASKED(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH),
#endif
	SYSCALL_IF(fcntl, 1, F_DUPFD_CLOEXEC),
	SYSCALL_IF(fcntl, 1, F_ADD_SEALS),
	SYSCALL(memfd_create),
	SYSCALL(ftruncate),
	SYSCALL(eventfd2),
};
const struct syscall_list vhost_front_syscalls = SYSCALL_LIST(front_rules);
