/* test_vworker.c - how a worker starts, wakes, parks, kills and stops a queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../../virtio/inflight_wire.h"
#include "base/clock.h"
#include "base/err.h"
#include "dev/vworker.h"
#include "drive.h"
#include "fake_reactor.h"

/* A device whose queue keeps what it pops until told to give it back. */
struct toy {
	struct vdev dev;
	struct vworker_queue wq;
	struct vq_chain *kept[8];
	unsigned nr_kept, max_kept;
	unsigned served, started, stopping, stopped;
	bool spoil_setup;
	int answer; /* when there is nothing (more) to pop */
};

struct fixture {
	struct drive v;
	struct vworker *worker;
	struct toy *t;
};

static int toy_serve(struct vworker_queue *wq, struct vq *q)
{
	struct toy *t = container_of(wq, struct toy, wq);
	struct vq_chain *c;
	t->served++;
	while (t->nr_kept < t->max_kept) {
		int got = vq_pop(q, &c);
		if (got <= 0)
			return got;
		t->kept[t->nr_kept++] = c;
	}
	return t->answer;
}

static void toy_give_back(struct toy *t)
{
	vq_push(t->wq.q, t->kept[--t->nr_kept], 0);
}

static void toy_started(struct vworker_queue *wq)
{
	container_of(wq, struct toy, wq)->started++;
}

static void toy_stopping(struct vworker_queue *wq)
{
	container_of(wq, struct toy, wq)->stopping++;
}

static void toy_stopped(struct vworker_queue *wq)
{
	assert_int_equal(vq_in_flight(wq->q), 0);
	container_of(wq, struct toy, wq)->stopped++;
}

static int toy_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct toy *t = container_of(d, struct toy, dev);
	struct vq_setup copy = *s;
	(void)idx;
	if (t->spoil_setup)
		copy.desc = gpa(1ull << 40); /* as from a transport that checks nothing */
	vworker_start_queue(&t->wq, &copy);
	return 0;
}

static void toy_stop(struct vdev *d, uint16_t idx)
{
	(void)idx;
	vworker_stop_queue(&container_of(d, struct toy, dev)->wq);
}

static void toy_destroy(struct vdev *d)
{
	vdev_fini(d);
	free(container_of(d, struct toy, dev));
}

static const struct vdev_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.start = toy_start,
	.stop = toy_stop,
	.destroy = toy_destroy,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct vworker_config wc = { .name = "toy", .entries = 64 };
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = fake_step;
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
	f->t = zalloc_aligned(sizeof(*f->t));
	assert_int_equal(vdev_init(&f->t->dev, &toy_ops, f->v.mem, 1, 64, 0, 0), 0);
	f->t->wq = (struct vworker_queue){ .dev = &f->t->dev,
					   .worker = f->worker,
					   .serve = toy_serve,
					   .started = toy_started,
					   .stopping = toy_stopping,
					   .stopped = toy_stopped };
	f->t->max_kept = 8;
	drive_attach(&f->v, &f->t->dev);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	free(f);
	return 0;
}

static void offer(struct fixture *f)
{
	drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 16 }, 0, 1);
}

static void a_kick_wakes_it_and_is_counted(void **state)
{
	struct fixture *f = *state;
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	assert_int_equal(f->t->served, 0);
	for (unsigned i = 1; i <= 3; i++) {
		offer(f);
		drive_kick(&f->v, 0);
		fake_passes(3);
		assert_int_equal(f->t->nr_kept, 1);
		assert_int_equal(vq_stats_of(f->t->wq.q)->kicks, i);
		toy_give_back(f->t);
		(void)drive_wait(&f->v, 0, NULL);
	}
}

static void a_doorbell_that_does_not_block_will_do(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(fcntl(f->v.q[0].kick_fd, F_SETFL, O_NONBLOCK), 0);
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	offer(f);
	drive_kick(&f->v, 0);
	fake_passes(5);
	assert_int_equal(f->t->nr_kept, 1);
	uint64_t count;
	assert_int_equal(read(f->v.q[0].kick_fd, &count, 8), -1); /* taken: no endless waking */
	assert_int_equal(errno, EAGAIN);
	toy_give_back(f->t);
}

static uint64_t interrupts(const struct fixture *f)
{
	return vq_stats_of(f->t->wq.q)->interrupts;
}

static void serve_some(struct fixture *f, unsigned nr)
{
	while (nr--) {
		offer(f);
		fake_pass();
		toy_give_back(f->t);
	}
	fake_pass();
}

