/* test_blk_sync.c - what is on stable storage when: flush and the cache mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <sys/uio.h>
#include "disk.h"

static void flushes_share_a_sync_that_starts_after_them(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	fake_held = 1u << FAKE_SYNC;
	unsigned a = disk_ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	unsigned b = disk_ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	fake_passes(3);
	assert_int_equal(fake_asked(FAKE_SYNC), 1); /* one for both */
	unsigned c = disk_ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	unsigned d = disk_ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	fake_passes(3);
	assert_int_equal(fake_asked(FAKE_SYNC), 1); /* the one under way may have passed them by */
	assert_int_equal(disk_status(f, a), 0xff);
	fake_held = 0;
	fake_pass();
	assert_int_equal(disk_status(f, a), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_status(f, b), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_status(f, c), 0xff);
	assert_int_equal(fake_asked(FAKE_SYNC), 2);
	fake_pass();
	assert_int_equal(disk_status(f, c), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_status(f, d), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_SYNC), 2);
}

static void lost_writes_are_not_forgotten(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	FAKE_PLAN(FAKE_SYNC, -EINTR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	FAKE_PLAN(FAKE_SYNC, -EIO);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void a_sync_that_was_never_tried_loses_nothing(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	FAKE_PLAN(FAKE_SYNC, -ECANCELED);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
}

/* What another process has lost is no less lost. */
static void losses_are_inherited(void **state)
{
	struct disk *f = *state;
	f->file.has_lost = true;
	disk_up(f, DISK_ALL);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
}

/* A flush on each of @nr queues, whose syncs are all under way. */
static void flushes(struct disk *f, unsigned *n, uint16_t nr)
{
	f->cfg.nr_queues = nr;
	disk_up(f, DISK_ALL);
	fake_held = 1u << FAKE_SYNC;
	for (uint16_t i = 0; i < nr; i++)
		n[i] = disk_ask_flush(f, i);
	fake_passes(3);
	assert_int_equal(fake_waiting(FAKE_SYNC), nr);
	fake_held = 0;
}

static void two_flushes(struct disk *f, unsigned n[2])
{
	flushes(f, n, 2);
}

/* With O_DIRECT there is no cache that could lose them, until a part of a block is zeroed in it. */
static void zeroes_in_the_cache_are_not_forgotten(void **state)
{
	struct disk *f = *state;
	f->file.is_direct = true;
	f->file.mem_align = f->file.io_align = 512;
	disk_up(f, DISK_ALL);
	for (unsigned nr = 8; nr >= 7; nr--) {
		disk_put_range(f, 0, 8, nr, 0);
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
				 VIRTIO_BLK_S_OK);
		FAKE_PLAN(FAKE_SYNC, -EIO);
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0),
				 nr == 8 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	}
}

/* The kernel tells of it once, whoever asks first: pages of queue 0 may be what queue 1 lost. */
static void an_error_counts_for_all_syncs_it_overlaps(void **state)
{
	struct disk *f = *state;
	unsigned n[2];
	two_flushes(f, n);
	FAKE_PLAN(FAKE_SYNC, 0, -EIO);
	fake_passes(5);
	assert_int_equal(disk_status(f, n[1]), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_status(f, n[0]), VIRTIO_BLK_S_IOERR);
}

static void a_good_sync_waits_for_those_that_began_before_its_end(void **state)
{
	struct disk *f = *state;
	unsigned n[2];
	two_flushes(f, n);
	FAKE_PLAN(FAKE_SYNC, 0, -EINTR, -EINTR); /* the other one's takes its time */
	fake_passes(2);
	assert_int_equal(disk_status(f, n[0]), 0xff);
	assert_int_equal(disk_status(f, n[1]), 0xff);
	fake_passes(2);
	assert_int_equal(disk_status(f, n[0]), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_status(f, n[1]), VIRTIO_BLK_S_OK);
	/* those that begin later are nobody's business */
	FAKE_PLAN(FAKE_SYNC, 0, -EIO);
	unsigned a = disk_ask_flush(f, 0);
	fake_passes(2);
	assert_int_equal(disk_status(f, a), VIRTIO_BLK_S_OK);
	a = disk_ask_flush(f, 1);
	fake_passes(2);
	assert_int_equal(disk_status(f, a), VIRTIO_BLK_S_IOERR);
}

