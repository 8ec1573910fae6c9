/* cases.h - the cases that list.c collects, file by file. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H
#include "bench/bench.h"

/* bench_bus.c */
extern const struct bench_case bench_bus_pio, bench_bus_mmio, bench_bus_mmio64;
extern const struct bench_case bench_bus_plugging, bench_bus_driver;

/* bench_queue.c */
extern const struct bench_case bench_queue_split_direct, bench_queue_split_direct_driver;
extern const struct bench_case bench_queue_split_indirect, bench_queue_split_indirect_driver;
extern const struct bench_case bench_queue_packed_direct, bench_queue_packed_direct_driver;
extern const struct bench_case bench_queue_packed_indirect, bench_queue_packed_indirect_driver;

#endif
