/* blk.c - virtio block device: creation, features, configuration space. VIRTIO 1.2 §5.2. */
#include "blk_priv.h"
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/err.h"
#include "base/num.h"

uint64_t blk_capacity(const struct blk *b, uint64_t bytes)
{
	bool is_regular = !blk_is_null(b) && !b->file.is_blockdev;
	/* a regular file may end in mid-block: reads see zeroes there, a write completes the block
	 */
	uint64_t whole = is_regular ? align_up(bytes, b->block_bytes)
				    : align_down(bytes, b->block_bytes);
	return whole / BLK_SECTOR;
}

/* What the image is best written in; at most a page, larger preferences are only about speed. */
static uint32_t blk_physical_bytes(const struct blk *b)
{
	uint32_t preferred = min_u32(b->file.block_bytes, 4096);
	return is_pow2(preferred) && preferred > b->block_bytes ? preferred : b->block_bytes;
}

/* Everything but the capacity and the cache mode is fixed, so it is made anew for each read. */
static void blk_fill_config(struct vdev *d, struct virtio_blk_config *c)
{
	const struct blk *b = container_of(d, struct blk, dev);
	uint32_t physical = blk_physical_bytes(b);
	uint32_t ratio = physical / b->block_bytes;
	memset(c, 0, sizeof(*c));
	c->capacity = htole64(atomic_load_explicit(&b->capacity_sectors, memory_order_relaxed));
	c->seg_max = htole32(b->seg_max);
	c->blk_size = htole32(b->block_bytes);
	c->physical_block_exp = (uint8_t)__builtin_ctz(ratio);
	c->min_io_size = htole16((uint16_t)ratio);
	/*
	 * §5.2.5: without FLUSH the device is write-through, whatever the driver wrote. Before the
	 * driver has chosen (a vhost-user frontend keeps what it reads then): as if it took FLUSH.
	 */
	bool has_chosen = d->status & VIRTIO_CONFIG_S_FEATURES_OK;
	c->wce = (!has_chosen || d->accepted >> VIRTIO_BLK_F_FLUSH & 1) &&
		 atomic_load_explicit(&b->is_writeback, memory_order_relaxed);
	c->num_queues = htole16(b->nr_queues);
	if (b->has_discard) {
		c->max_discard_sectors = htole32(BLK_DISCARD_SECTORS);
		c->max_discard_seg = htole32(BLK_MAX_RANGES);
		c->discard_sector_alignment = htole32(physical / BLK_SECTOR);
	}
	if (!b->is_readonly) {
		c->max_write_zeroes_sectors = htole32(BLK_ZERO_SECTORS);
		c->max_write_zeroes_seg = htole32(BLK_MAX_RANGES);
		c->write_zeroes_may_unmap = b->has_discard;
	}
}

static void blk_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	struct virtio_blk_config c;
	blk_fill_config(d, &c);
	memcpy(buf, (const uint8_t *)&c + off, len);
}

/* One field can be written: the cache mode. */
static void blk_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	struct blk *b = container_of(d, struct blk, dev);
	uint32_t wce = offsetof(struct virtio_blk_config, wce);
	if (!(d->accepted >> VIRTIO_BLK_F_CONFIG_WCE & 1) || off > wce || off + len <= wce)
		return;
	atomic_store_explicit(&b->is_writeback, ((const uint8_t *)buf)[wce - off] != 0,
			      memory_order_relaxed);
}

static int blk_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct blk *b = container_of(d, struct blk, dev);
	vworker_start_queue(&b->queues[idx].wq, s);
	return 0;
}

static void blk_stop(struct vdev *d, uint16_t idx)
{
	struct blk *b = container_of(d, struct blk, dev);
	vworker_stop_queue(&b->queues[idx].wq);
}

static void blk_reset(struct vdev *d)
{
	struct blk *b = container_of(d, struct blk, dev);
	atomic_store_explicit(&b->is_writeback, !b->is_write_through, memory_order_relaxed);
}

static bool blk_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	vworker_queue_stats(&container_of(d, struct blk, dev)->queues[idx].wq, out);
	return true;
}

