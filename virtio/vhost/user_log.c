/* user_log.c - the memory of the log of requests in flight; what stands in it: virtio/inflight.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "base/err.h"
#include "base/num.h"
#include "user_priv.h"
#include "../inflight_priv.h"

#define USER_LOG_MAX_BYTES (16 * MIB)

static bool user_log_counts_ok(const struct vhost_user_inflight *in)
{
	return in->nr_queues && in->nr_queues <= VDEV_MAX_QUEUES && in->queue_size &&
	       in->queue_size <= VQ_MAX_SIZE;
}

int user_log_make(struct vhost_user_inflight *in, int *out)
{
	if (!user_log_counts_ok(in))
		return -EINVAL;
	in->bytes = in->nr_queues * vq_log_bytes(in->queue_size);
	in->fd_offset = 0;
	CLEANUP(fd_cleanup)
	int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)in->bytes))
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*out = take_fd(fd);
	return 0;
}

int user_log_map(struct user_log *l, const struct vhost_user_inflight *in, int fd)
{
	void *mem;
	if (!user_log_counts_ok(in) || in->bytes > USER_LOG_MAX_BYTES)
		return -EINVAL;
	/* the same size for each ring, whoever laid them out */
	size_t stride = in->bytes / in->nr_queues;
	if (!is_aligned(stride, 8))
		return -EINVAL;
	int err = user_file_map(&mem, fd, in->fd_offset, in->bytes);
	if (err)
		return err;
	user_log_fini(l);
	*l = (struct user_log){ mem, in->bytes, stride, in->nr_queues, in->queue_size };
	return 0;
}

void user_log_fini(struct user_log *l)
{
	if (l->mem)
		(void)munmap(l->mem, l->bytes); /* our own mapping */
	*l = (struct user_log){ 0 };
}

void *user_log_of(const struct user_log *l, uint16_t idx)
{
	return l->mem && idx < l->nr_queues ? (char *)l->mem + idx * l->stride : NULL;
}
