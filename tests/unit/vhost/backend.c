/* backend.c - see backend.h. */
#include "backend.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"

#define LOG_STRIDE 8192u
#define GATE_MS    10000

/* --- the server --- */

static void keep_fd(int *to, struct user_msg *m)
{
	int fd = user_msg_take_fd(m, 0);
	fd_close(*to);
	*to = fd;
}

static struct backend_ring *ring_of(struct backend *b, uint64_t idx)
{
	assert_true(idx < BACKEND_QUEUES);
	return &b->ring[idx];
}

static void pass_gate(const struct backend *b)
{
	struct pollfd p = { b->gate, POLLIN, 0 };
	assert_true(p.fd < 0 || poll(&p, 1, GATE_MS) == 1);
}

static void break_late(struct backend *b)
{
	struct vhost_user_header changed = { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
					     VHOST_USER_VERSION, 0 };
	assert_int_equal(user_msg_send(b->backend_fd, &changed, NULL, NULL, 0), 0);
	assert_int_equal(eventfd_write(ring_of(b, BACKEND_QUEUES - 1)->err, 1), 0);
}

/* answer() to what is about a ring. */
static bool answer_of_ring(struct backend *b, struct user_msg *m)
{
	struct backend_ring *r;
	switch (m->h.request) {
	case VHOST_USER_SET_VRING_NUM:
		ring_of(b, m->p.state.index)->num = m->p.state.num;
		return false;
	case VHOST_USER_SET_VRING_BASE:
		ring_of(b, m->p.state.index)->base = m->p.state.num;
		return false;
	case VHOST_USER_SET_VRING_ADDR:
		ring_of(b, m->p.addr.index)->addr = m->p.addr;
		return false;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		r = ring_of(b, m->p.u64 & VHOST_USER_RING_MASK);
		keep_fd(m->h.request == VHOST_USER_SET_VRING_KICK   ? &r->kick
			: m->h.request == VHOST_USER_SET_VRING_CALL ? &r->call
								    : &r->err,
			m);
		r->is_up |= m->h.request == VHOST_USER_SET_VRING_KICK &&
			    !(b->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1);
		return false;
	case VHOST_USER_SET_VRING_ENABLE:
		ring_of(b, m->p.state.index)->is_up = true;
		return false;
	case VHOST_USER_GET_VRING_BASE:
		if (b->breaks_late && m->p.state.index == BACKEND_QUEUES - 1)
			break_late(b);
		m->p.state.num = ring_of(b, m->p.state.index)->base;
		ring_of(b, m->p.state.index)->is_up = false;
		return true;
	default:
		return false;
	}
}

/* answer() to what has more than a number in it. */
static bool answer_with_more(struct backend *b, struct user_msg *m)
{
	switch (m->h.request) {
	case VHOST_USER_SET_BACKEND_REQ_FD:
		keep_fd(&b->backend_fd, m);
		return false;
	case VHOST_USER_SET_MEM_TABLE:
		b->mem = m->p.mem;
		keep_fd(&b->mem_fd, m);
		return false;
	case VHOST_USER_GET_CONFIG:
		assert_true(m->p.config.off + m->p.config.len <= BACKEND_BYTES);
		pass_gate(b);
		memcpy(m->p.config.data, b->config + m->p.config.off, m->p.config.len);
		return true;
	case VHOST_USER_SET_CONFIG:
		b->written = m->p.config;
		if (!b->is_read_only)
			memcpy(b->config + m->p.config.off, m->p.config.data, m->p.config.len);
		return false;
	case VHOST_USER_GET_INFLIGHT_FD:
		m->p.inflight.bytes = (uint64_t)LOG_STRIDE * m->p.inflight.nr_queues;
		m->fds[0] = memfd_create("theirs", MFD_CLOEXEC);
		m->nr_fds = 1;
		return true;
	case VHOST_USER_SET_INFLIGHT_FD:
		b->inflight = m->p.inflight;
		keep_fd(&b->log_fd, m);
		return false;
	default:
		return answer_of_ring(b, m);
	}
}

