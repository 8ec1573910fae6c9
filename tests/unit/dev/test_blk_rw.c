/* test_blk_rw.c - reads and writes with every answer of the host; O_DIRECT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>
#include "disk.h"

static void reads_and_says_how_much(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_IN, 3, DISK_DATA, 4096);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 4097);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(f->v.ram[DISK_DATA + i], disk_image_byte(3 * 512 + i));
	assert_int_equal(f->v.ram[DISK_DATA + 4096], 0);
}

static void writes_what_reads_then_see(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	memset(f->v.ram + DISK_DATA, 0xa5, 1024);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_OUT, 9, DISK_DATA, 1024);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, 0); /* a write-back cache: no sync */
	assert_int_equal(disk_file_byte(f, 9 * 512), 0xa5);
	assert_int_equal(disk_file_byte(f, 11 * 512 - 1), 0xa5);
	assert_int_equal(disk_file_byte(f, 11 * 512), disk_image_byte(11 * 512));
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 9, DISK_DATA + 0x10000, 1024),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DISK_DATA, f->v.ram + DISK_DATA + 0x10000, 1024);
}

/* VIRTIO 1.2 §2.7.4: no framing may be assumed. */
static void goes_on_after_short_reads(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	FAKE_PLAN(FAKE_READ, 1, 511, -EINTR, 513, -EAGAIN, 2000);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 8, DISK_DATA, 8192), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_READ), 7);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(f->v.ram[DISK_DATA + i], disk_image_byte(8 * 512 + i));
}

static void goes_on_after_short_writes(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	memset(f->v.ram + DISK_DATA, 0x77, 4096);
	FAKE_PLAN(FAKE_WRITE, 100, -EINTR, 3000, -EAGAIN);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 16, DISK_DATA, 4096), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(disk_file_byte(f, 16 * 512 + i), 0x77);
}

/* What is done is not asked for again, nor what lies behind the request. */
static void goes_on_with_the_parts_that_are_left(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_header(f, DISK_HEADER(0), VIRTIO_BLK_T_OUT, 4);
	const struct drive_seg s[] = { { DISK_HEADER(0), 16 },
				       { DISK_DATA, 512 },
				       { DISK_DATA + 0x1000, 512 },
				       { DISK_DATA + 0x2000, 512 },
				       { DISK_STATUS(0), 1 } };
	FAKE_PLAN(FAKE_WRITE, 700);
	drive_offer(&f->v, 0, s, 4, 1);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(disk_status(f, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.nr, 2);
	assert_int_equal(fake_last.off, 2048 + 700);
	assert_int_equal(fake_last.iov[0].iov_len, 324);
	assert_int_equal(fake_last.iov[1].iov_len, 512);
}

static void an_error_hits_its_request_alone(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	FAKE_PLAN(FAKE_WRITE, 512, -ENOSPC);
	unsigned a = disk_ask(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 1024);
	unsigned b = disk_ask(f, VIRTIO_BLK_T_OUT, 8, DISK_DATA, 1024);
	(void)drive_wait(&f->v, 0, NULL);
	(void)drive_wait(&f->v, 0, NULL);
	assert_true((disk_status(f, a) == VIRTIO_BLK_S_OK) !=
		    (disk_status(f, b) == VIRTIO_BLK_S_OK));
	FAKE_PLAN(FAKE_READ, -EINVAL); /* alignment is nothing to a cached file */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	FAKE_PLAN(FAKE_READ, -EIO);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	assert_false(drive_needs_reset(&f->v));
}

/* Of a guest that migrates: nobody knows how much of it there is. */
static void memory_of_a_failed_read_is_marked(void **state)
{
	struct disk *f = *state;
	static uint8_t bits[DRIVE_RAM_BYTES / DIRTY_LOG_PAGE / 8];
	const struct dirty_log log = { .bits = bits, .bytes = sizeof(bits) };
	memset(bits, 0, sizeof(bits));
	disk_up(f, DISK_ALL);
	drive_queue_reset(&f->v, 0);
	vdev_queue_set_dirty(f->v.dev, 0, &log, f->v.q[0].ring.device_gpa);
	drive_queue_up(&f->v, 0);
	FAKE_PLAN(FAKE_READ, 512, -EIO);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 8192), VIRTIO_BLK_S_IOERR);
	for (unsigned page = DISK_DATA / DIRTY_LOG_PAGE, i = 0; i < 2; i++, page++)
		assert_true(bits[page / 8] >> page % 8 & 1);
}

