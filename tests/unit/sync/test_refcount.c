/* test_refcount.c - the last one is told, once. */
#include "sync/refcount.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/threads.h"

static void only_the_last_put_says_so(void **state)
{
	(void)state;
	struct refcount r;
	refcount_init(&r);
	refcount_get(&r);
	assert_true(refcount_get_unless_zero(&r));
	assert_false(refcount_put(&r));
	assert_false(refcount_put(&r));
	assert_true(refcount_put(&r));
	assert_false(refcount_get_unless_zero(&r));
}

struct thing {
	struct refcount refs;
	unsigned uses[16];
};

static _Atomic unsigned freed;

static void use_and_put(void *arg)
{
	struct thing *t = arg;
	static _Atomic unsigned next;
	t->uses[atomic_fetch_add(&next, 1)]++; /* before the put: the sanitizers check that */
	if (refcount_put(&t->refs)) {
		free(t);
		atomic_fetch_add(&freed, 1);
	}
}

static void the_object_outlives_every_user(void **state)
{
	(void)state;
	struct thing *t = aligned_alloc(CACHE_ALIGN, sizeof(*t));
	assert_non_null(t);
	*t = (struct thing){ 0 };
	refcount_init(&t->refs);
	for (unsigned i = 1; i < 8; i++)
		refcount_get(&t->refs);
	run_on(8, use_and_put, t);
	assert_int_equal(atomic_load(&freed), 1);
}

/* A put too many and a get on nothing end the process: they would be use after free. */
static void misuse_does_not_go_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (!pid) {
			close(STDERR_FILENO);
			struct refcount r = { 0 };
			if (i)
				refcount_get(&r);
			_exit(refcount_put(&r));
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) > 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_last_put_says_so),
		cmocka_unit_test(the_object_outlives_every_user),
		cmocka_unit_test(misuse_does_not_go_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
