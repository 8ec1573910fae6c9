/* user_request.c - what each message of a frontend asks for, and its answer. */
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/stat.h>
#include "base/err.h"
#include "base/num.h"
#include "user_priv.h"

#define USER_PROTOCOL                                                                              \
	(1ull << VHOST_USER_PROTOCOL_F_MQ | 1ull << VHOST_USER_PROTOCOL_F_LOG_SHMFD |              \
	 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ |     \
	 1ull << VHOST_USER_PROTOCOL_F_CONFIG | 1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD |     \
	 1ull << VHOST_USER_PROTOCOL_F_RESET_DEVICE |                                              \
	 1ull << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS | 1ull << VHOST_USER_PROTOCOL_F_STATUS)

/*
 * One kind of message. @fn finds its payload in @m->p; what it answers it leaves there, with the
 * size in @m->h. Any error of a message that has no answer to tell it by ends the connection.
 */
struct user_handler {
	const char *name;
	int (*fn)(struct vhost_user_server *s, struct user_msg *m);
	uint32_t min, max; /* bytes of payload */
	unsigned max_fds;
	bool replies;
};

static void user_reply_u64(struct user_msg *m, uint64_t v)
{
	m->p.u64 = v;
	m->h.size = sizeof(v);
}

static bool user_is_packed(const struct vhost_user_server *s)
{
	return s->features >> VIRTIO_F_RING_PACKED & 1;
}

/* --- features and status --- */

uint64_t user_offered(const struct vhost_user_server *s)
{
	/* the protocol resets single rings in its own way, which the guest does not see */
	uint64_t hidden = 1ull << VIRTIO_F_RING_RESET;
	return (vdev_offered(s->dev) & ~hidden) | 1ull << VHOST_USER_F_PROTOCOL_FEATURES |
	       1ull << VHOST_F_LOG_ALL;
}

static int user_get_features(struct vhost_user_server *s, struct user_msg *m)
{
	user_reply_u64(m, user_offered(s));
	return 0;
}

static int user_set_features(struct vhost_user_server *s, struct user_msg *m)
{
	bool logs = m->p.u64 >> VHOST_F_LOG_ALL & 1;
	if ((m->p.u64 & ~user_offered(s)) || (logs && !user_has_log_shm(s)))
		return -EINVAL;
	if (!(m->p.u64 >> VIRTIO_F_VERSION_1 & 1))
		return -EPROTONOSUPPORT; /* a legacy driver: VIRTIO 1.2 §6.1 */
	uint64_t before = s->features;
	if (((m->p.u64 ^ before) & ~(1ull << VHOST_F_LOG_ALL)) && user_rings_any_running(s))
		return -EBUSY;
	s->features = m->p.u64;
	if (!user_rings_could_log(s)) {
		s->features = before;
		return -ENOSPC;
	}
	return user_rings_follow_log(s);
}

static int user_get_protocol_features(struct vhost_user_server *s, struct user_msg *m)
{
	(void)s;
	user_reply_u64(m, USER_PROTOCOL);
	return 0;
}

static int user_set_protocol_features(struct vhost_user_server *s, struct user_msg *m)
{
	if (m->p.u64 & ~USER_PROTOCOL)
		return -EINVAL;
	s->protocol = m->p.u64;
	return 0;
}

static int user_get_queue_num(struct vhost_user_server *s, struct user_msg *m)
{
	user_reply_u64(m, s->dev->nr_queues);
	return 0;
}

static int user_set_owner(struct vhost_user_server *s, struct user_msg *m)
{
	(void)s;
	(void)m; /* says only that a session begins */
	return 0;
}

static int user_reset_owner(struct vhost_user_server *s, struct user_msg *m)
{
	(void)m;
	user_rings_halt(s);
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		s->rings[i].is_enabled = false;
	return 0;
}

void user_reset_device(struct vhost_user_server *s)
{
	user_rings_halt(s);
	user_rings_reset(s);
	vdev_set_status(s->dev, 0);
	s->status = 0;
	s->has_told_error = false;
}

static int user_reset(struct vhost_user_server *s, struct user_msg *m)
{
	(void)m;
	user_reset_device(s);
	return 0;
}

static int user_get_status(struct vhost_user_server *s, struct user_msg *m)
{
	uint8_t broken = vdev_status(s->dev) & VIRTIO_CONFIG_S_NEEDS_RESET;
	user_reply_u64(m, s->status | broken);
	return 0;
}

static int user_set_status(struct vhost_user_server *s, struct user_msg *m)
{
	if (m->p.u64 > UINT8_MAX)
		return -EINVAL;
	uint8_t status = (uint8_t)m->p.u64;
	if (!status)
		user_reset_device(s);
	s->status = status;
	return 0;
}

