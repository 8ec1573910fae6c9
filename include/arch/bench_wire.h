/*
 * bench_wire.h - what `vmm bench` and the built-in guest say to each other.
 *
 * Layer:   arch
 * Threads: constants, and functions without state.
 * Errors:  none.
 * Spec:    docs/benchmarks.md, "How it works".
 *
 * The guest writes the address of its page to BENCH_REG_NEXT; the host takes the result of the last
 * job from there and leaves the next one. The guest warms up, writes BENCH_REG_BEGIN, works, writes
 * BENCH_REG_END: at these two the host reads its clocks and counters. Both sides are one program
 * on one machine, so fields are in host byte order.
 */
#ifndef ARCH_BENCH_WIRE_H
#define ARCH_BENCH_WIRE_H
#include <stdint.h>

/* Registers of 8 bytes in device memory, at `bench=` of the command line. */
#define BENCH_REG_NEXT  0x00u
#define BENCH_REG_BEGIN 0x08u
#define BENCH_REG_END   0x10u
#define BENCH_REG_NOP   0x18u /* answered in user space: nothing happens */
#define BENCH_REG_BELL  0x20u /* ioeventfd, nobody listens */
#define BENCH_REG_CALL  0x28u /* ioeventfd, wakes the peer: a thread of the host */
#define BENCH_REG_BYTES 0x1000u
/* Ports of 4 bytes, at `bench-port=`. */
#define BENCH_PORT_NOP   0u
#define BENCH_PORT_BELL  4u
#define BENCH_PORT_BYTES 8u

enum bench_op {
	BENCH_OP_STOP, /* power off */
	BENCH_OP_PORT,
	BENCH_OP_MMIO,
	BENCH_OP_PORT_BELL,
	BENCH_OP_MMIO_BELL,
	BENCH_OP_CALL,     /* the peer sleeps; until it has answered */
	BENCH_OP_IRQ_SPIN, /* the peer interrupts a guest that spins */
	BENCH_OP_IRQ_HALT, /* ... that halts, delay_us after it asked */
	BENCH_OP_DISK,
	BENCH_NR_OPS,
};

struct bench_job {
	uint32_t op, ms;
	uint32_t delay_us;
	uint32_t disk, queues, depth, bytes, is_write;
	uint64_t tsc_khz; /* 0: not known yet */
};

/* Latencies are counted by size: 32 steps to each power of two. Unit: TSC ticks. */
#define BENCH_HIST_STEPS   32u
#define BENCH_HIST_BUCKETS (36u * BENCH_HIST_STEPS)

struct bench_result {
	uint64_t ops, ticks, kicks, interrupts, errors;
	uint32_t hist[BENCH_HIST_BUCKETS];
};

struct bench_page {
	struct bench_job job;       /* host to guest */
	struct bench_result result; /* guest to host */
	uint64_t msi_addr;          /* where the peer's interrupts go */
	uint32_t msi_data;
	/* the conversation with the peer: each counter has one writer and a line of its own */
	_Alignas(128) uint64_t asked;
	_Alignas(128) uint64_t answered;
};

static inline uint32_t bench_hist_bucket(uint64_t ticks)
{
	if (ticks < BENCH_HIST_STEPS)
		return (uint32_t)ticks;
	uint32_t shift = 58u -
			 (uint32_t)__builtin_clzll(ticks); /* 5 bits below the top one remain */
	uint32_t at = (shift + 1) * BENCH_HIST_STEPS + (uint32_t)(ticks >> shift) -
		      BENCH_HIST_STEPS;
	return at < BENCH_HIST_BUCKETS ? at : BENCH_HIST_BUCKETS - 1;
}

/* The middle of bucket @at. */
static inline uint64_t bench_hist_ticks(uint32_t at)
{
	if (at < BENCH_HIST_STEPS)
		return at;
	uint32_t shift = at / BENCH_HIST_STEPS - 1;
	uint64_t low = (uint64_t)(at % BENCH_HIST_STEPS + BENCH_HIST_STEPS) << shift;
	return low + ((1ull << shift) >> 1);
}

#endif
