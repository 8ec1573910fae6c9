/*
 * attacks_request.c - block requests that cannot be served: VIRTIO 1.2 §5.2.6. Each gets an answer
 * that is no success, and nothing of the disk changes.
 */
#include <linux/virtio_blk.h>
#include "attack.h"
#include "blk.h"
#include "io.h"
#include "mem.h"

#define BYTES 4096u

struct wild {
	uint32_t type;
	uint64_t sector;
	uint32_t bytes;
};

static enum verdict opened(struct blk *b, uint8_t **buf)
{
	CHECK_PASS(blk_open_nth(b, 0, ~0ul));
	*buf = heap_alloc(BYTES, 4096);
	mem_fill(*buf, 0xff, BYTES); /* as a range to discard: none of this disk */
	return PASS;
}

/* @w with one buffer; it must be answered, and not with OK. */
static enum verdict refused(struct blk *b, uint8_t *buf, const struct wild *w)
{
	struct seg s = { buf, w->bytes,
			 w->type == VIRTIO_BLK_T_IN || w->type == VIRTIO_BLK_T_GET_ID };
	uint8_t status = blk_do(b, w->type, w->sector, &s, w->bytes ? 1 : 0);
	if (status == VIRTIO_BLK_S_OK || status == BLK_PENDING)
		return test_fail("type %u sector %lx, %u bytes: status %u", w->type, w->sector,
				 w->bytes, status);
	return PASS;
}

/* Reads or writes that begin or end where the disk does not. */
static enum verdict beyond_the_end(uint64_t type)
{
	struct blk b;
	uint8_t *buf;
	CHECK_PASS(opened(&b, &buf));
	const uint64_t end = b.sectors;
	const uint64_t sectors[] = { end,       end - 7,   end + 1,         1ul << 31,
				     1ul << 32, 1ul << 54, (1ul << 55) - 8, 1ul << 55,
				     1ul << 63, ~0ul,      ~0ul - 7,        ~0ul >> 9 };
	for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		struct wild w = { (uint32_t)type, sectors[i], BYTES };
		CHECK_PASS(refused(&b, buf, &w));
	}
	return PASS;
}

static enum verdict unknown_types(uint64_t arg)
{
	static const uint32_t types[] = { 2,  3,  5,  6,   7,      9,          10,         12,
					  15, 16, 17, 255, 0x8000, 0x80000000, 0x80000001, ~0u };
	struct blk b;
	uint8_t *buf;
	(void)arg;
	CHECK_PASS(opened(&b, &buf));
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct wild w = { types[i], 0, 512 };
		CHECK_PASS(refused(&b, buf, &w));
	}
	return PASS;
}

/* Lengths that are no whole sectors. */
static enum verdict odd_lengths(uint64_t type)
{
	static const uint32_t lengths[] = { 1, 2, 17, 511, 513, 1023, 4095 };
	struct blk b;
	uint8_t *buf;
	CHECK_PASS(opened(&b, &buf));
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct wild w = { (uint32_t)type, 0, lengths[i] };
		CHECK_PASS(refused(&b, buf, &w));
	}
	return PASS;
}

/* One range of DISCARD or WRITE_ZEROES; as in VIRTIO 1.2 §5.2.6. */
struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static enum verdict ranges(uint64_t type)
{
	struct blk b;
	uint8_t *buf;
	CHECK_PASS(opened(&b, &buf));
	const uint64_t end = b.sectors;
	const struct range wild[] = {
		{ end, 1, 0 },        { end - 1, 2, 0 },
		{ 0, ~0u, 0 },        { ~0ul, 1, 0 },
		{ ~0ul, ~0u, 0 },     { 1ul << 55, 8, 0 },
		{ 0, 8, 0xfffffffe }, { 0, 8, 2 },
		{ ~0ul - 7, 16, 1 },  { 1ul << 63, 1u << 31, 0 },
	};
	for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		struct wild w = { (uint32_t)type, 0, sizeof(wild[0]) };
		mem_copy(buf, &wild[i], sizeof(wild[0]));
		CHECK_PASS(refused(&b, buf, &w));
	}
	return PASS;
}

/* More of them than are allowed, and parts of one. */
static enum verdict range_counts(uint64_t type)
{
	static const uint32_t lengths[] = { 0, 1, 15, 17, 31, BYTES };
	struct blk b;
	uint8_t *buf;
	CHECK_PASS(opened(&b, &buf));
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct wild w = { (uint32_t)type, 0, lengths[i] };
		CHECK_PASS(refused(&b, buf, &w));
	}
	return PASS;
}

/* Data the wrong way round: a write of buffers to be written, a read of ones to be read. */
static enum verdict wrong_way(uint64_t type)
{
	struct blk b;
	uint8_t *buf;
	CHECK_PASS(opened(&b, &buf));
	struct seg s = { buf, 512, type == VIRTIO_BLK_T_OUT };
	CHECK(blk_do(&b, (uint32_t)type, 0, &s, 1) != BLK_PENDING); /* of no data: may succeed */
	for (unsigned i = 0; i < BYTES; i++)
		CHECK_EQ(buf[i], 0xff);
	return PASS;
}