static void blk_count_in(struct vdev *d, uint16_t idx, struct vq_counters *c)
{
	vworker_count_in(&container_of(d, struct blk, dev)->queues[idx].wq, c);
}

static void blk_started(struct vworker_queue *wq)
{
	struct blk_queue *bq = container_of(wq, struct blk_queue, wq);
	bq->features = wq->setup.features;
	bq->was_write_through = blk_is_write_through(bq);
}

static void blk_stop_workers(struct blk *b)
{
	for (unsigned i = 0; b->workers && i < b->nr_workers; i++) {
		vworker_destroy(b->workers[i]);
		b->workers[i] = NULL;
	}
}

static void blk_free(struct blk *b)
{
	blk_stop_workers(b);
	for (unsigned i = 0; b->queues && i < b->nr_queues; i++)
		if (b->queues[i].mem)
			(void)munmap(b->queues[i].mem, b->queues[i].mem_bytes); /* is a mapping */
	free(b->workers);
	free(b->queues);
	free(b);
}

static void blk_destroy(struct vdev *d)
{
	struct blk *b = container_of(d, struct blk, dev);
	blk_stop_workers(b);
	vdev_fini(d);
	if (!blk_is_null(b))
		afile_close(&b->file);
	blk_free(b);
}

static bool blk_beat(struct vdev *d)
{
	struct blk *b = container_of(d, struct blk, dev);
	bool all = true;
	for (uint16_t i = 0; i < b->nr_workers; i++)
		all &= vworker_beat(b->workers[i]);
	return all;
}

static const struct vdev_ops blk_ops = {
	.name = "block",
	.id = VIRTIO_ID_BLOCK,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.start = blk_start,
	.stop = blk_stop,
	.queue_stats = blk_queue_stats,
	.count_in = blk_count_in,
	.beat = blk_beat,
	.reset = blk_reset,
	.destroy = blk_destroy,
};

/* Pages of it come when the worker touches them, on its node. */
static int blk_map_queue(struct blk_queue *bq, uint16_t queue_size)
{
	size_t reqs = align_up(queue_size * sizeof(*bq->reqs), 4096);
	bool is_direct = bq->b->file.is_direct;
	size_t bytes = reqs + (is_direct ? (size_t)BLK_NR_BOUNCES * BLK_BOUNCE_BYTES : 0);
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	bq->mem = p;
	bq->mem_bytes = bytes;
	bq->reqs = (struct blk_req *)(void *)p;
	bq->bounces = is_direct ? p + reqs : NULL;
	return 0;
}

/* A worker is called after the first of its queues; its ring has room for all of them. */
static int blk_init_worker(struct blk *b, uint16_t idx, const struct blk_config *cfg)
{
	char name[16];
	(void)snprintf(name, sizeof(name), "%.8s-q%u", cfg->name, idx); /* cut: only for people */
	struct vworker_config wc = {
		.name = name,
		.cpus = cfg->cpus,
		.entries = 64,
		.spin_ns = cfg->spin_ns,
		.has_file = !blk_is_null(b),
		.file_fd = b->file.fd,
	};
	unsigned nr_queues = (cfg->nr_queues - idx - 1u) / b->nr_workers + 1;
	while (wc.entries < BLK_MAX_ENTRIES && wc.entries < nr_queues * cfg->queue_size)
		wc.entries *= 2;
	return vworker_create(&b->workers[idx], &wc);
}

static int blk_init_queue(struct blk *b, uint16_t idx, const struct blk_config *cfg)
{
	struct blk_queue *bq = &b->queues[idx];
	bq->b = b;
	list_init(&bq->sync_next);
	list_init(&bq->sync_now);
	list_init(&bq->bounce_wait);
	bq->free_bounces = (1u << BLK_NR_BOUNCES) - 1;
	int err = blk_map_queue(bq, cfg->queue_size);
	if (err)
		return err;
	BUG_ON(!b->nr_workers);
	bq->wq = (struct vworker_queue){ .dev = &b->dev,
					 .idx = idx,
					 .worker = b->workers[idx % b->nr_workers],
					 .serve = blk_serve,
					 .started = blk_started,
					 .stopping = blk_limit_stopping };
	return 0;
}

