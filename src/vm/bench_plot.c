/* bench_plot.c - requests a second and CPU time a request over depth, drawn by gnuplot. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "bench_priv.h"

bool bench_can_plot(void)
{
	FILE *f = popen("command -v gnuplot", "re");
	char line[256];
	bool is_there = f && fgets(line, sizeof(line), f);
	return f && !pclose(f) && is_there;
}

/* gnuplot's single quotes: doubled inside. */
static void plot_quoted(FILE *to, const char *s)
{
	fputc('\'', to);
	for (; *s; s++) {
		if (*s == '\'')
			fputc('\'', to);
		fputc(*s, to);
	}
	fputc('\'', to);
}

/* One panel: the cells of one disk and size, a line for each operation and number of queues. */
static void plot_data(FILE *to, const struct bench_plan *p, const char *disk, uint32_t bytes,
		      enum bench_value v, double scale)
{
	const struct bench_case *before = NULL;
	unsigned blocks = 0;
	fprintf(to, "$data << EOD\n");
	for (unsigned i = 0; i < p->nr_cases; i++) {
		const struct bench_case *c = &p->cases[i];
		if (!c->disk || strcmp(c->disk, disk) != 0 || c->job.bytes != bytes)
			continue;
		if (!before || before->name != c->name || before->job.queues != c->job.queues)
			fprintf(to, "%s\"%s, %u queue%s\"\n", blocks++ ? "\n\n" : "", c->name,
				c->job.queues, c->job.queues > 1 ? "s" : "");
		struct bench_summary s = bench_summarize(c, v);
		fprintf(to, "%u %g %g %g\n", c->job.depth, s.median * scale, s.min * scale,
			s.max * scale);
		before = c;
	}
	fprintf(to, "EOD\nset title '%s, %u KiB'\n", disk, bytes / 1024);
	fprintf(to,
		"plot for [i=0:%u] $data index i using 1:2:3:4 with yerrorlines title "
		"columnheader(1)\n",
		blocks ? blocks - 1 : 0);
}

static void plot_script(FILE *to, const struct bench_plan *p, const char *path)
{
	static const char *const disks[] = { "null", "file" };
	fprintf(to, "set terminal svg size 1000,1400 background 'white'\nset output ");
	plot_quoted(to, path);
	fprintf(to, "\nset multiplot layout 4,2\nset logscale x 2\nset xlabel 'depth'\n"
		    "set key top left\nset yrange [0:*]\n");
	for (unsigned d = 0; d < ARRAY_SIZE(disks); d++) {
		for (uint32_t bytes = 4096; bytes <= 131072; bytes *= 32) {
			fprintf(to, "set ylabel 'thousand requests a second'\n");
			plot_data(to, p, disks[d], bytes, BENCH_RATE, 1e-3);
			fprintf(to, "set ylabel 'us of CPU a request, all threads'\n");
			plot_data(to, p, disks[d], bytes, BENCH_CPU, 1e-3);
		}
	}
	fprintf(to, "unset multiplot\n");
}

/* The machine had them blocked, for its control loop to read. Now nobody does. */
static void plot_let_signals_end(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* fails for an unknown request only */
}

int bench_plot(const struct bench_plan *p, const char *path)
{
	plot_let_signals_end(); /* gnuplot inherits it */
	FILE *to = popen("gnuplot", "we");
	if (!to)
		return -errno;
	plot_script(to, p, path);
	return pclose(to) ? -EIO : 0;
}
