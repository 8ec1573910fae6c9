/* log.c - see base/log.h. */
#include "base/log.h"
#include <poll.h>
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

static struct log_said *_Atomic log_said_lines;

void log_share_errors(struct log_said *said)
{
	atomic_store_explicit(&log_said_lines, said, memory_order_relaxed);
}

static uint64_t log_second(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec;
}

/* Did somebody just say @line? Else it is noted as said. FNV-1a; 0 is no line's. */
static bool log_was_said(struct log_said *said, const char *line, size_t len)
{
	uint32_t hash = 2166136261u, now = (uint32_t)log_second();
	for (size_t i = 0; i < len; i++)
		hash = (uint32_t)((hash ^ (uint8_t)line[i]) * 16777619ull);
	hash |= 1;
	_Atomic uint64_t *slot = &said->lines[(hash >> 1) % LOG_SAID_LINES];
	uint64_t ours = (uint64_t)hash << 32 | now;
	/* relaxed: nothing but the line depends on it */
	uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
	do {
		if (old >> 32 == hash && now - (uint32_t)old < LOG_SAID_S)
			return true;
	} while (!atomic_compare_exchange_weak_explicit(slot, &old, ours, memory_order_relaxed,
							memory_order_relaxed));
	return false;
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
	/* one line, whatever stands in a name: no second one, no command to the terminal */
	for (size_t i = 0; i < at; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[at++] = '\n';
	struct log_said *said = atomic_load_explicit(&log_said_lines, memory_order_relaxed);
	if (level == LOG_LEVEL_ERROR && said && log_was_said(said, line, at))
		return;
	ssize_t ignored = write(STDERR_FILENO, line, at);
	(void)ignored; /* nowhere left to say it */
}

bool log_rate_ok(struct log_rate *r)
{
	uint64_t now = log_second();
	if (atomic_load_explicit(&r->second, memory_order_relaxed) != now) {
		atomic_store_explicit(&r->second, now, memory_order_relaxed);
		atomic_store_explicit(&r->used, 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&r->used, 1, memory_order_relaxed) < LOG_RATE_BURST;
}

/* A pipe that is full, a terminal that was stopped. */
bool log_would_wait(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	return ppoll(&p, 1, &(struct timespec){ 0 }, NULL) == 0;
}

void bug_on_failed(const char *file, int line, const char *claim)
{
	fprintf(stderr, "vmm: BUG at %s:%d: %s\n", file, line, claim);
	abort();
}
