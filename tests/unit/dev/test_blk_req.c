/* test_blk_req.c - requests of every form, broken ones too; identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include "disk.h"

static void any_layout_will_do(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_header(f, DISK_HEADER(0), VIRTIO_BLK_T_OUT, 4);
	memset(f->v.ram + DISK_HEADER(0) + 16, 0x11, 512);
	/* a header in three pieces, the last one with data; data in two; status apart */
	const struct drive_seg out[] = { { DISK_HEADER(0), 3 },
					 { DISK_HEADER(0) + 3, 10 },
					 { DISK_HEADER(0) + 13, 203 },
					 { DISK_HEADER(0) + 216, 312 },
					 { DISK_DATA, 1 } };
	drive_offer(&f->v, 0, out, 4, 1);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(f->v.ram[DISK_DATA], VIRTIO_BLK_S_OK);
	assert_int_equal(disk_file_byte(f, 4 * 512), 0x11);
	assert_int_equal(disk_file_byte(f, 5 * 512 - 1), 0x11);
	/* data and status in one buffer */
	disk_put_header(f, DISK_HEADER(0), VIRTIO_BLK_T_IN, 4);
	f->v.ram[DISK_DATA + 512] = 0xff;
	const struct drive_seg in[] = { { DISK_HEADER(0), 16 },
					{ DISK_DATA, 100 },
					{ DISK_DATA + 100, 413 } };
	drive_offer(&f->v, 0, in, 1, 2);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 513);
	assert_int_equal(f->v.ram[DISK_DATA + 512], VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DISK_DATA], 0x11);
	assert_int_equal(f->v.ram[DISK_DATA + 511], 0x11);
}

