/*
 * bench_shared.c - nanoseconds for counting, referring and reading what many share.
 *
 * "line" cases: two threads each add to a word of their own; the words are neighbours, or lie 64 or
 * 128 bytes apart. They would disprove the claim that a unit of 128 bytes is worth its room. RCU
 * cases: the facade against liburcu's own inline functions and against its library calls; they
 * would disprove that the facade costs nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "bench/cases.h"
#include "sync/counter.h"
#include "sync/rcu.h"
#include "sync/refcount.h"

#define MAX_THREADS 4

/* What a program without _LGPL_SOURCE gets. */
extern void library_read_lock(void) __asm__("urcu_memb_read_lock");
extern void library_read_unlock(void) __asm__("urcu_memb_read_unlock");

struct bench_shared {
	struct refcount refs;
	_Atomic uint64_t one CACHE_ALIGNED;
	_Atomic uint64_t words[MAX_THREADS * CACHE_ALIGN / 8] CACHE_ALIGNED;
	struct counter *counter CACHE_ALIGNED;
	uint64_t *published; /* RCU */
	unsigned stride;     /* of words, for each thread */
	uint64_t value;
	_Atomic uint64_t sum CACHE_ALIGNED; /* keeps the compiler honest */
};

static int setup(void **out, int64_t bytes)
{
	struct bench_shared *b = aligned_alloc(CACHE_ALIGN, sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	refcount_init(&b->refs);
	b->published = &b->value;
	b->stride = (unsigned)bytes / 8;
	*out = b;
	return counter_create(&b->counter);
}

static void teardown(void *ctx)
{
	struct bench_shared *b = ctx;
	counter_destroy(b->counter);
	free(b);
}

#define BODY(ident, what)                                                                          \
	static void run_##ident(void *ctx, unsigned thread, uint64_t n)                            \
	{                                                                                          \
		struct bench_shared *b = ctx;                                                      \
		uint64_t sum = 0;                                                                  \
		_Atomic uint64_t *word = &b->words[thread * b->stride];                            \
		rcu_enter_thread();                                                                \
		for (uint64_t i = 0; i < n; i++) {                                                 \
			what;                                                                      \
		}                                                                                  \
		rcu_leave_thread();                                                                \
		atomic_fetch_add_explicit(&b->sum, sum, memory_order_relaxed);                     \
		(void)word;                                                                        \
	}

#define CASE(ident, title, what)                                                                   \
	BODY(ident, what)                                                                          \
	const struct bench_case bench_shared_##ident = {                                           \
		.name = "sync/" title,                                                             \
		.setup = setup,                                                                    \
		.run = run_##ident,                                                                \
		.teardown = teardown,                                                              \
		.max_threads = MAX_THREADS,                                                        \
	}

CASE(refcount, "refcount get+put", {
	refcount_get(&b->refs);
	sum += refcount_put(&b->refs);
});
CASE(refcount_bare, "refcount get+put, bare atomic", {
	atomic_fetch_add_explicit(&b->one, 1, memory_order_relaxed);
	sum += atomic_fetch_sub_explicit(&b->one, 1, memory_order_acq_rel);
});
CASE(counter, "counter add", counter_add(b->counter, 1));
CASE(counter_bare, "counter add, one atomic",
     atomic_fetch_add_explicit(&b->one, 1, memory_order_relaxed));
CASE(rcu, "rcu read", {
	rcu_lock();
	sum += *rcu_deref(b->published);
	rcu_unlock();
});
CASE(rcu_bare, "rcu read, liburcu inline", {
	_urcu_memb_read_lock();
	sum += *rcu_dereference(b->published);
	_urcu_memb_read_unlock();
});
CASE(rcu_calls, "rcu read, liburcu's calls", {
	library_read_lock();
	sum += *rcu_dereference(b->published);
	library_read_unlock();
});

BODY(line, atomic_fetch_add_explicit(word, 1, memory_order_relaxed))

const struct bench_case bench_shared_line = {
	.name = "sync/line: own words so far apart",
	.setup = setup,
	.run = run_line,
	.teardown = teardown,
	.args = { 8, 64, 128 },
	.max_threads = 2,
};
