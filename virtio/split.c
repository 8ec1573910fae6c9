/* split.c - the split ring behind virtio/queue.h. VIRTIO 1.2 §2.7. */
#include <string.h>
#include "base/num.h"
#include "walk_priv.h"

/* --- taking requests: the long road --- */

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

/* The next request, whatever it is like. There is one, and @head is its. */
static NOINLINE int split_pop_long(struct vq *q, struct vq_chain **out, uint16_t head)
{
	if (head >= q->size)
		return vq_break(q);
	int got = vq_split_pop_head(q, head, out);
	if (got > 0)
		q->last_avail++;
	return got;
}

int vq_split_pop_head(struct vq *q, uint16_t head, struct vq_chain **out)
{
	struct vq_slot *s = &q->slots[head];
	if (vq_slot_is_busy(s))
		return vq_break(q);
	int err = split_walk(q, s, head);
	if (err)
		return vq_walk_abort(q, s, err);
	*out = &s->c;
	return 1;
}

/* --- taking requests: the short road, walk_priv.h --- */

/*
 * A descriptor, copied. Its parts are loaded one by one, none of them twice. @link holds the flags
 * above the next index: to take the flags that are expected away leaves the index, and whatever is
 * not expected leaves a number no table is long enough for.
 */
struct split_desc {
	uint64_t addr;
	uint32_t len, link;
};

/* The ring's own descriptors, or an indirect table. */
struct split_table {
	const struct vring_desc *desc;
	uint32_t nr;
};

#define SPLIT_LINK(flags) ((uint32_t)(flags) << 16)

static ALWAYS_INLINE struct split_desc split_copy(const struct vring_desc *p)
{
	uint64_t addr = __atomic_load_n(&p->addr, __ATOMIC_RELAXED);
	uint32_t len = __atomic_load_n(&p->len, __ATOMIC_RELAXED);
	const uint32_t *flags_next = (const uint32_t *)(const void *)&p->flags;
	uint32_t link = le32toh(__atomic_load_n(flags_next, __ATOMIC_RELAXED));
	return (struct split_desc){ le64toh(addr), le32toh(len), link << 16 | link >> 16 };
}

/* Follow the chain from *@d on as long as its flags are @flags. False: take the long road. */
static ALWAYS_INLINE bool split_short_part(const struct vq *q, struct vq_short *w,
					   struct vq_slot *s, const struct split_table *t,
					   uint16_t flags, struct split_desc *d)
{
	for (;;) {
		uint32_t next = d->link ^ SPLIT_LINK(flags);
		if (next >= t->nr)
			return true;
		if (unlikely(!vq_short_add(q, w, s, d->addr, d->len)))
			return false;
		*d = split_copy(&t->desc[next]);
	}
}

/* Go on in the table that @d describes. */
static ALWAYS_INLINE bool split_short_table(const struct vq *q, const struct vq_short *w,
					    const struct split_desc *d, struct split_table *t)
{
	/* a table may lie anywhere; where its parts would straddle words it is for the long road */
	if (!q->has_indirect || d->len % sizeof(*t->desc) || d->addr % sizeof(uint64_t) ||
	    !vq_short_fits(q, w, d->addr, d->len))
		return false;
	t->desc = (const struct vring_desc *)(const void *)(w->base + d->addr);
	/* no index leads further, and flags that are not expected must not look like one */
	t->nr = min_u32(d->len / (uint32_t)sizeof(*t->desc), 1u << 16);
	return true;
}

