/* test_endpoint.c - the host's end of a port: what is opened, how, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "src/vm/endpoint.h"

static char why[ENDPOINT_WHY];

static int setup(void **state)
{
	char *folder = strdup("/tmp/endpoint-XXXXXX");
	*state = folder;
	return mkdtemp(folder) ? chdir(folder) : -1;
}

static int teardown(void **state)
{
	int err = chdir("/") || rmdir(*state);
	free(*state);
	return err;
}

/* Each writer of a FIFO is heard, not just the first; nobody is waited for. */
static void a_fifo_is_input_from_one_writer_after_the_other(void **state)
{
	char got[16];
	struct endpoint e;
	const struct vm_serial_config s = { .type = VM_SERIAL_SINK, .input = "in" };
	(void)state;
	assert_int_equal(mkfifo("in", 0600), 0);
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), 0);
	for (unsigned i = 0; i < 3; i++) {
		int fd = open("in", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, "ls\n", 3), 3);
		close(fd);
		assert_int_equal(read(e.in_fd, got, sizeof(got)), 3);
		assert_int_equal(read(e.in_fd, got, sizeof(got)), -1); /* 0 would be the end */
		assert_int_equal(errno, EAGAIN);
	}
	endpoint_close(&e, false);
	assert_int_equal(unlink("in"), 0);
}

static void a_folder_is_no_input(void **state)
{
	struct endpoint e;
	const struct vm_serial_config s = { .type = VM_SERIAL_SINK, .input = "/" };
	(void)state;
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), -EISDIR);
	assert_string_equal(why, "cannot read /");
}

/* POLLHUP is how a device knows that nobody reads. */
static void nobody_has_a_new_terminal_open(void **state)
{
	const struct vm_serial_config s = { .type = VM_SERIAL_PTY, .num = 1 };
	struct endpoint e;
	struct termios t;
	char name[64];
	(void)state;
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), 0);
	struct pollfd p = { .fd = e.out_fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	assert_int_equal(ptsname_r(e.out_fd, name, sizeof(name)), 0);
	int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(far >= 0 && !tcgetattr(far, &t));
	assert_int_equal(t.c_lflag & (tcflag_t)(ICANON | ECHO | ISIG), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(write(e.out_fd, "text", 4), 4);
	assert_int_equal(read(far, name, sizeof(name)), 4);
	close(far);
	endpoint_close(&e, false);
}

/* Its queue is full, and it accepts nobody: a stopped server, as one that is being debugged. */
static void a_server_that_accepts_nobody_is_not_waited_for(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "socket" };
	struct endpoint e;
	const struct vm_serial_config s = { .type = VM_SERIAL_UNIX, .path = "socket" };
	(void)state;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), first;
	assert_true(server >= 0 && !bind(server, (struct sockaddr *)&a, sizeof(a)));
	assert_int_equal(listen(server, 0), 0);
	first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(first >= 0 && !connect(first, (struct sockaddr *)&a, sizeof(a)));
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), -ETIMEDOUT);
	assert_string_equal(why, "cannot connect to socket");
	close(first);
	close(server);
	assert_int_equal(unlink("socket"), 0);
}

static void a_file_that_was_made_for_a_vm_that_never_ran_goes_away(void **state)
{
	struct endpoint e;
	const struct vm_serial_config s = { .type = VM_SERIAL_FILE, .path = "log" };
	(void)state;
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), 0);
	endpoint_close(&e, false);
	assert_int_equal(access("log", F_OK), -1);
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), 0);
	assert_int_equal(write(e.out_fd, "x", 1), 1);
	endpoint_close(&e, true);
	assert_int_equal(endpoint_open(&e, &s, NULL, NULL, why), 0); /* it was there before */
	endpoint_close(&e, false);
	assert_int_equal(unlink("log"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fifo_is_input_from_one_writer_after_the_other),
		cmocka_unit_test(a_folder_is_no_input),
		cmocka_unit_test(nobody_has_a_new_terminal_open),
		cmocka_unit_test(a_server_that_accepts_nobody_is_not_waited_for),
		cmocka_unit_test(a_file_that_was_made_for_a_vm_that_never_ran_goes_away),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