/* Note what a message says; leave the answer in it. True: it has one of its own. */
static bool answer(struct backend *b, struct user_msg *m)
{
	switch (m->h.request) {
	case VHOST_USER_GET_FEATURES:
		m->p.u64 = b->features;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->p.u64 = b->protocol;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		m->p.u64 = b->nr_queues;
		break;
	case VHOST_USER_SET_FEATURES:
		b->got_features = m->p.u64;
		return false;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		b->got_protocol = m->p.u64;
		return false;
	case VHOST_USER_SET_STATUS:
		b->got_status = m->p.u64;
		return false;
	default:
		return answer_with_more(b, m);
	}
	m->h.size = sizeof(m->p.u64);
	return true;
}

static void lie_to(struct backend *b, const struct lie *l, const struct user_msg *m)
{
	struct vhost_user_header h = { l->id ? l->id : m->h.request, l->flags, l->size };
	union vhost_user_payload p = { 0 };
	int fds[USER_MSG_MAX_FDS];
	memcpy(&p, l->p, sizeof(l->p));
	for (unsigned i = 0; i < l->nr_fds; i++)
		fds[i] = STDERR_FILENO;
	if (l->size > sizeof(p)) /* a header that promises too much */
		h.size = l->size;
	struct iovec iov[2] = { { &h, sizeof(h) },
				{ &p, l->size > sizeof(p) ? sizeof(p) : l->size } };
	struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = 2 };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(USER_MSG_MAX_FDS * sizeof(int))];
	} control = { 0 };
	if (l->nr_fds) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(l->nr_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(l->nr_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, l->nr_fds * sizeof(int));
	}
	ignore(sendmsg(b->sock, &hdr, MSG_NOSIGNAL) < 0); /* it may have hung up */
}

/* False: the server is to end. */
static bool reply(struct backend *b, struct user_msg *m)
{
	uint32_t id = m->h.request;
	const struct lie *l = b->lie;
	bool wants_ack = m->h.flags & VHOST_USER_NEED_REPLY, has_answer = answer(b, m);
	bool lies = l && l->request == id && b->counts[id] >= b->lie_from &&
		    b->connects > b->lie_after;
	if (lies) {
		b->lie = NULL;
		if (l->kind != LIE_SILENCE && l->kind != LIE_HANG_UP)
			lie_to(b, l, m);
		if (l->kind == LIE_HANG_UP)
			return false;
	}
	if (id < VHOST_USER_NR_REQUESTS) /* before the answer: who has it may look at once */
		b->counts[id]++;
	if (!has_answer && wants_ack) {
		m->p.u64 = 0;
		m->h.size = sizeof(m->p.u64);
	}
	m->h.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	if ((has_answer || wants_ack) && (!lies || l->kind == LIE_EXTRA))
		ignore(user_msg_send(b->sock, &m->h, &m->p, m->fds,
				     id == VHOST_USER_GET_INFLIGHT_FD));
	return true;
}

static void serve(void *arg)
{
	struct backend *b = arg;
	struct user_msg m;
	int err = 0;
	bool dies = b->die_first && b->die_first--;
	user_msg_init(&m);
	while (!err) {
		struct pollfd p = { b->sock, POLLIN, 0 };
		(void)poll(&p, 1, -1);
		err = user_msg_recv(b->sock, &m, 0);
		if (err == -EAGAIN) {
			err = 0;
			continue;
		}
		if (!err && (dies || (!b->is_mute && !reply(b, &m))))
			err = -ECANCELED;
		user_msg_fini(&m);
		user_msg_init(&m);
	}
	(void)shutdown(b->sock, SHUT_RDWR);
}

static void end_server(struct backend *b)
{
	if (!b->thread)
		return;
	(void)shutdown(b->sock, SHUT_RDWR);
	thread_join(b->thread);
	b->thread = NULL;
	fd_close(atomic_exchange(&b->sock, -1));
}

