/*
 * blk_priv.h - the block device from inside: requests, queues, and who does which part of them.
 *
 * Layer:   dev
 * Threads: struct blk as its fields say; a struct blk_queue and its requests belong to its worker.
 * Errors:  a request that fails answers with a status; functions return 0 or negative errno.
 * Spec:    VIRTIO 1.2 §5.2; docs/io.md, "Operations".
 *
 * A request is begun by blk_serve(), goes through one or more operations of the reactor, one at a
 * time, and ends in blk_finish(). Requests are preallocated, one for each head a queue can have.
 */
#ifndef DEV_BLK_PRIV_H
#define DEV_BLK_PRIV_H
#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include "base/compiler.h"
#include "base/list.h"
#include "blk_wire.h"
#include "dev/virtio_devs.h"

#define BLK_SECTOR          512u
#define BLK_MAX_RANGES      32u          /* of one DISCARD or WRITE_ZEROES */
#define BLK_BOUNCE_BYTES    (128u << 10) /* multiple of every io_align */
#define BLK_NR_BOUNCES      8u           /* of one queue */
#define BLK_MAX_ENTRIES     4096u        /* of a worker's ring; more wait their turn */
#define BLK_MAX_RETRIES     64u          /* of one operation that says "again" */
#define BLK_SHOW            8            /* results given in one go, while more are made */
#define BLK_DISCARD_SECTORS (1u << 21)   /* 1 GiB: bounds the time of one fallocate */
#define BLK_ZERO_SECTORS    (1u << 16)   /* 32 MiB, where zeroes may have to be written */

struct blk_queue;

struct blk_req {
	struct reactor_op op;   /* of the step under way */
	struct blk_queue *bq;   /* immutable */
	struct vq_chain *chain; /* NULL: free */
	uint8_t *status;        /* in guest RAM */
	struct iovec *iov;      /* data still to be moved */
	uint32_t nr_iov;
	uint32_t left, done; /* bytes of data */
	uint32_t type;       /* VIRTIO_BLK_T_* */
	uint64_t sector;     /* of the header */
	uint64_t off;        /* in the image, of what is left */
	uint32_t retries;
	uint32_t nr_ranges, range; /* of DISCARD and WRITE_ZEROES: all, and the current one */
	struct list link;          /* waiting for a sync, or for a bounce buffer */
	uint8_t *bounce;           /* NULL: none */
	struct iovec one;          /* what a bounced step, or one that writes zeroes, moves */
	uint64_t zero_left;        /* bytes of the current range still to be zeroed by writing */
	uint32_t losses;           /* blk.losses before the first of its data was written */
};

struct blk_queue {
	struct vworker_queue wq CACHE_ALIGNED;
	/* immutable */
	struct blk *b;
	uint8_t *mem; /* one mapping: the requests, then the bounces; touched by the worker only */
	size_t mem_bytes;
	/* worker thread */
	struct blk_req *reqs;   /* by head */
	uint64_t features;      /* negotiated */
	bool was_write_through; /* at the last pass */
	struct list sync_next;  /* flushes that wait for the next fdatasync */
	struct list sync_now;   /* flushes the current one covers */
	bool sync_wanted, sync_busy;
	bool sync_ok; /* the kernel says so of the current one, which may yet wait for others */
	uint64_t sync_limit; /* those with tickets up to this one */
	struct reactor_op sync_op;
	struct reactor_msg sync_msg; /* one of them has ended */
	uint8_t *bounces; /* BLK_NR_BOUNCES buffers, untouched until needed; NULL: no O_DIRECT */
	uint32_t free_bounces; /* bit mask */
	struct list bounce_wait;
	struct reactor_op limit_op;
	bool is_limit_waiting; /* limit_op is in flight, the queue is parked */
	/* written by the worker, read by others; see blk_sync.c */
	_Atomic uint64_t sync_ticket; /* of the fdatasync under way; 0: none */
	/* any worker */
	_Atomic bool is_sync_waiting; /* sync_msg, please */
};

/* What one limit has left; see blk_limit.c. Any thread. */
struct blk_bucket {
	_Atomic uint64_t earned_at_ns; /* CLOCK_MONOTONIC */
	_Atomic uint64_t burst_ns;
	_Atomic uint64_t price; /* ns for one unit, 16 bits behind the point; 0: no limit */
};

