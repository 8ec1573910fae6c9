/* disk.c - from what the user said of a disk to a block device: in a machine, or served alone. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include "base/log.h"
#include "base/num.h"
#include "vm_priv.h"

#define DISK_QUEUE_SIZE 256

static uint64_t disk_spin_ns(const struct vm_disk_config *d)
{
	if (d->poll == VM_POLL_OFF)
		return 0;
	if (d->poll == VM_POLL_ALWAYS)
		return REACTOR_SPIN_ALWAYS;
	return d->poll_ns ? d->poll_ns : REACTOR_SPIN_AUTO;
}

/* One for each queue, but no more than can run at once. */
static uint16_t disk_workers(const struct vm_disk_config *d, unsigned queues)
{
	cpu_set_t mine;
	if (d->workers)
		return (uint16_t)min_u32(d->workers, queues);
	if (sched_getaffinity(0, sizeof(mine), &mine))
		return (uint16_t)queues;
	if (d->cpus)
		CPU_AND(&mine, &mine, d->cpus);
	unsigned usable = (unsigned)CPU_COUNT(&mine);
	return (uint16_t)(usable ? min_u32(usable, queues) : 1);
}

uint16_t vm_disk_queue_size(const struct vm_disk_config *d)
{
	return (uint16_t)(d->queue_size ? d->queue_size : DISK_QUEUE_SIZE);
}

/* Memory comes from the node of whoever touches it first: so be where the workers will be. */
static int disk_create_near(struct vdev **out, struct gmem *mem, const struct blk_config *cfg)
{
	cpu_set_t mine;
	bool moves = cfg->cpus && !sched_getaffinity(0, sizeof(mine), &mine) &&
		     !sched_setaffinity(0, sizeof(*cfg->cpus), cfg->cpus);
	int err = blk_create(out, mem, cfg);
	if (moves)
		(void)sched_setaffinity(0, sizeof(mine), &mine); /* refused: CPUs went offline */
	return err;
}

int vm_disk_create(struct vdev **out, struct gmem *mem, const struct vm_disk_config *d,
		   struct afile *f, const char *name, unsigned auto_queues)
{
	unsigned queues = d->queues ? d->queues : auto_queues;
	struct blk_config cfg = {
		.name = name,
		.file = f,
		.null_bytes = d->null_bytes,
		.nr_queues = (uint16_t)queues,
		.nr_workers = disk_workers(d, queues),
		.queue_size = vm_disk_queue_size(d),
		.block_bytes = vm_disk_block_bytes(d, f),
		.is_readonly = d->is_readonly,
		.has_discard = d->discard != VM_OFF && !d->is_readonly && (!f || f->can_punch),
		.has_packed = d->has_packed,
		.is_write_through = d->is_write_through,
		.limits = d->limits,
		.cpus = d->cpus,
		.spin_ns = disk_spin_ns(d),
	};
	memcpy(cfg.serial, d->id, sizeof(cfg.serial));
	return disk_create_near(out, mem, &cfg);
}

enum vm_status vm_disk_failed(const struct vm_disk_config *d, int err)
{
	if (err != -EINVAL)
		return vm_fail_errno(err, "making a disk");
	return vm_fail(VM_EXIT_USAGE,
		       "--%s: %s: these settings do not go together on this host; leave "
		       "out direct, block-size or cpus",
		       d->option, d->path ? d->path : "null");
}

bool vm_tell_engine(const char *engine)
{
	if (strncmp(engine, "pool", 4) != 0)
		return false;
	if (strstr(engine, "memory"))
		log_info("no memory for io_uring: threads do the I/O, which costs more CPU time; "
			 "raise the limit of locked memory with 'ulimit -l', or the cgroup's");
	else
		log_info("this host forbids io_uring: threads do the I/O, which costs more CPU "
			 "time; allow it with 'sysctl kernel.io_uring_disabled=0' or in the "
			 "container's seccomp profile");
	return true;
}