static void does_not_try_for_ever(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	int32_t again[128];
	for (unsigned i = 0; i < 128; i++)
		again[i] = -EAGAIN;
	fake_plan(FAKE_READ, again, 128);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
	/* the next one on the same descriptors has tries of its own */
	FAKE_PLAN(FAKE_READ, -EAGAIN);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	fake_plan(FAKE_WRITE, (const int32_t[]){ 0 }, 1);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 0, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
}

static void an_image_that_shrank_is_an_error(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	assert_int_equal(truncate(f->path, 1000), 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 4096), VIRTIO_BLK_S_IOERR);
}

static void the_last_block_may_be_half_there(void **state)
{
	struct disk *f = *state;
	assert_int_equal(ftruncate(f->file.fd, 10000), 0);
	f->file.size_bytes = 10000;
	f->cfg.block_bytes = 4096;
	disk_up(f, DISK_ALL);
	uint64_t cap = 0;
	vdev_config_read(f->v.dev, 0, &cap, 8);
	assert_int_equal(cap, 3 * 8);
	memset(f->v.ram + DISK_DATA, 0xee, 8192);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_IN, 8, DISK_DATA, 8192);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 8193);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(f->v.ram[DISK_DATA + i],
				 4096 + i < 10000 ? disk_image_byte(4096 + i) : 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 16, DISK_DATA, 8192), VIRTIO_BLK_S_IOERR);
	/* behind the end nothing is read; but what was not written is not there */
	memset(f->v.ram + DISK_DATA, 0x33, 4096);
	FAKE_PLAN(FAKE_WRITE, 2000, 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 16, DISK_DATA, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(f->v.ram[DISK_DATA + 4095], 0x33);
	/* a write completes the block */
	memset(f->v.ram + DISK_DATA, 0x33, 4096);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 16, DISK_DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_file_byte(f, 12287), 0x33);
	memset(f->v.ram + DISK_DATA, 0, 4096);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 16, DISK_DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DISK_DATA + 4095], 0x33);
}

/* --- O_DIRECT --- */

static void direct(struct disk *f, uint32_t align)
{
	f->file.is_direct = true;
	f->file.mem_align = align;
	f->file.io_align = align;
	f->cfg.block_bytes = align;
	disk_up(f, DISK_ALL);
}

static void only_what_is_not_aligned_is_copied(void **state)
{
	struct disk *f = *state;
	direct(f, 4096);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 8, DISK_DATA, 8192), VIRTIO_BLK_S_OK);
	assert_ptr_equal(fake_last.iov[0].iov_base, f->v.ram + DISK_DATA);
	for (unsigned i = 0; i < 3; i++) { /* 0x200 and 1 byte off; and then writing */
		uint64_t at = DISK_DATA + (i ? 1 : 0x200);
		memset(f->v.ram + at, 0x5a, 8192);
		assert_int_equal(
			disk_run(f, i < 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8, at, 8192),
			VIRTIO_BLK_S_OK);
		const uint8_t *used = fake_last.iov[0].iov_base;
		assert_true(used < f->v.ram || used >= f->v.ram + DRIVE_RAM_BYTES);
		assert_int_equal((uintptr_t)used % 4096, 0);
		for (unsigned k = 0; k < 8192; k++)
			assert_int_equal(i < 2 ? f->v.ram[at + k] : disk_file_byte(f, 4096 + k),
					 i < 2 ? disk_image_byte(4096 + k) : 0x5a);
	}
	/* and the next one on the same descriptors is not copied any more */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 8, DISK_DATA, 8192), VIRTIO_BLK_S_OK);
	assert_ptr_equal(fake_last.iov[0].iov_base, f->v.ram + DISK_DATA);
	/* less than the host's block: refused, as the configuration space told the driver */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 1, DISK_DATA, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 8, DISK_DATA, 512), VIRTIO_BLK_S_IOERR);
}

