/* test_ring.c - kernels that interrupt, run out of memory or take less than offered. */
#include "rig.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- a workload that every kind of kernel must get through: reads, polls, cancels --- */

#define NR 200
struct work {
	int file, event;
	char byte[NR];
	struct iovec iov[NR];
	struct rig_op reads[NR], polls[NR];
};

static void start_work(struct reactor *r, void *arg)
{
	struct work *w = arg;
	for (unsigned i = 0; i < NR; i++) {
		w->iov[i] = (struct iovec){ &w->byte[i], 1 };
		reactor_readv(r, &w->reads[i].op, w->file, &w->iov[i], 1, i);
		reactor_poll_fd(r, &w->polls[i].op, w->event, POLLIN);
	}
}

static void cancel_half(struct reactor *r, void *arg)
{
	struct work *w = arg;
	for (unsigned i = 0; i < NR; i += 2)
		reactor_cancel(r, &w->polls[i].op);
}

static struct work *work_new(void)
{
	struct work *w = calloc(1, sizeof(*w));
	char path[] = "/var/tmp/vmm-test-XXXXXX", data[NR];
	assert_non_null(w);
	w->file = mkostemp(path, O_CLOEXEC);
	assert_true(w->file >= 0);
	unlink(path);
	memset(data, 'd', NR);
	assert_int_equal(write(w->file, data, NR), NR);
	w->event = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < NR; i++) {
		rig_op_init(&w->reads[i]);
		rig_op_init(&w->polls[i]);
	}
	return w;
}

static void work_through(struct uring_sys *sys)
{
	struct rig g;
	struct reactor_config cfg = { .entries = 4 };
	struct work *w = work_new();
	rig_make_with(&g, &cfg, sys);
	rig_start(&g);
	rig_call(&g, start_work, w);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(rig_result(&w->reads[i]), 1);
	rig_call(&g, cancel_half, w);
	for (unsigned i = 0; i < NR; i += 2)
		assert_int_equal(rig_result(&w->polls[i]), -ECANCELED);
	assert_int_equal(eventfd_write(w->event, 1), 0);
	for (unsigned i = 1; i < NR; i += 2)
		assert_int_equal(rig_result(&w->polls[i]), POLLIN);
	rig_end(&g);
	for (unsigned i = 0; i < NR; i++) {
		assert_int_equal(atomic_load(&w->reads[i].times), 1);
		assert_int_equal(atomic_load(&w->polls[i].times), 1);
		assert_int_equal(w->byte[i], 'd');
	}
	close(w->file);
	close(w->event);
	free(w);
}

static unsigned turn;
static int answer;

/* Two of three enters fail with @answer before they did anything. */
static int enter_fails_often(unsigned fd, unsigned submit, unsigned wait_for, unsigned flags)
{
	if (turn++ % 3)
		return answer;
	return uring_sys_real.enter(fd, submit, wait_for, flags);
}

static void enters_that_fail_for_now_lose_nothing(void **state)
{
	(void)state;
	static const int failures[] = { -EINTR, -EAGAIN, -ENOMEM, -EBUSY };
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		struct uring_sys sys = uring_sys_real;
		sys.enter = enter_fails_often;
		answer = failures[i];
		work_through(&sys);
	}
}

static int enter_takes_one(unsigned fd, unsigned submit, unsigned wait_for, unsigned flags)
{
	return uring_sys_real.enter(fd, submit > 1 ? 1 : submit, submit > 1 ? 0 : wait_for, flags);
}

static void a_kernel_that_takes_one_at_a_time_gets_all(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	sys.enter = enter_takes_one;
	work_through(&sys);
}

static int enter_takes_none_sometimes(unsigned fd, unsigned submit, unsigned wait_for,
				      unsigned flags)
{
	if (submit && turn++ % 2)
		return uring_sys_real.enter(fd, 0, 0, flags);
	return uring_sys_real.enter(fd, submit, wait_for, flags);
}

static void a_kernel_that_takes_none_is_asked_again(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	sys.enter = enter_takes_none_sometimes;
	work_through(&sys);
}

static int reg_no_niceties(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	bool is_needed = op == IORING_REGISTER_PROBE || op == IORING_REGISTER_ENABLE_RINGS;
	return is_needed ? uring_sys_real.reg(fd, op, arg, nr) : -EINVAL;
}

static void a_ring_that_cannot_be_tuned_works_as_well(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	sys.reg = reg_no_niceties;
	work_through(&sys);
}

/* --- the flag that asks for an enter --- */

static void a_flag_that_came_too_late_is_taken_down(void **state)
{
	(void)state;
	struct uring u;
	if (uring_init(&u, 8, &uring_sys_real))
		skip();
	assert_int_equal(uring_enable(&u, 0), 0);
	assert_false(uring_wants_enter(&u));
	(void)__atomic_fetch_or(u.io.sq.kflags, IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST);
	assert_true(uring_wants_enter(&u));
	assert_int_equal(uring_enter(&u, false), 0);
	assert_false(uring_wants_enter(&u));
	uring_disable(&u);
	uring_fini(&u);
}

/* --- results of operations that are not for the caller --- */

struct lone {
	struct reactor *r;
	struct rig_op op;
	char byte;
	struct iovec iov;
};

static unsigned queued(const struct reactor *r)
{
	return r->ring.io.sq.sqe_tail - r->ring.io.sq.sqe_head;
}

