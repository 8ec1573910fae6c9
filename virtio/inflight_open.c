/* inflight_open.c - see inflight_priv.h: beginning an account, or taking over a predecessor's. */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/num.h"
#include "inflight_priv.h"

size_t vq_log_bytes(uint16_t size)
{
	size_t packed = sizeof(struct inflight_packed) + size * sizeof(struct inflight_packed_desc);
	return align_up(packed, 64); /* the larger of the two */
}

/* --- what is left to do, in the order it was taken --- */

struct log_item {
	uint64_t counter;
	uint16_t what;
};

static int log_item_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct log_item *)a)->counter,
		 y = ((const struct log_item *)b)->counter;
	return x < y ? -1 : x > y;
}

static void log_keep_redo(struct vq_log *l, struct log_item *items, uint16_t nr)
{
	qsort(items, nr, sizeof(items[0]), log_item_compare);
	for (uint16_t i = 0; i < nr; i++)
		l->redo[i] = items[i].what;
	l->nr_redo = nr;
	l->counter = nr ? items[nr - 1].counter + 1 : 0;
}

/* --- split --- */

static uint16_t log_used_idx(const struct vq *q)
{
	return le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE));
}

static void log_split_begin(struct vq *q, struct inflight_split *s)
{
	memset(s, 0, sizeof(*s) + q->size * sizeof(s->desc[0]));
	s->desc_num = q->size;
	s->used_idx = q->used_next;
	__atomic_store_n(&s->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

/* The results of the last batch were shown, but not yet taken out of the account. */
static int log_split_end_batch(const struct vq *q, struct inflight_split *s, uint16_t used)
{
	uint16_t nr = (uint16_t)(used - s->used_idx);
	uint16_t at = __atomic_load_n(&s->last_batch_head, __ATOMIC_RELAXED);
	for (uint16_t i = 0; i < nr && i < q->size; i++) {
		if (at >= q->size)
			return -EINVAL;
		s->desc[at].is_inflight = 0;
		at = __atomic_load_n(&s->desc[at].next, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&s->used_idx, used, __ATOMIC_RELEASE);
	return 0;
}

static int log_split_take_over(struct vq *q, struct inflight_split *s, struct log_item *items)
{
	uint16_t used = log_used_idx(q), nr = 0;
	if (s->version != INFLIGHT_VERSION || s->desc_num != q->size)
		return -EINVAL;
	int err = log_split_end_batch(q, s, used);
	if (err)
		return err;
	for (uint16_t i = 0; i < q->size; i++)
		if (s->desc[i].is_inflight)
			items[nr++] = (struct log_item){ s->desc[i].counter, i };
	log_keep_redo(q->log, items, nr);
	q->used_next = q->signalled = used;
	q->last_avail = (uint16_t)(used + nr);
	return 0;
}

/* --- packed --- */

static void log_packed_begin(struct vq *q, struct inflight_packed *p)
{
	memset(p, 0, sizeof(*p) + q->size * sizeof(p->desc[0]));
	for (uint16_t i = 0; i < q->size; i++)
		p->desc[i].next = q->log->next[i] = (uint16_t)(i + 1);
	p->desc_num = q->size;
	p->used_idx = p->old_used_idx = q->used_next;
	p->used_wrap = p->old_used_wrap = q->used_wrap;
	__atomic_store_n(&p->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

/* Others may write to the account meanwhile: each field is read once. */
static struct log_place log_packed_load_old(const struct inflight_packed *p)
{
	return (struct log_place){
		.free_head = __atomic_load_n(&p->old_free_head, __ATOMIC_RELAXED),
		.used_idx = __atomic_load_n(&p->old_used_idx, __ATOMIC_RELAXED),
		.used_wrap = __atomic_load_n(&p->old_used_wrap, __ATOMIC_RELAXED),
	};
}

static struct log_place log_packed_load_new(const struct inflight_packed *p)
{
	return (struct log_place){
		.free_head = __atomic_load_n(&p->free_head, __ATOMIC_RELAXED),
		.used_idx = __atomic_load_n(&p->used_idx, __ATOMIC_RELAXED),
		.used_wrap = __atomic_load_n(&p->used_wrap, __ATOMIC_RELAXED),
	};
}

/* Was the last batch shown? Then it is done, else it is as if it had never begun. */
static int log_packed_end_batch(const struct vq *q, struct inflight_packed *p,
				struct log_place *out)
{
	struct log_place old = log_packed_load_old(p), new = log_packed_load_new(p);
	if (old.used_idx >= q->size || new.used_idx >= q->size)
		return -EINVAL;
	bool is_open = new.used_idx != old.used_idx || new.used_wrap != old.used_wrap;
	uint16_t flags = le16toh(__atomic_load_n(&q->packed[old.used_idx].flags, __ATOMIC_ACQUIRE));
	bool was_shown = is_open && !vq_packed_is_available(flags, old.used_wrap);
	*out = was_shown ? new : old;
	log_store(&p->free_head, out->free_head);
	log_store(&p->old_free_head, out->free_head);
	log_store_place(p, *out, *out);
	return 0;
}

/* Copy the free list. Returns its length, or -EINVAL: it loops. */
static int log_packed_load_free(const struct vq *q, struct inflight_packed *p, uint16_t free_head,
				bool *is_seen)
{
	struct vq_log *l = q->log;
	int nr = 0;
	l->free_head = free_head;
	for (uint16_t at = l->free_head; at < q->size; at = l->next[at], nr++) {
		if (is_seen[at])
			return -EINVAL;
		is_seen[at] = true;
		p->desc[at].is_inflight = 0;
		l->next[at] = __atomic_load_n(&p->desc[at].next, __ATOMIC_RELAXED);
	}
	return nr;
}

/* Copy the chain that starts at entry @head. Returns its length, or -EINVAL. */
static int log_packed_load_chain(const struct vq *q, const struct inflight_packed *p, uint16_t head,
				 bool *is_seen)
{
	struct vq_log *l = q->log;
	uint16_t nr = __atomic_load_n(&p->desc[head].num, __ATOMIC_RELAXED), at = head;
	if (!nr || nr > q->size)
		return -EINVAL;
	for (uint16_t i = 0; i < nr; i++) {
		if (at >= q->size || is_seen[at])
			return -EINVAL;
		is_seen[at] = true;
		l->last[head] = at;
		at = l->next[at] = __atomic_load_n(&p->desc[at].next, __ATOMIC_RELAXED);
	}
	l->num[head] = nr;
	return nr;
}

/*
 * A batch that was never shown has left flags of results in the ring, all but its first. What is
 * still to be done lies there again as the driver offered it, or the driver, once it has seen our
 * first result, would go on to results of a predecessor that nobody stands for any more.
 */
static void log_packed_clean_ring(struct vq *q, int nr)
{
	uint16_t at = q->used_next;
	bool wrap = q->used_wrap;
	for (int i = 0; i < nr; i++) {
		/* relaxed: the release of our first result comes after it */
		__atomic_store_n(&q->packed[at].flags, htole16(vq_packed_offered(wrap)),
				 __ATOMIC_RELAXED);
		at = at + 1 == q->size ? 0 : (uint16_t)(at + 1);
		wrap ^= at == 0;
	}
}

static int log_packed_take_over(struct vq *q, struct inflight_packed *p, struct log_item *items)
{
	bool is_seen[VQ_MAX_SIZE] = { 0 };
	uint16_t nr = 0;
	if (p->version != INFLIGHT_VERSION || p->desc_num != q->size)
		return -EINVAL;
	struct log_place place;
	int err = log_packed_end_batch(q, p, &place);
	int free = err ? err : log_packed_load_free(q, p, place.free_head, is_seen), busy = 0;
	if (free < 0)
		return free;
	for (uint16_t i = 0; i < q->size; i++) {
		if (!p->desc[i].is_inflight)
			continue;
		int n = log_packed_load_chain(q, p, i, is_seen);
		if (n < 0)
			return n;
		busy += n;
		items[nr++] = (struct log_item){ p->desc[i].counter, i };
	}
	if (free + busy != q->size)
		return -EINVAL;
	log_keep_redo(q->log, items, nr);
	q->used_next = q->signalled = place.used_idx;
	q->used_wrap = q->avail_wrap = place.used_wrap;
	int at = place.used_idx + busy;
	q->avail_wrap ^= at >= q->size;
	q->last_avail = (uint16_t)(at >= q->size ? at - q->size : at);
	log_packed_clean_ring(q, busy);
	return 0;
}

/* --- both --- */

int vq_log_open(struct vq *q, const struct vq_setup *s)
{
	if (!is_aligned((uintptr_t)s->log, 8) ||
	    s->log_bytes < (q->is_packed ? vq_log_bytes(q->size)
					 : sizeof(struct inflight_split) +
						   q->size * sizeof(struct inflight_split_desc)))
		return -EINVAL;
	CLEANUP(free_cleanup) struct log_item *items = calloc(q->size, sizeof(*items));
	q->log = calloc(1, sizeof(*q->log));
	if (!items || !q->log)
		return -ENOMEM;
	q->log->mem = s->log;
	bool is_fresh = !(q->is_packed ? q->log->packed->version : q->log->split->version);
	q->log->owes_signal = !is_fresh; /* our predecessor may have died before it could */
	if (!is_fresh)
		return q->is_packed ? log_packed_take_over(q, q->log->packed, items)
				    : log_split_take_over(q, q->log->split, items);
	if (q->is_packed)
		log_packed_begin(q, q->log->packed);
	else
		log_split_begin(q, q->log->split);
	return 0;
}

void vq_log_close(struct vq *q)
{
	free(q->log);
	q->log = NULL;
}
