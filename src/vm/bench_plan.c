/* bench_plan.c - what is measured, and from counters to figures. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "bench_priv.h"

static const struct {
	enum bench_op op;
	const char *name;
	uint32_t delay_us;
} plan_basics[] = {
	{ BENCH_OP_PORT, "port access, user space", 0 },
	{ BENCH_OP_MMIO, "MMIO access, user space", 0 },
	{ BENCH_OP_PORT_BELL, "ioeventfd, port", 0 },
	{ BENCH_OP_MMIO_BELL, "ioeventfd, MMIO", 0 },
	{ BENCH_OP_CALL, "kick of a sleeping thread", 0 },
	{ BENCH_OP_IRQ_SPIN, "interrupt, guest spins", 20 },
	{ BENCH_OP_IRQ_HALT, "interrupt, halted 20 us", 20 },
	{ BENCH_OP_IRQ_HALT, "interrupt, halted 2 ms", 2000 },
};
static const char *const plan_disks[BENCH_NR_DISKS] = { "null", "file" };
static const uint32_t plan_bytes[] = { 4096, 131072 };
static const uint32_t plan_depths[] = { 1, 32, 128 };

static struct bench_case *plan_add(struct bench_plan *p, const char *name, enum bench_op op)
{
	BUG_ON(p->nr_cases == BENCH_MAX_CASES);
	struct bench_case *c = &p->cases[p->nr_cases++];
	*c = (struct bench_case){ .name = name, .job = { .op = op, .ms = p->cfg->ms } };
	return c;
}

static void plan_add_disk(struct bench_plan *p, unsigned disk, uint32_t bytes, bool is_write)
{
	for (unsigned q = 1; q <= p->nr_queues; q++) {
		for (size_t d = 0; d < ARRAY_SIZE(plan_depths); d++) {
			struct bench_case *c = plan_add(p, is_write ? "write" : "read",
							BENCH_OP_DISK);
			c->disk = plan_disks[disk];
			c->job.disk = disk;
			c->job.bytes = bytes;
			c->job.is_write = is_write;
			c->job.queues = q;
			c->job.depth = plan_depths[d];
		}
	}
}

void bench_plan_fill(struct bench_plan *p, const struct bench_config *cfg, unsigned nr_queues)
{
	*p = (struct bench_plan){ .cfg = cfg, .nr_rounds = cfg->rounds, .nr_queues = nr_queues };
	for (size_t i = 0; i < ARRAY_SIZE(plan_basics); i++)
		plan_add(p, plan_basics[i].name, plan_basics[i].op)->job.delay_us =
			plan_basics[i].delay_us;
	for (unsigned disk = 0; disk < BENCH_NR_DISKS; disk++)
		for (size_t s = 0; s < ARRAY_SIZE(plan_bytes); s++)
			for (unsigned w = 0; w < 2; w++)
				plan_add_disk(p, disk, plan_bytes[s], w);
}

/* The latency that @share of all operations do not exceed, in ticks. */
static uint64_t round_percentile(const struct bench_result *r, uint64_t total, double share)
{
	uint64_t want = (uint64_t)((double)total * share), seen = 0;
	for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
		seen += r->hist[i];
		if (seen > want)
			return bench_hist_ticks(i);
	}
	return bench_hist_ticks(BENCH_HIST_BUCKETS - 1);
}

static void round_latencies(struct bench_round *out, const struct bench_result *r, double tick_ns)
{
	uint64_t total = 0;
	double sum = 0;
	for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
		total += r->hist[i];
		sum += (double)r->hist[i] * (double)bench_hist_ticks(i);
	}
	out->v[BENCH_MEAN] = total ? sum / (double)total * tick_ns : 0;
	out->v[BENCH_P50] = (double)round_percentile(r, total, 0.5) * tick_ns;
	out->v[BENCH_P99] = (double)round_percentile(r, total, 0.99) * tick_ns;
	out->v[BENCH_P999] = (double)round_percentile(r, total, 0.999) * tick_ns;
}

int bench_round_make(struct bench_round *out, const struct bench_sample *from,
		     const struct bench_sample *to, const struct bench_result *r)
{
	if (!r->ops || !r->ticks || to->time_ns <= from->time_ns)
		return -ENODATA;
	double ops = (double)r->ops, ns = (double)(to->time_ns - from->time_ns);
	double cpu = (double)(to->cpu_ns - from->cpu_ns),
	       vcpu = (double)(to->vcpu_ns - from->vcpu_ns);
	double exits = (double)(to->exits - from->exits),
	       enters = (double)(to->enters - from->enters);
	*out = (struct bench_round){ 0 };
	out->v[BENCH_RATE] = ops / ns * 1e9;
	out->v[BENCH_CPU] = cpu / ops;
	out->v[BENCH_CPU_IO] = (cpu > vcpu ? cpu - vcpu : 0) / ops;
	out->v[BENCH_KICKS] = (double)r->kicks / ops;
	out->v[BENCH_INTERRUPTS] = (double)r->interrupts / ops;
	out->v[BENCH_EXITS] = exits / ops;
	/* a KVM_RUN for each exit, the rings, an eventfd written for each interrupt */
	out->v[BENCH_SYSCALLS] = (exits + enters + (double)r->interrupts) / ops;
	round_latencies(out, r, ns / (double)r->ticks);
	return 0;
}

static int summary_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

struct bench_summary bench_summarize(const struct bench_case *c, enum bench_value v)
{
	double sorted[BENCH_MAX_ROUNDS];
	unsigned n = c->nr_done;
	if (!n)
		return (struct bench_summary){ 0, 0, 0 };
	for (unsigned i = 0; i < n; i++)
		sorted[i] = c->rounds[i].v[v];
	qsort(sorted, n, sizeof(sorted[0]), summary_compare);
	return (struct bench_summary){ (sorted[n / 2] + sorted[(n - 1) / 2]) / 2, sorted[0],
				       sorted[n - 1] };
}
