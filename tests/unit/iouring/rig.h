/*
 * rig.h - a reactor on a thread of its own, made in each way a kernel may force on us.
 *
 * Layer:   tests
 * Threads: the test's; functions given to rig_call() run on the reactor's.
 * Errors:  asserted.
 * Spec:    none.
 */
#ifndef TESTS_IOURING_RIG_H
#define TESTS_IOURING_RIG_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "iouring/reactor_priv.h"
#include "sync/thread.h"

struct rig_kind {
	const char *name; /* what reactor_engine_name() says */
	enum reactor_engine engine;
	unsigned refused; /* set-up flags this "kernel" does not know */
};

static const struct rig_kind rig_kinds[] = {
	{ "io_uring", REACTOR_AUTO, 0 },
	{ "io_uring (before 6.1)", REACTOR_AUTO, IORING_SETUP_DEFER_TASKRUN },
	{ "io_uring (before 5.19)", REACTOR_AUTO,
	  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL },
	{ "pool", REACTOR_POOL, 0 },
};
static const struct rig_kind *rig_kind = &rig_kinds[0];

struct rig {
	struct reactor *r;
	struct thread *t;
};

static int rig_setup_sys(unsigned entries, struct io_uring *io, struct io_uring_params *p)
{
	return p->flags & rig_kind->refused ? -EINVAL : uring_sys_real.setup(entries, io, p);
}

static int rig_begin(void *arg)
{
	return reactor_begin(arg);
}

static void rig_main(void *arg)
{
	reactor_run(arg);
}

static UNUSED void rig_make_with(struct rig *g, const struct reactor_config *cfg,
				 struct uring_sys *sys)
{
	sys->setup = rig_setup_sys;
	struct reactor_config c = *cfg;
	c.engine = rig_kind->engine;
	assert_int_equal(reactor_create_with(&g->r, &c, sys), 0);
	if (strcmp(reactor_engine_name(g->r), rig_kind->name)) {
		printf("this kernel has no %s, only %s\n", rig_kind->name,
		       reactor_engine_name(g->r));
		reactor_destroy(g->r);
		skip();
	}
}

static UNUSED void rig_make(struct rig *g, unsigned entries)
{
	static struct uring_sys sys;
	struct reactor_config cfg = { .entries = entries };
	sys = uring_sys_real;
	rig_make_with(g, &cfg, &sys);
}

static UNUSED void rig_start(struct rig *g)
{
	struct thread_attr attr = { .name = "reactor", .begin = rig_begin };
	assert_int_equal(thread_create(&g->t, &attr, rig_main, g->r), 0);
}

static UNUSED void rig_end(struct rig *g)
{
	reactor_stop(g->r);
	thread_join(g->t);
	reactor_destroy(g->r);
}

struct rig_call {
	struct reactor_msg msg;
	void (*fn)(struct reactor *r, void *arg);
	struct reactor *r;
	void *arg;
	sem_t done;
};

static void rig_on_call(struct reactor_msg *m)
{
	struct rig_call *c = container_of(m, struct rig_call, msg);
	c->fn(c->r, c->arg);
	sem_post(&c->done);
}

static UNUSED void rig_sem_wait(sem_t *s)
{
	while (sem_wait(s))
		assert_int_equal(errno, EINTR);
}

/* Run fn(reactor, arg) on the reactor's thread and wait for it. */
static UNUSED void rig_call(struct rig *g, void (*fn)(struct reactor *, void *), void *arg)
{
	struct rig_call c = { .msg.fn = rig_on_call, .fn = fn, .r = g->r, .arg = arg };
	sem_init(&c.done, 0, 0);
	reactor_post(g->r, &c.msg);
	rig_sem_wait(&c.done);
	sem_destroy(&c.done);
}

/* An operation that notes its result and counts how often it was done. */
struct rig_op {
	struct reactor_op op;
	int32_t res;
	_Atomic unsigned times;
	sem_t done;
};

static UNUSED void rig_on_done(struct reactor_op *op, int32_t res)
{
	struct rig_op *o = container_of(op, struct rig_op, op);
	o->res = res;
	atomic_fetch_add(&o->times, 1);
	sem_post(&o->done);
}

static UNUSED void rig_op_init(struct rig_op *o)
{
	memset(o, 0, sizeof(*o));
	o->op.done = rig_on_done;
	o->res = INT32_MIN;
	sem_init(&o->done, 0, 0);
}

static UNUSED int32_t rig_result(struct rig_op *o)
{
	rig_sem_wait(&o->done);
	return o->res;
}

/* What was queued last. */
static UNUSED const struct io_uring_sqe *last_entry(const struct reactor *r)
{
	const struct io_uring_sq *sq = &r->ring.io.sq;
	return &sq->sqes[(sq->sqe_tail - 1) & sq->ring_mask];
}

/* Run @tests (an array) once per kind; the number of failures. */
#define rig_run_all(tests)                                                                         \
	({                                                                                         \
		int failed_ = 0;                                                                   \
		for (size_t k_ = 0; k_ < ARRAY_SIZE(rig_kinds); k_++) {                            \
			rig_kind = &rig_kinds[k_];                                                 \
			failed_ += cmocka_run_group_tests_name(rig_kind->name, tests, NULL, NULL); \
		}                                                                                  \
		failed_;                                                                           \
	})

#endif
