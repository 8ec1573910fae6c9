/* queue.c - see virtio/queue.h: life of a queue, and the split ring. VIRTIO 1.2 §2.7. */
#include "virtio/queue.h"
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include "base/num.h"
#include "inflight_priv.h"
#include "queue_priv.h"

static bool has_feature(const struct vq_setup *s, unsigned bit)
{
	return s->features & (1ull << bit);
}

/* Bytes of the three areas and their alignment. VIRTIO 1.2 §2.7, §2.8.10. */
struct vq_areas {
	uint64_t desc, driver, device;
	uint64_t align_desc, align_driver, align_device;
};

static struct vq_areas vq_areas(const struct vq_setup *s)
{
	uint64_t n = s->size;
	if (has_feature(s, VIRTIO_F_RING_PACKED))
		return (struct vq_areas){ 16 * n, 4, 4, 16, 4, 4 };
	return (struct vq_areas){ 16 * n, 6 + 2 * n, 6 + 8 * n, 16, 2, 4 };
}

int vq_check(const struct vq_setup *s)
{
	struct vq_areas a = vq_areas(s);
	if (!s->size || s->size > VQ_MAX_SIZE)
		return -EINVAL;
	if (!has_feature(s, VIRTIO_F_RING_PACKED) && !is_pow2(s->size))
		return -EINVAL;
	if (has_feature(s, VIRTIO_F_RING_PACKED) && (s->next & 0x7fff) >= s->size)
		return -EINVAL;
	if (!is_aligned(s->desc.raw, a.align_desc) || !is_aligned(s->driver.raw, a.align_driver) ||
	    !is_aligned(s->device.raw, a.align_device))
		return -EINVAL;
	if (!gmem_host(s->mem, s->desc, a.desc) || !gmem_host(s->mem, s->driver, a.driver) ||
	    !gmem_host(s->mem, s->device, a.device))
		return -EFAULT;
	return 0;
}

static void vq_resolve(struct vq *q, const struct vq_setup *s)
{
	struct vq_areas a = vq_areas(s);
	void *driver = gmem_host(s->mem, s->driver, a.driver);
	void *device = gmem_host(s->mem, s->device, a.device);
	q->desc = gmem_host(s->mem, s->desc, a.desc);
	q->map = gmem_map_of(s->mem);
	q->base = q->map->base;
	if (q->is_packed) {
		q->driver_event = driver;
		q->device_event = device;
		return;
	}
	q->avail = driver;
	q->used = device;
	q->used_event = &q->avail->ring[s->size];
	q->avail_event = (uint16_t *)(void *)&q->used->ring[s->size];
}

static void vq_begin(struct vq *q, const struct vq_setup *s)
{
	q->size = s->size;
	q->mask = (uint16_t)(s->size - 1);
	q->call = s->call;
	q->is_packed = has_feature(s, VIRTIO_F_RING_PACKED);
	q->kind = s->log ? VQ_LOGGED : q->is_packed ? VQ_PACKED : VQ_SPLIT;
	q->has_indirect = has_feature(s, VIRTIO_RING_F_INDIRECT_DESC);
	q->has_event_idx = has_feature(s, VIRTIO_RING_F_EVENT_IDX);
	q->is_armed = true; /* as a driver finds it: VIRTIO 1.2 §2.7.10, §2.8.10 */
	q->last_avail = q->is_packed ? s->next & 0x7fff : s->next;
	q->avail_seen = q->used_next = q->signalled = q->last_avail;
	q->avail_wrap = q->used_wrap = !(s->next & 0x8000);
	q->free_slot = VQ_NIL;
}

/* Lengths of the parts of the mapping, in the order they lie in it. */
struct vq_layout {
	size_t head, slots, medium, large;
};

static struct vq_layout vq_layout(uint16_t size)
{
	size_t nr_large = min_size(size, VQ_NR_LARGE);
	return (struct vq_layout){
		.head = sizeof(struct vq),
		.slots = size * sizeof(struct vq_slot),
		.medium = size * VQ_MEDIUM_SEGS * sizeof(struct iovec),
		.large = nr_large * VQ_LARGE_SEGS * sizeof(struct iovec),
	};
}

