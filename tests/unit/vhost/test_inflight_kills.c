/* test_inflight_kills.c - a device killed at any moment: the account loses no request and doubles
 * none. */
#include "unit/vhost/inflight_fixture.h"

#define KILLS         400
#define STUCK_SECONDS 60 /* a device that completes nothing for so long hangs */

/* --- crashes at any moment --- */

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* What a device process has at hand. */
struct work {
	struct fixture *f;
	uint32_t seed;
	uint32_t steps; /* calls of the queue until it dies by itself; 0: never */
	struct vq_chain *held[SIZE];
	unsigned nr;
};

/* One more call of the queue. */
static struct vq *step(struct work *w)
{
	if (w->steps && !--w->steps)
		(void)raise(SIGKILL);
	return w->f->q;
}

static void take_some(struct work *w)
{
	for (unsigned n = random_next(&w->seed) % 8; n;) {
		unsigned max = random_next(&w->seed) % n + 1;
		int got = vq_pop_batch(step(w), &w->held[w->nr], max);
		if (got < 0)
			_exit(2);
		if (!got)
			return;
		w->nr += (unsigned)got;
		n -= (unsigned)got;
		if (random_next(&w->seed) % 16 == 0) {
			vq_unpop(step(w), w->held[--w->nr]);
			return;
		}
	}
}

static void complete_some(struct work *w)
{
	for (unsigned n = random_next(&w->seed) % 8; n && w->nr; n--) {
		unsigned i = random_next(&w->seed) % w->nr;
		uint64_t number = 0;
		if (!vq_chain_read(w->held[i], 0, &number, 8) ||
		    !vq_chain_write(w->held[i], 0, &number, 8))
			_exit(3);
		vq_push(step(w), w->held[i], 8);
		w->held[i] = w->held[--w->nr];
	}
}

/* Let the driver see what has been shown before anything covers it. */
static void await_look(struct fixture *f)
{
	unsigned seen = atomic_load(f->looks);
	while (atomic_load(f->looks) - seen < 2)
		(void)sched_yield();
}

/* A device process: takes requests, completes them in any order, until it dies. */
static void device_main(struct fixture *f, uint32_t seed, uint32_t steps)
{
	struct work w = { .f = f, .seed = seed, .steps = steps };
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (take_over(f))
		_exit(1);
	for (;;) {
		take_some(&w);
		complete_some(&w);
		vq_signal(step(&w));
		if (steps)
			await_look(f);
	}
}

/* The driver's book: which request is where, by its head or id. */
struct book {
	unsigned slot_of[SIZE]; /* request number + 1 by id; 0: none */
	uint64_t number[SIZE];
	bool is_out[SIZE];
	uint64_t next, done;
};

static void drive(struct fixture *f, struct book *b, bool may_offer, uint32_t *seed)
{
	uint16_t id;
	uint32_t len;
	while (guest_take(&f->gq, &id, &len)) {
		assert_true(id < SIZE && b->slot_of[id]);
		unsigned i = b->slot_of[id] - 1;
		assert_true(b->is_out[i]);
		assert_int_equal(len, 8);
		assert_int_equal(*host_of(f, buf_of(i) + 32), b->number[i]);
		b->is_out[i] = false;
		b->slot_of[id] = 0;
		b->done++;
	}
	for (unsigned i = 0; may_offer && i < SIZE; i++) {
		if (b->is_out[i])
			continue;
		int head = offer(f, i, ++b->next, random_next(seed) & 1);
		if (head < 0) {
			b->next--;
			break;
		}
		b->number[i] = b->next;
		b->is_out[i] = true;
		b->slot_of[head] = i + 1;
	}
	guest_show(&f->gq);
	atomic_fetch_add(f->looks, 1);
}

static time_t now_s(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * Drive until @f's device has completed @nr requests more, or all there are; fails when it hangs.
 * However slow the machine is, it is no more work than that.
 */
static void drive_through(struct fixture *f, struct book *b, uint64_t nr, bool may_offer,
			  uint32_t *seed)
{
	time_t limit_s = now_s() + STUCK_SECONDS;
	for (uint64_t before = b->done, last = before; b->done - before < nr;) {
		drive(f, b, may_offer, seed);
		if (!may_offer && b->done == b->next)
			return;
		if (b->done != last) {
			last = b->done;
			limit_s = now_s() + STUCK_SECONDS;
			continue;
		}
		if (now_s() > limit_s)
			fail_msg("the device hangs after %llu requests",
				 (unsigned long long)b->done);
		(void)sched_yield();
	}
}

/* Some more, so that the kill does not come right after a result each time. */
static void dawdle(struct fixture *f, struct book *b, uint32_t *seed)
{
	for (unsigned n = random_next(seed) % 512; n; n--)
		drive(f, b, n & 1, seed);
}

/* Until it has died by itself. */
static void drive_until_dead(struct fixture *f, struct book *b, uint32_t *seed)
{
	time_t limit_s = now_s() + STUCK_SECONDS;
	siginfo_t info = { 0 };
	while (!info.si_pid && now_s() <= limit_s) {
		drive(f, b, true, seed);
		(void)sched_yield();
		assert_int_equal(waitid(P_PID, (id_t)f->device, &info, WEXITED | WNOHANG | WNOWAIT),
				 0);
	}
	assert_int_equal(info.si_pid, f->device);
}

/*
 * One device, to its death. Every second one dies by itself, between two calls of the queue, which
 * hangs on nothing but the seed; the others in the middle of whatever they do.
 */
static void live_and_die(struct fixture *f, struct book *b, unsigned k, uint32_t *seed)
{
	uint32_t steps = k % 2 ? 1 + random_next(seed) % 100 : 0;
	int status;
	f->device = fork();
	if (!f->device)
		device_main(f, *seed + k, steps);
	assert_true(f->device > 0);
	if (steps) {
		drive_until_dead(f, b, seed);
	} else {
		drive_through(f, b, random_next(seed) % 64, true, seed);
		dawdle(f, b, seed);
	}
	if (k == KILLS)
		drive_through(f, b, UINT64_MAX, false, seed);
	kill_device(f, &status);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void every_request_completes_once_however_often_the_device_dies(void **state)
{
	struct fixture *f = *state;
	struct book b = { 0 };
	uint32_t seed = (uint32_t)getpid();
	print_message("seed %u\n", seed);
	for (unsigned k = 0; k <= KILLS; k++)
		live_and_die(f, &b, k, &seed);
	assert_int_equal(b.done, b.next);
	print_message("%llu requests, %u deaths\n", (unsigned long long)b.done, KILLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(every_request_completes_once_however_often_the_device_dies),
		PACKED(every_request_completes_once_however_often_the_device_dies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
