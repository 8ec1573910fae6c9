/* test_vhost.c - a server of somebody else's that cannot be had: what is said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "base/err.h"
#include "base/num.h"
#include "src/vm/vm_priv.h"
#include "support/said.h"

struct fixture {
	char folder[32], path[64];
	struct gmem *mem;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct gmem_extent all = { 0, MIB };
	struct gmem_place place = { 0 };
	assert_non_null(f);
	strcpy(f->folder, "/tmp/vhost-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	assert_int_equal(gmem_create(&f->mem, &all, 1, &place), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	(void)unlink(f->path);
	(void)rmdir(f->folder);
	gmem_destroy(f->mem);
	free(f);
	return 0;
}

/* What is said when a disk of the server at @path is made. */
static void fail_to_make(struct fixture *f, char *path, struct said *s)
{
	struct vm_vhost_config d = { .option = "vhost-user-blk",
				     .path = path,
				     .id = VIRTIO_ID_BLOCK };
	struct vdev *dev = NULL;
	said_begin(s);
	enum vm_status st = vm_vhost_create(&dev, f->mem, &d, 0);
	said_end(s);
	assert_int_equal(st, VM_EXIT_HOST);
	assert_null(dev);
	assert_int_equal(said_lines(s), 1);
}

static void assert_said(const struct said *s, const char *path, const char *why)
{
	char line[512];
	(void)snprintf(line, sizeof(line), "vmm: --vhost-user-blk: %s: %s\n", path, why);
	assert_string_equal(s->text, line);
}

static struct sockaddr_un address(const struct fixture *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
	return a;
}

static int bound_socket(const struct fixture *f, int type)
{
	struct sockaddr_un a = address(f);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* --- what may lie at the path --- */

static int nothing(const struct fixture *f)
{
	(void)f;
	return -1;
}

static int a_file(const struct fixture *f)
{
	return creat(f->path, 0600);
}

static int nobody_listening(const struct fixture *f)
{
	return bound_socket(f, SOCK_STREAM);
}

static int datagrams(const struct fixture *f)
{
	return bound_socket(f, SOCK_DGRAM);
}

static const struct {
	int (*make)(const struct fixture *f);
	const char *behind; /* of the path */
	const char *why;
} wrong[] = {
	{ nothing, "", "nobody listens there; start the server first" },
	{ a_file, "", "nobody listens there; start the server first" },
	{ nobody_listening, "", "nobody listens there; start the server first" },
	{ datagrams, "", "not a stream socket, which vhost-user needs; check the path" },
	{ a_file, "/s", "a part of the path is no folder; check the path" },
};

static void what_is_wrong_with_the_path_is_said(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char path[80];
		struct said s;
		int fd = wrong[i].make(f);
		(void)snprintf(path, sizeof(path), "%s%s", f->path, wrong[i].behind);
		fail_to_make(f, path, &s);
		assert_said(&s, path, wrong[i].why);
		fd_close(fd);
		(void)unlink(f->path);
	}
}

static void a_server_that_takes_no_more_is_busy(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un a = address(f);
	struct said s;
	int waiting[16], nr = 0, fd = bound_socket(f, SOCK_STREAM);
	assert_int_equal(listen(fd, 0), 0);
	do {
		assert_in_range(nr, 0, ARRAY_SIZE(waiting) - 1);
		waiting[nr] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	} while (!connect(waiting[nr++], (struct sockaddr *)&a, sizeof(a)));
	fail_to_make(f, f->path, &s);
	assert_said(&s, f->path, "the server does not answer; it may be serving another frontend");
	while (nr)
		fd_close(waiting[--nr]);
	fd_close(fd);
}

/* One descriptor more each time, until it comes so far as to miss the server. */
static void too_few_descriptors_are_no_missing_server(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, few;
	struct said s;
	unsigned nr_few = 0;
	int first = dup(STDERR_FILENO);
	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (unsigned spare = 2;; spare++) { /* two: for struct said */
		assert_in_range(spare, 2, 20);
		few = (struct rlimit){ (rlim_t)first + spare, before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		fail_to_make(f, f->path, &s);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (strstr(s.text, "start the server first"))
			break;
		assert_said(&s, f->path,
			    "Too many open files; raise the limit of descriptors (RLIMIT_NOFILE) "
			    "with 'ulimit -n'");
		nr_few++;
	}
	assert_true(nr_few >= 3); /* two eventfds, and the socket */
}

static void a_socket_of_others_is_no_missing_server(void **state)
{
	struct fixture *f = *state;
	struct said s;
	if (geteuid() == 0)
		skip(); /* root may use any */
	int fd = bound_socket(f, SOCK_STREAM);
	assert_int_equal(chmod(f->path, 0), 0);
	fail_to_make(f, f->path, &s);
	assert_said(&s, f->path,
		    "no right to use the socket; give it to this user, or check its folders");
	fd_close(fd);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_wrong_with_the_path_is_said),
		T(a_server_that_takes_no_more_is_busy),
		T(too_few_descriptors_are_no_missing_server),
		T(a_socket_of_others_is_no_missing_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