int vq_create(struct vq **out, const struct vq_setup *s)
{
	int err = vq_check(s);
	if (err)
		return err;
	struct vq_layout l = vq_layout(s->size);
	size_t bytes = l.head + l.slots + l.medium + l.large;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	struct vq *q = (struct vq *)(void *)p;
	q->map_bytes = bytes;
	q->slots = (struct vq_slot *)(void *)(p + l.head);
	q->medium = (struct vq_pool){
		.mem = (struct iovec *)(void *)(p + l.head + l.slots),
		.segs = VQ_MEDIUM_SEGS,
		.nr = s->size,
		.freed = VQ_NIL,
	};
	q->large = (struct vq_pool){
		.mem = (struct iovec *)(void *)(p + l.head + l.slots + l.medium),
		.segs = VQ_LARGE_SEGS,
		.nr = (uint16_t)min_size(s->size, VQ_NR_LARGE),
		.freed = VQ_NIL,
	};
	vq_begin(q, s);
	vq_resolve(q, s);
	err = s->log ? vq_log_open(q, s) : 0;
	if (err)
		vq_destroy(q);
	else
		*out = q;
	return err;
}

void vq_destroy(struct vq *q)
{
	if (!q)
		return;
	vq_log_close(q);
	(void)munmap(q, q->map_bytes); /* our own mapping: cannot fail */
}

/* --- taking requests --- */

static ALWAYS_INLINE uint16_t split_head(const struct vq *q, uint16_t at)
{
	return le16toh(__atomic_load_n(&q->avail->ring[at & q->mask], __ATOMIC_RELAXED));
}

/* VIRTIO 1.2 §2.7.5.3: the rules of an indirect table. Its entries, or NULL. */
static ALWAYS_INLINE const struct vring_desc *split_indirect(struct vq *q, struct vq_walk *w,
							     struct vq_desc d, bool is_inside)
{
	uint32_t len = (uint32_t)d.rest;
	uint16_t flags = (uint16_t)(d.rest >> 32);
	if (is_inside || !q->has_indirect || (flags & VRING_DESC_F_NEXT))
		return NULL;
	if (!len || len % sizeof(struct vring_desc))
		return NULL;
	return vq_walk_host(q, w, d.addr, len);
}

static NOINLINE int split_walk(struct vq *q, struct vq_slot *s, uint16_t head)
{
	struct vq_walk w;
	vq_walk_begin(q, s, &w);
	const struct vring_desc *table = q->desc;
	uint32_t nr = q->size, at = head;
	bool is_inside = false;
	for (uint32_t left = nr; left; left--) {
		struct vq_desc d = vq_desc_copy(&table[at]);
		uint16_t flags = (uint16_t)(d.rest >> 32);
		if (flags & VRING_DESC_F_INDIRECT) {
			table = split_indirect(q, &w, d, is_inside);
			if (unlikely(!table))
				return -EBADMSG;
			nr = (uint32_t)d.rest / (uint32_t)sizeof(*table);
			left = min_u32(nr, VQ_MAX_SIZE) + 1; /* this turn is on the ring */
			at = 0;
			is_inside = true;
			continue;
		}
		int err = vq_walk_add(q, s, &w, d.addr, (uint32_t)d.rest,
				      flags & VRING_DESC_F_WRITE);
		if (unlikely(err))
			return err;
		if (!(flags & VRING_DESC_F_NEXT))
			return vq_walk_end(s, &w, head);
		at = (uint32_t)(d.rest >> 48);
		if (unlikely(at >= nr))
			return -EBADMSG;
	}
	return -EBADMSG; /* more steps than entries: a loop */
}

#define SPLIT_FLAGS(d) ((uint16_t)((d).rest >> 32))
#define SPLIT_LEN(d)   ((uint32_t)(d).rest)

/* Append what *@d describes and go on to the next; false: take the long road. */
static ALWAYS_INLINE bool split_short_step(struct vq *q, struct vq_short *w,
					   const struct vring_desc *table, uint32_t nr,
					   struct vq_desc *d)
{
	uint32_t next = (uint32_t)(d->rest >> 48);
	if (!vq_short_add(q, w, d->addr, SPLIT_LEN(*d)) || unlikely(next >= nr))
		return false;
	*d = vq_desc_copy(&table[next]);
	return true;
}

