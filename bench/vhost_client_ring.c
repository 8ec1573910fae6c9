/* vhost_client_ring.c - the driver's side of a split or packed ring. */
#include <endian.h>
#include <stddef.h>
#include <unistd.h>
#include "vhost_client.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

/* The parts of a request in order; returns how many. */
struct part {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

static uint64_t where(const struct client *c, const void *p)
{
	return (uint64_t)((const uint8_t *)p - c->mem);
}

static unsigned parts_of(const struct client *c, const struct client_req *r, struct part *p)
{
	unsigned nr = 0;
	p[nr++] = (struct part){ where(c, r->hdr), sizeof(*r->hdr), 0 };
	if (r->type != VIRTIO_BLK_T_FLUSH)
		p[nr++] = (struct part){ where(c, r->data), c->o.bs,
					 r->type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0 };
	p[nr++] = (struct part){ where(c, r->status), 1, VRING_DESC_F_WRITE };
	return nr;
}

/* --- split: request i owns descriptors 3i to 3i+2, or descriptor i and a table --- */

static void split_fill(struct vring_desc *d, const struct part *p, unsigned nr, unsigned first)
{
	for (unsigned i = 0; i < nr; i++)
		d[i] = (struct vring_desc){
			htole64(p[i].addr), htole32(p[i].len),
			htole16((uint16_t)(p[i].flags | (i + 1 < nr ? VRING_DESC_F_NEXT : 0))),
			htole16((uint16_t)(first + i + 1))
		};
}

static void split_add(struct client *c, struct client_queue *q, struct client_req *r)
{
	struct part p[3];
	unsigned nr = parts_of(c, r, p);
	uint16_t head = r->slot;
	if (c->o.is_indirect) {
		split_fill((struct vring_desc *)(void *)(c->mem + r->table), p, nr, 0);
		q->desc[head] = (struct vring_desc){ htole64(r->table), htole32(16 * nr),
						     htole16(VRING_DESC_F_INDIRECT), 0 };
	} else {
		head = (uint16_t)(3 * r->slot);
		split_fill(&q->desc[head], p, nr, head);
	}
	q->avail->ring[q->avail_next++ % CLIENT_RING] = htole16(head);
	q->added++;
}

static bool split_show(struct client *c, struct client_queue *q)
{
	__atomic_store_n(&q->avail->idx, htole16(q->avail_next), __ATOMIC_SEQ_CST);
	if (c->features >> VIRTIO_RING_F_EVENT_IDX & 1) {
		const uint16_t *e = (const uint16_t *)(const void *)&q->used->ring[CLIENT_RING];
		uint16_t event = le16toh(__atomic_load_n(e, __ATOMIC_SEQ_CST));
		return (uint16_t)(q->avail_next - event - 1) < (uint16_t)(q->avail_next - q->shown);
	}
	return !(le16toh(__atomic_load_n(&q->used->flags, __ATOMIC_SEQ_CST)) &
		 VRING_USED_F_NO_NOTIFY);
}

static struct client_req *split_take(struct client *c, struct client_queue *q)
{
	if (le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE)) == q->used_seen)
		return NULL;
	uint32_t head = le32toh(q->used->ring[q->used_seen++ % CLIENT_RING].id);
	unsigned slot = c->o.is_indirect ? head : head / 3;
	if (slot >= c->o.depth)
		client_die("result of a request that does not exist: %u", head);
	return &q->req[slot];
}

/* --- packed --- */

static void packed_put(struct client_queue *q, const struct part *p, uint16_t id,
		       uint16_t *flags_late)
{
	struct vring_packed_desc *d = &q->packed[q->avail_next];
	uint16_t flags = (uint16_t)(p->flags | (q->avail_wrap ? AVAIL : USED));
	d->addr = htole64(p->addr);
	d->len = htole32(p->len);
	d->id = htole16(id);
	if (flags_late)
		*flags_late = flags;
	else
		__atomic_store_n(&d->flags, htole16(flags), __ATOMIC_RELEASE);
	q->added++;
	if (++q->avail_next == CLIENT_RING) {
		q->avail_next = 0;
		q->avail_wrap = !q->avail_wrap;
	}
}

