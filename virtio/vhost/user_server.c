/* user_server.c - see virtio/vhost_user.h: one frontend after the other. */
#include "virtio/vhost_user.h"
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include "base/err.h"
#include "user_priv.h"

static void user_server_cleanup(struct vhost_user_server **s)
{
	if (!*s)
		return;
	user_rings_fini(*s);
	user_dirty_fini(*s);
	notifier_fini(&(*s)->wake);
	free(*s);
}

int vhost_user_server_create(struct vhost_user_server **out, struct vdev *d)
{
	CLEANUP(user_server_cleanup) struct vhost_user_server *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->dev = d;
	s->sock = s->backend_fd = s->watch_fd = -1;
	s->beat_ms = USER_BEAT_MS;
	int err = notifier_init(&s->wake);
	if (!err)
		err = user_rings_init(s);
	if (!err)
		err = user_dirty_init(s);
	if (err)
		return err;
	d->offered |=
		1ull << VIRTIO_F_RING_PACKED; /* the ring engine can: the frontend may choose */
	vdev_attach(d, &user_host_ops, s);
	*out = take(s);
	return 0;
}

void vhost_user_server_destroy(struct vhost_user_server *s)
{
	if (!s)
		return;
	vdev_destroy(s->dev);
	s->dev = NULL;
	notifier_fini(&s->wake);
	user_dirty_fini(s);
	for (unsigned i = 0; i < VDEV_MAX_QUEUES; i++)
		notifier_fini(&s->rings[i].call);
	free(s);
}

struct vdev *vhost_user_server_vdev(struct vhost_user_server *s)
{
	return s->dev;
}

void vhost_user_server_watch(struct vhost_user_server *s, int fd, bool (*fn)(void *ctx), void *ctx)
{
	s->watch_fd = fd;
	s->watch = fn;
	s->watch_ctx = ctx;
}

/* --- what the device has to say --- */

static void user_tell_error(struct vhost_user_server *s)
{
	if (s->has_told_error || !(vdev_status(s->dev) & VIRTIO_CONFIG_S_NEEDS_RESET))
		return;
	s->has_told_error = true;
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		if (s->rings[i].err_fd >= 0)
			notifier_signal_fd(s->rings[i].err_fd);
}

/* The frontend reads the configuration again. It may be busy: then it is told the next time. */
static void user_tell_config(struct vhost_user_server *s)
{
	uint8_t generation = vdev_generation(s->dev);
	struct vhost_user_header h = { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION,
				       0 };
	if (generation == s->generation || s->backend_fd < 0)
		return;
	if (!user_msg_send(s->backend_fd, &h, NULL, NULL, 0))
		s->generation = generation;
}

static void user_tell_news(struct vhost_user_server *s)
{
	user_tell_error(s);
	user_tell_config(s);
}

/* --- the connection --- */

/* Take all messages that are there. */
static int user_receive(struct vhost_user_server *s, struct user_msg *m)
{
	for (;;) {
		int err = user_msg_recv(s->sock, m, 0);
		if (err)
			return err == -EAGAIN ? 0 : err;
		err = user_request(s, m);
		user_msg_fini(m);
		user_msg_init(m);
		if (err)
			return err;
		user_tell_news(s); /* what woke it may have come while a ring was waited for */
	}
}

static int user_converse(struct vhost_user_server *s, struct user_msg *m, int stop_fd)
{
	struct pollfd p[4] = { { s->sock, POLLIN, 0 },
			       { s->wake.fd, POLLIN, 0 },
			       { stop_fd, POLLIN, 0 },
			       { s->watch_fd, POLLIN, 0 } };
	for (;;) {
		if (poll(p, 4, user_beat(s)) < 0)
			continue; /* EINTR; nothing else can happen to good descriptors */
		if (p[2].revents)
			return -ECANCELED;
		if (p[3].revents && !s->watch(s->watch_ctx))
			p[3].fd = s->watch_fd = -1;
		if (p[1].revents) {
			(void)notifier_consume(&s->wake); /* looked up below */
			user_tell_news(s);
		}
		int err = p[0].revents ? user_receive(s, m) : 0;
		if (err)
			return err;
	}
}

/* Nothing of the frontend stays. */
static void user_forget(struct vhost_user_server *s)
{
	user_reset_device(s);
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		s->rings[i].base = 0;
	vdev_set_mem(s->dev, NULL);
	user_mem_fini(&s->mem);
	user_log_fini(&s->log);
	user_dirty_forget(s);
	fd_close(take_fd(s->backend_fd));
	s->features = s->protocol = 0;
	s->sock = -1;
}

int vhost_user_server_serve(struct vhost_user_server *s, int sock, int stop_fd)
{
	struct user_msg m;
	s->sock = sock;
	s->generation = vdev_generation(s->dev);
	user_msg_init(&m);
	int err = user_converse(s, &m, stop_fd);
	user_msg_fini(&m);
	user_forget(s);
	return err == -ECONNRESET ? 0 : err == -EAGAIN ? -EPROTO : err;
}