/* --- configuration space --- */

static int user_config_check(const struct user_msg *m)
{
	const struct vhost_user_config_space *c = &m->p.config;
	uint32_t head = offsetof(struct vhost_user_config_space, data);
	return c->len && c->len <= sizeof(c->data) && m->h.size >= head + c->len ? 0 : -EINVAL;
}

static int user_get_config(struct vhost_user_server *s, struct user_msg *m)
{
	struct vhost_user_config_space *c = &m->p.config;
	int err = user_config_check(m);
	if (err)
		return err;
	vdev_config_read(s->dev, c->off, c->data, c->len);
	s->generation = vdev_generation(s->dev);
	m->h.size = (uint32_t)offsetof(struct vhost_user_config_space, data) + c->len;
	return 0;
}

static int user_set_config(struct vhost_user_server *s, struct user_msg *m)
{
	int err = user_config_check(m);
	/* a driver that writes has chosen features, and what it writes may depend on them */
	if (!err && s->features)
		err = user_go_live(s);
	if (!err)
		vdev_config_write(s->dev, m->p.config.off, m->p.config.data, m->p.config.len);
	return err;
}

/* --- memory --- */

/* Rings that run stop, @err says how the change went, and they go on where they were. */
static int user_mem_changed(struct vhost_user_server *s, int err)
{
	vdev_set_mem(s->dev, s->mem.gmem);
	int start_err = user_rings_try_start(s);
	return err ? err : start_err;
}

static int user_set_mem_table(struct vhost_user_server *s, struct user_msg *m)
{
	const struct vhost_user_mem_table *t = &m->p.mem;
	if (t->nr > VHOST_USER_MAX_REGIONS || t->nr != m->nr_fds ||
	    m->h.size < offsetof(struct vhost_user_mem_table, r) + t->nr * sizeof(t->r[0]))
		return -EINVAL;
	user_rings_halt(s);
	int err = user_mem_set(&s->mem, t->r, m->fds, t->nr);
	for (unsigned i = 0; !err && i < t->nr; i++)
		(void)user_msg_take_fd(m, i); /* the table's now */
	return user_mem_changed(s, err);
}

static int user_add_mem_reg(struct vhost_user_server *s, struct user_msg *m)
{
	if (m->nr_fds != 1)
		return -EINVAL;
	user_rings_halt(s);
	int err = user_mem_add(&s->mem, &m->p.reg.r, m->fds[0]);
	if (!err)
		(void)user_msg_take_fd(m, 0); /* the table's now */
	return user_mem_changed(s, err);
}

static int user_rem_mem_reg(struct vhost_user_server *s, struct user_msg *m)
{
	user_rings_halt(s);
	return user_mem_changed(s, user_mem_remove(&s->mem, &m->p.reg.r));
}

static int user_get_max_mem_slots(struct vhost_user_server *s, struct user_msg *m)
{
	(void)s;
	user_reply_u64(m, GMEM_MAX_REGIONS);
	return 0;
}

/* --- rings --- */

static struct user_ring *user_ring_at(struct vhost_user_server *s, uint64_t idx)
{
	return idx < s->dev->nr_queues ? &s->rings[idx] : NULL;
}

static int user_set_vring_num(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r = user_ring_at(s, m->p.state.index);
	uint32_t num = m->p.state.num;
	if (!r || r->is_running)
		return r ? -EBUSY : -EINVAL;
	if (!num || num > vdev_queue_max(s->dev, (uint16_t)m->p.state.index))
		return -EINVAL;
	r->size = (uint16_t)num;
	return user_ring_try_start(s, (uint16_t)m->p.state.index);
}

static int user_set_vring_addr(struct vhost_user_server *s, struct user_msg *m)
{
	const struct vhost_user_vring_addr *a = &m->p.addr;
	struct user_ring *r = user_ring_at(s, a->index);
	if (!r || a->flags & ~(1u << VHOST_VRING_F_LOG))
		return -EINVAL;
	int err = user_ring_set_log(s, r, a);
	if (err)
		return err;
	bool is_same = r->desc == a->desc && r->avail == a->avail && r->used == a->used;
	if (r->has_addr && is_same)
		return user_rings_follow_log(s);
	user_ring_halt(s, (uint16_t)a->index);
	r->desc = a->desc;
	r->avail = a->avail;
	r->used = a->used;
	r->has_addr = true;
	return user_ring_try_start(s, (uint16_t)a->index);
}

