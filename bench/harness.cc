/* harness.cc - runs the cases of list.c under Google Benchmark. The one C++ file of the tree. */
#include <benchmark/benchmark.h>
#include <cstring>
#include <string>
extern "C" {
#include "bench/bench.h"
}

/* Operations between two looks at the clock. */
static constexpr uint64_t batch = 4096;

static void bench_run(benchmark::State &state, const bench_case *c, int64_t arg)
{
	static void *ctx; /* of the case that runs now: thread 0 makes it before the others start */
	static int err;
	if (state.thread_index() == 0)
		err = c->setup(&ctx, arg);
	if (err) {
		state.SkipWithError(strerror(-err));
		return;
	}
	while (state.KeepRunningBatch(batch))
		c->run(ctx, static_cast<unsigned>(state.thread_index()), batch);
	if (state.thread_index() != 0)
		return;
	bench_figure figures[BENCH_MAX_FIGURES];
	for (unsigned n = c->figures ? c->figures(ctx, figures) : 0; n--;)
		state.counters[figures[n].name] = figures[n].value;
	c->teardown(ctx);
}

static void bench_register(const bench_case *c)
{
	int i = 0;
	do {
		int64_t arg = c->args[i];
		std::string name = c->name;
		if (arg)
			name += "/" + std::to_string(arg);
		auto *b = benchmark::RegisterBenchmark(
			name.c_str(), [c, arg](benchmark::State &s) { bench_run(s, c, arg); });
		for (unsigned t = c->min_threads ? c->min_threads : 1; t <= c->max_threads; t *= 2)
			b->Threads(static_cast<int>(t));
		if (c->max_threads > 1 || c->is_elsewhere)
			b->UseRealTime();
		if (c->is_elsewhere)
			b->MeasureProcessCPUTime();
	} while (++i < BENCH_MAX_ARGS && c->args[i]);
}

int main(int argc, char **argv)
{
	for (auto *c = bench_cases; *c; c++)
		bench_register(*c);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 2;
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
