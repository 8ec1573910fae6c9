/* test_reactor.c - operations and stopping, on every engine. */
#include "rig.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/clock.h"

static int scratch_file(const void *text, size_t len)
{
	char path[] = "/var/tmp/vmm-test-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	return fd;
}

/* --- one operation at a time --- */

struct file_job {
	int fd;
	struct iovec iov[3];
	unsigned nr;
	int64_t off;
	struct rig_op op;
};

static void start_read(struct reactor *r, void *arg)
{
	struct file_job *j = arg;
	reactor_readv(r, &j->op.op, j->fd, j->iov, j->nr, j->off);
	assert_int_equal(atomic_load(&j->op.times), 0); /* never from inside the call */
}

static void start_write(struct reactor *r, void *arg)
{
	struct file_job *j = arg;
	reactor_writev(r, &j->op.op, j->fd, j->iov, j->nr, j->off, 0);
}

static void start_sync(struct reactor *r, void *arg)
{
	struct file_job *j = arg;
	reactor_fdatasync(r, &j->op.op, j->fd);
}

static void start_punch(struct reactor *r, void *arg)
{
	struct file_job *j = arg;
	reactor_fallocate(r, &j->op.op, j->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096,
			  4096);
}

static int32_t do_job(struct rig *g, struct file_job *j, void (*start)(struct reactor *, void *))
{
	rig_op_init(&j->op);
	rig_call(g, start, j);
	int32_t res = rig_result(&j->op);
	assert_int_equal(atomic_load(&j->op.times), 1);
	return res;
}

static void reads_and_writes_in_one_piece_and_in_several(void **state)
{
	(void)state;
	struct rig g;
	char a[8] = "", b[8] = "";
	int fd = scratch_file("0123456789", 10);
	rig_make(&g, 8);
	rig_start(&g);
	struct file_job j = { .fd = fd, .iov = { { a, 4 }, { b, 3 } }, .nr = 1, .off = 2 };
	assert_int_equal(do_job(&g, &j, start_read), 4);
	assert_memory_equal(a, "2345", 4);
	j.nr = 2;
	j.off = 1;
	assert_int_equal(do_job(&g, &j, start_read), 7);
	assert_memory_equal(a, "1234", 4);
	assert_memory_equal(b, "567", 3);
	j.off = 8;
	assert_int_equal(do_job(&g, &j, start_read), 2); /* short at the end of the file */
	j.off = 10;
	assert_int_equal(do_job(&g, &j, start_read), 0);
	memcpy(a, "abcd", 4);
	memcpy(b, "xyz", 3);
	j.off = 3;
	assert_int_equal(do_job(&g, &j, start_write), 7);
	char all[10];
	assert_int_equal(pread(fd, all, 10, 0), 10);
	assert_memory_equal(all, "012abcdxyz", 10);
	assert_int_equal(do_job(&g, &j, start_sync), 0);
	rig_end(&g);
	close(fd);
}

