/*
 * futex_priv.h - sleep until a word changes.
 *
 * Layer:   sync, private
 * Threads: any.
 * Errors:  negative errno. -ETIMEDOUT: the deadline passed. Everything else is a wake-up.
 * Spec:    futex(2). Wake-ups may be spurious: callers look again.
 */
#ifndef SYNC_FUTEX_PRIV_H
#define SYNC_FUTEX_PRIV_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

#define FUTEX_FOREVER UINT64_MAX

/* Sleep while *word is @seen, until CLOCK_MONOTONIC reaches @deadline_ns. */
int futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/* Wake at most @nr. The word may be gone already: at worst somebody else wakes for nothing. */
void futex_wake(_Atomic uint32_t *word, int nr);

/* Did CLOCK_MONOTONIC reach @deadline_ns? */
bool futex_is_late(uint64_t deadline_ns);

/* The @round-th turn of a loop that waits for a few instructions of another thread. */
void futex_relax(unsigned round);

#endif
