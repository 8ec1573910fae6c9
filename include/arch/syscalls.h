/*
 * syscalls.h - the system calls of the arch layer: which of KVM's ioctls, and by whom.
 *
 * Layer:   arch
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    base/syscalls.h.
 */
#ifndef ARCH_SYSCALLS_H
#define ARCH_SYSCALLS_H
#include "base/syscalls.h"

/* A vCPU that runs, and what its guest's accesses make of interrupts and doorbells. */
extern const struct syscall_list hv_vcpu_syscalls;
/* Everybody else, once the machine is built: interrupts. */
extern const struct syscall_list hv_irq_syscalls;

#endif
