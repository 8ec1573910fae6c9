/*
 * attack_packed.c - see attack_packed.h.
 */
#include "attack_packed.h"
#include <linux/virtio_blk.h>
#include "io.h"
#include "mem.h"

static void area_write(const struct virtio *v, unsigned reg, const void *at)
{
	mmio_write32(v->common + reg, (uint32_t)(uintptr_t)at);
	mmio_write32(v->common + reg + 4, (uint32_t)((uintptr_t)at >> 32));
}

enum verdict pk_open(struct pk *k, uint16_t size, uint64_t wanted)
{
	*k = (struct pk){ .size = size };
	heap_empty();
	CHECK_PASS(probe_find(&k->p));
	struct virtio *v = &k->p.dev;
	if (v->type != VIRTIO_ID_BLOCK)
		return test_skip("no block device");
	if (!(virtio_offered(v) & VF_PACKED))
		return test_skip("packed rings are not offered");
	virtio_add_status(v, VSTATUS_ACK | VSTATUS_DRIVER);
	v->features = virtio_offered(v) & (wanted | VF_PACKED | VF_VERSION_1);
	virtio_accept(v, v->features);
	virtio_add_status(v, VSTATUS_FEATURES);
	CHECK(virtio_status(v) & VSTATUS_FEATURES);
	k->desc = heap_alloc(size * sizeof(*k->desc), 16);
	k->driver = heap_alloc(sizeof(*k->driver), 4);
	k->device = heap_alloc(sizeof(*k->device), 4);
	k->p.data = heap_alloc(4 * sizeof(*k->p.data), 4096);
	k->p.status = heap_alloc(4, 1);
	k->p.header = heap_alloc(sizeof(*k->p.header), 16);
	COMMON_WRITE16(v, queue_select, 0);
	COMMON_WRITE16(v, queue_size, size);
	area_write(v, COMMON_AT(queue_desc_lo), k->desc);
	area_write(v, COMMON_AT(queue_avail_lo), k->driver);
	area_write(v, COMMON_AT(queue_used_lo), k->device);
	k->p.ring.notify = v->notify + COMMON_READ16(v, queue_notify_off) * v->notify_multiplier;
	COMMON_WRITE16(v, queue_enable, 1);
	virtio_go(v);
	k->p.status[0] = 0xff;
	return PASS;
}

void pk_set(struct pk *k, uint16_t i, uint64_t addr, uint32_t len, unsigned flags, uint16_t id)
{
	k->desc[i] = (struct vring_packed_desc){ addr, len, id, (uint16_t)flags };
}

void pk_show(struct pk *k, uint16_t first, uint16_t n)
{
	for (uint16_t i = n; i--;)
		__atomic_store_n(&k->desc[first + i].flags,
				 (uint16_t)(k->desc[first + i].flags | PACKED_AVAIL),
				 __ATOMIC_RELEASE);
}

void pk_kick(const struct pk *k)
{
	mmio_write16(k->p.ring.notify, 0);
}

void pk_good(struct pk *k, uint16_t at, uint16_t id)
{
	pk_set(k, at, (uintptr_t)k->p.header, sizeof(*k->p.header), VRING_DESC_F_NEXT, id);
	pk_set(k, (uint16_t)(at + 1), (uintptr_t)k->p.data[0], PROBE_BYTES,
	       VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, id);
	pk_set(k, (uint16_t)(at + 2), (uintptr_t)k->p.status, 1, VRING_DESC_F_WRITE, id);
}

bool pk_is_used(const struct pk *k, uint16_t at)
{
	uint16_t flags = __atomic_load_n(&k->desc[at].flags, __ATOMIC_ACQUIRE);
	return (flags & PACKED_AVAIL) && (flags & PACKED_USED);
}
