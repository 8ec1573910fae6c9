/*
 * syscalls.h - how a layer says which system calls it makes: tables that stand beside its code.
 *
 * Layer:   base
 * Threads: constant tables; safe anywhere.
 * Errors:  none.
 * Spec:    docs/isolation.md, "System calls".
 *
 * src/vm/seccomp.c puts the lists of all layers that a thread lives in together to the list of that
 * thread; what is on none of them ends the process.
 */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H
#include <stdint.h>
#include <sys/syscall.h>
#include "base/compiler.h"

enum syscall_when {
	SYSCALL_ALWAYS,
	SYSCALL_ARG,   /* (args[arg] & mask) == value; the kernel's 64 bits */
	SYSCALL_ARG32, /* the same for an int, whose upper half means nothing */
	SYSCALL_SELF,  /* args[arg] is this process's id */
};

/* Several rules for one call: any of them is enough. */
struct syscall_rule {
	int nr; /* SYS_* */
	enum syscall_when when;
	unsigned arg;
	uint64_t mask, value;
};

struct syscall_list {
	const struct syscall_rule *rules;
	unsigned nr;
};

#define SYSCALL(name)                                                                              \
	{                                                                                          \
		SYS_##name, SYSCALL_ALWAYS, 0, 0, 0                                                \
	}
#define SYSCALL_IF(name, a, v)                                                                     \
	{                                                                                          \
		SYS_##name, SYSCALL_ARG32, a, UINT32_MAX, (uint32_t)(v)                            \
	}
/* None of @bits is set in argument @a. */
#define SYSCALL_WITHOUT(name, a, bits)                                                             \
	{                                                                                          \
		SYS_##name, SYSCALL_ARG, a, bits, 0                                                \
	}
/* Of @mask exactly @bits are set. */
#define SYSCALL_MASKED(name, a, mask, bits)                                                        \
	{                                                                                          \
		SYS_##name, SYSCALL_ARG, a, mask, bits                                             \
	}
#define SYSCALL_ON_SELF(name, a)                                                                   \
	{                                                                                          \
		SYS_##name, SYSCALL_SELF, a, 0, 0                                                  \
	}

/* Made of an array that stands before it. */
#define SYSCALL_LIST(array)                                                                        \
	{                                                                                          \
		array, ARRAY_SIZE(array)                                                           \
	}

/* Memory, messages, time and the end of a thread or process: what any code of ours may do. */
extern const struct syscall_list base_syscalls;

#endif
