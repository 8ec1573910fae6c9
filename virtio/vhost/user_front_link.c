/* user_front_link.c - see front_priv.h: one connection to a server, and the only place that sleeps.
 */
#include <errno.h>
#include <sys/socket.h>
#include "base/err.h"
#include "base/num.h"
#include "front_priv.h"

/* A wait is cut into parts, so that time in which this process was stopped does not count. */
#define LINK_PARTS 8

void front_link_init(struct front_link *l)
{
	*l = (struct front_link){ .sock = -1, .backend_fd = -1 };
	user_msg_init(&l->in);
	user_msg_init(&l->backend_in);
}

void front_link_close(struct front *f)
{
	user_msg_fini(&f->link.in);
	user_msg_fini(&f->link.backend_in);
	fd_close(f->link.sock);
	fd_close(f->link.backend_fd);
	front_link_init(&f->link);
}

/* --- the server's own channel --- */

static void link_next(struct user_msg *m)
{
	user_msg_fini(m);
	user_msg_init(m);
}

/* One message; what we cannot do is answered with a failure where an answer is wanted. */
static int link_backend_request(struct front *f, struct user_msg *m)
{
	bool is_known = m->h.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
	struct vhost_user_header h = { m->h.request, VHOST_USER_VERSION | VHOST_USER_REPLY,
				       sizeof(uint64_t) };
	uint64_t failed = !is_known;
	f->link.owes_config |= is_known;
	if (!(m->h.flags & VHOST_USER_NEED_REPLY))
		return is_known ? 0 : -EPROTO;
	return user_msg_send(f->link.backend_fd, &h, &failed, NULL, 0);
}

static int link_backend_receive(struct front *f)
{
	struct user_msg *m = &f->link.backend_in;
	int err = user_msg_recv(f->link.backend_fd, m, 0);
	if (err == -ECONNRESET) { /* says no more; whether it is gone tells the socket */
		fd_close(take_fd(f->link.backend_fd));
		link_next(m);
		return 0;
	}
	if (err)
		return err == -EAGAIN ? 0 : err;
	err = link_backend_request(f, m);
	link_next(m);
	return err;
}

/* --- waiting --- */

struct link_poll {
	struct pollfd p[4 + VDEV_MAX_QUEUES];
	uint16_t idx[VDEV_MAX_QUEUES]; /* of the rings behind the first four */
	nfds_t nr;
};

enum { LINK_WAKE, LINK_ERR, LINK_SOCK, LINK_BACKEND, LINK_FIRST_RING };

/* Interrupts that go to a function, not to the eventfd the server has, must be moved on by us. */
static bool link_is_relayed(const struct front_queue *q)
{
	return q->is_live && q->setup.call && q->setup.call->fd >= 0 &&
	       notifier_has_fn(q->setup.call);
}

static void link_poll_fill(struct front *f, struct link_poll *lp, short sock_events)
{
	lp->p[LINK_WAKE] = (struct pollfd){ f->wake.fd, POLLIN, 0 };
	lp->p[LINK_ERR] = (struct pollfd){ f->broken.fd, POLLIN, 0 };
	lp->p[LINK_SOCK] = (struct pollfd){ f->link.sock, sock_events, 0 };
	lp->p[LINK_BACKEND] = (struct pollfd){ f->link.backend_fd, POLLIN, 0 };
	lp->nr = LINK_FIRST_RING;
	for (uint16_t i = 0; i < f->dev.nr_queues; i++) {
		if (!link_is_relayed(&f->q[i]))
			continue;
		lp->idx[lp->nr - LINK_FIRST_RING] = i;
		lp->p[lp->nr++] = (struct pollfd){ f->q[i].setup.call->fd, POLLIN, 0 };
	}
}

static void link_relay(struct front *f, const struct link_poll *lp)
{
	for (nfds_t i = LINK_FIRST_RING; i < lp->nr; i++) {
		struct notifier *call = f->q[lp->idx[i - LINK_FIRST_RING]].setup.call;
		/* in MSI-X mode the count is the pending bit, and not ours to take */
		if ((lp->p[i].revents & POLLIN) && notifier_has_fn(call) && notifier_consume(call))
			notifier_signal_shared(call); /* the driver may just choose MSI-X */
	}
}

