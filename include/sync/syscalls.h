/*
 * syscalls.h - the system calls of the sync layer.
 *
 * Layer:   sync
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    base/syscalls.h.
 */
#ifndef SYNC_SYSCALLS_H
#define SYNC_SYSCALLS_H
#include "base/syscalls.h"

/* Locks, RCU, notifiers. */
extern const struct syscall_list sync_syscalls;
/* Signals to who shares an eventfd with us. */
extern const struct syscall_list sync_shared_syscalls;
/* Making a thread, and being a new one. */
extern const struct syscall_list sync_thread_syscalls;
/* Placing it: real-time priority. */
extern const struct syscall_list sync_priority_syscalls;

#endif
