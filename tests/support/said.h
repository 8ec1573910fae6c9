/*
 * said.h - what a function of ours says on standard error. No assertion in between: its words would
 * be caught too.
 *
 * Layer:   tests
 * Threads: one at a time; all threads and children of the process are heard.
 * Errors:  BUG_ON().
 * Spec:    none.
 */
#ifndef TESTS_SUPPORT_SAID_H
#define TESTS_SUPPORT_SAID_H
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/compiler.h"

struct said {
	int file, old;
	char text[4096];
};

static inline void said_begin(struct said *s)
{
	s->file = memfd_create("said", 0);
	s->old = dup(STDERR_FILENO);
	/* append: several processes share the position, which for such a file no lock guards */
	BUG_ON(s->file < 0 || s->old < 0 || fcntl(s->file, F_SETFL, O_APPEND) ||
	       dup2(s->file, STDERR_FILENO) < 0);
}

/* What was said, in s->text. */
static inline const char *said_end(struct said *s)
{
	BUG_ON(dup2(s->old, STDERR_FILENO) < 0);
	ssize_t n = pread(s->file, s->text, sizeof(s->text) - 1, 0);
	s->text[n > 0 ? n : 0] = 0;
	close(s->old);
	close(s->file);
	return s->text;
}

static inline unsigned said_lines(const struct said *s)
{
	unsigned nr = 0;
	for (const char *at = s->text; (at = strchr(at, '\n')); at++)
		nr++;
	return nr;
}

#endif
