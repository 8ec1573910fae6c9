/*
 * packed.c - driver side of a packed virtqueue, behind the functions of ring.h. VIRTIO 1.2 §2.8.
 */
#include "mem.h"
#include "ring.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)
#define PACKED_OFF   0x7fffu /* of an event structure's off_wrap; the rest is the wrap counter */
#define PACKED_NO_ID 0xffffu

void packed_alloc(struct ring *r, uint16_t size)
{
	r->packed = heap_alloc(size * sizeof(*r->packed), 16);
	r->driver_event = heap_alloc(sizeof(*r->driver_event), 4);
	r->device_event = heap_alloc(sizeof(*r->device_event), 4);
	r->bodies = heap_alloc(size * sizeof(*r->bodies), 16);
	r->ids = heap_alloc(size * sizeof(*r->ids), 8);
	/* what ring_program() tells the device */
	r->desc = (struct vring_desc *)(void *)r->packed;
	r->avail = (struct vring_avail *)(void *)r->driver_event;
	r->used = (struct vring_used *)(void *)r->device_event;
	packed_rewind(r);
}

void packed_rewind(struct ring *r)
{
	mem_fill(r->packed, 0, r->size * sizeof(*r->packed));
	*r->driver_event = *r->device_event = (struct vring_packed_desc_event){ 0 };
	r->put_at = r->take_at = r->added = 0;
	for (uint16_t i = 0; i < r->size; i++)
		r->ids[i].next_free = i + 1u < r->size ? (uint16_t)(i + 1) : (uint16_t)PACKED_NO_ID;
	r->put_wrap = r->take_wrap = true;
}

int packed_put(struct ring *r, const struct seg *segs, unsigned n, bool is_indirect)
{
	uint16_t id = r->free_head, count = (uint16_t)(is_indirect ? 1 : n);
	if (id == PACKED_NO_ID || count > r->nfree || n > RING_MAX_SEGS)
		return -1;
	for (unsigned i = 0; i < n; i++)
		r->bodies[id][i] = (struct vring_packed_desc){
			.addr = (uintptr_t)segs[i].at,
			.len = segs[i].bytes,
			.flags = segs[i].is_in ? VRING_DESC_F_WRITE : 0,
		};
	r->free_head = r->ids[id].next_free;
	r->ids[id].count = count;
	r->ids[id].is_indirect = is_indirect;
	r->ids[id].table_bytes = n * (uint32_t)sizeof(r->bodies[id][0]);
	r->nfree = (uint16_t)(r->nfree - count);
	return id;
}

/* Descriptor @i of what @id stands for, without the flags that say whose it is. */
static struct vring_packed_desc packed_desc(const struct ring *r, uint16_t id, unsigned i)
{
	const struct packed_id *p = &r->ids[id];
	struct vring_packed_desc d = r->bodies[id][i];
	if (p->is_indirect)
		d = (struct vring_packed_desc){ .addr = (uintptr_t)r->bodies[id],
						.len = p->table_bytes,
						.flags = VRING_DESC_F_INDIRECT };
	else if (i + 1 < p->count)
		d.flags |= VRING_DESC_F_NEXT;
	d.id = id;
	return d;
}

static void packed_step(const struct ring *r, uint16_t *at, bool *wrap, uint16_t n)
{
	*at = (uint16_t)(*at + n);
	if (*at >= r->size) {
		*at = (uint16_t)(*at - r->size);
		*wrap = !*wrap;
	}
}

void packed_offer(struct ring *r, uint16_t id)
{
	uint16_t first = r->put_at, first_flags = 0;
	for (unsigned i = 0; i < r->ids[id].count; i++) {
		struct vring_packed_desc d = packed_desc(r, id, i);
		d.flags |= (uint16_t)(r->put_wrap ? PACKED_AVAIL : PACKED_USED);
		if (i == 0) {
			first_flags = d.flags;
			d.flags = r->packed[first].flags; /* the device's still */
		}
		r->packed[r->put_at] = d;
		packed_step(r, &r->put_at, &r->put_wrap, 1);
	}
	/* release: the whole chain before the flags that give it away */
	__atomic_store_n(&r->packed[first].flags, first_flags, __ATOMIC_RELEASE);
	r->added = (uint16_t)(r->added + r->ids[id].count);
	r->offered++;
}

bool packed_kick_wanted(struct ring *r)
{
	uint16_t flags = __atomic_load_n(&r->device_event->flags, __ATOMIC_ACQUIRE);
	uint16_t off_wrap = __atomic_load_n(&r->device_event->off_wrap, __ATOMIC_ACQUIRE);
	uint16_t old = (uint16_t)(r->put_at - r->added), event = off_wrap & PACKED_OFF;
	r->added = 0;
	if ((flags & 3) != VRING_PACKED_EVENT_FLAG_DESC)
		return (flags & 3) != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (off_wrap >> 15 != r->put_wrap)
		event = (uint16_t)(event - r->size);
	return vring_need_event(event, r->put_at, old);
}

int packed_take(struct ring *r, uint32_t *written)
{
	const struct vring_packed_desc *d = &r->packed[r->take_at];
	/* acquire: the entry and the data are read behind the flags */
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
	bool is_avail = flags & PACKED_AVAIL, is_used = flags & PACKED_USED;
	if (is_avail != is_used || is_used != r->take_wrap || d->id >= r->size)
		return -1;
	uint16_t id = d->id;
	struct packed_id *p = &r->ids[id];
	*written = d->len;
	r->used_seen++;
	r->nfree = (uint16_t)(r->nfree + p->count);
	packed_step(r, &r->take_at, &r->take_wrap, p->count);
	p->next_free = r->free_head;
	r->free_head = id;
	return id;
}
