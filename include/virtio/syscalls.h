/*
 * syscalls.h - the system calls of the virtio layer.
 *
 * Layer:   virtio
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    base/syscalls.h.
 */
#ifndef VIRTIO_SYSCALLS_H
#define VIRTIO_SYSCALLS_H
#include "base/syscalls.h"

/* Queues: their tables, their eventfds. */
extern const struct syscall_list virtio_queue_syscalls;
/* A vhost-user server that serves. */
extern const struct syscall_list vhost_server_syscalls;
/* A vhost-user frontend; what connect() does is its owner's. */
extern const struct syscall_list vhost_front_syscalls;

#endif
