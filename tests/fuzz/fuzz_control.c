/*
 * fuzz_control.c - a client of the control socket that sends anything, in pieces, and reads when it
 * likes.
 *
 * Input: steps, each a byte: how many bytes of what follows to send (0: read what has come, 1: hang
 * up and connect again).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "src/vm/config_opts.h"
#include "src/vm/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sockaddr_un where = { .sun_family = AF_UNIX };

static json_t *answer(void *ctx, json_t *request, struct control_fds *fds)
{
	struct blk_limits l;
	const char *text = json_string_value(json_object_get(request, "limit"));
	(void)ctx;
	(void)fds;
	if (text && !config_parse_bps(text, &l) && !config_parse_iops(text, &l))
		return control_error("bad-request", "%s", text);
	return control_ok(json_deep_copy(request));
}

static const struct control_ops ops = { .answer = answer };

static void settle(struct control *c)
{
	struct pollfd p = { control_fd(c), POLLIN, 0 };
	for (unsigned i = 0; poll(&p, 1, 0) > 0; i++) {
		BUG_ON(i > 100000); /* it has to come to rest */
		control_run(c);
	}
}

static int client(struct control *c)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	BUG_ON(fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof(where)));
	settle(c);
	return fd;
}

/* What comes are whole lines of JSON, the last one perhaps not yet whole. */
static void hear(int fd)
{
	static char buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	if (n > 0)
		BUG_ON(memchr(buf, 0, (size_t)n));
}

static void play(struct control *c, const uint8_t *data, size_t size)
{
	int fd = client(c);
	while (size) {
		size_t n = *data++;
		size--;
		if (n == 0) {
			hear(fd);
		} else if (n == 1) {
			(void)close(fd);
			fd = client(c);
		} else {
			n = n < size ? n : size;
			(void)!send(fd, data, n, MSG_NOSIGNAL); /* or it was hung up on */
			data += n;
			size -= n;
		}
		settle(c);
	}
	hear(fd);
	(void)close(fd);
	settle(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control *c = NULL;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)snprintf(where.sun_path + 1, sizeof(where.sun_path) - 1, "vmm-fuzz-%d",
		       (int)getpid()); /* no file */
	BUG_ON(listener < 0 || bind(listener, (struct sockaddr *)&where, sizeof(where)) ||
	       listen(listener, 4));
	BUG_ON(control_create(&c, listener, &ops, NULL));
	play(c, data, size);
	control_destroy(c);
	return 0;
}
