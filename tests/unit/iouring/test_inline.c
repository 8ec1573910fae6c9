/* test_inline.c - when the reactor's own thread writes into the page cache. */
#include "rig.h"
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define PENANCE 16u

/* A file system played: what its next writes answer, and how many there were of each kind. */
static struct {
	ssize_t res; /* or negative errno */
	int nowait_err;
	unsigned interrupts; /* answers of EINTR first */
	bool is_slow;
	unsigned nowait, plain;
	const struct inline_writes *writer;
	bool was_busy; /* the writer said so during the last plain write */
} fs;

static ssize_t fs_writev(int fd, const struct iovec *iov, int nr, off_t off, int flags)
{
	(void)fd;
	(void)iov;
	(void)nr;
	(void)off;
	if (flags & RWF_NOWAIT) {
		fs.nowait++;
		errno = fs.nowait_err;
		return fs.nowait_err ? -1 : fs.res;
	}
	if (fs.interrupts) {
		fs.interrupts--;
		errno = EINTR;
		return -1;
	}
	fs.plain++;
	fs.was_busy = fs.writer && fs.writer->is_busy;
	if (fs.is_slow) /* what is tested is that time, not an order */
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	errno = fs.res < 0 ? (int)-fs.res : 0;
	return fs.res < 0 ? -1 : fs.res;
}

static const struct uring_sys fs_sys = { .writev = fs_writev };

static bool write_once(struct inline_writes *w, int32_t *res)
{
	struct iovec iov = { NULL, 0 };
	*res = -1000;
	return inline_write(w, &fs_sys, 3, &iov, 1, 0, res);
}

static int reset(void **state)
{
	(void)state;
	memset(&fs, 0, sizeof(fs));
	fs.res = 4096;
	return 0;
}

static void says_that_it_is_in_a_write(void **state)
{
	(void)state;
	static const ssize_t results[] = { 4096, -EIO };
	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		struct inline_writes w = { .kind = INLINE_MAY };
		int32_t res;
		fs.writer = &w;
		fs.was_busy = false;
		fs.res = results[i];
		assert_true(write_once(&w, &res));
		assert_int_equal(res, results[i]);
		assert_true(fs.was_busy);
		assert_false(w.is_busy);
	}
}

static void leaves_writes_that_cannot_block_to_the_ring(void **state)
{
	(void)state;
	static const int errs[] = { 0, EAGAIN, EIO };
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		struct inline_writes w = { 0 };
		int32_t res;
		fs.nowait = 0;
		fs.nowait_err = errs[i];
		assert_int_equal(write_once(&w, &res), !errs[i]); /* the probe is a write */
		if (!errs[i])
			assert_int_equal(res, 4096);
		assert_false(write_once(&w, &res));
		assert_int_equal(fs.nowait, 1);
		assert_int_equal(fs.plain, 0);
	}
}

static void writes_itself_where_the_kernel_would_use_a_thread(void **state)
{
	(void)state;
	struct inline_writes w = { 0 };
	int32_t res;
	fs.nowait_err = EOPNOTSUPP;
	fs.interrupts = 2;
	assert_true(write_once(&w, &res));
	assert_int_equal(res, 4096);
	fs.res = -ENOSPC;
	w.penance = 0; /* the machine may have been slow */
	assert_true(write_once(&w, &res));
	assert_int_equal(res, -ENOSPC);
	fs.res = -EAGAIN; /* not final: the ring knows what to do */
	w.penance = 0;
	assert_false(write_once(&w, &res));
	assert_int_equal(fs.nowait, 1);
	assert_int_equal(fs.plain, 3);
}

static void large_ones_go_to_the_ring(void **state)
{
	(void)state;
	struct inline_writes w = { .kind = INLINE_MAY };
	int32_t res;
	struct iovec iov[2] = { { NULL, 60000 }, { NULL, 5537 } };
	assert_false(inline_write(&w, &fs_sys, 3, iov, 2, 0, &res));
	iov[1].iov_len = 5536;
	assert_true(inline_write(&w, &fs_sys, 3, iov, 2, 0, &res));
	assert_int_equal(fs.plain, 1);
}

static unsigned refused_in_a_row(struct inline_writes *w)
{
	int32_t res;
	unsigned n = 0;
	while (n < 5000 && !write_once(w, &res))
		n++;
	return n;
}

static void one_that_blocks_sends_the_next_ones_to_the_ring(void **state)
{
	(void)state;
	struct inline_writes w = { .kind = INLINE_MAY };
	int32_t res;
	fs.is_slow = true;
	assert_true(write_once(&w, &res));
	assert_int_equal(res, 4096); /* done all the same */
	assert_int_equal(refused_in_a_row(&w), PENANCE);
	assert_int_equal(refused_in_a_row(&w), 2 * PENANCE);
	for (unsigned i = 0; i < 10; i++)
		(void)refused_in_a_row(&w);
	assert_int_equal(w.penance, 1024);
	assert_int_equal(w.next_penance, 1024);
	fs.is_slow = false;
	for (unsigned i = 0; i < 10 && w.next_penance;
	     i++) /* the machine may be slow now and then */
		(void)refused_in_a_row(&w);
	assert_int_equal(w.next_penance, 0);
}

/* --- through the reactor --- */

struct job {
	struct rig_op op;
	struct iovec iov;
	int fd;
	bool was_done_inside;
};

static void start_cached(struct reactor *r, void *arg)
{
	struct job *j = arg;
	reactor_writev_cached(r, &j->op.op, j->fd, &j->iov, 1, 3);
	j->was_done_inside = atomic_load(&j->op.times);
}

static void the_write_is_there_and_completes_once_and_later(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rig_kinds); i++) {
		rig_kind = &rig_kinds[i];
		struct rig g;
		FILE *f = tmpfile();
		assert_non_null(f);
		struct job j = { .fd = fileno(f), .iov = { "abcd", 4 } };
		rig_make(&g, 8);
		rig_start(&g);
		for (unsigned n = 0; n < 3; n++) {
			rig_op_init(&j.op);
			rig_call(&g, start_cached, &j);
			assert_int_equal(rig_result(&j.op), 4);
			assert_int_equal(atomic_load(&j.op.times), 1);
			assert_false(j.was_done_inside);
		}
		rig_end(&g);
		char got[8] = "";
		assert_int_equal(pread(j.fd, got, 7, 0), 7);
		assert_memory_equal(got, "\0\0\0abcd", 7);
		assert_int_equal(fclose(f), 0);
	}
}

static void an_error_is_a_result(void **state)
{
	(void)state;
	rig_kind = &rig_kinds[0];
	struct rig g;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct job j = { .fd = fd, .iov = { "abcd", 4 } };
	rig_make(&g, 8);
	rig_start(&g);
	rig_op_init(&j.op);
	rig_call(&g, start_cached, &j);
	assert_int_equal(rig_result(&j.op), -EBADF);
	rig_end(&g);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(says_that_it_is_in_a_write, reset),
		cmocka_unit_test_setup(leaves_writes_that_cannot_block_to_the_ring, reset),
		cmocka_unit_test_setup(writes_itself_where_the_kernel_would_use_a_thread, reset),
		cmocka_unit_test_setup(large_ones_go_to_the_ring, reset),
		cmocka_unit_test_setup(one_that_blocks_sends_the_next_ones_to_the_ring, reset),
		cmocka_unit_test(the_write_is_there_and_completes_once_and_later),
		cmocka_unit_test(an_error_is_a_result),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
