/*
 * bench_bus.c - nanoseconds from an address to the register of the device behind it.
 *
 * Random accesses to many devices of 32 KiB each, as virtio-pci BARs lie; the handler reads one
 * register of its device. "driver" is the same without dispatch: address, device, register; what
 * remains when it is subtracted is the bus. They would disprove the claim that dispatch takes 10 ns
 * or less with 1000 devices, and that readers do not disturb each other. "plugging" does it while
 * another thread adds and removes a device a thousand times a second. "each" times every single
 * access, the reading of the clock included, and gives percentiles: they would disprove that a plug
 * makes an access wait.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/num.h"
#include "bench/cases.h"
#include "bus/bus.h"
#include "sync/rcu.h"
#include "sync/thread.h"

#define BAR_BYTES 0x8000ull
#define NR_ADDRS  4096u /* a power of two */
#define MMIO32    0xc0000000ull
#define MMIO64    0x4000000000ull
#define PIO_BYTES 8u
#define MAX_TICKS 4096u /* longer accesses count as so long */

/* A line each: their registers are not neighbours in a machine either. */
struct dev {
	uint64_t reg;
} CACHE_ALIGNED;

struct bench_bus {
	struct bus *bus;
	struct dev *devs;
	unsigned nr;
	uint64_t base, stride;
	uint32_t dev_of[NR_ADDRS];
	uint64_t addrs[NR_ADDRS];
	struct thread *plugger;
	atomic_bool stop;
	_Atomic uint64_t sum; /* keeps the compiler honest */
	/* each */
	uint64_t took[MAX_TICKS]; /* accesses by ticks */
	uint64_t start_ticks, start_ns;
};

static void dev_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	uint64_t v = ((const struct dev *)ctx)->reg + offset;
	memcpy(data, &v, len < 4 ? len : 4);
}

static void dev_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	(void)ctx;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops dev_ops = { .name = "dev", .read = dev_read, .write = dev_write };

static void fill(struct bench_bus *b)
{
	unsigned seed = 1, nr = b->nr;
	BUG_ON(!nr);
	for (unsigned i = 0; i < nr; i++) {
		b->devs[i].reg = i;
		if (bus_add(b->bus, b->base + i * b->stride, b->stride, &dev_ops, &b->devs[i]))
			abort(); /* a map this file made itself */
	}
	for (unsigned i = 0; i < NR_ADDRS; i++) {
		seed = seed * 1103515245 + 12345;
		b->dev_of[i] = (seed >> 8) % nr;
		b->addrs[i] = b->base + b->dev_of[i] * b->stride +
			      (seed >> 20) % (b->stride / 4) * 4;
	}
}

static int setup(void **out, int64_t nr, enum bus_space space, uint64_t base, uint64_t stride)
{
	struct bench_bus *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->nr = (unsigned)nr;
	b->base = base;
	b->stride = stride;
	b->devs = aligned_alloc(CACHE_ALIGN, b->nr * sizeof(struct dev));
	if (!b->devs || bus_create(&b->bus, space))
		abort();
	rcu_enter_thread();
	fill(b);
	rcu_drain();
	rcu_leave_thread();
	*out = b;
	return 0;
}

static int setup_pio(void **out, int64_t nr)
{
	return setup(out, nr, BUS_PIO, 0x100, PIO_BYTES);
}

static int setup_mmio(void **out, int64_t nr)
{
	return setup(out, nr, BUS_MMIO, MMIO32, BAR_BYTES);
}

static int setup_mmio64(void **out, int64_t nr)
{
	return setup(out, nr, BUS_MMIO, MMIO64, BAR_BYTES);
}

static void teardown(void *ctx)
{
	struct bench_bus *b = ctx;
	atomic_store(&b->stop, true);
	thread_join(b->plugger);
	bus_destroy(b->bus);
	free(b->devs);
	free(b);
}

static void run(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_bus *b = ctx;
	uint64_t sum = 0;
	uint32_t v = 0;
	rcu_enter_thread(); /* once for all @n: of no weight */
	for (uint64_t i = 0; i < n; i++) {
		(void)bus_read(b->bus, b->addrs[(i + thread * 997) % NR_ADDRS], &v, 4);
		sum += v;
	}
	rcu_leave_thread();
	atomic_fetch_add_explicit(&b->sum, sum, memory_order_relaxed);
}

