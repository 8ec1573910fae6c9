/*
 * zygote_rig.h - for tests of the zygote: each runs without and with namespaces, and asks the
 * processes for single letters.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  asserted.
 * Spec:    none.
 */
#ifndef TESTS_JAIL_ZYGOTE_RIG_H
#define TESTS_JAIL_ZYGOTE_RIG_H
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 60000

/* Two rows of a table of tests; *state is whether processes are jailed. */
#define BOTH(test)                                                                                 \
	{ "plain: " #test, test, NULL, NULL, NULL },                                               \
	{                                                                                          \
		"in namespaces: " #test, test, NULL, NULL, (void *)1                               \
	}

/* What the process at the other end answers to @what; 0: it has ended. */
static inline char ask(int sock, char what)
{
	struct pollfd p = { sock, POLLIN, 0 };
	assert_int_equal(write(sock, &what, 1), 1);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	return read(sock, &what, 1) == 1 ? what : 0;
}

#endif
