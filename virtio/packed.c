/* packed.c - the packed ring behind virtio/queue.h. VIRTIO 1.2 §2.8. */
#include <string.h>
#include "base/num.h"
#include "inflight_priv.h"
#include "queue_priv.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)

/* Both event suppression structures as one 32-bit value: offset and wrap below, flags above. */
#define PACKED_EVENT(off_wrap, flags) ((uint32_t)(off_wrap) | (uint32_t)(flags) << 16)

static ALWAYS_INLINE bool packed_is_available(uint16_t flags, bool wrap)
{
	return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) != wrap;
}

bool vq_packed_is_available(uint16_t flags, bool wrap)
{
	return packed_is_available(flags, wrap);
}

uint16_t vq_packed_offered(bool wrap)
{
	return wrap ? PACKED_AVAIL : PACKED_USED;
}

/* Length, id and flags of descriptor @at: one load, ordered before what they announce. */
static ALWAYS_INLINE uint64_t packed_peek(const struct vq *q, uint16_t at)
{
	/* acquire: pairs with the driver's release of the flags, after the rest of the chain */
	const uint64_t *rest = (const uint64_t *)(const void *)&q->packed[at].len;
	return le64toh(__atomic_load_n(rest, __ATOMIC_ACQUIRE));
}

bool vq_packed_has_work(struct vq *q)
{
	return packed_is_available((uint16_t)(packed_peek(q, q->last_avail) >> 48), q->avail_wrap);
}

/* --- slots: any free one will do, as the driver's ids need not be unique or small --- */

static ALWAYS_INLINE uint16_t packed_slot_peek(const struct vq *q)
{
	return q->free_slot != VQ_NIL ? q->free_slot : q->fresh_slot;
}

static ALWAYS_INLINE void packed_slot_take(struct vq *q, uint16_t next_free)
{
	if (q->free_slot != VQ_NIL)
		q->free_slot = next_free;
	else
		q->fresh_slot++;
}

static ALWAYS_INLINE void packed_slot_free(struct vq *q, struct vq_slot *s)
{
	s->block = q->free_slot;
	q->free_slot = (uint16_t)(s - q->slots);
	q->in_flight--;
	q->descs_out = (uint16_t)(q->descs_out - s->nr_descs);
}

/* --- taking requests --- */

/* VIRTIO 1.2 §2.8.7: in the table only WRITE means anything, and INDIRECT is forbidden. */
static int packed_walk_indirect(struct vq *q, struct vq_slot *s, struct vq_walk *w, uint64_t addr,
				uint32_t len)
{
	const struct vring_packed_desc *table = NULL;
	if (q->has_indirect && len && len % sizeof(*table) == 0 &&
	    len <= VQ_MAX_SIZE * sizeof(*table))
		table = vq_walk_host(q, w, addr, len);
	if (!table)
		return -EBADMSG;
	for (uint32_t i = 0; i < len / sizeof(*table); i++) {
		struct vq_desc d = vq_desc_copy(&table[i]);
		uint16_t flags = (uint16_t)(d.rest >> 48);
		if (flags & VRING_DESC_F_INDIRECT)
			return -EBADMSG;
		int err = vq_walk_add(q, s, w, d.addr, (uint32_t)d.rest,
				      flags & VRING_DESC_F_WRITE);
		if (unlikely(err))
			return err;
	}
	return 0;
}

/* One descriptor of a chain; @rest: as in struct vq_desc. */
static int packed_walk_one(struct vq *q, struct vq_slot *s, struct vq_walk *w, uint64_t addr,
			   uint64_t rest)
{
	uint16_t flags = (uint16_t)(rest >> 48);
	if (!(flags & VRING_DESC_F_INDIRECT))
		return vq_walk_add(q, s, w, addr, (uint32_t)rest, flags & VRING_DESC_F_WRITE);
	if (flags & VRING_DESC_F_NEXT)
		return -EBADMSG;
	return packed_walk_indirect(q, s, w, addr, (uint32_t)rest);
}