/* No data at all, for each type; some of these are served. */
static enum verdict no_data(uint64_t arg)
{
	struct blk b;
	uint8_t *buf;
	(void)arg;
	CHECK_PASS(opened(&b, &buf));
	for (uint32_t type = 0; type < 16; type++)
		CHECK(blk_do(&b, type, 0, NULL, 0) != BLK_PENDING);
	return PASS;
}

/* The largest chain of the largest buffers there is room for, at the end of the disk. */
static enum verdict giant(uint64_t arg)
{
	struct blk b;
	struct seg segs[BLK_SEGS];
	(void)arg;
	CHECK_PASS(blk_open_nth(&b, 0, VF_INDIRECT));
	uint8_t *big = heap_alloc(1u << 21, 4096);
	for (unsigned i = 0; i < BLK_SEGS; i++)
		segs[i] = (struct seg){ big, 1u << 21, true };
	CHECK(blk_do(&b, VIRTIO_BLK_T_IN, b.sectors - 8, segs, BLK_SEGS) == VIRTIO_BLK_S_IOERR);
	for (unsigned i = 0; i < (1u << 21); i += 4096)
		CHECK_EQ(big[i], 0);
	return PASS;
}

/* The configuration space is written all over, while requests are served. */
static enum verdict configuration(uint64_t arg)
{
	struct blk b;
	uint8_t *buf;
	struct rand r = { 3 };
	(void)arg;
	CHECK_PASS(opened(&b, &buf));
	for (uint32_t at = 0; at < b.dev.config_bytes + 16; at++) {
		mmio_write8(b.dev.config + at, (uint8_t)rand_next(&r));
		mmio_write16(b.dev.config + at, (uint16_t)rand_next(&r));
		mmio_write32(b.dev.config + at, (uint32_t)rand_next(&r));
		mmio_write64(b.dev.config + at, rand_next(&r));
		CHECK_EQ(blk_read(&b, 0, buf, 512), VIRTIO_BLK_S_OK);
	}
	uint64_t sectors = mmio_read32(b.dev.config) | (uint64_t)mmio_read32(b.dev.config + 4)
							       << 32;
	CHECK_EQ(sectors, b.sectors);
	return PASS;
}

/* A buffer of the entropy device that is to be read, one of no length, one of 4 GiB. */
static enum verdict entropy(uint64_t kind)
{
	struct virtio v;
	struct ring r;
	uint32_t written;
	if (!virtio_find(&v, VIRTIO_ID_RNG, 0))
		return test_skip("no entropy device");
	CHECK(virtio_begin(&v, VF_INDIRECT));
	CHECK(ring_setup(&r, &v, 0, 4));
	virtio_go(&v);
	const struct seg segs[] = { { r.desc, 64, false },
				    { r.desc, 0, true },
				    { r.desc, ~0u, true } };
	int head = ring_put(&r, &segs[kind], 1, false);
	CHECK(head >= 0);
	ring_offer(&r, (uint16_t)head);
	ring_kick_always(&r);
	if (ring_take_wait(&r, &written, 20) >= 0)
		CHECK_EQ(written, 0);
	return PASS;
}

const struct attack attacks_request[] = {
	ATTACK_ACT("request.read-beyond-the-end", "reads beyond the end", beyond_the_end,
		   VIRTIO_BLK_T_IN),
	ATTACK_ACT("request.write-beyond-the-end", "writes beyond the end", beyond_the_end,
		   VIRTIO_BLK_T_OUT),
	ATTACK_ACT("request.unknown-types", "types nobody defined", unknown_types, 0),
	ATTACK_ACT("request.odd-reads", "reads of odd lengths", odd_lengths, VIRTIO_BLK_T_IN),
	ATTACK_ACT("request.odd-writes", "writes of odd lengths", odd_lengths, VIRTIO_BLK_T_OUT),
	ATTACK_ACT("request.discard-ranges", "discards beyond the end", ranges,
		   VIRTIO_BLK_T_DISCARD),
	ATTACK_ACT("request.zero-ranges", "zeroes beyond the end", ranges,
		   VIRTIO_BLK_T_WRITE_ZEROES),
	ATTACK_ACT("request.discard-counts", "discards of too many, of part of a range",
		   range_counts, VIRTIO_BLK_T_DISCARD),
	ATTACK_ACT("request.zero-counts", "zeroes of too many, of part of a range", range_counts,
		   VIRTIO_BLK_T_WRITE_ZEROES),
	ATTACK_ACT("request.read-wrong-way", "a read from readable buffers", wrong_way,
		   VIRTIO_BLK_T_IN),
	ATTACK_ACT("request.write-wrong-way", "a write of writable buffers", wrong_way,
		   VIRTIO_BLK_T_OUT),
	ATTACK_ACT("request.id-wrong-way", "an id into a readable buffer", wrong_way,
		   VIRTIO_BLK_T_GET_ID),
	ATTACK_ACT("request.no-data", "every type without data", no_data, 0),
	ATTACK_ACT("request.giant", "64 MiB at the end of the disk", giant, 0),
	ATTACK_ACT("request.configuration", "configuration space written under I/O", configuration,
		   0),
	ATTACK_ACT("request.entropy-into-readable", "entropy into a readable buffer", entropy, 0),
	ATTACK_ACT("request.entropy-of-none", "entropy of no length", entropy, 1),
	ATTACK_ACT("request.entropy-of-4g", "entropy of 4 GiB", entropy, 2),
	ATTACK_END,
};
