/*
 * blk_rw.c - IN and OUT: guest memory straight to and from the image; under O_DIRECT what is not
 * aligned goes through one of a few bounce buffers, in pieces.
 */
#include "blk_priv.h"
#include <errno.h>
#include <string.h>
#include "base/num.h"

static void blk_rw_step(struct blk_req *r);

void blk_copy_from_data(const struct blk_req *r, size_t at, void *buf, size_t len)
{
	uint8_t *to = buf;
	for (uint32_t i = 0; i < r->nr_iov && len; i++) {
		const struct iovec *v = &r->iov[i];
		if (at >= v->iov_len) {
			at -= v->iov_len;
			continue;
		}
		size_t n = min_size(len, v->iov_len - at);
		memcpy(to, (const uint8_t *)v->iov_base + at, n);
		to += n;
		len -= n;
		at = 0;
	}
}

void blk_copy_to_data(const struct blk_req *r, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	for (uint32_t i = 0; i < r->nr_iov && len; i++) {
		size_t n = min_size(len, r->iov[i].iov_len);
		memcpy(r->iov[i].iov_base, from, n);
		from += n;
		len -= n;
	}
}

static void blk_zero_data(const struct blk_req *r)
{
	for (uint32_t i = 0; i < r->nr_iov; i++)
		memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
}

/* Move past @len bytes that were dealt with; no more than are left. */
static void blk_advance(struct blk_req *r, uint32_t len)
{
	r->off += len;
	r->left -= len;
	r->done += len;
	while (len && len >= r->iov->iov_len) {
		len -= (uint32_t)r->iov->iov_len;
		r->iov++;
		r->nr_iov--;
	}
	if (len) {
		r->iov->iov_base = (uint8_t *)r->iov->iov_base + len;
		r->iov->iov_len -= len;
	}
}

static bool blk_is_aligned(const struct blk_req *r)
{
	const struct afile *f = &r->bq->b->file;
	uint64_t bases = 0, lens = 0;
	for (uint32_t i = 0; i < r->nr_iov; i++) {
		bases |= (uintptr_t)r->iov[i].iov_base;
		lens |= r->iov[i].iov_len;
	}
	return is_aligned(bases, f->mem_align) && is_aligned(lens, f->io_align);
}

/* Take a bounce buffer and go on, or wait for one. */
static void blk_bounce_begin(struct blk_req *r)
{
	struct blk_queue *bq = r->bq;
	if (!bq->free_bounces) {
		list_push_back(&bq->bounce_wait, &r->link);
		return;
	}
	unsigned i = (unsigned)__builtin_ctz(bq->free_bounces);
	bq->free_bounces &= bq->free_bounces - 1;
	r->bounce = bq->bounces + (size_t)i * BLK_BOUNCE_BYTES;
	blk_rw_step(r);
}

static void blk_bounce_end(struct blk_req *r)
{
	struct blk_queue *bq = r->bq;
	bq->free_bounces |= 1u << ((size_t)(r->bounce - bq->bounces) / BLK_BOUNCE_BYTES);
	r->bounce = NULL;
	struct list *next = list_pop_front(&bq->bounce_wait);
	if (next)
		blk_bounce_begin(container_of(next, struct blk_req, link));
}

static void blk_rw_finish(struct blk_req *r, uint8_t status)
{
	if (r->bounce)
		blk_bounce_end(r);
	blk_finish(r, status);
}

/* What a read has left in guest memory before it failed nobody knows. */
static void blk_rw_give_up(struct blk_req *r)
{
	if (r->type == VIRTIO_BLK_T_IN)
		vq_spoiled(r->bq->wq.q, r->chain);
	blk_rw_finish(r, VIRTIO_BLK_S_IOERR);
}

