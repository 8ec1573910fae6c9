/* test_zygote.c - device processes: made, replaced, reported, and never left behind. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "jail/zygote_rig.h"
#include "src/vm/zygote.h"

static char path[] = "/tmp/vmm-zygote-XXXXXX";
static int opens_refused; /* in the zygote: -EAGAIN so often */
static bool is_doomed;    /* the process ends before it is ready */

/* Device 0 has a file with a lock; the others have nothing. */
static int fake_open(void *ctx, unsigned dev, int *fd)
{
	(void)ctx;
	if (opens_refused > 0) {
		opens_refused--;
		return -EAGAIN;
	}
	if (dev)
		return 0;
	*fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (*fd < 0 || !fcntl(*fd, F_OFD_SETLK, &l))
		return *fd < 0 ? -errno : 0;
	fd_close(*fd);
	*fd = -1;
	return -EAGAIN;
}

/* What the frontend says, a byte each. False: it has ended. */
static bool serve_byte(const struct zygote_child *c, int *status)
{
	char b;
	if (read(c->sock, &b, 1) != 1)
		return false;
	if (b == 'x') {
		*status = 3;
		return false;
	}
	if (b == 'g') /* the descriptors that came along */
		b = write(c->gift.fds[1], "gift", 4) == 4 && c->gift.fds[0] < 0 &&
				    c->gift.counters >= 0
			    ? 'y'
			    : 'n';
	if (b == 'f')
		b = c->file >= 0 ? 'y' : 'n';
	if (b == 'r') /* what is typed on the terminal that standard error is */
		b = read(STDERR_FILENO, &b, 1) < 0 && errno == EBADF ? 'y' : 'n';
	if (b == 'e') /* and yet it can be written to */
		b = write(STDERR_FILENO, "", 0) ? 'n' : 'e';
	if (b == 't') /* it has no terminal that it could type into */
		b = open("/dev/tty", O_WRONLY | O_NOCTTY) < 0 ? 'y' : 'n';
	if (b == 'w')
		b = (char)c->gift.cols;
	return write(c->sock, &b, 1) == 1;
}

/* What main orders: 7 is done, others are not, to 11 there is no answer and to 10 there are two. */
static void serve_order(const struct zygote_child *c)
{
	struct zygote_order o;
	if (zygote_next_order(c, &o) || o.what == 11)
		return;
	zygote_order_done(c, &o, o.what == 7 && o.len == sizeof(bool) ? 0 : -EPERM);
	if (o.what == 10)
		zygote_order_done(c, &o, 0);
}

static int fake_serve(void *ctx, const struct zygote_child *c)
{
	(void)ctx;
	if (is_doomed)
		return 7;
	int status = 0;
	struct pollfd p[2] = { { c->sock, POLLIN, 0 }, { c->ready, POLLIN, 0 } };
	zygote_ready(c, 5, &c->dev, sizeof(c->dev));
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			serve_order(c);
		if (p[0].revents && !serve_byte(c, &status))
			return status;
	}
}

static int fake_order(void *ctx, unsigned dev, unsigned what, const void *arg, size_t len)
{
	(void)ctx;
	if (what == 7 && dev == 1 && len == sizeof(is_doomed))
		memcpy(&is_doomed, arg, len);
	return what >= 7 && what <= 11 ? 0 : -EDOM;
}

static rlim_t files_of_zygote; /* 0: as many as we may have */

static void fake_begin(void *ctx)
{
	(void)ctx;
	struct rlimit few = { files_of_zygote, files_of_zygote };
	if (files_of_zygote && setrlimit(RLIMIT_NOFILE, &few))
		_exit(1);
}

static const struct zygote_ops fake_ops = {
	.begin = fake_begin, .open = fake_open, .serve = fake_serve, .order = fake_order
};

static struct zygote *make(bool is_jailed)
{
	static const char *const names[] = { "block0", "rng", "console" };
	struct zygote_config cfg = {
		.ops = &fake_ops, .nr_devices = 3, .names = names, .is_jailed = is_jailed
	};
	struct zygote *z = NULL;
	assert_int_equal(zygote_create(&z, &cfg), 0);
	return z;
}

/* Wait until nobody holds the other end. */
static void await_hangup(int sock)
{
	struct pollfd p = { sock, POLLIN, 0 };
	char b;
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(read(sock, &b, 1) <= 0);
	close(sock);
}

/* Orphans come to us (main makes us their reaper): wait for the end of all of them. */
static void await_orphans(void)
{
	const struct timespec tick = { 0, 1000000 };
	pid_t pid = 0;
	for (int ms = 0; ms < PATIENCE_MS && pid >= 0; ms += !pid) {
		pid = waitpid(-1, NULL, WNOHANG);
		if (!pid)
			(void)nanosleep(&tick, NULL);
	}
	assert_int_equal(pid, -1);
}

