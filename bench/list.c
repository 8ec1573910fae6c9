/* list.c - all benchmarks there are. */
#include <stddef.h>
#include "bench/cases.h"

const struct bench_case *const bench_cases[] = {
	&bench_bus_pio,
	&bench_bus_mmio,
	&bench_bus_mmio64,
	&bench_bus_plugging,
	&bench_bus_driver,
	&bench_queue_split_direct,
	&bench_queue_split_direct_driver,
	&bench_queue_split_indirect,
	&bench_queue_split_indirect_driver,
	&bench_queue_packed_direct,
	&bench_queue_packed_direct_driver,
	&bench_queue_packed_indirect,
	&bench_queue_packed_indirect_driver,
	NULL,
};
