/* test_ring_setup.c - kernels that refuse a ring, or a part of it: what is made of that. */
#include "rig.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- set-up --- */

static int answer;

static int setup_refused(unsigned entries, struct io_uring *io, struct io_uring_params *p)
{
	(void)entries, (void)io, (void)p;
	return answer;
}

static int create(enum reactor_engine engine, const struct uring_sys *sys, const char **name)
{
	struct reactor_config cfg = { .entries = 8, .engine = engine };
	struct reactor *r = NULL;
	int err = reactor_create_with(&r, &cfg, sys);
	if (!err)
		*name = reactor_engine_name(r);
	else
		assert_null(r);
	reactor_destroy(r);
	return err;
}

static void a_host_without_io_uring_gets_the_pool_or_an_error(void **state)
{
	(void)state;
	static const struct {
		int err;
		const char *name;
	} denials[] = {
		{ -ENOSYS, "pool" },
		{ -EPERM, "pool" },
		{ -EACCES, "pool" },
		{ -ENOMEM, "pool (out of memory)" }, /* as with RLIMIT_MEMLOCK 0 before 5.12 */
	};
	struct uring_sys sys = uring_sys_real;
	const char *name = NULL;
	sys.setup = setup_refused;
	for (size_t i = 0; i < ARRAY_SIZE(denials); i++) {
		answer = denials[i].err;
		assert_int_equal(create(REACTOR_URING, &sys, &name), denials[i].err);
		assert_int_equal(create(REACTOR_AUTO, &sys, &name), 0);
		assert_string_equal(name, denials[i].name);
		assert_int_equal(create(REACTOR_POOL, &sys, &name), 0);
		assert_string_equal(name, "pool"); /* as wanted: there is nothing to tell */
	}
}

static void other_failures_are_not_papered_over(void **state)
{
	(void)state;
	static const int failures[] = { -EMFILE, -ENFILE };
	struct uring_sys sys = uring_sys_real;
	const char *name = NULL;
	sys.setup = setup_refused;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		answer = failures[i];
		assert_int_equal(create(REACTOR_AUTO, &sys, &name), failures[i]);
	}
	answer = -EINVAL; /* on every rung */
	assert_int_equal(create(REACTOR_URING, &sys, &name), -EINVAL);
}

static int reg_no_probe(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	return op == IORING_REGISTER_PROBE ? -EINVAL : uring_sys_real.reg(fd, op, arg, nr);
}

static int reg_no_fallocate(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	int err = uring_sys_real.reg(fd, op, arg, nr);
	if (op == IORING_REGISTER_PROBE)
		((struct io_uring_probe *)arg)->ops[IORING_OP_FALLOCATE].flags = 0;
	return err;
}

static void a_kernel_too_old_for_our_operations_counts_as_without(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	const char *name = NULL;
	sys.reg = reg_no_probe;
	assert_int_equal(create(REACTOR_URING, &sys, &name), -ENOSYS);
	assert_int_equal(create(REACTOR_AUTO, &sys, &name), 0);
	assert_string_equal(name, "pool");
	sys.reg = reg_no_fallocate;
	assert_int_equal(create(REACTOR_URING, &sys, &name), -ENOSYS);
}

/* --- restrictions --- */

/* What the kernel says of @opcode, submitted beside the reactor's own operations. */
static int32_t try_opcode(struct uring *u, uint8_t opcode, uint8_t flags)
{
	struct io_uring_sqe *sqe = uring_sqe(u);
	assert_non_null(sqe);
	*sqe = (struct io_uring_sqe){ .opcode = opcode, .flags = flags, .fd = -1, .user_data = 1 };
	assert_int_equal(uring_enter(u, true), 0);
	uint64_t user_data = 0;
	int32_t res = 0;
	assert_true(uring_pop_completion(u, &user_data, &res));
	assert_int_equal(user_data, 1);
	return res;
}

