/* vhost_client_proto.c - connecting to a vhost-user-blk server, once and again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "../virtio/vhost/user_msg.h"
#include "vhost_client.h"

#define USER_BASE 0x7e0000000000ull
#define PATIENCE  30000 /* ms for a server to appear */

/* Until the socket can @events, or its other end is gone. */
static void wait_for(const struct client *c, short events)
{
	(void)poll(&(struct pollfd){ c->sock, events, 0 }, 1, -1);
}

static void send_msg(struct client *c, uint32_t request, const void *p, uint32_t len, int fd)
{
	const struct vhost_user_header h = { request, VHOST_USER_VERSION, len };
	int err;
	while ((err = user_msg_send(c->sock, &h, p, &fd, fd >= 0)) == -EAGAIN)
		wait_for(c, POLLOUT);
	/* a server that died is noticed by the answer, or by the loop */
	if (err && !c->o.has_reconnect)
		client_die("message %u: %s", request, strerror(-err));
}

/* The answer to @request. False: the server is gone. */
static bool recv_msg(struct client *c, uint32_t request, void *p, uint32_t room, int *fd)
{
	struct user_msg m;
	int err;
	user_msg_init(&m);
	while ((err = user_msg_recv(c->sock, &m, VHOST_USER_REPLY)) == -EAGAIN)
		wait_for(c, POLLIN);
	if (err == -EPROTO)
		client_die("message %u: what came is no answer", request);
	if (err && !c->o.has_reconnect)
		client_die("message %u: the server hung up", request);
	if (!err && (m.h.request != request || m.h.size > room))
		client_die("message %u: answered by %u with %u bytes", request, m.h.request,
			   m.h.size);
	if (!err)
		memcpy(p, &m.p, m.h.size);
	if (!err && fd)
		*fd = user_msg_take_fd(&m, 0);
	user_msg_fini(&m);
	return !err;
}

static bool get_u64(struct client *c, uint32_t request, uint64_t *v)
{
	send_msg(c, request, NULL, 0, -1);
	return recv_msg(c, request, v, sizeof(*v), NULL);
}

static void set_u64(struct client *c, uint32_t request, uint64_t v, int fd)
{
	send_msg(c, request, &v, sizeof(v), fd);
}

static void set_state(struct client *c, uint32_t request, uint32_t idx, uint32_t num)
{
	struct vhost_user_vring_state s = { idx, num };
	send_msg(c, request, &s, sizeof(s), -1);
}

/* --- memory --- */

static uint64_t alloc(struct client *c, uint64_t bytes, uint64_t align)
{
	uint64_t at = (c->mem_next + align - 1) & ~(align - 1);
	c->mem_next = at + bytes;
	if (c->mem_next > c->mem_bytes)
		client_die("out of shared memory");
	return at;
}

static void make_queue(struct client *c, struct client_queue *q)
{
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->desc_at = alloc(c, 16 * CLIENT_RING, 4096);
	q->driver_at = alloc(c, 6 + 2 * CLIENT_RING, 4096);
	q->device_at = alloc(c, 6 + 8 * CLIENT_RING, 4096);
	q->desc = (void *)(c->mem + q->desc_at);
	q->packed = (void *)q->desc;
	q->avail = (void *)(c->mem + q->driver_at);
	q->driver_event = (void *)q->avail;
	q->used = (void *)(c->mem + q->device_at);
	q->device_event = (void *)q->used;
	q->avail_wrap = q->used_wrap = true;
	for (unsigned i = 0; i < c->o.depth; i++) {
		struct client_req *r = &q->req[i];
		r->slot = (uint16_t)i;
		r->hdr = (void *)(c->mem + alloc(c, 64, 64));
		r->status = (uint8_t *)r->hdr + 32;
		r->table = alloc(c, 64, 64);
		r->data = c->mem + alloc(c, c->o.bs, 4096);
		q->free[q->nr_free++] = (uint16_t)i;
	}
}

void client_make_memory(struct client *c)
{
	uint64_t request = c->o.bs + 8192;
	c->mem_bytes = (c->o.queues * (c->o.depth * request + 65536) + (2u << 20)) & ~4095ull;
	c->mem_fd = memfd_create("client-ram", MFD_CLOEXEC);
	if (c->mem_fd < 0 || ftruncate(c->mem_fd, (off_t)c->mem_bytes))
		client_die("memfd: %s", strerror(errno));
	c->mem = mmap(NULL, c->mem_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      c->mem_fd, 0);
	if (c->mem == MAP_FAILED)
		client_die("mmap: %s", strerror(errno));
	for (unsigned i = 0; i < c->o.queues; i++)
		make_queue(c, &c->q[i]);
}

/* --- connection --- */

static void open_socket(struct client *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", c->o.socket);
	for (unsigned ms = 0; ms < PATIENCE; ms++) {
		c->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!connect(c->sock, (struct sockaddr *)&a, sizeof(a)))
			return;
		(void)close(c->sock);
		(void)usleep(1000);
	}
	client_die("%s: no server", c->o.socket);
}

