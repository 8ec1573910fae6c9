/* test_control.c - the control socket against clients that break every rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "src/vm/control.h"
#include "src/vm/listen.h"

#define BIG 200000

struct fixture {
	char folder[64], path[100];
	struct listen_place place;
	struct control *c;
	unsigned served;
};

/*
 * "big": a long reply; "none": no memory; "take": a descriptor; "wait": until the descriptor that
 * came can be read; else the request comes back.
 */
static json_t *answer(void *ctx, json_t *request, struct control_fds *fds)
{
	struct fixture *f = ctx;
	const char *what = json_string_value(json_object_get(request, "do"));
	f->served++;
	if (what && !strcmp(what, "none"))
		return NULL;
	if (what && !strcmp(what, "take")) {
		char byte = 0;
		ssize_t n = fds->gift < 0 ? -1 : read(fds->gift, &byte, 1);
		fd_close(take_fd(fds->gift));
		return control_ok(n == 1 ? json_integer(byte) : json_null());
	}
	if (what && !strcmp(what, "wait")) {
		fds->later = take_fd(fds->gift);
		return NULL;
	}
	if (!what || strcmp(what, "big") != 0)
		return control_ok(json_deep_copy(request));
	char *text = malloc(BIG + 1);
	assert_non_null(text);
	memset(text, 'x', BIG);
	text[BIG] = 0;
	json_t *o = control_ok(json_string(text));
	free(text);
	return o;
}

static json_t *finish(void *ctx, json_t *request, int later)
{
	char byte = 0;
	(void)ctx;
	assert_string_equal(json_string_value(json_object_get(request, "do")), "wait");
	return read(later, &byte, 1) == 1 ? control_ok(json_integer(byte)) : NULL;
}

static const struct control_ops ops = { .answer = answer, .finish = finish };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int listener;
	strcpy(f->folder, "/tmp/vmm-control-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	assert_int_equal(listen_at(f->path, 8, 0600, &listener, &f->place), VM_EXIT_OK);
	assert_int_equal(control_create(&f->c, listener, &ops, f), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	control_destroy(f->c);
	listen_remove(&f->place);
	assert_int_equal(rmdir(f->folder), 0); /* nothing is left */
	free(f);
	return 0;
}

/* Let it do all that it can do. */
static void settle(struct fixture *f)
{
	struct pollfd p = { control_fd(f->c), POLLIN, 0 };
	for (unsigned i = 0; poll(&p, 1, 0) > 0; i++) {
		assert_true(i < 100000);
		control_run(f->c);
	}
}

static int client(struct fixture *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	strcpy(a.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	settle(f);
	return fd;
}

static void say(struct fixture *f, int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			return; /* hung up on */
		}
		settle(f);
	}
	settle(f);
}

/* What has come so far, up to the end of @buf. -1: hung up with nothing left. */
static int hear(struct fixture *f, int fd, char *buf, size_t cap)
{
	size_t at = 0;
	for (;;) {
		settle(f);
		ssize_t n = recv(fd, buf + at, cap - 1 - at, 0);
		if (n <= 0) {
			bool is_end = n == 0 || errno != EAGAIN;
			buf[at] = 0;
			return is_end && !at ? -1 : (int)at;
		}
		at += (size_t)n;
	}
}

static int greeted(struct fixture *f)
{
	char buf[200];
	int fd = client(f);
	assert_true(hear(f, fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "\"control\":1}\n"));
	return fd;
}

static void expect(struct fixture *f, int fd, const char *text, const char *want)
{
	char buf[4096];
	say(f, fd, text, strlen(text));
	assert_true(hear(f, fd, buf, sizeof(buf)) > 0);
	if (!strstr(buf, want) || buf[strlen(buf) - 1] != '\n')
		fail_msg("'%s': '%s', not '%s'", text, buf, want);
}

static void answers_each_request_with_its_id(void **state)
{
	struct fixture *f = *state;
	int fd = greeted(f);
	expect(f, fd, "{\"id\":1,\"do\":\"x\"}\n",
	       "\"ok\":true,\"result\":{\"id\":1,\"do\":\"x\"},\"id\":1}");
	expect(f, fd, "{\"id\":\"a b\"}\n", "\"id\":\"a b\"}\n");
	expect(f, fd, "{\"id\":[1]}\n", "\"id\":null}\n");
	expect(f, fd, "{}\n", "\"id\":null}\n");
	expect(f, fd, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n", "\"id\":3},\"id\":3}\n");
	assert_int_equal(f->served, 7);
	close(fd);
}

