/*
 * seqlock.h - a small value that is read often and written seldom, read without writing a line.
 *
 * Layer:   sync
 * Threads: any number of readers; writers exclude each other by themselves.
 * Errors:  none.
 * Spec:    docs/concurrency.md, "Sequence lock".
 *
 * Together?  load  store             X: never at once    -: freely
 *     load     -     -
 *     store    -     X
 * Order:     a load returns the bytes of one store, whole, and what preceded that store is visible.
 * Progress:  store wait-free; load retries as long as stores keep coming.
 * Lifetime:  all have left.
 */
#ifndef SYNC_SEQLOCK_H
#define SYNC_SEQLOCK_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "sync/unit.h"

struct seqlock_state {
	_Atomic uint32_t seq; /* odd: a store is under way */
};

struct seqlock {
	struct seqlock_state s;
} CACHE_ALIGNED;
SYNC_UNIT_ASSERT(seqlock);

/* The value is SEQLOCK_WORDS(type) atomic words, so that a torn read is defined behaviour. */
#define SEQLOCK_WORDS(type) ((sizeof(type) + sizeof(uint64_t) - 1) / sizeof(uint64_t))

void seqlock_init(struct seqlock *l);
/* Copy @len bytes at @src into @words as one. */
void seqlock_store(struct seqlock *l, _Atomic uint64_t *words, const void *src, size_t len);
/* Copy @len bytes of @words, all of one store, to @dst. */
void seqlock_load(const struct seqlock *l, const _Atomic uint64_t *words, void *dst, size_t len);

#endif
