/*
 * test_blk.c - the block device with a reactor that does as it is told: every answer of the host,
 * in every order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "base/le.h"
#include "dev/virtio_devs.h"
#include "drive.h"
#include "fake_reactor.h"

#define IMAGE_BYTES (1u << 20)
#define HEADER(n)   (DRIVE_DATA + (n)*0x100u)
#define STATUS(n)   (HEADER(n) + 0x80u)
#define DATA        (DRIVE_DATA + 0x100000u)
#define ALL         (~0ull)
#define BIT(f)      (1ull << (f))

struct fixture {
	struct drive v;
	char path[32];
	int look; /* at the image, from outside */
	struct afile file;
	struct blk_config cfg;
	unsigned nr; /* requests made: each has its header and status */
};

static bool use_indirect;

static void step(void *ctx)
{
	(void)ctx;
	fake_pass();
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = step;
	f->v.use_indirect = use_indirect;
	(void)snprintf(f->path, sizeof(f->path), "blk-XXXXXX");
	int fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(fd >= 0);
	uint8_t *image = malloc(IMAGE_BYTES);
	for (unsigned i = 0; i < IMAGE_BYTES; i++)
		image[i] = (uint8_t)(i / 512 + i % 7);
	assert_int_equal(pwrite(fd, image, IMAGE_BYTES, 0), IMAGE_BYTES);
	free(image);
	f->look = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_true(f->look >= 0);
	f->file = (struct afile){ .fd = fd,
				  .can_punch = true,
				  .can_zero = true,
				  .mem_align = 1,
				  .io_align = 1,
				  .block_bytes = 4096,
				  .size_bytes = IMAGE_BYTES };
	f->cfg = (struct blk_config){ .name = "block0",
				      .file = &f->file,
				      .nr_queues = 1,
				      .queue_size = 128,
				      .block_bytes = 512,
				      .has_discard = true,
				      .serial = "a serial number" };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	fake_held = 0;
	drive_fini(&f->v);
	if (f->file.fd >= 0)
		(void)close(f->file.fd);
	(void)close(f->look);
	(void)unlink(f->path);
	free(f);
	return 0;
}

static void start(struct fixture *f, uint64_t features)
{
	struct vdev *d;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, features);
}

static uint8_t image_byte(uint64_t at)
{
	return (uint8_t)(at / 512 + at % 7);
}

/* Byte @at of the file now. */
static uint8_t file_byte(const struct fixture *f, uint64_t at)
{
	uint8_t b = 0xee;
	assert_int_equal(pread(f->look, &b, 1, (off_t)at), 1);
	return b;
}

static void put_header(struct fixture *f, uint64_t addr, uint32_t type, uint64_t sector)
{
	le_store(f->v.ram + addr, type, 4);
	le_store(f->v.ram + addr + 4, 0, 4);
	le_store(f->v.ram + addr + 8, sector, 8);
}

/* Offer a request in the usual form; its number. */
static unsigned ask(struct fixture *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len)
{
	unsigned n = f->nr++;
	bool is_out = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
		      type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct drive_seg s[3] = { { HEADER(n), 16 }, { addr, len }, { STATUS(n), 1 } };
	if (!len)
		s[1] = s[2];
	put_header(f, HEADER(n), type, sector);
	f->v.ram[STATUS(n)] = 0xff;
	drive_offer(&f->v, 0, s, is_out && len ? 2 : 1, len && !is_out ? 2 : 1);
	drive_kick(&f->v, 0);
	return n;
}

static uint8_t status_of(const struct fixture *f, unsigned n)
{
	return f->v.ram[STATUS(n)];
}

/* The same, to its end; returns the status. */
static uint8_t run(struct fixture *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len)
{
	unsigned n = ask(f, type, sector, addr, len);
	(void)drive_wait(&f->v, 0, NULL);
	return status_of(f, n);
}

static void passes(unsigned n)
{
	while (n--)
		fake_pass();
}

/* --- reads and writes --- */

static void reads_and_says_how_much(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	unsigned n = ask(f, VIRTIO_BLK_T_IN, 3, DATA, 4096);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 4097);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(f->v.ram[DATA + i], image_byte(3 * 512 + i));
	assert_int_equal(f->v.ram[DATA + 4096], 0);
}

