/* blk_req.c - block requests: where they begin and end, GET_ID. VIRTIO 1.2 §5.2.6. */
#include "blk_priv.h"
#include <errno.h>
#include <string.h>
#include "base/num.h"

bool blk_in_bounds(const struct blk *b, uint64_t sector, uint64_t bytes, uint64_t *off)
{
	uint64_t cap = atomic_load_explicit(&b->capacity_sectors, memory_order_relaxed);
	if (sector > cap || bytes / BLK_SECTOR > cap - sector)
		return false;
	*off = sector * BLK_SECTOR; /* cannot overflow: the capacity in bytes does not */
	return true;
}

bool blk_may_retry(struct blk_req *r, int32_t res)
{
	return (res == -EAGAIN || res == -EINTR) && r->retries++ < BLK_MAX_RETRIES;
}

void blk_finish(struct blk_req *r, uint8_t status)
{
	struct vq_chain *c = r->chain;
	bool is_input = r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID;
	r->chain = NULL;
	*r->status = status;
	vq_push(r->bq->wq.q, c, (is_input ? r->done : 0) + 1);
}

static void blk_get_id(struct blk_req *r)
{
	uint32_t n = min_u32(r->left, VIRTIO_BLK_ID_BYTES);
	if (!n) {
		blk_finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	blk_copy_to_data(r, r->bq->b->serial, n);
	r->done = n;
	blk_finish(r, VIRTIO_BLK_S_OK);
}

static void blk_dispatch(struct blk_req *r)
{
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		blk_rw_begin(r);
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk_flush(r);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		blk_ranges_begin(r);
		break;
	case VIRTIO_BLK_T_GET_ID:
		blk_get_id(r);
		break;
	default:
		blk_finish(r, VIRTIO_BLK_S_UNSUPP);
	}
}

/* The last writable byte is the status; cut it off. False: there is none. */
static bool blk_take_status(struct blk_req *r, struct iovec *in, uint32_t nr)
{
	if (!nr)
		return false;
	struct iovec *last = &in[nr - 1];
	last->iov_len--;
	r->status = (uint8_t *)last->iov_base + last->iov_len;
	r->iov = in;
	r->nr_iov = nr - !last->iov_len;
	return true;
}

/* Cut @len bytes off the front; the part has so many. */
static void blk_skip_front(struct iovec **iov, uint32_t *nr, size_t len)
{
	while (*nr && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		(*nr)--;
	}
	if (len) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
}

/* Copy the header, once: nearly always the first buffer holds all of it. */
static bool blk_take_header(const struct vq_chain *c, struct blk_header *h)
{
	if (unlikely(!c->nr_out || c->iov->iov_len < sizeof(*h)))
		return vq_chain_read(c, 0, h, sizeof(*h));
	memcpy(h, c->iov->iov_base, sizeof(*h));
	__asm__ volatile("" : "+m"(*h)); /* the compiler may not look there again */
	return true;
}

static int blk_begin(struct blk_queue *bq, struct vq *q, struct vq_chain *c)
{
	struct blk_req *r = &bq->reqs[c->head];
	if (!blk_take_status(r, c->iov + c->nr_out, c->nr_in)) {
		vq_push(q, c, 0);
		return -EBADMSG; /* no way to say what went wrong */
	}
	r->bq = bq;
	r->chain = c;
	r->left = c->in_bytes - 1;
	r->done = r->retries = 0;
	struct blk_header h;
	if (!blk_take_header(c, &h)) {
		r->type = UINT32_MAX;
		blk_finish(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->type = le32_get(h.type);
	r->sector = le64_get(h.sector);
	if (r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_DISCARD ||
	    r->type == VIRTIO_BLK_T_WRITE_ZEROES) {
		r->losses = atomic_load_explicit(&bq->b->losses, memory_order_relaxed);
		r->left = c->out_bytes - (uint32_t)sizeof(h);
		r->iov = c->iov;
		r->nr_iov = c->nr_out;
		blk_skip_front(&r->iov, &r->nr_iov, sizeof(h));
	}
	blk_dispatch(r);
	return 0;
}

/* The next requests: how many, or why there are none. With limits one at a time. */
static int blk_take(struct blk_queue *bq, struct vq *q, struct vq_chain **c, unsigned max,
		    uint64_t now_ns)
{
	if (likely(!now_ns))
		return vq_pop_batch(q, c, max);
	if (vq_has_work(q) && !blk_limit_allows(bq, now_ns))
		return -ENOBUFS; /* until the timer wakes the queue */
	int got = vq_pop(q, c);
	if (got > 0)
		blk_limit_charge(bq, now_ns, *c);
	return got;
}

/*
 * 0, or -EBADMSG: one of them was not even a request. All the others are begun all the same. What
 * is done at once is shown a few at a time: a driver that looks goes on while we do the rest.
 */
static int blk_begin_all(struct blk_queue *bq, struct vq *q, struct vq_chain *const *c, int nr)
{
	int bad = 0;
	for (int i = 0; i < nr; i++) {
		int err = blk_begin(bq, q, c[i]);
		bad = unlikely(err) ? err : bad;
		if (i % BLK_SHOW == BLK_SHOW - 1)
			(void)vq_show(q);
	}
	return bad;
}

int blk_serve(struct vworker_queue *wq, struct vq *q)
{
	struct blk_queue *bq = container_of(wq, struct blk_queue, wq);
	struct vq_chain *c[VQ_BATCH];
	uint64_t now_ns = blk_limit_begin(bq);
	int got = 1, bad = 0;
	blk_follow_cache_mode(bq);
	for (unsigned left = VQ_BATCH; left && got > 0 && !bad; left -= (unsigned)got) {
		got = blk_take(bq, q, c, left, now_ns);
		if (got <= 0)
			break;
		bad = blk_begin_all(bq, q, c, got);
	}
	blk_sync_start(bq);
	return bad ? bad : got;
}