/* The loop does not run: the kernel's answers are ours to give. */
static void lone_make(struct lone *l, int64_t off)
{
	struct reactor_config cfg = { .entries = 8, .engine = REACTOR_URING };
	int err = reactor_create(&l->r, &cfg);
	if (err) {
		printf("no io_uring here\n");
		skip();
	}
	rig_op_init(&l->op);
	l->iov = (struct iovec){ &l->byte, 1 };
	reactor_readv(l->r, &l->op.op, 0, &l->iov, 1, off);
	assert_int_equal(queued(l->r), 1);
}

static void an_interrupted_operation_is_started_again(void **state)
{
	(void)state;
	struct lone l;
	lone_make(&l, 0);
	op_answered(l.r, &l.op.op, -EINTR);
	assert_int_equal(l.op.times, 0);
	assert_int_equal(queued(l.r), 2);
	op_answered(l.r, &l.op.op, 1);
	assert_int_equal(l.op.times, 1);
	assert_int_equal(l.op.res, 1);
	reactor_destroy(l.r);
}

static void a_file_that_would_block_is_read_by_a_thread_that_may(void **state)
{
	(void)state;
	struct lone l;
	lone_make(&l, 0);
	op_answered(l.r, &l.op.op, -EAGAIN);
	assert_int_equal(l.op.times, 0);
	assert_int_equal(last_entry(l.r)->opcode, IORING_OP_READ);
	assert_true(last_entry(l.r)->flags & IOSQE_ASYNC);
	op_answered(l.r, &l.op.op, -EAGAIN); /* even so: the caller must know */
	assert_int_equal(l.op.res, -EAGAIN);
	assert_int_equal(l.op.times, 1);
	reactor_destroy(l.r);
}

static void a_stream_that_would_block_is_polled_first(void **state)
{
	(void)state;
	struct lone l;
	lone_make(&l, -1);
	for (unsigned i = 0; i < 3; i++) {
		op_answered(l.r, &l.op.op, -EAGAIN);
		assert_int_equal(last_entry(l.r)->opcode, IORING_OP_POLL_ADD);
		assert_int_equal(last_entry(l.r)->poll32_events, POLLIN);
		op_answered(l.r, &l.op.op, POLLIN);
		assert_int_equal(last_entry(l.r)->opcode, IORING_OP_READ);
		assert_int_equal(last_entry(l.r)->addr, (uintptr_t)&l.byte);
		/* it waits once */
		assert_ptr_equal(l.r->waits.next, &l.op.op.link);
		assert_ptr_equal(l.op.op.link.next, &l.r->waits);
	}
	assert_int_equal(l.op.times, 0);
	op_answered(l.r, &l.op.op, 1);
	assert_int_equal(l.op.res, 1);
	reactor_destroy(l.r);
}

static void a_cancelled_operation_is_not_started_again(void **state)
{
	(void)state;
	static const int answers[] = { -EINTR, -EAGAIN, -ECANCELED };
	for (size_t i = 0; i < 2 * ARRAY_SIZE(answers); i++) {
		struct lone l;
		lone_make(&l, -1);
		reactor_cancel(l.r, &l.op.op);
		if (i & 1) { /* the kernel has been asked to */
			l.op.op.state ^= OP_CANCEL_WANTED | OP_CANCELLED;
			l.r->cancels_wanted--;
		}
		op_answered(l.r, &l.op.op, answers[i / 2]);
		assert_int_equal(l.op.res, -ECANCELED);
		assert_int_equal(l.op.times, 1);
		assert_int_equal(l.r->cancels_wanted, 0);
		assert_int_equal(l.r->in_flight, 0);
		reactor_destroy(l.r);
	}
}

static void the_caller_may_ask_not_to_wait(void **state)
{
	(void)state;
	struct lone l;
	lone_make(&l, 0);
	op_answered(l.r, &l.op.op, 1);
	reactor_writev(l.r, &l.op.op, 0, &l.iov, 1, 0, RWF_NOWAIT);
	assert_int_equal(last_entry(l.r)->rw_flags, RWF_NOWAIT);
	op_answered(l.r, &l.op.op, -EAGAIN);
	assert_int_equal(l.op.res, -EAGAIN);
	reactor_destroy(l.r);
}

int main(void)
{
	const struct CMUnitTest setup[] = {
		cmocka_unit_test(a_flag_that_came_too_late_is_taken_down),
		cmocka_unit_test(an_interrupted_operation_is_started_again),
		cmocka_unit_test(a_file_that_would_block_is_read_by_a_thread_that_may),
		cmocka_unit_test(a_stream_that_would_block_is_polled_first),
		cmocka_unit_test(a_cancelled_operation_is_not_started_again),
		cmocka_unit_test(the_caller_may_ask_not_to_wait),
	};
	const struct CMUnitTest faults[] = {
		cmocka_unit_test(enters_that_fail_for_now_lose_nothing),
		cmocka_unit_test(a_kernel_that_takes_one_at_a_time_gets_all),
		cmocka_unit_test(a_kernel_that_takes_none_is_asked_again),
		cmocka_unit_test(a_ring_that_cannot_be_tuned_works_as_well),
	};
	return cmocka_run_group_tests(setup, NULL, NULL) + rig_run_all(faults);
}
