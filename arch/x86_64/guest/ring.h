/*
 * ring.h - driver side of a split virtqueue. VIRTIO 1.2 §2.7.
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
};

/* Allocate and enable queue @index of at most @size (0: as offered), vector 1 + @index or as many
 * as there are. */
bool ring_setup(struct ring *r, struct virtio *v, uint16_t index, uint16_t size);
/* The same in three steps: tables, addresses into the registers, enable. */
void ring_alloc(struct ring *r, const struct virtio *v, uint16_t index, uint16_t size);
void ring_program(struct ring *r, const struct virtio *v);
void ring_enable(const struct ring *r, const struct virtio *v);

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

/* Interrupt wishes: with event index, at completion number @at; without, on or off. */
void ring_want_irq(struct ring *r, bool is_wanted);
void ring_want_irq_at(struct ring *r, uint16_t at);

#endif
