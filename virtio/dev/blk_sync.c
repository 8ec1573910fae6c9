/*
 * blk_sync.c - what has to be on stable storage: FLUSH, the cache mode, and the fdatasync that
 * several requests share. VIRTIO 1.2 §5.2.6.2.
 */
#include "blk_priv.h"
#include <errno.h>

bool blk_is_write_through(const struct blk_queue *bq)
{
	if (!blk_has(bq, VIRTIO_BLK_F_FLUSH)) /* VIRTIO 1.2 §5.2.6.2: nobody would ever flush */
		return true;
	return !atomic_load_explicit(&bq->b->is_writeback, memory_order_relaxed);
}

static void blk_sync_done(struct reactor_op *op, int32_t res)
{
	struct blk_queue *bq = container_of(op, struct blk_queue, sync_op);
	struct blk *b = bq->b;
	if (res == -EINTR) {
		reactor_fdatasync(blk_reactor(bq), op, b->file.fd);
		return;
	}
	/*
	 * The kernel reports a failed write-back once, and drops the pages: a later fdatasync that
	 * succeeds says nothing about them. With O_DIRECT there are no such pages.
	 */
	if (res < 0 && !b->file.is_direct)
		atomic_store_explicit(&b->has_lost_data, true, memory_order_relaxed);
	bool ok = res >= 0 && !atomic_load_explicit(&b->has_lost_data, memory_order_relaxed);
	struct list *n;
	while ((n = list_pop_front(&bq->sync_now)))
		blk_finish(container_of(n, struct blk_req, link),
			   ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	bq->sync_busy = false;
	blk_sync_start(bq);
	vworker_release(&bq->wq);
}

void blk_sync_start(struct blk_queue *bq)
{
	if (bq->sync_busy || !bq->sync_wanted)
		return;
	struct list *n;
	while ((n = list_pop_front(&bq->sync_next)))
		list_push_back(&bq->sync_now, n);
	bq->sync_wanted = false;
	bq->sync_busy = true;
	bq->sync_op.done = blk_sync_done;
	vworker_hold(&bq->wq);
	reactor_fdatasync(blk_reactor(bq), &bq->sync_op, bq->b->file.fd);
}

void blk_sync_then_finish(struct blk_req *r)
{
	list_push_back(&r->bq->sync_next, &r->link);
	r->bq->sync_wanted = true;
}

void blk_flush(struct blk_req *r)
{
	if (r->bq->b->is_readonly || blk_is_null(r->bq->b))
		blk_finish(r, VIRTIO_BLK_S_OK); /* nothing was written */
	else
		blk_sync_then_finish(r); /* blk_serve() starts one for all flushes of the pass */
}

void blk_follow_cache_mode(struct blk_queue *bq)
{
	bool is_through = blk_is_write_through(bq);
	if (is_through && !bq->was_write_through && !bq->b->is_readonly && !blk_is_null(bq->b))
		bq->sync_wanted = true;
	bq->was_write_through = is_through;
}
