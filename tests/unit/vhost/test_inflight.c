/*
 * test_inflight.c - the account of requests in flight: what a device that died left is done by the
 * next one, all of it, once, in order.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/num.h"
#include "support/guest.h"
#include "virtio/queue.h"
#include "../../../virtio/inflight_priv.h"

#define SIZE  32
#define KILLS 400

#define STUCK_SECONDS 60 /* a device that completes nothing for so long hangs */

struct fixture {
	struct guest guest;
	struct guest_queue gq;
	struct notifier call;
	unsigned calls;
	void *log;
	struct vq *q;
	pid_t device;
	atomic_uint *looks; /* how often the driver has looked; both processes see it */
};

static void count_call(void *ctx)
{
	((struct fixture *)ctx)->calls++;
}

static int setup_with(void **state, uint64_t features)
{
	struct fixture *f = calloc(1, sizeof(*f));
	guest_init(&f->guest, MIB);
	guest_queue_init(&f->gq, &f->guest, SIZE, features);
	notifier_init_fn(&f->call, count_call, f);
	f->log = mmap(NULL, vq_log_bytes(SIZE), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	f->looks = mmap(NULL, sizeof(*f->looks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	*state = f;
	return 0;
}

static int setup_split(void **state)
{
	return setup_with(state, GUEST_FEATURES);
}

static int setup_packed(void **state)
{
	return setup_with(state, GUEST_FEATURES | GUEST_PACKED);
}

static void kill_device(struct fixture *f, int *status)
{
	(void)kill(f->device, SIGKILL);
	assert_int_equal(waitpid(f->device, status, 0), f->device);
	f->device = 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->device) /* a claim about it did not hold */
		kill_device(f, &(int){ 0 });
	vq_destroy(f->q);
	(void)munmap(f->log, vq_log_bytes(SIZE));
	(void)munmap(f->looks, sizeof(*f->looks));
	guest_queue_fini(&f->gq);
	guest_fini(&f->guest);
	free(f);
	return 0;
}

/* A device takes over; what there was before it just stops, as by SIGKILL. */
static int take_over(struct fixture *f)
{
	vq_destroy(take(f->q));
	struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
	s.log = f->log;
	s.log_bytes = vq_log_bytes(SIZE);
	return vq_create(&f->q, &s);
}

/* Where the buffers of request @i are: a number to be copied from the first to the second. */
static uint64_t buf_of(unsigned i)
{
	return 0x40000 + 64ull * i;
}

static uint64_t *host_of(struct fixture *f, uint64_t addr)
{
	return (uint64_t *)(void *)(f->guest.ram + addr);
}

static int offer(struct fixture *f, unsigned i, uint64_t number, bool is_indirect)
{
	*host_of(f, buf_of(i)) = number;
	*host_of(f, buf_of(i) + 32) = 0;
	struct guest_buf b[2] = { { buf_of(i), 8, false }, { buf_of(i) + 32, 8, true } };
	return guest_add(&f->gq, b, 2, is_indirect);
}

static struct vq_chain *pop(struct fixture *f)
{
	struct vq_chain *c = NULL;
	assert_int_equal(vq_pop(f->q, &c), 1);
	return c;
}

static uint64_t number_of(const struct vq_chain *c)
{
	uint64_t number = 0;
	assert_true(vq_chain_read(c, 0, &number, sizeof(number)));
	return number;
}

static void complete(struct fixture *f, struct vq_chain *c)
{
	uint64_t number = number_of(c);
	assert_true(vq_chain_write(c, 0, &number, sizeof(number)));
	vq_push(f->q, c, sizeof(number));
}

/* --- one crash, at a chosen moment --- */

static void what_was_in_flight_comes_again_in_order(void **state)
{
	struct fixture *f = *state;
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < 6; i++)
		assert_true(offer(f, i, 100 + i, i & 1) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c[4];
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop(f);
	complete(f, c[2]);
	vq_signal(f->q);
	complete(f, c[0]); /* pushed, never shown */
	assert_int_equal(take_over(f), 0);
	assert_true(vq_has_backlog(f->q));
	assert_true(vq_has_work(f->q));
	static const unsigned want[] = { 100, 101, 103, 104, 105 };
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		struct vq_chain *n = pop(f);
		assert_int_equal(number_of(n), want[i]);
		complete(f, n);
	}
	assert_false(vq_has_backlog(f->q));
	vq_signal(f->q);
	for (unsigned i = 0; i < 6; i++)
		assert_true(guest_take(&f->gq, &id, &len));
	assert_false(guest_take(&f->gq, &id, &len));
	assert_int_equal(vq_in_flight(f->q), 0);
}

static void a_successor_calls_even_if_nothing_is_left(void **state)
{
	struct fixture *f = *state;
	assert_true(offer(f, 0, 1, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	complete(f, pop(f));
	(void)vq_publish(f->q); /* dies before the call */
	assert_int_equal(take_over(f), 0);
	assert_false(vq_has_backlog(f->q));
	unsigned before = f->calls;
	vq_signal(f->q);
	assert_int_equal(f->calls, before + 1);
	vq_signal(f->q);
	assert_int_equal(f->calls, before + 1);
}

static void a_request_put_back_is_not_in_flight(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 3; i++)
		assert_true(offer(f, i, 10 + i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	(void)pop(f);
	vq_unpop(f->q, pop(f));
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c = pop(f);
	assert_int_equal(number_of(c), 10);
	vq_unpop(f->q, c); /* one of a predecessor */
	assert_true(vq_has_backlog(f->q));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(number_of(pop(f)), 10 + i);
}

/*
 * A batch that was never shown must not be seen through the first result of the successor, and not
 * be mistaken for one that was shown by who comes after that one.
 */
static void a_batch_that_was_never_shown_is_forgotten(void **state)
{
	struct fixture *f = *state;
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < 4; i++)
		assert_true(offer(f, i, 10 + i, true) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c[4];
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop(f);
	for (unsigned i = 4; i--;)
		complete(f, c[i]);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(take_over(f), 0);
		struct vq_chain *n = pop(f);
		assert_int_equal(number_of(n), 10 + i);
		complete(f, n);
		vq_signal(f->q);
		assert_true(guest_take(&f->gq, &id, &len));
		assert_false(guest_take(&f->gq, &id, &len));
	}
}

/* The successor stops in the middle: what it did not even begin is left to the next. */
static void a_chain_of_successors_loses_nothing(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 10; i++)
		assert_true(offer(f, i, i, true) >= 0);
	guest_show(&f->gq);
	uint64_t seen = 0;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(take_over(f), 0);
		for (unsigned n = i; n < 10; n++)
			(void)pop(f);
		assert_int_equal(take_over(f), 0);
		struct vq_chain *c = pop(f);
		seen |= 1ull << number_of(c);
		complete(f, c);
		vq_signal(f->q);
	}
	assert_int_equal(seen, 0x3ff);
}

/* --- damaged accounts --- */

static void begin_some(struct fixture *f)
{
	for (unsigned i = 0; i < 4; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < 4; i++)
		(void)pop(f);
}

/* Every byte of the account changed to anything: refused, or harmless. */
static void a_damaged_account_is_refused_or_harmless(void **state)
{
	struct fixture *f = *state;
	static const uint8_t values[] = { 0, 1, 7, 31, 32, 0x7f, 0x80, 0xff };
	size_t bytes = vq_log_bytes(SIZE);
	uint8_t *saved = malloc(bytes);
	begin_some(f);
	memcpy(saved, f->log, bytes);
	for (size_t i = 0; i < bytes; i++) {
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			memcpy(f->log, saved, bytes);
			((uint8_t *)f->log)[i] = values[v];
			int err = take_over(f);
			assert_true(!err || err == -EINVAL);
			struct vq_chain *c;
			for (unsigned n = 0; !err && n < 2 * SIZE && vq_pop(f->q, &c) > 0; n++)
				vq_push(f->q, c, 0);
			if (!err)
				vq_signal(f->q);
			/* the ring as it was: nothing shown */
			if (!(f->gq.features & GUEST_PACKED))
				f->gq.used->idx = 0;
		}
	}
	free(saved);
}