static void makes_a_process_for_each_device(void **state)
{
	struct zygote *z = make(*state);
	for (unsigned i = 0; i < 3; i++) {
		int sock = zygote_connect(zygote_device(z, i));
		assert_true(sock >= 0);
		assert_int_equal(ask(sock, 'e'), 'e');
		assert_int_equal(ask(sock, 'f'), i ? 'n' : 'y');
		assert_int_equal(zygote_lacks(zygote_device(z, i)), 5);
		unsigned about = 77;
		zygote_about(zygote_device(z, i), &about, sizeof(about));
		assert_int_equal(about, i);
		assert_true(zygote_pid(zygote_device(z, i)) > 0);
		close(sock);
	}
	zygote_destroy(z);
}

static void replaces_a_process_and_waits_for_its_lock(void **state)
{
	struct zygote *z = make(*state);
	struct zygote_device *d = zygote_device(z, 0);
	pid_t before = 0;
	for (int i = 0; i < 20; i++) {
		int sock = zygote_connect(d);
		assert_true(sock >= 0);
		assert_int_equal(ask(sock, 'f'), 'y');
		assert_int_not_equal(zygote_pid(d), before);
		before = zygote_pid(d);
		if (i % 3 == 0)
			zygote_kill(d);
		else if (i % 3 == 1)
			kill(before, SIGKILL);
		else
			assert_int_equal(write(sock, "x", 1), 1);
		if (i % 2)
			await_hangup(sock);
		else
			close(sock);
	}
	zygote_destroy(z);
	assert_int_equal(kill(before, 0), -1);
}

/* Who starts us may ignore the ends of its children, and that is inherited. */
static void replaces_a_process_where_ends_are_ignored(void **state)
{
	(void)signal(SIGCHLD, SIG_IGN);
	struct zygote *z = make(*state);
	(void)signal(SIGCHLD, SIG_DFL);
	struct zygote_device *d = zygote_device(z, 0);
	int sock = zygote_connect(d);
	assert_true(sock >= 0);
	kill(zygote_pid(d), SIGKILL);
	await_hangup(sock);
	sock = zygote_connect(d);
	assert_true(sock >= 0);
	assert_int_equal(ask(sock, 'e'), 'e');
	close(sock);
	zygote_destroy(z);
}

static void asks_again_while_the_lock_is_held(void **state)
{
	opens_refused = 20;
	struct zygote *z = make(*state);
	opens_refused = 0;
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	close(sock);
	zygote_destroy(z);
}

static void gives_up_on_a_lock_that_stays(void **state)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	struct zygote *z = make(*state);
	/* meanwhile the others are served */
	zygote_start(zygote_device(z, 0));
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	assert_int_equal(ask(sock, 'e'), 'e');
	close(sock);
	assert_int_equal(zygote_connect(zygote_device(z, 0)), -EAGAIN);
	close(fd);
	sock = zygote_connect(zygote_device(z, 0));
	assert_true(sock >= 0);
	close(sock);
	zygote_destroy(z);
}

static void tells_of_a_process_that_never_was_ready(void **state)
{
	is_doomed = true;
	struct zygote *z = make(*state);
	is_doomed = false;
	assert_int_equal(zygote_connect(zygote_device(z, 1)), -ECANCELED);
	assert_int_equal(zygote_status(zygote_device(z, 1)), 7);
	zygote_destroy(z);
}

static void carries_out_orders_for_processes_to_come(void **state)
{
	const bool yes = true;
	bool is_done = true;
	char long_order[ZYGOTE_ORDER_BYTES + 1] = "";
	struct zygote *z = make(*state);
	assert_int_equal(zygote_order(z, 1, 7, &yes, sizeof(yes), &is_done), 0);
	assert_false(is_done); /* nobody serves yet */
	assert_int_equal(zygote_order(z, 1, 6, &yes, sizeof(yes), &is_done), -EDOM);
	assert_false(is_done);
	assert_int_equal(zygote_order(z, 99, 7, &yes, sizeof(yes), &is_done), -EINVAL);
	assert_int_equal(zygote_order(z, 1, 7, long_order, sizeof(long_order), &is_done),
			 -EMSGSIZE);
	assert_int_equal(zygote_connect(zygote_device(z, 1)), -ECANCELED);
	zygote_destroy(z);
}

