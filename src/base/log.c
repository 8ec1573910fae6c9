/* log.c - see base/log.h. */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level_now = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	if (level > log_get_level())
		return;
	char line[1024] = "vmm: ";
	size_t at = 5;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line + at, sizeof(line) - at - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	at += (size_t)n < sizeof(line) - at - 1 ? (size_t)n : sizeof(line) - at - 2;
	line[at++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, at);
	(void)ignored; /* nowhere left to say it */
}

bool log_rate_ok(struct log_rate *r)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	uint64_t now = (uint64_t)ts.tv_sec;
	if (atomic_load_explicit(&r->second, memory_order_relaxed) != now) {
		atomic_store_explicit(&r->second, now, memory_order_relaxed);
		atomic_store_explicit(&r->used, 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&r->used, 1, memory_order_relaxed) < LOG_RATE_BURST;
}

void bug_on_failed(const char *file, int line, const char *claim)
{
	fprintf(stderr, "vmm: BUG at %s:%d: %s\n", file, line, claim);
	abort();
}
