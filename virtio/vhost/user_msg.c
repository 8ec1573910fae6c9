/* user_msg.c - see user_msg.h. */
#include "user_msg.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "base/err.h"

void user_msg_init(struct user_msg *m)
{
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < USER_MSG_MAX_FDS; i++)
		m->fds[i] = -1;
}

void user_msg_fini(struct user_msg *m)
{
	for (unsigned i = 0; i < m->nr_fds; i++)
		fd_close(user_msg_take_fd(m, i));
	m->nr_fds = 0;
}

int user_msg_take_fd(struct user_msg *m, unsigned i)
{
	return i < m->nr_fds ? take_fd(m->fds[i]) : -1;
}

static void user_msg_keep_fds(struct user_msg *m, struct msghdr *hdr)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < nr; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->nr_fds < USER_MSG_MAX_FDS)
				m->fds[m->nr_fds++] = fd;
			else
				fd_close(fd);
		}
	}
}

/* More of the @len bytes at @to. Descriptors come with whatever byte they were sent with. */
static int user_msg_fill(int sock, struct user_msg *m, void *to, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(USER_MSG_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { to, len };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;
	do {
		n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	user_msg_keep_fds(m, &hdr);
	if (!n)
		return -ECONNRESET;
	m->have += (uint32_t)n;
	return 0;
}

int user_msg_recv(int sock, struct user_msg *m, uint32_t direction)
{
	uint32_t head = sizeof(m->h);
	while (m->have < head) {
		int err = user_msg_fill(sock, m, (char *)&m->h + m->have, head - m->have);
		if (err)
			return err;
	}
	if ((m->h.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
	    (m->h.flags & VHOST_USER_REPLY) != direction || m->h.size > sizeof(m->p))
		return -EPROTO;
	while (m->have < head + m->h.size) {
		uint32_t at = m->have - head;
		int err = user_msg_fill(sock, m, (char *)&m->p + at, m->h.size - at);
		if (err)
			return err;
	}
	return 0;
}

int user_msg_send(int sock, const struct vhost_user_header *h, const void *payload, const int *fds,
		  unsigned nr)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(USER_MSG_MAX_FDS * sizeof(int))];
	} control = { 0 };
	BUG_ON(nr > USER_MSG_MAX_FDS);
	struct iovec iov[2] = {
		/* sendmsg() only reads */
		{ (void *)(uintptr_t)h, sizeof(*h) },
		{ (void *)(uintptr_t)payload, h->size },
	};
	struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = 2 };
	if (nr) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nr * sizeof(int));
	}
	ssize_t n;
	do {
		n = sendmsg(sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	return (size_t)n == sizeof(*h) + h->size ? 0 : -EAGAIN;
}
