/* test_spaces.c - the namespaces of two devices of one zygote, looked at from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/num.h"
#include "src/vm/jail.h"
#include "src/vm/zygote.h"

static int open_nothing(void *ctx, unsigned dev, int *fd)
{
	(void)ctx;
	(void)dev;
	(void)fd;
	return 0;
}

static int stay(void *ctx, const struct zygote_child *c)
{
	struct jail_config cfg = { .ns = c->ns, .max_files = 256, .max_threads = 64 };
	char b;
	uint32_t lacks = *(bool *)ctx ? jail_enter(&cfg) : 0;
	zygote_ready(c, lacks, NULL, 0);
	return read(c->sock, &b, 1) < 0; /* until the other side closes */
}

static const char *const spaces[] = { "user", "pid", "mnt", "ipc", "uts", "cgroup", "net" };
#define OWN_SPACES 2 /* the first: of each device alone */

/* The number of a namespace of @pid, 0: we may not know. */
static ino_t space_of(pid_t pid, const char *space)
{
	char path[64];
	struct stat s;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, space); /* fits */
	return stat(path, &s) ? 0 : s.st_ino;
}

/* Bit of each kind of namespace that @a and @b have in common. */
static unsigned common_spaces(pid_t a, pid_t b)
{
	unsigned common = 0;
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (space_of(a, spaces[i]) == space_of(b, spaces[i]))
			common |= 1u << i;
	return common;
}

struct pair {
	struct zygote *z;
	int sock[2];
	pid_t pid[2];
	uint32_t lacks;
};

static void pair_begin(struct pair *p, bool *is_jailed)
{
	static const struct zygote_ops ops = { .open = open_nothing, .serve = stay };
	static const char *const names[] = { "one", "two" };
	struct zygote_config cfg = { &ops, is_jailed, 2, names, *is_jailed };
	*p = (struct pair){ .z = NULL };
	assert_int_equal(zygote_create(&p->z, &cfg), 0);
	for (unsigned i = 0; i < 2; i++) {
		p->sock[i] = zygote_connect(zygote_device(p->z, i));
		assert_true(p->sock[i] >= 0);
		p->pid[i] = zygote_pid(zygote_device(p->z, i));
		p->lacks |= zygote_lacks(zygote_device(p->z, i));
	}
}

static void pair_end(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++)
		close(p->sock[i]);
	zygote_destroy(p->z);
}

static void every_namespace_is_another_one(void **state)
{
	struct pair p;
	bool is_jailed = true;
	(void)state;
	pair_begin(&p, &is_jailed);
	bool is_hidden = !space_of(p.pid[0], "pid"); /* from users, even their own */
	unsigned with_us = common_spaces(getpid(), p.pid[0]);
	unsigned with_sibling = common_spaces(p.pid[0], p.pid[1]);
	pair_end(&p);
	if (p.lacks || is_hidden)
		skip();
	assert_int_equal(with_us, 0);
	assert_int_equal(with_sibling & ((1u << OWN_SPACES) - 1), 0);
}

/* Else the test above says nothing. */
static void without_a_jail_no_namespace_is(void **state)
{
	struct pair p;
	bool is_jailed = false;
	(void)state;
	pair_begin(&p, &is_jailed);
	unsigned with_us = common_spaces(getpid(), p.pid[0]);
	pair_end(&p);
	assert_int_equal(with_us, (1u << ARRAY_SIZE(spaces)) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_namespace_is_another_one),
		cmocka_unit_test(without_a_jail_no_namespace_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
