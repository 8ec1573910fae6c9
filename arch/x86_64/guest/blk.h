/*
 * blk.h - requests to a virtio block device, one at a time or many. VIRTIO 1.2 §5.2.
 */
#ifndef GUEST_BLK_H
#define GUEST_BLK_H
#include <stdbool.h>
#include <stdint.h>
#include "ring.h"
#include "test.h"
#include "virtio.h"

#define SECTOR      512u
#define BLK_PENDING 0xee /* the status byte before the device has written it */
#define BLK_SEGS    32

struct virtio_blk_outhdr;

struct blk {
	struct virtio dev;
	struct ring ring;
	uint64_t sectors;
	bool is_indirect; /* how blk_do() puts its chains */
	struct virtio_blk_outhdr *header;
	uint8_t *status;
	uint32_t written; /* of the last request */
};

/*
 * The first block device that is writable, or that is read-only; up with features out of @wanted
 * and queue 0 of the largest size. SKIP: there is none.
 */
enum verdict blk_open(struct blk *b, bool is_writable, uint64_t wanted);
/* The same with the @nth block device, whatever it is. */
enum verdict blk_open_nth(struct blk *b, unsigned nth, uint64_t wanted);
/* And without any interrupt: quicker where the host takes long over routes. */
enum verdict blk_open_polled(struct blk *b, unsigned nth, uint64_t wanted);
/* blk_open() up to FEATURES_OK. */
enum verdict blk_begin(struct blk *b, bool is_writable, uint64_t wanted);
void blk_close(struct blk *b);

/* One request: header, @segs, status; waited for. Returns the status byte, BLK_PENDING after 10 s.
 */
uint8_t blk_do(struct blk *b, uint32_t type, uint64_t sector, const struct seg *segs, unsigned n);
/* With one buffer. */
uint8_t blk_read(struct blk *b, uint64_t sector, void *buf, uint32_t bytes);
uint8_t blk_write(struct blk *b, uint64_t sector, const void *buf, uint32_t bytes);
uint8_t blk_flush(struct blk *b);

/*
 * What sector @sector holds after writing with @seed; the host computes the same to check the
 * image: 64 words, word i = (sector * 64 + i + 1) * 0x9e3779b97f4a7c15 + seed * 0xd1342543de82ef95
 * (mod 2^64).
 */
void blk_pattern(void *buf, uint64_t sector, uint32_t bytes, uint64_t seed);
bool blk_pattern_is(const void *buf, uint64_t sector, uint32_t bytes, uint64_t seed);

#endif
