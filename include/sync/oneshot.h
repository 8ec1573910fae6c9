/*
 * oneshot.h - an event that happens once: a stage is reached, an answer has come.
 *
 * Layer:   sync
 * Threads: any.
 * Errors:  oneshot_wait_until: -ETIMEDOUT.
 * Spec:    docs/concurrency.md, "One-shot".
 *
 * Together?  everything with everything: freely. Setting twice is fine.
 * Order:     what preceded oneshot_set() is visible once it was seen set.
 * Progress:  set: wait-free but for the system call that wakes; is_set: wait-free.
 * Lifetime:  a waiter that returned may free it only if the setter is known to have returned too.
 */
#ifndef SYNC_ONESHOT_H
#define SYNC_ONESHOT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

struct oneshot {
	_Atomic uint32_t state; /* ONESHOT_* in oneshot.c */
} CACHE_ALIGNED;
static_assert(sizeof(struct oneshot) == CACHE_ALIGN, "a one-shot stands on its own unit");

void oneshot_init(struct oneshot *o);
void oneshot_set(struct oneshot *o);
bool oneshot_is_set(const struct oneshot *o);
void oneshot_wait(struct oneshot *o);
/* 0, or -ETIMEDOUT when CLOCK_MONOTONIC reaches @deadline_ns first. */
MUST_CHECK int oneshot_wait_until(struct oneshot *o, uint64_t deadline_ns);

#endif