static void writes_what_reads_then_see(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	memset(f->v.ram + DATA, 0xa5, 1024);
	unsigned n = ask(f, VIRTIO_BLK_T_OUT, 9, DATA, 1024);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, 0); /* a write-back cache: no sync */
	assert_int_equal(file_byte(f, 9 * 512), 0xa5);
	assert_int_equal(file_byte(f, 11 * 512 - 1), 0xa5);
	assert_int_equal(file_byte(f, 11 * 512), image_byte(11 * 512));
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 9, DATA + 0x10000, 1024), VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DATA, f->v.ram + DATA + 0x10000, 1024);
}

/* VIRTIO 1.2 §2.7.4: no framing may be assumed. */
static void any_layout_will_do(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	put_header(f, HEADER(0), VIRTIO_BLK_T_OUT, 4);
	memset(f->v.ram + HEADER(0) + 16, 0x11, 512);
	/* a header in three pieces, the last one with data; data in two; status apart */
	const struct drive_seg out[] = { { HEADER(0), 3 },
					 { HEADER(0) + 3, 10 },
					 { HEADER(0) + 13, 203 },
					 { HEADER(0) + 216, 312 },
					 { DATA, 1 } };
	drive_offer(&f->v, 0, out, 4, 1);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(f->v.ram[DATA], VIRTIO_BLK_S_OK);
	assert_int_equal(file_byte(f, 4 * 512), 0x11);
	assert_int_equal(file_byte(f, 5 * 512 - 1), 0x11);
	/* data and status in one buffer */
	put_header(f, HEADER(0), VIRTIO_BLK_T_IN, 4);
	f->v.ram[DATA + 512] = 0xff;
	const struct drive_seg in[] = { { HEADER(0), 16 }, { DATA, 100 }, { DATA + 100, 413 } };
	drive_offer(&f->v, 0, in, 1, 2);
	drive_kick(&f->v, 0);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 513);
	assert_int_equal(f->v.ram[DATA + 512], VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DATA], 0x11);
	assert_int_equal(f->v.ram[DATA + 511], 0x11);
}

static const struct {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	uint8_t status;
} refused[] = {
	{ "read past the end", VIRTIO_BLK_T_IN, IMAGE_BYTES / 512, 512, VIRTIO_BLK_S_IOERR },
	{ "read over the end", VIRTIO_BLK_T_IN, IMAGE_BYTES / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ "write over the end", VIRTIO_BLK_T_OUT, IMAGE_BYTES / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
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
	struct fixture *f = *state;
	start(f, ALL);
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint8_t s = run(f, refused[i].type, refused[i].sector, DATA, refused[i].len);
		if (s != refused[i].status)
			fail_msg("%s: status %u", refused[i].what, s);
		assert_false(drive_needs_reset(&f->v));
	}
	assert_int_equal(fake_asked(FAKE_READ) + fake_asked(FAKE_WRITE) + fake_asked(FAKE_ALLOC),
			 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

static void a_short_header_is_an_error(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	const struct drive_seg s[] = { { HEADER(0), 15 }, { STATUS(0), 1 } };
	drive_offer(&f->v, 0, s, 1, 1);
	drive_kick(&f->v, 0);
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(status_of(f, 0), VIRTIO_BLK_S_IOERR);
}

static const struct {
	const char *what;
	struct drive_seg segs[2];
	unsigned nr_out, nr_in;
} hostile[] = {
	{ "no status byte", { { HEADER(90), 16 } }, 1, 0 },
	{ "status of no bytes", { { HEADER(90), 16 }, { STATUS(90), 0 } }, 1, 1 },
	{ "status past RAM", { { HEADER(90), 16 }, { DRIVE_RAM_BYTES, 1 } }, 1, 1 },
	{ "header past RAM", { { UINT64_MAX - 3, 16 }, { STATUS(90), 1 } }, 1, 1 },
};

static void a_broken_queue_needs_a_reset_and_gets_one(void **state)
{
	struct fixture *f = *state;
	struct vdev *d;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), 0);
	drive_attach(&f->v, d);
	for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		drive_up(&f->v, ALL);
		f->nr = 0;
		fake_held = 1u << FAKE_READ;
		unsigned n = ask(f, VIRTIO_BLK_T_IN, 0, DATA, 512); /* is in flight meanwhile */
		passes(3);
		unsigned before = f->v.config_changes;
		drive_offer(&f->v, 0, hostile[i].segs, hostile[i].nr_out, hostile[i].nr_in);
		drive_kick(&f->v, 0);
		fake_held = 0;
		passes(5);
		if (!drive_needs_reset(&f->v))
			fail_msg("%s: no reset wanted", hostile[i].what);
		assert_int_equal(f->v.config_changes, before + 1);
		(void)drive_wait(&f->v, 0, NULL);
		assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
		drive_reset(&f->v);
	}
	drive_up(&f->v, ALL);
	f->nr = 0;
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

