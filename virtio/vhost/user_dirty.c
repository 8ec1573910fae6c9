/* user_dirty.c - the log of pages written, which a frontend asks for to migrate its guest. */
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/err.h"
#include "base/num.h"
#include "user_priv.h"

/* --- the shared bitmap --- */

static int user_dirty_map(struct dirty_log *l, const struct vhost_user_log *in, int fd)
{
	void *mem;
	int err = user_file_map(&mem, fd, in->fd_offset, in->bytes);
	if (err)
		return err;
	l->bits = mem;
	l->bytes = in->bytes;
	return 0;
}

static void user_dirty_unmap(struct dirty_log *l)
{
	if (l->bits)
		(void)munmap(l->bits, l->bytes); /* our own mapping */
	l->bits = NULL;
	l->bytes = 0;
}

static bool user_dirty_covers_mem(const struct dirty_log *l, const struct user_mem *m)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (!dirty_log_covers(l, m->r[i].start, m->r[i].len))
			return false;
	return true;
}

int user_dirty_init(struct vhost_user_server *s)
{
	int err = notifier_init(&s->dirty_call);
	if (!err)
		notifier_set_fn(&s->dirty_call, user_signal_nobody, s);
	s->dirty.call = &s->dirty_call;
	return err;
}

void user_dirty_forget(struct vhost_user_server *s)
{
	BUG_ON(user_rings_any_running(s));
	user_dirty_unmap(&s->dirty);
	notifier_set_fn(&s->dirty_call, user_signal_nobody, s);
}

void user_dirty_fini(struct vhost_user_server *s)
{
	notifier_fini(&s->dirty_call);
}

/* --- what it means for a ring --- */

struct user_logging user_ring_logging(const struct vhost_user_server *s, const struct user_ring *r)
{
	struct user_logging l = { .is_on = s->features >> VHOST_F_LOG_ALL & 1 };
	gpa_t device = { 0 };
	if (r->has_log)
		return (struct user_logging){ true, r->log };
	if (l.is_on && !user_mem_translate(&s->mem, r->used, &device))
		l.device = device.raw;
	return l;
}

bool user_ring_can_log(const struct vhost_user_server *s, const struct user_ring *r)
{
	struct user_logging l = user_ring_logging(s, r);
	bool is_packed = s->features >> VIRTIO_F_RING_PACKED & 1;
	/* VIRTIO 1.2 §2.7, §2.8.10 */
	uint64_t bytes = is_packed ? sizeof(struct vring_packed_desc_event)
				   : 6 + sizeof(struct vring_used_elem) * r->size;
	return !l.is_on || (user_dirty_covers_mem(&s->dirty, &s->mem) &&
			    dirty_log_covers(&s->dirty, l.device, bytes));
}

bool user_ring_logs_wrongly(const struct vhost_user_server *s, const struct user_ring *r)
{
	struct user_logging want = user_ring_logging(s, r);
	return want.is_on != r->logging.is_on || (want.is_on && want.device != r->logging.device);
}

bool user_rings_could_log(const struct vhost_user_server *s)
{
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		if (s->rings[i].is_running && !user_ring_can_log(s, &s->rings[i]))
			return false;
	return true;
}

/* --- messages --- */

bool user_has_log_shm(const struct vhost_user_server *s)
{
	return s->protocol >> VHOST_USER_PROTOCOL_F_LOG_SHMFD & 1;
}

int user_ring_set_log(struct vhost_user_server *s, struct user_ring *r,
		      const struct vhost_user_vring_addr *a)
{
	bool had_log = r->has_log;
	uint64_t log = r->log;
	r->has_log = a->flags >> VHOST_VRING_F_LOG & 1;
	r->log = a->log;
	bool may_wait = !s->dirty.bits && !r->is_running && user_has_log_shm(s);
	if (!r->has_log || may_wait || user_ring_can_log(s, r))
		return 0;
	r->has_log = had_log;
	r->log = log;
	return -EINVAL;
}

static bool user_ring_is_logging(const struct vhost_user_server *s, const struct user_ring *r)
{
	(void)s;
	return r->logging.is_on;
}

/*
 * The frontend goes over to the new log when it has our answer, and then reads the old one for the
 * last time: so nothing is marked there any more.
 */
int user_set_log_base(struct vhost_user_server *s, struct user_msg *m)
{
	struct dirty_log next = { .call = &s->dirty_call };
	if (!user_has_log_shm(s) || m->nr_fds != 1)
		return -EINVAL;
	int err = user_dirty_map(&next, &m->p.log, m->fds[0]);
	if (!err && !user_dirty_covers_mem(&next, &s->mem)) {
		user_dirty_unmap(&next);
		err = -ENOSPC;
	}
	if (err)
		return err;
	user_rings_halt_if(s, user_ring_is_logging);
	user_dirty_unmap(&s->dirty);
	s->dirty = next;
	return user_rings_try_start(s);
}

int user_set_log_fd(struct vhost_user_server *s, struct user_msg *m)
{
	struct stat st;
	/* eventfds have no file type; anything else might block the thread that writes to it */
	if (m->nr_fds != 1 || fstat(m->fds[0], &st) || (st.st_mode & S_IFMT))
		return -EINVAL;
	return user_notifier_set(s, &s->dirty_call, m->fds[0]);
}