/* Packed: descriptor index and wrap counter, which vq_setup has inverted. */
static int user_set_vring_base(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r = user_ring_at(s, m->p.state.index);
	uint32_t num = m->p.state.num;
	if (!r || r->is_running)
		return r ? -EBUSY : -EINVAL;
	if (!user_is_packed(s) && num > UINT16_MAX)
		return -EINVAL;
	r->next = r->base = (uint16_t)(user_is_packed(s) ? num ^ 0x8000 : num);
	return 0;
}

/* QEMU 7.2 writes status 0 before it asks, and means the place where the ring was. */
static int user_get_vring_base(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r = user_ring_at(s, m->p.state.index);
	if (!r)
		return -EINVAL;
	user_ring_halt(s, (uint16_t)m->p.state.index);
	fd_close(take_fd(r->kick_fd)); /* stopped until there is another */
	uint32_t base = r->base;
	if (user_is_packed(s)) {
		base ^= 0x8000;
		base |= base << 16; /* nothing is in flight: used is where available is */
	}
	m->p.state.num = base;
	m->h.size = sizeof(m->p.state);
	return 0;
}

/*
 * The ring and the descriptor of a message that hands one over, -1: none. Eventfds have no file
 * type; anything else might never become readable, or block the thread that writes to it.
 */
static int user_ring_fd(struct vhost_user_server *s, struct user_msg *m, struct user_ring **r,
			int *fd)
{
	struct stat st;
	bool has_fd = !(m->p.u64 & VHOST_USER_NO_FD);
	*r = user_ring_at(s, m->p.u64 & VHOST_USER_RING_MASK);
	if (!*r || has_fd != (m->nr_fds == 1) ||
	    m->p.u64 > (VHOST_USER_RING_MASK | VHOST_USER_NO_FD))
		return -EINVAL;
	if (has_fd && (fstat(m->fds[0], &st) || (st.st_mode & S_IFMT)))
		return -EINVAL;
	*fd = user_msg_take_fd(m, 0);
	return 0;
}

static int user_set_vring_kick(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r;
	int fd;
	int err = user_ring_fd(s, m, &r, &fd);
	if (err)
		return err;
	if (fd < 0)
		return -EOPNOTSUPP; /* a ring that is never kicked would have to be polled for ever
				     */
	uint16_t idx = (uint16_t)(r - s->rings);
	user_ring_halt(s, idx);
	fd_close(r->kick_fd);
	r->kick_fd = fd;
	return user_ring_try_start(s, idx);
}

static int user_set_vring_call(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r;
	CLEANUP(fd_cleanup) int fd = -1;
	int err = user_ring_fd(s, m, &r, &fd);
	return err ? err : user_ring_set_call(s, (uint16_t)(r - s->rings), fd);
}

static int user_set_vring_err(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r;
	int fd;
	int err = user_ring_fd(s, m, &r, &fd);
	if (err)
		return err;
	fd_close(r->err_fd);
	r->err_fd = fd;
	return 0;
}

static int user_set_vring_enable(struct vhost_user_server *s, struct user_msg *m)
{
	struct user_ring *r = user_ring_at(s, m->p.state.index);
	if (!r || m->p.state.num > 1)
		return -EINVAL;
	r->is_enabled = m->p.state.num;
	if (r->is_enabled)
		return user_ring_try_start(s, (uint16_t)m->p.state.index);
	user_ring_halt(s, (uint16_t)m->p.state.index);
	return 0;
}

/* --- other descriptors --- */

static int user_set_backend_req_fd(struct vhost_user_server *s, struct user_msg *m)
{
	if (m->nr_fds != 1)
		return -EINVAL;
	fd_close(s->backend_fd);
	s->backend_fd = user_msg_take_fd(m, 0);
	return 0;
}

static int user_get_inflight_fd(struct vhost_user_server *s, struct user_msg *m)
{
	CLEANUP(fd_cleanup) int fd = -1;
	if (m->p.inflight.nr_queues > s->dev->nr_queues)
		return -EINVAL;
	int err = user_log_make(&m->p.inflight, &fd);
	if (err)
		return err;
	m->fds[0] = take_fd(fd); /* goes out with the answer */
	m->nr_fds = 1;
	return 0;
}

static int user_set_inflight_fd(struct vhost_user_server *s, struct user_msg *m)
{
	if (user_rings_any_running(s))
		return -EBUSY;
	return m->nr_fds == 1 ? user_log_map(&s->log, &m->p.inflight, m->fds[0]) : -EINVAL;
}

/* --- one message --- */

#define U64   8, 8
#define STATE 8, 8
#define NONE  0, 0

