/* test_blk.c - the life of a block device, and what it tells of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "disk.h"

static void a_read_only_disk_is_not_written(void **state)
{
	struct disk *f = *state;
	f->cfg.is_readonly = true;
	disk_up(f, DISK_ALL);
	assert_true(vdev_offered(f->v.dev) & BIT(VIRTIO_BLK_F_RO));
	assert_false(vdev_offered(f->v.dev) &
		     (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_WRITE) + fake_asked(FAKE_ALLOC) + fake_asked(FAKE_SYNC),
			 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void a_reset_waits_for_what_is_in_flight(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	for (unsigned round = 0; round < 3; round++) {
		f->nr = 0;
		fake_held = 1u << FAKE_WRITE | 1u << FAKE_SYNC;
		for (unsigned i = 0; i < 8; i++)
			(void)disk_ask(f, i % 2 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT, i,
				       DISK_DATA, i % 2 ? 0 : 512);
		fake_passes(round); /* also before the device has seen any of it */
		vdev_set_status(f->v.dev, 0);
		fake_passes(5);
		if (fake_waiting(FAKE_WRITE))
			assert_int_not_equal(vdev_status(f->v.dev), 0);
		fake_held = 0;
		drive_reset(&f->v);
		assert_int_equal(fake_waiting(FAKE_WRITE) + fake_waiting(FAKE_SYNC), 0);
		drive_up(&f->v, DISK_ALL);
		f->nr = 0;
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	}
}

static void a_stopped_queue_takes_nothing_more(void **state)
{
	struct disk *f = *state;
	f->cfg.nr_queues = 2;
	disk_up(f, DISK_ALL);
	fake_held = 1u << FAKE_READ;
	unsigned a = disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512);
	fake_passes(3);
	vdev_queue_reset(f->v.dev, 0);
	fake_pass();
	unsigned b = disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512);
	fake_passes(3);
	assert_true(vdev_queue_resetting(f->v.dev, 0));
	fake_held = 0;
	drive_until(&f->v, !vdev_queue_resetting(f->v.dev, 0));
	assert_int_equal(disk_status(f, a), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_status(f, b), 0xff);
	drive_queue_up(&f->v, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void queues_start_and_stop_a_thousand_times(void **state)
{
	struct disk *f = *state;
	f->cfg.nr_queues = 4;
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 1000; i++) {
		drive_queue_reset(&f->v, (uint16_t)(i % 4));
		drive_queue_up(&f->v, (uint16_t)(i % 4));
		if (i % 10 == 0) {
			drive_reset(&f->v);
			drive_up(&f->v, DISK_ALL);
		}
	}
	f->nr = 0;
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void null_answers_at_once(void **state)
{
	struct disk *f = *state;
	f->cfg.file = NULL;
	f->cfg.null_bytes = 1ull << 32;
	disk_up(f, DISK_ALL);
	memset(f->v.ram + DISK_DATA, 0xee, 512);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DISK_DATA], 0xee);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, (1ull << 23) - 1, DISK_DATA, 512),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 1ull << 23, DISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	disk_put_range(f, 0, 0, 8, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
}

static void the_configuration_space_tells_it_all(void **state)
{
	struct disk *f = *state;
	struct virtio_blk_config c;
	f->cfg.nr_queues = 4;
	disk_up(f, DISK_ALL);
	vdev_config_read(f->v.dev, 0, &c, sizeof(c));
	assert_int_equal(c.capacity, DISK_BYTES / 512);
	assert_int_equal(c.seg_max, 126);
	assert_int_equal(c.blk_size, 512);
	assert_int_equal(c.physical_block_exp, 3);
	assert_int_equal(c.min_io_size, 8);
	assert_int_equal(c.num_queues, 4);
	assert_int_equal(c.max_discard_seg, 32);
	assert_int_equal(c.max_write_zeroes_seg, 32);
	assert_true(c.max_discard_sectors && c.max_write_zeroes_sectors);
	assert_int_equal(c.write_zeroes_may_unmap, 1);
	uint16_t part = 0;
	vdev_config_read(f->v.dev, offsetof(struct virtio_blk_config, num_queues), &part, 2);
	assert_int_equal(part, 4);
}

