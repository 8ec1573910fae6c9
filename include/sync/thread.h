/*
 * thread.h - named, pinned, node-bound threads that are registered with RCU while they live.
 *
 * Layer:   sync
 * Threads: thread_create/join from the creator; thread_signal from any thread before the join.
 * Errors:  negative errno. -EAGAIN: a process or cgroup limit. -EINVAL: a CPU this host does not
 *          have. -EPERM: real-time priority without the right to it.
 * Spec:    docs/concurrency.md, "Threads".
 */
#ifndef SYNC_THREAD_H
#define SYNC_THREAD_H
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "base/compiler.h"

struct thread; /* from thread_create() to thread_join() */

struct thread_attr {
	const char *name;      /* at most 15 bytes reach the kernel */
	const cpu_set_t *cpus; /* where it may run; NULL: anywhere. Copied. */
	int rr_priority;       /* SCHED_RR priority, 0: ordinary scheduling */
	/*
	 * What only the new thread itself can do, and may fail: called with fn's argument after the
	 * prologue, before fn; not registered with RCU yet. NULL: nothing.
	 */
	int (*begin)(void *arg);
};

/*
 * Start fn(arg). Affinity and priority are in force before fn runs, and their failure, or that of
 * attr->begin(), is reported here. All signals are blocked in the new thread but the one of
 * thread_signal().
 */
MUST_CHECK int thread_create(struct thread **out, const struct thread_attr *attr,
			     void (*fn)(void *), void *arg);

/*
 * What every thread made from now on does before its fn, with its affinity and priority in force;
 * NULL: nothing. The process's own business: giving up rights.
 */
void thread_set_prologue(void (*prologue)(void));

/* Wait for fn to return, free. NULL is fine. */
void thread_join(struct thread *t);

/* Interrupt a system call @t sits in (EINTR): a signal whose handler does nothing. */
void thread_signal(struct thread *t);

/*
 * Between the two no system call of the calling thread sits long: every millisecond the one under
 * way is ended as by thread_signal(). But nothing ends it where the host has no timer left.
 */
struct thread_hurry {
	timer_t timer;
	bool is_on;
};
void thread_hurry_begin(struct thread_hurry *h);
void thread_hurry_end(struct thread_hurry *h);

/* CPU time that @t has had, by any thread before the join. 0: the host does not tell. */
uint64_t thread_cpu_ns(const struct thread *t);

/* Kernel thread id of @t. */
int thread_tid(const struct thread *t);

#endif
