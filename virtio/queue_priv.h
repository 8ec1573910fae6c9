/*
 * queue_priv.h - layout of a virtqueue, and what the ring formats are to queue.c.
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
	struct vq_chain c; /* its first two segments share a line with all of the above; iov NULL:
			    * free */
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
enum vq_kind { VQ_SPLIT, VQ_PACKED, VQ_LOGGED, VQ_DIRTY };

struct vq_log;
struct vq_dirty;

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
	struct vq_log *log; /* account of what is in flight: VQ_LOGGED, and VQ_DIRTY with one */
	size_t map_bytes;
	uint16_t size, mask;
	enum vq_kind kind;
	bool is_packed, has_indirect, has_event_idx;
	struct vq_dirty *dirty; /* VQ_DIRTY: what it needs to mark what is written */

	/* owner */
	uint64_t hit_start CACHE_ALIGNED; /* region of the last translation */
	uint64_t hit_len;
	uint64_t other_start, other_len; /* the one before that */
	uint16_t last_avail;             /* split: requests taken; packed: next descriptor */
	uint16_t used_next;              /* split: results given; packed: next descriptor */
	uint16_t signalled;              /* used_next at the last publication */
	uint64_t gate;                   /* packed: the first result not yet published */
	uint16_t popped, pushed;         /* packed: chains */
	uint16_t shown;                  /* packed: pushed at the last publication */
	uint16_t free_slot;              /* packed: list through the slots; VQ_NIL ends it */
	uint16_t fresh_slot;             /* packed: first slot never used */
	bool avail_wrap, used_wrap;      /* packed */
	bool is_armed, is_dead;
	bool owes_interrupt; /* the driver wants to hear of results that were shown */
	struct vq_pool medium, large;

	/* written by the owner, read by anybody */
	struct vq_stats stats CACHE_ALIGNED;
};
static_assert(offsetof(struct vq, hit_start) == CACHE_ALIGN, "what is written has its own unit");
static_assert(offsetof(struct vq, stats) % CACHE_ALIGN == 0, "so has what others read");

static inline void vq_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* The driver broke the format: nothing more is popped. Returns -EBADMSG. */
NOINLINE int vq_break(struct vq *q);
/* Move the segments of @s to a block with more room. NULL: none left. */
NOINLINE struct iovec *vq_grow(struct vq *q, struct vq_slot *s, uint32_t nr);
/* Give the block of @s back. */
NOINLINE void vq_shrink(struct vq *q, struct vq_slot *s);
/* Host address of guest memory in one region, or NULL; remembers the region. */
NOINLINE void *vq_translate_slow(struct vq *q, uint64_t addr, uint64_t len);

/* A slot without segments is free: so are slots never touched. */
static ALWAYS_INLINE bool vq_slot_is_busy(const struct vq_slot *s)
{
	return s->c.iov;
}

static ALWAYS_INLINE void vq_slot_free(struct vq *q, struct vq_slot *s)
{
	if (unlikely(s->c.iov != s->c.small))
		vq_shrink(q, s);
	s->c.iov = NULL;
}

/* The split format, as queue.h says of the functions without "split". */
int vq_split_pop(struct vq *q, struct vq_chain **out, unsigned max);
/* The chain of @head, which was taken off the ring before: by another queue on it. */
int vq_split_pop_head(struct vq *q, uint16_t head, struct vq_chain **out);
static ALWAYS_INLINE void vq_split_push(struct vq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem *e = &q->used->ring[q->used_next++ & q->mask];
	e->id = htole32(head);
	e->len = htole32(written);
}
bool vq_split_publish(struct vq *q);
bool vq_split_has_work(const struct vq *q);
bool vq_split_arm(struct vq *q);
void vq_split_disarm(struct vq *q);

/* The packed format, as queue.h says of the functions without "packed". */
int vq_packed_pop(struct vq *q, struct vq_chain **out, unsigned max);
void vq_packed_unpop(struct vq *q, struct vq_slot *s);
void vq_packed_push(struct vq *q, struct vq_slot *s, uint32_t written);
bool vq_packed_publish(struct vq *q);
static inline bool vq_packed_has_results(const struct vq *q)
{
	return q->pushed != q->shown;
}
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