static void blk_rw_failed(struct blk_req *r, int32_t res)
{
	bool is_direct = r->bq->b->file.is_direct;
	if (blk_may_retry(r, res))
		blk_rw_step(r);
	else if (res == -EINVAL && is_direct && !r->bounce)
		blk_bounce_begin(r); /* an alignment the kernel did not tell */
	else
		blk_rw_give_up(r);
}

/* The image ends here. It may: the guest's last block is a whole one, the file's need not be. */
static void blk_rw_past_end(struct blk_req *r)
{
	uint64_t end = atomic_load_explicit(&r->bq->b->size_bytes, memory_order_relaxed);
	if (r->type != VIRTIO_BLK_T_IN || r->off < end) {
		blk_rw_give_up(r);
		return;
	}
	blk_zero_data(r);
	r->done += r->left;
	blk_rw_finish(r, VIRTIO_BLK_S_OK);
}

static void blk_rw_done(struct reactor_op *op, int32_t res)
{
	struct blk_req *r = container_of(op, struct blk_req, op);
	if (res < 0) {
		blk_rw_failed(r, res);
		return;
	}
	const struct afile *f = &r->bq->b->file;
	uint32_t n = min_u32((uint32_t)res, r->left);
	uint64_t end = atomic_load_explicit(&r->bq->b->size_bytes, memory_order_relaxed);
	/* O_DIRECT goes on at an aligned offset only; but behind the end of file nothing is. */
	if (n < r->left && r->off + n < end)
		n = (uint32_t)align_down(n, f->io_align);
	if (r->bounce && r->type == VIRTIO_BLK_T_IN)
		blk_copy_to_data(r, r->bounce, n);
	blk_advance(r, n);
	r->retries = 0;
	if (!r->left && r->type == VIRTIO_BLK_T_OUT && !f->is_direct)
		blk_finish_written(r);
	else if (!r->left)
		blk_rw_finish(r, VIRTIO_BLK_S_OK);
	else if (!n || !is_aligned(r->off, f->io_align))
		blk_rw_past_end(r);
	else
		blk_rw_step(r);
}

static void blk_rw_step(struct blk_req *r)
{
	struct reactor *rx = blk_reactor(r->bq);
	int fd = r->bq->b->file.fd;
	const struct iovec *iov = r->iov;
	unsigned nr = r->nr_iov;
	if (r->bounce) {
		r->one = (struct iovec){ r->bounce, min_u32(r->left, BLK_BOUNCE_BYTES) };
		iov = &r->one;
		nr = 1;
	}
	if (r->type == VIRTIO_BLK_T_IN) {
		reactor_readv(rx, &r->op, fd, iov, nr, (int64_t)r->off);
		return;
	}
	if (r->bounce)
		blk_copy_from_data(r, 0, r->bounce, r->one.iov_len);
	const struct afile *f = &r->bq->b->file;
	if (f->is_direct && blk_is_write_through(r->bq))
		reactor_writev(rx, &r->op, fd, iov, nr, (int64_t)r->off, RWF_DSYNC);
	else if (f->is_direct || f->is_blockdev)
		reactor_writev(rx, &r->op, fd, iov, nr, (int64_t)r->off, 0);
	else
		reactor_writev_cached(rx, &r->op, fd, iov, nr, (int64_t)r->off);
}

void blk_rw_begin(struct blk_req *r)
{
	const struct blk *b = r->bq->b;
	bool is_bad = (r->type == VIRTIO_BLK_T_OUT && b->is_readonly) || r->left % BLK_SECTOR ||
		      !blk_in_bounds(b, r->sector, r->left, &r->off);
	/* §5.2.6.1 lets nobody use less than a block; under O_DIRECT the host cannot either */
	is_bad = is_bad || !is_aligned(r->off | r->left, b->file.io_align);
	if (is_bad) {
		blk_finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (blk_is_null(b) || !r->left) {
		r->done = r->left;
		blk_finish(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->op.done = blk_rw_done;
	if (b->file.is_direct && !blk_is_aligned(r))
		blk_bounce_begin(r);
	else
		blk_rw_step(r);
}
