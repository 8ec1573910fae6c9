/* packed.c - the packed ring behind virtio/queue.h. VIRTIO 1.2 §2.8. */
#include <string.h>
#include "base/num.h"
#include "inflight_priv.h"
#include "walk_priv.h"

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)

/* Both event suppression structures as one 32-bit value: offset and wrap below, flags above. */
#define PACKED_EVENT(off_wrap, flags) ((uint32_t)(off_wrap) | (uint32_t)(flags) << 16)

#define PACKED_TURN (PACKED_AVAIL | PACKED_USED)

/* The bits of PACKED_TURN that say "available" on the turn of @wrap. */
static ALWAYS_INLINE uint16_t packed_turn(bool wrap)
{
	return wrap ? PACKED_AVAIL : PACKED_USED;
}

static ALWAYS_INLINE bool packed_is_available(uint16_t flags, bool wrap)
{
	return (flags & PACKED_TURN) == packed_turn(wrap);
}

bool vq_packed_is_available(uint16_t flags, bool wrap)
{
	return packed_is_available(flags, wrap);
}

uint16_t vq_packed_offered(bool wrap)
{
	return packed_turn(wrap);
}

/* Ring descriptors of the chains in flight: what lies between where we give and where we take. */
static ALWAYS_INLINE uint32_t packed_descs_out(const struct vq *q)
{
	uint32_t turn = q->avail_wrap != q->used_wrap ? q->size : 0;
	return turn + q->last_avail - q->used_next;
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
	q->free_slot = s->c.head; /* in this format the number of the slot */
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

/* The chain that starts at last_avail. */
static int packed_walk(struct vq *q, struct vq_slot *s, uint16_t slot)
{
	uint64_t rest = packed_peek(q, q->last_avail);
	struct vq_walk w;
	vq_walk_begin(q, s, &w);
	uint16_t at = q->last_avail, left = (uint16_t)(q->size - packed_descs_out(q)), nr = 0;
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

/* The next request, whatever it is like. There is one. */
static NOINLINE int packed_pop_long(struct vq *q, struct vq_chain **out)
{
	if (packed_descs_out(q) == q->size) /* then there is no slot either */
		return vq_break(q);
	uint16_t slot = packed_slot_peek(q);
	struct vq_slot *s = &q->slots[slot];
	uint16_t next_free = s->block; /* before the walk may want the field for itself */
	int err = packed_walk(q, s, slot);
	if (err) {
		err = vq_walk_abort(q, s, err);
		s->block = next_free;
		return err;
	}
	packed_slot_take(q, next_free);
	uint32_t at = (uint32_t)q->last_avail + s->nr_descs;
	q->avail_wrap ^= at >= q->size;
	q->last_avail = (uint16_t)(at >= q->size ? at - q->size : at);
	q->popped++;
	*out = &s->c;
	return 1;
}

/*
 * A descriptor on the short road (walk_priv.h). Its parts are loaded one by one, the id only of the
 * last of a chain, none of them twice.
 */
struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

/* Of the flags, those that say what kind of descriptor it is. */
#define PACKED_KIND(d)                                                                             \
	((d).flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))

static ALWAYS_INLINE struct packed_desc packed_copy(const struct vring_packed_desc *p)
{
	/* acquire: as in packed_peek() */
	uint16_t flags = le16toh(__atomic_load_n(&p->flags, __ATOMIC_ACQUIRE));
	uint32_t len = le32toh(__atomic_load_n(&p->len, __ATOMIC_RELAXED));
	uint64_t addr = le64toh(__atomic_load_n(&p->addr, __ATOMIC_RELAXED));
	return (struct packed_desc){ addr, len, flags };
}

/* The indirect table that @d describes: in it only WRITE means anything, INDIRECT is forbidden. */
static ALWAYS_INLINE bool packed_short_table(const struct vq *q, struct vq_short *w,
					     struct vq_slot *s, struct packed_desc d)
{
	/* as in the split format: only a table whose parts do not straddle words */
	if (!q->has_indirect || d.len % sizeof(struct vring_packed_desc) ||
	    d.addr % sizeof(uint64_t) || !vq_short_fits(q, w, d.addr, d.len))
		return false;
	const struct vring_packed_desc *e = (const void *)(w->base + d.addr);
	const struct vring_packed_desc *end = e + d.len / sizeof(*e);
	for (; e != end; e++) {
		d = packed_copy(e);
		if (d.flags & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))
			break;
		if (unlikely(!vq_short_add(q, w, s, d.addr, d.len)))
			return false;
	}
	vq_short_mid(w, s);
	while (e != end) {
		if (unlikely((PACKED_KIND(d) & ~VRING_DESC_F_NEXT) != VRING_DESC_F_WRITE) ||
		    unlikely(!vq_short_add(q, w, s, d.addr, d.len)))
			return false;
		if (++e != end)
			d = packed_copy(e);
	}
	return true;
}

/* Follow the chain from *@d at *@p on as long as its kind is @kind. False: take the long road. */
static ALWAYS_INLINE bool packed_short_part(const struct vq *q, struct vq_short *w,
					    struct vq_slot *s, uint16_t kind, struct packed_desc *d,
					    const struct vring_packed_desc **p)
{
	while (PACKED_KIND(*d) == kind) {
		if (unlikely(!vq_short_add(q, w, s, d->addr, d->len)) ||
		    unlikely(++*p == q->packed + q->size))
			return false;
		*d = packed_copy(*p);
	}
	return true;
}

