/*
 * queue_priv.h - layout of a virtqueue and the inner loop both ring formats share.
 *
 * Layer:   virtio
 * Threads: the owner of the queue; the statistics are read by anybody.
 * Errors:  as queue.h.
 * Spec:    VIRTIO 1.2 §2.7 (split), §2.8 (packed).
 *
 * A queue is one mapping: struct vq, then a slot for each entry, then two pools of longer segment
 * arrays. The kernel hands out its pages as they are touched, most recently freed first, so that a
 * queue costs what its deepest use cost and not what its size would allow.
 */
#ifndef VIRTIO_QUEUE_PRIV_H
#define VIRTIO_QUEUE_PRIV_H
#include <errno.h>
#include <linux/virtio_ring.h>
#include "base/le.h"
#include "base/num.h"
#include "virtio/queue.h"

#define VQ_MEDIUM_SEGS 128         /* 512 KiB of scattered pages */
#define VQ_LARGE_SEGS  VQ_MAX_SIZE /* and IOV_MAX */
#define VQ_NR_LARGE    32
#define VQ_NIL         0xffff

/* A chain and what only the engine knows of it: two cache lines. */
struct vq_slot {
	uint16_t nr_descs; /* packed: ring descriptors the chain took */
	uint16_t id;       /* packed: the driver's name for it */
	uint16_t block;    /* of the pool its segments lie in; packed and free: next free slot */
	bool is_busy;
	struct vq_chain c; /* its first two segments share a line with all of the above */
};
static_assert(sizeof(struct vq_slot) == CACHE_ALIGN, "a slot is one unit of sharing");

/* Equal blocks, handed out from a list of freed ones first, then from untouched memory. */
struct vq_pool {
	struct iovec *mem; /* immutable */
	uint16_t segs, nr; /* immutable: segments in a block, blocks */
	uint16_t fresh;    /* first block never used */
	uint16_t freed;    /* list through the first bytes of the blocks; VQ_NIL ends it */
};

/* Which functions take and give requests. */
enum vq_kind { VQ_SPLIT, VQ_PACKED, VQ_LOGGED };

struct vq_log;

struct vq {
	/* immutable after create */
	uint8_t *base; /* host address of guest-physical 0 */
	struct vq_slot *slots;
	union {
		struct vring_desc *desc; /* split */
		struct vring_packed_desc *packed;
	};
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t *used_event;   /* split: which completion the driver wants to hear of */
	uint16_t *avail_event;  /* split: which request we want to hear of */
	uint32_t *driver_event; /* packed: the same two, offset and flags at once */
	uint32_t *device_event;
	const struct gmem_map *map;
	struct notifier *call;
	struct vq_log *log; /* VQ_LOGGED: account of what is in flight */
	size_t map_bytes;
	uint16_t size, mask;
	enum vq_kind kind;
	bool is_packed, has_indirect, has_event_idx;

	/* owner */
	uint64_t hit_start CACHE_ALIGNED; /* region of the last translation */
	uint64_t hit_len;
	uint16_t last_avail;  /* split: requests taken; packed: next descriptor */
	uint16_t avail_seen;  /* split: requests looked at, up to a batch ahead of last_avail */
	uint16_t used_next;   /* split: results given; packed: next descriptor */
	uint16_t signalled;   /* used_next at the last publication */
	uint16_t in_flight;   /* packed: chains; split counts by its indices */
	uint16_t descs_out;   /* packed: ring descriptors of those chains */
	uint16_t results;     /* packed: chains given back since the last publication */
	uint16_t first_flags; /* packed: of the first result not yet published */
	uint16_t free_slot;   /* packed: list through the slots; VQ_NIL ends it */
	uint16_t fresh_slot;  /* packed: first slot never used */
	bool avail_wrap, used_wrap; /* packed */
	bool has_results;           /* packed: something to publish */
	bool is_armed, is_dead;
	struct vq_pool medium, large;

	/* written by the owner, read by anybody */
	struct vq_stats stats CACHE_ALIGNED;
};
static_assert(offsetof(struct vq, hit_start) == CACHE_ALIGN, "what is written has its own unit");
static_assert(offsetof(struct vq, stats) % CACHE_ALIGN == 0, "so has what others read");

/* Region search; remembers the hit. */
NOINLINE void *vq_translate_slow(struct vq *q, uint64_t addr, uint64_t len);

/*
 * The short road, for nearly all chains: no more segments than fit the slot, none empty, nothing
 * wrong. It keeps its few values in registers; whatever it cannot do it leaves, and the walk below
 * begins again from nothing.
 */