static void run_driver(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_bus *b = ctx;
	uint64_t sum = 0;
	uint32_t v = 0;
	void (*_Atomic read)(void *, uint64_t, void *, unsigned) = dev_read;
	for (uint64_t i = 0; i < n; i++) {
		unsigned k = (unsigned)(i + thread * 997) % NR_ADDRS;
		atomic_load_explicit(&read, memory_order_relaxed)(&b->devs[b->dev_of[k]],
								  b->addrs[k] % b->stride, &v, 4);
		sum += v;
	}
	atomic_fetch_add_explicit(&b->sum, sum, memory_order_relaxed);
}

/* The CPU's own clock, not ordered with what is around it: cheap. */
static uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	uint64_t t;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
#endif
}

static void run_each(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_bus *b = ctx;
	uint32_t v = 0;
	if (!b->start_ns) {
		b->start_ns = clock_ns();
		b->start_ticks = ticks();
	}
	rcu_enter_thread();
	for (uint64_t i = 0; i < n; i++) {
		uint64_t start = ticks();
		(void)bus_read(b->bus, b->addrs[(i + thread * 997) % NR_ADDRS], &v, 4);
		b->took[min_u64(ticks() - start, MAX_TICKS - 1)]++;
	}
	rcu_leave_thread();
}

/* The time that @share of all accesses stay below. */
static double percentile_ns(const struct bench_bus *b, double share, double ns_per_tick)
{
	uint64_t all = 0, seen = 0;
	unsigned i = 0;
	for (unsigned k = 0; k < MAX_TICKS; k++)
		all += b->took[k];
	while (i < MAX_TICKS - 1 && (double)(seen += b->took[i]) < (double)all * share)
		i++;
	return i * ns_per_tick;
}

static unsigned figures(void *ctx, struct bench_figure f[BENCH_MAX_FIGURES])
{
	const struct bench_bus *b = ctx;
	double ns = (double)(clock_ns() - b->start_ns) / (double)(ticks() - b->start_ticks);
	f[0] = (struct bench_figure){ "p50_ns", percentile_ns(b, 0.5, ns) };
	f[1] = (struct bench_figure){ "p99_ns", percentile_ns(b, 0.99, ns) };
	f[2] = (struct bench_figure){ "p999_ns", percentile_ns(b, 0.999, ns) };
	return 3;
}

static void plug(void *ctx)
{
	struct bench_bus *b = ctx;
	uint64_t at = b->base + b->nr * b->stride;
	struct dev extra = { 0 };
	while (!atomic_load(&b->stop)) {
		if (bus_add(b->bus, at, b->stride, &dev_ops, &extra) ||
		    bus_remove(b->bus, at, b->stride))
			abort();
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static int setup_plugging(void **out, int64_t nr)
{
	int err = setup_mmio(out, nr);
	if (err)
		return err;
	struct bench_bus *b = *out;
	err = thread_create(&b->plugger, &(struct thread_attr){ .name = "plugger" }, plug, b);
	if (err)
		teardown(b);
	return err;
}

const struct bench_case bench_bus_pio = {
	.name = "bus/bus: read port",
	.setup = setup_pio,
	.run = run,
	.teardown = teardown,
	.args = { 32, 1000 },
	.max_threads = 2,
};

const struct bench_case bench_bus_mmio = {
	.name = "bus/bus: read below 4 GiB",
	.setup = setup_mmio,
	.run = run,
	.teardown = teardown,
	.args = { 10, 100, 1000 },
	.max_threads = 2,
};

const struct bench_case bench_bus_mmio64 = {
	.name = "bus/bus: read above 4 GiB",
	.setup = setup_mmio64,
	.run = run,
	.teardown = teardown,
	.args = { 10, 100, 1000 },
	.max_threads = 2,
};

const struct bench_case bench_bus_plugging = {
	.name = "bus/bus: read below 4 GiB, plugging",
	.setup = setup_plugging,
	.run = run,
	.teardown = teardown,
	.args = { 1000 },
};

const struct bench_case bench_bus_each = {
	.name = "bus/bus: each read below 4 GiB",
	.setup = setup_mmio,
	.run = run_each,
	.teardown = teardown,
	.figures = figures,
	.args = { 1000 },
};

const struct bench_case bench_bus_each_plugging = {
	.name = "bus/bus: each read below 4 GiB, plugging",
	.setup = setup_plugging,
	.run = run_each,
	.teardown = teardown,
	.figures = figures,
	.args = { 1000 },
};

const struct bench_case bench_bus_driver = {
	.name = "bus/bus: read, driver",
	.setup = setup_mmio,
	.run = run_driver,
	.teardown = teardown,
	.args = { 10, 100, 1000 },
	.max_threads = 2,
};
