/*
 * blk_limit.c - limits on requests and bytes per second, shared by all queues of a device.
 *
 * A bucket is one moment: when all that was taken from it will have been earned. As long as that
 * lies no further ahead than the burst, requests are taken, each moving it on; beyond that a queue
 * is parked with a timer and costs nothing. Without limits there is no clock read and no atomic
 * operation but one load per pass.
 */
#include "blk_priv.h"
#include "base/clock.h"
#include "base/num.h"

#define BLK_LIMIT_BURST_NS    (NSEC_PER_SEC / 10)
#define BLK_LIMIT_MAX_WAIT_NS (NSEC_PER_SEC / 10) /* so that new limits are soon felt */
#define BLK_LIMIT_FRACTION    16                  /* bits behind the point of a price */

static void blk_bucket_set(struct blk_bucket *k, uint64_t per_s, uint64_t burst)
{
	uint64_t price = per_s ? (NSEC_PER_SEC << BLK_LIMIT_FRACTION) / per_s : 0;
	uint64_t burst_ns = BLK_LIMIT_BURST_NS;
	if (burst && price)
		burst_ns = burst > (UINT64_MAX >> 2) / price
				   ? UINT64_MAX >> (2 + BLK_LIMIT_FRACTION)
				   : burst * price >> BLK_LIMIT_FRACTION;
	atomic_store_explicit(&k->burst_ns, burst_ns, memory_order_relaxed);
	atomic_store_explicit(&k->price, price, memory_order_relaxed);
	atomic_store_explicit(&k->earned_at_ns, 0, memory_order_relaxed);
}

void blk_set_limits(struct vdev *d, const struct blk_limits *l)
{
	struct blk *b = container_of(d, struct blk, dev);
	blk_bucket_set(&b->ops_bucket, l->ops_per_s, l->burst_ops);
	blk_bucket_set(&b->bytes_bucket, l->bytes_per_s, l->burst_bytes);
	atomic_store_explicit(&b->is_limited, l->ops_per_s || l->bytes_per_s, memory_order_relaxed);
}

/* How long until the bucket gives again; 0: it does now. */
static uint64_t blk_bucket_wait(const struct blk_bucket *k, uint64_t now_ns)
{
	uint64_t at = atomic_load_explicit(&k->earned_at_ns, memory_order_relaxed);
	uint64_t until = now_ns + atomic_load_explicit(&k->burst_ns, memory_order_relaxed);
	/* a limit may be lifted while somebody is charging it, and would come back for a while */
	if (!atomic_load_explicit(&k->price, memory_order_relaxed))
		return 0;
	return at > until ? at - until : 0;
}

static void blk_bucket_charge(struct blk_bucket *k, uint64_t now_ns, uint64_t units)
{
	uint64_t price = atomic_load_explicit(&k->price, memory_order_relaxed);
	if (!price)
		return;
	/* at most 2^32 bytes at (10^9 << 16) each: only so slow a limit could overflow */
	uint64_t cost = units > (UINT64_MAX >> 1) / price ? UINT64_MAX >> (1 + BLK_LIMIT_FRACTION)
							  : units * price >> BLK_LIMIT_FRACTION;
	uint64_t at = atomic_load_explicit(&k->earned_at_ns, memory_order_relaxed);
	uint64_t to;
	do {
		to = max_u64(at, now_ns) + cost;
	} while (!atomic_compare_exchange_weak_explicit(
		&k->earned_at_ns, &at, to, memory_order_relaxed, memory_order_relaxed));
}

static void blk_limit_over(struct reactor_op *op, int32_t res)
{
	struct blk_queue *bq = container_of(op, struct blk_queue, limit_op);
	(void)res; /* the time is over, or the queue is being stopped */
	bq->is_limit_waiting = false;
	vworker_wake(&bq->wq);
	vworker_release(&bq->wq);
}

uint64_t blk_limit_begin(const struct blk_queue *bq)
{
	return atomic_load_explicit(&bq->b->is_limited, memory_order_relaxed) ? clock_ns() : 0;
}

bool blk_limit_allows(struct blk_queue *bq, uint64_t now_ns)
{
	if (bq->is_limit_waiting)
		return false;
	uint64_t wait = max_u64(blk_bucket_wait(&bq->b->ops_bucket, now_ns),
				blk_bucket_wait(&bq->b->bytes_bucket, now_ns));
	if (!wait)
		return true;
	bq->is_limit_waiting = true;
	bq->limit_op.done = blk_limit_over;
	vworker_hold(&bq->wq);
	reactor_timeout(blk_reactor(bq), &bq->limit_op, min_u64(wait, BLK_LIMIT_MAX_WAIT_NS));
	return false;
}

void blk_limit_charge(struct blk_queue *bq, uint64_t now_ns, const struct vq_chain *c)
{
	blk_bucket_charge(&bq->b->ops_bucket, now_ns, 1);
	blk_bucket_charge(&bq->b->bytes_bucket, now_ns, (uint64_t)c->in_bytes + c->out_bytes);
}

void blk_limit_stopping(struct vworker_queue *wq)
{
	struct blk_queue *bq = container_of(wq, struct blk_queue, wq);
	if (bq->is_limit_waiting)
		reactor_cancel(blk_reactor(bq), &bq->limit_op);
}