static int backend_connect(void *ctx)
{
	struct backend *b = ctx;
	int pair[2];
	b->tries++;
	if (b->refuse)
		return b->refuse;
	end_server(b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	b->sock = pair[1];
	struct thread_attr attr = { .name = "backend" };
	assert_int_equal(thread_create(&b->thread, &attr, serve, b), 0);
	b->connects++;
	return pair[0];
}

static void backend_kill(void *ctx)
{
	struct backend *b = ctx;
	end_server(b);
	b->kills++;
}

void backend_die(struct backend *b)
{
	for (unsigned i = 0; i < BACKEND_QUEUES; i++)
		b->ring[i].is_up = false;
	(void)shutdown(b->sock, SHUT_RDWR);
}

/* --- the rig --- */

static void forget(struct backend *b)
{
	struct drive v = b->v;
	memset(b, 0, sizeof(*b));
	b->v = v;
}

void backend_begin(struct backend *b)
{
	forget(b);
	b->sock = b->mem_fd = b->log_fd = b->backend_fd = -1;
	b->gate = -1;
	for (unsigned i = 0; i < BACKEND_QUEUES; i++)
		b->ring[i].kick = b->ring[i].call = b->ring[i].err = -1;
	b->features = 0xffffffffffffffffull & ~BIT(VIRTIO_F_RING_PACKED);
	b->protocol = ~0ull;
	b->nr_queues = BACKEND_QUEUES;
	for (unsigned i = 0; i < BACKEND_BYTES; i++)
		b->config[i] = (uint8_t)(i + 1);
	b->cfg = (struct vhost_front_config){ .name = "front0",
					      .id = VIRTIO_ID_BLOCK,
					      .queue_size = 64,
					      .connect = backend_connect,
					      .kill = backend_kill,
					      .ctx = b };
}

int backend_setup(void **state)
{
	struct backend *b = calloc(1, sizeof(*b));
	drive_init(&b->v);
	backend_begin(b);
	*state = b;
	return 0;
}

void backend_end(struct backend *b)
{
	drive_unplug(&b->v);
	end_server(b);
	fd_close(b->mem_fd);
	fd_close(b->log_fd);
	fd_close(b->backend_fd);
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		fd_close(b->ring[i].kick);
		fd_close(b->ring[i].call);
		fd_close(b->ring[i].err);
	}
}

int backend_teardown(void **state)
{
	struct backend *b = *state;
	backend_end(b);
	drive_fini(&b->v);
	free(b);
	return 0;
}

void backend_plug(struct backend *b)
{
	assert_int_equal(vhost_front_create(&b->d, b->v.mem, &b->cfg), 0);
	drive_attach(&b->v, b->d);
}

void backend_up(struct backend *b)
{
	backend_plug(b);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, BACKEND_QUEUES);
}

void backend_until(struct backend *b, enum vhost_user_request request, unsigned n)
{
	drive_until(&b->v, b->counts[request] >= n);
}

/* --- the device --- */

void backend_serve(struct backend *b, uint16_t idx, unsigned nr, uint64_t done)
{
	struct backend_ring *r = &b->ring[idx];
	struct vq_chain *c[64];
	struct notifier call = { .fd = r->call };
	struct vq_setup s = { .size = (uint16_t)r->num,
			      .next = (uint16_t)r->base,
			      .desc = gpa(r->addr.desc),
			      .driver = gpa(r->addr.avail),
			      .device = gpa(r->addr.used),
			      .features = b->v.features,
			      .mem = b->v.mem,
			      .kick_fd = -1,
			      .call = &call };
	struct vq *q;
	assert_int_equal(vq_create(&q, &s), 0);
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(vq_pop(q, &c[i]), 1);
	r->base = vq_next(q);
	for (unsigned i = 0; i < nr; i++)
		if (done >> i & 1)
			vq_push(q, c[i], 1);
	(void)vq_publish(q);
	notifier_signal(&call);
	vq_destroy(q);
}

void backend_give_late(struct backend *b, uint16_t idx, uint16_t head)
{
	struct backend_ring *r = &b->ring[idx];
	struct vring_used *u = (struct vring_used *)(void *)(b->v.ram + r->addr.used);
	u->ring[u->idx % r->num] = (struct vring_used_elem){ head, 1 };
	__atomic_store_n(&u->idx, (uint16_t)(u->idx + 1), __ATOMIC_RELEASE);
}

uint16_t backend_ask(struct backend *b, uint16_t idx)
{
	const struct drive_seg s = { DRIVE_DATA, 1 };
	uint16_t head = drive_offer(&b->v, idx, &s, 0, 1);
	drive_kick(&b->v, idx);
	return head;
}

void backend_works(struct backend *b)
{
	uint16_t head = backend_ask(b, 0), got;
	drive_until(&b->v, b->ring[0].is_up);
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, &got);
	assert_int_equal(got, head);
	assert_false(drive_needs_reset(&b->v));
}

struct vhost_front_info info_of(struct backend *b)
{
	struct vhost_front_info i;
	vhost_front_info(b->d, &i);
	return i;
}
