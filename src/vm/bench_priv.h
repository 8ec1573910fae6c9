/*
 * bench_priv.h - the cases of `vmm bench`, what is measured of each, and who prints it.
 *
 * Layer:   vm
 * Threads: while the guest runs the plan belongs to vCPU 0's thread, then to the main thread.
 * Errors:  0 or negative errno; status where a line was printed.
 * Spec:    docs/benchmarks.md.
 */
#ifndef VM_BENCH_PRIV_H
#define VM_BENCH_PRIV_H
#include <jansson.h>
#include <stdio.h>
#include "arch/bench_wire.h"
#include "arch/hv.h"
#include "vm/bench.h"
#include "vm_priv.h"

#define BENCH_MAX_CASES  96
#define BENCH_NR_DISKS   2u
#define BENCH_MAX_QUEUES 2u /* the guest has so many processors */

/* One measurement; times in nanoseconds, counts for each operation. */
enum bench_value {
	BENCH_RATE, /* operations a second */
	BENCH_MEAN, /* of the latency */
	BENCH_P50,
	BENCH_P99,
	BENCH_P999,
	BENCH_CPU,    /* of the whole process */
	BENCH_CPU_IO, /* of all threads but the vCPUs' */
	BENCH_KICKS,
	BENCH_INTERRUPTS,
	BENCH_EXITS, /* to user space */
	BENCH_SYSCALLS,
	BENCH_NR_VALUES,
};
struct bench_round {
	double v[BENCH_NR_VALUES];
};

struct bench_case {
	const char *name; /* for people */
	const char *disk; /* "null", "file"; NULL: no disk */
	struct bench_job job;
	unsigned nr_done;
	struct bench_round rounds[BENCH_MAX_ROUNDS];
};

struct bench_plan {
	const struct bench_config *cfg;
	unsigned nr_cases, nr_rounds, nr_queues;
	struct bench_case cases[BENCH_MAX_CASES];
};

struct bench_summary {
	double median, min, max;
};

/* What the host's clocks and counters said at one moment. */
struct bench_sample {
	uint64_t time_ns, cpu_ns, vcpu_ns, exits, enters;
};

/* bench_plan.c */
void bench_plan_fill(struct bench_plan *p, const struct bench_config *cfg, unsigned nr_queues);
/* From what was counted between two samples to values. -ENODATA: nothing was done. */
MUST_CHECK int bench_round_make(struct bench_round *out, const struct bench_sample *from,
				const struct bench_sample *to, const struct bench_result *r);
struct bench_summary bench_summarize(const struct bench_case *c, enum bench_value v);

/* bench_report.c */
void bench_print(FILE *to, const struct bench_plan *p, const struct hv_info *host);
/* The line that names a case: "null read 4K, 1 queue, depth 32". */
void bench_describe(const struct bench_case *c, char *out, size_t len);

/* bench_json.c. NULL: no memory. */
json_t *bench_json(const struct bench_plan *p, const struct hv_info *host);

/* bench_plot.c */
MUST_CHECK bool bench_can_plot(void);
MUST_CHECK int bench_plot(const struct bench_plan *p, const char *path);

/* bench_dev.c */
struct bench_dev {
	/* immutable */
	struct bench_plan *plan;
	/* control thread */
	struct thread *peer;
	uint32_t gsi;
	bool has_gsi, has_irqfd, has_bells[3];
	int bell_fd, call_fd, irq_fd;
	/* vCPU 0's thread */
	struct vm *vm;
	unsigned next;
	bool has_failed;
	uint64_t tsc_khz;
	struct bench_sample begin, end;
	clockid_t vcpus[BENCH_MAX_QUEUES];
	unsigned nr_vcpus;
	/* any thread */
	_Atomic(struct bench_page *) page;
	_Atomic unsigned peer_mode; /* enum bench_op, or BENCH_PEER_END */
	_Atomic unsigned peer_delay_us;
};
#define BENCH_PEER_END BENCH_NR_OPS
extern const struct vm_extra bench_dev_extra; /* its ctx is to be a struct bench_dev */
void bench_dev_init(struct bench_dev *b, struct bench_plan *p);

#endif
