/*
 * bench.h - a benchmark as a table entry: harness.cc hands the entries of list.c to Google
 * Benchmark, which decides how often to run them and prints the result.
 *
 * Layer:   bench
 * Threads: setup and teardown on one thread; run on as many as the case allows, at once.
 * Errors:  a case that cannot be set up says why with setup's errno, and is reported as failed.
 * Spec:    none.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H
#include <stdbool.h>
#include <stdint.h>

#define BENCH_MAX_ARGS    8
#define BENCH_MAX_FIGURES 4

struct bench_figure {
	const char *name;
	double value;
};

struct bench_case {
	const char *name; /* layer/file: what */
	/* @arg is one of args; *ctx is given to run and teardown. 0 or negative errno. */
	int (*setup)(void **ctx, int64_t arg);
	/* Do the operation @n times, or a few more to fill a batch of the case's own. */
	void (*run)(void *ctx, unsigned thread, uint64_t n);
	void (*teardown)(void *ctx);
	/* NULL, or: put what else was measured into @f, and say how many figures that is. */
	unsigned (*figures)(void *ctx, struct bench_figure f[BENCH_MAX_FIGURES]);
	int64_t args[BENCH_MAX_ARGS]; /* ended by 0; none: run once with 0 */
	unsigned min_threads;         /* 1, 2, 4 ... from this; 0 is 1 */
	unsigned max_threads;         /* up to this; 0 is 1 */
	bool is_elsewhere; /* threads of the case's own do the work: count all CPU time */
};

/* In list.c; ended by NULL. */
extern const struct bench_case *const bench_cases[];

#endif