/*
 * A fresh queue serves @nr, while more seems to keep coming. True: without an interrupt so far. It
 * is held for 50 us, in which the host may take the CPU from us: so it is worth another try.
 */
static bool holds_after(struct fixture *f, unsigned nr)
{
	drive_reset(&f->v);
	drive_up(&f->v, 1ull << VIRTIO_F_VERSION_1); /* each result wants one */
	fake_passes(3);
	fake_is_busy = true;
	serve_some(f, nr);
	assert_int_equal(vq_stats_of(f->t->wq.q)->requests, nr); /* shown they are */
	fake_is_busy = false;
	return !interrupts(f);
}

#define TRIES 1000

static void one_interrupt_will_do_while_more_keeps_coming(void **state)
{
	struct fixture *f = *state;
	unsigned tries = TRIES;
	while (!holds_after(f, 10))
		assert_true(--tries);
	fake_pass();
	assert_int_equal(interrupts(f), 1);
}

/* The numbers of its results begin at 0 again. */
static void a_queue_that_starts_again_has_learnt_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned tries = TRIES;
	do {
		assert_true(--tries);
		(void)holds_after(f, 40);
		fake_pass();
	} while (!holds_after(f, 1));
}

static void an_interrupt_is_not_held_for_ever(void **state)
{
	struct fixture *f = *state;
	drive_up(&f->v, 1ull << VIRTIO_F_VERSION_1);
	fake_passes(3);
	fake_is_busy = true;
	offer(f);
	fake_pass();
	toy_give_back(f->t);
	for (uint64_t end_ns = clock_ns() + 5 * NSEC_PER_SEC; !interrupts(f);) {
		fake_pass();
		assert_true(clock_ns() < end_ns);
	}
}

static void a_queue_that_stops_owes_nothing(void **state)
{
	struct fixture *f = *state;
	for (unsigned tries = TRIES; !holds_after(f, 1);)
		assert_true(--tries);
	drive_reset(&f->v);
	struct vq_stats s;
	vworker_queue_stats(&f->t->wq, &s);
	assert_null(f->t->wq.q);
	assert_int_equal(s.interrupts, s.requests); /* of one in each try */
}

static void requests_from_before_the_start_are_served(void **state)
{
	struct fixture *f = *state;
	drive_up(&f->v, ~0ull);
	offer(f); /* and no kick at all */
	fake_passes(2);
	assert_int_equal(f->t->nr_kept, 1);
	toy_give_back(f->t);
}

static void no_room_means_come_again_after_a_completion(void **state)
{
	struct fixture *f = *state;
	f->t->max_kept = 2;
	f->t->answer = -ENOBUFS;
	drive_up(&f->v, ~0ull);
	for (unsigned i = 0; i < 4; i++)
		offer(f);
	drive_kick(&f->v, 0);
	fake_passes(10);
	assert_int_equal(f->t->nr_kept, 2);
	assert_int_equal(f->t->served, 1); /* it did not spin */
	toy_give_back(f->t);
	fake_passes(3);
	assert_int_equal(f->t->nr_kept, 2);
	assert_int_equal(f->t->served, 2);
	toy_give_back(f->t);
	toy_give_back(f->t);
	fake_passes(3);
	assert_int_equal(f->t->nr_kept, 1);
	toy_give_back(f->t);
}

static void a_parked_queue_waits_to_be_woken(void **state)
{
	struct fixture *f = *state;
	f->t->max_kept = 0;
	f->t->answer = -ENOBUFS;
	drive_up(&f->v, ~0ull);
	offer(f);
	drive_kick(&f->v, 0);
	fake_passes(5);
	assert_int_equal(f->t->served, 1);
	f->t->max_kept = 1;
	vworker_wake(&f->t->wq);
	fake_passes(2);
	assert_int_equal(f->t->nr_kept, 1);
	toy_give_back(f->t);
}

static void a_stop_waits_for_requests_and_holds(void **state)
{
	struct fixture *f = *state;
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	offer(f);
	drive_kick(&f->v, 0);
	fake_passes(3);
	vworker_hold(&f->t->wq);
	vdev_set_status(f->v.dev, 0);
	fake_passes(5);
	assert_int_equal(f->t->stopping, 1);
	assert_int_equal(f->t->stopped, 0);
	toy_give_back(f->t);
	fake_passes(5);
	assert_int_equal(f->t->stopped, 0);
	assert_int_not_equal(vdev_status(f->v.dev), 0);
	vworker_release(&f->t->wq);
	fake_passes(5);
	assert_int_equal(f->t->stopped, 1);
	assert_int_equal(vdev_status(f->v.dev), 0);
	assert_int_equal(f->v.resets_done, 1);
}

