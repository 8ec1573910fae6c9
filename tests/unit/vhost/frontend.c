/* frontend.c - see frontend.h. */
#include "frontend.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"

#define PATIENCE_MS 10000

void wait_for(const _Atomic unsigned *v, unsigned want)
{
	const struct timespec tick = { 0, 100000 };
	for (unsigned i = 0; i < 10u * PATIENCE_MS && *v != want; i++)
		(void)nanosleep(&tick, NULL);
	assert_int_equal(*v, want);
}

/* --- the device --- */

static struct body *body_of(struct vdev *d)
{
	return container_of(d, struct body, dev);
}

static void body_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	memcpy(buf, body_of(d)->config + off, len);
}

static void body_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	memcpy(body_of(d)->config + off, buf, len);
}

static int body_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct body *b = body_of(d);
	b->setup[idx] = *s;
	b->next[idx] = s->next;
	b->starts[idx]++;
	return 0;
}

static void body_stop(struct vdev *d, uint16_t idx)
{
	struct body *b = body_of(d);
	b->stops[idx]++;
	b->pending |= 1ull << idx;
	sem_post(&b->work);
}

static void body_main(void *arg)
{
	struct body *b = arg;
	const struct timespec tick = { 0, 100000 };
	while (!sem_wait(&b->work) && !b->is_over) {
		while (b->is_held)
			(void)nanosleep(&tick, NULL);
		uint64_t todo = atomic_exchange(&b->pending, 0);
		for (uint16_t i = 0; i < BODY_QUEUES; i++)
			if (todo >> i & 1)
				vdev_queue_stopped_at(&b->dev, i, b->next[i]);
	}
}

static bool body_beat(struct vdev *d)
{
	struct body *b = body_of(d);
	b->beats++;
	return !b->is_stuck;
}

static void body_reset(struct vdev *d)
{
	body_of(d)->resets++;
}

static void body_destroy(struct vdev *d)
{
	struct body *b = body_of(d);
	b->is_over = true;
	sem_post(&b->work);
	thread_join(b->thread);
	vdev_fini(d);
	free(b);
}

static const struct vdev_ops body_ops = {
	.name = "body",
	.id = 4,
	.config_read = body_config_read,
	.config_write = body_config_write,
	.start = body_start,
	.stop = body_stop,
	.beat = body_beat,
	.reset = body_reset,
	.destroy = body_destroy,
};

static struct body *body_create(void)
{
	struct body *b = zalloc_aligned(align_up(sizeof(*b), CACHE_ALIGN));
	assert_int_equal(
		vdev_init(&b->dev, &body_ops, NULL, BODY_QUEUES, BODY_SIZE, BODY_CONFIG, BODY_BIT),
		0);
	strcpy(b->dev.id, "body0");
	sem_init(&b->work, 0, 0);
	struct thread_attr attr = { .name = "body" };
	assert_int_equal(thread_create(&b->thread, &attr, body_main, b), 0);
	return b;
}

/* --- the rig --- */

static int rig_make(void **state, uint64_t features)
{
	struct rig *r = calloc(1, sizeof(*r));
	guest_init(&r->guest, MIB);
	for (unsigned i = 0; i < BODY_QUEUES; i++) {
		guest_queue_init(&r->gq[i], &r->guest, 16, features);
		r->kick[i] = eventfd(0, EFD_NONBLOCK);
		r->call[i] = eventfd(0, EFD_NONBLOCK);
		r->err[i] = eventfd(0, EFD_NONBLOCK);
	}
	r->body = body_create();
	assert_int_equal(notifier_init(&r->stop), 0);
	assert_int_equal(vhost_user_server_create(&r->server, &r->body->dev), 0);
	rig_connect(r);
	*state = r;
	return 0;
}

int rig_setup(void **state)
{
	return rig_make(state, GUEST_FEATURES);
}

int rig_setup_packed(void **state)
{
	return rig_make(state, GUEST_FEATURES | GUEST_PACKED);
}

static void rig_serve(void *arg)
{
	struct rig *r = arg;
	r->result = vhost_user_server_serve(r->server, r->server_sock, r->stop.fd);
	fd_close(r->server_sock);
}

void rig_connect(struct rig *r)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->sock = pair[0];
	r->server_sock = pair[1];
	r->result = 1;
	struct thread_attr attr = { .name = "server" };
	assert_int_equal(thread_create(&r->thread, &attr, rig_serve, r), 0);
}

int rig_wait_end(struct rig *r)
{
	const struct timespec tick = { 0, 100000 };
	for (unsigned i = 0; i < 10u * PATIENCE_MS && r->result == 1; i++)
		(void)nanosleep(&tick, NULL);
	if (r->result == 1)
		fail_msg("the server goes on");
	thread_join(r->thread);
	r->thread = NULL;
	fd_close(take_fd(r->sock));
	return r->result;
}

int rig_hang_up(struct rig *r)
{
	fd_close(take_fd(r->sock));
	return rig_wait_end(r);
}