static void a_ring_does_what_is_listed_and_nothing_else(void **state)
{
	(void)state;
	struct uring u;
	int err = uring_init(&u, 8, &uring_sys_real);
	if (err || !u.is_restricted) {
		uring_fini(&u);
		printf("no restrictions here\n");
		skip();
	}
	assert_int_equal(uring_enable(&u, 2), 0);
	assert_true(u.is_fd_registered);
	static const uint8_t forbidden[] = { IORING_OP_NOP, IORING_OP_OPENAT, IORING_OP_SOCKET,
					     IORING_OP_SENDMSG, IORING_OP_UNLINKAT };
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		assert_int_equal(try_opcode(&u, forbidden[i], 0), -EACCES);
	for (unsigned i = 0; i < reactor_restrict.nr_opcodes; i++)
		assert_int_not_equal(try_opcode(&u, reactor_restrict.opcodes[i], 0), -EACCES);
	assert_int_equal(try_opcode(&u, IORING_OP_READ, IOSQE_IO_DRAIN), -EACCES);
	int fd = 0;
	assert_int_equal(io_uring_register((unsigned)u.io.ring_fd, IORING_REGISTER_FILES, &fd, 1),
			 -EACCES);
	uring_disable(&u);
	assert_false(u.is_fd_registered);
	uring_fini(&u);
}

static int restrict_answer;

static int reg_restrict(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	return op == IORING_REGISTER_RESTRICTIONS ? restrict_answer
						  : uring_sys_real.reg(fd, op, arg, nr);
}

static void only_a_kernel_that_knows_no_restrictions_goes_without(void **state)
{
	(void)state;
	struct uring_sys sys = uring_sys_real;
	const char *name = "";
	sys.reg = reg_restrict;
	restrict_answer = -EINVAL;
	int err = create(REACTOR_URING, &sys, &name);
	if (err || strcmp(name, "io_uring") != 0)
		skip();
	restrict_answer = -ENOMEM;
	assert_int_equal(create(REACTOR_URING, &sys, &name), -ENOMEM);
}

/* --- a ring that cannot be enabled --- */

static void start_read(struct reactor *r, void *arg)
{
	static char byte;
	static struct iovec iov = { &byte, 1 };
	struct rig_op *op = arg;
	rig_op_init(op);
	reactor_readv(r, &op->op, r->cfg.file_fd, &iov, 1, 0);
}

static int enable_answer;

static int reg_enable(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	return op == IORING_REGISTER_ENABLE_RINGS ? enable_answer
						  : uring_sys_real.reg(fd, op, arg, nr);
}

/* A reactor that has a file, and a thread that is to enable its ring; what came of it. */
static int begin_refused(struct rig *g, enum reactor_engine engine, int fd)
{
	static struct uring_sys sys;
	struct reactor_config cfg = {
		.entries = 8, .engine = engine, .has_file = true, .file_fd = fd
	};
	struct thread_attr attr = { .name = "reactor", .begin = rig_begin };
	sys = uring_sys_real;
	sys.reg = reg_enable;
	g->t = NULL;
	int err = reactor_create_with(&g->r, &cfg, &sys);
	if (err || g->r->pool || g->r->ring.rung != URING_DEFER) {
		if (!err)
			reactor_destroy(g->r);
		printf("no rings that are made disabled here\n");
		skip();
	}
	return thread_create(&g->t, &attr, rig_main, g->r);
}

static void the_pool_stands_in_for_a_ring_that_is_not_enabled(void **state)
{
	(void)state;
	static const struct {
		int err;
		const char *name;
	} denials[] = { { -EPERM, "pool" },
			{ -EACCES, "pool" },
			{ -ENOMEM, "pool (out of memory)" } };
	char path[] = "/tmp/begin-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)unlink(path);
	assert_int_equal(write(fd, "x", 1), 1);
	for (size_t i = 0; i < ARRAY_SIZE(denials); i++) {
		struct rig g;
		struct rig_op op;
		enable_answer = denials[i].err;
		assert_int_equal(begin_refused(&g, REACTOR_AUTO, fd), 0);
		assert_string_equal(reactor_engine_name(g.r), denials[i].name);
		rig_call(&g, start_read, &op);
		assert_int_equal(rig_result(&op), 1);
		rig_end(&g);
		assert_int_equal(begin_refused(&g, REACTOR_URING, fd), denials[i].err);
		assert_null(g.t);
		reactor_destroy(g.r);
	}
	close(fd);
}

