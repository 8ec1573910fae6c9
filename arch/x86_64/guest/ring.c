/*
 * ring.c - see ring.h.
 */
#include "ring.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "virtio.h"

#define USED_EVENT(r)  (&(r)->avail->ring[(r)->size])
#define AVAIL_EVENT(r) ((uint16_t *)(void *)&(r)->used->ring[(r)->size])

void ring_alloc(struct ring *r, const struct virtio *v, uint16_t index, uint16_t size)
{
	*r = (struct ring){ .index = index, .size = size, .nfree = size };
	r->has_event_idx = v->features & VF_EVENT_IDX;
	r->has_indirect = v->features & VF_INDIRECT;
	r->is_packed = v->features & VF_PACKED;
	if (r->is_packed) {
		packed_alloc(r, size);
		return;
	}
	r->desc = heap_alloc(size * sizeof(*r->desc), 16);
	r->avail = heap_alloc(sizeof(*r->avail) + 2u * size + 2, 2);
	r->used = heap_alloc(sizeof(*r->used) + 8u * size + 2, 4);
	if (r->has_indirect)
		r->tables = heap_alloc(size * sizeof(*r->tables), 16);
	ring_rewind(r);
}

void ring_rewind(struct ring *r)
{
	r->free_head = r->offered = r->kicked = r->used_seen = 0;
	r->nfree = r->size;
	if (r->is_packed) {
		packed_rewind(r);
		return;
	}
	mem_fill(r->desc, 0, r->size * sizeof(*r->desc));
	mem_fill(r->avail, 0, sizeof(*r->avail) + 2u * r->size + 2);
	mem_fill(r->used, 0, sizeof(*r->used) + 8u * r->size + 2);
	for (uint16_t i = 0; i < r->size; i++)
		r->desc[i].next = (uint16_t)(i + 1);
}

/* 64-bit registers are written as halves, §4.1.3.1. */
void ring_program(struct ring *r, const struct virtio *v)
{
	unsigned last = v->pci->msix_cap ? v->pci->msix_vectors - 1 : 0;
	COMMON_WRITE16(v, queue_select, r->index);
	COMMON_WRITE16(v, queue_size, r->size);
	COMMON_WRITE32(v, queue_desc_lo, (uint32_t)(uintptr_t)r->desc);
	COMMON_WRITE32(v, queue_desc_hi, (uint32_t)((uintptr_t)r->desc >> 32));
	COMMON_WRITE32(v, queue_avail_lo, (uint32_t)(uintptr_t)r->avail);
	COMMON_WRITE32(v, queue_avail_hi, (uint32_t)((uintptr_t)r->avail >> 32));
	COMMON_WRITE32(v, queue_used_lo, (uint32_t)(uintptr_t)r->used);
	COMMON_WRITE32(v, queue_used_hi, (uint32_t)((uintptr_t)r->used >> 32));
	r->vector = (uint16_t)(r->index + 1u < last ? r->index + 1u : last);
	if (v->pci->msix_cap)
		COMMON_WRITE16(v, queue_msix_vector,
			       v->has_no_vectors ? VIRTIO_NO_VECTOR : r->vector);
	r->notify = v->notify + COMMON_READ16(v, queue_notify_off) * v->notify_multiplier;
}

void ring_enable(const struct ring *r, const struct virtio *v)
{
	COMMON_WRITE16(v, queue_select, r->index);
	COMMON_WRITE16(v, queue_enable, 1);
}

bool ring_setup(struct ring *r, struct virtio *v, uint16_t index, uint16_t size)
{
	COMMON_WRITE16(v, queue_select, index);
	uint16_t offered = COMMON_READ16(v, queue_size);
	if (!offered)
		return false;
	ring_alloc(r, v, index, size && size < offered ? size : offered);
	ring_program(r, v);
	ring_enable(r, v);
	return true;
}

static void desc_from_seg(struct vring_desc *d, const struct seg *s, bool has_next, uint16_t next)
{
	d->addr = (uintptr_t)s->at;
	d->len = s->bytes;
	d->flags = (uint16_t)((s->is_in ? VRING_DESC_F_WRITE : 0) |
			      (has_next ? VRING_DESC_F_NEXT : 0));
	d->next = next;
}

