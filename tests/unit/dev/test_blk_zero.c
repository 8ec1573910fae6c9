/* test_blk_zero.c - discard and write zeroes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>
#include "disk.h"

static void zeroes_each_range_and_nothing_else(void **state)
{
	struct disk *f = *state;
	const uint32_t types[] = { VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = 100 + 200 * i;
		disk_put_range(f, 0, at, 8, 0);
		disk_put_range(f, 1, at, 0, 0); /* empty: fine */
		disk_put_range(f, 2, at + 50, 3, 0);
		assert_int_equal(disk_run(f, types[i], 0, DISK_DATA, 48), VIRTIO_BLK_S_OK);
		assert_int_equal(fake_asked(FAKE_ALLOC), 2 * (i + 1));
		for (uint64_t s = at - 1; s < at + 60; s++) {
			bool zero = (s >= at && s < at + 8) || (s >= at + 50 && s < at + 53);
			assert_int_equal(disk_file_byte(f, s * 512 + 5),
					 zero ? 0 : disk_image_byte(s * 512 + 5));
		}
	}
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES);
}

static void ranges_may_lie_in_pieces(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_header(f, DISK_HEADER(0), VIRTIO_BLK_T_DISCARD, 0);
	disk_put_range(f, 0, 10, 1, 0);
	disk_put_range(f, 1, 20, 1, 0);
	const struct drive_seg s[] = { { DISK_HEADER(0), 16 }, { DISK_DATA, 5 },
				       { DISK_DATA + 5, 10 },  { DISK_DATA + 15, 7 },
				       { DISK_DATA + 22, 10 }, { DISK_STATUS(0), 1 } };
	drive_offer(&f->v, 0, s, 5, 1);
	drive_kick(&f->v, 0);
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(disk_status(f, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_file_byte(f, 10 * 512 + 3), 0);
	assert_int_equal(disk_file_byte(f, 20 * 512 + 3), 0);
	assert_int_equal(disk_file_byte(f, 21 * 512), disk_image_byte(21 * 512));
}

static void unmap_allows_a_hole(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_range(f, 0, 0, 8, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE);
	disk_put_range(f, 0, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
}

static const struct {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t nr, flags;
	uint8_t status;
} bad_range[] = {
	{ "unknown flag", VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, VIRTIO_BLK_S_UNSUPP },
	{ "unmap in a discard", VIRTIO_BLK_T_DISCARD, 0, 8, 1, VIRTIO_BLK_S_UNSUPP },
	{ "past the end", VIRTIO_BLK_T_DISCARD, DISK_BYTES / 512, 1, 0, VIRTIO_BLK_S_IOERR },
	{ "over the end", VIRTIO_BLK_T_WRITE_ZEROES, DISK_BYTES / 512 - 1, 2, 0,
	  VIRTIO_BLK_S_IOERR },
	{ "sector that wraps", VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 1, 0, VIRTIO_BLK_S_IOERR },
	{ "longer than the limit", VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
};

static void one_bad_range_and_nothing_is_touched(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < sizeof(bad_range) / sizeof(bad_range[0]); i++) {
		disk_put_range(f, 0, 0, 8, 0);
		disk_put_range(f, 1, bad_range[i].sector, bad_range[i].nr, bad_range[i].flags);
		uint8_t s = disk_run(f, bad_range[i].type, 0, DISK_DATA, 32);
		if (s != bad_range[i].status)
			fail_msg("%s: status %u", bad_range[i].what, s);
	}
	assert_int_equal(fake_asked(FAKE_ALLOC), 0);
}

/* The driver changes a range after it was checked: it is checked again when it is used. */
static bool swap_range(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)res;
	(void)max;
	static struct disk *f;
	if (!o) {
		f = (void *)max;
		return false;
	}
	if (o->kind == FAKE_ALLOC)
		disk_put_range(f, 1, 1ull << 40, 8, 0);
	return false;
}

static void a_range_that_changes_is_checked_again(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	(void)swap_range(NULL, NULL, (void *)f);
	fake_hook = swap_range;
	disk_put_range(f, 0, 0, 8, 0);
	disk_put_range(f, 1, 16, 8, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 32), VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_asked(FAKE_ALLOC), 1);
}

static void zeroes_are_written_where_they_cannot_be_told(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	FAKE_PLAN(FAKE_ALLOC, -EOPNOTSUPP);
	disk_put_range(f, 0, 1, 1200, 0); /* 600 KiB */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_true(fake_asked(FAKE_WRITE) >= 1);
	assert_int_equal(disk_file_byte(f, 511), disk_image_byte(511));
	for (uint64_t s = 1; s < 1201; s += 13)
		assert_int_equal(disk_file_byte(f, s * 512 + 1), 0);
	assert_int_equal(disk_file_byte(f, 1201 * 512), disk_image_byte(1201 * 512));
	FAKE_PLAN(FAKE_ALLOC, -ENOSPC);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
			 VIRTIO_BLK_S_IOERR);
	unsigned asked = fake_asked(FAKE_ALLOC);
	FAKE_PLAN(FAKE_ALLOC, -EAGAIN, -EINTR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_ALLOC), asked + 3);
	unsigned writes = fake_asked(FAKE_WRITE);
	FAKE_PLAN(FAKE_ALLOC, -EOPNOTSUPP); /* a discard is a hint */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_WRITE), writes);
	FAKE_PLAN(FAKE_ALLOC, -EIO);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 16), VIRTIO_BLK_S_IOERR);
}

