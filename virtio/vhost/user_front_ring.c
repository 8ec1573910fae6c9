/* user_front_ring.c - see front_priv.h: rings go to a server and come back. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include "base/err.h"
#include "base/le.h"
#include "base/log.h"
#include "base/num.h"
#include "front_priv.h"

#define RING_DRAIN_TICKS 2000 /* of a millisecond: for servers that stop a ring too early */

static bool ring_is_packed(const struct front_queue *q)
{
	return q->setup.features >> VIRTIO_F_RING_PACKED & 1;
}

/* --- looking at the ring in guest memory; both sides may write to it, so whatever is there goes
 * --- */

static uint16_t ring_load(const struct front_queue *q, gpa_t area, uint64_t off)
{
	const uint16_t *p = gmem_host(q->setup.mem, gpa(area.raw + off), sizeof(*p));
	return p ? le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)) : 0;
}

static uint16_t ring_used(const struct front_queue *q)
{
	return ring_load(q, q->setup.device, offsetof(struct vring_used, idx));
}

static uint16_t ring_avail(const struct front_queue *q)
{
	return ring_load(q, q->setup.driver, offsetof(struct vring_avail, idx));
}

static uint16_t ring_first_base(const struct front_queue *q)
{
	return ring_is_packed(q) ? q->setup.next ^ 0x8000 : q->setup.next;
}

/* Where the results have come to. */
static uint16_t ring_results(const struct front *f, uint16_t idx)
{
	const struct front_queue *q = &f->q[idx];
	uint16_t at = ring_first_base(q);
	if (!ring_is_packed(q))
		return ring_used(q);
	ignore(front_log_packed_base(&f->log, idx, &at)); /* not begun: at the start */
	return at;
}

/* Is there a request that has not been given back? */
static bool ring_is_waiting(const struct front_queue *q, uint16_t results)
{
	if (!ring_is_packed(q))
		return ring_avail(q) != results;
	uint16_t at = results & 0x7fff;
	bool wrap = results >> 15;
	if (at >= q->setup.size)
		return false;
	uint16_t flags = ring_load(q, q->setup.desc,
				   at * sizeof(struct vring_packed_desc) +
					   offsetof(struct vring_packed_desc, flags));
	bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	bool used = flags >> VRING_PACKED_DESC_F_USED & 1;
	return avail == wrap && used != wrap;
}

bool front_rings_moved(struct front *f, bool *is_waiting)
{
	bool has_moved = false;
	*is_waiting = false;
	for (uint16_t i = 0; i < f->dev.nr_queues; i++) {
		struct front_queue *q = &f->q[i];
		if (!q->is_live)
			continue;
		uint16_t now = ring_results(f, i);
		has_moved |= now != q->seen;
		q->seen = now;
		*is_waiting |= ring_is_waiting(q, now);
	}
	return has_moved;
}

/* VIRTIO 1.2 §5.1.2, §5.3.2: even ones receive. */
static bool ring_receives(const struct front *f, uint16_t idx)
{
	return (f->cfg.id == VIRTIO_ID_NET || f->cfg.id == VIRTIO_ID_CONSOLE) && !(idx & 1);
}

bool front_rings_owe(struct front *f)
{
	for (uint16_t i = 0; i < f->dev.nr_queues; i++)
		if (f->q[i].is_live && !ring_receives(f, i) &&
		    ring_is_waiting(&f->q[i], ring_results(f, i)))
			return true;
	return false;
}

/*
 * Did the results of a split ring come in the order of the requests, so far as the rings still
 * tell? Then what is in flight is what stands behind the results.
 */
static bool ring_is_in_order(const struct front_queue *q)
{
	uint16_t used = ring_used(q), avail = ring_avail(q), mask = q->setup.size - 1;
	uint16_t open = (uint16_t)(avail - used);
	if (open > q->setup.size)
		return false;
	for (uint16_t i = 0; open && i < q->setup.size - open && i < used; i++) {
		uint16_t slot = (uint16_t)(used - 1 - i) & mask;
		uint64_t in = offsetof(struct vring_avail, ring) + slot * sizeof(uint16_t);
		uint64_t out = offsetof(struct vring_used, ring) +
			       slot * sizeof(struct vring_used_elem);
		if (ring_load(q, q->setup.driver, in) != ring_load(q, q->setup.device, out))
			return false;
	}
	return true;
}

/* --- to a server --- */