static void punches_holes(void **state)
{
	(void)state;
	struct rig g;
	static char data[3 * 4096];
	memset(data, 'x', sizeof(data));
	int fd = scratch_file(data, sizeof(data));
	rig_make(&g, 8);
	rig_start(&g);
	struct file_job j = { .fd = fd };
	int32_t res = do_job(&g, &j, start_punch);
	rig_end(&g);
	if (res == -EOPNOTSUPP) {
		close(fd);
		skip();
	}
	assert_int_equal(res, 0);
	assert_int_equal(pread(fd, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(data[4095], 'x');
	assert_int_equal(data[4096], 0);
	assert_int_equal(data[8191], 0);
	assert_int_equal(data[8192], 'x');
	close(fd);
}

static void an_error_goes_to_its_operation(void **state)
{
	(void)state;
	struct rig g;
	char a[4];
	rig_make(&g, 8);
	rig_start(&g);
	struct file_job j = { .fd = 9999, .iov = { { a, 4 } }, .nr = 1 };
	assert_int_equal(do_job(&g, &j, start_read), -EBADF);
	assert_int_equal(do_job(&g, &j, start_sync), -EBADF);
	j.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	assert_int_equal(do_job(&g, &j, start_write), -ENOSPC);
	close(j.fd);
	j.fd = scratch_file("abcd", 4);
	j.iov[0].iov_base = (void *)8; /* a hole of guest memory looks like this */
	assert_int_equal(do_job(&g, &j, start_read), -EFAULT);
	close(j.fd);
	rig_end(&g);
}

/* --- waits --- */

struct wait_job {
	int fd;
	uint64_t ns;
	uint64_t value;
	struct iovec iov;
	struct rig_op op;
	struct rig_op *victim;
};

static void start_poll(struct reactor *r, void *arg)
{
	struct wait_job *j = arg;
	reactor_poll_fd(r, &j->op.op, j->fd, POLLIN);
}

static void start_stream(struct reactor *r, void *arg)
{
	struct wait_job *j = arg;
	j->iov = (struct iovec){ &j->value, sizeof(j->value) };
	reactor_readv(r, &j->op.op, j->fd, &j->iov, 1, -1);
}

static void start_timeout(struct reactor *r, void *arg)
{
	struct wait_job *j = arg;
	reactor_timeout(r, &j->op.op, j->ns);
}

static void cancel(struct reactor *r, void *arg)
{
	struct wait_job *j = arg;
	reactor_cancel(r, &j->op.op);
	reactor_cancel(r, &j->op.op); /* twice is once */
}

static void count_cancels(struct reactor *r, void *arg)
{
	*(unsigned *)arg = r->cancels_wanted;
}

static void start_and_cancel(struct reactor *r, void *arg)
{
	start_poll(r, arg);
	cancel(r, arg);
}

static void streams_wait_until_there_is_something(void **state)
{
	(void)state;
	static const int flags[] = { 0, EFD_NONBLOCK }; /* a flag must not make it come at once */
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct rig g;
		struct wait_job j = { .fd = eventfd(0, EFD_CLOEXEC | flags[i]) };
		rig_make(&g, 8);
		rig_start(&g);
		rig_op_init(&j.op);
		rig_call(&g, start_stream, &j);
		usleep(2000);
		assert_int_equal(atomic_load(&j.op.times), 0);
		assert_int_equal(eventfd_write(j.fd, 7), 0);
		assert_int_equal(rig_result(&j.op), 8);
		assert_int_equal(j.value, 7);
		unsigned wanted = 0;
		rig_call(&g, cancel, &j); /* too late */
		rig_call(&g, count_cancels, &wanted);
		assert_int_equal(wanted, 0);
		rig_end(&g);
		close(j.fd);
	}
}

static void look_around(struct reactor *r, void *arg)
{
	(void)r;
	(void)arg;
}

/* Whoever shares an eventfd may have the count between a poll and a read. */
static void a_count_that_is_taken_away_holds_nobody_up(void **state)
{
	(void)state;
	struct rig g;
	struct wait_job j = { .fd = eventfd(0, EFD_CLOEXEC) };
	rig_make(&g, 8);
	rig_start(&g);
	(void)alarm(60);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t count;
		struct iovec iov = { &count, sizeof(count) };
		rig_op_init(&j.op);
		rig_call(&g, start_stream, &j);
		assert_int_equal(eventfd_write(j.fd, 1), 0);
		for (uint64_t end_ns = clock_ns() + i % 200 * 500; clock_ns() < end_ns;)
			; /* to come at each moment once */
		if (preadv2(j.fd, &iov, 1, -1, RWF_NOWAIT) > 0) {
			rig_call(&g, look_around, NULL);
			assert_int_equal(eventfd_write(j.fd, 1), 0);
		}
		assert_int_equal(rig_result(&j.op), 8);
	}
	(void)alarm(0);
	rig_end(&g);
	close(j.fd);
}

static void a_poll_tells_what_is_ready(void **state)
{
	(void)state;
	struct rig g;
	struct wait_job j = { .fd = eventfd(0, EFD_CLOEXEC) };
	rig_make(&g, 8);
	rig_start(&g);
	rig_op_init(&j.op);
	rig_call(&g, start_poll, &j);
	assert_int_equal(eventfd_write(j.fd, 1), 0);
	assert_true(rig_result(&j.op) & POLLIN);
	rig_end(&g);
	close(j.fd);
}