static void a_disk_grows_while_it_runs(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, DISK_BYTES / 512, DISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(truncate(f->path, 2 * DISK_BYTES), 0);
	unsigned before = f->v.config_changes;
	uint8_t generation = vdev_generation(f->v.dev);
	assert_int_equal(blk_resize(f->v.dev), 0);
	assert_int_equal(f->v.config_changes, before + 1);
	assert_int_not_equal(vdev_generation(f->v.dev), generation);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, DISK_BYTES / 512, DISK_DATA, 512),
			 VIRTIO_BLK_S_OK);
}

static uint64_t capacity(struct disk *f)
{
	uint64_t sectors = 0;
	vdev_config_read(f->v.dev, 0, &sectors, sizeof(sectors));
	return sectors;
}

static uint64_t file_bytes(const struct disk *f)
{
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_size;
}

static void a_disk_is_made_larger_and_smaller(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	unsigned before = f->v.config_changes;
	assert_int_equal(blk_set_size(f->v.dev, 3 * DISK_BYTES), 0);
	assert_int_equal(capacity(f), 3 * DISK_BYTES / 512);
	assert_int_equal(file_bytes(f), 3 * DISK_BYTES);
	assert_int_equal(blk_size(f->v.dev), 3 * DISK_BYTES);
	assert_int_equal(blk_set_size(f->v.dev, DISK_BYTES / 2), 0);
	assert_int_equal(capacity(f), DISK_BYTES / 2 / 512);
	assert_int_equal(file_bytes(f), DISK_BYTES / 2);
	assert_int_equal(f->v.config_changes, before + 2);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, DISK_BYTES / 1024, DISK_DATA, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_set_size(f->v.dev, 0), -EINVAL);
	assert_int_equal(blk_set_size(f->v.dev, DISK_BYTES + 1), -EINVAL);
	assert_int_equal(blk_set_size(f->v.dev, 1ull << 63), -EINVAL);
	assert_int_equal(capacity(f), DISK_BYTES / 2 / 512);
}

static void *make_it_smaller(void *arg)
{
	BUG_ON(blk_set_size(arg, DISK_BYTES / 2));
	return NULL;
}

static void *make_it_larger(void *arg)
{
	BUG_ON(blk_set_size(arg, 2 * DISK_BYTES));
	return NULL;
}

/* The capacity is two registers to a driver. */
static void the_capacity_changes_as_a_whole(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	uint8_t generation = vdev_generation(f->v.dev);
	assert_false(drive_sees_half(&f->v, make_it_smaller, f->v.dev));
	assert_int_equal(vdev_generation(f->v.dev), (uint8_t)(generation + 1));
	assert_false(drive_sees_half(&f->v, make_it_larger, f->v.dev));
	assert_int_equal(vdev_generation(f->v.dev), (uint8_t)(generation + 2));
}

static void a_resize_that_fails_leaves_the_size(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	struct rlimit old, low = { 2 * DISK_BYTES, RLIM_INFINITY };
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	int err = blk_set_size(f->v.dev, 4 * DISK_BYTES);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(err, -EFBIG);
	assert_int_equal(capacity(f), DISK_BYTES / 512);
	assert_int_equal(file_bytes(f), DISK_BYTES);
}

static void a_read_only_disk_keeps_its_size(void **state)
{
	struct disk *f = *state;
	f->cfg.is_readonly = true;
	disk_up(f, DISK_ALL);
	assert_int_equal(blk_set_size(f->v.dev, 2 * DISK_BYTES), -EROFS);
	assert_int_equal(blk_set_size(f->v.dev, DISK_BYTES), 0); /* as it is */
	assert_int_equal(file_bytes(f), DISK_BYTES);
}

static void tells_what_it_made_of_its_settings(void **state)
{
	struct disk *f = *state;
	struct blk_info i;
	f->cfg.nr_queues = 4;
	f->cfg.nr_workers = 2;
	f->cfg.has_packed = true;
	f->cfg.is_write_through = true;
	f->cfg.spin_ns = 7;
	disk_up(f, DISK_ALL);
	blk_info(f->v.dev, &i);
	assert_string_equal(i.engine, "fake");
	assert_string_equal(i.file, "file");
	assert_int_equal(i.nr_queues, 4);
	assert_int_equal(i.nr_workers, 2);
	assert_int_equal(i.queue_size, 128);
	assert_int_equal(i.block_bytes, 512);
	assert_int_equal(i.size_bytes, DISK_BYTES);
	assert_int_equal(i.spin_ns, 7);
	assert_true(i.has_packed && i.is_write_through && i.has_discard);
	assert_false(i.is_direct || i.is_readonly);
}