static const struct {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	uint8_t status;
} refused[] = {
	{ "read past the end", VIRTIO_BLK_T_IN, DISK_BYTES / 512, 512, VIRTIO_BLK_S_IOERR },
	{ "read over the end", VIRTIO_BLK_T_IN, DISK_BYTES / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ "write over the end", VIRTIO_BLK_T_OUT, DISK_BYTES / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ "sector that wraps", VIRTIO_BLK_T_IN, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
	{ "sector that wraps in bytes", VIRTIO_BLK_T_OUT, 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
	{ "no whole sectors", VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR },
	{ "no whole sectors written", VIRTIO_BLK_T_OUT, 0, 513, VIRTIO_BLK_S_IOERR },
	{ "unknown type", 77, 0, 512, VIRTIO_BLK_S_UNSUPP },
	{ "type with all bits", UINT32_MAX, 0, 512, VIRTIO_BLK_S_UNSUPP },
	{ "secure erase, not offered", VIRTIO_BLK_T_SECURE_ERASE, 0, 16, VIRTIO_BLK_S_UNSUPP },
	{ "discard without ranges", VIRTIO_BLK_T_DISCARD, 0, 0, VIRTIO_BLK_S_IOERR },
	{ "half a range", VIRTIO_BLK_T_DISCARD, 0, 24, VIRTIO_BLK_S_IOERR },
	{ "too many ranges", VIRTIO_BLK_T_WRITE_ZEROES, 0, 33 * 16, VIRTIO_BLK_S_IOERR },
	{ "id without room", VIRTIO_BLK_T_GET_ID, 0, 0, VIRTIO_BLK_S_IOERR },
};

static void refuses_only_the_request(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint8_t s = disk_run(f, refused[i].type, refused[i].sector, DISK_DATA,
				     refused[i].len);
		if (s != refused[i].status)
			fail_msg("%s: status %u", refused[i].what, s);
		assert_false(drive_needs_reset(&f->v));
	}
	assert_int_equal(fake_asked(FAKE_READ) + fake_asked(FAKE_WRITE) + fake_asked(FAKE_ALLOC),
			 0);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void a_short_header_is_an_error(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	const struct drive_seg s[] = { { DISK_HEADER(0), 15 }, { DISK_STATUS(0), 1 } };
	drive_offer(&f->v, 0, s, 1, 1);
	drive_kick(&f->v, 0);
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(disk_status(f, 0), VIRTIO_BLK_S_IOERR);
}

static void a_header_is_not_looked_for_in_what_is_written(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	disk_put_header(f, DISK_DATA, VIRTIO_BLK_T_IN, 0);
	const struct drive_seg s = { DISK_DATA, 513 };
	drive_offer(&f->v, 0, &s, 0, 1);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(f->v.ram[DISK_DATA + 512], VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_asked(FAKE_READ), 0);
}

static const struct {
	const char *what;
	struct drive_seg segs[2];
	unsigned nr_out, nr_in;
} hostile[] = {
	{ "no status byte", { { DISK_HEADER(90), 16 } }, 1, 0 },
	{ "status of no bytes", { { DISK_HEADER(90), 16 }, { DISK_STATUS(90), 0 } }, 1, 1 },
	{ "status past RAM", { { DISK_HEADER(90), 16 }, { DRIVE_RAM_BYTES, 1 } }, 1, 1 },
	{ "header past RAM", { { UINT64_MAX - 3, 16 }, { DISK_STATUS(90), 1 } }, 1, 1 },
};

static void a_broken_queue_needs_a_reset_and_gets_one(void **state)
{
	struct disk *f = *state;
	struct vdev *d;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), 0);
	drive_attach(&f->v, d);
	for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		drive_up(&f->v, DISK_ALL);
		f->nr = 0;
		fake_held = 1u << FAKE_READ;
		unsigned n = disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA,
				      512); /* is in flight meanwhile */
		fake_passes(3);
		unsigned before = f->v.config_changes;
		drive_offer(&f->v, 0, hostile[i].segs, hostile[i].nr_out, hostile[i].nr_in);
		drive_kick(&f->v, 0);
		fake_held = 0;
		fake_passes(5);
		if (!drive_needs_reset(&f->v))
			fail_msg("%s: no reset wanted", hostile[i].what);
		assert_int_equal(f->v.config_changes, before + 1);
		(void)drive_wait(&f->v, 0, NULL);
		assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
		drive_reset(&f->v);
	}
	drive_up(&f->v, DISK_ALL);
	f->nr = 0;
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
}

static void a_request_without_a_status_stops_no_other(void **state)
{
	struct disk *f = *state;
	disk_up(f, DISK_ALL);
	/* until it knows the memory a queue takes one at a time */
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512), VIRTIO_BLK_S_OK);
	drive_offer(&f->v, 0, hostile[0].segs, hostile[0].nr_out, hostile[0].nr_in);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_IN, 0, DISK_DATA, 512); /* of the same pass */
	fake_passes(5);
	assert_true(drive_needs_reset(&f->v));
	assert_int_equal(drive_wait(&f->v, 0, NULL), 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 513);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
}

static void tells_its_name(void **state)
{
	struct disk *f = *state;
	static const char full[20] = "a serial number";
	disk_up(f, DISK_ALL);
	memset(f->v.ram + DISK_DATA, 0xee, 64);
	unsigned n = disk_ask(f, VIRTIO_BLK_T_GET_ID, 0, DISK_DATA, 20);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 21);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DISK_DATA, full, 20);
	assert_int_equal(f->v.ram[DISK_DATA + 20], 0xee);
	assert_int_equal(disk_run(f, VIRTIO_BLK_T_GET_ID, 0, DISK_DATA + 32, 4), VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DISK_DATA + 32, "a se\xee", 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_layout_will_do),
		T(refuses_only_the_request),
		T(a_short_header_is_an_error),
		T(a_header_is_not_looked_for_in_what_is_written),
		T(a_broken_queue_needs_a_reset_and_gets_one),
		T(a_request_without_a_status_stops_no_other),
		T(tells_its_name),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	disk_use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
