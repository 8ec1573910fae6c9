/*
 * tests_blk.c - every request type of the block device, and every shape a request may have.
 *
 * The writable disk is overwritten. `seed=` chooses the pattern, so that the host can check the
 * image.
 */
#include <linux/virtio_blk.h>
#include "blk.h"
#include "boot.h"
#include "io.h"
#include "mem.h"

#define FEATURE(bit)  (1ul << (bit))
#define BIG           (256u << 10)
#define UNKNOWN_TYPE  0x7fff
#define CONFIG(field) offsetof(struct virtio_blk_config, field)

static uint64_t seed(void)
{
	return boot_param_number("seed", 1);
}

static enum verdict config(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	CHECK(b.sectors > 0);
	CHECK_EQ(mmio_read64(b.dev.config), b.sectors);
	uint64_t expected = boot_param_number("sectors", 0);
	if (expected)
		CHECK_EQ(b.sectors, expected);
	if (b.dev.features & FEATURE(VIRTIO_BLK_F_SEG_MAX))
		CHECK(mmio_read32(b.dev.config + CONFIG(seg_max)) > 0);
	if (b.dev.features & FEATURE(VIRTIO_BLK_F_BLK_SIZE)) {
		uint32_t size = mmio_read32(b.dev.config + CONFIG(blk_size));
		CHECK(size >= SECTOR && (size & (size - 1)) == 0);
	}
	if (b.dev.features & FEATURE(VIRTIO_BLK_F_MQ))
		CHECK_EQ(mmio_read16(b.dev.config + CONFIG(num_queues)), virtio_queues(&b.dev));
	uint32_t low = mmio_read32(b.dev.config);
	mmio_write32(b.dev.config, ~low); /* capacity is not the driver's to change */
	CHECK_EQ(mmio_read32(b.dev.config), low);
	print("info blk %lu sectors, %u queues of %u, features %lx\n", b.sectors,
	      virtio_queues(&b.dev), b.ring.size, virtio_offered(&b.dev));
	blk_close(&b);
	return PASS;
}

static enum verdict round_trip(struct blk *b, uint64_t sector, uint32_t bytes, uint8_t *buf)
{
	blk_pattern(buf, sector, bytes, seed());
	CHECK_EQ(blk_write(b, sector, buf, bytes), VIRTIO_BLK_S_OK);
	CHECK_EQ(b->written, 1);
	mem_fill(buf, 0x77, bytes);
	CHECK_EQ(blk_read(b, sector, buf, bytes), VIRTIO_BLK_S_OK);
	CHECK_EQ(b->written, bytes + 1);
	CHECK(blk_pattern_is(buf, sector, bytes, seed()));
	return PASS;
}

static enum verdict sizes(uint64_t features)
{
	static const uint32_t bytes[] = { 512, 1024, 4096, 4608, 65536, BIG };
	struct blk b;
	CHECK_PASS(blk_open(&b, true, features));
	uint8_t *buf = heap_alloc(BIG, 4096);
	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		CHECK_PASS(round_trip(&b, 0, bytes[i], buf));
		CHECK_PASS(round_trip(&b, 3, bytes[i], buf));
		CHECK_PASS(round_trip(&b, b.sectors - bytes[i] / SECTOR, bytes[i], buf));
	}
	blk_close(&b);
	return PASS;
}

static enum verdict sizes_direct(void)
{
	return sizes(0);
}

static enum verdict sizes_indirect(void)
{
	return sizes(VF_INDIRECT | VF_EVENT_IDX);
}

/* Fill with the pattern from the start: the host looks at the image afterwards. */
static enum verdict fill(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	uint64_t sectors = boot_param_number("fill", 2048);
	uint8_t *buf = heap_alloc(BIG, 4096);
	CHECK(sectors <= b.sectors);
	for (uint64_t at = 0; at < sectors; at += BIG / SECTOR) {
		uint64_t n = sectors - at < BIG / SECTOR ? sectors - at : BIG / SECTOR;
		blk_pattern(buf, at, (uint32_t)n * SECTOR, seed());
		CHECK_EQ(blk_write(&b, at, buf, (uint32_t)n * SECTOR), VIRTIO_BLK_S_OK);
	}
	CHECK_EQ(blk_flush(&b), VIRTIO_BLK_S_OK);
	blk_close(&b);
	return PASS;
}

