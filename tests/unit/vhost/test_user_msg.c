/* test_user_msg.c - single vhost-user messages: their length, and their descriptors. */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/num.h"
#include "../../../virtio/vhost/user_msg.h"

struct wire {
	int ours, theirs;
	struct user_msg m;
};

static int setup(void **state)
{
	static struct wire w;
	int socks[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	w.ours = socks[0];
	w.theirs = socks[1];
	user_msg_init(&w.m);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct wire *w = *state;
	user_msg_fini(&w->m);
	fd_close(w->ours);
	fd_close(w->theirs);
	return 0;
}

static void send_part(const struct wire *w, const void *data, size_t len, const int *fds,
		      unsigned nr)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(USER_MSG_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(c), fds, nr * sizeof(int));
	assert_int_equal(sendmsg(w->ours, &hdr, 0), len);
}

static void a_payload_is_no_longer_than_there_is_room(void **state)
{
	struct wire *w = *state;
	static const uint8_t payload[sizeof(w->m.p)];
	static const uint32_t too_long[] = { sizeof(payload) + 1, INT32_MAX, UINT32_MAX };
	struct vhost_user_header h = { VHOST_USER_SET_CONFIG, VHOST_USER_VERSION, sizeof(payload) };
	assert_int_equal(send(w->ours, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(user_msg_recv(w->theirs, &w->m, 0), -EAGAIN);
	assert_int_equal(send(w->ours, payload, sizeof(payload), 0), sizeof(payload));
	assert_int_equal(user_msg_recv(w->theirs, &w->m, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(too_long); i++) {
		user_msg_init(&w->m);
		h.size = too_long[i];
		assert_int_equal(send(w->ours, &h, sizeof(h), 0), sizeof(h));
		assert_int_equal(user_msg_recv(w->theirs, &w->m, 0), -EPROTO);
	}
}

/* Each part of a message may bring as many as a whole one: what is too many is closed. */
static void descriptors_beyond_the_room_are_closed(void **state)
{
	struct wire *w = *state;
	int fds[USER_MSG_MAX_FDS], pipes[2];
	uint64_t payload = 0;
	struct vhost_user_header h = { VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION,
				       sizeof(payload) };
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = pipes[0];
	send_part(w, &h, sizeof(h), fds, USER_MSG_MAX_FDS);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = pipes[1];
	send_part(w, &payload, sizeof(payload), fds, 3);
	assert_int_equal(user_msg_recv(w->theirs, &w->m, 0), 0);
	assert_int_equal(w->m.nr_fds, USER_MSG_MAX_FDS);
	fd_close(pipes[1]);
	char c;
	assert_int_equal(read(pipes[0], &c, 1), 0); /* the end: nobody has it open for writing */
	fd_close(pipes[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_payload_is_no_longer_than_there_is_room),
		TEST(descriptors_beyond_the_room_are_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
