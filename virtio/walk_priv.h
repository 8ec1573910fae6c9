/*
 * walk_priv.h - from descriptors to segments: what both ring formats do with each of them.
 *
 * Layer:   virtio
 * Threads: the owner of the queue.
 * Errors:  as queue.h.
 * Spec:    VIRTIO 1.2 §2.7.4, §2.7.5.
 *
 * There are two roads through a chain. The short one is for nearly all: no more segments than fit
 * the slot, none empty, nothing wrong, memory in one of the two regions last used. It calls nothing
 * and keeps its few values in registers, for a batch of chains. What it cannot do it leaves, and
 * the long road begins again from nothing.
 */
#ifndef VIRTIO_WALK_PRIV_H
#define VIRTIO_WALK_PRIV_H
#include "queue_priv.h"

/* --- the short road --- */

/* Where it has come to. */
struct vq_short {
	/* of the queue */
	uint8_t *base;
	uint64_t start, len; /* region */
	/* of the chain */
	uint64_t bytes; /* of guest memory collected, */
	size_t at;      /* in so many bytes of segments */
};

static ALWAYS_INLINE struct vq_short vq_short_of(const struct vq *q)
{
	return (struct vq_short){ .base = q->base, .start = q->hit_start, .len = q->hit_len };
}

/*
 * Is [@addr, @addr+@len) guest memory of a region known here, and not empty? Where the sum wraps or
 * @len is 0 the end is no further than the beginning.
 */
static ALWAYS_INLINE bool vq_short_fits(const struct vq *q, const struct vq_short *w, uint64_t addr,
					uint32_t len)
{
	uint64_t off = addr - w->start, end = off + len;
	if (likely(end <= w->len) && likely(off < end))
		return true;
	off = addr - q->other_start;
	end = off + len;
	return end <= q->other_len && off < end;
}

/* Append a buffer; false: take the long road. */
static ALWAYS_INLINE bool vq_short_add(const struct vq *q, struct vq_short *w, struct vq_slot *s,
				       uint64_t addr, uint32_t len)
{
	if (unlikely(!vq_short_fits(q, w, addr, len)) || unlikely(w->at == sizeof(s->c.small)))
		return false;
	struct iovec *v = (struct iovec *)(void *)((uint8_t *)s->c.small + w->at);
	v->iov_base = w->base + addr;
	v->iov_len = len;
	w->at += sizeof(*v);
	w->bytes += len;
	return true;
}

/* What was collected so far is what the device reads. */
static ALWAYS_INLINE void vq_short_mid(const struct vq_short *w, struct vq_slot *s)
{
	s->c.nr_out = (uint16_t)(w->at / sizeof(struct iovec));
	s->c.out_bytes = (uint32_t)w->bytes;
}

/* The last buffer is not for writing: then @flags are none, and all are for the device to read. */
static ALWAYS_INLINE bool vq_short_all_out(const struct vq_short *w, struct vq_slot *s,
					   uint32_t flags)
{
	if (flags || w->at / sizeof(struct iovec) - 1 != s->c.nr_out)
		return false;
	vq_short_mid(w, s);
	return true;
}

/* The rest is what it writes; the slot is busy from here on. */
static ALWAYS_INLINE bool vq_short_end(const struct vq_short *w, struct vq_slot *s, uint16_t head)
{
	if (unlikely(w->bytes >> 32))
		return false;
	s->c.head = head;
	s->c.nr_in = (uint16_t)(w->at / sizeof(struct iovec) - s->c.nr_out);
	s->c.in_bytes = (uint32_t)w->bytes - s->c.out_bytes;
	s->c.iov = s->c.small;
	return true;
}

/* --- the long road --- */

/* The state of one walk. */
struct vq_walk {
	struct iovec *iov;
	uint64_t hit_start, hit_len;
	uint64_t bytes, out_bytes;
	uint32_t nr, nr_out, room;
	bool has_in, is_misordered;
};

/* A descriptor's 16 bytes as they stood at one moment. */
struct vq_desc {
	uint64_t addr;
	uint64_t rest; /* split: len, flags, next; packed: len, id, flags */
};

/* One read of guest memory. The compiler cannot go back for a second look. */
static ALWAYS_INLINE struct vq_desc vq_desc_copy(const void *p)
{
	struct vq_desc d;
	memcpy(&d, p, sizeof(d));
	__asm__ volatile("" : "+r"(d.addr), "+r"(d.rest));
	return (struct vq_desc){ le64toh(d.addr), le64toh(d.rest) };
}

static ALWAYS_INLINE void vq_walk_begin(const struct vq *q, struct vq_slot *s, struct vq_walk *w)
{
	s->c.iov = s->c.small;
	*w = (struct vq_walk){
		.iov = s->c.small,
		.hit_start = q->hit_start,
		.hit_len = q->hit_len,
		.room = VQ_INLINE_SEGS,
	};
}

/* Host address of [@addr, @addr+@len), NULL when it is not RAM of one region. */
static ALWAYS_INLINE void *vq_walk_host(struct vq *q, struct vq_walk *w, uint64_t addr,
					uint32_t len)
{
	uint64_t off = addr - w->hit_start;
	if (likely(off < w->hit_len && len <= w->hit_len - off))
		return q->base + addr;
	void *host = vq_translate_slow(q, addr, len);
	w->hit_start = q->hit_start;
	w->hit_len = q->hit_len;
	return host;
}

/* Append one descriptor's buffer. An empty one counts for the order, and for nothing else. */
static ALWAYS_INLINE int vq_walk_add(struct vq *q, struct vq_slot *s, struct vq_walk *w,
				     uint64_t addr, uint32_t len, bool is_in)
{
	w->is_misordered |= w->has_in & !is_in;
	w->has_in |= is_in;
	if (unlikely(!len))
		return 0;
	void *host = vq_walk_host(q, w, addr, len);
	if (unlikely(!host))
		return -EBADMSG;
	if (unlikely(w->nr == w->room)) {
		if (w->room == VQ_LARGE_SEGS)
			return -EBADMSG;
		w->room = w->room == VQ_INLINE_SEGS ? VQ_MEDIUM_SEGS : VQ_LARGE_SEGS;
		w->iov = vq_grow(q, s, w->nr);
		if (!w->iov)
			return -ENOBUFS;
	}
	w->iov[w->nr++] = (struct iovec){ host, len };
	w->nr_out += !is_in;
	w->out_bytes += is_in ? 0 : len;
	w->bytes += len;
	return 0;
}

/* VIRTIO 1.2 §2.7.4.2: writable after readable; §2.7.5: at most 2^32 bytes (one less, here). */
static ALWAYS_INLINE int vq_walk_end(struct vq_slot *s, const struct vq_walk *w, uint16_t head)
{
	if (unlikely(w->is_misordered || w->bytes > UINT32_MAX))
		return -EBADMSG;
	s->c.head = head;
	s->c.nr_out = (uint16_t)w->nr_out;
	s->c.nr_in = (uint16_t)(w->nr - w->nr_out);
	s->c.out_bytes = (uint32_t)w->out_bytes;
	s->c.in_bytes = (uint32_t)(w->bytes - w->out_bytes);
	return 0;
}

/* Room for the results of a failed walk goes back; -EBADMSG also ends the queue. */
static inline int vq_walk_abort(struct vq *q, struct vq_slot *s, int err)
{
	vq_slot_free(q, s);
	return err == -ENOBUFS ? err : vq_break(q);
}

#endif
