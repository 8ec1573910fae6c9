/*
 * bench.h - the guest's side of `vmm bench`: jobs come from the host, see arch/bench_wire.h.
 */
#ifndef GUEST_BENCH_H
#define GUEST_BENCH_H
#include <stdbool.h>
#include <stdint.h>
#include "arch/bench_wire.h"

/* `bench=ADDRESS` on the command line: do jobs until the host says stop. */
bool bench_is_wanted(void);
void bench_run(void);

/* When a job's clock starts and ends; to be called by the boot processor. */
void bench_begin(void);
void bench_end(void);
/* Ticks of the TSC in @ms milliseconds and @us microseconds, by the host's word if it has given
 * one. */
uint64_t bench_ticks(const struct bench_job *j, uint32_t ms, uint32_t us);

static inline void bench_count(uint32_t *hist, uint64_t ticks)
{
	hist[bench_hist_bucket(ticks)]++;
}

/* bench_blk.c */
void bench_disk(const struct bench_job *j, struct bench_result *r);

#endif
