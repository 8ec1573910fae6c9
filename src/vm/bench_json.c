/* bench_json.c - the results for programs: all rounds summarized, times in nanoseconds. */
#include "bench_priv.h"

static const char *const json_names[BENCH_NR_VALUES] = {
	[BENCH_RATE] = "per_second",
	[BENCH_MEAN] = "latency_mean_ns",
	[BENCH_P50] = "latency_p50_ns",
	[BENCH_P99] = "latency_p99_ns",
	[BENCH_P999] = "latency_p999_ns",
	[BENCH_CPU] = "cpu_ns",
	[BENCH_CPU_IO] = "cpu_outside_vcpus_ns",
	[BENCH_KICKS] = "kicks",
	[BENCH_INTERRUPTS] = "interrupts",
	[BENCH_EXITS] = "exits_to_user_space",
	[BENCH_SYSCALLS] = "system_calls",
};

static json_t *json_case(const struct bench_case *c)
{
	const struct bench_job *j = &c->job;
	json_t *o = c->disk ? json_pack("{s:s, s:s, s:i, s:i, s:i}", "disk", c->disk, "operation",
					c->name, "bytes", (int)j->bytes, "queues", (int)j->queues,
					"depth", (int)j->depth)
			    : json_pack("{s:s}", "name", c->name);
	for (unsigned v = 0; o && v < BENCH_NR_VALUES; v++) {
		struct bench_summary s = bench_summarize(c, v);
		if (json_object_set_new(o, json_names[v],
					json_pack("{s:f, s:f, s:f}", "median", s.median, "min",
						  s.min, "max", s.max))) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

json_t *bench_json(const struct bench_plan *p, const struct hv_info *host)
{
	json_t *basics = json_array(), *disks = json_array();
	int err = 0;
	for (unsigned i = 0; i < p->nr_cases; i++) {
		const struct bench_case *c = &p->cases[i];
		err |= json_array_append_new(c->disk ? disks : basics, json_case(c));
	}
	json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:s, s:b, s:o, s:o}", "version", VMM_VERSION,
			      "kvm", host->kind == HV_HARDWARE ? "hardware" : "software", "rounds",
			      (int)p->nr_rounds, "ms", (int)p->cfg->ms, "poll", p->cfg->poll,
			      "direct", p->cfg->is_direct, "latencies", basics, "disks", disks);
	if (!err)
		return o;
	json_decref(o);
	return NULL;
}