static void an_account_of_another_size_is_refused(void **state)
{
	struct fixture *f = *state;
	begin_some(f);
	struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
	struct vq *q = NULL;
	s.log = f->log;
	s.log_bytes = 64;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
	s.log_bytes = vq_log_bytes(SIZE);
	s.log = (uint8_t *)f->log + 4;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
	s.log = f->log;
	s.size = SIZE / 2;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
}

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

#define SPLIT(f)                                                                                   \
	{                                                                                          \
#f "/split", f, setup_split, teardown, NULL                                        \
	}
#define PACKED(f)                                                                                  \
	{                                                                                          \
#f "/packed", f, setup_packed, teardown, NULL                                      \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(what_was_in_flight_comes_again_in_order),
		PACKED(what_was_in_flight_comes_again_in_order),
		SPLIT(a_successor_calls_even_if_nothing_is_left),
		PACKED(a_successor_calls_even_if_nothing_is_left),
		SPLIT(a_request_put_back_is_not_in_flight),
		PACKED(a_request_put_back_is_not_in_flight),
		SPLIT(a_batch_that_was_never_shown_is_forgotten),
		PACKED(a_batch_that_was_never_shown_is_forgotten),
		SPLIT(a_chain_of_successors_loses_nothing),
		PACKED(a_chain_of_successors_loses_nothing),
		SPLIT(a_damaged_account_is_refused_or_harmless),
		PACKED(a_damaged_account_is_refused_or_harmless),
		SPLIT(an_account_of_another_size_is_refused),
		PACKED(an_account_of_another_size_is_refused),
		SPLIT(every_request_completes_once_however_often_the_device_dies),
		PACKED(every_request_completes_once_however_often_the_device_dies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
