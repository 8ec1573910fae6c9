/* test_bench.c - from counters to figures: percentiles, per-request counts, medians, the plan. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "src/vm/bench_priv.h"

static const struct bench_config config = {
	.folder = ".", .poll = "adaptive", .rounds = 3, .ms = 100
};

static void buckets_keep_two_digits(void **state)
{
	(void)state;
	uint32_t before = 0;
	for (uint64_t t = 0; t < 1ull << 40; t = t + 1 + t / 7) {
		uint32_t at = bench_hist_bucket(t);
		uint64_t back = bench_hist_ticks(at);
		uint64_t off = back > t ? back - t : t - back;
		assert_true(at >= before && at < BENCH_HIST_BUCKETS);
		assert_true(off * 64 <= t); /* half of one of 32 steps */
		before = at;
	}
	assert_int_equal(bench_hist_bucket(UINT64_MAX), BENCH_HIST_BUCKETS - 1);
}

static void every_bucket_is_its_own(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++)
		assert_int_equal(bench_hist_bucket(bench_hist_ticks(i)), i);
}

static void counts_become_figures_for_one_request(void **state)
{
	(void)state;
	struct bench_result *r = calloc(1, sizeof(*r));
	struct bench_round out;
	const struct bench_sample from = { .time_ns = 1000, .cpu_ns = 500, .vcpu_ns = 100 };
	const struct bench_sample to = {
		.time_ns = 1001000, .cpu_ns = 200500, .vcpu_ns = 150100, .exits = 10, .enters = 50
	};
	r->ops = 1000;
	r->ticks = 2000000; /* two a nanosecond */
	r->kicks = 100;
	r->interrupts = 200;
	r->hist[bench_hist_bucket(20)] = 990;
	r->hist[bench_hist_bucket(31)] = 9;
	r->hist[bench_hist_bucket(1 << 20)] = 1;
	assert_int_equal(bench_round_make(&out, &from, &to, r), 0);
	assert_true(out.v[BENCH_RATE] == 1e6);
	assert_true(out.v[BENCH_CPU] == 200 && out.v[BENCH_CPU_IO] == 50);
	assert_true(out.v[BENCH_KICKS] == 0.1 && out.v[BENCH_INTERRUPTS] == 0.2);
	assert_true(out.v[BENCH_EXITS] == 0.01 && out.v[BENCH_SYSCALLS] == 0.26);
	assert_true(out.v[BENCH_P50] == 10 && out.v[BENCH_P99] == 15.5);
	assert_true(out.v[BENCH_P999] > 500000 && out.v[BENCH_P999] < 550000);
	r->ops = 0;
	assert_int_equal(bench_round_make(&out, &from, &to, r), -ENODATA);
	r->ops = 1;
	assert_int_equal(bench_round_make(&out, &to, &from, r), -ENODATA);
	free(r);
}

static void a_summary_is_median_and_range(void **state)
{
	(void)state;
	struct bench_case c = { .nr_done = 4 };
	static const double v[] = { 4, 1, 3, 100 };
	for (unsigned i = 0; i < 4; i++)
		c.rounds[i].v[BENCH_P50] = v[i];
	struct bench_summary s = bench_summarize(&c, BENCH_P50);
	assert_true(s.median == 3.5 && s.min == 1 && s.max == 100);
	c.nr_done = 3;
	assert_true(bench_summarize(&c, BENCH_P50).median == 3);
	c.nr_done = 0;
	assert_true(bench_summarize(&c, BENCH_P50).median == 0);
}