/*
 * The chain that starts with @d at @p, as far as it does not come to the end of the ring: how many
 * descriptors it has there, 0: take the long road.
 */
static ALWAYS_INLINE uint32_t packed_short(const struct vq *q, struct vq_short *w,
					   struct vq_slot *s, struct packed_desc d,
					   const struct vring_packed_desc *p)
{
	const struct vring_packed_desc *first = p;
	w->bytes = w->at = 0;
	if (PACKED_KIND(d) == VRING_DESC_F_INDIRECT) {
		if (unlikely(!packed_short_table(q, w, s, d)))
			return 0;
	} else {
		if (!packed_short_part(q, w, s, VRING_DESC_F_NEXT, &d, &p))
			return 0;
		vq_short_mid(w, s);
		if (!packed_short_part(q, w, s, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, &d, &p) ||
		    unlikely(!vq_short_add(q, w, s, d.addr, d.len)))
			return 0;
		if (unlikely(PACKED_KIND(d) != VRING_DESC_F_WRITE) &&
		    !vq_short_all_out(w, s, PACKED_KIND(d)))
			return 0;
	}
	/* VIRTIO 1.2 §2.8.6: of the last descriptor */
	s->id = le16toh(__atomic_load_n(&p->id, __ATOMIC_RELAXED));
	return (uint32_t)(p - first) + 1;
}

int vq_packed_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	struct vq_short w = vq_short_of(q);
	const struct vring_packed_desc *p = &q->packed[q->last_avail];
	uint32_t left = q->size - packed_descs_out(q), nr = 1;
	int n = 0, limit = q->is_dead ? 0 : (int)min_u32(max, VQ_BATCH);
	for (; n < limit; n++) {
		struct packed_desc d = packed_copy(p);
		if (!packed_is_available(d.flags, q->avail_wrap))
			break;
		/* with nothing left there may be no slot: that is for the long road */
		uint16_t slot = likely(left) ? packed_slot_peek(q) : 0;
		struct vq_slot *s = &q->slots[slot];
		nr = likely(left) ? packed_short(q, &w, s, d, p) : 0;
		if (unlikely(!nr) || unlikely(nr > left) || unlikely(!vq_short_end(&w, s, slot))) {
			nr = 0;
			break;
		}
		s->nr_descs = (uint16_t)nr;
		packed_slot_take(q, s->block);
		left -= nr;
		p += nr;
		if (unlikely(p == q->packed + q->size)) {
			p = q->packed;
			q->avail_wrap = !q->avail_wrap;
		}
		out[n] = &s->c;
	}
	if (unlikely(!n))
		return q->is_dead ? -EBADMSG : nr ? 0 : packed_pop_long(q, out);
	q->last_avail = (uint16_t)(p - q->packed);
	q->popped = (uint16_t)(q->popped + n);
	return n;
}

void vq_packed_unpop(struct vq *q, struct vq_slot *s)
{
	if (q->last_avail < s->nr_descs) {
		q->last_avail = (uint16_t)(q->last_avail + q->size);
		q->avail_wrap = !q->avail_wrap;
	}
	q->last_avail = (uint16_t)(q->last_avail - s->nr_descs);
	q->popped--;
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
	q->popped++;
	*out = &s->c;
	return 1;
}

void vq_packed_unpop_entry(struct vq *q, struct vq_slot *s)
{
	q->popped--;
	packed_slot_free(q, s);
}

/* --- giving results --- */

/* The second half of descriptor @at; its flags are what the driver waits for. */
static ALWAYS_INLINE uint64_t *packed_rest(const struct vq *q, uint16_t at)
{
	return (uint64_t *)(void *)&q->packed[at].len;
}

/*
 * The driver looks at results in ring order, so only the first one is held back until
 * vq_publish(): it is the gate before all that follow.
 */
void vq_packed_push(struct vq *q, struct vq_slot *s, uint32_t written)
{
	uint64_t flags = (q->used_wrap ? PACKED_TURN : 0) | (written ? VRING_DESC_F_WRITE : 0);
	uint64_t rest = htole64(written | (uint64_t)s->id << 32 | flags << 48);
	if (likely(q->pushed != q->shown))
		/* release: the gate's own release comes later, yet a driver may read in one go */
		__atomic_store_n(packed_rest(q, q->used_next), rest, __ATOMIC_RELEASE);
	else
		q->gate = rest;
	uint32_t at = (uint32_t)q->used_next + s->nr_descs;
	if (unlikely(at >= q->size)) {
		at -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->used_next = (uint16_t)at;
	q->pushed++;
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
	if (!vq_packed_has_results(q))
		return false;
	uint16_t before = q->signalled;
	vq_count(&q->stats.requests, (uint16_t)(q->pushed - q->shown));
	vq_count(&q->stats.passes, 1);
	q->shown = q->pushed;
	q->signalled = q->used_next;
	/*
	 * seq_cst: also a release of all results; and not to be passed by the load below, as the
	 * driver's store of its event structure is not passed by its load of the flags.
	 */
	__atomic_store_n(packed_rest(q, before), q->gate, __ATOMIC_SEQ_CST);
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