static int put_indirect(struct ring *r, const struct seg *segs, unsigned n)
{
	if (!r->nfree || n > RING_MAX_SEGS)
		return -1;
	uint16_t head = r->free_head;
	struct vring_desc *table = r->tables[head];
	for (unsigned i = 0; i < n; i++)
		desc_from_seg(&table[i], &segs[i], i + 1 < n, (uint16_t)(i + 1));
	r->free_head = r->desc[head].next;
	r->nfree--;
	r->desc[head].addr = (uintptr_t)table;
	r->desc[head].len = n * (uint32_t)sizeof(*table);
	r->desc[head].flags = VRING_DESC_F_INDIRECT;
	return head;
}

int ring_put(struct ring *r, const struct seg *segs, unsigned n, bool is_indirect)
{
	if (r->is_packed)
		return packed_put(r, segs, n, is_indirect);
	if (is_indirect)
		return put_indirect(r, segs, n);
	if (n > r->nfree)
		return -1;
	uint16_t head = r->free_head, at = head, next = head;
	for (unsigned i = 0; i < n; i++) {
		at = next;
		next = r->desc[at].next;
		desc_from_seg(&r->desc[at], &segs[i], i + 1 < n, next);
	}
	r->free_head = next;
	r->nfree = (uint16_t)(r->nfree - n);
	return head;
}

void ring_offer(struct ring *r, uint16_t head)
{
	if (r->is_packed) {
		packed_offer(r, head);
		return;
	}
	r->avail->ring[r->offered % r->size] = head;
	r->offered++;
	__atomic_store_n(&r->avail->idx, r->offered, __ATOMIC_RELEASE); /* entry before index */
}

void ring_kick_always(struct ring *r)
{
	r->kicks++;
	r->kicked = r->offered;
	mmio_write16(r->notify, r->index);
}

void ring_kick(struct ring *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* index before looking at the wish, §2.7.13.4 */
	bool is_wanted;
	if (r->is_packed) {
		is_wanted = packed_kick_wanted(r);
	} else if (r->has_event_idx) {
		uint16_t event = __atomic_load_n(AVAIL_EVENT(r), __ATOMIC_ACQUIRE);
		is_wanted = vring_need_event(event, r->offered, r->kicked);
	} else {
		uint16_t flags = __atomic_load_n(&r->used->flags, __ATOMIC_ACQUIRE);
		is_wanted = !(flags & VRING_USED_F_NO_NOTIFY);
	}
	if (is_wanted)
		ring_kick_always(r);
	else
		r->kicked = r->offered;
}

static void chain_free(struct ring *r, uint16_t head)
{
	uint16_t at = head, n = 1;
	for (; r->desc[at].flags & VRING_DESC_F_NEXT; n++)
		at = r->desc[at].next;
	r->desc[at].next = r->free_head;
	r->free_head = head;
	r->nfree = (uint16_t)(r->nfree + n);
}

int ring_take(struct ring *r, uint32_t *written)
{
	if (r->is_packed)
		return packed_take(r, written);
	/* acquire: the entry and the data are read behind the index */
	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->used_seen)
		return -1;
	const struct vring_used_elem *e = &r->used->ring[r->used_seen % r->size];
	uint16_t head = (uint16_t)e->id;
	*written = e->len;
	r->used_seen++;
	if (e->id >= r->size)
		return -1;
	chain_free(r, head);
	return head;
}

int ring_take_wait(struct ring *r, uint32_t *written, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms);;) {
		int head = ring_take(r, written);
		if (head >= 0 || clock_passed(end))
			return head;
		cpu_pause();
	}
}

void ring_want_irq_at(struct ring *r, uint16_t at)
{
	__atomic_store_n(USED_EVENT(r), at, __ATOMIC_SEQ_CST);
}

void ring_want_irq(struct ring *r, bool is_wanted)
{
	if (r->is_packed)
		__atomic_store_n(&r->driver_event->flags,
				 (uint16_t)(is_wanted ? VRING_PACKED_EVENT_FLAG_ENABLE
						      : VRING_PACKED_EVENT_FLAG_DISABLE),
				 __ATOMIC_SEQ_CST);
	else if (r->has_event_idx) /* half the range away: not before 32768 more requests */
		ring_want_irq_at(r, (uint16_t)(r->used_seen + (is_wanted ? 0 : 0x8000)));
	else
		__atomic_store_n(&r->avail->flags,
				 (uint16_t)(is_wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT),
				 __ATOMIC_SEQ_CST);
}