/* What `blk.fill` of an earlier run, or the host, has left; read-only disks too. */
static enum verdict verify(void)
{
	struct blk b;
	bool is_writable = !boot_param_number("ro", 0);
	CHECK_PASS(blk_open(&b, is_writable, ~0ul));
	uint64_t sectors = boot_param_number("fill", 2048);
	uint8_t *buf = heap_alloc(BIG, 4096);
	for (uint64_t at = 0; at < sectors; at += BIG / SECTOR) {
		uint64_t n = sectors - at < BIG / SECTOR ? sectors - at : BIG / SECTOR;
		CHECK_EQ(blk_read(&b, at, buf, (uint32_t)n * SECTOR), VIRTIO_BLK_S_OK);
		if (!blk_pattern_is(buf, at, (uint32_t)n * SECTOR, seed()))
			return test_fail("wrong data at or behind sector %lu", at);
	}
	blk_close(&b);
	return PASS;
}

/* Cut @bytes at @buf into random pieces, @odd: at any byte, else at multiples of a sector. */
static unsigned cut(struct seg *segs, uint8_t *buf, uint32_t bytes, struct rand *r, bool is_odd,
		    bool is_in)
{
	unsigned n = 0;
	for (uint32_t at = 0; at < bytes;) {
		uint32_t most = bytes - at, piece = most;
		if (n + 1 < BLK_SEGS)
			piece = 1 + (uint32_t)(rand_next(r) % (most < 9000 ? most : 9000));
		if (!is_odd)
			piece = (piece + SECTOR - 1) & ~(SECTOR - 1);
		segs[n++] = (struct seg){ buf + at, piece, is_in };
		at += piece;
	}
	return n;
}

static enum verdict segments(uint64_t features, bool is_odd)
{
	struct blk b;
	struct rand r = { seed() };
	struct seg segs[BLK_SEGS];
	CHECK_PASS(blk_open(&b, true, features));
	uint8_t *out = (uint8_t *)heap_alloc(BIG + 16, 4096) + (is_odd ? 3 : 0);
	uint8_t *in = (uint8_t *)heap_alloc(BIG + 16, 4096) + (is_odd ? 5 : 0);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t bytes = SECTOR * (1 + (uint32_t)(rand_next(&r) % (BIG / 4 / SECTOR)));
		uint64_t at = rand_next(&r) % (b.sectors - bytes / SECTOR + 1);
		blk_pattern(out, at, bytes, seed() + i);
		unsigned n = cut(segs, out, bytes, &r, is_odd, false);
		CHECK_EQ(blk_do(&b, VIRTIO_BLK_T_OUT, at, segs, n), VIRTIO_BLK_S_OK);
		mem_fill(in, 0x77, bytes);
		n = cut(segs, in, bytes, &r, is_odd, true);
		CHECK_EQ(blk_do(&b, VIRTIO_BLK_T_IN, at, segs, n), VIRTIO_BLK_S_OK);
		CHECK_EQ(b.written, bytes + 1);
		CHECK(mem_equal(in, out, bytes));
	}
	blk_close(&b);
	return PASS;
}

static enum verdict segments_direct(void)
{
	return segments(0, false);
}

static enum verdict segments_indirect(void)
{
	return segments(VF_INDIRECT | VF_EVENT_IDX, false);
}

static enum verdict unaligned_direct(void)
{
	return segments(0, true);
}

static enum verdict unaligned_indirect(void)
{
	return segments(VF_INDIRECT | VF_EVENT_IDX, true);
}

/* VIRTIO 1.2 §2.7.4.1: no meaning in where one buffer ends and the next begins. */
static enum verdict framing(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, 0));
	uint8_t *buf = heap_alloc(SECTOR + 1, 16);
	blk_pattern(buf, 7, SECTOR, seed());
	CHECK_EQ(blk_write(&b, 7, buf, SECTOR), VIRTIO_BLK_S_OK);
	*b.header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN, .sector = 7 };
	mem_fill(buf, BLK_PENDING, SECTOR + 1);
	const uint8_t *h = (const uint8_t *)b.header;
	struct seg segs[] = { { h, 3, false }, { h + 3, 13, false }, { buf, SECTOR + 1, true } };
	int head = ring_put(&b.ring, segs, 3, false);
	CHECK(head >= 0);
	ring_offer(&b.ring, (uint16_t)head);
	ring_kick(&b.ring);
	CHECK(ring_take_wait(&b.ring, &b.written, 2000) == head);
	CHECK_EQ(buf[SECTOR], VIRTIO_BLK_S_OK); /* the status is the last byte, wherever it lies */
	CHECK(blk_pattern_is(buf, 7, SECTOR, seed()));
	blk_close(&b);
	return PASS;
}