static bool ring_has_account(const struct front *f, const struct front_queue *q)
{
	return q->is_logged && front_has(f, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

/* Where the server is to begin: anew, where another stopped, or where another died. */
static int ring_base(struct front *f, uint16_t idx, uint16_t *out)
{
	struct front_queue *q = &f->q[idx];
	if (!q->is_begun)
		*out = ring_first_base(q);
	else if (q->has_base)
		*out = q->base;
	else if (!ring_has_account(f, q) && (ring_is_packed(q) || !ring_is_in_order(q)))
		return -ENOTRECOVERABLE;
	else
		*out = ring_results(f, idx);
	return 0;
}

static int ring_tell_place(struct front *f, uint16_t idx, uint16_t base)
{
	const struct vq_setup *s = &f->q[idx].setup;
	struct vhost_user_vring_addr a = {
		.index = idx, .desc = s->desc.raw, .used = s->device.raw, .avail = s->driver.raw
	};
	struct front_request addr = { VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), NULL, 0 };
	uint32_t where = ring_is_packed(&f->q[idx]) ? base | (uint32_t)base << 16 : base;
	int err = front_tell_state(f, VHOST_USER_SET_VRING_NUM, idx, s->size);
	if (!err)
		err = front_tell_state(f, VHOST_USER_SET_VRING_BASE, idx, where);
	return err ? err : front_tell(f, &addr);
}

static int ring_tell_wires(struct front *f, uint16_t idx)
{
	const struct vq_setup *s = &f->q[idx].setup;
	int err = front_tell_fd(f, VHOST_USER_SET_VRING_CALL, idx, s->call ? s->call->fd : -1);
	if (!err)
		err = front_tell_fd(f, VHOST_USER_SET_VRING_ERR, idx, f->broken.fd);
	return err ? err : front_tell_fd(f, VHOST_USER_SET_VRING_KICK, idx, s->kick_fd);
}

static int ring_enable(struct front *f, uint16_t idx)
{
	struct vhost_user_vring_state s = { idx, 1 };
	struct front_request r = { VHOST_USER_SET_VRING_ENABLE, &s, sizeof(s), NULL, 0 };
	if (!(f->link.features >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
		return 0; /* such servers start it when they have the kick descriptor */
	return front_demand(f, &r);
}

int front_ring_start(struct front *f, uint16_t idx)
{
	struct front_queue *q = &f->q[idx];
	bool was_begun = q->is_begun;
	uint16_t base;
	int err = ring_base(f, idx, &base);
	if (!err)
		err = front_introduce(f, q->setup.features);
	if (!err)
		err = ring_tell_place(f, idx, base);
	if (err)
		return err;
	if (!was_begun || !q->is_logged)
		front_log_clear(&f->log, idx);
	if (!was_begun && !q->setup.goes_on && f->cfg.forget_queue)
		f->cfg.forget_queue(f->cfg.forget_ctx, idx);
	q->is_begun = q->is_live = true;
	q->is_logged = front_has(f, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	q->has_base = false;
	q->seen = ring_results(f, idx);
	err = ring_tell_wires(f, idx);
	if (!err)
		err = ring_enable(f, idx);
	if (err)
		return err;
	/* one that came before was perhaps taken by the server before */
	notifier_signal_fd(q->setup.kick_fd);
	/* which may have died between showing a result and telling the driver */
	if (was_begun && q->setup.call)
		notifier_signal_shared(q->setup.call);
	return 0;
}

/* --- and back --- */

/* Some servers say that a ring has stopped while they still have requests of it. */
static int ring_drain(struct front *f, uint16_t idx)
{
	struct front_queue *q = &f->q[idx];
	for (unsigned i = 0; i < RING_DRAIN_TICKS && ring_used(q) != q->base; i++) {
		int err = front_sleep(f, 1);
		if (err)
			return err;
	}
	if (ring_used(q) != q->base)
		log_guest(&f->dev.log_rate, "%s: queue %u stops, and requests are missing",
			  f->dev.id, idx);
	return 0;
}

int front_ring_halt(struct front *f, uint16_t idx)
{
	struct front_queue *q = &f->q[idx];
	struct vhost_user_vring_state s = { idx, 0 };
	struct front_request r = { VHOST_USER_GET_VRING_BASE, &s, sizeof(s), NULL, 0 };
	int err = front_ask(f, &r, sizeof(s), FRONT_STOP_MS);
	if (err)
		return err;
	if (f->link.in.p.state.index != idx)
		return -EPROTO;
	q->base = (uint16_t)f->link.in.p.state.num;
	if (!ring_is_packed(q) && !f->cfg.kill) /* the owner's own servers know better */
		err = ring_drain(f, idx);
	q->is_live = !!err;
	q->has_base = !err;
	return err;
}

int front_ring_finish(struct front *f, uint16_t idx)
{
	struct front_queue *q = &f->q[idx];
	if (!q->is_live && q->is_begun && !q->has_base && ring_has_account(f, q)) {
		int err = front_ring_start(f, idx);
		if (err)
			return err;
	}
	return q->is_live ? front_ring_halt(f, idx) : 0;
}

void front_ring_done(struct front *f, uint16_t idx)
{
	struct front_queue *q = &f->q[idx];
	uint16_t next = q->has_base ? q->base : ring_first_base(q);
	if (ring_is_packed(q))
		next ^= 0x8000;
	q->is_left = q->is_begun && !q->has_base;
	q->is_begun = q->is_live = q->has_base = false;
	mutex_lock(&f->lock);
	q->wish = FRONT_OFF;
	mutex_unlock(&f->lock);
	/* from here on the device may start it again */
	vdev_queue_stopped_at(&f->dev, idx, next);
}
