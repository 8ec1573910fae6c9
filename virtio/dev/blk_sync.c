/*
 * blk_sync.c - what has to be on stable storage: FLUSH, the cache mode, and the fdatasync that
 * several requests share. VIRTIO 1.2 §5.2.6.2.
 *
 * The kernel reports a failed write-back once for an open file, to whoever asks first, and drops
 * the pages: a later fdatasync that succeeds says nothing about them, nor does one that was under
 * way at the same time, for another queue. So a sync that went well waits for all that had begun
 * before it ended; each has a ticket while it is under way. For the same reason a write that has to
 * be stable is no RWF_DSYNC, which could fail for others, but waits for a sync. With O_DIRECT there
 * are no such pages, and no such worries, unless a range was zeroed that is not of whole blocks.
 */
#include "blk_priv.h"
#include <errno.h>

bool blk_is_write_through(const struct blk_queue *bq)
{
	if (!blk_has(bq, VIRTIO_BLK_F_FLUSH)) /* VIRTIO 1.2 §5.2.6.2: nobody would ever flush */
		return true;
	return !atomic_load_explicit(&bq->b->is_writeback, memory_order_relaxed);
}

/* Is one under way that began before the end of @bq's? */
static bool blk_sync_is_overlapped(const struct blk_queue *bq)
{
	for (uint16_t i = 0; i < bq->b->nr_queues; i++) {
		/* seq_cst: as in blk_sync_tell(); also acquire: what it has lost is seen */
		uint64_t ticket = atomic_load_explicit(&bq->b->queues[i].sync_ticket,
						       memory_order_seq_cst);
		if (ticket && ticket <= bq->sync_limit)
			return true;
	}
	return false;
}

/* True: sync_msg is the caller's to send, or to do without. */
static bool blk_sync_claim_msg(struct blk_queue *bq)
{
	/* acq_rel: between two senders lies a receiver, which has let go of the message */
	return atomic_exchange_explicit(&bq->is_sync_waiting, false, memory_order_acq_rel);
}

/* One has ended: whoever waits looks again. */
static void blk_sync_tell(struct blk *b)
{
	for (uint16_t i = 0; i < b->nr_queues; i++) {
		struct blk_queue *bq = &b->queues[i];
		/* seq_cst: we see that it waits, or it sees that our ticket is gone */
		if (atomic_load_explicit(&bq->is_sync_waiting, memory_order_seq_cst) &&
		    blk_sync_claim_msg(bq))
			reactor_post(blk_reactor(bq), &bq->sync_msg);
	}
}

static void blk_sync_finish(struct blk_queue *bq)
{
	/* relaxed: whoever counted one gave its ticket back after that */
	uint32_t losses = atomic_load_explicit(&bq->b->losses, memory_order_relaxed);
	struct list *n;
	while ((n = list_pop_front(&bq->sync_now))) {
		struct blk_req *r = container_of(n, struct blk_req, link);
		bool ok = bq->sync_ok && r->losses == losses;
		blk_finish(r, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	}
	bq->sync_busy = false;
	blk_sync_start(bq);
	vworker_release(&bq->wq);
}

/* Finish, or wait for sync_msg. */
static void blk_sync_settle(struct blk_queue *bq)
{
	/* seq_cst: as in blk_sync_tell() */
	atomic_store_explicit(&bq->is_sync_waiting, true, memory_order_seq_cst);
	if (!blk_sync_is_overlapped(bq) && blk_sync_claim_msg(bq))
		blk_sync_finish(bq);
}

static void blk_sync_on_msg(struct reactor_msg *m)
{
	blk_sync_settle(container_of(m, struct blk_queue, sync_msg));
}

static void blk_sync_done(struct reactor_op *op, int32_t res)
{
	struct blk_queue *bq = container_of(op, struct blk_queue, sync_op);
	struct blk *b = bq->b;
	if (res == -EINTR) {
		reactor_fdatasync(blk_reactor(bq), op, b->file.fd);
		return;
	}
	/* -ECANCELED: the kernel had no thread for it, and has not even asked the file */
	if (res < 0 && res != -ECANCELED && blk_is_cached(b))
		atomic_fetch_add_explicit(&b->losses, 1, memory_order_relaxed);
	bq->sync_ok = res >= 0;
	/* seq_cst: as in blk_sync_tell() */
	atomic_store_explicit(&bq->sync_ticket, 0, memory_order_seq_cst);
	blk_sync_tell(b);
	bq->sync_limit = blk_is_cached(b)
				 ? atomic_load_explicit(&b->sync_tickets, memory_order_seq_cst)
				 : 0;
	blk_sync_settle(bq);
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
	bq->sync_msg.fn = blk_sync_on_msg;
	/* seq_cst: whoever has ended before does not mind it, whoever ends later sees it */
	uint64_t ticket = atomic_fetch_add_explicit(&bq->b->sync_tickets, 1, memory_order_seq_cst);
	atomic_store_explicit(&bq->sync_ticket, ticket + 1, memory_order_seq_cst);
	vworker_hold(&bq->wq);
	reactor_fdatasync(blk_reactor(bq), &bq->sync_op, bq->b->file.fd);
}

/* Finish @r after an fdatasync that starts later than now. */
static void blk_sync_then_finish(struct blk_req *r)
{
	list_push_back(&r->bq->sync_next, &r->link);
	r->bq->sync_wanted = true;
}

void blk_finish_written(struct blk_req *r)
{
	if (blk_is_null(r->bq->b) || !blk_is_write_through(r->bq)) {
		blk_finish(r, VIRTIO_BLK_S_OK);
		return;
	}
	blk_sync_then_finish(r);
	blk_sync_start(r->bq);
}

void blk_flush(struct blk_req *r)
{
	r->losses = 0; /* it stands for all that was ever written */
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