/* --- what the host answers --- */

static int32_t script[256];
static unsigned script_len, script_at;
static enum fake_kind script_kind;

/* Answers of the host in order; after them it works. INT32_MAX: carry it out. */
static bool play(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	if (o->kind != script_kind || (o->kind == FAKE_READ && o->off == -1))
		return false;
	if (script_at >= script_len)
		return false;
	int32_t r = script[script_at++];
	if (r > 0) {
		*max = (uint64_t)r; /* so many bytes only */
		return false;
	}
	*res = r;
	return true;
}

static void plan(enum fake_kind kind, const int32_t *res, unsigned nr)
{
	memcpy(script, res, nr * sizeof(*res));
	script_kind = kind;
	script_len = nr;
	script_at = 0;
	fake_hook = play;
}
#define PLAN(kind, ...)                                                                            \
	plan(kind, (const int32_t[]){ __VA_ARGS__ },                                               \
	     sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

static void goes_on_after_short_reads(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	PLAN(FAKE_READ, 1, 511, -EINTR, 513, -EAGAIN, 2000);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 8, DATA, 8192), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_READ), 7);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(f->v.ram[DATA + i], image_byte(8 * 512 + i));
}

static void goes_on_after_short_writes(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	memset(f->v.ram + DATA, 0x77, 4096);
	PLAN(FAKE_WRITE, 100, -EINTR, 3000, -EAGAIN);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 16, DATA, 4096), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(file_byte(f, 16 * 512 + i), 0x77);
}

static void an_error_hits_its_request_alone(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	PLAN(FAKE_WRITE, 512, -ENOSPC);
	unsigned a = ask(f, VIRTIO_BLK_T_OUT, 0, DATA, 1024);
	unsigned b = ask(f, VIRTIO_BLK_T_OUT, 8, DATA, 1024);
	(void)drive_wait(&f->v, 0, NULL);
	(void)drive_wait(&f->v, 0, NULL);
	assert_true((status_of(f, a) == VIRTIO_BLK_S_OK) != (status_of(f, b) == VIRTIO_BLK_S_OK));
	PLAN(FAKE_READ, -EIO);
	unsigned n = ask(f, VIRTIO_BLK_T_IN, 0, DATA, 512);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 1);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_false(drive_needs_reset(&f->v));
}

static void does_not_try_for_ever(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	int32_t again[128];
	for (unsigned i = 0; i < 128; i++)
		again[i] = -EAGAIN;
	plan(FAKE_READ, again, 128);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_IOERR);
	plan(FAKE_WRITE, (const int32_t[]){ 0 }, 1);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_IOERR);
}

static void an_image_that_shrank_is_an_error(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	assert_int_equal(truncate(f->path, 1000), 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 4096), VIRTIO_BLK_S_IOERR);
}

static void the_last_block_may_be_half_there(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ftruncate(f->file.fd, 10000), 0);
	f->file.size_bytes = 10000;
	f->cfg.block_bytes = 4096;
	start(f, ALL);
	uint64_t cap = 0;
	vdev_config_read(f->v.dev, 0, &cap, 8);
	assert_int_equal(cap, 3 * 8);
	memset(f->v.ram + DATA, 0xee, 8192);
	unsigned n = ask(f, VIRTIO_BLK_T_IN, 8, DATA, 8192);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 8193);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(f->v.ram[DATA + i], 4096 + i < 10000 ? image_byte(4096 + i) : 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 16, DATA, 8192), VIRTIO_BLK_S_IOERR);
	/* a write completes the block */
	memset(f->v.ram + DATA, 0x33, 4096);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 16, DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(file_byte(f, 12287), 0x33);
	memset(f->v.ram + DATA, 0, 4096);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 16, DATA, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DATA + 4095], 0x33);
}

