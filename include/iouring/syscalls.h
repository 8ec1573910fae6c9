/*
 * syscalls.h - the system calls of the iouring layer.
 *
 * Layer:   iouring
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    base/syscalls.h. What a ring may be asked for is another list: reactor_restrict.
 */
#ifndef IOURING_SYSCALLS_H
#define IOURING_SYSCALLS_H
#include "base/syscalls.h"

/* A reactor that runs, on io_uring or on the pool; with sync_thread_syscalls for a spinning one. */
extern const struct syscall_list reactor_syscalls;
/* Making and destroying one. */
extern const struct syscall_list reactor_create_syscalls;

#endif
