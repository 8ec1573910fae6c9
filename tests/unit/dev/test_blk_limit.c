/* test_blk_limit.c - limits on requests and bytes per second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <time.h>
#include "../../../virtio/dev/blk_priv.h"
#include "base/clock.h"
#include "disk.h"

static unsigned nr_answered(struct disk *f, unsigned nr)
{
	unsigned done = 0;
	for (unsigned i = 0; i < nr; i++)
		done += disk_status(f, i) != 0xff;
	return done;
}

static double now_s(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const struct {
	const char *what;
	struct blk_limits limits;
} limited[] = { { "200 requests a second", { .ops_per_s = 200, .burst_ops = 10 } },
		{ "200 of 512 bytes", { .bytes_per_s = 200 * 529, .burst_bytes = 10 * 529 } },
		{ "the lower one counts",
		  { .ops_per_s = 200, .burst_ops = 10, .bytes_per_s = 1u << 30 } } };

static void limits_hold_and_waiting_is_free(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	for (unsigned k = 0; k < sizeof(limited) / sizeof(limited[0]); k++) {
		f->nr = 0;
		blk_set_limits(f->v.dev, &limited[k].limits);
		double t0 = now_s();
		for (unsigned i = 0; i < 30; i++)
			(void)disk_ask(f, VIRTIO_BLK_T_IN, i, DISK_DATA, 512);
		fake_held = 1u << FAKE_TIMEOUT;
		unsigned timers = fake_asked(FAKE_TIMEOUT);
		fake_passes(100);
		unsigned done = nr_answered(f, 30);
		if (done < 10 || done > 11 + (unsigned)((now_s() - t0) * 200))
			fail_msg("%s: %u at once", limited[k].what, done);
		assert_int_equal(fake_asked(FAKE_TIMEOUT), timers + 1); /* it does not look again */
		assert_true(container_of(f->v.dev, struct blk, dev)->queues[0].wq.is_parked);
		fake_held = 0;
		for (unsigned i = 0; i < 30; i++)
			(void)drive_wait(&f->v, 0, NULL);
		if (now_s() - t0 < 0.09) /* 19 of them at 5 ms, less what the clock rounds */
			fail_msg("%s: done after %f s", limited[k].what, now_s() - t0);
	}
	blk_set_limits(f->v.dev, &(struct blk_limits){ 0 });
	f->nr = 0;
	for (unsigned i = 0; i < 30; i++)
		(void)disk_ask(f, VIRTIO_BLK_T_IN, i, DISK_DATA, 512);
	fake_passes(3);
	assert_int_equal(nr_answered(f, 30), 30);
}

static void a_reset_does_not_wait_for_limits(void **state)
{
	struct disk *f = *state;
	f->cfg.limits = (struct blk_limits){ .ops_per_s = 1, .burst_ops = 1 };
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 8; i++)
		(void)disk_ask(f, VIRTIO_BLK_T_IN, i, DISK_DATA, 512);
	fake_passes(3);
	assert_int_equal(fake_waiting(FAKE_TIMEOUT), 1);
	fake_held = 1u << FAKE_TIMEOUT;
	vdev_set_status(f->v.dev, 0);
	fake_passes(4);
	assert_int_equal(vdev_status(f->v.dev), 0);
	assert_int_equal(fake_waiting(FAKE_TIMEOUT), 0);
	assert_in_range(nr_answered(f, 8), 1, 3);
	/* limits no machine could keep: neither overflow nor hang */
	const struct blk_limits odd = { UINT64_MAX, UINT64_MAX, 1, 1 };
	blk_set_limits(f->v.dev, &odd);
	fake_held = 0;
	drive_up(&f->v, DISK_ALL);
	f->nr = 0;
	(void)disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512);
	(void)drive_wait(&f->v, 0, NULL);
}

/* A worker that was charging it at that moment has had the last word. */
static void a_limit_that_was_lifted_is_gone(void **state)
{
	struct disk *f = *state;
	f->cfg.limits = (struct blk_limits){ .bytes_per_s = 1u << 30 };
	disk_up(f, DISK_ALL);
	struct blk *b = container_of(f->v.dev, struct blk, dev);
	atomic_store(&b->ops_bucket.earned_at_ns, clock_ns() + 3600 * NSEC_PER_SEC);
	(void)disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512);
	fake_passes(3);
	assert_int_equal(disk_status(f, 0), VIRTIO_BLK_S_OK);
}

/* Whoever waits looks at them again before long, and what was owed by the old ones is forgiven. */
static void new_limits_are_soon_felt(void **state)
{
	struct disk *f = *state;
	f->cfg.limits = (struct blk_limits){ .ops_per_s = 1, .burst_ops = 1 };
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 8; i++)
		(void)disk_ask(f, VIRTIO_BLK_T_IN, i, DISK_DATA, 512);
	fake_held = 1u << FAKE_TIMEOUT;
	fake_passes(3);
	assert_int_equal(fake_last.kind, FAKE_TIMEOUT);
	assert_in_range(fake_last.len, 1, NSEC_PER_SEC / 10);
	blk_set_limits(f->v.dev, &(struct blk_limits){ .ops_per_s = 1000, .burst_ops = 100 });
	fake_held = 0;
	unsigned timers = fake_asked(FAKE_TIMEOUT);
	for (unsigned i = 0; i < 8; i++)
		(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(fake_asked(FAKE_TIMEOUT), timers);
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(limits_hold_and_waiting_is_free),
		T(a_reset_does_not_wait_for_limits),
		T(a_limit_that_was_lifted_is_gone),
		T(new_limits_are_soon_felt),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	disk_use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