/* One that never sleeps has no kernel to wake it: it has to look at what it waits for. */
static void waits_end_while_it_looks_out(void **state)
{
	(void)state;
	static struct uring_sys sys;
	const struct reactor_config cfg = { .entries = 8, .spin_ns = REACTOR_SPIN_ALWAYS };
	struct rig g;
	struct wait_job poll = { .fd = eventfd(0, EFD_CLOEXEC) }, timeout = { .ns = 1000000 };
	sys = uring_sys_real;
	rig_make_with(&g, &cfg, &sys);
	rig_start(&g);
	rig_op_init(&poll.op);
	rig_op_init(&timeout.op);
	rig_call(&g, start_timeout, &timeout);
	assert_int_equal(rig_result(&timeout.op), -ETIME);
	rig_call(&g, start_poll, &poll);
	usleep(1000); /* the passes for the message are over */
	assert_int_equal(eventfd_write(poll.fd, 1), 0);
	assert_int_equal(rig_result(&poll.op), POLLIN);
	rig_end(&g);
	close(poll.fd);
}

/* However late we look: the later one does not hold up the earlier, which was asked for after it.
 */
static void a_timeout_passes_before_a_later_one(void **state)
{
	(void)state;
	struct rig g;
	struct wait_job slow = { .ns = 3600ull * 1000000000 }, fast = { .ns = 1000000ull };
	rig_make(&g, 8);
	rig_start(&g);
	rig_op_init(&slow.op);
	rig_op_init(&fast.op);
	rig_call(&g, start_timeout, &slow);
	rig_call(&g, start_timeout, &fast);
	assert_int_equal(rig_result(&fast.op), -ETIME);
	assert_int_equal(atomic_load(&slow.op.times), 0);
	rig_call(&g, cancel, &slow);
	assert_int_equal(rig_result(&slow.op), -ECANCELED);
	rig_end(&g);
}

static void each_kind_of_wait_can_be_cancelled(void **state)
{
	(void)state;
	static void (*const starts[])(struct reactor *, void *) = { start_poll, start_stream,
								    start_timeout };
	struct rig g;
	rig_make(&g, 8);
	rig_start(&g);
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		struct wait_job j = { .fd = eventfd(0, EFD_CLOEXEC), .ns = 3600ull * 1000000000 };
		rig_op_init(&j.op);
		rig_call(&g, starts[i], &j);
		usleep(1000);
		rig_call(&g, cancel, &j);
		assert_int_equal(rig_result(&j.op), -ECANCELED);
		rig_op_init(&j.op); /* and be started again */
		rig_call(&g, start_and_cancel, &j);
		assert_int_equal(rig_result(&j.op), -ECANCELED);
		usleep(1000);
		assert_int_equal(atomic_load(&j.op.times), 1);
		rig_call(&g, cancel, &j); /* no longer in flight: nothing happens */
		close(j.fd);
	}
	rig_end(&g);
}

/* --- more than the ring holds --- */

#define MANY 700
struct many {
	int fd;
	char byte[MANY];
	struct iovec iov[MANY];
	struct rig_op ops[MANY];
};

static void start_many_reads(struct reactor *r, void *arg)
{
	struct many *m = arg;
	for (unsigned i = 0; i < MANY; i++) {
		m->iov[i] = (struct iovec){ &m->byte[i], 1 };
		reactor_readv(r, &m->ops[i].op, m->fd, &m->iov[i], 1, i);
	}
}

static void start_many_polls(struct reactor *r, void *arg)
{
	struct many *m = arg;
	for (unsigned i = 0; i < MANY; i++)
		reactor_poll_fd(r, &m->ops[i].op, m->fd, POLLIN);
}

static void cancel_many(struct reactor *r, void *arg)
{
	struct many *m = arg;
	for (unsigned i = 0; i < MANY; i++)
		reactor_cancel(r, &m->ops[i].op);
}

