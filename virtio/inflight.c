/* inflight.c - see inflight_priv.h: keeping the account. */
#include <stdlib.h>
#include "base/num.h"
#include "inflight_priv.h"
#include "walk_priv.h"

/* --- split --- */

static int log_split_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	struct vq_log *l = q->log;
	int got = vq_split_pop(q, out, max);
	for (int i = 0; i < got; i++) {
		struct inflight_split_desc *d = &l->split->desc[out[i]->head];
		d->counter = l->counter++;
		log_store(&d->is_inflight, 1);
	}
	return got;
}

static void log_split_push(struct vq_log *l, uint16_t head)
{
	l->split->desc[head].next = l->split->last_batch_head;
	log_store(&l->split->last_batch_head, head);
}

static bool log_split_publish(struct vq *q)
{
	struct vq_log *l = q->log;
	if (!l->nr_batch)
		return false;
	bool wants = vq_split_publish(q);
	for (uint16_t i = 0; i < l->nr_batch; i++)
		log_store(&l->split->desc[l->batch[i]].is_inflight, 0);
	log_store(&l->split->used_idx, q->used_next);
	l->nr_batch = 0;
	return wants;
}

/* --- packed --- */

/* Copy the chain just popped, of @nr descriptors from @at on, into the free entries. */
static uint16_t log_packed_note(struct vq *q, uint16_t at, uint16_t nr)
{
	struct vq_log *l = q->log;
	struct inflight_packed *p = l->packed;
	uint16_t head = l->free_head, e = head;
	p->desc[head].counter = l->counter++;
	log_store(&p->desc[head].is_inflight, 1);
	for (uint16_t i = 0; i < nr; i++) {
		/* the driver may have changed it since: then a successor checks what it finds */
		struct vq_desc d = vq_desc_copy(&q->packed[at]);
		p->desc[e].addr = d.addr;
		p->desc[e].len = (uint32_t)d.rest;
		p->desc[e].id = (uint16_t)(d.rest >> 32);
		p->desc[e].flags = (uint16_t)(d.rest >> 48);
		l->last[head] = e;
		e = l->next[e];
		at = at + 1 == q->size ? 0 : (uint16_t)(at + 1);
	}
	l->num[head] = nr;
	p->desc[head].last = l->last[head];
	p->desc[head].num = nr;
	l->free_head = e;
	log_store(&p->free_head, e);
	log_store(&p->old_free_head, e);
	return head;
}

/* An entry is taken from where results still to be published put theirs: so those go first. */
static int log_packed_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	struct vq_log *l = q->log;
	if (vq_packed_has_results(q) && vq_log_publish(q))
		l->owes_signal = true;
	uint32_t at = q->last_avail;
	int got = vq_packed_pop(q, out, max);
	for (int i = 0; i < got; i++) {
		struct vq_slot *s = container_of(out[i], struct vq_slot, c);
		l->entry_of[s - q->slots] = log_packed_note(q, (uint16_t)at, s->nr_descs);
		at += s->nr_descs;
		at -= at >= q->size ? q->size : 0;
	}
	return got;
}

static void log_packed_free(struct vq_log *l, uint16_t e)
{
	l->next[l->last[e]] = l->free_head;
	l->packed->desc[l->last[e]].next = l->free_head;
	l->free_head = e;
	log_store(&l->packed->free_head, e);
}

static bool log_packed_publish(struct vq *q)
{
	struct vq_log *l = q->log;
	struct inflight_packed *p = l->packed;
	if (!vq_packed_has_results(q))
		return false;
	struct log_place now = { .used_idx = q->used_next, .used_wrap = q->used_wrap };
	/* there are results: to come no further means to have come round */
	bool comes_round = q->used_next <= q->signalled;
	struct log_place old = { .used_idx = q->signalled,
				 .used_wrap = q->used_wrap != comes_round };
	log_store_place(p, now, old);
	bool wants = vq_packed_publish(q);
	for (uint16_t i = 0; i < l->nr_batch; i++)
		log_store(&p->desc[l->batch[i]].is_inflight, 0);
	log_store(&p->old_free_head, l->free_head);
	log_store_place(p, now, now);
	l->nr_batch = 0;
	return wants;
}

static void log_packed_unpop(struct vq *q, struct vq_slot *s)
{
	struct vq_log *l = q->log;
	uint16_t e = l->entry_of[s - q->slots];
	/* in flight until it is on the list: an entry that is neither would be damage */
	log_packed_free(l, e);
	log_store(&l->packed->old_free_head, e);
	log_store(&l->packed->desc[e].is_inflight, 0);
	vq_packed_unpop(q, s);
}

/* --- both --- */

static int log_redo(struct vq *q, struct vq_chain **out)
{
	struct vq_log *l = q->log;
	uint16_t what = l->redo[l->redone];
	int got = q->is_dead     ? -EBADMSG
		  : q->is_packed ? vq_packed_pop_entry(q, what, out)
				 : vq_split_pop_head(q, what, out);
	if (got <= 0)
		return got;
	if (q->is_packed)
		l->entry_of[container_of(*out, struct vq_slot, c) - q->slots] = what;
	l->redone++;
	l->was_redo = true;
	return 1;
}

int vq_log_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	if (unlikely(vq_log_backlog(q)))
		return log_redo(q, out);
	q->log->was_redo = false;
	return q->is_packed ? log_packed_pop(q, out, max) : log_split_pop(q, out, max);
}

void vq_log_unpop(struct vq *q, struct vq_slot *s)
{
	struct vq_log *l = q->log;
	if (l->was_redo) {
		l->redone--;
		if (q->is_packed)
			vq_packed_unpop_entry(q, s);
	} else if (q->is_packed) {
		log_packed_unpop(q, s);
	} else {
		log_store(&l->split->desc[s->c.head].is_inflight, 0);
		q->last_avail--;
	}
}

void vq_log_push(struct vq *q, struct vq_slot *s, uint32_t written)
{
	struct vq_log *l = q->log;
	if (q->is_packed) {
		uint16_t e = l->entry_of[s - q->slots];
		vq_packed_push(q, s, written);
		log_packed_free(l, e);
		l->batch[l->nr_batch++] = e;
	} else {
		vq_split_push(q, s->c.head, written);
		log_split_push(l, s->c.head);
		l->batch[l->nr_batch++] = s->c.head;
	}
}

bool vq_log_publish(struct vq *q)
{
	bool owed = q->log->owes_signal;
	q->log->owes_signal = false;
	bool wants = q->is_packed ? log_packed_publish(q) : log_split_publish(q);
	return wants || owed;
}