static enum verdict flush(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	if (!(b.dev.features & FEATURE(VIRTIO_BLK_F_FLUSH)))
		return test_skip("not offered");
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(blk_flush(&b), VIRTIO_BLK_S_OK);
	CHECK_EQ(b.written, 1);
	blk_close(&b);
	return PASS;
}

static enum verdict get_id(void)
{
	struct blk b;
	char id[VIRTIO_BLK_ID_BYTES + 1] = { 0 };
	char expected[VIRTIO_BLK_ID_BYTES + 1];
	struct seg s = { id, VIRTIO_BLK_ID_BYTES, true };
	CHECK_PASS(blk_open(&b, true, 0));
	CHECK_EQ(blk_do(&b, VIRTIO_BLK_T_GET_ID, 0, &s, 1), VIRTIO_BLK_S_OK);
	print("info blk id '%s'\n", id);
	if (boot_param("id", expected, sizeof(expected)) && !str_equal(id, expected))
		return test_fail("id is '%s', not '%s'", id, expected);
	blk_close(&b);
	return PASS;
}

static enum verdict unknown_type(void)
{
	struct blk b;
	uint8_t buf[SECTOR];
	struct seg in = { buf, SECTOR, true }, out = { buf, SECTOR, false };
	CHECK_PASS(blk_open(&b, true, 0));
	CHECK_EQ(blk_do(&b, UNKNOWN_TYPE, 0, NULL, 0), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(blk_do(&b, UNKNOWN_TYPE, 0, &in, 1), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(blk_do(&b, UNKNOWN_TYPE, 0, &out, 1), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(blk_read(&b, 0, buf, SECTOR), VIRTIO_BLK_S_OK);
	blk_close(&b);
	return PASS;
}

static enum verdict out_of_range_of(bool is_writable)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, is_writable, 0));
	uint8_t *buf = heap_alloc(4 * SECTOR, 4096);
	const uint64_t bad[] = { b.sectors - 1, b.sectors, b.sectors + 1, 1ul << 54,
				 ~0ul >> 9,     ~0ul - 1,  ~0ul };
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(blk_read(&b, bad[i], buf, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
		if (is_writable)
			CHECK_EQ(blk_write(&b, bad[i], buf, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	}
	CHECK_EQ(blk_read(&b, b.sectors - 1, buf, SECTOR), VIRTIO_BLK_S_OK);
	blk_close(&b);
	return PASS;
}

static enum verdict out_of_range(void)
{
	return out_of_range_of(true);
}

static enum verdict ro_out_of_range(void)
{
	return out_of_range_of(false);
}

/* Not a multiple of a sector: failed, and the device goes on. */
static enum verdict odd_length(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, 0));
	uint8_t *buf = heap_alloc(4 * SECTOR, 4096);
	static const uint32_t bad[] = { 1, 511, 513, 1000 };
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(blk_read(&b, 0, buf, bad[i]), VIRTIO_BLK_S_IOERR);
		CHECK_EQ(blk_write(&b, 0, buf, bad[i]), VIRTIO_BLK_S_IOERR);
	}
	CHECK_EQ(blk_read(&b, 0, buf, SECTOR), VIRTIO_BLK_S_OK);
	blk_close(&b);
	return PASS;
}

static enum verdict ro_refuses_writes(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, false, ~0ul));
	uint8_t *before = heap_alloc(SECTOR, 16), *after = heap_alloc(SECTOR, 16);
	CHECK_EQ(blk_read(&b, 0, before, SECTOR), VIRTIO_BLK_S_OK);
	mem_fill(after, 0x3c, SECTOR);
	CHECK_EQ(blk_write(&b, 0, after, SECTOR), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk_read(&b, 0, after, SECTOR), VIRTIO_BLK_S_OK);
	CHECK(mem_equal(before, after, SECTOR));
	blk_close(&b);
	return PASS;
}