static void a_read_only_disk_is_not_written(void **state)
{
	struct fixture *f = *state;
	f->cfg.is_readonly = true;
	start(f, ALL);
	assert_true(vdev_offered(f->v.dev) & BIT(VIRTIO_BLK_F_RO));
	assert_false(vdev_offered(f->v.dev) &
		     (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_WRITE) + fake_asked(FAKE_ALLOC) + fake_asked(FAKE_SYNC),
			 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

/* --- flush and the cache mode --- */

static void flushes_share_a_sync_that_starts_after_them(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	fake_held = 1u << FAKE_SYNC;
	unsigned a = ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	unsigned b = ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	passes(3);
	assert_int_equal(fake_asked(FAKE_SYNC), 1); /* one for both */
	unsigned c = ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	unsigned d = ask(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	passes(3);
	assert_int_equal(fake_asked(FAKE_SYNC), 1); /* the one under way may have passed them by */
	assert_int_equal(status_of(f, a), 0xff);
	fake_held = 0;
	fake_pass();
	assert_int_equal(status_of(f, a), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(f, b), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(f, c), 0xff);
	assert_int_equal(fake_asked(FAKE_SYNC), 2);
	fake_pass();
	assert_int_equal(status_of(f, c), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(f, d), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_SYNC), 2);
}

static void lost_writes_are_not_forgotten(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	PLAN(FAKE_SYNC, -EINTR);
	assert_int_equal(run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	PLAN(FAKE_SYNC, -EIO);
	assert_int_equal(run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

static void without_flush_every_write_is_durable(void **state)
{
	struct fixture *f = *state;
	start(f, ALL & ~BIT(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, RWF_DSYNC);
	uint8_t wce = 7;
	vdev_config_read(f->v.dev, offsetof(struct virtio_blk_config, wce), &wce, 1);
	assert_int_equal(wce, 0);
}

static void the_driver_may_switch_the_cache_off(void **state)
{
	struct fixture *f = *state;
	const uint32_t at = offsetof(struct virtio_blk_config, wce);
	uint8_t wce = 7;
	start(f, ALL);
	vdev_config_read(f->v.dev, at, &wce, 1);
	assert_int_equal(wce, 1);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, 0);
	vdev_config_write(f->v.dev, at, &(uint8_t){ 0 }, 1);
	vdev_config_read(f->v.dev, at, &wce, 1);
	assert_int_equal(wce, 0);
	assert_int_equal(fake_asked(FAKE_SYNC), 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_SYNC), 1); /* for what was written before */
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, RWF_DSYNC);
	assert_int_equal(fake_asked(FAKE_SYNC), 1);
	/* a reset brings the cache back */
	drive_reset(&f->v);
	drive_up(&f->v, ALL & ~BIT(VIRTIO_BLK_F_CONFIG_WCE));
	vdev_config_write(f->v.dev, at, &(uint8_t){ 0 }, 1); /* not negotiated: ignored */
	f->nr = 0;
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, 0);
}

/* --- discard, write zeroes, id --- */

static void put_range(struct fixture *f, unsigned i, uint64_t sector, uint32_t nr, uint32_t flags)
{
	uint8_t *p = f->v.ram + DATA + i * 16;
	le_store(p, sector, 8);
	le_store(p + 8, nr, 4);
	le_store(p + 12, flags, 4);
}

static void zeroes_each_range_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	const uint32_t types[] = { VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	start(f, ALL);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = 100 + 200 * i;
		put_range(f, 0, at, 8, 0);
		put_range(f, 1, at, 0, 0); /* empty: fine */
		put_range(f, 2, at + 50, 3, 0);
		assert_int_equal(run(f, types[i], 0, DATA, 48), VIRTIO_BLK_S_OK);
		assert_int_equal(fake_asked(FAKE_ALLOC), 2 * (i + 1));
		for (uint64_t s = at - 1; s < at + 60; s++) {
			bool zero = (s >= at && s < at + 8) || (s >= at + 50 && s < at + 53);
			assert_int_equal(file_byte(f, s * 512 + 5),
					 zero ? 0 : image_byte(s * 512 + 5));
		}
	}
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, IMAGE_BYTES);
}

