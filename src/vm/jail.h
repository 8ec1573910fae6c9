/*
 * jail.h - what a process gives up before it does anything for a guest.
 *
 * Layer:   vm
 * Threads: jail_enter() in a process with one thread; the rest concerns the calling thread.
 * Errors:  none: what this host refuses is told, so that the caller can decide.
 * Spec:    docs/isolation.md, "The jail".
 */
#ifndef VM_JAIL_H
#define VM_JAIL_H
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

/* What may be missing. */
enum jail_part {
	JAIL_USER_NS = 1 << 0,
	JAIL_OTHER_NS = 1 << 1, /* pid, mount, ipc, uts, cgroup */
	JAIL_NET_NS = 1 << 2,
	JAIL_ROOT = 1 << 3,   /* an empty file system */
	JAIL_RIGHTS = 1 << 4, /* no capabilities, none to come back by exec() */
	JAIL_LIMITS = 1 << 5,
	JAIL_FILES = 1 << 6,    /* Landlock; not missed where the root is empty */
	JAIL_SYSCALLS = 1 << 7, /* seccomp */
};

struct jail_config {
	unsigned ns;          /* enum zygote_ns the process is in */
	unsigned max_files;   /* descriptors it may have at once */
	unsigned max_threads; /* counted where it has a user namespace of its own */
	bool keeps_root;      /* it will exec() a program: the file system is arranged already */
};

/* All of it but the list of system calls, for good. Returns the enum jail_part that is missing. */
uint32_t jail_enter(const struct jail_config *cfg);

/*
 * A root with nothing in it, and nothing to be put in, for who has a mount namespace of its own.
 * False: refused, and the root may be anything.
 */
MUST_CHECK bool jail_empty_root(void);

/*
 * This thread, and those it makes from now on: never more capabilities than now, by exec() either.
 * False: not all of it could be done.
 */
bool jail_forgo_rights(void);
/* The capabilities that there are. False: some could not be given up. This thread. */
bool jail_give_up_rights(void);
/* Both of these. This thread. */
bool jail_drop_rights(void);

/* Landlock: no file can be opened any more, no TCP port used. False: the kernel has none of it. */
bool jail_forbid_files(void);

/* "user namespaces, an empty root": for people. */
const char *jail_words(uint32_t lacks, char *buf, size_t size);

#endif