int rig_teardown(void **state)
{
	struct rig *r = *state;
	r->body->is_held = false;
	if (r->thread)
		(void)rig_hang_up(r);
	vhost_user_server_destroy(r->server);
	notifier_fini(&r->stop);
	for (unsigned i = 0; i < BODY_QUEUES; i++) {
		fd_close(r->kick[i]);
		fd_close(r->call[i]);
		fd_close(r->err[i]);
		guest_queue_fini(&r->gq[i]);
	}
	guest_fini(&r->guest);
	free(r);
	return 0;
}

/* --- messages --- */

void fe_send(struct rig *r, uint32_t request, uint32_t flags, const void *payload, uint32_t len,
	     const int *fds, unsigned nr_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control = { 0 };
	struct vhost_user_header h = { request, flags, len };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)payload, len } };
	struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = 2 };
	if (nr_fds) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nr_fds * sizeof(int));
	}
	/* a server that hung up already is for the test to notice */
	ignore(sendmsg(r->sock, &hdr, MSG_NOSIGNAL) < 0);
}

bool fe_has_answer(struct rig *r, int ms)
{
	struct pollfd p = { r->sock, POLLIN, 0 };
	return poll(&p, 1, ms) > 0;
}

uint32_t fe_recv(struct rig *r, uint32_t request, void *payload, uint32_t room, int *fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct vhost_user_header h;
	struct iovec iov = { &h, sizeof(h) };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	assert_true(fe_has_answer(r, PATIENCE_MS));
	assert_int_equal(recvmsg(r->sock, &hdr, 0), sizeof(h));
	assert_int_equal(h.request, request);
	assert_int_equal(h.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_true(h.size <= room);
	if (h.size)
		assert_int_equal(recv(r->sock, payload, h.size, MSG_WAITALL), h.size);
	struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
	if (fd)
		*fd = -1;
	if (c)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return h.size;
}

bool fe_ack(struct rig *r, uint32_t request, const void *payload, uint32_t len, int fd)
{
	uint64_t failed = 2;
	fe_send(r, request, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, payload, len, &fd, fd >= 0);
	assert_int_equal(fe_recv(r, request, &failed, sizeof(failed), NULL), sizeof(failed));
	assert_true(failed <= 1);
	return !failed;
}

uint64_t fe_get(struct rig *r, uint32_t request)
{
	uint64_t v = 0;
	fe_send(r, request, VHOST_USER_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(fe_recv(r, request, &v, sizeof(v), NULL), sizeof(v));
	return v;
}

bool fe_set(struct rig *r, uint32_t request, uint64_t value)
{
	return fe_ack(r, request, &value, sizeof(value), -1);
}

bool fe_set_state(struct rig *r, uint32_t request, uint32_t idx, uint32_t num)
{
	struct vhost_user_vring_state s = { idx, num };
	return fe_ack(r, request, &s, sizeof(s), -1);
}

uint32_t fe_get_base(struct rig *r, uint32_t idx)
{
	struct vhost_user_vring_state s = { idx, 0 };
	fe_send(r, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &s, sizeof(s), NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_VRING_BASE, &s, sizeof(s), NULL), sizeof(s));
	assert_int_equal(s.index, idx);
	return s.num;
}

bool fe_set_fd(struct rig *r, uint32_t request, uint32_t idx, int fd)
{
	uint64_t v = idx | (fd < 0 ? VHOST_USER_NO_FD : 0);
	return fe_ack(r, request, &v, sizeof(v), fd);
}

void fe_negotiate(struct rig *r, uint64_t features)
{
	uint64_t proto = fe_get(r, VHOST_USER_GET_PROTOCOL_FEATURES);
	fe_send(r, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_VERSION, &proto, sizeof(proto),
		NULL, 0);
	assert_true(fe_ack(r, VHOST_USER_SET_OWNER, NULL, 0, -1));
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, features | PROTO));
}

bool fe_set_mem(struct rig *r)
{
	struct vhost_user_mem_table t = {
		.nr = 1,
		.r[0] = { 0, r->guest.bytes, USER_BASE, 0 },
	};
	return fe_ack(r, VHOST_USER_SET_MEM_TABLE, &t, 8 + sizeof(t.r[0]),
		      gmem_region_at(r->guest.mem, 0)->fd);
}

bool fe_set_addr(struct rig *r, uint32_t idx)
{
	const struct guest_queue *q = &r->gq[idx];
	struct vhost_user_vring_addr a = { idx,
					   0,
					   USER_BASE + q->desc_gpa,
					   USER_BASE + q->device_gpa,
					   USER_BASE + q->driver_gpa,
					   0 };
	return fe_ack(r, VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), -1);
}

void fe_start_ring(struct rig *r, uint32_t idx, uint32_t base)
{
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, idx, r->gq[idx].size));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_BASE, idx, base));
	assert_true(fe_set_addr(r, idx));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_CALL, idx, r->call[idx]));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_ERR, idx, r->err[idx]));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, idx, r->kick[idx]));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, idx, 1));
}
