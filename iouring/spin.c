/* spin.c - see spin_priv.h. */
#include "spin_priv.h"
#include <errno.h>
#include <stdatomic.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/num.h"
#include "iouring/reactor.h"
#include "sync/thread.h"

#define SPIN_MIN_NS    (64 * 1000ull) /* measured on a single CPU it is context switches only */
#define SPIN_MAX_NS    (200 * 1000ull)
#define SPIN_GUESS_NS  (64 * 1000ull) /* until it is measured, or where it cannot be */
#define SPIN_IO_SHARE  8  /* of the budget is what a sleep costs in CPU time, not in latency */
#define SPIN_PROBATION 32 /* sleeps before it is worth measuring */

/* What a sleep costs here: nobody asked yet, somebody measures, or nanoseconds. */
#define SPIN_UNKNOWN   0ull
#define SPIN_MEASURING 1ull
static _Atomic uint64_t spin_host_sleep_ns = SPIN_UNKNOWN;

void spin_init(struct spin *s, uint64_t budget_ns)
{
	*s = (struct spin){ .budget_ns = budget_ns };
	crowd_init(&s->crowd);
	if (budget_ns == REACTOR_SPIN_AUTO) {
		s->budget_ns = SPIN_GUESS_NS;
		s->calibrate_in = SPIN_PROBATION;
	}
	/* the first guess is that it pays: the first misses correct it */
	s->mean_gap_ns[false] = s->budget_ns / 2;
	s->mean_gap_ns[true] = s->budget_ns / SPIN_IO_SHARE / 2;
}

void spin_fini(struct spin *s)
{
	thread_join(s->calibrator);
	s->calibrator = NULL;
}

static void spin_measure(void *arg)
{
	cpu_set_t all;
	(void)arg;
	/* who asks may be pinned, and a wake-up usually comes from another processor */
	memset(&all, 0xff, sizeof(all));
	(void)sched_setaffinity(0, sizeof(all), &all); /* refused: measured where we are */
	/* relaxed: the number is all there is to see */
	atomic_store_explicit(&spin_host_sleep_ns, reactor_measure_sleep_ns(),
			      memory_order_relaxed);
}

/* One sleep nearer to a measured budget. */
static void spin_calibrate(struct spin *s)
{
	if (--s->calibrate_in)
		return;
	uint64_t ns = SPIN_UNKNOWN;
	const struct thread_attr attr = { .name = "calibrate" };
	if (atomic_compare_exchange_strong_explicit(&spin_host_sleep_ns, &ns, SPIN_MEASURING,
						    memory_order_relaxed, memory_order_relaxed)) {
		if (thread_create(&s->calibrator, &attr, spin_measure, NULL))
			atomic_store_explicit(&spin_host_sleep_ns, SPIN_GUESS_NS,
					      memory_order_relaxed);
		ns = atomic_load_explicit(&spin_host_sleep_ns, memory_order_relaxed);
	}
	if (ns == SPIN_MEASURING)
		s->calibrate_in = SPIN_PROBATION; /* look again then */
	else
		s->budget_ns = ns;
}

/* The longest look-out now. */
static uint64_t spin_limit_ns(const struct spin *s)
{
	return s->has_io ? s->budget_ns / SPIN_IO_SHARE : s->budget_ns;
}

static void spin_note_gap(struct spin *s, uint64_t gap_ns)
{
	/* capped, so that one long pause is forgotten after a few short ones */
	gap_ns = min_u64(gap_ns, 4 * spin_limit_ns(s));
	uint64_t *mean_ns = &s->mean_gap_ns[s->has_io];
	*mean_ns = *mean_ns - *mean_ns / 8 + gap_ns / 8;
}

bool spin_begin(struct spin *s, bool has_io)
{
	s->has_io = has_io;
	s->has_spun = false;
	if (!s->budget_ns)
		return false;
	if (s->budget_ns == REACTOR_SPIN_ALWAYS)
		return true;
	s->idle_since_ns = clock_ns();
	return !s->crowd.is_shared && s->mean_gap_ns[has_io] <= spin_limit_ns(s);
}

bool spin_is_over(const struct spin *s)
{
	return s->budget_ns != REACTOR_SPIN_ALWAYS &&
	       clock_ns() - s->idle_since_ns >= spin_limit_ns(s);
}

void spin_hit(struct spin *s)
{
	if (s->budget_ns != REACTOR_SPIN_ALWAYS)
		spin_note_gap(s, clock_ns() - s->idle_since_ns);
}

void spin_miss(struct spin *s)
{
	s->has_spun = true;
}

void spin_sleeps(struct spin *s)
{
	uint64_t now_ns;
	if (!s->budget_ns || s->budget_ns == REACTOR_SPIN_ALWAYS)
		return;
	now_ns = clock_ns();
	if (crowd_is_due(&s->crowd, now_ns))
		crowd_look(&s->crowd, now_ns);
}

void spin_slept(struct spin *s)
{
	if (!s->budget_ns || s->budget_ns == REACTOR_SPIN_ALWAYS)
		return;
	uint64_t gap_ns = clock_ns() - s->idle_since_ns;
	/* the budget is what the wake-ups cost: take it off again */
	gap_ns = gap_ns > s->budget_ns ? gap_ns - s->budget_ns : 0;
	spin_note_gap(s, s->has_spun ? max_u64(gap_ns, 2 * spin_limit_ns(s)) : gap_ns);
	if (s->calibrate_in)
		spin_calibrate(s);
}

/* --- what a sleep costs: a number goes to a sleeping thread and back --- */

#define SPIN_ROUNDS 15
#define SPIN_STOP   (1ull << 32)

struct spin_echo {
	int there, back;
};

static void spin_echo(void *arg)
{
	const struct spin_echo *e = arg;
	eventfd_t v = 0;
	while (v < SPIN_STOP && !eventfd_read(e->there, &v) && !eventfd_write(e->back, 1))
		;
}

/* Both ends sleep, as we and the driver do. */
static uint64_t spin_median_round_ns(const struct spin_echo *e)
{
	uint64_t round_ns[SPIN_ROUNDS];
	for (unsigned i = 0; i < SPIN_ROUNDS; i++) {
		eventfd_t v;
		uint64_t start_ns = clock_ns();
		if (eventfd_write(e->there, 1) || eventfd_read(e->back, &v))
			return 0;
		round_ns[i] = clock_ns() - start_ns;
	}
	return median_u64(round_ns, SPIN_ROUNDS);
}

uint64_t reactor_measure_sleep_ns(void)
{
	CLEANUP(fd_cleanup) int there = eventfd(0, EFD_CLOEXEC);
	CLEANUP(fd_cleanup) int back = eventfd(0, EFD_CLOEXEC);
	struct spin_echo e = { .there = there, .back = back };
	struct thread_attr attr = { .name = "calibrate-echo" };
	struct thread *t;
	uint64_t round_ns = 0;
	if (there >= 0 && back >= 0 && !thread_create(&t, &attr, spin_echo, &e)) {
		round_ns = spin_median_round_ns(&e);
		(void)eventfd_write(there, SPIN_STOP); /* its thread reads it, sooner or later */
		thread_join(t);
	}
	/* without descriptors or a thread: a guess in the middle */
	return round_ns ? min_u64(max_u64(round_ns, SPIN_MIN_NS), SPIN_MAX_NS) : SPIN_GUESS_NS;
}
