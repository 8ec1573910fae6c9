/* queue.c - see virtio/queue.h: life of a queue, and which format has it. */
#include "virtio/queue.h"
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include "base/num.h"
#include "dirty_priv.h"
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
	q->kind = s->dirty ? VQ_DIRTY : s->log ? VQ_LOGGED : q->is_packed ? VQ_PACKED : VQ_SPLIT;
	q->has_indirect = has_feature(s, VIRTIO_RING_F_INDIRECT_DESC);
	q->has_event_idx = has_feature(s, VIRTIO_RING_F_EVENT_IDX);
	q->is_armed = true; /* as a driver finds it: VIRTIO 1.2 §2.7.10, §2.8.10 */
	q->last_avail = q->is_packed ? s->next & 0x7fff : s->next;
	q->used_next = q->signalled = q->last_avail;
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
	if (!err && s->dirty)
		err = vq_dirty_open(q, s);
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
	vq_dirty_close(q);
	vq_log_close(q);
	(void)munmap(q, q->map_bytes); /* our own mapping: cannot fail */
}

/* --- taking requests --- */

int vq_pop_batch(struct vq *q, struct vq_chain **out, unsigned max)
{
	if (likely(q->kind == VQ_SPLIT))
		return vq_split_pop(q, out, max);
	if (q->kind == VQ_PACKED)
		return vq_packed_pop(q, out, max);
	return q->kind == VQ_LOGGED ? vq_log_pop(q, out, max) : vq_dirty_pop(q, out, max);
}

int vq_pop(struct vq *q, struct vq_chain **out)
{
	return vq_pop_batch(q, out, 1);
}

void vq_unpop(struct vq *q, struct vq_chain *c)
{
	struct vq_slot *s = container_of(c, struct vq_slot, c);
	BUG_ON(!vq_slot_is_busy(s));
	vq_slot_free(q, s);
	if (q->log)
		vq_log_unpop(q, s);
	else if (q->is_packed)
		vq_packed_unpop(q, s);
	else
		q->last_avail--;
}

/* --- giving results --- */

static NOINLINE void vq_push_long(struct vq *q, struct vq_chain *c, uint32_t written)
{
	BUG_ON(!c->iov); /* given back before */
	vq_shrink(q, container_of(c, struct vq_slot, c));
	vq_push(q, c, written);
}

void vq_push(struct vq *q, struct vq_chain *c, uint32_t written)
{
	struct vq_slot *s = container_of(c, struct vq_slot, c);
	if (unlikely(c->iov != c->small)) {
		vq_push_long(q, c, written);
		return;
	}
	c->iov = NULL;
	if (likely(q->kind == VQ_SPLIT))
		vq_split_push(q, c->head, written);
	else if (q->kind == VQ_PACKED)
		vq_packed_push(q, s, written);
	else if (q->kind == VQ_LOGGED)
		vq_log_push(q, s, written);
	else
		vq_dirty_push(q, s, written);
}

void vq_spoiled(struct vq *q, struct vq_chain *c)
{
	BUG_ON(!c->iov); /* given back before */
	if (q->dirty)
		vq_dirty_spoiled(q, c);
}

bool vq_publish(struct vq *q)
{
	if (likely(q->kind == VQ_SPLIT))
		return vq_split_publish(q);
	if (q->kind == VQ_PACKED)
		return vq_packed_publish(q);
	return q->kind == VQ_LOGGED ? vq_log_publish(q) : vq_dirty_publish(q);
}

bool vq_show(struct vq *q)
{
	q->owes_interrupt |= vq_publish(q);
	return q->owes_interrupt;
}

void vq_signal(struct vq *q)
{
	if (!vq_show(q))
		return;
	q->owes_interrupt = false;
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
	return q->is_packed ? vq_packed_has_work(q) : vq_split_has_work(q);
}

bool vq_arm(struct vq *q)
{
	if (q->is_dead)
		return false;
	q->is_armed = true;
	bool has_work = q->is_packed ? vq_packed_arm(q) : vq_split_arm(q);
	if (unlikely(q->dirty))
		vq_dirty_event(q);
	return has_work;
}

void vq_disarm(struct vq *q)
{
	if (!q->is_armed)
		return;
	q->is_armed = false;
	if (q->is_packed)
		vq_packed_disarm(q);
	else
		vq_split_disarm(q);
	if (unlikely(q->dirty))
		vq_dirty_event(q);
}

/* --- state --- */

uint16_t vq_size(const struct vq *q)
{
	return q->size;
}

uint16_t vq_in_flight(const struct vq *q)
{
	if (q->is_packed)
		return (uint16_t)(q->popped - q->pushed);
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
