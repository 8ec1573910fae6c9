/*
 * sandbox.h - which system calls each kind of thread may make, and what happens to others.
 *
 * Layer:   vm
 * Threads: prepare in a process's only thread, or before others enter; enter in the thread itself.
 * Errors:  negative errno. -ENOSYS, -EINVAL: a kernel without seccomp filters.
 * Spec:    docs/isolation.md, "System calls"; seccomp(2).
 *
 * A call that is not on the list ends the process with SIGSYS, and one line says which it was.
 */
#ifndef VM_SANDBOX_H
#define VM_SANDBOX_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/compiler.h"

enum sandbox_role {
	/* the main process */
	SANDBOX_MAIN, /* all its threads: control, frontends, terminal */
	SANDBOX_VCPU, /* on top of MAIN */
	SANDBOX_IO,   /* on top of MAIN: vmm-io */
	/* */
	SANDBOX_ZYGOTE,
	/* device processes, on top of ZYGOTE */
	SANDBOX_SERVER,   /* the thread that speaks vhost-user */
	SANDBOX_LISTENER, /* the same in `vmm device`, which accepts connections; no zygote */
	SANDBOX_BLOCK,    /* a worker */
	SANDBOX_RNG,      /* a worker */
	SANDBOX_CONSOLE,  /* a worker */
	SANDBOX_NR_ROLES,
};

struct sandbox_options {
	pid_t self; /* the process's id as itself sees it; 0: not known, so no signals to itself */
	bool only_log;    /* the kernel logs what is not allowed, and lets it pass */
	bool has_sockets; /* MAIN: it may connect to Unix sockets: the system log, servers */
	bool has_control; /* MAIN: it has a control socket */
};

const char *sandbox_role_name(enum sandbox_role role);

/* Get the list of @role ready, to be entered here or in children. Again: nothing. */
MUST_CHECK int sandbox_prepare(enum sandbox_role role, const struct sandbox_options *o);
/* Live by the list of @role, which was prepared, from now on. @all: every thread of the process. */
MUST_CHECK int sandbox_enter(enum sandbox_role role, bool all);
/*
 * Report violations in this process, before the first sandbox_enter(); as those of @role where a
 * thread has none of its own.
 */
void sandbox_catch(enum sandbox_role role);
/* Can this kernel filter system calls at all? */
bool sandbox_is_possible(void);
/* Forget what was prepared: another process, other options. */
void sandbox_forget(void);

/* For tests: is @nr on the list of @role, whatever its arguments? */
bool sandbox_allows(enum sandbox_role role, int nr);

#endif
