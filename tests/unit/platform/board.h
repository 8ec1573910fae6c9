/*
 * board.h - what a platform device is connected to, for its tests: a bus, an interrupt input, a
 * sink for machine events, a reactor on a thread of its own.
 *
 * Layer:   tests
 * Threads: the test's; the reactor's where a device uses it.
 * Errors:  asserts.
 * Spec:    dev/platform.h.
 */
#ifndef TESTS_BOARD_H
#define TESTS_BOARD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/num.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "dev/platform.h"
#include "sync/rcu.h"
#include "sync/thread.h"

#define BOARD_WAIT_MS 20000 /* far beyond what anything here takes */

struct board {
	struct bus *pio;
	struct irq_chip chip;
	atomic_bool level;
	atomic_uint rises;
	unsigned poweroffs, resets;
	struct machine_sink sink;
	struct reactor *reactor;
	struct thread *thread;
};

static inline void board_set_level(void *ctx, uint32_t gsi, bool level)
{
	struct board *b = ctx;
	(void)gsi;
	assert_true(atomic_exchange(&b->level, level) != level); /* only changes are told */
	if (level)
		atomic_fetch_add(&b->rises, 1);
}

static const struct irq_chip_ops board_chip_ops = { .set_level = board_set_level };

static inline void board_event(void *ctx, enum machine_event ev)
{
	struct board *b = ctx;
	*(ev == MACHINE_POWEROFF ? &b->poweroffs : &b->resets) += 1;
}

static inline void board_init(struct board *b)
{
	*b = (struct board){ .chip = { &board_chip_ops, b }, .sink = { board_event, b } };
	assert_int_equal(bus_create(&b->pio, BUS_PIO), 0);
}

static inline void board_fini(struct board *b)
{
	bus_destroy(b->pio);
	rcu_drain();
}

static inline void board_make_reactor(struct board *b)
{
	struct reactor_config cfg = { .entries = 16 };
	assert_int_equal(reactor_create(&b->reactor, &cfg), 0);
}

static inline int board_reactor_begin(void *arg)
{
	struct board *b = arg;
	return reactor_begin(b->reactor);
}

static inline void board_reactor_main(void *arg)
{
	struct board *b = arg;
	reactor_run(b->reactor);
}

static inline void board_run_reactor(struct board *b)
{
	struct thread_attr attr = { .name = "reactor", .begin = board_reactor_begin };
	assert_int_equal(thread_create(&b->thread, &attr, board_reactor_main, b), 0);
}

static inline void board_end_reactor(struct board *b)
{
	reactor_stop(b->reactor);
	thread_join(b->thread);
	reactor_destroy(b->reactor);
}

static inline struct irq_line board_line(struct board *b)
{
	return (struct irq_line){ &b->chip, 4 };
}

static inline uint32_t in_n(struct board *b, uint16_t port, unsigned len)
{
	uint32_t v = 0;
	bus_read(b->pio, port, &v, len);
	return v;
}

static inline uint8_t in8(struct board *b, uint16_t port)
{
	return (uint8_t)in_n(b, port, 1);
}

static inline void out_n(struct board *b, uint16_t port, uint32_t v, unsigned len)
{
	bus_write(b->pio, port, &v, len);
}

static inline void out8(struct board *b, uint16_t port, uint8_t v)
{
	out_n(b, port, v, 1);
}

/* Let @cond become true on another thread's account. */
#define eventually(cond)                                                                           \
	do {                                                                                       \
		unsigned tries_ = 0;                                                               \
		while (!(cond) && tries_++ < BOARD_WAIT_MS)                                        \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                 \
		assert_true(cond);                                                                 \
	} while (0)

static inline int board_group_setup(void **state)
{
	(void)state;
	rcu_enter_thread();
	return 0;
}

static inline int board_group_teardown(void **state)
{
	(void)state;
	rcu_drain();
	rcu_leave_thread();
	return 0;
}

#endif