/* The chain that starts with @rest at last_avail. */
static int packed_walk(struct vq *q, struct vq_slot *s, uint16_t slot, uint64_t rest)
{
	struct vq_walk w;
	vq_walk_begin(q, s, &w);
	uint16_t at = q->last_avail, left = (uint16_t)(q->size - q->descs_out), nr = 0;
	for (;;) {
		if (unlikely(nr++ == left)) /* the driver offers what it has not got back */
			return -EBADMSG;
		uint64_t addr = le64toh(__atomic_load_n(&q->packed[at].addr, __ATOMIC_RELAXED));
		int err = packed_walk_one(q, s, &w, addr, rest);
		if (unlikely(err))
			return err;
		if (!(rest >> 48 & VRING_DESC_F_NEXT))
			break;
		at = at + 1 == q->size ? 0 : (uint16_t)(at + 1);
		rest = packed_peek(q, at);
	}
	s->nr_descs = nr;
	s->id = (uint16_t)(rest >> 32); /* VIRTIO 1.2 §2.8.6: of the last descriptor */
	return vq_walk_end(s, &w, slot);
}

/* Count the chain of slot @s as taken, and go past it. */
static ALWAYS_INLINE void packed_advance(struct vq *q, struct vq_slot *s, uint32_t at)
{
	q->in_flight++;
	q->descs_out = (uint16_t)(q->descs_out + s->nr_descs);
	if (at >= q->size) {
		at -= q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	q->last_avail = (uint16_t)at;
	s->is_busy = true;
}

/* The next request, whatever it is like. There is one, and it starts with @rest. */
static NOINLINE int packed_pop_long(struct vq *q, struct vq_chain **out, uint64_t rest)
{
	if (q->is_dead || q->descs_out == q->size)
		return vq_break(q);
	uint16_t slot = packed_slot_peek(q);
	struct vq_slot *s = &q->slots[slot];
	uint16_t next_free = s->block; /* before the walk may want the field for itself */
	int err = packed_walk(q, s, slot, rest);
	if (err) {
		err = vq_walk_abort(q, s, err);
		s->block = next_free;
		return err;
	}
	packed_slot_take(q, next_free);
	packed_advance(q, s, (uint32_t)q->last_avail + s->nr_descs);
	*out = &s->c;
	return 1;
}

#define PACKED_LEN(d)   ((uint32_t)(d).rest)
#define PACKED_FLAGS(d) ((uint16_t)((d).rest >> 48))
/* Of the flags, those that say what kind of descriptor it is. */
#define PACKED_KIND(d)                                                                             \
	(PACKED_FLAGS(d) & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))

/* The short road (queue_priv.h) through an indirect table; @d describes it. */
static ALWAYS_INLINE bool packed_short_table(struct vq *q, struct vq_slot *s, struct vq_short *w,
					     struct vq_desc d)
{
	uint32_t len = PACKED_LEN(d), nr = len / (uint32_t)sizeof(struct vring_packed_desc);
	if (!q->has_indirect || len % sizeof(struct vring_packed_desc) ||
	    !vq_short_fits(q, d.addr, len) || nr > VQ_INLINE_SEGS)
		return false;
	const struct vring_packed_desc *e = (const void *)(q->base + d.addr), *end = e + nr;
	for (; e != end; e++) {
		d = vq_desc_copy(e);
		if (PACKED_FLAGS(d) & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))
			break;
		if (!vq_short_add(q, w, d.addr, PACKED_LEN(d)))
			return false;
	}
	vq_short_mid(s, w);
	while (e != end) {
		if (unlikely((PACKED_FLAGS(d) & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)) !=
			     VRING_DESC_F_WRITE) ||
		    !vq_short_add(q, w, d.addr, PACKED_LEN(d)))
			return false;
		if (++e != end)
			d = vq_desc_copy(e);
	}
	return true;
}

static ALWAYS_INLINE struct vq_desc packed_copy(const struct vq *q, uint32_t at)
{
	uint64_t rest = packed_peek(q, (uint16_t)at);
	uint64_t addr = __atomic_load_n(&q->packed[at].addr, __ATOMIC_RELAXED);
	return (struct vq_desc){ le64toh(addr), rest };
}

/*
 * The short road from descriptor @at, whose second half is @rest, as far as it does not come to the
 * end of the ring. Returns where the next chain begins; 0: take the long road.
 */
