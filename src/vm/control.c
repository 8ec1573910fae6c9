/* control.c - see control.h. */
#include "control.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"

#define CONTROL_EVENTS     8
#define CONTROL_READ_BYTES 4096u

struct control_client {
	int fd; /* -1: a free place */
	struct control_fds fds;
	json_t *request; /* which waits for fds.later; NULL: none */
	uint64_t heard;  /* when its last request, or itself, came: see control.ticks */
	char *in;
	size_t in_len, in_cap;
	char *out; /* what is left of a reply; NULL: nothing */
	size_t out_len, out_at;
	bool is_leaving; /* hang up once the reply is out */
	bool is_behind;  /* there is another line in @in */
};

struct control {
	int epoll_fd, listener;
	int spare_fd; /* given up for a moment to turn a client away without descriptors */
	uint64_t ticks;
	const struct control_ops *ops;
	void *ctx;
	struct control_client clients[CONTROL_MAX_CLIENTS];
};

/* --- replies --- */

json_t *control_ok(json_t *result)
{
	return result ? json_pack("{s:b, s:o}", "ok", 1, "result", result) : NULL;
}

json_t *control_error(const char *code, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine */
	va_end(ap);
	/* what a client sent may be no text at all, and then comes back without its odd bytes */
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
	return json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", code, "text", text);
}

/* --- a client --- */

static void client_init(struct control_client *cl, int fd)
{
	*cl = (struct control_client){ .fd = fd, .fds = { -1, -1 } };
}

static void client_drop(struct control_client *cl)
{
	fd_close(cl->fd); /* leaves the epoll set by itself */
	fd_close(cl->fds.gift);
	fd_close(cl->fds.later);
	json_decref(cl->request);
	free(cl->in);
	free(cl->out);
	client_init(cl, -1);
}

/* The reply comes later. What the client sends until then lies in its socket. */
static void client_wait(struct control *c, struct control_client *cl)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = cl };
	(void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, cl->fd, NULL); /* it is in there */
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, cl->fds.later, &e))
		client_drop(cl);
}

static void client_watch(struct control *c, struct control_client *cl)
{
	if (cl->request) {
		client_wait(c, cl);
		return;
	}
	/* whoever is behind is served when it can take a reply, which is now or soon */
	uint32_t events = cl->out || cl->is_behind ? EPOLLOUT : EPOLLIN;
	struct epoll_event e = { .events = events, .data.ptr = cl };
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, cl->fd, &e))
		client_drop(cl);
}

/* Send what is left. False: the client is gone. */
static bool client_send(struct control_client *cl)
{
	while (cl->out_at < cl->out_len) {
		ssize_t n = send(cl->fd, cl->out + cl->out_at, cl->out_len - cl->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno != EINTR) {
			client_drop(cl);
			return false;
		}
		cl->out_at += n > 0 ? (size_t)n : 0;
	}
	free(cl->out);
	cl->out = NULL;
	if (cl->is_leaving)
		client_drop(cl);
	return cl->fd >= 0;
}

/* Takes @reply over; NULL: out of memory. False: the client is gone. */
static bool client_reply(struct control_client *cl, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;
	json_decref(reply);
	if (!line) {
		free(text);
		client_drop(cl);
		return false;
	}
	memcpy(line + len, "\n", 2);
	cl->out = line;
	cl->out_len = len + 1;
	cl->out_at = 0;
	return client_send(cl);
}

/* The request's "id" goes back as it came; a name or a number, so that it stays small. */
static json_t *control_with_id(json_t *reply, json_t *request)
{
	json_t *id = json_object_get(request, "id");
	bool is_good = json_is_string(id) || json_is_integer(id);
	if (reply && json_object_set(reply, "id", is_good ? id : json_null())) {
		json_decref(reply);
		return NULL;
	}
	return reply;
}

static json_t *control_reply_to(struct control *c, struct control_client *cl, const char *line,
				size_t len)
{
	json_error_t why;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	json_t *reply;
	if (!request)
		reply = control_error("bad-request", "not JSON: %s", why.text);
	else if (!json_is_object(request))
		reply = control_error("bad-request", "not a JSON object");
	else
		reply = c->ops->answer(c->ctx, request, &cl->fds);
	if (cl->fds.later >= 0) {
		cl->request = request;
		return NULL;
	}
	reply = control_with_id(reply, request);
	json_decref(request);
	return reply;
}

/* Serve one line, if a whole one is there: others have their turn too. False: the client is gone.
 */
static bool client_serve(struct control *c, struct control_client *cl)
{
	char *end = cl->in_len ? memchr(cl->in, '\n', cl->in_len) : NULL;
	cl->is_behind = false;
	if (end) {
		size_t len = (size_t)(end - cl->in);
		cl->heard = ++c->ticks;
		json_t *reply = control_reply_to(c, cl, cl->in, len);
		cl->in_len -= len + 1;
		memmove(cl->in, end + 1, cl->in_len);
		cl->is_behind = memchr(cl->in, '\n', cl->in_len);
		return cl->request || client_reply(cl, reply);
	}
	if (cl->in_len < CONTROL_LINE_BYTES)
		return true;
	cl->is_leaving = true;
	return client_reply(
		cl, control_with_id(control_error("bad-request", "a line of more than %d bytes",
						  CONTROL_LINE_BYTES),
				    NULL));
}