/* The short road through the chain at @head: queue_priv.h. */
static ALWAYS_INLINE bool split_short(struct vq *q, struct vq_slot *s, uint16_t head)
{
	const struct vring_desc *table = q->desc;
	uint32_t nr = q->size;
	struct vq_short w = { s->c.small, VQ_INLINE_SEGS, 0 };
	struct vq_desc d = vq_desc_copy(&table[head]);
	if (SPLIT_FLAGS(d) == VRING_DESC_F_INDIRECT) {
		if (!q->has_indirect || SPLIT_LEN(d) % sizeof(*table) ||
		    !vq_short_fits(q, d.addr, SPLIT_LEN(d)))
			return false;
		table = (const struct vring_desc *)(const void *)(q->base + d.addr);
		nr = SPLIT_LEN(d) / (uint32_t)sizeof(*table);
		d = vq_desc_copy(table);
	}
	while (SPLIT_FLAGS(d) == VRING_DESC_F_NEXT)
		if (!split_short_step(q, &w, table, nr, &d))
			return false;
	bool is_all_out = SPLIT_FLAGS(d) == 0;
	if (is_all_out && !vq_short_add(q, &w, d.addr, SPLIT_LEN(d)))
		return false;
	vq_short_mid(s, &w);
	while (SPLIT_FLAGS(d) == (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE))
		if (!split_short_step(q, &w, table, nr, &d))
			return false;
	if (!is_all_out &&
	    (SPLIT_FLAGS(d) != VRING_DESC_F_WRITE || !vq_short_add(q, &w, d.addr, SPLIT_LEN(d))))
		return false;
	return vq_short_end(s, &w, head);
}

/*
 * Look what the driver has offered, a batch at a time. 1: something new, 0: nothing, or -EBADMSG.
 *
 * Fetch on the way what the first descriptors point to: indirect tables and headers. Only hints are
 * made of these bytes; they are read again when the requests are taken. The loop depends on no load
 * but its own, so the processor has the cache misses of the whole batch under way at once.
 */
static NOINLINE int split_look(struct vq *q)
{
	if (q->is_dead)
		return -EBADMSG;
	/* acquire: pairs with the driver's release of avail->idx, after ring and descriptors */
	uint16_t idx = le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE));
	uint16_t nr = (uint16_t)(idx - q->last_avail);
	if (!nr)
		return 0;
	if (nr > q->size)
		return vq_break(q);
	nr = nr < VQ_BATCH ? nr : VQ_BATCH;
	q->avail_seen = (uint16_t)(q->last_avail + nr);
	for (uint16_t at = q->last_avail; at != q->avail_seen; at++) {
		uint64_t addr = le64toh(q->desc[split_head(q, at) & q->mask].addr);
		if (addr - q->hit_start < q->hit_len)
			__builtin_prefetch(q->base + addr);
	}
	return 1;
}

static ALWAYS_INLINE void split_take(struct vq *q, struct vq_slot *s, struct vq_chain **out)
{
	s->is_busy = true;
	q->last_avail++;
	*out = &s->c;
}

/* The next request, whatever it is like. There is one. */
static NOINLINE int split_pop_long(struct vq *q, struct vq_chain **out)
{
	uint16_t head = split_head(q, q->last_avail);
	if (head >= q->size || q->slots[head].is_busy)
		return vq_break(q);
	struct vq_slot *s = &q->slots[head];
	int err = split_walk(q, s, head);
	if (err)
		return vq_walk_abort(q, s, err);
	split_take(q, s, out);
	return 1;
}

static NOINLINE int split_pop_look(struct vq *q, struct vq_chain **out)
{
	int got = split_look(q);
	return got <= 0 ? got : vq_split_pop(q, out);
}

/* Every call is a tail call, so that the common case needs little of the stack. */
static ALWAYS_INLINE int split_pop(struct vq *q, struct vq_chain **out)
{
	if (q->last_avail == q->avail_seen)
		return split_pop_look(q, out);
	uint16_t head = split_head(q, q->last_avail);
	struct vq_slot *s = &q->slots[head];
	if (unlikely(head > q->mask) || unlikely(s->is_busy))
		return split_pop_long(q, out);
	if (unlikely(!split_short(q, s, head)))
		return split_pop_long(q, out);
	split_take(q, s, out);
	return 1;
}

int vq_split_pop(struct vq *q, struct vq_chain **out)
{
	return split_pop(q, out);
}

int vq_split_pop_head(struct vq *q, uint16_t head, struct vq_chain **out)
{
	struct vq_slot *s = &q->slots[head];
	if (s->is_busy)
		return vq_break(q);
	int err = split_walk(q, s, head);
	if (err)
		return vq_walk_abort(q, s, err);
	s->is_busy = true;
	*out = &s->c;
	return 1;
}

int vq_pop(struct vq *q, struct vq_chain **out)
{
	if (likely(q->kind == VQ_SPLIT))
		return split_pop(q, out);
	return q->kind == VQ_PACKED ? vq_packed_pop(q, out) : vq_log_pop(q, out);
}

void vq_unpop(struct vq *q, struct vq_chain *c)
{
	struct vq_slot *s = container_of(c, struct vq_slot, c);
	BUG_ON(!s->is_busy);
	s->is_busy = false;
	vq_slot_free_block(q, s);
	if (q->kind == VQ_LOGGED)
		vq_log_unpop(q, s);
	else if (q->is_packed)
		vq_packed_unpop(q, s);
	else
		q->last_avail--;
}