static void written_zeroes_survive_short_writes(void **state)
{
	struct disk *f = *state;
	f->file.can_zero = false;
	disk_up(f, DISK_ALL);
	disk_put_range(f, 0, 1, 600, 0);
	FAKE_PLAN(FAKE_WRITE, 5, -EINTR, 100000);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_ALLOC), 0);
	for (uint64_t at = 512; at < 601 * 512; at += 101)
		assert_int_equal(disk_file_byte(f, at), 0);
	assert_int_equal(disk_file_byte(f, 601 * 512), disk_image_byte(601 * 512));
	FAKE_PLAN(FAKE_WRITE, -ENOSPC);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
			 VIRTIO_BLK_S_IOERR);
	FAKE_PLAN(FAKE_WRITE, 0); /* and would for ever */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
			 VIRTIO_BLK_S_IOERR);
}

static void direct_zeroes_keep_to_whole_blocks(void **state)
{
	struct disk *f = *state;
	f->file.is_direct = true;
	f->file.mem_align = f->file.io_align = f->cfg.block_bytes = 1024;
	f->file.can_zero = false;
	disk_up(f, DISK_ALL);
	static const struct {
		uint64_t sector;
		uint32_t nr;
	} odd[] = { { 1, 2 }, { 2, 3 } };
	for (unsigned i = 0; i < 2; i++) {
		disk_put_range(f, 0, odd[i].sector, odd[i].nr, 0);
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(fake_asked(FAKE_WRITE), 0);
	disk_put_range(f, 0, 2, 8, 0);
	FAKE_PLAN(FAKE_WRITE, 1500);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.off, 1024 + 1024); /* half a block is written again */
	assert_int_equal(disk_file_byte(f, 10 * 512 - 1), 0);
	assert_int_equal(disk_file_byte(f, 10 * 512), disk_image_byte(10 * 512));
}

/* One operation of the host stands behind each, and takes its time. */
static void a_range_has_a_limit(void **state)
{
	struct disk *f = *state;
	static const struct {
		uint32_t type, most;
	} limits[] = { { VIRTIO_BLK_T_WRITE_ZEROES, 1u << 16 },
		       { VIRTIO_BLK_T_DISCARD, 1u << 21 } };
	f->cfg.file = NULL;
	f->cfg.null_bytes = 1ull << 32;
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < 2; i++) {
		disk_put_range(f, 0, 0, limits[i].most, 0);
		assert_int_equal(disk_run(f, limits[i].type, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
		disk_put_range(f, 0, 0, limits[i].most + 1, 0);
		assert_int_equal(disk_run(f, limits[i].type, 0, DISK_DATA, 16), VIRTIO_BLK_S_IOERR);
	}
}

static void written_through_zeroes_are_synced(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL & ~BIT(VIRTIO_BLK_F_FLUSH));
	disk_put_range(f, 0, 1, 8, 0);
	disk_run_synced(f, VIRTIO_BLK_T_WRITE_ZEROES, DISK_DATA, 16);
}

static void an_image_that_is_to_stay_whole_gets_no_hole(void **state)
{
	struct disk *f = *state;
	f->cfg.has_discard = false;
	disk_up(f, DISK_ALL);
	disk_put_range(f, 0, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE);
}

static void half_a_range_is_none(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_range(f, 0, 0, 8, 0);
	disk_put_range(f, 1, 8, 8, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 24), VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_asked(FAKE_ALLOC), 0);
}

static void what_was_not_agreed_is_not_supported(void **state)
{
	struct disk *f = *state;
	f->cfg.has_discard = false;
	disk_up(f, DISK_ALL & ~BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(vdev_offered(f->v.dev) & BIT(VIRTIO_BLK_F_DISCARD));
	disk_put_range(f, 0, 0, 8, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_DISCARD, 0, DISK_DATA, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_DATA, 16),
			 VIRTIO_BLK_S_UNSUPP);
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(zeroes_each_range_and_nothing_else),
		T(ranges_may_lie_in_pieces),
		T(unmap_allows_a_hole),
		T(one_bad_range_and_nothing_is_touched),
		T(a_range_that_changes_is_checked_again),
		T(zeroes_are_written_where_they_cannot_be_told),
		T(written_zeroes_survive_short_writes),
		T(direct_zeroes_keep_to_whole_blocks),
		T(a_range_has_a_limit),
		T(written_through_zeroes_are_synced),
		T(an_image_that_is_to_stay_whole_gets_no_hole),
		T(half_a_range_is_none),
		T(what_was_not_agreed_is_not_supported),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	disk_use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