static void lines_may_come_in_pieces(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	int fd = greeted(f);
	for (const char *s = "{\"id\":5}"; *s; s++)
		say(f, fd, s, 1);
	assert_int_equal(hear(f, fd, buf, sizeof(buf)), 0);
	assert_int_equal(f->served, 0);
	expect(f, fd, "\n{\"id\":6", "\"id\":5},\"id\":5}\n");
	expect(f, fd, "}\n", "\"id\":6},\"id\":6}\n");
	close(fd);
}

static const struct {
	const char *text, *want;
} rubbish[] = {
	{ "\n", "not JSON" },
	{ "hello\n", "not JSON" },
	{ "{\"id\":1\n", "not JSON" },
	{ "{\"id\":1}}\n", "not JSON" },
	{ "{\"id\":1,\"id\":2}\n", "not JSON" },
	{ "[]\n", "not a JSON object" },
	{ "[1,2]\n", "not a JSON object" },
	{ "\xff\xfe\xfd\n", "not JSON" },
	{ "{\"id\":99999999999999999999999}\n", "not JSON" },
	{ "{\"id\":1e999}\n", "not JSON" },
	{ "{\"a\":\"\\ud800\"}\n", "not JSON" },
};

static void says_what_is_wrong_and_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd = greeted(f);
	for (size_t i = 0; i < ARRAY_SIZE(rubbish); i++) {
		expect(f, fd, rubbish[i].text, rubbish[i].want);
		expect(f, fd, rubbish[i].text, "{\"ok\":false,\"error\":{\"code\":\"bad-request\"");
	}
	expect(f, fd, "{\"id\":1}\n", "\"ok\":true");
	say(f, fd, "{\"id\":\0}\n", 9); /* a zero byte */
	expect(f, fd, "", "bad-request");
	char deep[20002];
	memset(deep, '[', 20000);
	memcpy(deep + 20000, "\n", 2);
	expect(f, fd, deep, "bad-request");
	assert_int_equal(f->served, 1);
	close(fd);
}

static void hangs_up_on_endless_lines(void **state)
{
	struct fixture *f = *state;
	char buf[400], *much = malloc(1 << 20);
	assert_non_null(much);
	memset(much, 'a', 1 << 20);
	int fd = greeted(f), other = greeted(f);
	say(f, fd, much, 1 << 20);
	int n = hear(f, fd, buf, sizeof(buf));
	assert_true(n < 0 || strstr(buf, "a line of more than 65536 bytes"));
	assert_int_equal(hear(f, fd, buf, sizeof(buf)), -1);
	/* as long as may be */
	memset(much, ' ', CONTROL_LINE_BYTES);
	memcpy(much, "{\"id\":1}", 8);
	much[CONTROL_LINE_BYTES - 1] = '\n';
	say(f, other, much, CONTROL_LINE_BYTES);
	expect(f, other, "", "\"ok\":true");
	close(fd);
	close(other);
	free(much);
}

static void a_slow_reader_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	int slow = greeted(f);
	for (unsigned i = 0; i < 100; i++)
		(void)!send(slow, "{\"do\":\"big\"}\n", 13, MSG_NOSIGNAL); /* what fits */
	settle(f);
	unsigned stuck = f->served;
	assert_true(stuck < 20);
	int fd = greeted(f);
	for (int i = 0; i < 100; i++)
		expect(f, fd, "{\"id\":1}\n", "\"ok\":true");
	assert_int_equal(f->served, stuck + 100); /* the slow one got no further */
	/* it reads at last: each reply comes whole */
	char *buf = malloc(BIG * 2);
	size_t lines = 0, bytes = 0;
	assert_non_null(buf);
	for (int n; lines < 100 && (n = hear(f, slow, buf, BIG * 2)) > 0; bytes += (size_t)n)
		for (int i = 0; i < n; i++)
			lines += buf[i] == '\n';
	assert_int_equal(lines, 100);
	assert_int_equal(f->served, 200);
	assert_true(bytes > 100 * BIG);
	free(buf);
	close(slow);
	close(fd);
}