static void packed_rings_are_offered_when_asked_for(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	assert_int_equal(vdev_offered(f->v.dev) >> VIRTIO_F_RING_PACKED & 1, 0);
	disk_teardown(state);
	disk_setup(state);
	f = *state;
	f->cfg.has_packed = true;
	disk_up(f, DISK_ALL);
	assert_int_equal(vdev_offered(f->v.dev) >> VIRTIO_F_RING_PACKED & 1, 1);
}

static void counts_what_each_queue_did(void **state)
{
	struct disk *f = *state;
	struct vq_stats s;
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_true(vdev_queue_stats(f->v.dev, 0, &s));
	assert_int_equal(s.requests, 3);
	drive_reset(&f->v);
	drive_up(&f->v, DISK_ALL);
	f->nr = 0;
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_true(vdev_queue_stats(f->v.dev, 0, &s));
	assert_int_equal(s.requests, 4); /* of both lives */
	assert_false(vdev_queue_stats(f->v.dev, 99, &s));
	assert_int_equal(s.requests, 0);
}

static void goes_on_counting_where_another_was(void **state)
{
	static struct vq_counters c[VDEV_MAX_QUEUES]; /* a device's counters are never taken away */
	struct disk *f = *state;
	struct vq_stats s;
	struct vdev *d;
	c[0].stats = (struct vq_stats){ .requests = 1000, .kicks = 7 };
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), 0);
	vdev_count_in(d, c);
	drive_attach(&f->v, d);
	assert_true(vdev_queue_stats(f->v.dev, 0, &s));
	assert_int_equal(s.requests, 1000);
	drive_up(&f->v, DISK_ALL);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	s = vq_counters_read(&c[0]);
	assert_int_equal(s.requests, 1001);
	assert_true(s.kicks >= 7);
	/* what others write there is shown only: the next pass tells its own again */
	c[0].stats.requests = 5;
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(vq_counters_read(&c[0]).requests, 1002);
}

static void odd_configurations_are_refused(void **state)
{
	struct disk *f = *state;
	struct vdev *d = NULL;
	struct blk_config good = f->cfg;
	f->cfg.nr_queues = 0;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -EINVAL);
	f->cfg = good;
	f->cfg.queue_size = 100;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -EINVAL);
	f->cfg = good;
	f->cfg.nr_workers = (uint16_t)(f->cfg.nr_queues + 1); /* more workers than queues */
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -EINVAL);
	f->cfg = good;
	f->cfg.block_bytes = 1000;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -EINVAL);
	f->cfg = good;
	f->file.io_align = 4096; /* more than the guest's block */
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -EINVAL);
	assert_null(d);
	assert_true(f->file.fd >= 0); /* still the caller's */
}

static void a_failed_creation_keeps_nothing(void **state)
{
	struct disk *f = *state;
	struct vdev *d = NULL;
	f->cfg.nr_queues = 4;
	f->file.is_direct = true;
	for (unsigned n = 1; n < 4; n++) {
		fake_forget();
		fake_max_created = n;
		assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), -ENOSYS);
		assert_null(d);
		assert_true(f->file.fd >= 0); /* still the caller's */
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_read_only_disk_is_not_written),
		T(a_reset_waits_for_what_is_in_flight),
		T(a_stopped_queue_takes_nothing_more),
		T(queues_start_and_stop_a_thousand_times),
		T(null_answers_at_once),
		T(the_configuration_space_tells_it_all),
		T(a_disk_grows_while_it_runs),
		T(a_disk_is_made_larger_and_smaller),
		T(the_capacity_changes_as_a_whole),
		T(a_resize_that_fails_leaves_the_size),
		T(a_read_only_disk_keeps_its_size),
		T(tells_what_it_made_of_its_settings),
		T(packed_rings_are_offered_when_asked_for),
		T(counts_what_each_queue_did),
		T(goes_on_counting_where_another_was),
		T(odd_configurations_are_refused),
		T(a_failed_creation_keeps_nothing),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	disk_use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