/* False: there is no memory for more. */
static bool client_make_room(struct control_client *cl)
{
	if (cl->in_cap - cl->in_len >= CONTROL_READ_BYTES || cl->in_cap == CONTROL_LINE_BYTES)
		return true;
	size_t cap = min_size(2 * cl->in_cap + CONTROL_READ_BYTES, CONTROL_LINE_BYTES);
	char *more = realloc(cl->in, cap);
	if (!more)
		return false;
	cl->in = more;
	cl->in_cap = cap;
	return true;
}

/* As recv(); a descriptor that comes along takes the place of the one before. */
static ssize_t client_recv(struct control_client *cl, void *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { buf, len };
	/* room for just one: the kernel keeps the others back */
	struct msghdr h = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n = recvmsg(cl->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *m = n < 0 ? NULL : CMSG_FIRSTHDR(&h);
	if (m && m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_RIGHTS &&
	    m->cmsg_len == CMSG_LEN(sizeof(int))) {
		fd_close(cl->fds.gift);
		memcpy(&cl->fds.gift, CMSG_DATA(m), sizeof(int));
	}
	return n;
}

/* One read's worth of its requests; the others come next time. */
static void client_read(struct control *c, struct control_client *cl)
{
	if (!client_make_room(cl)) {
		client_drop(cl);
		return;
	}
	ssize_t n = client_recv(cl, cl->in + cl->in_len, cl->in_cap - cl->in_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_drop(cl);
		return;
	}
	cl->in_len += (size_t)n;
	if (client_serve(c, cl))
		client_watch(c, cl);
}

static void client_write(struct control *c, struct control_client *cl)
{
	if (cl->out && (!client_send(cl) || cl->out))
		return;
	if (client_serve(c, cl))
		client_watch(c, cl);
}

static void client_finish(struct control *c, struct control_client *cl)
{
	json_t *request = cl->request;
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = cl };
	json_t *reply = control_with_id(c->ops->finish(c->ctx, request, cl->fds.later), request);
	cl->request = NULL;
	json_decref(request);
	(void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, cl->fds.later, NULL); /* it is in there */
	fd_close(take_fd(cl->fds.later)); /* which leaves by itself only if nobody has a copy */
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, cl->fd, &e)) {
		json_decref(reply);
		client_drop(cl);
	} else if (client_reply(cl, reply)) {
		client_watch(c, cl);
	}
}

/* --- coming and going --- */

/* A free place, or that of whoever was quiet for the longest time. NULL: all wait for replies. */
static struct control_client *control_place(struct control *c)
{
	struct control_client *oldest = NULL;
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_client *cl = &c->clients[i];
		if (cl->fd < 0)
			return cl;
		if (!cl->request && (!oldest || cl->heard < oldest->heard))
			oldest = cl;
	}
	if (oldest)
		client_drop(oldest);
	return oldest;
}

/* Without descriptors the client would wait for ever, and we would be called again and again. */
static void control_turn_away(struct control *c)
{
	fd_close(c->spare_fd);
	fd_close(accept4(c->listener, NULL, NULL, SOCK_CLOEXEC));
	c->spare_fd = fcntl(c->listener, F_DUPFD_CLOEXEC, 0);
}

static void control_accept(struct control *c)
{
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			control_turn_away(c);
		return;
	}
	struct control_client *cl = control_place(c);
	if (!cl) {
		fd_close(fd);
		return;
	}
	client_init(cl, fd);
	cl->heard = ++c->ticks;
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = cl };
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
		client_drop(cl);
		return;
	}
	json_t *hello = json_pack("{s:s, s:i}", "vmm", VMM_VERSION, "control", CONTROL_PROTOCOL);
	if (client_reply(cl, hello) && cl->out)
		client_watch(c, cl);
}

void control_run(struct control *c)
{
	struct epoll_event e[CONTROL_EVENTS];
	int n = epoll_wait(c->epoll_fd, e, CONTROL_EVENTS, 0);
	for (int i = 0; i < n; i++) {
		struct control_client *cl = e[i].data.ptr;
		if (!cl)
			control_accept(c);
		else if (cl->fd < 0)
			continue; /* made room for another just now */
		else if (cl->request)
			client_finish(c, cl);
		else if (cl->out || cl->is_behind)
			client_write(c, cl);
		else
			client_read(c, cl);
	}
}

int control_fd(const struct control *c)
{
	return c->epoll_fd;
}

static void control_cleanup(struct control **c)
{
	control_destroy(*c);
}

int control_create(struct control **out, int listener, const struct control_ops *ops, void *ctx)
{
	CLEANUP(control_cleanup) struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		client_init(&c->clients[i], -1);
	c->listener = -1;
	c->ops = ops;
	c->ctx = ctx;
	c->spare_fd = fcntl(listener, F_DUPFD_CLOEXEC, 0);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN };
	if (c->epoll_fd < 0 || c->spare_fd < 0 ||
	    epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, listener, &e))
		return -errno;
	c->listener = listener;
	*out = take(c);
	return 0;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			client_drop(&c->clients[i]);
	fd_close(c->listener);
	fd_close(c->spare_fd);
	fd_close(c->epoll_fd);
	free(c);
}
