/*
 * syscalls.h - the system calls of devices beyond those of their workers' reactors.
 *
 * Layer:   dev
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    base/syscalls.h.
 */
#ifndef DEV_SYSCALLS_H
#define DEV_SYSCALLS_H
#include "base/syscalls.h"

/* A disk whose size is asked for again. */
extern const struct syscall_list blk_syscalls;
/* Serial ports, consoles: a descriptor that may be a terminal. */
extern const struct syscall_list port_syscalls;

#endif