static void any_other_reason_not_to_enable_it_is_an_error(void **state)
{
	(void)state;
	static const int failures[] = { -EIO, -EMFILE, -EINVAL };
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		struct rig g;
		enable_answer = failures[i];
		assert_int_equal(begin_refused(&g, REACTOR_AUTO, -1), failures[i]);
		assert_null(g.t);
		reactor_destroy(g.r);
	}
}

/* --- the file a ring keeps --- */

static void operations_on_the_kept_file_go_by_its_number(void **state)
{
	(void)state;
	char path[] = "/tmp/kept-XXXXXX", byte = 0;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)unlink(path);
	struct reactor_config cfg = {
		.entries = 8, .engine = REACTOR_URING, .has_file = true, .file_fd = fd
	};
	struct reactor *r;
	if (reactor_create(&r, &cfg) || r->kept_fd != fd)
		skip();
	struct rig_op op;
	struct iovec iov = { &byte, 1 };
	rig_op_init(&op);
	reactor_readv(r, &op.op, fd, &iov, 1, 0);
	assert_int_equal(last_entry(r)->fd, 0);
	assert_int_equal(last_entry(r)->flags, IOSQE_FIXED_FILE);
	op_answered(r, &op.op, -EAGAIN);
	assert_int_equal(last_entry(r)->flags, IOSQE_FIXED_FILE | IOSQE_ASYNC);
	op_answered(r, &op.op, 0);
	reactor_readv(r, &op.op, fd + 1, &iov, 1, 0);
	assert_int_equal(last_entry(r)->fd, fd + 1);
	assert_int_equal(last_entry(r)->flags, 0);
	op_answered(r, &op.op, 0);
	reactor_timeout(r, &op.op, 1);
	assert_int_equal(last_entry(r)->flags, 0);
	op_answered(r, &op.op, -ETIME);
	reactor_destroy(r);
	close(fd);
}

static void a_kept_file_is_free_when_the_reactor_is_gone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		char path[] = "/tmp/kept-XXXXXX";
		struct flock lock = { .l_type = F_WRLCK };
		int fd = mkstemp(path), other = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0 && other >= 0);
		(void)unlink(path);
		assert_int_equal(write(fd, "x", 1), 1);
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
		struct reactor_config cfg = { .entries = 8, .has_file = true, .file_fd = fd };
		struct uring_sys sys = uring_sys_real;
		struct rig g;
		struct rig_op op;
		rig_make_with(&g, &cfg, &sys);
		rig_start(&g);
		rig_call(&g, start_read, &op);
		assert_int_equal(rig_result(&op), 1);
		rig_end(&g);
		assert_int_equal(op.times, 1);
		assert_int_equal(fcntl(other, F_OFD_SETLK, &lock), -1);
		close(fd);
		assert_int_equal(fcntl(other, F_OFD_SETLK, &lock), 0);
		close(other);
	}
}

int main(void)
{
	const struct CMUnitTest setup[] = {
		cmocka_unit_test(a_host_without_io_uring_gets_the_pool_or_an_error),
		cmocka_unit_test(other_failures_are_not_papered_over),
		cmocka_unit_test(a_kernel_too_old_for_our_operations_counts_as_without),
		cmocka_unit_test(operations_on_the_kept_file_go_by_its_number),
		cmocka_unit_test(a_kept_file_is_free_when_the_reactor_is_gone),
		cmocka_unit_test(a_ring_does_what_is_listed_and_nothing_else),
		cmocka_unit_test(only_a_kernel_that_knows_no_restrictions_goes_without),
		cmocka_unit_test(the_pool_stands_in_for_a_ring_that_is_not_enabled),
		cmocka_unit_test(any_other_reason_not_to_enable_it_is_an_error),
	};
	const struct CMUnitTest faults[] = {};
	return cmocka_run_group_tests(setup, NULL, NULL) + rig_run_all(faults);
}
