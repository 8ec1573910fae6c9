/*
 * test_live_shared.c - devices that share a real worker, with io_uring and without; pipes,
 * terminals, and the race of falling asleep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "dev/virtio_devs.h"
#include "drive.h"
#include "sync/rcu.h"

#define ALL (~0ull)

struct fixture {
	struct drive v;
	char path[32];
	struct vworker *worker;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	drive_init(&f->v);
	(void)snprintf(f->path, sizeof(f->path), "live-XXXXXX");
	int fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(fd >= 0);
	(void)close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	(void)unlink(f->path);
	free(f);
	return 0;
}

static enum reactor_engine engine;

static void start_worker(struct fixture *f)
{
	const struct vworker_config wc = { .name = "io", .entries = 64, .engine = engine };
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
}

static void start_console(struct fixture *f, int in, int out)
{
	const struct console_port_config port = { .in_fd = in, .out_fd = out, .is_console = true };
	const struct console_config cfg = { .ports = &port, .nr_ports = 1 };
	struct vdev *d;
	start_worker(f);
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ALL);
}

static void a_blocking_pipe_does_not_block_the_worker(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2];
	char sink[4096];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	start_console(f, in[0], out[1]);
	struct vdev *d = f->v.dev;
	for (unsigned i = 0; i < 10; i++) {
		/* nobody reads the output ... */
		drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA + 0x10000, 1u << 20 }, 1, 0);
		drive_kick(&f->v, 1);
		/* ... but input comes in ... */
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
		drive_kick(&f->v, 0);
		assert_int_equal(write(in[1], "input", 5), 5);
		assert_int_equal(drive_wait(&f->v, 0, NULL), 5);
		/* ... and a reset goes through */
		drive_reset(&f->v);
		drive_up(&f->v, ALL);
	}
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	while (read(out[0], sink, sizeof(sink)) > 0)
		;
	memcpy(f->v.ram + DRIVE_DATA, "end", 3);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
	drive_kick(&f->v, 1);
	(void)drive_wait(&f->v, 1, NULL);
	assert_int_equal(read(out[0], sink, sizeof(sink)), 3);
	console_resize(d, 90, 30);
	drive_until(&f->v, f->v.config_changes > 0);
	vdev_hold(d, VDEV_HOLD_END);
	drive_until(&f->v, vdev_is_quiet(d));
	vdev_destroy(d);
	f->v.dev = NULL;
	for (unsigned i = 0; i < 2; i++) {
		(void)close(in[i]);
		(void)close(out[i]);
	}
}

/* A pair of descriptors of a terminal that passes bytes on as they are. */
static void open_terminal(int *master, int *slave)
{
	struct termios raw;
	*master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*master >= 0 && !grantpt(*master) && !unlockpt(*master));
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*slave >= 0 && !tcgetattr(*slave, &raw));
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(*slave, TCSANOW, &raw), 0);
}

/* Three bytes to the guest, three from it. */
static void type_and_echo(struct fixture *f, int master, bool is_idle)
{
	char got[16];
	drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
	drive_kick(&f->v, 0);
	if (is_idle)
		drive_idle(&f->v);
	assert_int_equal(write(master, "key", 3), 3);
	assert_int_equal(drive_wait(&f->v, 0, NULL), 3);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
	drive_kick(&f->v, 1);
	(void)drive_wait(&f->v, 1, NULL);
	for (unsigned n = 0; n < 3;) {
		ssize_t k = read(master, got + n, 3 - n);
		assert_true(k > 0);
		n += (unsigned)k;
	}
	assert_memory_equal(got, "key", 3);
}

static void a_terminal_on_both_ends(void **state)
{
	struct fixture *f = *state;
	int master, slave;
	open_terminal(&master, &slave);
	start_console(f, slave, slave);
	for (unsigned i = 0; i < 20; i++)
		type_and_echo(f, master, i % 2);
	drive_reset(&f->v); /* also with its buffers full: nobody reads the master */
	drive_up(&f->v, ALL);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 1u << 20 }, 1, 0);
	drive_kick(&f->v, 1);
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	drive_reset(&f->v);
	(void)close(master);
	drive_up(&f->v, ALL);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
	drive_kick(&f->v, 1);
	(void)drive_wait(&f->v, 1, NULL); /* hung up: dropped */
	drive_reset(&f->v);
	(void)close(slave);
}

