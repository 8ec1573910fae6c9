/*
 * stress_reactor_wake.c - notification arm-and-recheck, as a driver and a device play it: the
 * producer publishes, then signals only if asked to; the reactor asks, then looks once more. One
 * wake-up lost and the producer waits for ever. Posted messages run the same race in parallel.
 */
#include "unit/iouring/rig.h"
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define STRESS_NS (1000ull * 1000000)

struct ring_end {
	struct reactor_source s;
	struct reactor *r;
	_Atomic unsigned avail, used, is_armed;
	unsigned seen; /* reactor's thread */
	int kick_fd;
	uint64_t kicks;
	struct iovec iov;
	struct reactor_op kick;
	bool is_reading;
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool end_has_work(const struct ring_end *e)
{
	return atomic_load_explicit(&e->avail, memory_order_acquire) != e->seen;
}

static bool end_poll(struct reactor_source *s)
{
	struct ring_end *e = container_of(s, struct ring_end, s);
	if (!end_has_work(e))
		return false;
	e->seen++;
	return true;
}

static void end_flush(struct reactor_source *s)
{
	struct ring_end *e = container_of(s, struct ring_end, s);
	atomic_store_explicit(&e->used, e->seen, memory_order_release);
}

static void end_on_kick(struct reactor_op *op, int32_t res)
{
	(void)res;
	container_of(op, struct ring_end, kick)->is_reading = false;
}

static bool end_arm(struct reactor_source *s)
{
	struct ring_end *e = container_of(s, struct ring_end, s);
	atomic_store_explicit(&e->is_armed, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in produce() */
	if (end_has_work(e))
		return true;
	if (!e->is_reading) {
		e->is_reading = true;
		reactor_readv(e->r, &e->kick, e->kick_fd, &e->iov, 1, -1);
	}
	return false;
}

static void end_disarm(struct reactor_source *s)
{
	struct ring_end *e = container_of(s, struct ring_end, s);
	atomic_store_explicit(&e->is_armed, 0, memory_order_relaxed);
}

static void produce(void *arg)
{
	struct ring_end *e = arg;
	uint64_t end_ns = now_ns() + STRESS_NS;
	unsigned n = 0;
	for (unsigned spin = 0; now_ns() < end_ns; spin = (spin * 7 + 3) % 512) {
		atomic_store_explicit(&e->avail, ++n, memory_order_release);
		atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in end_arm() */
		if (atomic_load_explicit(&e->is_armed, memory_order_relaxed))
			eventfd_write(e->kick_fd, 1);
		uint64_t lost_ns = now_ns() + 10 * 1000000000ull;
		while (atomic_load_explicit(&e->used, memory_order_acquire) != n)
			if (now_ns() > lost_ns)
				_exit(1); /* the wake-up is lost */
			else if (spin % 2)
				sched_yield();
		for (volatile unsigned i = 0; i < spin; i++)
			;
	}
}

static void touch(struct reactor *r, void *arg)
{
	(void)r;
	(*(unsigned *)arg)++;
}

static void no_wake_up_is_lost(uint64_t spin_ns)
{
	static struct uring_sys sys;
	struct rig g;
	struct thread *t;
	struct thread_attr attr = { .name = "driver" };
	struct reactor_config cfg = { .entries = 8, .spin_ns = spin_ns };
	struct ring_end e = {
		.s = { .poll = end_poll, .flush = end_flush, .arm = end_arm, .disarm = end_disarm },
		.kick.done = end_on_kick,
		.kick_fd = eventfd(0, EFD_CLOEXEC)
	};
	sys = uring_sys_real;
	rig_make_with(&g, &cfg, &sys);
	e.r = g.r;
	e.iov = (struct iovec){ &e.kicks, sizeof(e.kicks) };
	reactor_add_source(g.r, &e.s);
	rig_start(&g);
	assert_int_equal(thread_create(&t, &attr, produce, &e), 0);
	unsigned touched = 0, calls = 0;
	for (uint64_t end_ns = now_ns() + STRESS_NS; now_ns() < end_ns; calls++)
		rig_call(&g, touch, &touched);
	thread_join(t);
	printf("%u requests, %u messages, %lu sleeps\n", e.avail, calls,
	       (unsigned long)reactor_stats_of(g.r)->sleeps);
	rig_end(&g);
	assert_int_equal(touched, calls);
	close(e.kick_fd);
}

static void none_is_lost_without_spinning(void **state)
{
	(void)state;
	no_wake_up_is_lost(0);
}

static void none_is_lost_with_spinning(void **state)
{
	(void)state;
	no_wake_up_is_lost(10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_lost_without_spinning),
		cmocka_unit_test(none_is_lost_with_spinning),
	};
	return rig_run_all(tests);
}