static void ranges_may_lie_in_pieces(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	put_header(f, HEADER(0), VIRTIO_BLK_T_DISCARD, 0);
	put_range(f, 0, 10, 1, 0);
	put_range(f, 1, 20, 1, 0);
	const struct drive_seg s[] = { { HEADER(0), 16 }, { DATA, 5 },       { DATA + 5, 10 },
				       { DATA + 15, 7 },  { DATA + 22, 10 }, { STATUS(0), 1 } };
	drive_offer(&f->v, 0, s, 5, 1);
	drive_kick(&f->v, 0);
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(status_of(f, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(file_byte(f, 10 * 512 + 3), 0);
	assert_int_equal(file_byte(f, 20 * 512 + 3), 0);
	assert_int_equal(file_byte(f, 21 * 512), image_byte(21 * 512));
}

static void unmap_allows_a_hole(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	put_range(f, 0, 0, 8, 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_last.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE);
	put_range(f, 0, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
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
	{ "past the end", VIRTIO_BLK_T_DISCARD, IMAGE_BYTES / 512, 1, 0, VIRTIO_BLK_S_IOERR },
	{ "over the end", VIRTIO_BLK_T_WRITE_ZEROES, IMAGE_BYTES / 512 - 1, 2, 0,
	  VIRTIO_BLK_S_IOERR },
	{ "sector that wraps", VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 1, 0, VIRTIO_BLK_S_IOERR },
	{ "longer than the limit", VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
};

static void one_bad_range_and_nothing_is_touched(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	for (unsigned i = 0; i < sizeof(bad_range) / sizeof(bad_range[0]); i++) {
		put_range(f, 0, 0, 8, 0);
		put_range(f, 1, bad_range[i].sector, bad_range[i].nr, bad_range[i].flags);
		uint8_t s = run(f, bad_range[i].type, 0, DATA, 32);
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
	static struct fixture *f;
	if (!o) {
		f = (void *)max;
		return false;
	}
	if (o->kind == FAKE_ALLOC)
		put_range(f, 1, 1ull << 40, 8, 0);
	return false;
}

static void a_range_that_changes_is_checked_again(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	(void)swap_range(NULL, NULL, (void *)f);
	fake_hook = swap_range;
	put_range(f, 0, 0, 8, 0);
	put_range(f, 1, 16, 8, 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 32), VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_asked(FAKE_ALLOC), 1);
}

static void zeroes_are_written_where_they_cannot_be_told(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	PLAN(FAKE_ALLOC, -EOPNOTSUPP);
	put_range(f, 0, 1, 1200, 0); /* 600 KiB */
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
	assert_true(fake_asked(FAKE_WRITE) >= 1);
	assert_int_equal(file_byte(f, 511), image_byte(511));
	for (uint64_t s = 1; s < 1201; s += 13)
		assert_int_equal(file_byte(f, s * 512 + 1), 0);
	assert_int_equal(file_byte(f, 1201 * 512), image_byte(1201 * 512));
	PLAN(FAKE_ALLOC, -ENOSPC);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_IOERR);
	PLAN(FAKE_ALLOC, -EAGAIN);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
	PLAN(FAKE_ALLOC, -EOPNOTSUPP); /* a discard is a hint */
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), VIRTIO_BLK_S_OK);
	PLAN(FAKE_ALLOC, -EIO);
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), VIRTIO_BLK_S_IOERR);
}

static void written_zeroes_survive_short_writes(void **state)
{
	struct fixture *f = *state;
	f->file.can_zero = false;
	start(f, ALL);
	put_range(f, 0, 1, 600, 0);
	PLAN(FAKE_WRITE, 5, -EINTR, 100000);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(fake_asked(FAKE_ALLOC), 0);
	for (uint64_t at = 512; at < 601 * 512; at += 101)
		assert_int_equal(file_byte(f, at), 0);
	assert_int_equal(file_byte(f, 601 * 512), image_byte(601 * 512));
	PLAN(FAKE_WRITE, -ENOSPC);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_IOERR);
}

static void written_through_zeroes_are_synced(void **state)
{
	struct fixture *f = *state;
	start(f, ALL & ~BIT(VIRTIO_BLK_F_FLUSH));
	put_range(f, 0, 1, 8, 0);
	fake_held = 1u << FAKE_SYNC;
	unsigned n = ask(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16);
	passes(5);
	assert_int_equal(fake_waiting(FAKE_SYNC), 1);
	assert_int_equal(status_of(f, n), 0xff);
	fake_held = 0;
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
}

static void what_was_not_agreed_is_not_supported(void **state)
{
	struct fixture *f = *state;
	f->cfg.has_discard = false;
	start(f, ALL & ~BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_false(vdev_offered(f->v.dev) & BIT(VIRTIO_BLK_F_DISCARD));
	put_range(f, 0, 0, 8, 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_UNSUPP);
}

static void tells_its_name(void **state)
{
	struct fixture *f = *state;
	static const char full[20] = "a serial number";
	start(f, ALL);
	memset(f->v.ram + DATA, 0xee, 64);
	unsigned n = ask(f, VIRTIO_BLK_T_GET_ID, 0, DATA, 20);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 21);
	assert_int_equal(status_of(f, n), VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DATA, full, 20);
	assert_int_equal(f->v.ram[DATA + 20], 0xee);
	assert_int_equal(run(f, VIRTIO_BLK_T_GET_ID, 0, DATA + 32, 4), VIRTIO_BLK_S_OK);
	assert_memory_equal(f->v.ram + DATA + 32, "a se\xee", 5);
}