/* Where the short road has come to. */
struct vq_short {
	struct iovec *iov; /* free, */
	uint32_t left;     /* so many */
	uint64_t bytes;    /* of guest memory collected */
};

/* Is [@addr, @addr+@len) guest memory of one region, and not empty? */
static ALWAYS_INLINE bool vq_short_fits(struct vq *q, uint64_t addr, uint32_t len)
{
	uint64_t off = addr - q->hit_start;
	if (unlikely(!len)) /* three branches, where one condition costs more */
		return false;
	if (unlikely(off >= q->hit_len))
		return vq_translate_slow(q, addr, len);
	return likely(off + len <= q->hit_len);
}

/* Append a buffer; false: take the long road. */
static ALWAYS_INLINE bool vq_short_add(struct vq *q, struct vq_short *w, uint64_t addr,
				       uint32_t len)
{
	if (unlikely(!vq_short_fits(q, addr, len)))
		return false;
	if (unlikely(!w->left--))
		return false;
	w->iov->iov_base = q->base + addr;
	w->iov->iov_len = len;
	w->iov++;
	w->bytes += len;
	return true;
}

/* What was collected so far is what the device reads. */
static ALWAYS_INLINE void vq_short_mid(struct vq_slot *s, const struct vq_short *w)
{
	s->c.nr_out = (uint16_t)(VQ_INLINE_SEGS - w->left);
	s->c.out_bytes = (uint32_t)w->bytes;
}

/* The rest is what it writes. */
static ALWAYS_INLINE bool vq_short_end(struct vq_slot *s, const struct vq_short *w, uint16_t head)
{
	s->c.head = head;
	s->c.nr_in = (uint16_t)(VQ_INLINE_SEGS - w->left - s->c.nr_out);
	s->c.in_bytes = (uint32_t)w->bytes - s->c.out_bytes;
	s->c.iov = s->c.small;
	return likely(!(w->bytes >> 32));
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

static inline void vq_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* One read of guest memory. The compiler cannot go back for a second look. */
static ALWAYS_INLINE struct vq_desc vq_desc_copy(const void *p)
{
	struct vq_desc d;
	memcpy(&d, p, sizeof(d));
	__asm__ volatile("" : "+r"(d.addr), "+r"(d.rest));
	return (struct vq_desc){ le64toh(d.addr), le64toh(d.rest) };
}

/* The driver broke the format: nothing more is popped. Returns -EBADMSG. */
NOINLINE int vq_break(struct vq *q);
/* Move the segments of @s to a block with more room. NULL: none left. */
NOINLINE struct iovec *vq_grow(struct vq *q, struct vq_slot *s, uint32_t nr);
/* Give the block of @s back. */
NOINLINE void vq_shrink(struct vq *q, struct vq_slot *s);

static ALWAYS_INLINE void vq_slot_free_block(struct vq *q, struct vq_slot *s)
{
	if (unlikely(s->c.iov != s->c.small))
		vq_shrink(q, s);
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
	vq_slot_free_block(q, s);
	return err == -ENOBUFS ? err : vq_break(q);
}

/* The split format, as queue.h says of the functions without "split". */
int vq_split_pop(struct vq *q, struct vq_chain **out);
/* The chain of @head, which was taken off the ring before: by another queue on it. */
int vq_split_pop_head(struct vq *q, uint16_t head, struct vq_chain **out);
void vq_split_push(struct vq *q, uint16_t head, uint32_t written);
bool vq_split_publish(struct vq *q);

/* The packed format, as queue.h says of the functions without "packed". */
int vq_packed_pop(struct vq *q, struct vq_chain **out);
void vq_packed_unpop(struct vq *q, struct vq_slot *s);
void vq_packed_push(struct vq *q, struct vq_slot *s, uint32_t written);
bool vq_packed_publish(struct vq *q);
bool vq_packed_has_work(struct vq *q);
bool vq_packed_arm(struct vq *q);
void vq_packed_disarm(struct vq *q);
uint16_t vq_packed_next(const struct vq *q);
bool vq_packed_is_available(uint16_t flags, bool wrap);
/* Flags of a descriptor that waits for its result, in a turn of the ring with @wrap. */
uint16_t vq_packed_offered(bool wrap);
/* The chain at @entry of the log, whose ring descriptors are counted out already. */
int vq_packed_pop_entry(struct vq *q, uint16_t entry, struct vq_chain **out);
void vq_packed_unpop_entry(struct vq *q, struct vq_slot *s);

#endif
