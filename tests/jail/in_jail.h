/* in_jail.h - run a function in a process that the zygote made, jailed or not; for the tests here.
 */
#ifndef TESTS_IN_JAIL_H
#define TESTS_IN_JAIL_H
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "src/vm/jail.h"
#include "src/vm/zygote.h"

struct in_jail {
	int (*fn)(void *arg); /* its result, 0 to 128, is in_jail()'s */
	void *arg;
	bool has_jail;
	uint32_t lacks; /* so much of it may be missing here */
};

#define IN_JAIL_LACKS  100 /* this host refuses a part of the jail */
#define IN_JAIL_FAILED 200 /* there was no process */

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

/* Status of the process; 128 + n: ended by signal n. Asserts nothing: also for child processes. */
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
	if (zygote_create(&z, &cfg))
		return IN_JAIL_FAILED;
	/* it never says that it is ready */
	bool has_ended = zygote_connect(zygote_device(z, 0)) == -ECANCELED;
	int status = has_ended ? zygote_status(zygote_device(z, 0)) : IN_JAIL_FAILED;
	zygote_destroy(z);
	return status;
}

#endif