/* --- O_DIRECT --- */

static void direct(struct fixture *f, uint32_t align)
{
	f->file.is_direct = true;
	f->file.mem_align = align;
	f->file.io_align = align;
	f->cfg.block_bytes = align;
	start(f, ALL);
}

static void only_what_is_not_aligned_is_copied(void **state)
{
	struct fixture *f = *state;
	direct(f, 4096);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 8, DATA, 8192), VIRTIO_BLK_S_OK);
	assert_ptr_equal(fake_last.iov[0].iov_base, f->v.ram + DATA);
	for (unsigned i = 0; i < 3; i++) { /* 0x200 and 1 byte off; and then writing */
		uint64_t at = DATA + (i ? 1 : 0x200);
		memset(f->v.ram + at, 0x5a, 8192);
		assert_int_equal(run(f, i < 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8, at, 8192),
				 VIRTIO_BLK_S_OK);
		const uint8_t *used = fake_last.iov[0].iov_base;
		assert_true(used < f->v.ram || used >= f->v.ram + DRIVE_RAM_BYTES);
		assert_int_equal((uintptr_t)used % 4096, 0);
		for (unsigned k = 0; k < 8192; k++)
			assert_int_equal(i < 2 ? f->v.ram[at + k] : file_byte(f, 4096 + k),
					 i < 2 ? image_byte(4096 + k) : 0x5a);
	}
	/* less than the host's block: refused, as the configuration space told the driver */
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 1, DATA, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 8, DATA, 512), VIRTIO_BLK_S_IOERR);
}

static void a_large_copy_goes_in_pieces(void **state)
{
	struct fixture *f = *state;
	direct(f, 512);
	const uint32_t len = 600 << 10;
	PLAN(FAKE_READ, 1000, -EINTR, 100000); /* rounded down to whole blocks */
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 2, DATA + 7, len), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < len; i++)
		assert_int_equal(f->v.ram[DATA + 7 + i], image_byte(1024 + i));
	for (unsigned i = 0; i < len; i++)
		f->v.ram[DATA + 7 + i] = (uint8_t)(i * 3);
	PLAN(FAKE_WRITE, 131072, 1000, 513);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 4, DATA + 7, len), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < len; i += 97)
		assert_int_equal(file_byte(f, 2048 + i), (uint8_t)(i * 3));
}

static void alignment_the_kernel_did_not_tell(void **state)
{
	struct fixture *f = *state;
	direct(f, 512);
	PLAN(FAKE_READ, -EINVAL);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 2, DATA, 1024), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DATA], image_byte(1024));
	PLAN(FAKE_READ, -EINVAL, -EINVAL);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 2, DATA, 1024), VIRTIO_BLK_S_IOERR);
}

static void more_copies_than_buffers_wait_their_turn(void **state)
{
	struct fixture *f = *state;
	direct(f, 512);
	fake_held = 1u << FAKE_READ;
	for (unsigned i = 0; i < 20; i++)
		(void)ask(f, VIRTIO_BLK_T_IN, i, DATA + i * 1024 + 1, 512);
	passes(5);
	assert_int_equal(fake_asked(FAKE_READ), 8);
	fake_held = 0;
	for (unsigned i = 0; i < 20; i++)
		(void)drive_wait(&f->v, 0, NULL);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(status_of(f, i), VIRTIO_BLK_S_OK);
		assert_int_equal(f->v.ram[DATA + i * 1024 + 1], image_byte(i * 512));
		assert_int_equal(f->v.ram[DATA + i * 1024 + 512], image_byte(i * 512 + 511));
	}
}

static void a_direct_tail_reads_as_zeroes(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ftruncate(f->file.fd, 4096 + 300), 0);
	f->file.size_bytes = 4096 + 300;
	direct(f, 4096);
	for (unsigned off = 0; off < 2; off++) { /* straight, and copied */
		memset(f->v.ram + DATA, 0xee, 16384);
		assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA + off, 8192), VIRTIO_BLK_S_OK);
		for (unsigned i = 0; i < 8192; i++)
			assert_int_equal(f->v.ram[DATA + off + i], i < 4396 ? image_byte(i) : 0);
	}
}

/* --- life --- */

