/* blk_zero.c - DISCARD and WRITE_ZEROES, range by range. VIRTIO 1.2 §5.2.6. */
#include <fcntl.h>
#include "blk_priv.h"
#include <errno.h>
#include "base/num.h"

#define BLK_ZEROS_BYTES (64u << 10)
#define BLK_NR_ZEROS    16u

/* Never written: what is written where the image cannot be told to be zero. */
static uint8_t blk_zeros[BLK_ZEROS_BYTES] __attribute__((aligned(4096)));
#define BLK_Z1                                                                                     \
	{                                                                                          \
		blk_zeros, BLK_ZEROS_BYTES                                                         \
	}
#define BLK_Z4 BLK_Z1, BLK_Z1, BLK_Z1, BLK_Z1
static const struct iovec blk_zero_iov[BLK_NR_ZEROS] = { BLK_Z4, BLK_Z4, BLK_Z4, BLK_Z4 };

static void blk_ranges_go_on(struct blk_req *r);

/*
 * Copy range @i in and check it. The driver may change it between the first look at all ranges and
 * the moment its turn comes: so it is checked each time it is copied.
 */
static uint8_t blk_range_load(const struct blk_req *r, uint32_t i, struct blk_range *raw,
			      uint64_t *off, uint64_t *bytes)
{
	bool is_discard = r->type == VIRTIO_BLK_T_DISCARD;
	blk_copy_from_data(r, (size_t)i * sizeof(*raw), raw, sizeof(*raw));
	/* §5.2.6.2: unknown flags, and the unmap flag of a discard, are not supported */
	if (le32_get(raw->flags) & ~(is_discard ? 0u : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	uint32_t n = le32_get(raw->nr_sectors);
	*bytes = (uint64_t)n * BLK_SECTOR;
	if (n > (is_discard ? BLK_DISCARD_SECTORS : BLK_ZERO_SECTORS) ||
	    !blk_in_bounds(r->bq->b, le64_get(raw->sector), *bytes, off) ||
	    !is_aligned(*off | *bytes, r->bq->b->file.io_align))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static void blk_range_write(struct blk_req *r)
{
	const struct iovec *iov = blk_zero_iov;
	unsigned nr = (unsigned)min_u64(r->zero_left / BLK_ZEROS_BYTES, BLK_NR_ZEROS);
	if (!nr) {
		r->one = (struct iovec){ blk_zeros, r->zero_left };
		iov = &r->one;
		nr = 1;
	}
	reactor_writev(blk_reactor(r->bq), &r->op, r->bq->b->file.fd, iov, nr, (int64_t)r->off, 0);
}

static void blk_range_written(struct reactor_op *op, int32_t res)
{
	struct blk_req *r = container_of(op, struct blk_req, op);
	uint64_t n = res > 0 ? align_down((uint64_t)res, r->bq->b->file.io_align) : 0;
	if (!n && !blk_may_retry(r, res)) {
		blk_finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->off += n;
	r->zero_left -= n;
	if (r->zero_left) {
		blk_range_write(r);
		return;
	}
	r->range++;
	blk_ranges_go_on(r);
}

static bool blk_is_unsupported(int32_t res)
{
	return res == -EOPNOTSUPP || res == -EINVAL || res == -ENOSYS || res == -ENODEV;
}

static void blk_range_allocated(struct reactor_op *op, int32_t res)
{
	struct blk_req *r = container_of(op, struct blk_req, op);
	if (res < 0 && r->type == VIRTIO_BLK_T_WRITE_ZEROES && blk_is_unsupported(res)) {
		r->op.done = blk_range_written;
		blk_range_write(r);
		return;
	}
	/* a discard that the image cannot follow was a hint only */
	if (res < 0 && !blk_may_retry(r, res) && !blk_is_unsupported(res)) {
		blk_finish(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (res != -EAGAIN && res != -EINTR)
		r->range++;
	blk_ranges_go_on(r);
}

/* Deallocate or zero r->zero_left bytes at r->off. */
static void blk_range_start(struct blk_req *r, bool may_unmap)
{
	const struct afile *f = &r->bq->b->file;
	bool punch = r->type == VIRTIO_BLK_T_DISCARD ||
		     (may_unmap && f->can_punch && r->bq->b->has_discard);
	if (!punch && !f->can_zero) {
		r->op.done = blk_range_written;
		blk_range_write(r);
		return;
	}
	/* of a block that goes in part, file systems zero that part in the page cache */
	if (!f->is_blockdev && !is_aligned(r->off | r->zero_left, f->block_bytes))
		atomic_store_explicit(&r->bq->b->has_dirtied, true, memory_order_relaxed);
	r->op.done = blk_range_allocated;
	reactor_fallocate(blk_reactor(r->bq), &r->op, f->fd,
			  FALLOC_FL_KEEP_SIZE |
				  (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
			  r->off, r->zero_left);
}

/* Start the next range that is not empty; after the last one the request ends. */
static void blk_ranges_go_on(struct blk_req *r)
{
	for (; r->range < r->nr_ranges; r->range++) {
		struct blk_range raw;
		uint8_t status = blk_range_load(r, r->range, &raw, &r->off, &r->zero_left);
		if (status != VIRTIO_BLK_S_OK) {
			blk_finish(r, status);
			return;
		}
		if (r->zero_left && !blk_is_null(r->bq->b)) {
			blk_range_start(r, le32_get(raw.flags));
			return;
		}
	}
	if (r->type == VIRTIO_BLK_T_WRITE_ZEROES)
		blk_finish_written(r);
	else
		blk_finish(r, VIRTIO_BLK_S_OK);
}

/* Nothing is touched unless every range is in order. */
static uint8_t blk_ranges_check(const struct blk_req *r)
{
	unsigned feature = r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
							   : VIRTIO_BLK_F_WRITE_ZEROES;
	if (r->bq->b->is_readonly)
		return VIRTIO_BLK_S_IOERR;
	if (!blk_has(r->bq, feature))
		return VIRTIO_BLK_S_UNSUPP;
	if (!r->nr_ranges || r->left % sizeof(struct blk_range) || r->nr_ranges > BLK_MAX_RANGES)
		return VIRTIO_BLK_S_IOERR;
	for (uint32_t i = 0; i < r->nr_ranges; i++) {
		struct blk_range raw;
		uint64_t off, bytes;
		uint8_t status = blk_range_load(r, i, &raw, &off, &bytes);
		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	return VIRTIO_BLK_S_OK;
}

void blk_ranges_begin(struct blk_req *r)
{
	r->range = 0;
	r->nr_ranges = r->left / (uint32_t)sizeof(struct blk_range);
	uint8_t status = blk_ranges_check(r);
	if (status != VIRTIO_BLK_S_OK)
		blk_finish(r, status);
	else
		blk_ranges_go_on(r);
}
