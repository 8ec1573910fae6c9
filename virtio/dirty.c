/* dirty.c - see virtio/dirty_log.h and dirty_priv.h: marking what the device writes. */
#include <string.h>
#include <sys/mman.h>
#include "base/num.h"
#include "dirty_priv.h"
#include "inflight_priv.h"

/* --- the log --- */

void dirty_log_mark(const struct dirty_log *l, uint64_t addr, uint64_t len)
{
	uint64_t end;
	if (!len)
		return;
	if (!add_ok(addr, len - 1, &end))
		end = UINT64_MAX;
	uint64_t page = addr >> DIRTY_LOG_PAGE_SHIFT, last = end >> DIRTY_LOG_PAGE_SHIFT;
	while (page <= last && page / 8 < l->bytes) {
		uint64_t up_to = min_u64(last, page | 7);
		unsigned mask = (0xffu << page % 8) & (0xffu >> (7 - up_to % 8));
		/* release: pairs with the reader's exchange, which then sees what was written */
		__atomic_fetch_or(&l->bits[page / 8], (uint8_t)mask, __ATOMIC_RELEASE);
		page = up_to + 1;
	}
}

bool dirty_log_covers(const struct dirty_log *l, uint64_t addr, uint64_t len)
{
	uint64_t end;
	if (!l->bits || !len || !add_ok(addr, len - 1, &end))
		return l->bits && !len;
	return end / DIRTY_LOG_PAGE / 8 < l->bytes;
}

/* --- what is in flight --- */