struct blk {
	struct vdev dev;
	/* immutable */
	struct afile file; /* fd -1: null back end */
	uint32_t block_bytes, seg_max;
	bool is_readonly, has_discard, has_packed, is_write_through;
	uint8_t serial[VIRTIO_BLK_ID_BYTES];
	uint16_t queue_size;
	uint64_t spin_ns;
	uint16_t nr_queues, nr_workers; /* queue q belongs to worker q % nr_workers */
	struct blk_queue *queues;
	struct vworker **workers;
	/* any thread */
	_Atomic uint64_t capacity_sectors;
	_Atomic uint64_t size_bytes; /* of the file; the guest's last sectors may lie past it */
	_Atomic bool is_writeback;   /* what the driver chose by CONFIG_WCE */
	_Atomic bool is_limited;
	_Atomic bool has_dirtied; /* O_DIRECT, and yet there may be dirty pages: blk_zero.c */
	_Atomic uint32_t losses;  /* fdatasyncs that failed: what was cached may be gone for good */
	_Atomic uint64_t sync_tickets; /* given out so far: one for each fdatasync */
	struct blk_bucket ops_bucket CACHE_ALIGNED, bytes_bucket;
};

/* What the driver is told of an image of @bytes. */
uint64_t blk_capacity(const struct blk *b, uint64_t bytes);

static inline bool blk_is_null(const struct blk *b)
{
	return b->file.fd < 0;
}

/* May pages of the image be dirty in the host's cache? */
static inline bool blk_is_cached(const struct blk *b)
{
	return !b->file.is_direct || atomic_load_explicit(&b->has_dirtied, memory_order_relaxed);
}

static inline struct reactor *blk_reactor(const struct blk_queue *bq)
{
	return vworker_reactor(bq->wq.worker);
}

static inline bool blk_has(const struct blk_queue *bq, unsigned feature)
{
	return bq->features >> feature & 1;
}

/* --- blk_req.c: parsing, completion, GET_ID --- */
int blk_serve(struct vworker_queue *wq, struct vq *q);
/* Give the request back with @status: exactly once for each. */
void blk_finish(struct blk_req *r, uint8_t status);
/* Does [@sector, + @bytes) lie within the capacity? *off is where it starts in the image. */
MUST_CHECK bool blk_in_bounds(const struct blk *b, uint64_t sector, uint64_t bytes, uint64_t *off);
/* Does @res ask for another try, and are there tries left? */
bool blk_may_retry(struct blk_req *r, int32_t res);

/* --- blk_sync.c: FLUSH and the cache mode --- */
void blk_flush(struct blk_req *r);
/* Must a completed write be on stable storage? */
bool blk_is_write_through(const struct blk_queue *bq);
/* @r has written all it was to: finish it, well, if it must then once that is stable. */
void blk_finish_written(struct blk_req *r);
/* The driver switched the write cache off: what it still held has to get out, once. */
void blk_follow_cache_mode(struct blk_queue *bq);
/* Start that fdatasync, unless one is under way: then it follows. */
void blk_sync_start(struct blk_queue *bq);

/* --- blk_rw.c: IN and OUT, bounce buffers --- */
void blk_rw_begin(struct blk_req *r);
/* Copy between @buf and byte @at of r->iov, which has so much. */
void blk_copy_from_data(const struct blk_req *r, size_t at, void *buf, size_t len);
void blk_copy_to_data(const struct blk_req *r, const void *buf, size_t len);

/* --- blk_zero.c: DISCARD and WRITE_ZEROES --- */
void blk_ranges_begin(struct blk_req *r);

/* --- blk_limit.c --- */
/* The time, if there are limits to be kept; 0: there are none. */
uint64_t blk_limit_begin(const struct blk_queue *bq);
/* May another request be taken? False: the queue is woken when it may. */
MUST_CHECK bool blk_limit_allows(struct blk_queue *bq, uint64_t now_ns);
void blk_limit_charge(struct blk_queue *bq, uint64_t now_ns, const struct vq_chain *c);
void blk_limit_stopping(struct vworker_queue *wq);

#endif