static void start_and_cancel_many(struct reactor *r, void *arg)
{
	start_many_polls(r, arg); /* most of them are still in the backlog */
	cancel_many(r, arg);
}

static struct many *many_new(int fd)
{
	struct many *m = calloc(1, sizeof(*m));
	assert_non_null(m);
	m->fd = fd;
	for (unsigned i = 0; i < MANY; i++)
		rig_op_init(&m->ops[i]);
	return m;
}

static void many_expect(struct many *m, int32_t res)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(rig_result(&m->ops[i]), res);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(atomic_load(&m->ops[i].times), 1);
}

static void more_operations_than_entries_all_complete_once(void **state)
{
	(void)state;
	struct rig g;
	static char data[MANY];
	for (unsigned i = 0; i < MANY; i++)
		data[i] = (char)i;
	struct many *m = many_new(scratch_file(data, sizeof(data)));
	rig_make(&g, 4);
	rig_start(&g);
	rig_call(&g, start_many_reads, m);
	many_expect(m, 1);
	assert_memory_equal(m->byte, data, MANY);
	rig_end(&g);
	close(m->fd);
	free(m);
}

static void more_completions_than_the_ring_holds_are_not_lost(void **state)
{
	(void)state;
	struct rig g;
	struct many *m = many_new(eventfd(0, EFD_CLOEXEC));
	rig_make(&g, 4); /* 8 completions */
	rig_start(&g);
	rig_call(&g, start_many_polls, m);
	usleep(2000);
	assert_int_equal(eventfd_write(m->fd, 1), 0); /* all at once */
	many_expect(m, POLLIN);
	rig_end(&g);
	close(m->fd);
	free(m);
}

static void many_are_cancelled_wherever_they_are(void **state)
{
	(void)state;
	struct rig g;
	struct many *m = many_new(eventfd(0, EFD_CLOEXEC));
	rig_make(&g, 4);
	rig_start(&g);
	rig_call(&g, start_and_cancel_many, m);
	many_expect(m, -ECANCELED);
	for (unsigned i = 0; i < MANY; i++)
		rig_op_init(&m->ops[i]);
	rig_call(&g, start_many_polls, m);
	usleep(1000);
	rig_call(&g, cancel_many, m);
	many_expect(m, -ECANCELED);
	rig_end(&g);
	close(m->fd);
	free(m);
}

/* Enters that find no memory, while there are any left. */
static _Atomic int failing_enters;

static int enter_without_memory(unsigned fd, unsigned submit, unsigned wait_for, unsigned flags)
{
	if (atomic_load(&failing_enters) > 0 && atomic_fetch_sub(&failing_enters, 1) > 0)
		return -EAGAIN;
	return uring_sys_real.enter(fd, submit, wait_for, flags);
}

#define FULL 7 /* waits, and the mailbox: all entries */

static void start_and_cancel_full(struct reactor *r, void *arg)
{
	struct many *m = arg;
	for (unsigned i = 0; i < FULL; i++)
		reactor_poll_fd(r, &m->ops[i].op, m->fd, POLLIN);
	for (unsigned i = 0; i < FULL; i++)
		reactor_cancel(r, &m->ops[i].op);
	atomic_store(&failing_enters, 2); /* of this pass and the next: then it may sleep */
}

static void it_does_not_sleep_on_cancels_without_an_entry(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	const struct reactor_config cfg = { .entries = FULL + 1 };
	struct rig g;
	struct many *m = many_new(eventfd(0, EFD_CLOEXEC));
	sys.enter = enter_without_memory;
	rig_make_with(&g, &cfg, &sys);
	rig_start(&g);
	rig_call(&g, start_and_cancel_full, m);
	for (unsigned i = 0; i < FULL; i++)
		assert_int_equal(rig_result(&m->ops[i]), -ECANCELED);
	rig_end(&g);
	close(m->fd);
	free(m);
}

/* --- stopping --- */

struct stop_job {
	struct many *reads, *polls;
	struct reactor *r;
	struct wait_job late;
	struct reactor_op again;
	_Atomic unsigned again_res;
};

static void start_both(struct reactor *r, void *arg)
{
	struct stop_job *j = arg;
	start_many_polls(r, j->polls);
	start_many_reads(r, j->reads);
}