static const struct user_handler user_handlers[VHOST_USER_NR_REQUESTS] = {
	[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", user_get_features, NONE, 0, true },
	[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", user_set_features, U64, 0, false },
	[VHOST_USER_SET_OWNER] = { "SET_OWNER", user_set_owner, NONE, 0, false },
	[VHOST_USER_RESET_OWNER] = { "RESET_OWNER", user_reset_owner, NONE, 0, false },
	[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", user_set_mem_table, 8, 264,
				       VHOST_USER_MAX_REGIONS, false },
	[VHOST_USER_SET_LOG_BASE] = { "SET_LOG_BASE", user_set_log_base, 16, 16, 1, false },
	[VHOST_USER_SET_LOG_FD] = { "SET_LOG_FD", user_set_log_fd, 0, 8, 1, false },
	[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", user_set_vring_num, STATE, 0, false },
	[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", user_set_vring_addr, 40, 40, 0, false },
	[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", user_set_vring_base, STATE, 0, false },
	[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", user_get_vring_base, STATE, 0, true },
	[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", user_set_vring_kick, U64, 1, false },
	[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", user_set_vring_call, U64, 1, false },
	[VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", user_set_vring_err, U64, 1, false },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", user_get_protocol_features,
					       NONE, 0, true },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", user_set_protocol_features,
					       U64, 0, false },
	[VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", user_get_queue_num, NONE, 0, true },
	[VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", user_set_vring_enable, STATE, 0,
					  false },
	[VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", user_set_backend_req_fd, 0, 8, 1,
					    false },
	[VHOST_USER_GET_CONFIG] = { "GET_CONFIG", user_get_config, 12, 268, 0, true },
	[VHOST_USER_SET_CONFIG] = { "SET_CONFIG", user_set_config, 12, 268, 0, false },
	[VHOST_USER_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", user_get_inflight_fd,
					 VHOST_USER_INFLIGHT_MIN, 24, 0, true },
	[VHOST_USER_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", user_set_inflight_fd,
					 VHOST_USER_INFLIGHT_MIN, 24, 1, false },
	[VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", user_reset, NONE, 0, false },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", user_get_max_mem_slots, NONE, 0,
					   true },
	[VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", user_add_mem_reg, 40, 40, 1, false },
	[VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", user_rem_mem_reg, 40, 40, 1, false },
	[VHOST_USER_SET_STATUS] = { "SET_STATUS", user_set_status, U64, 0, false },
	[VHOST_USER_GET_STATUS] = { "GET_STATUS", user_get_status, NONE, 0, true },
};

static int user_answer(struct vhost_user_server *s, struct user_msg *m)
{
	m->h.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	return user_msg_send(s->sock, &m->h, &m->p, m->fds, m->nr_fds);
}

static int user_perform(struct vhost_user_server *s, struct user_msg *m,
			const struct user_handler *h)
{
	if (m->h.size < h->min || m->h.size > h->max || m->nr_fds > h->max_fds)
		return -EPROTO;
	return h->fn(s, m);
}

/* Of a log in shared memory a frontend waits to hear in any case. */
static bool user_wants_ack(const struct vhost_user_server *s, const struct user_msg *m)
{
	if (m->h.request == VHOST_USER_SET_LOG_BASE && user_has_log_shm(s))
		return true;
	return (m->h.flags & VHOST_USER_NEED_REPLY) &&
	       (s->protocol >> VHOST_USER_PROTOCOL_F_REPLY_ACK & 1);
}

int user_request(struct vhost_user_server *s, struct user_msg *m)
{
	static const struct user_handler unknown = { "unknown request", NULL, 0, 0, 0, false };
	uint32_t id = m->h.request;
	bool is_known = id < VHOST_USER_NR_REQUESTS && user_handlers[id].fn;
	const struct user_handler *h = is_known ? &user_handlers[id] : &unknown;
	bool wants_ack = user_wants_ack(s, m);
	int err = is_known ? user_perform(s, m, h) : -EOPNOTSUPP;
	if (err)
		log_guest(&s->log_rate, "%s: vhost-user: %s (%u): %s", s->dev->id, h->name, id,
			  strerror(-err));
	if (h->replies && !err)
		return user_answer(s, m);
	user_msg_fini(m);
	if (id == VHOST_USER_GET_CONFIG) {
		m->h.size = 0; /* the protocol's way to say no */
		return user_answer(s, m);
	}
	if (wants_ack && !h->replies) {
		user_reply_u64(m, err != 0);
		return user_answer(s, m);
	}
	return err ? -EPROTO : 0;
}