static void packed_add(struct client *c, struct client_queue *q, struct client_req *r)
{
	struct part p[3];
	unsigned nr = parts_of(c, r, p);
	struct vring_packed_desc *head = &q->packed[q->avail_next];
	uint16_t head_flags = 0;
	if (c->o.is_indirect) {
		struct vring_packed_desc *t = (struct vring_packed_desc *)(void *)(c->mem +
										   r->table);
		for (unsigned i = 0; i < nr; i++)
			t[i] = (struct vring_packed_desc){ htole64(p[i].addr), htole32(p[i].len), 0,
							   htole16(p[i].flags) };
		struct part whole = { r->table, 16 * nr, VRING_DESC_F_INDIRECT };
		packed_put(q, &whole, r->slot, &head_flags);
	}
	for (unsigned i = 0; !c->o.is_indirect && i < nr; i++) {
		p[i].flags |= i + 1 < nr ? VRING_DESC_F_NEXT : 0;
		packed_put(q, &p[i], r->slot, i ? NULL : &head_flags);
	}
	__atomic_store_n(&head->flags, htole16(head_flags), __ATOMIC_RELEASE);
}

static bool packed_wants_kick(struct client *c, struct client_queue *q)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint16_t flags = le16toh(__atomic_load_n(&q->device_event->flags, __ATOMIC_SEQ_CST));
	if (!(c->features >> VIRTIO_RING_F_EVENT_IDX & 1) || flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	uint16_t off_wrap = le16toh(q->device_event->off_wrap), off = off_wrap & 0x7fff;
	if (!!(off_wrap >> 15) != q->avail_wrap)
		off = (uint16_t)(off - CLIENT_RING);
	uint16_t before = (uint16_t)(q->avail_next - q->added);
	return (uint16_t)(q->avail_next - off - 1) < (uint16_t)(q->avail_next - before);
}

static struct client_req *packed_take(struct client *c, struct client_queue *q)
{
	struct vring_packed_desc *d = &q->packed[q->used_seen];
	uint16_t flags = le16toh(__atomic_load_n(&d->flags, __ATOMIC_ACQUIRE));
	if (!!(flags & AVAIL) != q->used_wrap || !!(flags & USED) != q->used_wrap)
		return NULL;
	uint16_t id = le16toh(d->id);
	if (id >= c->o.depth)
		client_die("result of a request that does not exist: %u", id);
	unsigned nr = c->o.is_indirect ? 1 : q->req[id].type == VIRTIO_BLK_T_FLUSH ? 2 : 3;
	q->used_seen = (uint16_t)(q->used_seen + nr);
	if (q->used_seen >= CLIENT_RING) {
		q->used_seen = (uint16_t)(q->used_seen - CLIENT_RING);
		q->used_wrap = !q->used_wrap;
	}
	return &q->req[id];
}

/* --- both --- */

void client_ring_add(struct client *c, struct client_queue *q, struct client_req *r)
{
	if (c->o.is_packed)
		packed_add(c, q, r);
	else
		split_add(c, q, r);
}

void client_ring_kick(struct client *c, struct client_queue *q)
{
	uint64_t one = 1;
	if (!q->added)
		return;
	bool wants = c->o.is_packed ? packed_wants_kick(c, q) : split_show(c, q);
	q->shown = q->avail_next;
	q->added = 0;
	if (!wants)
		return;
	c->kicks++;
	if (write(q->kick, &one, sizeof(one)) < 0)
		client_die("kick");
}

struct client_req *client_ring_take(struct client *c, struct client_queue *q)
{
	return c->o.is_packed ? packed_take(c, q) : split_take(c, q);
}

bool client_ring_arm(struct client *c, struct client_queue *q)
{
	bool has_event_idx = c->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	if (c->o.is_packed) {
		q->driver_event->off_wrap = htole16((uint16_t)(q->used_seen | q->used_wrap << 15));
		__atomic_store_n(&q->driver_event->flags,
				 htole16(has_event_idx ? VRING_PACKED_EVENT_FLAG_DESC
						       : VRING_PACKED_EVENT_FLAG_ENABLE),
				 __ATOMIC_SEQ_CST);
		uint16_t flags = le16toh(
			__atomic_load_n(&q->packed[q->used_seen].flags, __ATOMIC_SEQ_CST));
		return !!(flags & AVAIL) == q->used_wrap && !!(flags & USED) == q->used_wrap;
	}
	if (has_event_idx)
		__atomic_store_n(&q->avail->ring[CLIENT_RING], htole16(q->used_seen),
				 __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&q->avail->flags, 0, __ATOMIC_SEQ_CST);
	return le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST)) != q->used_seen;
}

void client_ring_disarm(struct client *c, struct client_queue *q)
{
	if (c->o.is_packed)
		__atomic_store_n(&q->driver_event->flags, htole16(VRING_PACKED_EVENT_FLAG_DISABLE),
				 __ATOMIC_RELAXED);
	else if (!(c->features >> VIRTIO_RING_F_EVENT_IDX & 1))
		__atomic_store_n(&q->avail->flags, htole16(VRING_AVAIL_F_NO_INTERRUPT),
				 __ATOMIC_RELAXED);
}
