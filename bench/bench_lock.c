/*
 * bench_lock.c - nanoseconds for a critical section, beside pthread's.
 *
 * A section adds one to a number that the lock protects, or, shared, reads it; the number stands
 * with the lock. One thread shows what the lock costs by itself; two and four, what it does when
 * they all want it at once. It would disprove the claim that our mutex is no slower than pthread's
 * without contention.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "bench/cases.h"
#include "sync/mutex.h"
#include "sync/seqlock.h"
#include "sync/spinlock.h"

#define VALUE_BYTES 32

struct bench_lock {
	SYNC_UNIT(mutex, mutex, uint64_t in_mutex;);
	SYNC_UNIT(spinlock, spin, uint64_t in_spin;);
	SYNC_UNIT(seqlock, seq, _Atomic uint64_t in_seq[SEQLOCK_WORDS(char[VALUE_BYTES])];);
	pthread_mutex_t pmutex CACHE_ALIGNED;
	uint64_t in_pmutex;
	pthread_rwlock_t prwlock CACHE_ALIGNED;
	uint64_t in_prwlock;
	pthread_spinlock_t pspin CACHE_ALIGNED;
	uint64_t in_pspin;
	_Atomic uint64_t sum CACHE_ALIGNED; /* keeps the compiler honest */
};

static int setup(void **out, int64_t arg)
{
	(void)arg;
	struct bench_lock *b = aligned_alloc(CACHE_ALIGN, sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	mutex_init(&b->mutex);
	spinlock_init(&b->spin);
	seqlock_init(&b->seq);
	int err = pthread_mutex_init(&b->pmutex, NULL);
	if (!err)
		err = pthread_rwlock_init(&b->prwlock, NULL);
	if (!err)
		err = pthread_spin_init(&b->pspin, PTHREAD_PROCESS_PRIVATE);
	*out = b;
	return -err;
}

static void teardown(void *ctx)
{
	struct bench_lock *b = ctx;
	mutex_fini(&b->mutex);
	pthread_mutex_destroy(&b->pmutex);
	pthread_rwlock_destroy(&b->prwlock);
	pthread_spin_destroy(&b->pspin);
	free(b);
}

#define THREADS_1_2_4 .setup = setup, .teardown = teardown, .max_threads = 4

/* A case whose section, between @enter and @leave, is @body; b and sum are at hand. */
#define CASE(ident, title, enter, body, leave)                                                     \
	static void run_##ident(void *ctx, unsigned thread, uint64_t n) NO_THREAD_SAFETY           \
	{                                                                                          \
		struct bench_lock *b = ctx;                                                        \
		uint64_t sum = 0;                                                                  \
		(void)thread;                                                                      \
		for (uint64_t i = 0; i < n; i++) {                                                 \
			enter;                                                                     \
			body;                                                                      \
			leave;                                                                     \
		}                                                                                  \
		atomic_fetch_add_explicit(&b->sum, sum, memory_order_relaxed);                     \
	}                                                                                          \
	const struct bench_case bench_lock_##ident = {                                             \
		.name = "sync/" title,                                                             \
		.run = run_##ident,                                                                \
		THREADS_1_2_4,                                                                     \
	}

CASE(mutex, "mutex", mutex_lock(&b->mutex), b->in_mutex++, mutex_unlock(&b->mutex));
CASE(mutex_pthread, "mutex, pthread's", (void)pthread_mutex_lock(&b->pmutex), b->in_pmutex++,
     (void)pthread_mutex_unlock(&b->pmutex));
CASE(rwlock_pthread, "mutex, pthread's rwlock", (void)pthread_rwlock_wrlock(&b->prwlock),
     b->in_prwlock++, (void)pthread_rwlock_unlock(&b->prwlock));
CASE(shared, "mutex shared", mutex_lock_shared(&b->mutex), sum += b->in_mutex,
     mutex_unlock_shared(&b->mutex));
CASE(shared_pthread, "mutex shared, pthread's rwlock", (void)pthread_rwlock_rdlock(&b->prwlock),
     sum += b->in_prwlock, (void)pthread_rwlock_unlock(&b->prwlock));
CASE(spin, "spinlock", spinlock_lock(&b->spin), b->in_spin++, spinlock_unlock(&b->spin));
CASE(spin_pthread, "spinlock, pthread's", (void)pthread_spin_lock(&b->pspin), b->in_pspin++,
     (void)pthread_spin_unlock(&b->pspin));

/* --- sequence lock: 32 bytes --- */

static void run_seqlock_load(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_lock *b = ctx;
	uint64_t value[VALUE_BYTES / 8], sum = 0;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		seqlock_load(&b->seq, b->in_seq, value, sizeof(value));
		sum += value[0];
	}
	atomic_fetch_add_explicit(&b->sum, sum, memory_order_relaxed);
}

/* The first thread stores all the time: as bad as it gets for the others. */
static void run_seqlock_store(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_lock *b = ctx;
	uint64_t value[VALUE_BYTES / 8] = { 0 };
	if (thread) {
		run_seqlock_load(ctx, thread, n);
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		value[0]++;
		seqlock_store(&b->seq, b->in_seq, value, sizeof(value));
	}
}

const struct bench_case bench_lock_seqlock_load = {
	.name = "sync/seqlock load",
	.run = run_seqlock_load,
	THREADS_1_2_4,
};

const struct bench_case bench_lock_seqlock_store = {
	.name = "sync/seqlock store, others load",
	.run = run_seqlock_store,
	.setup = setup,
	.teardown = teardown,
	.max_threads = 2,
};