static void tells_the_present_process_of_orders(void **state)
{
	const bool yes = true;
	bool is_done;
	struct zygote *z = make(*state);
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(zygote_order(z, 1, 7, &yes, sizeof(yes), &is_done), 0);
		assert_true(is_done);
		assert_int_equal(zygote_order(z, 1, 8, &yes, sizeof(yes), &is_done), 0);
		assert_false(is_done); /* it could not */
		assert_int_equal(zygote_order(z, 1, 6, &yes, sizeof(yes), &is_done), -EDOM);
		assert_false(is_done);
		assert_int_equal(ask(sock, 'e'), 'e');
	}
	assert_int_equal(zygote_order(z, 1, 11, &yes, sizeof(yes), &is_done), 0);
	assert_false(is_done);        /* it did not say */
	for (int i = 0; i < 2; i++) { /* what it still owes does no harm */
		assert_int_equal(zygote_order(z, 1, 7, &yes, sizeof(yes), &is_done), 0);
		assert_true(is_done);
	}
	close(sock);
	zygote_destroy(z);
}

static void who_says_more_than_asked_is_not_heard_again(void **state)
{
	const bool yes = true;
	bool is_done;
	struct zygote *z = make(*state);
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	for (int i = 0; i < 2; i++) { /* one word more may pass, in place of one that never came */
		assert_int_equal(zygote_order(z, 1, 10, &yes, sizeof(yes), &is_done), 0);
		assert_false(is_done);
	}
	assert_int_equal(zygote_order(z, 1, 7, &yes, sizeof(yes), &is_done), 0);
	assert_false(is_done);
	assert_int_equal(ask(sock, 'e'), 'e'); /* but serves */
	close(sock);
	zygote_destroy(z);
}

static void an_order_does_not_wait_for_the_dead(void **state)
{
	static const int signals[] = { SIGKILL, SIGKILL, SIGKILL, SIGSTOP };
	const bool yes = true;
	bool is_done;
	struct zygote *z = make(*state);
	struct zygote_device *d = zygote_device(z, 2);
	int sock = zygote_connect(d);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		assert_true(sock >= 0);
		kill(zygote_pid(d), signals[i]);
		assert_int_equal(zygote_order(z, 2, 7, &yes, sizeof(yes), &is_done), 0);
		assert_false(is_done);
		close(sock);
		sock = zygote_connect(d); /* the next one has nothing to do with it */
		assert_int_equal(ask(sock, 'e'), 'e');
	}
	close(sock);
	zygote_destroy(z);
}

static void hands_over_what_main_gives(void **state)
{
	struct zygote *z = make(*state);
	struct zygote_device *d = zygote_device(z, 2);
	int p[2];
	char text[8] = "";
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	struct zygote_gift g = {
		.fds = { -1, p[1] }, .nr_fds = 2, .cols = 'c', .rows = 1, .counters = p[1]
	};
	zygote_set_gift(d, &g);
	for (int i = 0; i < 2; i++) {
		int sock = zygote_connect(d);
		assert_true(sock >= 0);
		assert_int_equal(ask(sock, 'g'), 'y');
		assert_int_equal(ask(sock, 'w'), 'c');
		assert_int_equal(read(p[0], text, sizeof(text)), 4);
		close(sock);
	}
	zygote_destroy(z);
	close(p[1]);
	assert_int_equal(read(p[0], text, sizeof(text)), 0); /* nobody keeps it */
	close(p[0]);
}

/* What a host has too few of is named, on whichever side it is; the next try may go better. */
static void says_that_descriptors_are_short(void **state)
{
	struct zygote *z = make(*state);
	struct rlimit all, few;
	int lowest = dup(STDERR_FILENO);
	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = all;
	few.rlim_cur = (rlim_t)lowest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int err = zygote_connect(zygote_device(z, 1));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(err, -EMFILE);
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	close(sock);
	zygote_destroy(z);
}

/* Enough to poll(), and no room for what main gives. */
static void says_that_the_zygotes_are_short(void **state)
{
	files_of_zygote = 8;
	struct zygote *z = make(*state);
	files_of_zygote = 0;
	struct zygote_device *d = zygote_device(z, 2);
	struct zygote_gift g = { .nr_fds = 8, .counters = -1 };
	for (unsigned i = 0; i < g.nr_fds; i++)
		g.fds[i] = STDERR_FILENO;
	zygote_set_gift(d, &g);
	assert_int_equal(zygote_connect(d), -EMFILE);
	zygote_destroy(z);
}

static void ends_with_the_last_socket(void **state)
{
	struct zygote *z = make(*state);
	int sock[3];
	pid_t pid[3];
	for (unsigned i = 0; i < 3; i++) {
		sock[i] = zygote_connect(zygote_device(z, i));
		pid[i] = zygote_pid(zygote_device(z, i));
	}
	for (unsigned i = 0; i < 3; i++)
		close(sock[i]);
	zygote_destroy(z);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kill(pid[i], 0), -1);
}