static void a_disconnect_in_mid_reply_costs_nothing(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 100; i++) {
		int fd = client(f);
		(void)!send(fd, "{\"do\":\"big\"}\n{\"do\":\"big\"}\n{\"do", 31, MSG_NOSIGNAL);
		settle(f);
		close(fd);
		settle(f);
	}
	int fd = greeted(f);
	expect(f, fd, "{\"id\":1}\n", "\"ok\":true");
	close(fd);
}

static void the_quietest_client_makes_place(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	int busy = greeted(f), fds[100];
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = greeted(f);
		expect(f, busy, "{\"id\":1}\n", "\"ok\":true");
	}
	unsigned alive = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		alive += hear(f, fds[i], buf, sizeof(buf)) == 0;
		close(fds[i]);
	}
	assert_int_equal(alive, CONTROL_MAX_CLIENTS - 1);
	expect(f, busy, "{\"id\":1}\n", "\"ok\":true");
	close(busy);
}

static void without_descriptors_clients_are_turned_away(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	struct rlimit old, low;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strcpy(a.sun_path, f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){ (rlim_t)fd + 1, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	int err = connect(fd, (struct sockaddr *)&a, sizeof(a));
	settle(f); /* comes to rest */
	int heard = hear(f, fd, buf, sizeof(buf));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(err, 0);
	assert_int_equal(heard, -1);
	close(fd);
	fd = greeted(f);
	expect(f, fd, "{\"id\":1}\n", "\"ok\":true");
	close(fd);
}

static void no_memory_for_a_reply_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	int fd = greeted(f);
	say(f, fd, "{\"do\":\"none\"}\n", 14);
	assert_int_equal(hear(f, fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void an_error_has_no_odd_bytes(void **state)
{
	(void)state;
	json_t *o = control_error("c", "what\n%s\x80", "\x01ok");
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "error"), "text")),
			    "what??ok?");
	json_decref(o);
}

/* Say @text along with @nr times @gift. */
static void say_with(struct fixture *f, int fd, const char *text, int gift, unsigned nr)
{
	int fds[8];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(fds))];
	} c = { 0 };
	struct iovec v = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = c.buf };
	h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
	struct cmsghdr *m = CMSG_FIRSTHDR(&h);
	m->cmsg_level = SOL_SOCKET;
	m->cmsg_type = SCM_RIGHTS;
	m->cmsg_len = CMSG_LEN(nr * sizeof(int));
	for (unsigned i = 0; i < nr; i++)
		fds[i] = gift;
	memcpy(CMSG_DATA(m), fds, nr * sizeof(int));
	assert_int_equal(sendmsg(fd, &h, MSG_NOSIGNAL), strlen(text));
	settle(f);
}

static void a_descriptor_goes_with_a_request(void **state)
{
	struct fixture *f = *state;
	int p[2], fd = greeted(f);
	char b;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "\7\11", 2), 2);
	expect(f, fd, "{\"do\":\"take\"}\n", "\"result\":null");
	/* earlier requests in the same breath leave it alone */
	say_with(f, fd, "{\"id\":1}\n{\"do\":\"take\"}\n", p[0], 1);
	expect(f, fd, "", "\"result\":7");
	expect(f, fd, "{\"do\":\"take\"}\n", "\"result\":null");
	/* of several one is kept, of one after the other the last */
	say_with(f, fd, "{\"do\"", p[1], 8);
	say_with(f, fd, ":\"take\"}\n", p[0], 1);
	expect(f, fd, "", "\"result\":9");
	/* what nobody takes ends with the connection */
	say_with(f, fd, "{\"id\":2}\n", p[1], 1);
	close(p[1]);
	close(fd);
	settle(f);
	assert_int_equal(read(p[0], &b, 1), 0);
	close(p[0]);
}

#define WAIT "{\"do\":\"wait\",\"id\":7}\n"

