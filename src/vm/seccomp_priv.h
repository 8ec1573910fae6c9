/*
 * seccomp_priv.h - the roles as tables, the compiler that makes filters of them, and the filters.
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

struct sock_filter;
struct sock_fprog;

struct seccomp_role {
	const char *name;
	const struct syscall_list *lists[SECCOMP_MAX_LISTS]; /* ended by NULL */
};

extern const struct seccomp_role seccomp_roles[SANDBOX_NR_ROLES];
extern const struct syscall_list seccomp_socket_syscalls, seccomp_control_syscalls;

/* A filter that was made when vmm was built (seccomp_gen.c), for a process called SECCOMP_SELF. */
struct seccomp_made {
	enum sandbox_role role;
	bool has_sockets, has_control; /* as in struct sandbox_options */
	unsigned short len;
	const struct sock_filter *code;
};
#define SECCOMP_SELF 0x53454c46u /* no process has such an id */
extern const struct seccomp_made seccomp_made[];
extern const unsigned seccomp_nr_made;

/*
 * Compile the list of @role, and what tests allow besides (@more; NULL: nothing). out->filter is
 * the caller's. In the build and in tests only.
 */
MUST_CHECK int seccomp_compile(struct sock_fprog *out, enum sandbox_role role,
			       const struct sandbox_options *o, const struct syscall_list *more);
/* What was prepared. */
const struct sock_fprog *seccomp_program(enum sandbox_role role);
/* Names of system calls by number; NULL where there is none. Made by CMake. */
extern const char *const seccomp_names[];
extern const unsigned seccomp_nr_names;

#endif
