/* in_jail.h - run a function in a process that the zygote made, jailed or not; for the tests here.
 */
#ifndef TESTS_IN_JAIL_H
#define TESTS_IN_JAIL_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "src/vm/jail.h"
#include "src/vm/zygote.h"

struct in_jail {
	int (*fn)(void *arg); /* its result, 0 to 99, is in_jail()'s */
	void *arg;
	bool has_jail;
	uint32_t lacks; /* so much of it may be missing here */
};

#define IN_JAIL_LACKS 100 /* this host refuses a part of the jail */

static int in_jail_open(void *ctx, unsigned dev, int *fd)
{
	(void)ctx;
	(void)dev;
	(void)fd;
	return 0;
}

static int in_jail_serve(void *ctx, const struct zygote_child *c)
{
	const struct in_jail *j = ctx;
	struct jail_config cfg = { .ns = c->ns, .max_files = 256, .max_threads = 64 };
	if (j->has_jail && (jail_enter(&cfg) & ~j->lacks))
		return IN_JAIL_LACKS;
	return j->fn(j->arg);
}

/* Status of the process; 128 + n: ended by signal n. */
static int in_jail(const struct in_jail *j)
{
	static const struct zygote_ops ops = { .open = in_jail_open, .serve = in_jail_serve };
	static const char *const names[] = { "prisoner" };
	struct zygote_config cfg = { .ops = &ops,
				     .ctx = (void *)(uintptr_t)j,
				     .nr_devices = 1,
				     .names = names,
				     .is_jailed = j->has_jail };
	struct zygote *z = NULL;
	assert_int_equal(zygote_create(&z, &cfg), 0);
	int sock = zygote_connect(zygote_device(z, 0));
	assert_int_equal(sock, -ECANCELED); /* it never says that it is ready */
	int status = zygote_status(zygote_device(z, 0));
	zygote_destroy(z);
	return status;
}

#endif
