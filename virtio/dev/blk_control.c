/* blk_control.c - a block device from the host's side: its size, and what it made of its settings.
 */
#include <errno.h>
#include <unistd.h>
#include "base/num.h"
#include "blk_priv.h"

static void blk_set_capacity(struct blk *b, uint64_t sectors)
{
	vdev_config_begin(&b->dev);
	uint64_t was = atomic_exchange_explicit(&b->capacity_sectors, sectors,
						memory_order_relaxed);
	vdev_config_end(&b->dev, sectors != was);
}

int blk_resize(struct vdev *d)
{
	struct blk *b = container_of(d, struct blk, dev);
	uint64_t bytes;
	if (blk_is_null(b))
		return -EINVAL;
	int err = afile_size(&b->file, &bytes);
	if (err)
		return err;
	atomic_store_explicit(&b->size_bytes, bytes, memory_order_relaxed);
	blk_set_capacity(b, blk_capacity(b, bytes));
	return 0;
}

/* Smaller: first nobody may write beyond the end, then there is none. Larger: the reverse. */
static int blk_truncate(struct blk *b, uint64_t bytes)
{
	uint64_t capacity = blk_capacity(b, bytes);
	if (capacity < atomic_load_explicit(&b->capacity_sectors, memory_order_relaxed))
		blk_set_capacity(b, capacity);
	return ftruncate(b->file.fd, (off_t)bytes) ? -errno : 0;
}

int blk_set_size(struct vdev *d, uint64_t bytes)
{
	struct blk *b = container_of(d, struct blk, dev);
	uint64_t now;
	if (blk_is_null(b) || !bytes || bytes > INT64_MAX || !is_aligned(bytes, b->block_bytes))
		return -EINVAL;
	int err = afile_size(&b->file, &now);
	if (err)
		return err;
	if (bytes != now && b->file.is_blockdev)
		return -EINVAL;
	if (bytes != now && b->is_readonly)
		return -EROFS;
	if (bytes != now)
		err = blk_truncate(b, bytes);
	int told = blk_resize(d); /* also after a failure: the capacity is the file's again */
	return err ? err : told;
}

uint64_t blk_size(const struct vdev *d)
{
	const struct blk *b = container_of(d, const struct blk, dev);
	return atomic_load_explicit(&b->size_bytes, memory_order_relaxed);
}

void blk_info(struct vdev *d, struct blk_info *out)
{
	struct blk *b = container_of(d, struct blk, dev);
	*out = (struct blk_info){
		.engine = reactor_engine_name(vworker_reactor(b->workers[0])),
		.file = blk_is_null(b)        ? "null"
			: b->file.is_blockdev ? "block device"
					      : "file",
		.is_direct = b->file.is_direct,
		.is_readonly = b->is_readonly,
		.is_write_through = !atomic_load_explicit(&b->is_writeback, memory_order_relaxed),
		.has_discard = b->has_discard,
		.has_packed = b->has_packed,
		.block_bytes = b->block_bytes,
		.nr_queues = b->nr_queues,
		.queue_size = b->queue_size,
		.nr_workers = b->nr_workers,
		.size_bytes = blk_size(d),
		.spin_ns = b->spin_ns,
	};
}