static void a_stop_right_behind_the_start(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 1; i <= 100; i++) {
		drive_up(&f->v, ~0ull);
		fake_passes(i % 4);
		vdev_set_status(f->v.dev, 0);
		fake_passes(4);
		assert_int_equal(vdev_status(f->v.dev), 0);
		assert_int_equal(f->t->started, i);
		assert_int_equal(f->t->stopped, i);
	}
}

static void a_fault_is_reported_once(void **state)
{
	struct fixture *f = *state;
	drive_up(&f->v, ~0ull);
	offer(f);
	fake_passes(3);
	for (unsigned i = 0; i < 3; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ UINT64_MAX, 16 }, 0, 1);
		drive_kick(&f->v, 0);
		fake_passes(3);
		assert_true(drive_needs_reset(&f->v));
		assert_int_equal(f->v.config_changes, 1);
	}
	toy_give_back(f->t); /* what was taken before still comes back */
	(void)drive_wait(&f->v, 0, NULL);
	drive_reset(&f->v);
	drive_up(&f->v, ~0ull);
	offer(f);
	fake_passes(3);
	assert_int_equal(f->t->nr_kept, 1);
	toy_give_back(f->t);
}

static void a_doorbell_that_fails_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	int good = f->v.q[0].kick_fd;
	f->v.q[0].kick_fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->v.q[0].kick_fd >= 0);
	drive_up(&f->v, ~0ull);
	fake_passes(5);
	assert_true(drive_needs_reset(&f->v));
	drive_reset(&f->v);
	(void)close(f->v.q[0].kick_fd);
	f->v.q[0].kick_fd = good;
}

static void a_queue_that_cannot_be_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	f->t->spoil_setup = true;
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	assert_true(drive_needs_reset(&f->v));
	assert_null(f->t->wq.q);
	f->t->spoil_setup = false;
	drive_reset(&f->v);
	drive_up(&f->v, ~0ull);
	offer(f);
	fake_passes(3);
	assert_int_equal(f->t->nr_kept, 1);
	toy_give_back(f->t);
}

/* A fault is no reason to wait for ever for what a predecessor left unfinished. */
static void a_dead_queue_stops_with_a_backlog(void **state)
{
	struct fixture *f = *state;
	static union {
		struct inflight_split s;
		uint64_t room[2 + 64 * 2];
	} log;
	memset(&log, 0, sizeof(log));
	log.s.version = INFLIGHT_VERSION;
	log.s.desc_num = 64;
	log.s.desc[3].is_inflight = 1;
	vdev_queue_set_log(f->v.dev, 0, &log, sizeof(log));
	f->t->max_kept = 0;
	f->t->answer = -EBADMSG;
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	assert_true(drive_needs_reset(&f->v));
	assert_int_equal(f->t->served, 1);
	vdev_set_status(f->v.dev, 0);
	fake_passes(5);
	assert_int_equal(f->t->stopped, 1);
	assert_int_equal(vdev_status(f->v.dev), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void gives_a_sign_of_life_from_its_loop(void **state)
{
	struct fixture *f = *state;
	assert_true(vworker_beat(f->worker));
	fake_passes(1);
	assert_true(vworker_beat(f->worker));
	fake_is_writing = true; /* waits for the disk */
	for (unsigned i = 0; i < 100; i++)
		assert_true(vworker_beat(f->worker));
	fake_is_writing = false;
	fake_passes(1);
	assert_true(vworker_beat(f->worker));
	fake_passes(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_kick_wakes_it_and_is_counted),
		T(a_doorbell_that_does_not_block_will_do),
		T(one_interrupt_will_do_while_more_keeps_coming),
		T(a_queue_that_starts_again_has_learnt_nothing),
		T(an_interrupt_is_not_held_for_ever),
		T(a_queue_that_stops_owes_nothing),
		T(requests_from_before_the_start_are_served),
		T(no_room_means_come_again_after_a_completion),
		T(a_parked_queue_waits_to_be_woken),
		T(a_stop_waits_for_requests_and_holds),
		T(a_stop_right_behind_the_start),
		T(a_fault_is_reported_once),
		T(a_doorbell_that_fails_needs_a_reset),
		T(a_queue_that_cannot_be_needs_a_reset),
		T(a_dead_queue_stops_with_a_backlog),
		T(gives_a_sign_of_life_from_its_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
