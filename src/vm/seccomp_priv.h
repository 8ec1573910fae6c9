/*
 * seccomp_priv.h - the roles as tables, for the compiler of filters and its tests.
 *
 * Layer:   vm
 * Threads: constant tables.
 * Errors:  none.
 * Spec:    sandbox.h.
 */
#ifndef VM_SECCOMP_PRIV_H
#define VM_SECCOMP_PRIV_H
#include "base/syscalls.h"
#include "sandbox.h"

#define SECCOMP_MAX_LISTS 14

struct seccomp_role {
	const char *name;
	const struct syscall_list *lists[SECCOMP_MAX_LISTS]; /* ended by NULL */
};

extern const struct seccomp_role seccomp_roles[SANDBOX_NR_ROLES];
extern const struct syscall_list seccomp_socket_syscalls, seccomp_control_syscalls;
/* Names of system calls by number; NULL where there is none. Made by CMake. */
extern const char *const seccomp_names[];
extern const unsigned seccomp_nr_names;

#endif
