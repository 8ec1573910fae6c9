/*
 * inflight_wire.h - the log of requests in flight, as vhost-user lays it out in shared memory.
 *
 * Layer:   virtio
 * Threads: layouts only.
 * Errors:  none.
 * Spec:    QEMU docs/interop/vhost-user.rst, "Inflight I/O tracking".
 */
#ifndef VIRTIO_INFLIGHT_WIRE_H
#define VIRTIO_INFLIGHT_WIRE_H
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_VERSION 1 /* 0: fresh */

struct inflight_split_desc {
	uint8_t is_inflight;
	uint8_t padding[5];
	uint16_t next; /* in the batch of results under way */
	uint64_t counter;
};
static_assert(sizeof(struct inflight_split_desc) == 16, "vhost-user: DescStateSplit");

struct inflight_split {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct inflight_split_desc desc[];
};
static_assert(offsetof(struct inflight_split, desc) == 16, "vhost-user: QueueRegionSplit");

struct inflight_packed_desc {
	uint8_t is_inflight; /* this one and the next four: of the first of a chain */
	uint8_t padding;
	uint16_t next; /* of the chain, or of the free list */
	uint16_t last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};
static_assert(sizeof(struct inflight_packed_desc) == 32, "vhost-user: DescStatePacked");

struct inflight_packed {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head;
	union {
		struct {
			uint16_t used_idx, old_used_idx;
			uint8_t used_wrap, old_used_wrap;
			uint8_t unused[2];
		};
		uint64_t place; /* all of them: an index and the wrap of another are no place */
	};
	uint8_t padding[5];
	struct inflight_packed_desc desc[];
};
static_assert(offsetof(struct inflight_packed, old_used_wrap) == 21,
	      "vhost-user: used_wrap_counter");
static_assert(offsetof(struct inflight_packed, place) == 16, "can be stored at once");
static_assert(offsetof(struct inflight_packed, desc) == 32, "vhost-user: QueueRegionPacked");

#endif
