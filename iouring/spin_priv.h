/*
 * spin_priv.h - when to look out for work a little longer instead of going to sleep.
 *
 * Layer:   iouring, private
 * Threads: the reactor's.
 * Errors:  none.
 * Spec:    docs/io.md, "Spinning".
 *
 * To spin as long as a sleep costs is never worse than twice the best. It costs two wake-ups: while
 * we are woken the driver waits, goes to sleep itself, and is woken in turn, so that its next
 * request comes late as well. An average of the gaps between running dry and the next work tells
 * whether it is likely to pay at all. A gap that was slept through counts without the wake-ups, so
 * that slow wake-ups do not talk us out of spinning. A spin in vain counts for at least two
 * budgets, so that half of the spins must pay. File I/O in flight makes gaps of its own kind, which
 * say nothing of those between a driver's requests: there is an average for each. At depth 1 on a
 * disk both alternate. Who waits for a disk waits long anyway: then only CPU time counts, of which
 * a sleep takes an eighth of the budget. Who shares the CPU with somebody who wants it takes it
 * from the very thread that should bring the work, as a rule: then there is no spinning
 * (crowd_priv.h).
 *
 * An automatic budget is a guess until the cost of a sleep is known: a fact about the host, so it
 * is kept once for the process. Who wants it first has a thread measure it and joins that one.
 */
#ifndef IOURING_SPIN_PRIV_H
#define IOURING_SPIN_PRIV_H
#include <stdbool.h>
#include <stdint.h>
#include "crowd_priv.h"

struct thread;

struct spin {
	uint64_t budget_ns;      /* 0: never, UINT64_MAX: always */
	uint64_t mean_gap_ns[2]; /* moving averages, one eighth for the newest; by has_io */
	uint64_t idle_since_ns;
	bool has_io;           /* while idle now: file I/O is in flight */
	bool has_spun;         /* in vain, before it sleeps now */
	struct crowd crowd;    /* who takes the CPU from somebody does not spin */
	unsigned calibrate_in; /* sleeps until the budget is to be known; 0: it is not asked for */
	struct thread *calibrator; /* measures for the whole process; NULL: not ours to do */
};

/* @budget_ns as reactor_config.spin_ns: never, always, automatic or a time. */
void spin_init(struct spin *s, uint64_t budget_ns);
/* Joins the thread that measures, if it was ours. Zeroed is fine. */
void spin_fini(struct spin *s);
/* Out of work now, but perhaps for I/O in flight: is it worth spinning? Starts the clock. */
bool spin_begin(struct spin *s, bool has_io);
/* Every few rounds of a spin: is the budget spent? */
bool spin_is_over(const struct spin *s);
/* Work came while we spun. */
void spin_hit(struct spin *s);
/* It did not: we go to sleep. */
void spin_miss(struct spin *s);
/* Is it any use to look out while the driver is not told of results? Not for one who waits for our
 * CPU. */
static inline bool spin_may_hold(const struct spin *s)
{
	return s->budget_ns && !s->crowd.is_shared;
}
/* About to sleep, nothing armed yet. */
void spin_sleeps(struct spin *s);
/* Awake again. */
void spin_slept(struct spin *s);

#endif
