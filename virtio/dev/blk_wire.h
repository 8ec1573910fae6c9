/*
 * blk_wire.h - what a driver puts into block requests.
 *
 * Layer:   dev
 * Threads: no state; safe anywhere.
 * Errors:  none.
 * Spec:    VIRTIO 1.2 §5.2.6.
 */
#ifndef DEV_BLK_WIRE_H
#define DEV_BLK_WIRE_H
#include <assert.h>
#include <stddef.h>
#include "base/le.h"

/* What every request starts with. */
struct blk_header {
	le32_t type;
	le32_t reserved;
	le64_t sector;
};
static_assert(sizeof(struct blk_header) == 16, "VIRTIO 1.2 §5.2.6");
static_assert(offsetof(struct blk_header, sector) == 8, "VIRTIO 1.2 §5.2.6");

/* One range of a DISCARD or WRITE_ZEROES. */
struct blk_range {
	le64_t sector;
	le32_t nr_sectors;
	le32_t flags;
};
static_assert(sizeof(struct blk_range) == 16, "VIRTIO 1.2 §5.2.6");
static_assert(offsetof(struct blk_range, nr_sectors) == 8, "VIRTIO 1.2 §5.2.6");
static_assert(offsetof(struct blk_range, flags) == 12, "VIRTIO 1.2 §5.2.6");

#endif