static uint8_t blk_range(struct blk *b, uint32_t type, uint64_t sector, uint32_t sectors,
			 uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = { sector, sectors, flags };
	struct seg s = { &range, sizeof(range), false };
	return blk_do(b, type, 0, &s, 1);
}

/* Sectors 16 to 23 become zero, their neighbours stay. */
static enum verdict zeroes(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	if (!(b.dev.features & FEATURE(VIRTIO_BLK_F_WRITE_ZEROES)))
		return test_skip("not offered");
	uint8_t *buf = heap_alloc(64 * SECTOR, 4096), *zero = heap_alloc(8 * SECTOR, 16);
	for (uint32_t flags = 0; flags < 2; flags++) { /* 1: may unmap */
		blk_pattern(buf, 0, 64 * SECTOR, seed());
		CHECK_EQ(blk_write(&b, 0, buf, 64 * SECTOR), VIRTIO_BLK_S_OK);
		CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_WRITE_ZEROES, 16, 8, flags), VIRTIO_BLK_S_OK);
		CHECK_EQ(blk_read(&b, 0, buf, 64 * SECTOR), VIRTIO_BLK_S_OK);
		CHECK(blk_pattern_is(buf, 0, 16 * SECTOR, seed()));
		CHECK(mem_equal(buf + 16 * SECTOR, zero, 8 * SECTOR));
		CHECK(blk_pattern_is(buf + 24 * SECTOR, 24, 40 * SECTOR, seed()));
	}
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_WRITE_ZEROES, b.sectors, 8, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_WRITE_ZEROES, ~0ul - 3, 8, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0x80), VIRTIO_BLK_S_UNSUPP);
	blk_close(&b);
	return PASS;
}

static enum verdict discard(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	if (!(b.dev.features & FEATURE(VIRTIO_BLK_F_DISCARD)))
		return test_skip("not offered");
	uint8_t *buf = heap_alloc(64 * SECTOR, 4096);
	blk_pattern(buf, 0, 64 * SECTOR, seed());
	CHECK_EQ(blk_write(&b, 0, buf, 64 * SECTOR), VIRTIO_BLK_S_OK);
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_DISCARD, 16, 8, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(blk_read(&b, 0, buf, 64 * SECTOR), VIRTIO_BLK_S_OK);
	CHECK(blk_pattern_is(buf, 0, 16 * SECTOR, seed()));
	CHECK(blk_pattern_is(buf + 24 * SECTOR, 24, 40 * SECTOR, seed()));
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_DISCARD, b.sectors - 4, 8, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk_range(&b, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	blk_close(&b);
	return PASS;
}

/* Cache mode by configuration: what is written reads back. */
static enum verdict write_cache(void)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, ~0ul));
	if (!(b.dev.features & FEATURE(VIRTIO_BLK_F_CONFIG_WCE)))
		return test_skip("not offered");
	uint8_t *buf = heap_alloc(4096, 4096);
	for (uint8_t wce = 0; wce < 2; wce++) {
		mmio_write8(b.dev.config + CONFIG(wce), wce);
		CHECK_EQ(mmio_read8(b.dev.config + CONFIG(wce)), wce);
		CHECK_PASS(round_trip(&b, 8, 4096, buf));
	}
	blk_close(&b);
	return PASS;
}

const struct test blk_tests[] = {
	{ "blk.config", config },
	{ "blk.sizes-direct", sizes_direct },
	{ "blk.sizes-indirect", sizes_indirect },
	{ "blk.segments-direct", segments_direct },
	{ "blk.segments-indirect", segments_indirect },
	{ "blk.unaligned-direct", unaligned_direct },
	{ "blk.unaligned-indirect", unaligned_indirect },
	{ "blk.framing", framing },
	{ "blk.flush", flush },
	{ "blk.get-id", get_id },
	{ "blk.unknown-type", unknown_type },
	{ "blk.out-of-range", out_of_range },
	{ "blk.odd-length", odd_length },
	{ "blk.write-zeroes", zeroes },
	{ "blk.discard", discard },
	{ "blk.write-cache", write_cache },
	{ "ro.refuses-writes", ro_refuses_writes },
	{ "ro.out-of-range", ro_out_of_range },
	{ "image.fill", fill },
	{ "image.verify", verify },
	{ NULL, NULL },
};
