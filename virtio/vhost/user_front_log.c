/* user_front_log.c - see front_priv.h: the memory in which servers keep account of what they took.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "../inflight_wire.h"
#include "base/err.h"
#include "base/num.h"
#include "front_priv.h"

#define LOG_MAX_BYTES (16 * MIB)
#define LOG_MIN_BYTES 64 /* for each queue: room for the head of either format */

/*
 * The server says how much it needs, but the memory is ours and sealed: we look into it, and one
 * that shrinks the file of its own would kill us. Zeroed, it is an account not yet begun.
 */
int front_log_make(struct front_log *l, uint64_t bytes, uint16_t nr_queues)
{
	size_t stride = bytes / nr_queues;
	if (bytes > LOG_MAX_BYTES || stride < LOG_MIN_BYTES || !is_aligned(stride, 8))
		return -EPROTO;
	CLEANUP(fd_cleanup)
	int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	*l = (struct front_log){ take_fd(fd), mem, bytes, stride };
	return 0;
}

void front_log_fini(struct front_log *l)
{
	if (l->mem)
		(void)munmap(l->mem, l->bytes); /* our own mapping */
	fd_close(l->fd);
	*l = (struct front_log){ .fd = -1 };
}

/* All but the number of entries, which some servers write when they get the log and never again. */
void front_log_clear(struct front_log *l, uint16_t idx)
{
	const size_t from = offsetof(struct inflight_split, desc_num),
		     to = offsetof(struct inflight_split, last_batch_head);
	static_assert(offsetof(struct inflight_packed, desc_num) ==
			      offsetof(struct inflight_split, desc_num),
		      "the same place in both formats");
	if (!l->mem)
		return;
	uint8_t *part = l->mem + idx * l->stride;
	memset(part, 0, from);
	memset(part + to, 0, l->stride - to);
}

/* The server may be writing, and may lie: what comes out is checked by whoever gets it. */
bool front_log_packed_base(const struct front_log *l, uint16_t idx, uint16_t *out)
{
	if (!l->mem)
		return false;
	const struct inflight_packed *p = (const void *)(l->mem + idx * l->stride);
	if (!__atomic_load_n(&p->version, __ATOMIC_ACQUIRE))
		return false;
	uint16_t at = __atomic_load_n(&p->old_used_idx, __ATOMIC_ACQUIRE);
	uint16_t wrap = __atomic_load_n(&p->old_used_wrap, __ATOMIC_ACQUIRE) & 1;
	*out = (uint16_t)((at & 0x7fff) | wrap << 15);
	return true;
}
