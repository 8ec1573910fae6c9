/* bench_report.c - the results as a table of at most 100 columns. */
#include "bench_priv.h"

void bench_describe(const struct bench_case *c, char *out, size_t len)
{
	const struct bench_job *j = &c->job;
	if (c->disk)
		(void)snprintf(out, len, "%s %s %uK, %u queue%s, depth %u", c->disk, c->name,
			       j->bytes / 1024, j->queues, j->queues > 1 ? "s" : "", j->depth);
	else
		(void)snprintf(out, len, "%s", c->name); /* cut is fine */
}

static double report_us(const struct bench_case *c, enum bench_value v)
{
	return bench_summarize(c, v).median / 1000;
}

/* Half the distance between the extremes, as a part of the median. */
static double report_spread(const struct bench_case *c, enum bench_value v)
{
	struct bench_summary s = bench_summarize(c, v);
	return s.median > 0 ? 50 * (s.max - s.min) / s.median : 0;
}

static void report_basics(FILE *to, const struct bench_plan *p)
{
	fprintf(to, "%-28s %10s %6s %10s %10s %10s\n", "us", "p50", "+-%", "mean", "p99", "p99.9");
	for (unsigned i = 0; i < p->nr_cases; i++) {
		const struct bench_case *c = &p->cases[i];
		if (!c->disk)
			fprintf(to, "%-28s %10.2f %6.0f %10.2f %10.2f %10.2f\n", c->name,
				report_us(c, BENCH_P50), report_spread(c, BENCH_P50),
				report_us(c, BENCH_MEAN), report_us(c, BENCH_P99),
				report_us(c, BENCH_P999));
	}
}

static double report_count(const struct bench_case *c, enum bench_value v)
{
	return bench_summarize(c, v).median;
}

static void report_disk(FILE *to, const struct bench_case *c)
{
	fprintf(to, "%2u %5u %8.1f %4.0f %8.2f %8.2f %6.3f %6.3f %6.3f %6.3f %7.1f %7.1f %8.1f\n",
		c->job.queues, c->job.depth, report_count(c, BENCH_RATE) / 1000,
		report_spread(c, BENCH_RATE), report_us(c, BENCH_CPU), report_us(c, BENCH_CPU_IO),
		report_count(c, BENCH_KICKS), report_count(c, BENCH_INTERRUPTS),
		report_count(c, BENCH_EXITS), report_count(c, BENCH_SYSCALLS),
		report_us(c, BENCH_P50), report_us(c, BENCH_P99), report_us(c, BENCH_P999));
}

static void report_disks(FILE *to, const struct bench_plan *p)
{
	const struct bench_case *before = NULL;
	for (unsigned i = 0; i < p->nr_cases; i++) {
		const struct bench_case *c = &p->cases[i];
		if (!c->disk)
			continue;
		if (!before || before->disk != c->disk || before->job.bytes != c->job.bytes ||
		    before->name != c->name)
			fprintf(to,
				"\n%s, %s %u KiB, random\n%2s %5s %8s %4s %8s %8s %6s %6s %6s %6s "
				"%7s %7s %8s\n",
				c->disk, c->name, c->job.bytes / 1024, "q", "depth", "kIOPS", "+-%",
				"CPU us", "I/O us", "kick", "irq", "exit", "sysc", "p50 us",
				"p99 us", "p99.9");
		report_disk(to, c);
		before = c;
	}
}

void bench_print(FILE *to, const struct bench_plan *p, const struct hv_info *host)
{
	fprintf(to, "KVM: %s. %u x %u ms each; medians, +-%%: half the range.\n\n",
		host->kind == HV_HARDWARE ? "hardware virtualization" : "software (PVM)",
		p->nr_rounds, p->cfg->ms);
	report_basics(to, p);
	report_disks(to, p);
	fprintf(to, "\nq: queues, one vCPU each. CPU us, I/O us: CPU time a request, of all "
		    "threads and of all but\n"
		    "the vCPUs'. kick, irq, exit (to user space), sysc(alls): each a request.\n");
}