static void a_file_is_typed_in(void **state)
{
	struct fixture *f = *state;
	int in = open(f->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(in, 0), 0);
	assert_int_equal(pwrite(in, "script", 6, 0), 6);
	start_console(f, in, -1);
	for (unsigned i = 0; i < 2; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA + i * 4, 4 }, 0, 1);
		drive_kick(&f->v, 0);
		assert_int_equal(drive_wait(&f->v, 0, NULL), i ? 2 : 4);
	}
	assert_memory_equal(f->v.ram + DRIVE_DATA, "script", 6);
	drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 4 }, 0, 1);
	drive_kick(&f->v, 0);
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	const struct reactor_stats *st = reactor_stats_of(vworker_reactor(f->worker));
	uint64_t before = st->passes;
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	assert_int_equal(st->passes, before); /* the end of the file is no reason to be awake */
	drive_reset(&f->v);
	(void)close(in);
}

static int sevens(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
	return 0;
}

static void *rng_run(void *arg)
{
	struct vworker *w = arg;
	const struct rng_source src = { .fill = sevens };
	struct drive v;
	struct vdev *d;
	rcu_enter_thread();
	drive_init(&v);
	assert_int_equal(rng_create(&d, v.mem, w, &src), 0);
	drive_attach(&v, d);
	for (unsigned i = 0; i < 300; i++) {
		drive_up(&v, ALL);
		for (unsigned k = 0; k < i % 7; k++) {
			drive_offer(&v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
			drive_kick(&v, 0);
			if (k % 2)
				assert_int_equal(drive_wait(&v, 0, NULL), 64);
		}
		drive_reset(&v);
	}
	drive_fini(&v);
	rcu_leave_thread();
	return NULL;
}

static void devices_share_a_worker(void **state)
{
	struct fixture *f = *state;
	pthread_t t[3];
	start_worker(f);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, rng_run, f->worker), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
}

/* The driver's side of arm-and-recheck against the worker's: a lost wake-up hangs, and fails. */
static void no_wake_up_is_lost(void **state)
{
	struct fixture *f = *state;
	const struct rng_source src = { .fill = sevens };
	struct vdev *d;
	start_worker(f);
	assert_int_equal(rng_create(&d, f->v.mem, f->worker, &src), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ALL);
	uint16_t head;
	uint32_t len;
	for (unsigned i = 0; i < 20000; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 8 }, 0, 1);
		drive_kick(&f->v, 0);
		for (unsigned spin = i % 500; spin; spin--)
			__asm__ volatile("" ::: "memory"); /* hit the moment it falls asleep */
		if (i % 4 == 0)
			continue;
		drive_until(&f->v, drive_used(&f->v, 0, &head, &len));
		while (drive_used(&f->v, 0, &head, &len))
			;
	}
}

/* --- signs of life --- */

struct block {
	struct reactor_msg msg;
	sem_t go_on, is_over;
};

/* As a thread of ours that waits for what never comes: signals wake it, and it sleeps again. */
static void block_worker(struct reactor_msg *m)
{
	struct block *b = container_of(m, struct block, msg);
	while (sem_wait(&b->go_on))
		assert_int_equal(errno, EINTR);
	(void)sem_post(&b->is_over);
}

static void a_blocked_worker_is_taken_for_hung_until_it_goes_on(void **state)
{
	struct fixture *f = *state;
	struct block b = { .msg.fn = block_worker };
	const struct timespec tick = { 0, 1000000 };
	(void)sem_init(&b.go_on, 0, 0);
	(void)sem_init(&b.is_over, 0, 0);
	start_worker(f);
	reactor_post(vworker_reactor(f->worker), &b.msg);
	assert_true(vworker_beat(f->worker));
	unsigned looks = 0;
	for (; vworker_beat(f->worker); looks++) {
		assert_in_range(looks, 0, 100000);
		(void)nanosleep(&tick, NULL); /* or the signals would become one */
	}
	assert_true(looks >= 9);
	(void)sem_post(&b.go_on);
	while (sem_wait(&b.is_over))
		assert_int_equal(errno, EINTR);
	vworker_sync(f->worker);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(vworker_beat(f->worker));
		vworker_sync(f->worker);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_blocking_pipe_does_not_block_the_worker),
		T(a_terminal_on_both_ends),
		T(a_file_is_typed_in),
		T(devices_share_a_worker),
		T(no_wake_up_is_lost),
		T(a_blocked_worker_is_taken_for_hung_until_it_goes_on),
	};
	rcu_enter_thread();
	int failed = cmocka_run_group_tests_name("with io_uring", tests, NULL, NULL);
	engine = REACTOR_POOL; /* where it is forbidden */
	failed += cmocka_run_group_tests_name("without io_uring", tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