static uint64_t blk_features(const struct blk *b)
{
	uint64_t f = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
		     1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY |
		     1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_MQ;
	if (b->has_packed)
		f |= 1ull << VIRTIO_F_RING_PACKED;
	if (b->is_readonly)
		return f | 1ull << VIRTIO_BLK_F_RO;
	f |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	return b->has_discard ? f | 1ull << VIRTIO_BLK_F_DISCARD : f;
}

static bool blk_config_ok(const struct blk_config *cfg)
{
	return cfg->nr_queues && cfg->nr_queues <= VDEV_MAX_QUEUES && is_pow2(cfg->queue_size) &&
	       cfg->queue_size <= VQ_MAX_SIZE && cfg->nr_workers <= cfg->nr_queues &&
	       is_pow2(cfg->block_bytes) && cfg->block_bytes >= BLK_SECTOR &&
	       cfg->block_bytes <= 4096 && (!cfg->file || cfg->file->io_align <= cfg->block_bytes);
}

static void blk_init_back_end(struct blk *b, const struct blk_config *cfg)
{
	b->file = (struct afile){ .fd = -1, .mem_align = 1, .io_align = 1 };
	if (cfg->file)
		b->file = *cfg->file;
	uint64_t bytes = cfg->file ? cfg->file->size_bytes : cfg->null_bytes;
	b->block_bytes = cfg->block_bytes;
	b->is_readonly = cfg->is_readonly || b->file.is_readonly;
	b->has_discard = cfg->has_discard && !b->is_readonly && (!cfg->file || b->file.can_punch);
	b->has_packed = cfg->has_packed;
	b->is_write_through = cfg->is_write_through;
	b->queue_size = cfg->queue_size;
	b->spin_ns = cfg->spin_ns;
	memcpy(b->serial, cfg->serial, sizeof(b->serial));
	b->seg_max = cfg->queue_size > 2 ? cfg->queue_size - 2u : 1; /* a header and a status */
	atomic_init(&b->size_bytes, bytes);
	atomic_init(&b->capacity_sectors, blk_capacity(b, bytes));
	atomic_init(&b->is_writeback, !cfg->is_write_through);
	atomic_init(&b->has_dirtied, false);
	atomic_init(&b->losses, b->file.has_lost);
}

static void blk_cleanup(struct blk **b)
{
	if (*b)
		blk_free(*b);
}

int blk_create(struct vdev **out, struct gmem *mem, const struct blk_config *cfg)
{
	if (!blk_config_ok(cfg))
		return -EINVAL;
	CLEANUP(blk_cleanup) struct blk *b = zalloc_aligned(sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->nr_queues = cfg->nr_queues;
	b->nr_workers = cfg->nr_workers ? cfg->nr_workers : cfg->nr_queues;
	b->queues = zalloc_aligned(b->nr_queues * sizeof(*b->queues));
	b->workers = calloc(b->nr_workers, sizeof(struct vworker *));
	if (!b->queues || !b->workers)
		return -ENOMEM;
	blk_init_back_end(b, cfg);
	int err = 0;
	for (uint16_t i = 0; i < b->nr_workers && !err; i++)
		err = blk_init_worker(b, i, cfg);
	for (uint16_t i = 0; i < b->nr_queues && !err; i++)
		err = blk_init_queue(b, i, cfg);
	if (err)
		return err;
	err = vdev_init(&b->dev, &blk_ops, mem, cfg->nr_queues, cfg->queue_size,
			sizeof(struct virtio_blk_config), blk_features(b));
	if (err)
		return err;
	(void)snprintf(b->dev.id, sizeof(b->dev.id), "%s", cfg->name); /* cut: only for people */
	if (cfg->file)
		cfg->file->fd = -1; /* ours now */
	blk_set_limits(&b->dev, &cfg->limits);
	*out = &take(b)->dev;
	return 0;
}

uint64_t blk_enters(const struct vdev *d)
{
	const struct blk *b = container_of(d, const struct blk, dev);
	uint64_t n = 0;
	for (unsigned i = 0; i < b->nr_workers; i++)
		n += atomic_load_explicit(&reactor_stats_of(vworker_reactor(b->workers[i]))->enters,
					  memory_order_relaxed);
	return n;
}
