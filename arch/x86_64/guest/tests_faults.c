/*
 * tests_faults.c - a host that fails: every request is answered, and what was answered with OK, or
 * flushed, is there. The host's tests (tests/faults) make the trouble and look at the image.
 */
#include <linux/virtio_blk.h>
#include "blk.h"
#include "boot.h"
#include "mem.h"

#define BLOCK         4096u
#define BLOCK_SECTORS (BLOCK / SECTOR)
#define FEATURES      (VF_INDIRECT | 1ul << VIRTIO_BLK_F_FLUSH)
#define MAX_BLOCKS    65536u

/* A block a round: written, flushed, and only then told. */
static enum verdict durable(void)
{
	struct blk b;
	CHECK_PASS(blk_open_nth(&b, 0, FEATURES));
	uint8_t *buf = heap_alloc(BLOCK, 4096);
	uint64_t seed = boot_param_number("seed", 1), rounds = boot_param_number("rounds", 50);
	if (b.sectors < rounds * BLOCK_SECTORS)
		rounds = b.sectors / BLOCK_SECTORS;
	for (uint64_t n = 0; n < rounds; n++) {
		blk_pattern(buf, n * BLOCK_SECTORS, BLOCK, seed);
		CHECK_EQ(blk_write(&b, n * BLOCK_SECTORS, buf, BLOCK), VIRTIO_BLK_S_OK);
		CHECK_EQ(blk_flush(&b), VIRTIO_BLK_S_OK);
		print("flushed %lu\n", n);
	}
	blk_close(&b);
	return PASS;
}

struct answers {
	unsigned ok, failed;
};

static enum verdict note(struct answers *a, uint8_t status)
{
	if (status != VIRTIO_BLK_S_OK && status != VIRTIO_BLK_S_IOERR)
		return test_fail("status %u after %u answers", status, a->ok + a->failed);
	a->ok += status == VIRTIO_BLK_S_OK;
	a->failed += status != VIRTIO_BLK_S_OK;
	return PASS;
}

/* Write all of the disk and read it: some of it fails, none of it lies. `lossy=1`: it may. */
static enum verdict trouble(void)
{
	struct blk b;
	struct answers wrote = { 0 }, got = { 0 }, flushed = { 0 };
	CHECK_PASS(blk_open_nth(&b, 0, FEATURES));
	uint8_t *buf = heap_alloc(BLOCK, 4096);
	bool *is_there = heap_alloc(MAX_BLOCKS, 1), is_lossy = boot_param_number("lossy", 0);
	uint64_t blocks = b.sectors / BLOCK_SECTORS, seed = boot_param_number("seed", 1);
	print("begin\n");
	for (uint64_t n = 0; n < blocks && n < MAX_BLOCKS; n++) {
		blk_pattern(buf, n * BLOCK_SECTORS, BLOCK, seed);
		uint8_t status = blk_write(&b, n * BLOCK_SECTORS, buf, BLOCK);
		CHECK_PASS(note(&wrote, status));
		is_there[n] = status == VIRTIO_BLK_S_OK;
		if (n % 64 == 0)
			CHECK_PASS(note(&flushed, blk_flush(&b)));
	}
	for (uint64_t n = 0; n < blocks && n < MAX_BLOCKS; n++) {
		uint8_t status = blk_read(&b, n * BLOCK_SECTORS, buf, BLOCK);
		CHECK_PASS(note(&got, status));
		if (is_there[n] && status == VIRTIO_BLK_S_OK && !is_lossy)
			CHECK(blk_pattern_is(buf, n * BLOCK_SECTORS, BLOCK, seed));
	}
	print("trouble writes %u %u reads %u %u flushes %u %u\n", wrote.ok, wrote.failed, got.ok,
	      got.failed, flushed.ok, flushed.failed);
	blk_close(&b);
	return PASS;
}

/* Another disk, which has no trouble. */
static enum verdict witness(void)
{
	struct blk b;
	CHECK_PASS(blk_open_nth(&b, 1, FEATURES));
	uint8_t *buf = heap_alloc(BLOCK, 4096);
	blk_pattern(buf, 0, BLOCK, 7);
	CHECK_EQ(blk_write(&b, 0, buf, BLOCK), VIRTIO_BLK_S_OK);
	CHECK_EQ(blk_flush(&b), VIRTIO_BLK_S_OK);
	mem_fill(buf, 0, BLOCK);
	CHECK_EQ(blk_read(&b, 0, buf, BLOCK), VIRTIO_BLK_S_OK);
	CHECK(blk_pattern_is(buf, 0, BLOCK, 7));
	blk_close(&b);
	return PASS;
}

const struct test faults_tests[] = {
	{ "faults.durable", durable },
	{ "faults.trouble", trouble },
	{ "faults.witness", witness },
	{ NULL, NULL },
};