/* Main killed at any moment: the zygote and every device go with it. */
static void leaves_nothing_when_main_is_killed(void **state)
{
	for (int round = 0; round < 10; round++) {
		int p[2];
		pid_t pids[3] = { 0 };
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		pid_t main_pid = fork();
		if (!main_pid) {
			struct zygote *z = make(*state);
			for (unsigned i = 0; i < 3; i++) {
				if (zygote_connect(zygote_device(z, i)) < 0)
					_exit(1);
				pids[i] = zygote_pid(zygote_device(z, i));
			}
			ignore(write(p[1], pids, sizeof(pids)) < 0);
			for (;;)
				pause();
		}
		close(p[1]);
		assert_int_equal(read(p[0], pids, sizeof(pids)), sizeof(pids));
		kill(main_pid, SIGKILL);
		assert_int_equal(waitpid(main_pid, NULL, 0), main_pid);
		close(p[0]);
		await_orphans();
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(kill(pids[i], 0), -1);
	}
}

static void survives_requests_that_make_no_sense(void **state)
{
	struct zygote *z = make(*state);
	int sock = zygote_connect(zygote_device(z, 0));
	assert_true(sock >= 0);
	struct zygote_device *d = zygote_device(z, 0);
	zygote_kill(d);
	zygote_kill(d);
	await_hangup(sock);
	sock = zygote_connect(d);
	assert_true(sock >= 0);
	close(sock);
	zygote_destroy(z);
}

static void keeps_none_of_mains_descriptors(void **state)
{
	int p[2];
	char b;
	assert_int_equal(pipe2(p, 0), 0);
	struct zygote *z = make(*state);
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	close(p[1]);
	assert_int_equal(read(p[0], &b, 1), 0);
	close(p[0]);
	close(sock);
	zygote_destroy(z);
}

static void devices_cannot_read_the_terminal(void **state)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), saved = dup(STDERR_FILENO);
	if (terminal < 0 || grantpt(terminal) || unlockpt(terminal))
		skip();
	int end = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(end >= 0 && dup2(end, STDERR_FILENO) == STDERR_FILENO);
	struct zygote *z = make(*state);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	int sock = zygote_connect(zygote_device(z, 1));
	assert_true(sock >= 0);
	char may_not_read = ask(sock, 'r'), may_write = ask(sock, 'e');
	close(sock);
	zygote_destroy(z);
	close(end);
	close(terminal);
	close(saved);
	assert_int_equal(may_not_read, 'y');
	assert_int_equal(may_write, 'e');
}

/* In a session of its own, whose terminal @path is: 0, or the number of what is wrong. */
static int try_with_terminal(const char *terminal, bool is_jailed)
{
	/* the first one that a leader of a session opens is its own */
	if (setsid() < 0 || open(terminal, O_RDWR) < 0)
		return 1;
	struct zygote *z = make(is_jailed);
	int sock = zygote_connect(zygote_device(z, 1));
	if (sock < 0)
		return 2;
	pid_t pid = zygote_pid(zygote_device(z, 1));
	if (ask(sock, 't') != 'y')
		return 3;
	if (getsid(pid) != getpid())
		return 4;
	return getpgid(pid) == getpid() ? 5 : 0;
}

static void devices_leave_the_terminal_but_not_the_session(void **state)
{
	int status, terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0 || grantpt(terminal) || unlockpt(terminal))
		skip();
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) /* what it made ends with it */
		_exit(try_with_terminal(ptsname(terminal), *state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(terminal);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(makes_a_process_for_each_device),
		BOTH(replaces_a_process_and_waits_for_its_lock),
		BOTH(replaces_a_process_where_ends_are_ignored),
		BOTH(asks_again_while_the_lock_is_held),
		BOTH(gives_up_on_a_lock_that_stays),
		BOTH(tells_of_a_process_that_never_was_ready),
		BOTH(carries_out_orders_for_processes_to_come),
		BOTH(tells_the_present_process_of_orders),
		BOTH(who_says_more_than_asked_is_not_heard_again),
		BOTH(an_order_does_not_wait_for_the_dead),
		BOTH(hands_over_what_main_gives),
		BOTH(says_that_descriptors_are_short),
		BOTH(says_that_the_zygotes_are_short),
		BOTH(ends_with_the_last_socket),
		BOTH(leaves_nothing_when_main_is_killed),
		BOTH(survives_requests_that_make_no_sense),
		BOTH(keeps_none_of_mains_descriptors),
		BOTH(devices_cannot_read_the_terminal),
		BOTH(devices_leave_the_terminal_but_not_the_session),
	};
	int fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 1;
	log_set_level(LOG_LEVEL_ERROR);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
