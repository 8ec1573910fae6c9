/*
 * blk.c - see blk.h.
 */
#include "blk.h"
#include <linux/virtio_blk.h>
#include "io.h"
#include "mem.h"

#define WAIT_MS     10000
#define MAX_DEVICES 16

/* The device that virtio_find() found: up to FEATURES_OK. */
static enum verdict take(struct blk *b, uint64_t wanted)
{
	CHECK(virtio_begin(&b->dev, wanted));
	CHECK(b->dev.config);
	b->sectors = mmio_read32(b->dev.config) | (uint64_t)mmio_read32(b->dev.config + 4) << 32;
	b->header = heap_alloc(sizeof(*b->header), 16);
	b->status = heap_alloc(1, 1);
	return PASS;
}

static enum verdict go(struct blk *b)
{
	CHECK(ring_setup(&b->ring, &b->dev, 0, 0));
	virtio_go(&b->dev);
	b->is_indirect = b->ring.has_indirect;
	return PASS;
}

enum verdict blk_begin(struct blk *b, bool is_writable, uint64_t wanted)
{
	*b = (struct blk){ 0 };
	for (unsigned n = 0; n < MAX_DEVICES && virtio_find(&b->dev, VIRTIO_ID_BLOCK, n); n++) {
		bool is_ro = virtio_offered(&b->dev) >> VIRTIO_BLK_F_RO & 1;
		if (is_ro != is_writable)
			return take(b, wanted | (uint64_t)is_ro << VIRTIO_BLK_F_RO);
	}
	return test_skip("no %s block device", is_writable ? "writable" : "read-only");
}

enum verdict blk_open(struct blk *b, bool is_writable, uint64_t wanted)
{
	CHECK_PASS(blk_begin(b, is_writable, wanted));
	return go(b);
}

static enum verdict open_nth(struct blk *b, unsigned nth, uint64_t wanted, bool is_polled)
{
	*b = (struct blk){ 0 };
	if (!virtio_find(&b->dev, VIRTIO_ID_BLOCK, nth))
		return test_skip("no block device %u", nth);
	b->dev.has_no_msix = b->dev.has_no_vectors = is_polled;
	CHECK_PASS(take(b, wanted));
	return go(b);
}

enum verdict blk_open_nth(struct blk *b, unsigned nth, uint64_t wanted)
{
	return open_nth(b, nth, wanted, false);
}

enum verdict blk_open_polled(struct blk *b, unsigned nth, uint64_t wanted)
{
	return open_nth(b, nth, wanted, true);
}

void blk_close(struct blk *b)
{
	(void)virtio_reset(&b->dev); /* the next test finds out */
}

uint8_t blk_do(struct blk *b, uint32_t type, uint64_t sector, const struct seg *segs, unsigned n)
{
	struct seg all[BLK_SEGS + 2];
	*b->header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*b->status = BLK_PENDING;
	all[0] = (struct seg){ b->header, sizeof(*b->header), false };
	for (unsigned i = 0; i < n && i < BLK_SEGS; i++)
		all[i + 1] = segs[i];
	all[n + 1] = (struct seg){ b->status, 1, true };
	int head = ring_put(&b->ring, all, n + 2, b->is_indirect);
	if (head < 0)
		return BLK_PENDING;
	ring_offer(&b->ring, (uint16_t)head);
	ring_kick(&b->ring);
	if (ring_take_wait(&b->ring, &b->written, WAIT_MS) != head)
		return BLK_PENDING;
	return *(volatile uint8_t *)b->status;
}

uint8_t blk_read(struct blk *b, uint64_t sector, void *buf, uint32_t bytes)
{
	struct seg s = { buf, bytes, true };
	return blk_do(b, VIRTIO_BLK_T_IN, sector, &s, 1);
}

uint8_t blk_write(struct blk *b, uint64_t sector, const void *buf, uint32_t bytes)
{
	struct seg s = { buf, bytes, false };
	return blk_do(b, VIRTIO_BLK_T_OUT, sector, &s, 1);
}

uint8_t blk_flush(struct blk *b)
{
	return blk_do(b, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
}

static uint64_t pattern_word(uint64_t index, uint64_t seed)
{
	return (index + 1) * 0x9e3779b97f4a7c15ul + seed * 0xd1342543de82ef95ul;
}

void blk_pattern(void *buf, uint64_t sector, uint32_t bytes, uint64_t seed)
{
	uint64_t *word = buf;
	for (uint32_t i = 0; i < bytes / 8; i++)
		word[i] = pattern_word(sector * (SECTOR / 8) + i, seed);
}

bool blk_pattern_is(const void *buf, uint64_t sector, uint32_t bytes, uint64_t seed)
{
	const uint64_t *word = buf;
	for (uint32_t i = 0; i < bytes / 8; i++)
		if (word[i] != pattern_word(sector * (SECTOR / 8) + i, seed))
			return false;
	return true;
}