int vq_dirty_open(struct vq *q, const struct vq_setup *s)
{
	size_t head = align_up(sizeof(struct vq_dirty), CACHE_ALIGN);
	size_t few = q->size * VQ_INLINE_SEGS * sizeof(struct iovec);
	size_t many = q->size * VQ_LARGE_SEGS * sizeof(struct iovec);
	uint8_t *p = mmap(NULL, head + few + many, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	struct vq_dirty *d = (struct vq_dirty *)(void *)p;
	d->log = s->dirty;
	d->desc = s->desc.raw;
	d->device = s->dirty_device;
	d->map_bytes = head + few + many;
	d->few = (struct iovec *)(void *)(p + head);
	d->many = (struct iovec *)(void *)(p + head + few);
	q->dirty = d;
	if (q->is_packed)
		dirty_log_mark(d->log, d->desc, q->size * sizeof(*q->packed));
	else
		dirty_log_mark(d->log, d->device, 6 + 8ull * q->size);
	vq_dirty_event(q);
	return 0;
}

void vq_dirty_close(struct vq *q)
{
	if (q->dirty)
		(void)munmap(q->dirty, q->dirty->map_bytes); /* our own mapping */
	q->dirty = NULL;
}

static struct iovec *dirty_segs(const struct vq_dirty *d, uint16_t head, uint16_t nr)
{
	if (likely(nr <= VQ_INLINE_SEGS))
		return d->few + (size_t)head * VQ_INLINE_SEGS;
	return d->many + (size_t)head * VQ_LARGE_SEGS;
}

static void dirty_keep(struct vq_dirty *d, const struct vq_chain *c)
{
	d->nr[c->head] = c->nr_in;
	memcpy(dirty_segs(d, c->head, c->nr_in), c->iov + c->nr_out,
	       c->nr_in * sizeof(struct iovec));
}

/* Of the writable part of @head the first @written bytes, and the last one, if any. */
static void dirty_mark_chain(const struct vq *q, uint16_t head, uint64_t written)
{
	const struct vq_dirty *d = q->dirty;
	uint16_t nr = d->nr[head];
	const struct iovec *v = dirty_segs(d, head, nr), *end = v + nr;
	if (!written || !nr)
		return;
	for (; v != end && written > v->iov_len; v++) {
		dirty_log_mark(d->log, (uint64_t)((uint8_t *)v->iov_base - q->base), v->iov_len);
		written -= v->iov_len;
	}
	if (v != end)
		dirty_log_mark(d->log, (uint64_t)((uint8_t *)v->iov_base - q->base), written);
	v = end - 1;
	dirty_log_mark(d->log, (uint64_t)((uint8_t *)v->iov_base - q->base) + v->iov_len - 1, 1);
}

/* --- the ring --- */

static bool dirty_has_results(const struct vq *q)
{
	return q->is_packed ? vq_packed_has_results(q) : q->used_next != q->signalled;
}

/* Entries @first to before @end of the ring, where @end may lie a turn further. */
static void dirty_mark_entries(const struct vq *q, uint32_t first, uint32_t end)
{
	const struct vq_dirty *d = q->dirty;
	uint64_t size = q->is_packed ? sizeof(*q->packed) : sizeof(*q->used->ring);
	uint64_t base = q->is_packed ? d->desc : d->device + offsetof(struct vring_used, ring);
	uint32_t fold = min_u32(end, q->size);
	dirty_log_mark(d->log, base + size * first, size * (fold - first));
	if (end > fold)
		dirty_log_mark(d->log, base, size * (end - fold));
}

/* All results are in the ring, and the driver does not look at them yet. */
static void dirty_mark_results(const struct vq *q)
{
	uint32_t first = q->signalled, end = q->used_next;
	if (!q->is_packed) {
		end = (uint16_t)(end - first);
		first &= q->mask;
		end += first;
	} else if (end <= first) {
		end += q->size;
	}
	dirty_mark_entries(q, first, end);
}

/* What made it look: the index, or the first of the descriptors. @was: signalled, before. */
static void dirty_mark_shown(const struct vq *q, uint16_t was)
{
	if (q->is_packed)
		dirty_mark_entries(q, was, was + 1u);
	else
		dirty_log_mark(q->dirty->log, q->dirty->device + offsetof(struct vring_used, idx),
			       2);
}

void vq_dirty_event(struct vq *q)
{
	uint64_t at = q->dirty->device;
	if (!q->is_packed && q->has_event_idx)
		at += offsetof(struct vring_used, ring) + sizeof(*q->used->ring) * q->size;
	dirty_log_mark(q->dirty->log, at, q->is_packed ? 4 : 2);
}

/* --- around the other kinds --- */

static bool inner_publish(struct vq *q)
{
	if (q->log)
		return vq_log_publish(q);
	return q->is_packed ? vq_packed_publish(q) : vq_split_publish(q);
}

bool vq_dirty_publish(struct vq *q)
{
	uint16_t was = q->signalled;
	if (!dirty_has_results(q))
		return inner_publish(q); /* it may owe a signal */
	dirty_mark_results(q);
	bool wants = inner_publish(q);
	dirty_mark_shown(q, was);
	if (q->dirty->log->call)
		notifier_signal(q->dirty->log->call);
	return wants;
}

static int inner_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	if (!q->log)
		return q->is_packed ? vq_packed_pop(q, out, max) : vq_split_pop(q, out, max);
	/* the account would show them itself */
	if (q->is_packed && dirty_has_results(q) && vq_dirty_publish(q))
		q->log->owes_signal = true;
	return vq_log_pop(q, out, max);
}

int vq_dirty_pop(struct vq *q, struct vq_chain **out, unsigned max)
{
	int got = inner_pop(q, out, max);
	for (int i = 0; i < got; i++)
		dirty_keep(q->dirty, out[i]);
	return got;
}

void vq_dirty_push(struct vq *q, struct vq_slot *s, uint32_t written)
{
	dirty_mark_chain(q, s->c.head, written);
	if (q->log)
		vq_log_push(q, s, written);
	else if (q->is_packed)
		vq_packed_push(q, s, written);
	else
		vq_split_push(q, s->c.head, written);
}

void vq_dirty_spoiled(struct vq *q, const struct vq_chain *c)
{
	dirty_mark_chain(q, c->head, UINT64_MAX);
}
