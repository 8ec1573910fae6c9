/*
 * spoken.h - for commands that speak to a running VM: the test plays it, and gives the command
 * line.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  cmocka assertions.
 * Spec:    docs/control.md.
 */
#ifndef TESTS_UNIT_CLI_SPOKEN_H
#define TESTS_UNIT_CLI_SPOKEN_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "src/cli/cli.h"
#include "src/cli/control.h"
#include "support/json_memory.h"
#include "support/said.h"
#include "vm/vm.h"

#define MAX_ARGS 80

/* --- the VM that is spoken to --- */

static char asked[2048];               /* "SOCKET REQUEST" a line; "… until end" */
static const char *mute;               /* the socket nobody answers at */
static int mute_status = VM_EXIT_HOST; /* what is told of it */
static const char *replying;           /* the "result" of others; NULL: {} */
static const char *replying_next;      /* ... from the second time on; NULL: the same */

json_t *control_ask(const char *command, const char *socket, json_t *request, bool until_end,
		    int *status)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t at = strlen(asked);
	assert_non_null(command);
	(void)snprintf(asked + at, sizeof(asked) - at, "%s %s%s\n", socket,
		       text ? text : "(no memory)", until_end ? " until end" : "");
	bool fails = !text || (mute && !strcmp(mute, socket));
	json_memory_free(text);
	json_decref(request);
	*status = fails ? mute_status : VM_EXIT_OK;
	if (fails)
		return NULL;
	unsigned left = json_memory_left;
	json_memory_left = UINT_MAX; /* the VM has its own */
	json_t *r = json_loads(replying ? replying : "{}", 0, NULL);
	json_memory_left = left;
	assert_non_null(r);
	replying = replying_next ? replying_next : replying;
	replying_next = NULL;
	return r;
}

/* --- the command line --- */

static struct ran {
	int status;
	char out[32768];
	struct said err;
} ran;

/* Run @fn with the words of @line, standard output into @fd. */
static inline void run_into(int (*fn)(int, char **), const char *line, int fd)
{
	char copy[1024], *argv[MAX_ARGS + 1], *rest = NULL;
	int argc = 0;
	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *s = strtok_r(copy, " ", &rest); s && argc < MAX_ARGS;
	     s = strtok_r(NULL, " ", &rest))
		argv[argc++] = s;
	argv[argc] = NULL;
	asked[0] = 0;
	(void)fflush(stdout);
	said_begin(&ran.err);
	int old = dup(STDOUT_FILENO);
	BUG_ON(fd < 0 || old < 0 || dup2(fd, STDOUT_FILENO) < 0);
	ran.status = fn(argc, argv);
	(void)fflush(stdout);
	clearerr(stdout);
	__fpurge(stdout); /* what could not be written */
	BUG_ON(dup2(old, STDOUT_FILENO) < 0);
	ssize_t n = pread(fd, ran.out, sizeof(ran.out) - 1, 0);
	ran.out[n > 0 ? n : 0] = 0;
	close(old);
	close(fd);
	said_end(&ran.err);
}

static inline void run(int (*fn)(int, char **), const char *line)
{
	run_into(fn, line, memfd_create("out", 0));
}

/* A command line that makes no sense, and words of the one line that says why. */
struct refusal {
	const char *line, *words;
};

static inline void expect_refused(int (*fn)(int, char **), const struct refusal *rows, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		run(fn, rows[i].line);
		assert_int_equal(ran.status, VM_EXIT_USAGE);
		assert_int_equal(said_lines(&ran.err), 1);
		if (!strstr(ran.err.text, rows[i].words))
			fail_msg("%s: %s", rows[i].line, ran.err.text);
		assert_string_equal(asked, "");
	}
}

static inline int setup(void **state)
{
	(void)state;
	mute = replying = replying_next = NULL;
	return 0;
}

#endif