/* Two end while one waits for both, and has not heard of the first yet. */
static void whoever_waits_for_several_is_told_once(void **state)
{
	struct disk *f = *state;
	unsigned n[3];
	flushes(f, n, 3);
	fake_passes(3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(disk_status(f, n[i]), VIRTIO_BLK_S_OK);
}

static void a_queue_may_stop_while_its_sync_waits_for_another(void **state)
{
	struct disk *f = *state;
	unsigned n[2];
	two_flushes(f, n);
	FAKE_PLAN(FAKE_SYNC, 0, -EINTR, -EINTR);
	fake_pass();
	vdev_queue_reset(f->v.dev, 0);
	fake_pass();
	assert_true(vdev_queue_resetting(f->v.dev, 0));
	drive_until(&f->v, !vdev_queue_resetting(f->v.dev, 0));
	assert_int_equal(disk_status(f, n[0]), VIRTIO_BLK_S_OK);
}

/* A write of a sector, and how many syncs it took. */
static unsigned syncs_of_a_write(struct disk *f)
{
	unsigned before = fake_asked(FAKE_SYNC);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	return fake_asked(FAKE_SYNC) - before;
}

static void without_flush_every_write_is_durable(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL & ~BIT(VIRTIO_BLK_F_FLUSH));
	disk_run_synced(f, VIRTIO_BLK_T_OUT, DISK_DATA, 512);
	uint8_t wce = 7;
	vdev_config_read(f->v.dev, offsetof(struct virtio_blk_config, wce), &wce, 1);
	assert_int_equal(wce, 0);
}

static void with_o_direct_a_write_is_durable_by_itself(void **state)
{
	struct disk *f = *state;
	f->file.is_direct = true;
	f->file.mem_align = f->file.io_align = 512;
	disk_up(f, DISK_ALL & ~BIT(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(syncs_of_a_write(f), 0);
	assert_int_equal(fake_last.flags, RWF_DSYNC);
}

/* A loss is no secret between a write and the sync that finds it. */
static void a_durable_write_fails_alone_but_flushes_know(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	vdev_config_write(f->v.dev, offsetof(struct virtio_blk_config, wce), &(uint8_t){ 0 }, 1);
	assert_int_equal(syncs_of_a_write(f), 1);
	FAKE_PLAN(FAKE_SYNC, -EIO);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(syncs_of_a_write(f), 1);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
}

static void the_driver_may_switch_the_cache_off(void **state)
{
	struct disk *f = *state;
	const uint32_t at = offsetof(struct virtio_blk_config, wce);
	uint8_t wce = 7;
	disk_up(f, DISK_ALL);
	vdev_config_read(f->v.dev, at, &wce, 1);
	assert_int_equal(wce, 1);
	assert_int_equal(syncs_of_a_write(f), 0);
	vdev_config_write(f->v.dev, at, &(uint8_t){ 0 }, 1);
	vdev_config_read(f->v.dev, at, &wce, 1);
	assert_int_equal(wce, 0);
	assert_int_equal(fake_asked(FAKE_SYNC), 0);
	assert_int_equal(syncs_of_a_write(f), 2); /* one is for what was written before */
	assert_int_equal(syncs_of_a_write(f), 1);
	/* a reset brings the cache back */
	drive_reset(&f->v);
	drive_up(&f->v, DISK_ALL & ~BIT(VIRTIO_BLK_F_CONFIG_WCE));
	vdev_config_write(f->v.dev, at, &(uint8_t){ 0 }, 1); /* not negotiated: ignored */
	f->nr = 0;
	assert_int_equal(syncs_of_a_write(f), 0);
}

/* wce=off: write-through after each reset, whatever the driver knows of caches. */
static void a_cache_may_be_off_from_the_start(void **state)
{
	struct disk *f = *state;
	const uint32_t at = offsetof(struct virtio_blk_config, wce);
	uint8_t wce = 1;
	f->cfg.is_write_through = true;
	disk_up(f, DISK_ALL & ~BIT(VIRTIO_BLK_F_CONFIG_WCE));
	vdev_config_read(f->v.dev, at, &wce, 1);
	assert_int_equal(wce, 0);
	assert_int_equal(syncs_of_a_write(f), 1);
	drive_reset(&f->v);
	drive_up(&f->v, DISK_ALL);
	f->nr = 0;
	vdev_config_write(f->v.dev, at, &(uint8_t){ 1 }, 1);
	assert_int_equal(syncs_of_a_write(f), 0); /* the driver switched it on */
	drive_reset(&f->v);
	drive_up(&f->v, DISK_ALL);
	f->nr = 0;
	assert_int_equal(syncs_of_a_write(f), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(flushes_share_a_sync_that_starts_after_them),
		T(lost_writes_are_not_forgotten),
		T(a_sync_that_was_never_tried_loses_nothing),
		T(losses_are_inherited),
		T(zeroes_in_the_cache_are_not_forgotten),
		T(an_error_counts_for_all_syncs_it_overlaps),
		T(a_good_sync_waits_for_those_that_began_before_its_end),
		T(whoever_waits_for_several_is_told_once),
		T(a_queue_may_stop_while_its_sync_waits_for_another),
		T(without_flush_every_write_is_durable),
		T(with_o_direct_a_write_is_durable_by_itself),
		T(a_durable_write_fails_alone_but_flushes_know),
		T(the_driver_may_switch_the_cache_off),
		T(a_cache_may_be_off_from_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