static ALWAYS_INLINE uint32_t packed_short(struct vq *q, struct vq_slot *s, uint16_t slot,
					   uint32_t at, uint64_t rest)
{
	struct vq_short w = { s->c.small, VQ_INLINE_SEGS, 0 };
	uint64_t addr = __atomic_load_n(&q->packed[at].addr, __ATOMIC_RELAXED);
	struct vq_desc d = { le64toh(addr), rest };
	uint32_t start = at, left = (uint32_t)q->size - q->descs_out;
	if (PACKED_KIND(d) == VRING_DESC_F_INDIRECT) {
		if (!packed_short_table(q, s, &w, d))
			return 0;
		goto end;
	}
	while (PACKED_KIND(d) == VRING_DESC_F_NEXT) {
		if (!vq_short_add(q, &w, d.addr, PACKED_LEN(d)) || unlikely(++at == q->size))
			return 0;
		d = packed_copy(q, at);
	}
	bool is_all_out = PACKED_KIND(d) == 0;
	if (is_all_out && !vq_short_add(q, &w, d.addr, PACKED_LEN(d)))
		return 0;
	vq_short_mid(s, &w);
	while (PACKED_KIND(d) == (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) {
		if (!vq_short_add(q, &w, d.addr, PACKED_LEN(d)) || unlikely(++at == q->size))
			return 0;
		d = packed_copy(q, at);
	}
	if (!is_all_out &&
	    (PACKED_KIND(d) != VRING_DESC_F_WRITE || !vq_short_add(q, &w, d.addr, PACKED_LEN(d))))
		return 0;
end:
	at++;
	if (unlikely(at - start > left) || !vq_short_end(s, &w, slot))
		return 0;
	s->nr_descs = (uint16_t)(at - start);
	s->id = (uint16_t)(d.rest >> 32); /* VIRTIO 1.2 §2.8.6: of the last descriptor */
	return at;
}

int vq_packed_pop(struct vq *q, struct vq_chain **out)
{
	uint64_t rest = packed_peek(q, q->last_avail);
	if (!packed_is_available((uint16_t)(rest >> 48), q->avail_wrap))
		return q->is_dead ? -EBADMSG : 0;
	/* a ring that is all in flight leaves no slot: that is for the long road */
	if (unlikely(q->is_dead) || unlikely(q->descs_out == q->size))
		return packed_pop_long(q, out, rest);
	uint16_t slot = packed_slot_peek(q);
	struct vq_slot *s = &q->slots[slot];
	uint32_t next = packed_short(q, s, slot, q->last_avail, rest);
	if (unlikely(!next))
		return packed_pop_long(q, out, rest);
	packed_slot_take(q, s->block);
	packed_advance(q, s, next);
	*out = &s->c;
	return 1;
}

void vq_packed_unpop(struct vq *q, struct vq_slot *s)
{
	if (q->last_avail < s->nr_descs) {
		q->last_avail = (uint16_t)(q->last_avail + q->size);
		q->avail_wrap = !q->avail_wrap;
	}
	q->last_avail = (uint16_t)(q->last_avail - s->nr_descs);
	packed_slot_free(q, s);
}

/* --- requests of a predecessor, as the log has them --- */

static int packed_walk_entry(struct vq *q, struct vq_slot *s, uint16_t slot, uint16_t entry)
{
	const struct vq_log *l = q->log;
	struct vq_walk w;
	vq_walk_begin(q, s, &w);
	s->nr_descs = l->num[entry];
	for (uint16_t i = 0; i < s->nr_descs; i++, entry = l->next[entry]) {
		const struct inflight_packed_desc *d = &l->packed->desc[entry];
		uint64_t rest = d->len | (uint64_t)d->id << 32 | (uint64_t)d->flags << 48;
		int err = packed_walk_one(q, s, &w, d->addr, rest);
		if (err)
			return err;
		s->id = d->id;
	}
	return vq_walk_end(s, &w, slot);
}

int vq_packed_pop_entry(struct vq *q, uint16_t entry, struct vq_chain **out)
{
	uint16_t slot = packed_slot_peek(q);
	struct vq_slot *s = &q->slots[slot];
	uint16_t next_free = s->block;
	int err = packed_walk_entry(q, s, slot, entry);
	if (err) {
		err = vq_walk_abort(q, s, err);
		s->block = next_free;
		return err;
	}
	packed_slot_take(q, next_free);
	q->in_flight++;
	s->is_busy = true;
	*out = &s->c;
	return 1;
}

void vq_packed_unpop_entry(struct vq *q, struct vq_slot *s)
{
	packed_slot_free(q, s);
	q->descs_out = (uint16_t)(q->descs_out + s->nr_descs);
}

/* --- giving results --- */

/*
 * The driver looks at results in ring order, so only the flags of the first one are held back
 * until vq_publish(): they are the gate before all that follow.
 */
void vq_packed_push(struct vq *q, struct vq_slot *s, uint32_t written)
{
	struct vring_packed_desc *d = &q->packed[q->used_next];
	uint16_t flags = q->used_wrap ? PACKED_AVAIL | PACKED_USED : 0;
	if (written)
		flags |= VRING_DESC_F_WRITE;
	d->id = htole16(s->id);
	d->len = htole32(written);
	if (q->has_results) {
		/* release: the gate's own release comes later, yet a driver may read in one go */
		__atomic_store_n(&d->flags, htole16(flags), __ATOMIC_RELEASE);
	} else {
		q->has_results = true;
		q->first_flags = flags;
	}
	uint32_t at = (uint32_t)q->used_next + s->nr_descs;
	if (at >= q->size) {
		at -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->used_next = (uint16_t)at;
	q->results++;
	packed_slot_free(q, s);
}

/* VIRTIO 1.2 §2.8.10: has the result at the driver's event offset come between @before and now? */
static bool packed_wants_event(const struct vq *q, uint32_t event, uint16_t before)
{
	uint16_t flags = (uint16_t)(event >> 16) & 3;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->has_event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	uint16_t off = event & 0x7fff, now = q->used_next;
	bool wrap = event & (1u << VRING_PACKED_EVENT_F_WRAP_CTR);
	/* On one line of numbers, where a turn of the ring before now lies below zero. */
	if (now <= before)
		before = (uint16_t)(before - q->size);
	if (wrap != q->used_wrap)
		off = (uint16_t)(off - q->size);
	return (uint16_t)(now - off - 1) < (uint16_t)(now - before);
}

bool vq_packed_publish(struct vq *q)
{
	if (!q->has_results)
		return false;
	uint16_t before = q->signalled;
	uint16_t flags = q->first_flags;
	q->has_results = false;
	q->signalled = q->used_next;
	vq_count(&q->stats.requests, q->results);
	vq_count(&q->stats.passes, 1);
	q->results = 0;
	/*
	 * seq_cst: also a release of all results; and not to be passed by the load below, as the
	 * driver's store of its event structure is not passed by its load of the flags.
	 */
	__atomic_store_n(&q->packed[before].flags, htole16(flags), __ATOMIC_SEQ_CST);
	uint32_t event = le32toh(__atomic_load_n(q->driver_event, __ATOMIC_SEQ_CST));
	return packed_wants_event(q, event, before);
}

/* --- notifications from the driver --- */

bool vq_packed_arm(struct vq *q)
{
	uint32_t event = PACKED_EVENT(0, VRING_PACKED_EVENT_FLAG_ENABLE);
	if (q->has_event_idx)
		event = PACKED_EVENT(q->last_avail | q->avail_wrap << VRING_PACKED_EVENT_F_WRAP_CTR,
				     VRING_PACKED_EVENT_FLAG_DESC);
	/* seq_cst: not to be passed by the load, as the driver's store of the flags is not */
	__atomic_store_n(q->device_event, htole32(event), __ATOMIC_SEQ_CST);
	const uint16_t *flags = &q->packed[q->last_avail].flags;
	return packed_is_available(le16toh(__atomic_load_n(flags, __ATOMIC_SEQ_CST)),
				   q->avail_wrap);
}

void vq_packed_disarm(struct vq *q)
{
	uint32_t event = PACKED_EVENT(0, VRING_PACKED_EVENT_FLAG_DISABLE);
	__atomic_store_n(q->device_event, htole32(event), __ATOMIC_RELAXED);
}

uint16_t vq_packed_next(const struct vq *q)
{
	return (uint16_t)(q->last_avail | !q->avail_wrap << 15);
}