static ALWAYS_INLINE bool split_short(const struct vq *q, struct vq_short *w, struct vq_slot *s,
				      uint16_t head)
{
	struct split_table t = { q->desc, q->size };
	struct split_desc d = split_copy(&t.desc[head]);
	w->bytes = w->at = 0;
	if (d.link >> 16 == VRING_DESC_F_INDIRECT) {
		if (unlikely(!split_short_table(q, w, &d, &t)))
			return false;
		d = split_copy(t.desc);
	}
	if (!split_short_part(q, w, s, &t, VRING_DESC_F_NEXT, &d))
		return false;
	vq_short_mid(w, s);
	if (!split_short_part(q, w, s, &t, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, &d) ||
	    unlikely(!vq_short_add(q, w, s, d.addr, d.len)))
		return false;
	if (unlikely(d.link >> 16 != VRING_DESC_F_WRITE) && !vq_short_all_out(w, s, d.link >> 16))
		return false;
	return vq_short_end(w, s, head);
}

/* How many the driver offers, @max at most, or -EBADMSG. */
static ALWAYS_INLINE int split_nr_offered(const struct vq *q, unsigned max)
{
	/* acquire: pairs with the driver's release of avail->idx, after ring and descriptors */
	uint16_t idx = le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE));
	uint32_t nr = (uint16_t)(idx - q->last_avail);
	/* it has back what was shown; more than the ring holds it cannot have out */
	uint32_t nr_out = (uint16_t)(idx - q->signalled);
	if (unlikely(q->is_dead) || unlikely(nr > nr_out) || unlikely(nr_out > q->size))
		return -EBADMSG;
	return (int)min_u32(nr, min_u32(max, VQ_BATCH));
}

/*
 * Copy the next @nr heads, up to the first that cannot be: how many are good.
 *
 * Fetch on the way what their descriptors point to: indirect tables and headers. Only hints are
 * made of these bytes; they are read again when the requests are taken. The loop depends on no load
 * but its own, so the processor has the cache misses of the whole batch under way at once.
 */
static ALWAYS_INLINE size_t split_look(const struct vq *q, uint16_t *heads, size_t nr)
{
	const uint16_t *ring = q->avail->ring;
	size_t mask = q->mask, at = q->last_avail;
	for (size_t i = 0; i < nr; i++, at++) {
		size_t head = le16toh(__atomic_load_n(&ring[at & mask], __ATOMIC_RELAXED));
		heads[i] = (uint16_t)head;
		if (unlikely(head > mask))
			return i;
		uint64_t addr = le64toh(q->desc[head].addr);
		if (likely(addr - q->hit_start < q->hit_len))
			__builtin_prefetch(q->base + addr);
	}
	return nr;
}

int vq_split_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	uint16_t heads[VQ_BATCH];
	struct vq_short w = vq_short_of(q);
	int nr = split_nr_offered(q, max);
	if (nr <= 0)
		return nr ? vq_break(q) : 0;
	size_t nr_good = split_look(q, heads, (size_t)nr), n = 0;
	for (; n < nr_good; n++) {
		struct vq_slot *s = &q->slots[heads[n]];
		if (unlikely(vq_slot_is_busy(s)) || unlikely(!split_short(q, &w, s, heads[n])))
			break;
		out[n] = &s->c;
	}
	if (unlikely(!n))
		return split_pop_long(q, out, heads[0]);
	q->last_avail = (uint16_t)(q->last_avail + n);
	return (int)n;
}

/* --- giving results --- */

bool vq_split_publish(struct vq *q)
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

/* --- notifications from the driver --- */

bool vq_split_has_work(const struct vq *q)
{
	return le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE)) != q->last_avail;
}

bool vq_split_arm(struct vq *q)
{
	/* seq_cst: not to be passed by the load, as the driver's store of avail->idx is not */
	if (q->has_event_idx)
		__atomic_store_n(q->avail_event, htole16(q->last_avail), __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&q->used->flags, 0, __ATOMIC_SEQ_CST);
	return le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_SEQ_CST)) != q->last_avail;
}

void vq_split_disarm(struct vq *q)
{
	if (!q->has_event_idx) /* an event index left behind suppresses by itself */
		__atomic_store_n(&q->used->flags, htole16(VRING_USED_F_NO_NOTIFY),
				 __ATOMIC_RELAXED);
}