static void the_plan_has_every_cell_once(void **state)
{
	(void)state;
	struct bench_plan *p = malloc(sizeof(*p));
	char a[80], b[80];
	for (unsigned queues = 1; queues <= BENCH_MAX_QUEUES; queues++) {
		bench_plan_fill(p, &config, queues);
		assert_int_equal(p->nr_cases, 8 + 24 * queues);
		for (unsigned i = 0; i < p->nr_cases; i++) {
			bench_describe(&p->cases[i], a, sizeof(a));
			assert_true(p->cases[i].job.ms == 100 && p->cases[i].job.queues <= queues);
			for (unsigned j = 0; j < i; j++) {
				bench_describe(&p->cases[j], b, sizeof(b));
				assert_string_not_equal(a, b);
			}
		}
	}
	free(p);
}

static void no_line_is_wider_than_a_terminal(void **state)
{
	(void)state;
	struct bench_plan *p = malloc(sizeof(*p));
	struct hv_info host = { 0 };
	char *text = NULL, *rest = NULL;
	size_t len;
	bench_plan_fill(p, &config, BENCH_MAX_QUEUES);
	for (unsigned i = 0; i < p->nr_cases; i++) {
		p->cases[i].nr_done = 1;
		for (unsigned v = 0; v < BENCH_NR_VALUES; v++) /* ms, shares below ten */
			p->cases[i].rounds[0].v[v] = v < BENCH_KICKS ? 9e6 : 9.999;
	}
	FILE *f = open_memstream(&text, &len);
	bench_print(f, p, &host);
	(void)fclose(f);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		assert_in_range(strlen(line), 0, 100);
	free(text);
	free(p);
}

static void json_has_every_case(void **state)
{
	(void)state;
	struct bench_plan *p = malloc(sizeof(*p));
	struct hv_info host = { 0 };
	bench_plan_fill(p, &config, 1);
	json_t *o = bench_json(p, &host);
	assert_non_null(o);
	assert_int_equal(json_array_size(json_object_get(o, "latencies")), 8);
	assert_int_equal(json_array_size(json_object_get(o, "disks")), 24);
	json_decref(o);
	free(p);
}

/* --- the picture --- */

/* In this process's place: gnuplot is a script that tells its process to a FIFO, and waits. */
static void plot_as_after_a_machine(const char *folder)
{
	struct bench_plan *p = calloc(1, sizeof(*p));
	sigset_t set;
	char path[256];
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	(void)signal(SIGINT, SIG_DFL); /* whoever runs tests in the background ignores it */
	(void)snprintf(path, sizeof(path), "%s:%s", folder, getenv("PATH"));
	if (!p || setenv("PATH", path, 1) || sigprocmask(SIG_BLOCK, &set, NULL))
		_exit(2);
	bench_plan_fill(p, &config, 1);
	_exit(bench_plot(p, "a.svg") ? 1 : 0);
}

static void make_gnuplot(const char *folder, const char *fifo)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/gnuplot", folder);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\necho $$ >%s\nexec sleep 20\n", fifo);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static void a_signal_ends_the_wait_for_gnuplot(void **state)
{
	(void)state;
	char folder[] = "plot-XXXXXX", fifo[64], path[64];
	int status, gnuplot = 0;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(fifo, sizeof(fifo), "%s/started", folder);
	(void)snprintf(path, sizeof(path), "%s/gnuplot", folder);
	make_gnuplot(folder, fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	pid_t child = fork();
	if (!child)
		plot_as_after_a_machine(folder);
	FILE *f = fopen(fifo, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &gnuplot), 1);
	fclose(f);
	assert_int_equal(kill(child, SIGINT), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)kill(gnuplot, SIGKILL);
	(void)unlink(fifo);
	(void)unlink(path);
	(void)rmdir(folder);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_keep_two_digits),
		cmocka_unit_test(every_bucket_is_its_own),
		cmocka_unit_test(counts_become_figures_for_one_request),
		cmocka_unit_test(a_summary_is_median_and_range),
		cmocka_unit_test(the_plan_has_every_cell_once),
		cmocka_unit_test(no_line_is_wider_than_a_terminal),
		cmocka_unit_test(json_has_every_case),
		cmocka_unit_test(a_signal_ends_the_wait_for_gnuplot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