static void a_reply_that_comes_later_holds_up_its_client_alone(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	int p[2], fd = greeted(f), other = greeted(f);
	assert_int_equal(pipe(p), 0);
	say_with(f, fd, WAIT "{\"id\":8}\n", p[0], 1);
	say(f, fd, "{\"id\":9}\n", 9);
	expect(f, other, "{\"id\":1}\n", "\"id\":1}\n");
	assert_int_equal(hear(f, fd, buf, sizeof(buf)), 0);
	assert_int_equal(write(p[1], "\3", 1), 1);
	expect(f, fd, "",
	       "{\"ok\":true,\"result\":3,\"id\":7}\n"
	       "{\"ok\":true,\"result\":{\"id\":8},\"id\":8}\n"
	       "{\"ok\":true,\"result\":{\"id\":9},\"id\":9}\n");
	/* what it was to be told is done, whether it stays or not */
	say_with(f, fd, WAIT, p[0], 1);
	close(fd);
	settle(f);
	assert_int_equal(write(p[1], "\3", 1), 1);
	settle(f);
	struct pollfd left = { p[0], POLLIN, 0 };
	assert_int_equal(poll(&left, 1, 0), 0);
	close(p[0]);
	assert_int_equal(write(p[1], "\3", 1), -1); /* nobody has the other end any more */
	close(p[1]);
	close(other);
}

static void who_waits_for_a_reply_keeps_the_place(void **state)
{
	struct fixture *f = *state;
	char buf[200];
	int p[2], q[2], fds[CONTROL_MAX_CLIENTS];
	assert_int_equal(pipe(p) + pipe(q), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = greeted(f);
		say_with(f, fds[i], WAIT, i ? q[0] : p[0], 1);
	}
	int late = client(f);
	assert_int_equal(hear(f, late, buf, sizeof(buf)), -1);
	close(late);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		assert_int_equal(hear(f, fds[i], buf, sizeof(buf)), 0);
	assert_int_equal(write(p[1], "\3", 1), 1);
	settle(f);
	late = greeted(f);
	close(late);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(p[0]);
	close(p[1]);
	close(q[0]); /* most still wait when all ends */
	close(q[1]);
}

static void the_socket_is_ours_alone(void **state)
{
	struct fixture *f = *state;
	struct listen_place place = { 0 };
	struct stat st;
	int fd;
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(listen_at(f->path, 1, 0600, &fd, &place), VM_EXIT_USAGE); /* in use */
	char path[120];
	(void)snprintf(path, sizeof(path), "%s/file", f->folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(listen_at(path, 1, 0600, &fd, &place), VM_EXIT_USAGE); /* no socket */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(listen_at("/nowhere/s", 1, 0600, &fd, &place), VM_EXIT_USAGE);
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(listen_at(path, 1, 0600, &fd, &place), VM_EXIT_USAGE);
	assert_string_equal(place.path, "");
}

static void a_dead_socket_is_replaced_and_another_left_alone(void **state)
{
	struct fixture *f = *state;
	struct listen_place first = { 0 }, second = { 0 };
	char path[120];
	int fd;
	(void)snprintf(path, sizeof(path), "%s/t", f->folder);
	assert_int_equal(listen_at(path, 1, 0600, &fd, &first), VM_EXIT_OK);
	close(fd); /* died without tidying up */
	assert_int_equal(listen_at(path, 1, 0600, &fd, &second), VM_EXIT_OK);
	listen_remove(&first); /* is not its own any more */
	assert_int_equal(access(path, F_OK), 0);
	listen_remove(&second);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	assert_int_equal(listen_at(f->folder, 1, 0600, &fd, &first), VM_EXIT_OK);
	assert_non_null(strstr(first.path, "/vmm-")); /* a folder: a name made up */
	listen_remove(&first);
	close(fd);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers_each_request_with_its_id),
		T(lines_may_come_in_pieces),
		T(says_what_is_wrong_and_goes_on),
		T(hangs_up_on_endless_lines),
		T(a_slow_reader_holds_up_nobody),
		T(a_disconnect_in_mid_reply_costs_nothing),
		T(the_quietest_client_makes_place),
		T(without_descriptors_clients_are_turned_away),
		T(no_memory_for_a_reply_ends_the_connection),
		T(an_error_has_no_odd_bytes),
		T(a_descriptor_goes_with_a_request),
		T(a_reply_that_comes_later_holds_up_its_client_alone),
		T(who_waits_for_a_reply_keeps_the_place),
		T(the_socket_is_ours_alone),
		T(a_dead_socket_is_replaced_and_another_left_alone),
	};
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
