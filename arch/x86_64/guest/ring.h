/*
 * ring.h - driver side of a virtqueue: split, VIRTIO 1.2 §2.7, or packed, §2.8.
 *
 * One thread drives a ring. Nothing is hidden: the hostile tests write the tables themselves and
 * use ring_offer() and ring_kick() only.
 */
#ifndef GUEST_RING_H
#define GUEST_RING_H
#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ring.h>

#define RING_MAX_SEGS 64

struct virtio;

/* A piece of a request; device-readable ones stand before device-writable ones. */
struct seg {
	const void *at;
	uint32_t bytes;
	bool is_in; /* the device writes it */
};

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t index, size, vector;
	uint64_t notify; /* doorbell address */
	bool has_event_idx, has_indirect;

	uint16_t free_head, nfree;
	uint16_t offered;   /* avail index as last published */
	uint16_t kicked;    /* value of offered at the last look at the device's wish for a kick */
	uint16_t used_seen; /* used index up to which ring_take() went */
	uint64_t kicks;     /* doorbells rung */
	struct vring_desc (*tables)[RING_MAX_SEGS]; /* indirect, one a descriptor */

	bool is_packed; /* then the tables above are these, and a head is a buffer ID */
	struct vring_packed_desc *packed;
	struct vring_packed_desc_event *driver_event, *device_event;
	struct vring_packed_desc (*bodies)[RING_MAX_SEGS]; /* of each ID, or its indirect table */
	struct packed_id {
		uint16_t next_free, count; /* descriptors it takes in the ring */
		bool is_indirect;
		uint32_t table_bytes;
	} * ids;
	uint16_t put_at, take_at, added; /* added: since the last kick */
	bool put_wrap, take_wrap;
};

/* Allocate and enable queue @index of at most @size (0: as offered), vector 1 + @index or as many
 * as there are. */
bool ring_setup(struct ring *r, struct virtio *v, uint16_t index, uint16_t size);
/* The same in three steps: tables, addresses into the registers, enable. */
void ring_alloc(struct ring *r, const struct virtio *v, uint16_t index, uint16_t size);
void ring_program(struct ring *r, const struct virtio *v);
void ring_enable(const struct ring *r, const struct virtio *v);

/* As ring_alloc() made it, after a reset of the queue; programmed and enabled it is not. */
void ring_rewind(struct ring *r);

/* Put a chain into the table, direct or indirect. Returns its head, or -1: no room. Not offered
 * yet. */
int ring_put(struct ring *r, const struct seg *segs, unsigned n, bool is_indirect);
/* Make @head the next entry of the available ring, seen by the device at once. */
void ring_offer(struct ring *r, uint16_t head);
/* Ring the doorbell if the device wants it (always: ring_kick_always()). */
void ring_kick(struct ring *r);
void ring_kick_always(struct ring *r);

/* The next completed head, its descriptors freed; -1: none. *written is what the device says it
 * wrote. */
int ring_take(struct ring *r, uint32_t *written);
/* The same, waiting at most @ms. */
int ring_take_wait(struct ring *r, uint32_t *written, unsigned ms);

/* Interrupt wishes: with event index, at completion number @at (split only); without, on or off. */
void ring_want_irq(struct ring *r, bool is_wanted);
void ring_want_irq_at(struct ring *r, uint16_t at);

/* --- packed.c: what the functions above do for a packed ring --- */
void packed_alloc(struct ring *r, uint16_t size);
void packed_rewind(struct ring *r);
int packed_put(struct ring *r, const struct seg *segs, unsigned n, bool is_indirect);
void packed_offer(struct ring *r, uint16_t id);
bool packed_kick_wanted(struct ring *r);
int packed_take(struct ring *r, uint32_t *written);

#endif
