/*
 * attack_packed.h - driver side of a packed virtqueue, as far as attacks need it. VIRTIO 1.2 §2.8.
 *
 * Nothing is hidden: the caller writes descriptors itself, and shows them by pk_show().
 */
#ifndef GUEST_ATTACK_PACKED_H
#define GUEST_ATTACK_PACKED_H
#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ring.h>
#include "probe.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)

struct pk {
	struct probe p; /* its split ring is not used: only dev, header, data, status, notify */
	uint16_t size;
	struct vring_packed_desc *desc;
	struct vring_packed_desc_event *driver, *device;
};

/* The first disk with a packed queue 0 of @size, running. SKIP: no disk, or not offered. */
enum verdict pk_open(struct pk *k, uint16_t size, uint64_t wanted);
/* Descriptor @i, not available yet: flags hold no AVAIL and no USED bit. */
void pk_set(struct pk *k, uint16_t i, uint64_t addr, uint32_t len, unsigned flags, uint16_t id);
/* Make descriptors @first to @first + @n - 1 available in the first turn, the first one last. */
void pk_show(struct pk *k, uint16_t first, uint16_t n);
void pk_kick(const struct pk *k);
/* A good read in descriptors @at to @at + 2, with buffer id @id; not shown. */
void pk_good(struct pk *k, uint16_t at, uint16_t id);
/* Descriptor @at has been given back. */
bool pk_is_used(const struct pk *k, uint16_t at);

#endif