/* One poll. Returns what is up with the socket, or an error of the server's own channel. */
static int link_poll_once(struct front *f, short sock_events, int ms)
{
	struct link_poll lp;
	link_poll_fill(f, &lp, sock_events);
	if (poll(lp.p, lp.nr, ms) < 0)
		return 0; /* EINTR; nothing else can happen to good descriptors */
	if (lp.p[LINK_WAKE].revents) {
		(void)notifier_consume(&f->wake); /* what it means is looked up anyway */
		f->has_news = true;
	}
	link_relay(f, &lp);
	if (lp.p[LINK_ERR].revents && notifier_consume(&f->broken))
		f->is_broken = true;
	if (lp.p[LINK_BACKEND].revents) {
		int err = link_backend_receive(f);
		if (err)
			return err;
	}
	return (unsigned short)lp.p[LINK_SOCK].revents;
}

/* How long an answer may still take, however many pieces it comes in. */
struct link_patience {
	unsigned parts, part_ms;
};

static struct link_patience link_patience(unsigned ms)
{
	return (struct link_patience){ LINK_PARTS, ms / LINK_PARTS + 1 };
}

/* Until the socket can be read or written. */
static int link_await(struct front *f, short events, struct link_patience *left)
{
	while (left->parts) {
		uint64_t until = clock_ns() + (uint64_t)left->part_ms * NSEC_PER_MSEC;
		int got = link_poll_once(f, events, (int)left->part_ms);
		left->parts -= clock_ns() >= until;
		if (got)
			return got < 0 ? got : 0;
	}
	return -ETIMEDOUT;
}

int front_sleep(struct front *f, int ms)
{
	int got = link_poll_once(f, POLLIN, ms);
	/* between requests a server has nothing to say here: it hung up, or is out of its mind */
	if (got > 0) {
		link_next(&f->link.in);
		got = user_msg_recv(f->link.sock, &f->link.in, VHOST_USER_REPLY);
		return got == -ECONNRESET ? got : -EPROTO;
	}
	return got;
}

/* --- requests --- */

static int link_send(struct front *f, const struct front_request *r, uint32_t flags)
{
	struct vhost_user_header h = { r->id, VHOST_USER_VERSION | flags, r->len };
	struct link_patience left = link_patience(f->cfg.answer_ms);
	for (;;) {
		int err = user_msg_send(f->link.sock, &h, r->payload, r->fds, r->nr_fds);
		if (err != -EAGAIN)
			return err;
		err = link_await(f, POLLOUT, &left);
		if (err)
			return err;
	}
}

/* The answer to @id, of @len bytes. */
static int link_receive(struct front *f, uint32_t id, uint32_t len, unsigned ms)
{
	struct user_msg *m = &f->link.in;
	struct link_patience left = link_patience(ms);
	link_next(m);
	for (;;) {
		int err = link_await(f, POLLIN, &left);
		if (!err)
			err = user_msg_recv(f->link.sock, m, VHOST_USER_REPLY);
		if (!err)
			break;
		if (err != -EAGAIN)
			return err;
	}
	return m->h.request == id && m->h.size == len ? 0 : -EPROTO;
}

int front_tell(struct front *f, const struct front_request *r)
{
	return link_send(f, r, 0);
}

int front_ask(struct front *f, const struct front_request *r, uint32_t len, unsigned ms)
{
	int err = link_send(f, r, 0);
	return err ? err : link_receive(f, r->id, len, ms);
}

int front_demand(struct front *f, const struct front_request *r)
{
	bool can_ack = front_has(f, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	int err = link_send(f, r, can_ack ? VHOST_USER_NEED_REPLY : 0);
	if (err || !can_ack)
		return err;
	err = link_receive(f, r->id, sizeof(uint64_t), f->cfg.answer_ms);
	if (err)
		return err;
	return f->link.in.p.u64 ? -EREMOTEIO : 0;
}

int front_get_u64(struct front *f, uint32_t id, uint64_t *out)
{
	struct front_request r = { .id = id };
	int err = front_ask(f, &r, sizeof(*out), f->cfg.answer_ms);
	if (!err)
		*out = f->link.in.p.u64;
	return err;
}

int front_tell_u64(struct front *f, uint32_t id, uint64_t value)
{
	struct front_request r = { .id = id, .payload = &value, .len = sizeof(value) };
	return front_tell(f, &r);
}

int front_tell_state(struct front *f, uint32_t id, uint32_t idx, uint32_t num)
{
	struct vhost_user_vring_state s = { idx, num };
	struct front_request r = { .id = id, .payload = &s, .len = sizeof(s) };
	return front_tell(f, &r);
}

int front_tell_fd(struct front *f, uint32_t id, uint32_t idx, int fd)
{
	uint64_t value = idx | (fd < 0 ? VHOST_USER_NO_FD : 0);
	struct front_request r = { id, &value, sizeof(value), &fd, fd >= 0 };
	return front_tell(f, &r);
}