static void a_reset_waits_for_what_is_in_flight(void **state)
{
	struct fixture *f = *state;
	start(f, ALL);
	for (unsigned round = 0; round < 3; round++) {
		f->nr = 0;
		fake_held = 1u << FAKE_WRITE | 1u << FAKE_SYNC;
		for (unsigned i = 0; i < 8; i++)
			(void)ask(f, i % 2 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT, i, DATA,
				  i % 2 ? 0 : 512);
		passes(round); /* also before the device has seen any of it */
		vdev_set_status(f->v.dev, 0);
		passes(5);
		if (fake_waiting(FAKE_WRITE))
			assert_int_not_equal(vdev_status(f->v.dev), 0);
		fake_held = 0;
		drive_reset(&f->v);
		assert_int_equal(fake_waiting(FAKE_WRITE) + fake_waiting(FAKE_SYNC), 0);
		drive_up(&f->v, ALL);
		f->nr = 0;
		assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
	}
}

static void a_stopped_queue_takes_nothing_more(void **state)
{
	struct fixture *f = *state;
	f->cfg.nr_queues = 2;
	start(f, ALL);
	fake_held = 1u << FAKE_READ;
	unsigned a = ask(f, VIRTIO_BLK_T_IN, 0, DATA, 512);
	passes(3);
	vdev_queue_reset(f->v.dev, 0);
	fake_pass();
	unsigned b = ask(f, VIRTIO_BLK_T_IN, 0, DATA, 512);
	passes(3);
	assert_true(vdev_queue_resetting(f->v.dev, 0));
	fake_held = 0;
	drive_until(&f->v, !vdev_queue_resetting(f->v.dev, 0));
	assert_int_equal(status_of(f, a), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(f, b), 0xff);
	drive_queue_up(&f->v, 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

static void queues_start_and_stop_a_thousand_times(void **state)
{
	struct fixture *f = *state;
	f->cfg.nr_queues = 4;
	start(f, ALL);
	for (unsigned i = 0; i < 1000; i++) {
		drive_queue_reset(&f->v, (uint16_t)(i % 4));
		drive_queue_up(&f->v, (uint16_t)(i % 4));
		if (i % 10 == 0) {
			drive_reset(&f->v);
			drive_up(&f->v, ALL);
		}
	}
	f->nr = 0;
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
}

static unsigned nr_answered(struct fixture *f, unsigned nr)
{
	unsigned done = 0;
	for (unsigned i = 0; i < nr; i++)
		done += status_of(f, i) != 0xff;
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
	struct fixture *f = *state;
	start(f, ALL);
	for (unsigned k = 0; k < sizeof(limited) / sizeof(limited[0]); k++) {
		f->nr = 0;
		blk_set_limits(f->v.dev, &limited[k].limits);
		double t0 = now_s();
		for (unsigned i = 0; i < 30; i++)
			(void)ask(f, VIRTIO_BLK_T_IN, i, DATA, 512);
		fake_held = 1u << FAKE_TIMEOUT;
		unsigned timers = fake_asked(FAKE_TIMEOUT);
		passes(100);
		unsigned done = nr_answered(f, 30);
		if (done < 10 || done > 11 + (unsigned)((now_s() - t0) * 200))
			fail_msg("%s: %u at once", limited[k].what, done);
		assert_int_equal(fake_asked(FAKE_TIMEOUT), timers + 1); /* it does not look again */
		fake_held = 0;
		for (unsigned i = 0; i < 30; i++)
			(void)drive_wait(&f->v, 0, NULL);
		if (now_s() - t0 < 0.09) /* 19 of them at 5 ms, less what the clock rounds */
			fail_msg("%s: done after %f s", limited[k].what, now_s() - t0);
	}
	blk_set_limits(f->v.dev, &(struct blk_limits){ 0 });
	f->nr = 0;
	for (unsigned i = 0; i < 30; i++)
		(void)ask(f, VIRTIO_BLK_T_IN, i, DATA, 512);
	passes(3);
	assert_int_equal(nr_answered(f, 30), 30);
}

static void a_reset_does_not_wait_for_limits(void **state)
{
	struct fixture *f = *state;
	f->cfg.limits = (struct blk_limits){ .ops_per_s = 1, .burst_ops = 1 };
	start(f, ALL);
	for (unsigned i = 0; i < 8; i++)
		(void)ask(f, VIRTIO_BLK_T_IN, i, DATA, 512);
	passes(3);
	assert_int_equal(fake_waiting(FAKE_TIMEOUT), 1);
	fake_held = 1u << FAKE_TIMEOUT;
	vdev_set_status(f->v.dev, 0);
	passes(4);
	assert_int_equal(vdev_status(f->v.dev), 0);
	assert_int_equal(fake_waiting(FAKE_TIMEOUT), 0);
	assert_in_range(nr_answered(f, 8), 1, 3);
	/* limits no machine could keep: neither overflow nor hang */
	const struct blk_limits odd = { UINT64_MAX, UINT64_MAX, 1, 1 };
	blk_set_limits(f->v.dev, &odd);
	fake_held = 0;
	drive_up(&f->v, ALL);
	f->nr = 0;
	(void)ask(f, VIRTIO_BLK_T_IN, 0, DATA, 512);
	(void)drive_wait(&f->v, 0, NULL);
}

static void null_answers_at_once(void **state)
{
	struct fixture *f = *state;
	f->cfg.file = NULL;
	f->cfg.null_bytes = 1ull << 32;
	start(f, ALL);
	memset(f->v.ram + DATA, 0xee, 512);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(f->v.ram[DATA], 0xee);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, (1ull << 23) - 1, DATA, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(run(f, VIRTIO_BLK_T_OUT, 1ull << 23, DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	put_range(f, 0, 0, 8, 0);
	assert_int_equal(run(f, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(run(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, 16), VIRTIO_BLK_S_OK);
}

static void the_configuration_space_tells_it_all(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_config c;
	f->cfg.nr_queues = 4;
	start(f, ALL);
	vdev_config_read(f->v.dev, 0, &c, sizeof(c));
	assert_int_equal(c.capacity, IMAGE_BYTES / 512);
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
	struct fixture *f = *state;
	start(f, ALL);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, IMAGE_BYTES / 512, DATA, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(truncate(f->path, 2 * IMAGE_BYTES), 0);
	unsigned before = f->v.config_changes;
	uint8_t generation = vdev_generation(f->v.dev);
	assert_int_equal(blk_resize(f->v.dev), 0);
	assert_int_equal(f->v.config_changes, before + 1);
	assert_int_not_equal(vdev_generation(f->v.dev), generation);
	assert_int_equal(run(f, VIRTIO_BLK_T_IN, IMAGE_BYTES / 512, DATA, 512), VIRTIO_BLK_S_OK);
}

static void odd_configurations_are_refused(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_and_says_how_much),
		T(writes_what_reads_then_see),
		T(any_layout_will_do),
		T(refuses_only_the_request),
		T(a_short_header_is_an_error),
		T(a_broken_queue_needs_a_reset_and_gets_one),
		T(goes_on_after_short_reads),
		T(goes_on_after_short_writes),
		T(an_error_hits_its_request_alone),
		T(does_not_try_for_ever),
		T(an_image_that_shrank_is_an_error),
		T(the_last_block_may_be_half_there),
		T(a_read_only_disk_is_not_written),
		T(flushes_share_a_sync_that_starts_after_them),
		T(lost_writes_are_not_forgotten),
		T(without_flush_every_write_is_durable),
		T(the_driver_may_switch_the_cache_off),
		T(zeroes_each_range_and_nothing_else),
		T(ranges_may_lie_in_pieces),
		T(unmap_allows_a_hole),
		T(one_bad_range_and_nothing_is_touched),
		T(a_range_that_changes_is_checked_again),
		T(zeroes_are_written_where_they_cannot_be_told),
		T(written_zeroes_survive_short_writes),
		T(written_through_zeroes_are_synced),
		T(what_was_not_agreed_is_not_supported),
		T(tells_its_name),
		T(only_what_is_not_aligned_is_copied),
		T(a_large_copy_goes_in_pieces),
		T(alignment_the_kernel_did_not_tell),
		T(more_copies_than_buffers_wait_their_turn),
		T(a_direct_tail_reads_as_zeroes),
		T(a_reset_waits_for_what_is_in_flight),
		T(a_stopped_queue_takes_nothing_more),
		T(queues_start_and_stop_a_thousand_times),
		T(limits_hold_and_waiting_is_free),
		T(a_reset_does_not_wait_for_limits),
		T(null_answers_at_once),
		T(the_configuration_space_tells_it_all),
		T(a_disk_grows_while_it_runs),
		T(odd_configurations_are_refused),
		T(a_failed_creation_keeps_nothing),
	};
	int failed = cmocka_run_group_tests_name("descriptors in the ring", tests, NULL, NULL);
	use_indirect = true;
	return failed + cmocka_run_group_tests_name("indirect tables", tests, NULL, NULL);
}
