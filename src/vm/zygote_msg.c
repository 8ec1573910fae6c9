/* zygote_msg.c - see zygote_priv.h: a message with descriptors over a socket pair. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "base/err.h"
#include "base/num.h"
#include "zygote_priv.h"

union zygote_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(ZYGOTE_REQUEST_FDS * sizeof(int))];
};

int zygote_send(int sock, const void *msg, size_t len, const int *fds, unsigned nr)
{
	union zygote_control c = { 0 };
	struct iovec v = { (void *)(uintptr_t)msg, len };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };
	BUG_ON(nr > ZYGOTE_REQUEST_FDS);
	if (nr) {
		h.msg_control = c.buf;
		h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		struct cmsghdr *m = CMSG_FIRSTHDR(&h);
		m->cmsg_level = SOL_SOCKET;
		m->cmsg_type = SCM_RIGHTS;
		m->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(m), fds, nr * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static unsigned zygote_take_fds(struct msghdr *h, int fds[ZYGOTE_REQUEST_FDS])
{
	unsigned nr = 0;
	for (struct cmsghdr *m = CMSG_FIRSTHDR(h); m; m = CMSG_NXTHDR(h, m)) {
		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		unsigned n = (unsigned)((m->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n && nr < ZYGOTE_REQUEST_FDS; i++)
			memcpy(&fds[nr++], CMSG_DATA(m) + i * sizeof(int), sizeof(int));
	}
	return nr;
}

int zygote_recv(int sock, void *msg, size_t len, int fds[ZYGOTE_REQUEST_FDS], unsigned *nr,
		bool wait)
{
	union zygote_control c;
	struct iovec v = { msg, len };
	struct msghdr h = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = c.buf,
			    .msg_controllen = sizeof(c.buf) };
	ssize_t n;
	do
		n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	*nr = 0;
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (!n)
		return -EPIPE;
	*nr = zygote_take_fds(&h, fds);
	if ((size_t)n == len && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	while (*nr)
		fd_close(fds[--*nr]);
	/* there is room for all that are ever sent: the rest is more than this process may have */
	return h.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
}

bool zygote_request_is_sane(const struct zygote_request *r, unsigned nr)
{
	uint32_t known = (1u << min_u32(r->nr_fds, ZYGOTE_MAX_FDS)) - 1;
	return r->nr_fds <= ZYGOTE_MAX_FDS && !(r->fd_map & ~(known | 1u << ZYGOTE_MAX_FDS)) &&
	       (unsigned)__builtin_popcount(r->fd_map) == nr;
}
