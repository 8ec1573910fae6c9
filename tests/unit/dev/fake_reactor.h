/*
 * fake_reactor.h - a reactor that goes on only when the test says so, and fails where it says so.
 *
 * Layer:   tests
 * Threads: the test's thread does everything; the worker threads find nothing to do.
 * Errors:  cmocka assertions.
 * Spec:    iouring/reactor.h: this is linked instead of it.
 */
#ifndef TESTS_UNIT_DEV_FAKE_REACTOR_H
#define TESTS_UNIT_DEV_FAKE_REACTOR_H
#include <stdbool.h>
#include <stdint.h>
#include "iouring/reactor.h"

enum fake_kind { FAKE_READ, FAKE_WRITE, FAKE_SYNC, FAKE_ALLOC, FAKE_POLL, FAKE_TIMEOUT };

/* An operation as it was asked for. */
struct fake_op {
	struct list link;
	struct reactor *reactor;
	struct reactor_op *op;
	enum fake_kind kind;
	int fd, flags; /* flags: RWF_*, fallocate mode, poll events */
	const struct iovec *iov;
	unsigned nr;
	int64_t off;
	uint64_t len;
	bool is_cancelled;
};

/* Run messages, one pass, and every operation that @kinds (bit mask) lets end. All reactors. */
void fake_pass(void);
void fake_passes(unsigned n);
/* One, for drive.step. */
void fake_step(void *ctx);
extern unsigned fake_held; /* bit mask of enum fake_kind: these do not end for now */

/*
 * Asked before an operation is carried out: true: it ends with *res and is not carried out. May
 * shorten it through *max bytes.
 */
extern bool (*fake_hook)(const struct fake_op *o, int32_t *res, uint64_t *max);
/*
 * Answers of the host to operations of @kind, in order; after them it works. Positive: so many
 * bytes are moved, no more.
 */
void fake_plan(enum fake_kind kind, const int32_t *res, unsigned nr);
#define FAKE_PLAN(kind, ...)                                                                       \
	fake_plan(kind, (const int32_t[]){ __VA_ARGS__ },                                          \
		  sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

/* How many operations of @kind are waiting, and how many were asked for so far. */
unsigned fake_waiting(enum fake_kind kind);
unsigned fake_asked(enum fake_kind kind);
/* The last one asked for. */
extern struct fake_op fake_last;
/* So many reactors are made, the next one is not: -ENOSYS. 0: all are. */
extern unsigned fake_max_created;
/* Something new comes all the time: nobody who holds back is told to settle. */
extern bool fake_is_busy;
/* What reactor_is_writing() says. */
extern bool fake_is_writing;
void fake_forget(void);

#endif