static bool negotiate(struct client *c)
{
	uint64_t have, protocol,
		want = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
		       1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH |
		       1ull << VIRTIO_BLK_F_MQ | 1ull << VHOST_USER_F_PROTOCOL_FEATURES;
	uint64_t can = 1ull << VHOST_USER_PROTOCOL_F_MQ | 1ull << VHOST_USER_PROTOCOL_F_CONFIG;
	if (c->o.is_packed)
		want |= 1ull << VIRTIO_F_RING_PACKED;
	if (c->o.has_reconnect)
		can |= 1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
	if (!get_u64(c, VHOST_USER_GET_FEATURES, &have) ||
	    !get_u64(c, VHOST_USER_GET_PROTOCOL_FEATURES, &protocol))
		return false;
	c->features = have & want;
	c->protocol = protocol & can;
	if (c->o.is_packed && !(c->features >> VIRTIO_F_RING_PACKED & 1))
		client_die("the server has no packed rings");
	set_u64(c, VHOST_USER_SET_PROTOCOL_FEATURES, c->protocol, -1);
	send_msg(c, VHOST_USER_SET_OWNER, NULL, 0, -1);
	set_u64(c, VHOST_USER_SET_FEATURES, c->features, -1);
	return true;
}

static bool read_capacity(struct client *c)
{
	struct vhost_user_config_space s = { 0, 8, 0, { 0 } };
	send_msg(c, VHOST_USER_GET_CONFIG, &s, 12 + 8, -1);
	if (!recv_msg(c, VHOST_USER_GET_CONFIG, &s, sizeof(s), NULL))
		return false;
	uint64_t sectors;
	memcpy(&sectors, s.data, sizeof(sectors));
	c->capacity_bytes = le64toh(sectors) * 512;
	return true;
}

/* The account of what is in flight: made by the first server, kept by us for the next. */
static bool share_log(struct client *c)
{
	if (!(c->protocol >> VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD & 1)) {
		if (c->o.has_reconnect)
			client_die("the server keeps no account of requests in flight");
		return true;
	}
	if (!c->log) {
		struct vhost_user_inflight in = { 0, 0, (uint16_t)c->o.queues, CLIENT_RING, 0 };
		send_msg(c, VHOST_USER_GET_INFLIGHT_FD, &in, sizeof(in), -1);
		if (!recv_msg(c, VHOST_USER_GET_INFLIGHT_FD, &in, sizeof(in), &c->log_fd))
			return false;
		c->log = malloc(sizeof(in));
		*c->log = in;
	}
	send_msg(c, VHOST_USER_SET_INFLIGHT_FD, c->log, sizeof(*c->log), c->log_fd);
	return true;
}

static void start_queue(struct client *c, uint32_t i)
{
	const struct client_queue *q = &c->q[i];
	struct vhost_user_vring_addr a = {
		i, 0, USER_BASE + q->desc_at, USER_BASE + q->device_at, USER_BASE + q->driver_at, 0
	};
	uint32_t base = c->o.is_packed ? 0x80008000u : le16toh(q->used->idx);
	set_state(c, VHOST_USER_SET_VRING_NUM, i, CLIENT_RING);
	set_state(c, VHOST_USER_SET_VRING_BASE, i, base);
	send_msg(c, VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), -1);
	/* a client that polls does not ask for calls; but some servers insist on the descriptor */
	set_u64(c, VHOST_USER_SET_VRING_CALL, i, q->call);
	set_u64(c, VHOST_USER_SET_VRING_KICK, i, q->kick);
	set_state(c, VHOST_USER_SET_VRING_ENABLE, i, 1);
}

static bool hand_over(struct client *c)
{
	struct vhost_user_mem_table t = { 1, 0, { { 0, c->mem_bytes, USER_BASE, 0 } } };
	uint64_t v;
	if (!negotiate(c) || !read_capacity(c) || !share_log(c))
		return false;
	send_msg(c, VHOST_USER_SET_MEM_TABLE, &t, 8 + sizeof(t.r[0]), c->mem_fd);
	for (uint32_t i = 0; i < c->o.queues; i++)
		start_queue(c, i);
	return get_u64(c, VHOST_USER_GET_FEATURES, &v); /* all before has been done */
}

void client_connect(struct client *c)
{
	open_socket(c);
	while (!hand_over(c)) {
		(void)close(c->sock);
		open_socket(c);
	}
}

void client_reconnect(struct client *c)
{
	(void)close(c->sock);
	c->reconnects++;
	client_connect(c);
	for (unsigned i = 0; i < c->o.queues; i++) {
		uint64_t one = 1;
		if (write(c->q[i].kick, &one, sizeof(one)) < 0)
			client_die("kick");
	}
}

bool client_is_cut_off(struct client *c)
{
	char byte;
	ssize_t n = recv(c->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return !n || (n < 0 && errno != EAGAIN && errno != EINTR);
}
