/*
 * guest.h - a driver in plain memory: what a device sees of a guest, without KVM.
 *
 * Layer:   tests
 * Threads: one at a time, unless a test plays driver and device on two: each queue has one driver.
 * Errors:  a test that cannot set up its guest aborts.
 * Spec:    VIRTIO 1.2 §2.7, §2.8, driver side.
 */
#ifndef TESTS_SUPPORT_GUEST_H
#define TESTS_SUPPORT_GUEST_H
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include "mem/gmem.h"
#include "virtio/queue.h"

/* Guest RAM from 0, all bytes 0xee at start. */
struct guest {
	struct gmem *mem;
	uint8_t *ram; /* host address of guest-physical 0 */
	uint64_t bytes;
	uint64_t next; /* guest_alloc() hands out from here */
};

void guest_init(struct guest *g, uint64_t bytes);
void guest_fini(struct guest *g);
/* @bytes of guest RAM, set to @fill; never given back. */
uint64_t guest_alloc(struct guest *g, uint64_t bytes, uint64_t align, int fill);

#define GUEST_FEATURES                                                                             \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                        \
	 1ull << VIRTIO_RING_F_EVENT_IDX)
#define GUEST_PACKED (1ull << VIRTIO_F_RING_PACKED)

/* The driver's side of one queue, split or packed by its features. */
struct guest_queue {
	struct guest *g;
	uint64_t features;
	uint16_t size;
	uint64_t desc_gpa, driver_gpa, device_gpa;
	/* split */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	/* packed */
	struct vring_packed_desc *packed;
	struct vring_packed_desc_event *driver_event, *device_event;
	/* driver's state */
	uint16_t avail_next, used_seen; /* split: indices; packed: descriptors */
	bool avail_wrap, used_wrap;
	uint16_t nr_free, free_head; /* split: descriptors; packed: descriptors and ids */
	uint16_t *next_free;         /* split: by descriptor; packed: by id */
	uint16_t *nr_descs;          /* by head or id: ring descriptors of its chain */
	uint16_t gate;               /* packed: first descriptor not yet shown */
	uint32_t gate_len;           /* ... and the half of it kept back */
	uint16_t gate_id, gate_flags;
	bool has_gate;
	uint16_t shown;  /* index at the last guest_wants_kick() */
	uint64_t tables; /* an indirect table of GUEST_TABLE entries by head or id */
};
#define GUEST_TABLE 64

void guest_queue_init(struct guest_queue *q, struct guest *g, uint16_t size, uint64_t features);
void guest_queue_fini(struct guest_queue *q);
/* As a transport would tell it; kick_fd -1 and @call may be NULL. */
struct vq_setup guest_queue_setup(const struct guest_queue *q, struct notifier *call);

/* --- raw access, for broken rings --- */
void guest_desc(struct guest_queue *q, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next); /* split: descriptor @i; packed: @next is the buffer id */
void guest_table(struct guest_queue *q, uint64_t table, uint16_t i, uint64_t addr, uint32_t len,
		 uint16_t flags, uint16_t next); /* entry of an indirect table in RAM */
/* Split: put @head on the available ring and show it. */
void guest_offer(struct guest_queue *q, uint16_t head);
/* Packed: bits that make a descriptor available in this turn of the ring, or the next. */
uint16_t guest_packed_flags(const struct guest_queue *q, bool next_turn);

/* --- a well-behaved driver --- */
struct guest_buf {
	uint64_t addr;
	uint32_t len;
	bool is_in;
};

/* Queue a chain without showing it yet. Its head (split) or id (packed); -1: ring full. */
int guest_add(struct guest_queue *q, const struct guest_buf *b, unsigned nr, bool is_indirect);
/* Show what was added: one index (or flags) store. */
void guest_show(struct guest_queue *q);
/* Must the device be notified of what was shown since last asked? */
bool guest_wants_kick(struct guest_queue *q);
/* Next result: true with its head or id and length. Frees the descriptors. */
bool guest_take(struct guest_queue *q, uint16_t *id, uint32_t *len);
/* Ask for an interrupt with the @skip-th next result (0: the next); true: there is one already. */
bool guest_arm(struct guest_queue *q, uint16_t skip);
/* No interrupts, please. */
void guest_disarm(struct guest_queue *q);

#endif