static void parts_of_odd_length_are_copied(void **state)
{
	struct disk *f = *state;
	direct(f, 512);
	disk_put_header(f, DISK_HEADER(0), VIRTIO_BLK_T_IN, 2);
	const struct drive_seg s[] = { { DISK_HEADER(0), 16 },
				       { DISK_DATA, 100 },
				       { DISK_DATA + 0x1000, 412 },
				       { DISK_STATUS(0), 1 } };
	drive_offer(&f->v, 0, s, 1, 3);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 513);
	assert_int_equal(fake_last.nr, 1);
	assert_int_equal(fake_last.iov[0].iov_len, 512);
	assert_int_equal(f->v.ram[DISK_DATA + 99], disk_image_byte(1024 + 99));
	assert_int_equal(f->v.ram[DISK_DATA + 0x1000], disk_image_byte(1024 + 100));
}

static void a_large_copy_goes_in_pieces(void **state)
{
	struct disk *f = *state;
	direct(f, 512);
	const uint32_t len = 600 << 10;
	FAKE_PLAN(FAKE_READ, 1000, -EINTR, 100000); /* rounded down to whole blocks */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 2, DISK_DATA + 7, len), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < len; i++)
		assert_int_equal(f->v.ram[DISK_DATA + 7 + i], disk_image_byte(1024 + i));
	for (unsigned i = 0; i < len; i++)
		f->v.ram[DISK_DATA + 7 + i] = (uint8_t)(i * 3);
	FAKE_PLAN(FAKE_WRITE, 131072, 1000, 513);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_OUT, 4, DISK_DATA + 7, len), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < len; i += 97)
		assert_int_equal(disk_file_byte(f, 2048 + i), (uint8_t)(i * 3));
}

static void alignment_the_kernel_did_not_tell(void **state)
{
	struct disk *f = *state;
	direct(f, 512);
	FAKE_PLAN(FAKE_READ, -EINVAL);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 2, DISK_DATA, 1024), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DISK_DATA], disk_image_byte(1024));
	FAKE_PLAN(FAKE_READ, -EINVAL, -EINVAL);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 2, DISK_DATA, 1024), VIRTIO_BLK_S_IOERR);
}

static void more_copies_than_buffers_wait_their_turn(void **state)
{
	struct disk *f = *state;
	direct(f, 512);
	fake_held = 1u << FAKE_READ;
	for (unsigned i = 0; i < 20; i++)
		(void)disk_ask(f, VIRTIO_BLK_T_IN, i, DISK_DATA + i * 1024 + 1, 512);
	fake_passes(5);
	assert_int_equal(fake_asked(FAKE_READ), 8);
	fake_held = 0;
	for (unsigned i = 0; i < 20; i++)
		(void)drive_wait(&f->v, 0, NULL);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(disk_status(f, i), VIRTIO_BLK_S_OK);
		assert_int_equal(f->v.ram[DISK_DATA + i * 1024 + 1], disk_image_byte(i * 512));
		assert_int_equal(f->v.ram[DISK_DATA + i * 1024 + 512],
				 disk_image_byte(i * 512 + 511));
	}
}

static void a_direct_tail_reads_as_zeroes(void **state)
{
	struct disk *f = *state;
	assert_int_equal(ftruncate(f->file.fd, 4096 + 300), 0);
	f->file.size_bytes = 4096 + 300;
	direct(f, 4096);
	for (unsigned off = 0; off < 2; off++) { /* straight, and copied */
		memset(f->v.ram + DISK_DATA, 0xee, 16384);
		assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA + off, 8192),
				 VIRTIO_BLK_S_OK);
		/* the host would refuse to go on where the file ends */
		assert_int_equal(fake_asked(FAKE_READ), off + 1);
		for (unsigned i = 0; i < 8192; i++)
			assert_int_equal(f->v.ram[DISK_DATA + off + i],
					 i < 4396 ? disk_image_byte(i) : 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_and_says_how_much),
		T(writes_what_reads_then_see),
		T(goes_on_after_short_reads),
		T(goes_on_after_short_writes),
		T(goes_on_with_the_parts_that_are_left),
		T(an_error_hits_its_request_alone),
		T(memory_of_a_failed_read_is_marked),
		T(does_not_try_for_ever),
		T(an_image_that_shrank_is_an_error),
		T(the_last_block_may_be_half_there),
		T(only_what_is_not_aligned_is_copied),
		T(parts_of_odd_length_are_copied),
		T(a_large_copy_goes_in_pieces),
		T(alignment_the_kernel_did_not_tell),
		T(more_copies_than_buffers_wait_their_turn),
		T(a_direct_tail_reads_as_zeroes),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	disk_use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