static void stopping_finishes_file_io_and_cancels_waits(void **state)
{
	(void)state;
	struct rig g;
	static char data[MANY];
	struct stop_job j = { .reads = many_new(scratch_file(data, sizeof(data))),
			      .polls = many_new(eventfd(0, EFD_CLOEXEC)) };
	rig_make(&g, 4);
	rig_start(&g);
	rig_call(&g, start_both, &j);
	rig_end(&g);
	many_expect(j.reads, 1);
	many_expect(j.polls, -ECANCELED);
	close(j.reads->fd);
	close(j.polls->fd);
	free(j.reads);
	free(j.polls);
}

static void start_late(struct reactor_op *op, int32_t res)
{
	struct stop_job *j = container_of(op, struct stop_job, again);
	atomic_store(&j->again_res, (unsigned)-res);
	start_timeout(j->r, &j->late);
}

static void start_first(struct reactor *r, void *arg)
{
	struct stop_job *j = arg;
	reactor_timeout(r, &j->again, 3600ull * 1000000000);
}

static void a_wait_that_starts_while_stopping_is_refused(void **state)
{
	(void)state;
	struct rig g;
	struct stop_job j = { .again.done = start_late };
	rig_make(&g, 4);
	j.r = g.r;
	j.late.ns = 3600ull * 1000000000;
	rig_op_init(&j.late.op);
	rig_start(&g);
	rig_call(&g, start_first, &j);
	rig_end(&g);
	assert_int_equal(atomic_load(&j.again_res), ECANCELED);
	assert_int_equal(rig_result(&j.late.op), -ECANCELED);
	assert_int_equal(atomic_load(&j.late.op.times), 1);
}

static void what_was_started_before_the_loop_runs_in_it(void **state)
{
	(void)state;
	struct rig g;
	static char data[MANY];
	struct many *m = many_new(scratch_file(data, sizeof(data)));
	rig_make(&g, 4);
	start_many_reads(g.r, m);
	reactor_stop(g.r);
	rig_start(&g);
	thread_join(g.t);
	many_expect(m, 1);
	reactor_destroy(g.r);
	close(m->fd);
	free(m);
}

static void signals_do_no_harm(void **state)
{
	(void)state;
	struct rig g;
	struct wait_job j = { .fd = eventfd(0, EFD_CLOEXEC) };
	rig_make(&g, 8);
	rig_start(&g);
	rig_op_init(&j.op);
	rig_call(&g, start_stream, &j);
	for (unsigned i = 0; i < 20; i++) {
		thread_signal(g.t);
		usleep(200);
	}
	assert_int_equal(atomic_load(&j.op.times), 0);
	assert_int_equal(eventfd_write(j.fd, 5), 0);
	assert_int_equal(rig_result(&j.op), 8);
	rig_end(&g);
	close(j.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_in_one_piece_and_in_several),
		cmocka_unit_test(punches_holes),
		cmocka_unit_test(an_error_goes_to_its_operation),
		cmocka_unit_test(streams_wait_until_there_is_something),
		cmocka_unit_test(a_count_that_is_taken_away_holds_nobody_up),
		cmocka_unit_test(a_poll_tells_what_is_ready),
		cmocka_unit_test(waits_end_while_it_looks_out),
		cmocka_unit_test(a_timeout_passes_before_a_later_one),
		cmocka_unit_test(each_kind_of_wait_can_be_cancelled),
		cmocka_unit_test(more_operations_than_entries_all_complete_once),
		cmocka_unit_test(more_completions_than_the_ring_holds_are_not_lost),
		cmocka_unit_test(many_are_cancelled_wherever_they_are),
		cmocka_unit_test(it_does_not_sleep_on_cancels_without_an_entry),
		cmocka_unit_test(stopping_finishes_file_io_and_cancels_waits),
		cmocka_unit_test(a_wait_that_starts_while_stopping_is_refused),
		cmocka_unit_test(what_was_started_before_the_loop_runs_in_it),
		cmocka_unit_test(signals_do_no_harm),
	};
	return rig_run_all(tests);
}