/* --- giving results --- */

static NOINLINE void vq_push_long(struct vq *q, struct vq_chain *c, uint32_t written)
{
	vq_shrink(q, container_of(c, struct vq_slot, c));
	vq_push(q, c, written);
}

static ALWAYS_INLINE void split_push(struct vq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem *e = &q->used->ring[q->used_next & q->mask];
	e->id = htole32(head);
	e->len = htole32(written);
	q->used_next++;
}

void vq_push(struct vq *q, struct vq_chain *c, uint32_t written)
{
	struct vq_slot *s = container_of(c, struct vq_slot, c);
	BUG_ON(!s->is_busy);
	if (unlikely(c->iov != c->small)) {
		vq_push_long(q, c, written);
		return;
	}
	s->is_busy = false;
	if (likely(q->kind == VQ_SPLIT))
		split_push(q, c->head, written);
	else if (q->kind == VQ_PACKED)
		vq_packed_push(q, s, written);
	else
		vq_log_push(q, s, written);
}

void vq_split_push(struct vq *q, uint16_t head, uint32_t written)
{
	split_push(q, head, written);
}

static bool split_publish(struct vq *q)
{
	uint16_t now = q->used_next, before = q->signalled;
	if (now == before)
		return false;
	q->signalled = now;
	vq_count(&q->stats.requests, (uint16_t)(now - before));
	vq_count(&q->stats.passes, 1);
	/*
	 * seq_cst: also a release of the results; and not to be passed by the load below, as the
	 * driver's store of used_event (or flags) is not passed by its load of used->idx.
	 */
	__atomic_store_n(&q->used->idx, htole16(now), __ATOMIC_SEQ_CST);
	if (q->has_event_idx) {
		uint16_t event = le16toh(__atomic_load_n(q->used_event, __ATOMIC_SEQ_CST));
		return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
	}
	uint16_t flags = le16toh(__atomic_load_n(&q->avail->flags, __ATOMIC_SEQ_CST));
	return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
}

bool vq_split_publish(struct vq *q)
{
	return split_publish(q);
}

bool vq_publish(struct vq *q)
{
	if (likely(q->kind == VQ_SPLIT))
		return split_publish(q);
	return q->kind == VQ_PACKED ? vq_packed_publish(q) : vq_log_publish(q);
}

void vq_signal(struct vq *q)
{
	if (!vq_publish(q))
		return;
	vq_count(&q->stats.interrupts, 1);
	notifier_signal(q->call);
}

/* --- notifications from the driver --- */

bool vq_has_work(struct vq *q)
{
	if (q->is_dead)
		return false;
	if (unlikely(q->log) && vq_log_backlog(q))
		return true;
	if (q->is_packed)
		return vq_packed_has_work(q);
	if (q->avail_seen != q->last_avail)
		return true;
	return le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE)) != q->last_avail;
}

bool vq_arm(struct vq *q)
{
	if (q->is_dead)
		return false;
	q->is_armed = true;
	if (q->is_packed)
		return vq_packed_arm(q);
	/* seq_cst: not to be passed by the load, as the driver's store of avail->idx is not */
	if (q->has_event_idx)
		__atomic_store_n(q->avail_event, htole16(q->last_avail), __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&q->used->flags, 0, __ATOMIC_SEQ_CST);
	return le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_SEQ_CST)) != q->last_avail;
}

void vq_disarm(struct vq *q)
{
	if (!q->is_armed)
		return;
	q->is_armed = false;
	if (q->is_packed)
		vq_packed_disarm(q);
	else if (!q->has_event_idx) /* an event index left behind suppresses by itself */
		__atomic_store_n(&q->used->flags, htole16(VRING_USED_F_NO_NOTIFY),
				 __ATOMIC_RELAXED);
}

/* --- state --- */

uint16_t vq_size(const struct vq *q)
{
	return q->size;
}

uint16_t vq_in_flight(const struct vq *q)
{
	if (q->is_packed)
		return q->in_flight;
	return (uint16_t)(q->last_avail - q->used_next - vq_log_backlog(q));
}

bool vq_has_backlog(const struct vq *q)
{
	return !q->is_dead && vq_log_backlog(q);
}

uint16_t vq_next(const struct vq *q)
{
	return q->is_packed ? vq_packed_next(q) : q->last_avail;
}

const struct vq_stats *vq_stats_of(const struct vq *q)
{
	return &q->stats;
}

void vq_count_kick(struct vq *q)
{
	vq_count(&q->stats.kicks, 1);
}
