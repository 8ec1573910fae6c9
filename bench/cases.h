/* cases.h - the cases that list.c collects, file by file. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H
#include "bench/bench.h"

/* bench_bus.c */
extern const struct bench_case bench_bus_pio, bench_bus_mmio, bench_bus_mmio64;
extern const struct bench_case bench_bus_plugging, bench_bus_driver;
extern const struct bench_case bench_bus_each, bench_bus_each_plugging;

/* bench_queue.c */
extern const struct bench_case bench_queue_split_direct, bench_queue_split_direct_driver;
extern const struct bench_case bench_queue_split_indirect, bench_queue_split_indirect_driver;
extern const struct bench_case bench_queue_packed_direct, bench_queue_packed_direct_driver;
extern const struct bench_case bench_queue_packed_indirect, bench_queue_packed_indirect_driver;

/* bench_lock.c */
extern const struct bench_case bench_lock_mutex, bench_lock_mutex_pthread,
	bench_lock_rwlock_pthread;
extern const struct bench_case bench_lock_shared, bench_lock_shared_pthread, bench_lock_spin;
extern const struct bench_case bench_lock_spin_pthread, bench_lock_seqlock_load,
	bench_lock_seqlock_store;

/* bench_shared.c */
extern const struct bench_case bench_shared_refcount, bench_shared_refcount_bare,
	bench_shared_counter;
extern const struct bench_case bench_shared_counter_bare, bench_shared_rcu, bench_shared_rcu_bare;
extern const struct bench_case bench_shared_rcu_calls, bench_shared_line;

/* bench_sync_queue.c */
extern const struct bench_case bench_sync_queue_spsc_alone, bench_sync_queue_mpsc_alone,
	bench_sync_queue_mpmc_alone;
extern const struct bench_case bench_sync_queue_spsc, bench_sync_queue_mpsc_1,
	bench_sync_queue_mpsc_3;
extern const struct bench_case bench_sync_queue_mpmc_1, bench_sync_queue_mpmc_2;

/* bench_reactor.c */
extern const struct bench_case bench_reactor_nothing, bench_reactor_file, bench_reactor_pread;
extern const struct bench_case bench_reactor_wake, bench_reactor_post_asleep,
	bench_reactor_post_awake;

#endif
