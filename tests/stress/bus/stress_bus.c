/* stress_bus.c - readers of the bus while ranges come, go and move: nobody sees what was freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/num.h"
#include "bus/bus.h"
#include "sync/rcu.h"
#include "sync/thread.h"

#define NR_DEVS    64
#define BASE       0xc0000000ull
#define STRIDE     0x8000ull
#define RUN_MS     1500
#define NR_READERS 2

/* On the heap and freed right after bus_remove(): a handler that still runs is a use after free. */
struct dev {
	uint64_t tag;
};

struct stress {
	struct bus *bus;
	atomic_bool stop;
	_Atomic uint64_t hits, misses, wrong;
};

static void dev_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	const struct dev *d = ctx;
	uint64_t v = d->tag + offset;
	memcpy(data, &v, len);
}

static void dev_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	(void)ctx;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops dev_ops = { .name = "dev", .read = dev_read, .write = dev_write };

static uint64_t base_of(unsigned i)
{
	/* half by pages, half by search; of each, half share a page with a neighbour */
	return (i & 1 ? BASE : 1ull << 33) + (i & 2 ? 0x1000000 + i * 0x200 : i * STRIDE);
}

static void reader(void *arg)
{
	struct stress *s = arg;
	uint64_t hits = 0, misses = 0, wrong = 0;
	for (unsigned n = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); n++) {
		unsigned i = n * 7 % NR_DEVS;
		uint64_t v = 0;
		if (!bus_read(s->bus, base_of(i) + 8, &v, 8)) {
			misses++;
			continue;
		}
		hits++;
		wrong += v != base_of(i) + 8;
	}
	atomic_fetch_add(&s->hits, hits);
	atomic_fetch_add(&s->misses, misses);
	atomic_fetch_add(&s->wrong, wrong);
}

static struct dev *plug(struct bus *b, unsigned i)
{
	struct dev *d = malloc(sizeof(*d));
	assert_non_null(d);
	d->tag = base_of(i);
	assert_int_equal(bus_add(b, base_of(i), 0x100, &dev_ops, d), 0);
	return d;
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void readers_never_meet_a_removed_device(void **state)
{
	(void)state;
	struct stress s = { 0 };
	struct thread *t[NR_READERS];
	struct dev *devs[NR_DEVS] = { 0 };
	assert_int_equal(bus_create(&s.bus, BUS_MMIO), 0);
	for (unsigned i = 0; i < NR_DEVS; i++)
		devs[i] = plug(s.bus, i);
	for (unsigned i = 0; i < NR_READERS; i++)
		assert_int_equal(
			thread_create(&t[i], &(struct thread_attr){ .name = "reader" }, reader, &s),
			0);
	for (uint64_t end = now_ms() + RUN_MS, n = 0; now_ms() < end; n++) {
		unsigned i = (unsigned)(n * 5 % NR_DEVS);
		assert_int_equal(bus_remove(s.bus, base_of(i), 0x100), 0);
		free(devs[i]);
		devs[i] = plug(s.bus, i);
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < NR_READERS; i++)
		thread_join(t[i]);
	assert_int_equal(s.wrong, 0);
	assert_true(s.hits > 0);
	bus_destroy(s.bus);
	for (unsigned i = 0; i < NR_DEVS; i++)
		free(devs[i]);
	rcu_drain();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(readers_never_meet_a_removed_device) };
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
