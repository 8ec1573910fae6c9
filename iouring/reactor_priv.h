/*
 * reactor_priv.h - inside a reactor: its fields, the life of an operation, its two engines.
 *
 * Layer:   iouring, private
 * Threads: the reactor's own, but for the last two groups of fields.
 * Errors:  none here: what fails is reported to the operation.
 * Spec:    docs/io.md, "Worker loop".
 *
 * An operation is on exactly one road:
 *   backlog -> handed over (file I/O: on no list; waits: on the list of waits) -> done()
 *   ready: it has its result already and waits for the next pass to be told.
 */
#ifndef IOURING_REACTOR_PRIV_H
#define IOURING_REACTOR_PRIV_H
#include "iouring/reactor.h"
#include "inline_priv.h"
#include "ring_priv.h"
#include "spin_priv.h"

enum op_state {
	OP_WAIT = 1,          /* waits for somebody else: can be cancelled, is on a list */
	OP_QUEUED = 2,        /* in the backlog */
	OP_READY = 4,         /* has its result */
	OP_CANCEL_WANTED = 8, /* to be cancelled with the next enter */
	OP_CANCELLED = 16,    /* the engine was asked to */
	OP_POLLING = 32,      /* answered -EAGAIN: a poll stands in for it */
	OP_ASYNC = 64,        /* answered -EAGAIN: tried again on a thread that may block */
};

struct pool;

#define NO_FD (-2) /* that no operation has: -1 is a timeout's */

struct reactor {
	/* immutable after reactor_begin() */
	struct reactor_config cfg;
	struct pool *pool; /* NULL: the ring */
	const struct uring_sys *sys;
	int mail_fd;
	int kept_fd;        /* file 0 of the ring; NO_FD: it keeps none */
	bool has_no_memory; /* for a ring: hence the pool */
	/* reactor's thread */
	struct uring ring;
	unsigned in_flight;   /* accepted, not done */
	unsigned nr_waits;    /* those of them that wait for somebody else */
	unsigned cancels_out; /* cancel requests whose own completion is to come */
	unsigned cancels_wanted;
	bool is_stopping;
	struct list sources, *next_source; /* next_source: where the walk goes on */
	struct list waits, backlog, ready;
	struct reactor_op mail_op;
	struct iovec mail_iov;
	uint64_t mail_count;
	struct spin spin;
	struct inline_writes inline_writes;
	struct reactor_stats stats;
	/* any thread */
	struct mpsc mail;
	_Atomic bool is_asleep CACHE_ALIGNED;
	_Atomic bool stop_wanted;
} CACHE_ALIGNED;

/* As reactor_create(), with the system calls of @sys. */
MUST_CHECK int reactor_create_with(struct reactor **out, const struct reactor_config *cfg,
				   const struct uring_sys *sys);

static inline void reactor_count(_Atomic uint64_t *counter)
{
	uint64_t v = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, v + 1, memory_order_relaxed);
}

/* --- operations, ops.c --- */

/* Hand the backlog to the engine as far as it goes. */
void op_start_backlog(struct reactor *r);
/* @op has its result: told in this pass or the next. Not while it is in the engine's hands. */
void op_resolve(struct reactor *r, struct reactor_op *op, int32_t res);
/* Tell it now. */
void op_done(struct reactor *r, struct reactor_op *op, int32_t res);
/* The engine says @res: retry, or op_done(). */
void op_answered(struct reactor *r, struct reactor_op *op, int32_t res);
/* Tell those that are ready. True: there were some. */
bool op_tell_ready(struct reactor *r);
/* Cancel everything that waits. */
void op_cancel_waits(struct reactor *r);

/* --- engine: the ring, ring_engine.c --- */

/* Take @op over; false: no room now. */
bool ring_start(struct reactor *r, struct reactor_op *op);
/* Submit, with @wait sleep until there is something to reap. */
void ring_enter(struct reactor *r, bool wait);
/* Answer what is complete. True: something was. */
bool ring_reap(struct reactor *r);
/* Would an enter or a reap find something? Cheap, for spinning. */
bool ring_has_news(struct reactor *r);

/* --- engine: the pool, pool.c; the same four --- */

MUST_CHECK int pool_create(struct pool **out, unsigned nr_threads);
void pool_destroy(struct pool *p);
bool pool_start(struct reactor *r, struct reactor_op *op);
void pool_enter(struct reactor *r, bool wait);
bool pool_reap(struct reactor *r);
bool pool_has_news(struct reactor *r);

#endif
